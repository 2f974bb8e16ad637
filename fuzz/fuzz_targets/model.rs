//! This program's own model files.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = inception_model::Model::parse(bytes, std::path::Path::new("fuzzed"));
});
