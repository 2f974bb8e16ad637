//! Batch normalisation against the plain reference.

mod common;

use common::{
    PLAIN, Placed, channels, check, check_lanes, per_channel, per_lane, place, to_lanes, within,
};
use inception_kernels::norm::{self, Saved};
use inception_kernels::reference::{self, Tensor, numerical_gradient};
use inception_kernels::{Channels, Cpu, LANES, ViewMut};
use proptest::prelude::*;

const EPSILON: f64 = 1e-3;

/// The normalisation and ReLU as one function of `z`.
fn forward(z: &Tensor, gamma: &[f64], beta: &[f64], relu: bool) -> Tensor {
    let (mean, variance) = reference::norm::statistics(z);
    let scale: Vec<f64> =
        gamma.iter().zip(&variance).map(|(g, v)| g / (v + EPSILON).sqrt()).collect();
    let shift: Vec<f64> = beta.iter().zip(&mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
    reference::norm::apply(z, &scale, &shift, relu)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn all_steps(
        channels in channels(), pictures in 1..=3usize,
        (height, width) in (1..=9usize, 1..=20usize), relu: bool,
        places in [place(), place(), place(), place()], seed: u64,
    ) {
        let shape = [pictures, channels.count(), height, width];
        let count = channels.count();
        let z = Tensor::random(shape, seed).map(|v| v * 2.0 + 0.5);
        let dy = Tensor::random(shape, seed ^ 1);
        let gamma = Tensor::random([1, count, 1, 1], seed ^ 2).data;
        let beta = Tensor::random([1, count, 1, 1], seed ^ 3).data;
        let z_placed = Placed::new(&z, &channels, places[0]);

        let (mean, variance) = reference::norm::statistics(&z);
        check_lanes(&mean, 1e-6, &channels, |cpu, out| {
            norm::statistics(cpu, z_placed.view(), out, &mut vec![0.0; channels.blocks() * LANES]);
        });
        check_lanes(&variance, 1e-6, &channels, |cpu, out| {
            norm::statistics(cpu, z_placed.view(), &mut vec![0.0; channels.blocks() * LANES], out);
        });

        let [scale, shift] = [&gamma, &beta].map(|values| to_lanes(values, &channels));
        let y = reference::norm::apply(&z, &gamma, &beta, relu);
        check(&y, within(1e-6, &y.data), &channels, places[1], None, |cpu, y| {
            norm::apply(cpu, z_placed.view(), &scale, &shift, relu, y);
        });

        let y = forward(&z, &gamma, &beta, relu);
        let y_placed = Placed::new(&y, &channels, places[1]);
        let dy_placed = Placed::new(&dy, &channels, places[2]);
        let mean_lanes = to_lanes(&mean, &channels);
        let inverse_std: Vec<f64> = variance.iter().map(|v| 1.0 / (v + EPSILON).sqrt()).collect();
        let inverse_std_lanes = to_lanes(&inverse_std, &channels);
        for frozen in [false, true] {
            let expected = if frozen {
                reference::norm::backward_frozen(&z, &y, relu, &dy, &gamma, &mean, &inverse_std)
            } else {
                reference::norm::backward(&z, &y, relu, &dy, &gamma, EPSILON)
            };
            let saved = Saved {
                mean: &mean_lanes, inverse_std: &inverse_std_lanes, gamma: &scale, frozen,
            };
            let spare = || vec![0.0; channels.blocks() * LANES];
            let run = |cpu: &Cpu, dgamma: &mut [f32], dbeta: &mut [f32], dz: &mut ViewMut| {
                norm::backward(
                    cpu, z_placed.view(), y_placed.view(), relu, dy_placed.view(), saved, dgamma,
                    dbeta, dz,
                );
            };
            // What rounding the mean to `f32` grows to in `(z - mean) / σ`.
            let growth = inverse_std.iter().fold(1.0f64, |m, v| m.max(*v));
            let terms = (pictures * height * width) as f64;
            let tolerance = within(1e-6 * growth * growth, &expected.dz.data);
            check(&expected.dz, tolerance, &channels, places[3], None, |cpu, dz| {
                run(cpu, &mut spare(), &mut spare(), dz);
            });
            let dz = || Placed::unwritten(shape, &channels, places[3]);
            let tolerance = within(1e-6 * growth * terms, &expected.dgamma);
            check_lanes(&expected.dgamma, tolerance, &channels, |cpu, dgamma| {
                run(cpu, dgamma, &mut spare(), &mut dz().view_mut());
            });
            let tolerance = within(1e-6 * terms, &expected.dbeta);
            check_lanes(&expected.dbeta, tolerance, &channels, |cpu, dbeta| {
                run(cpu, &mut spare(), dbeta, &mut dz().view_mut());
            });
        }
    }
}

/// A mean thousands of times the spread, which sums of squares in `f32` would lose, over more
/// pixels than one task takes.
#[test]
fn far_from_zero() {
    let channels = Channels::new(20);
    let z = Tensor::random([3, 20, 60, 50], 1).map(|v| v * 0.1 + 500.0);
    let z_placed = Placed::new(&z, &channels, PLAIN);
    let (mean, variance) = reference::norm::statistics(&z);
    for [cpu, _] in common::cpus() {
        let mut found = [(); 2].map(|()| vec![0.0; channels.blocks() * LANES]);
        let [found_mean, found_variance] = &mut found;
        norm::statistics(&cpu, z_placed.view(), found_mean, found_variance);
        let [found_mean, found_variance] =
            found.map(|values| per_channel(&per_lane(&values, &channels)));
        assert!(found_mean.error(&per_channel(&mean)) < 1e-7);
        assert!(found_variance.error(&per_channel(&variance)) < 1e-6);
    }
}

/// A single value per channel and constant channels have no variance, not a negative one.
#[test]
fn no_variance() {
    let channels = Channels::new(48);
    for shape in [[1, 48, 1, 1], [2, 48, 7, 7]] {
        let constants: Vec<f32> = (0..48).map(|c| 0.1 + 33.3 * c as f32).collect();
        let mut z = Tensor::zeros(shape);
        for at in z.indices() {
            z[at] = constants[at[1]].into();
        }
        let z_placed = Placed::new(&z, &channels, PLAIN);
        let (mut mean, mut variance) = (vec![0.0; 48], vec![1.0; 48]);
        for [cpu, _] in common::cpus() {
            norm::statistics(&cpu, z_placed.view(), &mut mean, &mut variance);
            assert_eq!(mean, constants);
            assert!(variance.iter().all(|v| (0.0..1e-6).contains(v)), "{variance:?}");
        }
    }
}

/// ReLU must not hide that a network has diverged.
#[test]
fn nan_stays() {
    let channels = Channels::new(2);
    let z = Tensor { shape: [1, 2, 1, 2], data: vec![f64::NAN, -1.0, 1.0, f64::INFINITY] };
    let y = reference::norm::apply(&z, &[1.0, 1.0], &[0.0, 0.0], true);
    assert!(y.data[0].is_nan());
    let z_placed = Placed::new(&z, &channels, PLAIN);
    let [scale, shift] = [[1.0, 1.0], [0.0, 0.0]].map(|values| to_lanes(&values, &channels));
    check(&y, 0.0, &channels, PLAIN, None, |cpu, y| {
        norm::apply(cpu, z_placed.view(), &scale, &shift, true, y);
    });
}

#[test]
fn reference_gradients_are_slopes() {
    let z = Tensor::random([2, 3, 4, 5], 2);
    let dy = Tensor::random(z.shape, 3);
    let (gamma, beta) = (vec![0.7, -1.2, 0.3], vec![0.1, 0.4, -0.2]);
    for relu in [false, true] {
        // Constants, not the batch's statistics.
        let (mean, inverse_std) = ([0.2, -0.1, 0.0], [1.5, 2.0, 0.7]);
        let constant = |z: &Tensor, gamma: &[f64]| {
            let scale: Vec<f64> = gamma.iter().zip(inverse_std).map(|(g, i)| g * i).collect();
            let shift: Vec<f64> = (0..3).map(|c| beta[c] - mean[c] * scale[c]).collect();
            reference::norm::apply(z, &scale, &shift, relu)
        };
        let y = constant(&z, &gamma);
        let found =
            reference::norm::backward_frozen(&z, &y, relu, &dy, &gamma, &mean, &inverse_std);
        let slopes = numerical_gradient(&z, &dy, |z| constant(z, &gamma));
        assert!(found.dz.error(&slopes) < 1e-8);
        let slopes = numerical_gradient(&per_channel(&gamma), &dy, |g| constant(&z, &g.data));
        assert!(per_channel(&found.dgamma).error(&slopes) < 1e-8);

        let y = forward(&z, &gamma, &beta, relu);
        let found = reference::norm::backward(&z, &y, relu, &dy, &gamma, EPSILON);
        let slopes = numerical_gradient(&z, &dy, |z| forward(z, &gamma, &beta, relu));
        assert!(found.dz.error(&slopes) < 1e-6, "{:e}", found.dz.error(&slopes));
        let slopes =
            numerical_gradient(&per_channel(&gamma), &dy, |g| forward(&z, &g.data, &beta, relu));
        assert!(per_channel(&found.dgamma).error(&slopes) < 1e-8);
        let slopes =
            numerical_gradient(&per_channel(&beta), &dy, |b| forward(&z, &gamma, &b.data, relu));
        assert!(per_channel(&found.dbeta).error(&slopes) < 1e-8);
    }
}
