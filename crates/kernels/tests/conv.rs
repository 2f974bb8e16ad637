//! Convolution against the plain reference, on random geometry.

mod common;

use common::{Place, Placed, channels, check, cpus, place, sum, to_lanes};
use inception_kernels::conv::{self, Algorithm, Epilogue, Filters, Geometry, Scratch};
use inception_kernels::reference::{self, Tensor, numerical_gradient};
use inception_kernels::{Border, Channels};
use proptest::prelude::*;

/// Largest error, as a share of the largest result.
const TOLERANCE: f64 = 1e-5;

/// A convolution and the tensors' sizes.
#[derive(Clone, Debug)]
struct Case {
    geometry: Geometry,
    pictures: usize,
    inputs: Channels,
    outputs: usize,
    input: (usize, usize),
    output: (usize, usize),
    x: Place,
    y: Place,
}

impl Case {
    fn x_shape(&self) -> [usize; 4] {
        [self.pictures, self.inputs.count(), self.input.0, self.input.1]
    }

    fn y_shape(&self) -> [usize; 4] {
        [self.pictures, self.outputs, self.output.0, self.output.1]
    }

    fn w_shape(&self) -> [usize; 4] {
        [self.outputs, self.inputs.count(), self.geometry.kernel.0, self.geometry.kernel.1]
    }

    /// Where the input lies, with the border that the windows need, or a larger one.
    fn x_place(&self) -> Place {
        let border = self.geometry.input_border(self.input, self.output);
        Place { border: self.x.border.union(border), ..self.x }
    }

    fn dy_place(&self) -> Place {
        let border = self.geometry.gradient_border(self.input, self.output);
        Place { border: self.y.border.union(border), ..self.y }
    }

    fn forward_filters(&self, algorithm: Algorithm) -> Filters {
        let targets = [Channels::new(self.outputs)];
        Filters::with_algorithm(&targets, &self.inputs, &self.geometry, algorithm)
            .expect("it applies to all")
    }

    fn backward_filters(&self) -> Filters {
        Filters::backward(self.outputs, &self.inputs, &self.geometry)
    }
}

/// Kernel, stride, padding, and an input that is reached to its end or not quite, or that the
/// padding behind it exceeds by some pixels.
fn axis() -> impl Strategy<Value = (usize, usize, usize, usize, usize)> {
    (1..=7usize, 1..=3usize, 0..=3usize, 1..=9usize, -2..=2isize).prop_map(
        |(kernel, stride, padding, output, more)| {
            let padding = padding.min(kernel - 1);
            let end = (output - 1) * stride + kernel - padding;
            (kernel, stride, padding, output, end.saturating_add_signed(more).max(1))
        },
    )
}

