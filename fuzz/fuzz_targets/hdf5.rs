//! HDF5 files as h5py writes them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = inception_formats::hdf5::read(bytes);
});
