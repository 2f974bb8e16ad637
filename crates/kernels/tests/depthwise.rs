//! Depthwise convolution against the plain reference.

mod common;

use common::{Place, Placed, check, check_batch, place, sum, within};
use inception_kernels::conv::Geometry;
use inception_kernels::depthwise;
use inception_kernels::reference::{self, Tensor, numerical_gradient};
use inception_kernels::{Border, Channels};
use proptest::prelude::*;

/// One depthwise convolution: sizes, filters and where they are applied.
#[derive(Clone, Debug)]
struct Problem {
    inputs: Channels,
    multiplier: usize,
    input: (usize, usize),
    output: (usize, usize),
    geometry: Geometry,
    pictures: usize,
}

impl Problem {
    fn outputs(&self) -> Channels {
        Channels::new(self.inputs.count() * self.multiplier)
    }

    /// What the last windows reach and the first ones start at, beyond the picture.
    fn border(&self) -> Border {
        let Geometry { kernel, stride, padding } = self.geometry;
        let end = |out: usize, kernel: usize, stride: usize, padding: usize, size: usize| {
            ((out - 1) * stride + kernel).saturating_sub(padding + size)
        };
        Border {
            top: padding.0,
            left: padding.1,
            bottom: end(self.output.0, kernel.0, stride.0, padding.0, self.input.0),
            right: end(self.output.1, kernel.1, stride.1, padding.1, self.input.1),
        }
    }

    /// Input, filters and the output's gradient.
    fn tensors(&self, seed: u64) -> [Tensor; 3] {
        let (count, outputs) = (self.inputs.count(), self.outputs().count());
        [
            Tensor::random([self.pictures, count, self.input.0, self.input.1], seed),
            Tensor::random([outputs, 1, self.geometry.kernel.0, self.geometry.kernel.1], seed ^ 1),
            Tensor::random([self.pictures, outputs, self.output.0, self.output.1], seed ^ 2),
        ]
    }

    fn check(&self, seed: u64, places: [Place; 3]) {
        let Self { inputs, multiplier, geometry, .. } = self;
        let multiplier = *multiplier;
        let taps = geometry.kernel.0 * geometry.kernel.1;
        let [x, weights, dy] = self.tensors(seed);
        let dense: Vec<f32> = weights.data.iter().map(|v| *v as f32).collect();
        let wide = Place { border: places[0].border.union(self.border()), ..places[0] };
        let x_placed = Placed::new(&x, inputs, wide);
        let dy_placed = Placed::new(&dy, &self.outputs(), places[1]);

        let y = reference::depthwise::forward(&x, multiplier, &weights, geometry, self.output);
        check(&y, tolerance(taps, &y), &self.outputs(), places[2], None, |cpu, y| {
            depthwise::forward(cpu, x_placed.view(), inputs, multiplier, &dense, geometry, y);
        });

        let dx =
            reference::depthwise::backward_data(&dy, multiplier, &weights, geometry, self.input);
        let old = Tensor::random(x.shape, seed ^ 3);
        for before in [None, Some(&old)] {
            let total = before.map_or(dx.clone(), |old| sum(old, &dx));
            check(
                &total,
                tolerance(taps * multiplier, &total),
                inputs,
                places[2],
                before,
                |cpu, dx| {
                    depthwise::backward_data(
                        cpu,
                        dy_placed.view(),
                        inputs,
                        multiplier,
                        &dense,
                        geometry,
                        before.is_some(),
                        dx,
                    );
                },
            );
        }

        let dw = reference::depthwise::backward_filters(&x, multiplier, &dy, geometry);
        let terms = self.pictures * self.output.0 * self.output.1;
        for cpus in common::cpus() {
            let found = cpus.each_ref().map(|cpu| {
                let mut found = vec![f32::NAN; dense.len()];
                depthwise::backward_filters(
                    cpu,
                    x_placed.view(),
                    inputs,
                    multiplier,
                    dy_placed.view(),
                    geometry,
                    &mut found,
                );
                found
            });
            assert!(found[0] == found[1], "threads differ on {:?}", cpus[0].isa());
            let data = found[0].iter().map(|v| (*v).into()).collect();
            let error = Tensor { shape: dw.shape, data }.error(&dw);
            assert!(
                error <= tolerance(terms, &dw),
                "relative error {error:e} on {:?}",
                cpus[0].isa()
            );
        }
    }
}

/// For sums of so many products of values below 1: errors grow with the terms' number, not with
/// what remains of them.
fn tolerance(terms: usize, expected: &Tensor) -> f64 {
    within(1e-7 * (terms as f64 + 10.0), &expected.data)
}