fn case() -> impl Strategy<Value = Case> {
    // A single run of few channels has a form of its own.
    let channels = prop_oneof![channels(), (1..=20usize).prop_map(Channels::new)];
    (axis(), axis(), 1..=3usize, channels, 1..=70usize, place(), place()).prop_map(
        |(rows, columns, pictures, inputs, outputs, x, y)| Case {
            geometry: Geometry {
                kernel: (rows.0, columns.0),
                stride: (rows.1, columns.1),
                padding: (rows.2, columns.2),
            },
            pictures,
            inputs,
            outputs,
            input: (rows.4, columns.4),
            output: (rows.3, columns.3),
            x,
            y,
        },
    )
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.data.iter().map(|&v| v as f32).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn forward(
        case in case(),
        algorithm in prop_oneof![Just(Algorithm::Direct), Just(Algorithm::Product)],
        bias in any::<bool>(),
        relu in any::<bool>(),
    ) {
        let x = Tensor::random(case.x_shape(), 1);
        let w = Tensor::random(case.w_shape(), 2);
        let b = Tensor::random([1, case.outputs, 1, 1], 3);
        let outputs = Channels::new(case.outputs);
        let mut y = reference::conv::forward(&x, &w, &case.geometry, case.output);
        if bias {
            for index in y.indices() {
                let sum = y[index] + b.data[index[1]];
                y[index] = if relu { sum.max(0.0) } else { sum };
            }
        }

        let input = Placed::new(&x, &case.inputs, case.x_place());
        let b = to_lanes(&b.data, &outputs);
        let floor = vec![if relu { inception_kernels::RELU } else { inception_kernels::LINEAR }; b.len()];
        let epilogue =
            if bias { Epilogue::Bias { bias: &b, floor: &floor } } else { Epilogue::Store };
        check(&y, TOLERANCE, &outputs, case.y, None, |cpu, y| {
            let mut filters = case.forward_filters(algorithm);
            filters.pack(cpu, &floats(&w));
            conv::forward(cpu, input.view(), &filters, &case.geometry, epilogue, std::slice::from_mut(y));
        });
    }

    #[test]
    fn backward_data(case in case(), accumulate in any::<bool>()) {
        let dy = Tensor::random(case.y_shape(), 1);
        let w = Tensor::random(case.w_shape(), 2);
        let before = accumulate.then(|| Tensor::random(case.x_shape(), 3));
        let mut dx = reference::conv::backward_data(&dy, &w, &case.geometry, case.input);
        if let Some(before) = &before {
            dx = sum(&dx, before);
        }

        let outputs = Channels::new(case.outputs);
        let gradient = Placed::new(&dy, &outputs, case.dy_place());
        check(&dx, TOLERANCE, &case.inputs, case.x, before.as_ref(), |cpu, dx| {
            let mut filters = case.backward_filters();
            filters.pack(cpu, &floats(&w));
            conv::backward_data(cpu, gradient.view(), &filters, &case.geometry, accumulate, dx);
        });
    }

    #[test]
    fn backward_filters(case in case()) {
        let x = Tensor::random(case.x_shape(), 1);
        let dy = Tensor::random(case.y_shape(), 2);
        let dw = reference::conv::backward_filters(&x, &dy, &case.geometry);

        let input = Placed::new(&x, &case.inputs, case.x_place());
        let gradient = Placed::new(&dy, &Channels::new(case.outputs), case.y);
        check_filters(&dw, &case, &input, &gradient);
    }

    /// A picture's results are the same bits alone and in any place of a batch.
    #[test]
    fn batches_do_not_matter(case in case()) {
        let batch = 5;
        let x = Tensor::random([batch, case.inputs.count(), case.input.0, case.input.1], 1);
        let dy = Tensor::random([batch, case.outputs, case.output.0, case.output.1], 2);
        let w = floats(&Tensor::random(case.w_shape(), 3));
        let outputs = Channels::new(case.outputs);
        for [_, cpu] in cpus() {
            let mut filters = (case.forward_filters(Algorithm::Direct), case.backward_filters());
            filters.0.pack(&cpu, &w);
            filters.1.pack(&cpu, &w);
            let run = |pictures: std::ops::Range<usize>| {
                let x = Placed::new(&part(&x, &pictures), &case.inputs, case.x_place());
                let dy = Placed::new(&part(&dy, &pictures), &outputs, case.dy_place());
                let y = [pictures.len(), case.outputs, case.output.0, case.output.1];
                let mut y = Placed::unwritten(y, &outputs, case.y);
                let dx = [pictures.len(), case.inputs.count(), case.input.0, case.input.1];
                let mut dx = Placed::unwritten(dx, &case.inputs, case.x);
                let g = &case.geometry;
                conv::forward(&cpu, x.view(), &filters.0, g, Epilogue::Store, &mut [y.view_mut()]);
                conv::backward_data(&cpu, dy.view(), &filters.1, g, false, &mut dx.view_mut());
                (y.checked(), dx.checked())
            };
            let all = run(0..batch);
            for n in 0..batch {
                let one = run(n..n + 1);
                prop_assert_eq!(&one.0, &part(&all.0, &(n..n + 1)));
                prop_assert_eq!(&one.1, &part(&all.1, &(n..n + 1)));
            }
        }
    }
}

/// Some pictures of a batch.
fn part(tensor: &Tensor, pictures: &std::ops::Range<usize>) -> Tensor {
    let [n, shape @ ..] = tensor.shape;
    let size = tensor.data.len() / n;
    Tensor {
        shape: [pictures.len(), shape[0], shape[1], shape[2]],
        data: tensor.data[pictures.start * size..pictures.end * size].to_vec(),
    }
}

