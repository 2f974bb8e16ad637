//! TensorFlow's frozen graphs.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = inception_formats::tensorflow::frozen::read(bytes);
});
