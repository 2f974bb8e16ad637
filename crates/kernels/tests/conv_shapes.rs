//! Every convolution of the Inception family against the plain reference: all channels and columns,
//! on a few rows.

mod common;

use common::{PLAIN, Place, Placed, check, cpus};
use inception_kernels::Channels;
use inception_kernels::conv::{self, Epilogue, Filters, Geometry, Scratch};
use inception_kernels::reference::{self, Tensor};

/// Largest error, as a share of the largest result.
const TOLERANCE: f64 = 1e-5;

/// Width of the input, inputs, outputs, kernel, stride, padding.
type Shape = (usize, usize, usize, (usize, usize), usize, (usize, usize));

const ONE: (usize, usize) = (1, 1);
const THREE: (usize, usize) = (3, 3);
const NONE: (usize, usize) = (0, 0);

/// GoogLeNet (arXiv 1409.4842, table 1) at 224²; each module's 1×1 layers, then its 3×3 and 5×5.
const GOOGLENET: &[Shape] = &[
    (224, 3, 64, (7, 7), 2, (3, 3)),
    (56, 64, 64, ONE, 1, NONE),
    (56, 64, 192, THREE, 1, ONE),
    (28, 192, 64, ONE, 1, NONE),
    (28, 192, 96, ONE, 1, NONE),
    (28, 192, 16, ONE, 1, NONE),
    (28, 192, 32, ONE, 1, NONE),
    (28, 96, 128, THREE, 1, ONE),
    (28, 16, 32, (5, 5), 1, (2, 2)),
    (28, 256, 128, ONE, 1, NONE),
    (28, 128, 192, THREE, 1, ONE),
    (28, 32, 96, (5, 5), 1, (2, 2)),
    (14, 480, 192, ONE, 1, NONE),
    (14, 480, 16, ONE, 1, NONE),
    (14, 96, 208, THREE, 1, ONE),
    (14, 16, 48, (5, 5), 1, (2, 2)),
    (14, 512, 160, ONE, 1, NONE),
    (14, 512, 112, ONE, 1, NONE),
    (14, 512, 24, ONE, 1, NONE),
    (14, 112, 224, THREE, 1, ONE),
    (14, 24, 64, (5, 5), 1, (2, 2)),
    (14, 128, 256, THREE, 1, ONE),
    (14, 512, 144, ONE, 1, NONE),
    (14, 144, 288, THREE, 1, ONE),
    (14, 32, 64, (5, 5), 1, (2, 2)),
    (14, 528, 256, ONE, 1, NONE),
    (14, 160, 320, THREE, 1, ONE),
    (14, 32, 128, (5, 5), 1, (2, 2)),
    (7, 832, 256, ONE, 1, NONE),
    (7, 832, 160, ONE, 1, NONE),
    (7, 160, 320, THREE, 1, ONE),
    (7, 832, 384, ONE, 1, NONE),
    (7, 192, 384, THREE, 1, ONE),
    (7, 48, 128, (5, 5), 1, (2, 2)),
    // The dialects that put 3×3 in place of 5×5.
    (28, 16, 32, THREE, 1, ONE),
    (28, 32, 96, THREE, 1, ONE),
    (14, 24, 64, THREE, 1, ONE),
    (7, 48, 128, THREE, 1, ONE),
    // Auxiliary heads and classifiers.
    (4, 512, 128, ONE, 1, NONE),
    (4, 528, 128, ONE, 1, NONE),
    (1, 2048, 1024, ONE, 1, NONE),
    (1, 1024, 1000, ONE, 1, NONE),
];

/// BN-Inception (arXiv 1502.03167, figure 5) at 224².
const BN_INCEPTION: &[Shape] = &[
    (112, 24, 64, ONE, 1, NONE),
    (28, 64, 64, THREE, 1, ONE),
    (28, 64, 96, THREE, 1, ONE),
    (28, 96, 96, THREE, 1, ONE),
    (28, 320, 128, ONE, 1, NONE),
    (28, 320, 64, ONE, 1, NONE),
    (28, 128, 160, THREE, 2, ONE),
    (28, 96, 96, THREE, 2, ONE),
    (14, 576, 224, ONE, 1, NONE),
    (14, 576, 96, ONE, 1, NONE),
    (14, 96, 128, THREE, 1, ONE),
    (14, 128, 128, THREE, 1, ONE),
    (14, 576, 160, ONE, 1, NONE),
    (14, 128, 160, THREE, 1, ONE),
    (14, 160, 160, THREE, 1, ONE),
    (14, 128, 192, THREE, 1, ONE),
    (14, 160, 192, THREE, 1, ONE),
    (14, 192, 192, THREE, 1, ONE),
    (14, 128, 192, THREE, 2, ONE),
    (14, 192, 256, THREE, 1, ONE),
    (14, 256, 256, THREE, 2, ONE),
    (7, 1024, 352, ONE, 1, NONE),
    (7, 192, 320, THREE, 1, ONE),
    (7, 160, 224, THREE, 1, ONE),
    (7, 192, 224, THREE, 1, ONE),
    (7, 224, 224, THREE, 1, ONE),
];

