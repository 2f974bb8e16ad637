//! MXNet's lists of arrays.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = inception_formats::mxnet::read(bytes);
});
