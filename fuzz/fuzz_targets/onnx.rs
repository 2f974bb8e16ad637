//! ONNX files, and the graphs in them as networks.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = inception_formats::onnx::read(bytes) {
        let _ = inception_convert::from_graph::from_graph(file.graph, &Default::default());
    }
});
