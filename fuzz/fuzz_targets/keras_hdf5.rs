//! Keras' HDF5 files.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = inception_formats::keras::read_hdf5(bytes);
});
