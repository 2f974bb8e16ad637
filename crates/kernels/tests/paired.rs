//! Errors of paired channels, beside those of the same algorithm without pairs.

mod common;

use common::{PLAIN, Place, Placed};
use inception_kernels::conv::{self, Algorithm, Epilogue, Filters, Geometry};
use inception_kernels::reference::{self, Tensor};
use inception_kernels::{Channels, Cpu, Isa};

/// The most that errors may grow by.
const MOST: f64 = 2.5;

/// Inputs as ReLU leaves them, so small and so large that all rows are brought to another size, and
/// all sizes between.
#[test]
fn errors_grow_little_whatever_the_size() {
    if !Isa::supported().contains(&Isa::Zen4) {
        println!("skipped: this machine pairs no channels");
        return;
    }
    let [paired, plain] = [Isa::Zen4, Isa::Avx512].map(|isa| Cpu::with_isa(1, isa).unwrap());
    let (inputs, outputs, side) = (64, 48, 14);
    let noise = Tensor::random([1, inputs, side, side], 1).map(|value| value.max(0.0));
    let mut growths = Vec::new();
    for (kernel, tiles) in [(1, &[0][..]), (3, &[2, 4, 6][..])] {
        let padding = (kernel / 2, kernel / 2);
        let geometry = Geometry { kernel: (kernel, kernel), stride: (1, 1), padding };
        let w = Tensor::random([outputs, inputs, kernel, kernel], 2);
        let w = w.map(|value| f64::from(value as f32));
        for halves in -7..=7 {
            let scale = 2f64.powf(f64::from(halves) / 2.0);
            let x = noise.clone().map(|value| f64::from((value * scale) as f32));
            let y = reference::conv::forward(&x, &w, &geometry, (side, side));
            for &tile in tiles {
                let algorithm = match tile {
                    0 => Algorithm::Product,
                    _ => Algorithm::Minimal { rows: tile, columns: tile },
                };
                let [a, b] = [&paired, &plain].map(|cpu| {
                    let found = forward(cpu, &x, &w, &geometry, algorithm);
                    distance(&found, &y)
                });
                println!("{algorithm}, inputs × {scale:.2}: {a:.1e}, {b:.1e} without pairs");
                growths.push(a / b);
            }
        }
    }
    growths.sort_by(f64::total_cmp);
    let (median, most) = (growths[growths.len() / 2], growths[growths.len() - 1]);
    println!("{median:.2} times as large in the median, {most:.2} at most");
    assert!(most < MOST, "{most}");
}

fn forward(cpu: &Cpu, x: &Tensor, w: &Tensor, geometry: &Geometry, by: Algorithm) -> Tensor {
    let ([pictures, inputs, height, width], [outputs, ..]) = (x.shape, w.shape);
    let (inputs, outputs) = (Channels::new(inputs), Channels::new(outputs));
    let targets = [outputs.clone()];
    let mut filters = Filters::with_algorithm(&targets, &inputs, geometry, by).unwrap();
    filters.pack(cpu, &w.data.iter().map(|&weight| weight as f32).collect::<Vec<_>>());
    let border = geometry.input_border((height, width), (height, width));
    let x = Placed::new(x, &inputs, Place { border, ..PLAIN });
    let shape = [pictures, outputs.count(), height, width];
    let mut y = Placed::unwritten(shape, &outputs, PLAIN);
    conv::forward(cpu, x.view(), &filters, geometry, Epilogue::Store, &mut [y.view_mut()]);
    y.checked()
}

/// The root mean square of what differs, by that of what is expected.
fn distance(found: &Tensor, expected: &Tensor) -> f64 {
    let squares = |tensor: &mut dyn Iterator<Item = f64>| tensor.map(|v| v * v).sum::<f64>();
    let pairs = found.data.iter().zip(&expected.data);
    (squares(&mut pairs.map(|(a, b)| a - b)) / squares(&mut expected.data.iter().copied())).sqrt()
}