/// Inception v3 (arXiv 1512.00567) as released, and table 1's stem, at 299².
const INCEPTION_V3: &[Shape] = &[
    (299, 3, 32, THREE, 2, NONE),
    (149, 32, 32, THREE, 1, NONE),
    (147, 32, 64, THREE, 1, ONE),
    (73, 64, 80, ONE, 1, NONE),
    (73, 80, 192, THREE, 1, NONE),
    (73, 64, 80, THREE, 1, NONE),
    (71, 80, 192, THREE, 2, NONE),
    (35, 192, 288, THREE, 1, ONE),
    (35, 192, 64, ONE, 1, NONE),
    (35, 192, 48, ONE, 1, NONE),
    (35, 48, 64, (5, 5), 1, (2, 2)),
    (35, 64, 96, THREE, 1, ONE),
    (35, 96, 96, THREE, 1, ONE),
    (35, 256, 64, ONE, 1, NONE),
    (35, 288, 48, ONE, 1, NONE),
    (35, 288, 384, THREE, 2, NONE),
    (35, 96, 96, THREE, 2, NONE),
    (17, 768, 192, ONE, 1, NONE),
    (17, 768, 160, ONE, 1, NONE),
    (17, 128, 128, (1, 7), 1, (0, 3)),
    (17, 128, 192, (7, 1), 1, (3, 0)),
    (17, 160, 160, (7, 1), 1, (3, 0)),
    (17, 160, 192, (1, 7), 1, (0, 3)),
    (17, 192, 192, (1, 7), 1, (0, 3)),
    (17, 192, 192, (7, 1), 1, (3, 0)),
    (17, 192, 320, THREE, 2, NONE),
    (17, 192, 192, THREE, 2, NONE),
    (8, 1280, 320, ONE, 1, NONE),
    (8, 1280, 448, ONE, 1, NONE),
    (8, 384, 384, (1, 3), 1, (0, 1)),
    (8, 384, 384, (3, 1), 1, (1, 0)),
    (8, 448, 384, THREE, 1, ONE),
    (8, 2048, 192, ONE, 1, NONE),
    (5, 768, 128, ONE, 1, NONE),
    (5, 128, 768, (5, 5), 1, NONE),
    (1, 2048, 1000, ONE, 1, NONE),
];

/// Checks all three passes of the shapes, on one or two rows of output.
fn check_shapes(shapes: &[Shape]) {
    for &(width, inputs, outputs, kernel, stride, padding) in shapes {
        let geometry = Geometry { kernel, stride: (stride, stride), padding };
        let rows = if width == kernel.1 { 1 } else { 2 };
        let height = ((rows - 1) * stride + kernel.0).saturating_sub(2 * padding.0).max(1);
        let output = |size, kernel, padding| (size + 2 * padding - kernel) / stride + 1;
        let input = (height, width);
        let output = (output(height, kernel.0, padding.0), output(width, kernel.1, padding.1));

        let x = Tensor::random([1, inputs, input.0, input.1], 1);
        let dy = Tensor::random([1, outputs, output.0, output.1], 2);
        let w = Tensor::random([outputs, inputs, kernel.0, kernel.1], 3);
        let weights: Vec<f32> = w.data.iter().map(|&v| v as f32).collect();
        let (from, to) = (Channels::new(inputs), Channels::new(outputs));
        let place = |border| Place { border, ..PLAIN };
        let x_placed = Placed::new(&x, &from, place(geometry.input_border(input, output)));
        let dy_placed = Placed::new(&dy, &to, place(geometry.gradient_border(input, output)));

        let y = reference::conv::forward(&x, &w, &geometry, output);
        check(&y, TOLERANCE, &to, PLAIN, None, |cpu, y| {
            let mut filters = Filters::forward(outputs, &from, kernel);
            filters.pack(cpu, &weights);
            conv::forward(
                cpu,
                x_placed.view(),
                &filters,
                &geometry,
                Epilogue::Store,
                std::slice::from_mut(y),
            );
        });
        let dx = reference::conv::backward_data(&dy, &w, &geometry, input);
        check(&dx, TOLERANCE, &from, PLAIN, None, |cpu, dx| {
            let mut filters = Filters::backward(outputs, &from, &geometry);
            filters.pack(cpu, &weights);
            conv::backward_data(cpu, dy_placed.view(), &filters, &geometry, false, dx);
        });
        let dw = reference::conv::backward_filters(&x, &dy, &geometry);
        for [_, cpu] in cpus() {
            let mut data = vec![f32::NAN; weights.len()];
            let (x, dy, room) = (x_placed.view(), dy_placed.view(), &mut Scratch::new());
            conv::backward_filters(&cpu, x, &from, dy, outputs, &geometry, room, &mut data);
            let data = data.into_iter().map(f64::from).collect();
            let error = Tensor { shape: dw.shape, data }.error(&dw);
            assert!(error <= TOLERANCE, "relative error {error:e} of filters on {cpu:?}");
        }
    }
}

#[test]
fn googlenet() {
    check_shapes(GOOGLENET);
}

#[test]
fn bn_inception() {
    check_shapes(BN_INCEPTION);
}

#[test]
fn inception_v3() {
    check_shapes(INCEPTION_V3);
}