/// Checks the gradient of the filters on every machine: values, and the same bits for one thread
/// and for two, with room that has been used before.
fn check_filters(expected: &Tensor, case: &Case, x: &Placed, dy: &Placed) {
    for cpus in cpus() {
        let mut scratch = Scratch::new();
        let results = cpus.each_ref().map(|cpu| {
            let mut dw = vec![f32::NAN; expected.data.len()];
            let Case { inputs, outputs, geometry, .. } = case;
            let (x, dy) = (x.view(), dy.view());
            conv::backward_filters(cpu, x, inputs, dy, *outputs, geometry, &mut scratch, &mut dw);
            dw
        });
        let data = results[0].iter().map(|&v| v.into()).collect();
        let error = Tensor { shape: expected.shape, data }.error(expected);
        assert!(error <= TOLERANCE, "relative error {error:e} on {:?}", cpus[0].isa());
        let bits = results.map(|r| r.into_iter().map(f32::to_bits).collect::<Vec<_>>());
        assert!(bits[0] == bits[1], "threads differ on {:?}", cpus[0].isa());
    }
}

/// What a network's convolution is tested with.
fn plain(
    (inputs, outputs): (usize, usize),
    kernel: (usize, usize),
    stride: usize,
    padding: (usize, usize),
    input: (usize, usize),
) -> Case {
    let output = |size, kernel, padding| (size + 2 * padding - kernel) / stride + 1;
    Case {
        geometry: Geometry { kernel, stride: (stride, stride), padding },
        pictures: 2,
        inputs: Channels::new(inputs),
        outputs,
        input,
        output: (output(input.0, kernel.0, padding.0), output(input.1, kernel.1, padding.1)),
        x: common::PLAIN,
        y: common::PLAIN,
    }
}

/// Pixels enough for many strips, a few of them in the middle of a row; few weights, so that pixels
/// are sliced.
#[test]
fn filters_of_large_pictures() {
    for case in [
        plain((3, 32), (3, 3), 2, (0, 0), (99, 101)),
        plain((5, 17), (1, 1), 1, (0, 0), (40, 41)),
        plain((16, 48), (1, 7), 1, (0, 3), (30, 131)),
    ] {
        let x = Tensor::random(case.x_shape(), 1);
        let dy = Tensor::random(case.y_shape(), 2);
        let dw = reference::conv::backward_filters(&x, &dy, &case.geometry);
        let x = Placed::new(&x, &case.inputs, case.x_place());
        let dy = Placed::new(&dy, &Channels::new(case.outputs), case.y);
        check_filters(&dw, &case, &x, &dy);
    }
}

#[test]
fn packing_again_replaces_the_weights() {
    let case = plain((20, 18), (3, 2), 2, (1, 0), (7, 8));
    let outputs = Channels::new(case.outputs);
    let x = Tensor::random(case.x_shape(), 1);
    let w = Tensor::random(case.w_shape(), 2);
    let y = reference::conv::forward(&x, &w, &case.geometry, case.output);
    let x = Placed::new(&x, &case.inputs, case.x_place());
    check(&y, TOLERANCE, &outputs, case.y, None, |cpu, y| {
        let mut filters = case.forward_filters(Algorithm::Direct);
        filters.pack(cpu, &floats(&Tensor::random(case.w_shape(), 9)));
        filters.pack(cpu, &floats(&w));
        conv::forward(
            cpu,
            x.view(),
            &filters,
            &case.geometry,
            Epilogue::Store,
            std::slice::from_mut(y),
        );
    });
}

#[test]
fn nan_is_not_hidden_by_relu() {
    let case = plain((1, 16), (1, 1), 1, (0, 0), (1, 1));
    let x = Tensor { shape: case.x_shape(), data: vec![f64::NAN, -1.0] };
    let y = Tensor { shape: case.y_shape(), data: [[f64::NAN; 16], [0.0; 16]].concat() };
    let input = Placed::new(&x, &case.inputs, case.x_place());
    let bias = [0.0; 16];
    check(&y, 0.0, &Channels::new(16), case.y, None, |cpu, y| {
        let mut filters = case.forward_filters(Algorithm::Direct);
        filters.pack(cpu, &[1.0; 16]);
        let floor = vec![inception_kernels::RELU; bias.len()];
        let epilogue = Epilogue::Bias { bias: &bias, floor: &floor };
        conv::forward(
            cpu,
            input.view(),
            &filters,
            &case.geometry,
            epilogue,
            std::slice::from_mut(y),
        );
    });
}

