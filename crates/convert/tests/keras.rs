//! Files that Keras wrote, imported and computed, against what Keras computed.

use std::path::PathBuf;
use std::sync::Arc;

use inception_convert::{Options, import};
use inception_engine::{Cpu, Inference};

#[test]
fn logits_are_those_of_keras() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../formats/tests/data/keras");
    let expected = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    let expected: std::collections::BTreeMap<String, Vec<f32>> =
        serde_json::from_str(&expected).unwrap();
    assert_eq!(expected.len(), 8);
    // Value i of the picture, in (row, column, channel) order, turned to (channel, row, column).
    let (height, width) = (11, 13);
    let value = |i: usize| (7 * i % 23) as f32 / 11.0 - 1.0;
    let picture: Vec<f32> = (0..3 * height * width)
        .map(|i| value(i % (height * width) * 3 + i / (height * width)))
        .collect();
    let cpu = Arc::new(Cpu::new(1).unwrap());
    for (name, wanted) in expected {
        let contents = inception_formats::read(&folder.join(&name)).unwrap();
        let model = import(contents, &Options::default()).unwrap();
        let graph = model.net.graph().unwrap();
        let mut inference = Inference::new(&graph, &model.weights, Arc::clone(&cpu)).unwrap();
        let logits = inference.run(&picture).unwrap();
        assert_eq!(logits.len(), wanted.len());
        let largest = wanted.iter().fold(0.0_f32, |max, value| max.max(value.abs()));
        for (logit, wanted) in logits.iter().zip(&wanted) {
            assert!((logit - wanted).abs() < 1e-5 * largest, "{name}: {logit} for {wanted}");
        }
    }
}