/// Kernel, stride, padding, input and output along one axis; padding to the right as needed.
fn axis() -> impl Strategy<Value = [usize; 5]> {
    (1..=5usize, 1..=3usize, 1..=35usize).prop_flat_map(|(kernel, stride, output)| {
        // The first and last windows keep at least one position inside.
        (0..kernel, 0..kernel).prop_filter_map("a picture", move |(before, after)| {
            let reach = (output - 1) * stride + kernel;
            (reach > before + after)
                .then(|| [kernel, stride, before, reach - before - after, output])
        })
    })
}

fn problem() -> impl Strategy<Value = Problem> {
    (prop::collection::vec(1..=18usize, 1..=2), 1..=8usize, axis(), axis(), 1..=2usize).prop_map(
        |(runs, multiplier, rows, columns, pictures)| Problem {
            inputs: Channels::concat(&runs.into_iter().map(Channels::new).collect::<Vec<_>>()),
            multiplier,
            geometry: Geometry {
                kernel: (rows[0], columns[0]),
                stride: (rows[1], columns[1]),
                padding: (rows[2], columns[2]),
            },
            input: (rows[3], columns[3]),
            output: (rows[4], columns[4]),
            pictures,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_problem(
        problem in problem(), places in [place(), place(), place()], seed: u64,
    ) {
        problem.check(seed, places);
    }
}

/// BN-Inception's stem (TF-slim: 7×7 at stride 2, `SAME`, eight filters per colour), smaller; and
/// a plain depthwise layer on whole blocks.
#[test]
fn known_layers() {
    let stem = Problem {
        inputs: Channels::new(3),
        multiplier: 8,
        input: (64, 64),
        output: (32, 32),
        geometry: Geometry { kernel: (7, 7), stride: (2, 2), padding: (2, 2) },
        pictures: 1,
    };
    stem.check(1, [common::PLAIN; 3]);
    let plain = Problem {
        inputs: Channels::new(48),
        multiplier: 1,
        input: (40, 40),
        output: (40, 40),
        geometry: Geometry { kernel: (3, 3), stride: (1, 1), padding: (1, 1) },
        pictures: 2,
    };
    plain.check(2, [common::PLAIN; 3]);
    // Output blocks that read several input blocks each, and strides larger than the filter.
    let ragged = Problem {
        inputs: Channels::concat(&[3, 1, 2, 17, 1].map(Channels::new)),
        multiplier: 1,
        input: (9, 70),
        output: (3, 35),
        geometry: Geometry { kernel: (1, 2), stride: (3, 2), padding: (0, 1) },
        pictures: 1,
    };
    ragged.check(3, [common::PLAIN; 3]);
}

#[test]
fn batches_do_not_matter() {
    let inputs = Channels::new(3);
    let geometry = Geometry { kernel: (3, 3), stride: (2, 2), padding: (0, 0) };
    let x = Tensor::random([3, 3, 41, 41], 4);
    let weights: Vec<f32> =
        Tensor::random([24, 1, 3, 3], 5).data.iter().map(|v| *v as f32).collect();
    check_batch(&x, &inputs, [3, 24, 20, 20], |cpu, x, y| {
        depthwise::forward(cpu, x, &inputs, 8, &weights, &geometry, y);
    });
    let dy = Tensor::random([3, 24, 20, 20], 6);
    check_batch(&dy, &Channels::new(24), [3, 3, 41, 41], |cpu, dy, dx| {
        depthwise::backward_data(cpu, dy, &inputs, 8, &weights, &geometry, false, dx);
    });
}

#[test]
fn reference_gradients_are_slopes() {
    let problem = Problem {
        inputs: Channels::new(2),
        multiplier: 2,
        input: (6, 7),
        output: (3, 6),
        geometry: Geometry { kernel: (3, 2), stride: (2, 1), padding: (1, 0) },
        pictures: 2,
    };
    let [x, weights, dy] = problem.tensors(3);
    let Problem { multiplier, geometry, input, output, .. } = problem;
    let forward =
        |x: &Tensor, w: &Tensor| reference::depthwise::forward(x, multiplier, w, &geometry, output);
    let slopes = numerical_gradient(&x, &dy, |x| forward(x, &weights));
    let dx = reference::depthwise::backward_data(&dy, multiplier, &weights, &geometry, input);
    assert!(dx.error(&slopes) < 1e-8);
    let slopes = numerical_gradient(&weights, &dy, |w| forward(&x, w));
    let dw = reference::depthwise::backward_filters(&x, multiplier, &dy, &geometry);
    assert!(dw.error(&slopes) < 1e-8);
}
