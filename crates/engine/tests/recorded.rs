//! Narrow, small forms of both networks against what PyTorch computed with the same weights in
//! float64 (`peers/record` wrote it): logits of both modes, loss, gradients, running statistics.
//!
//! The `f64` reference is compared with all of it, to the last digits. The engine's `f32` is
//! compared with the record where nothing jumps (logits, statistics), and with the reference on
//! the same sides of all kinks where something does (gradients).

#[path = "common/formula.rs"]
mod formula;

use std::collections::HashMap;
use std::sync::Arc;

use inception_engine::reference::{Mode, Pass, Reference};
use inception_engine::{Cpu, Inference, NormMode, Training};
use inception_kernels::reference::Tensor;
use inception_model::Weights;
use inception_net::graph::{Graph, Op, Shape};
use inception_net::zoo::{self, Dialect, Options};

/// What `peers/record.py` writes; its names for the fields.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    #[allow(dead_code, reason = "for people")]
    made_by: String,
    network: String,
    width: f64,
    side: usize,
    classes: usize,
    pictures: usize,
    loss: f64,
    inference: Vec<f64>,
    training: HashMap<String, Vec<f64>>,
    gradients: HashMap<String, Vec<f64>>,
    running: HashMap<String, Vec<f64>>,
}

impl Record {
    fn graph(&self) -> Graph {
        let options = Options {
            classes: Some(self.classes),
            size: Some((self.side, self.side)),
            width: self.width,
            dialect: Some(Dialect::Torchvision),
            ..Options::default()
        };
        let net = zoo::build(&self.network, &options).expect("a network of the zoo");
        let mut graph = net.graph().expect("a graph");
        for layer in &mut graph.layers {
            if let Op::Dropout { rate } = &mut layer.op {
                *rate = 0.0;
            }
        }
        graph
    }

    fn pictures(&self) -> Vec<f32> {
        formula::pictures(self.pictures, 3, self.side, self.side)
    }

    fn labels(&self) -> Vec<usize> {
        formula::labels(self.pictures, self.classes)
    }
}

/// The record's digest of a tensor: its norm, then values at places that its name decides.
fn digest(name: &str, values: &[f64], samples: usize) -> Vec<f64> {
    let norm = values.iter().map(|v| v * v).sum::<f64>().sqrt();
    let sample = |i| {
        values[(formula::bits(&format!("samples of {name}"), i) % values.len() as u64) as usize]
    };
    std::iter::once(norm).chain((0..samples).map(sample)).collect()
}

/// Fails where two lists differ by more than `tolerance` of the second's largest magnitude.
fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() <= tolerance * scale,
            "{what}[{i}] is {found:e}, recorded {expected:e}, scale {scale:e}"
        );
    }
}

/// Compares tensors of the network's list with the record's digests of those it has.
fn assert_digests(
    graph: &Graph,
    found: &[Vec<f64>],
    recorded: &HashMap<String, Vec<f64>>,
    tolerance: f64,
) {
    let mut compared = 0;
    for (parameter, values) in graph.parameters().iter().zip(found) {
        let Some(expected) = recorded.get(&parameter.name) else {
            assert!(values.is_empty(), "{} is not recorded", parameter.name);
            continue;
        };
        let found = digest(&parameter.name, values, expected.len() - 1);
        assert_close(&parameter.name, &found, expected, tolerance);
        compared += 1;
    }
    assert_eq!(compared, recorded.len(), "the network has all recorded tensors");
}

/// The description holds ε and decay as f32, 1e-8 away from PyTorch's.
const REFERENCE: f64 = 1e-6;
/// The project's own limits for `f32`.
const LOGITS: f64 = 1e-4;
const GRADIENTS: f64 = 1e-3;

fn compare(record: &str) {
    let record: Record = serde_json::from_str(record).expect("a record");
    let graph = record.graph();
    let weights = formula::weights(&graph);
    let reference = Reference::new(&graph, &weights);
    let pass = reference_matches(&record, &graph, &reference);
    engine_matches(&record, &graph, weights, &reference, &pass);
}

/// Compares the reference with the record; returns its training pass.
fn reference_matches(record: &Record, graph: &Graph, reference: &Reference) -> Pass<'static> {
    let Shape { channels, height, width } = graph.layers[0].shape;
    let pictures = Tensor {
        shape: [record.pictures, channels, height, width],
        data: doubles(&record.pictures()),
    };
    let inference = reference.forward(&pictures, Mode::INFERENCE);
    let logits = inference.logits(graph).pop().expect("a main head");
    assert_close("inference", &logits.data, &record.inference, REFERENCE);

    let pass = reference.forward(&pictures, Mode::TRAINING);
    for (head, logits) in graph.heads.iter().zip(pass.logits(graph)) {
        assert_close(&head.name, &logits.data, &record.training[&head.name], REFERENCE);
    }
    let (loss, logit_gradients) = pass.loss(graph, &record.labels(), 0.0);
    assert_close("loss", &[loss], &[record.loss], REFERENCE);
    let gradients = reference.backward(&pass, &logit_gradients).parameters;
    assert_digests(graph, &gradients, &record.gradients, REFERENCE);
    assert_digests(graph, &reference.running_statistics(&pass), &record.running, REFERENCE);
    pass
}

fn engine_matches(
    record: &Record,
    graph: &Graph,
    weights: Weights,
    reference: &Reference,
    pass: &Pass,
) {
    let cpu = Arc::new(Cpu::new(2).expect("threads"));
    let pictures = record.pictures();
    let mut inference = Inference::new(graph, &weights, cpu.clone()).expect("its own weights");
    let logits = inference.run(&pictures).expect("whole pictures");
    assert_close("engine, inference", &doubles(&logits), &record.inference, LOGITS);

    let mut training = Training::new(graph, weights, cpu, NormMode::Batch).expect("weights");
    let heads = training.forward(&pictures, 0).expect("whole pictures");
    for (head, logits) in graph.heads.iter().zip(&heads) {
        let what = format!("engine, {}", head.name);
        assert_close(&what, &doubles(logits), &record.training[&head.name], LOGITS);
    }
    let running: Vec<Vec<f64>> = training
        .weights()
        .tensors()
        .iter()
        .map(|tensor| {
            let trained = tensor.parameter.role.is_trained();
            if trained { Vec::new() } else { doubles(&tensor.values) }
        })
        .collect();
    assert_digests(graph, &running, &record.running, LOGITS);

    let (_, logit_gradients) = pass.loss(graph, &record.labels(), 0.0);
    let shapes: Vec<[usize; 4]> = pass.outputs.iter().map(|output| output.shape).collect();
    let beside = |id| Tensor { shape: shapes[id], data: doubles(&training.output(id)) };
    let expected = reference.backward_beside(pass, &logit_gradients, &beside).parameters;
    let narrowed: Vec<Vec<f32>> =
        logit_gradients.iter().map(|g| g.data.iter().map(|&v| v as f32).collect()).collect();
    training.backward(&narrowed).expect("a gradient for each head");
    let names = graph.parameters();
    for ((parameter, found), expected) in names.iter().zip(training.gradients()).zip(&expected) {
        assert_close(&parameter.name, &doubles(found), expected, GRADIENTS);
    }
}

fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

#[test]
fn inception_v3_computes_what_pytorch_does() {
    compare(include_str!("data/inception-v3.json"));
}

#[test]
fn googlenet_computes_what_pytorch_does() {
    compare(include_str!("data/googlenet.json"));
}
