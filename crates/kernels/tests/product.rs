//! Products of windows that read a picture: the same bits in any batch, and errors like those of direct
//! convolution. Random shapes are in `conv.rs`.

mod common;

use common::{Place, Placed, check_batch, cpus};
use inception_kernels::conv::{self, Algorithm, Epilogue, Filters, Geometry};
use inception_kernels::reference::{self, Tensor};
use inception_kernels::{Channels, Cpu};

const GEOMETRY: Geometry = Geometry { kernel: (7, 7), stride: (2, 2), padding: (3, 3) };

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.data.iter().map(|&v| v as f32).collect()
}

/// Enough windows for several tasks, rows of which start anywhere.
#[test]
fn batches_do_not_matter() {
    let size: (usize, usize) = (61, 101);
    let output = (size.0.div_ceil(2), size.1.div_ceil(2));
    for channels in [1, 3, 4, 5] {
        let inputs = Channels::new(channels);
        let x = Tensor::random([5, channels, size.0, size.1], 1);
        let w = floats(&Tensor::random([70, channels, 7, 7], 2));
        let border = GEOMETRY.input_border(size, output);
        check_batch(&x, &inputs, [5, 70, output.0, output.1], |cpu, view, y| {
            let targets = [Channels::new(70)];
            let filters = Filters::with_algorithm(&targets, &inputs, &GEOMETRY, Algorithm::Product);
            let mut filters = filters.expect("it applies to all");
            filters.pack(cpu, &w);
            let place = Place { border, ..common::PLAIN };
            let x = Placed::new(&Tensor::from_view(view, &inputs), &inputs, place);
            let y = std::slice::from_mut(y);
            conv::forward(cpu, x.view(), &filters, &GEOMETRY, Epilogue::Store, y);
        });
    }
}

/// Of pictures with a flat half and in either range, of rows of every size, by filters that are smaller
/// towards their edges.
#[test]
fn errors_are_like_those_of_direct_convolution() {
    let size = 60;
    let distance = |tap: usize| (tap as f64 - 3.0).powi(2);
    let mut w = Tensor::random([32, 3, 7, 7], 2);
    for index in w.indices() {
        w[index] *= (-(distance(index[2]) + distance(index[3])) / 4.0).exp();
    }
    let w = w.map(|weight| weight);
    let noise = Tensor::random([1, 3, size, size], 1);
    let picture = |scale: f64, mean: f64| {
        let mut x = noise.clone();
        for index in x.indices() {
            if index[3] < size / 2 {
                x[index] = mean + x[index] / 256.0;
            }
        }
        x.map(|value| value * scale)
    };
    let mut rows = noise.clone();
    for index in rows.indices() {
        rows[index] *= [0.0, 1e-3, 0.1, 1.0, 20.0, 255.0][index[2] / 10];
    }
    let pictures = [
        ("±1", picture(1.0, 0.7)),
        ("±1, dark", picture(1.0, -1.0)),
        ("±1, grey", picture(1.0, 0.01)),
        ("±128", picture(128.0, 0.7)),
        ("±128, grey", picture(128.0, 0.01)),
        ("rows", rows.map(|value| value)),
    ];
    for (name, x) in pictures {
        let y = reference::conv::forward(&x, &w, &GEOMETRY, (size / 2, size / 2));
        for [cpu, _] in cpus() {
            let [direct, product] = [Algorithm::Direct, Algorithm::Product]
                .map(|algorithm| relative_errors(&computed(&cpu, &x, &w, algorithm), &y));
            println!("{:?}, {name}: {direct:?}, {product:?}", cpu.isa());
            for (direct, product) in direct.into_iter().zip(product) {
                assert!(product < 2.0 * direct + 1e-7, "{name}: {product:e}, not {direct:e}");
            }
        }
    }
}

/// Without inputs the outputs are zeros, without outputs nothing is written.
#[test]
fn nothing_is_computed_of_nothing() {
    for (inputs, outputs) in [(0, 5), (3, 0), (0, 0)] {
        let (x, w) = (Tensor::zeros([1, inputs, 4, 4]), Tensor::zeros([outputs, inputs, 7, 7]));
        for [cpu, _] in cpus() {
            let y = computed(&cpu, &x, &w, Algorithm::Product);
            assert!(y.data.iter().all(|&y| y == 0.0), "{inputs}→{outputs}, {:?}", cpu.isa());
        }
    }
}

fn computed(cpu: &Cpu, x: &Tensor, w: &Tensor, algorithm: Algorithm) -> Tensor {
    let (inputs, targets) = (Channels::new(x.shape[1]), [Channels::new(w.shape[0])]);
    let (input, output) = ((x.shape[2], x.shape[3]), (x.shape[2] / 2, x.shape[3] / 2));
    let border = GEOMETRY.input_border(input, output);
    let x = Placed::new(x, &inputs, Place { border, ..common::PLAIN });
    let filters = Filters::with_algorithm(&targets, &inputs, &GEOMETRY, algorithm);
    let mut filters = filters.expect("it applies to all");
    filters.pack(cpu, &floats(w));
    let mut y = Placed::unwritten([1, w.shape[0], output.0, output.1], &targets[0], common::PLAIN);
    conv::forward(cpu, x.view(), &filters, &GEOMETRY, Epilogue::Store, &mut [y.view_mut()]);
    y.checked()
}

/// ‖a − b‖ / ‖b‖ in the left half and in the right one: the most of any row that has a size.
fn relative_errors(a: &Tensor, b: &Tensor) -> [f64; 2] {
    let mut squares = vec![[[0.0; 2]; 2]; b.shape[2]];
    for index in b.indices() {
        let half = &mut squares[index[2]][2 * index[3] / b.shape[3]];
        half[0] += (a[index] - b[index]).powi(2);
        half[1] += b[index].powi(2);
    }
    let of_half = |half: usize| {
        let errors = squares.iter().map(|row| match row[half] {
            [error, 0.0] => error,
            [error, size] => (error / size).sqrt(),
        });
        errors.fold(0.0, f64::max)
    };
    [0, 1].map(of_half)
}