#[test]
#[should_panic(expected = "the input has the border that windows need")]
fn a_missing_border_is_noticed() {
    let case = plain((1, 1), (3, 3), 1, (1, 1), (4, 4));
    let x = Placed::new(&Tensor::zeros(case.x_shape()), &case.inputs, common::PLAIN);
    let mut y = Placed::unwritten(case.y_shape(), &Channels::new(1), common::PLAIN);
    let [cpu, _] = &cpus()[0];
    let mut filters = case.forward_filters(Algorithm::Direct);
    filters.pack(cpu, &[0.0; 9]);
    let epilogue = Epilogue::Store;
    conv::forward(cpu, x.view(), &filters, &case.geometry, epilogue, &mut [y.view_mut()]);
}

#[test]
#[should_panic(expected = "filters are packed for this instruction set")]
fn unpacked_filters_are_noticed() {
    let case = plain((1, 1), (1, 1), 1, (0, 0), (4, 4));
    let x = Placed::new(&Tensor::zeros(case.x_shape()), &case.inputs, common::PLAIN);
    let mut y = Placed::unwritten(case.y_shape(), &Channels::new(1), common::PLAIN);
    let filters = case.forward_filters(Algorithm::Direct);
    let epilogue = Epilogue::Store;
    let [cpu, _] = &cpus()[0];
    conv::forward(cpu, x.view(), &filters, &case.geometry, epilogue, &mut [y.view_mut()]);
}

/// The first of the two phases has no pixel; the border is written all the same.
#[test]
fn a_phase_without_pixels() {
    let mut case = plain((1, 1), (2, 1), 2, (1, 0), (1, 1));
    case.geometry.stride = (2, 1);
    case.output = (1, 1);
    case.x.border.bottom = 1;
    let dy = Tensor::random(case.y_shape(), 1);
    let w = Tensor::random(case.w_shape(), 2);
    let dx = reference::conv::backward_data(&dy, &w, &case.geometry, case.input);
    let gradient = Placed::new(&dy, &Channels::new(1), case.dy_place());
    check(&dx, TOLERANCE, &case.inputs, case.x, None, |cpu, dx| {
        let mut filters = case.backward_filters();
        filters.pack(cpu, &floats(&w));
        conv::backward_data(cpu, gradient.view(), &filters, &case.geometry, false, dx);
    });
}

/// The border at the end is what the last window needs beyond the input, no less and no more.
#[test]
fn borders() {
    let geometry = Geometry { kernel: (3, 1), stride: (2, 1), padding: (0, 2) };
    let border = geometry.input_border((8, 5), (4, 9));
    assert_eq!(border, Border { top: 0, bottom: 1, left: 2, right: 2 });
    let geometry = Geometry { kernel: (3, 3), stride: (2, 1), padding: (1, 1) };
    // Input row 0 meets output row 0 only, row 8 rows 4 (tap 1), row 7 rows 3 and 4.
    let border = geometry.gradient_border((9, 6), (5, 6));
    assert_eq!(border, Border { top: 0, bottom: 0, left: 1, right: 1 });
}

#[test]
fn the_references_gradients_are_derivatives() {
    let mut case = plain((2, 3), (3, 2), 2, (1, 1), (5, 6));
    case.geometry.stride.1 = 1;
    case.output.1 = 6;
    let x = Tensor::random(case.x_shape(), 1);
    let w = Tensor::random(case.w_shape(), 2);
    let dy = Tensor::random(case.y_shape(), 3);
    let g = &case.geometry;
    let dx = reference::conv::backward_data(&dy, &w, g, case.input);
    let numeric = numerical_gradient(&x, &dy, |x| reference::conv::forward(x, &w, g, case.output));
    assert!(dx.error(&numeric) < 1e-7);
    let dw = reference::conv::backward_filters(&x, &dy, g);
    let numeric = numerical_gradient(&w, &dy, |w| reference::conv::forward(&x, w, g, case.output));
    assert!(dw.error(&numeric) < 1e-7);
}
