//! safetensors files of any program.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = inception_formats::safetensors::read(bytes);
});
