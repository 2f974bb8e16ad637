//! Keras' archives.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = inception_formats::keras::read_archive(bytes);
});
