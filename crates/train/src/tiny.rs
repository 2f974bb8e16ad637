//! Networks and data small enough for tests.

use inception_engine::Cpu;
use inception_model::Weights;
use inception_net::graph::{Graph, Head, Init, Layer, Linear, Op, Shape};

/// A weight tensor of these values and nothing else.
pub(crate) fn vector(values: &[f32]) -> Weights {
    let layer = |name: &str, op, inputs, channels| Layer {
        name: name.to_owned(),
        op,
        inputs,
        shape: Shape { channels, height: 1, width: 1 },
    };
    let linear = Linear { bias: false, batch_norm: None, relu: false, init: Init::He };
    let graph = Graph {
        layers: vec![
            layer("input", Op::Input, vec![], values.len()),
            layer("fc", Op::Linear(linear), vec![0], 1),
        ],
        heads: vec![Head { name: "main".to_owned(), logits: 1, loss_weight: 1.0 }],
    };
    let tensor = ("fc.weight".to_owned(), vec![1, values.len()], values.to_vec());
    Weights::from_named(&graph, [tensor]).expect("the network's one tensor")
}

/// Two threads, so that what is shared out is shared out.
pub(crate) fn cpu() -> Cpu {
    Cpu::new(2).expect("two threads")
}
