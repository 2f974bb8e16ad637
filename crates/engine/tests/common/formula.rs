//! Weights and pictures that Rust and Python both compute, so that none need be stored: the
//! mirror of `peers/formula.py`.
//!
//! Value number i of a tensor is the i-th output of SplitMix64 (Steele, Lea, Flood 2014) seeded
//! with the 64-bit FNV-1a hash of the tensor's name, its upper 53 bits read as a fraction in
//! [0, 1), and scaled by the tensor's role, in `f64`; then rounded to `f32`.

// Each test program uses some of this.
#![allow(dead_code)]

use inception_model::Weights;
use inception_net::graph::{Graph, Parameter, Role};

fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Output number `index` of the generator that the name seeds.
pub fn bits(name: &str, index: usize) -> u64 {
    let steps = (index as u64).wrapping_add(1);
    let mut z = fnv1a(name).wrapping_add(steps.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn fraction(name: &str, index: usize) -> f64 {
    (bits(name, index) >> 11) as f64 * 0.5f64.powi(53)
}

/// In [-1, 1).
fn signed(name: &str, index: usize) -> f64 {
    2.0 * fraction(name, index) - 1.0
}

/// The network's weights, running statistics included.
pub fn weights(graph: &Graph) -> Weights {
    let named = graph.parameters().into_iter().map(|parameter| {
        let values = tensor(&parameter);
        (parameter.name, parameter.shape, values)
    });
    Weights::from_named(graph, named).expect("the network's own parameters")
}

fn tensor(Parameter { name, shape, role, .. }: &Parameter) -> Vec<f32> {
    let fan_in: usize = shape[1..].iter().product();
    let value = |i| match role {
        // Variance 2 / fan-in (He et al. 2015) keeps a deep network's activations in range.
        Role::Weight => (6.0 / fan_in as f64).sqrt() * signed(name, i),
        Role::Scale => 0.75 + 0.5 * fraction(name, i),
        Role::RunningVariance => 0.5 + fraction(name, i),
        Role::Bias | Role::Shift | Role::RunningMean => 0.2 * signed(name, i),
    };
    (0..shape.iter().product()).map(|i| value(i) as f32).collect()
}

/// Pictures in (picture, channel, row, column) order: squares of one colour with noise.
#[allow(dead_code, reason = "not every test uses all of this module")]
pub fn pictures(count: usize, channels: usize, height: usize, width: usize) -> Vec<f32> {
    const CELL: usize = 32;
    let (rows, columns) = (height.div_ceil(CELL), width.div_ceil(CELL));
    (0..count * channels * height * width)
        .map(|i| {
            let (plane, y, x) = (i / (height * width), i / width % height, i % width);
            let square = (plane * rows + y / CELL) * columns + x / CELL;
            (0.75 * signed("squares", square) + 0.25 * signed("noise", i)) as f32
        })
        .collect()
}

/// A class for each picture.
pub fn labels(count: usize, classes: usize) -> Vec<usize> {
    (0..count).map(|i| (bits("labels", i) % classes as u64) as usize).collect()
}
