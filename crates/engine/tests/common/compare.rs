//! Small networks and pictures, and results held against the `f64` reference.

// Each test program uses some of this.
#![allow(dead_code)]

use std::sync::Arc;

use inception_engine::{Cpu, Training};
use inception_kernels::reference::Tensor;
use inception_net::Net;
use inception_net::graph::{Graph, LayerId, Op};
use inception_net::zoo::{self, Options};

use crate::formula;

pub fn cpu(threads: usize) -> Arc<Cpu> {
    Arc::new(Cpu::new(threads).expect("threads"))
}

pub fn small(name: &str, width: f64) -> Net {
    let options = Options { classes: Some(7), width, ..Options::default() };
    let mut net = zoo::build(name, &options).expect("a network of the zoo");
    // Large enough that batch norm has some values to work with everywhere: with three it turns
    // rounding errors into chaos within a few layers.
    let side = net.smallest_input().expect("a size").max(75) + 60;
    (net.input.height, net.input.width) = (side, side + 2);
    net
}

pub fn without_dropout(net: &Net) -> Graph {
    let mut graph = net.graph().expect("a graph");
    for layer in &mut graph.layers {
        if let Op::Dropout { rate } = &mut layer.op {
            *rate = 0.0;
        }
    }
    graph
}

pub fn pictures(graph: &Graph, count: usize) -> (Vec<f32>, Tensor) {
    let shape = graph.layers[0].shape;
    let values = formula::pictures(count, shape.channels, shape.height, shape.width);
    let data = values.iter().map(|&v| v.into()).collect();
    (values, Tensor { shape: [count, shape.channels, shape.height, shape.width], data })
}

pub fn assert_close(what: &str, found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    for (i, (&found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs();
        assert!(
            error <= tolerance * scale,
            "{what}[{i}]: {found:e}, not {expected:e} of {scale:e}"
        );
    }
}

/// A layer's output in training as the engine computed it.
pub fn output(training: &Training, id: LayerId, like: &Tensor) -> Tensor {
    let data = training.output(id).into_iter().map(f64::from).collect();
    Tensor { shape: like.shape, data }
}
