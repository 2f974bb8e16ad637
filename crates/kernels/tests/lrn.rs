//! Local response normalisation against the plain reference.

mod common;

use common::{Placed, channels, check, check_batch, place, sum, within};
use inception_kernels::Channels;
use inception_kernels::lrn::{self, Lrn};
use inception_kernels::reference::{self, Tensor, numerical_gradient};
use proptest::prelude::*;

/// GoogLeNet's exponent as often as any other.
fn settings() -> impl Strategy<Value = Lrn> {
    (1..=9usize, 0.01f32..2.0, prop_oneof![Just(0.75f32), 0.1f32..2.0], 0.5f32..2.0)
        .prop_map(|(size, alpha, beta, k)| Lrn { size, alpha, beta, k })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn forward_and_backward(
        lrn in settings(), channels in channels(), pictures in 1..=2usize,
        (height, width) in (1..=6usize, 1..=20usize), places in [place(), place(), place()],
        seed: u64,
    ) {
        let shape = [pictures, channels.count(), height, width];
        let x = Tensor::random(shape, seed).map(|v| v * 4.0);
        let dy = Tensor::random(shape, seed ^ 1);
        let old = Tensor::random(shape, seed ^ 2);
        let [x_placed, dy_placed] = [(&x, places[0]), (&dy, places[1])]
            .map(|(values, place)| Placed::new(values, &channels, place));
        check(&reference::lrn::forward(&x, &lrn), 1e-6, &channels, places[2], None, |cpu, y| {
            lrn::forward(cpu, x_placed.view(), &channels, &lrn, y);
        });
        let dx = reference::lrn::backward(&x, &dy, &lrn);
        for before in [None, Some(&old)] {
            let total = before.map_or(dx.clone(), |old| sum(old, &dx));
            check(&total, within(4e-6, &total.data), &channels, places[2], before, |cpu, dx| {
                lrn::backward(
                    cpu, x_placed.view(), dy_placed.view(), &channels, &lrn, before.is_some(), dx,
                );
            });
        }
    }
}

/// As in the published GoogLeNet, with its large activations; each value is right by itself.
#[test]
fn googlenet() {
    let lrn = Lrn { size: 5, alpha: 1e-4, beta: 0.75, k: 1.0 };
    let channels = Channels::new(64);
    let x = Tensor::random([1, 64, 20, 20], 5).map(|v| (v * 500.0).max(0.0));
    let input = Placed::new(&x, &channels, common::PLAIN);
    let expected = reference::lrn::forward(&x, &lrn);
    for [cpu, _] in common::cpus() {
        let mut out = Placed::unwritten(x.shape, &channels, common::PLAIN);
        lrn::forward(&cpu, input.view(), &channels, &lrn, &mut out.view_mut());
        for (y, expected) in out.checked().data.iter().zip(&expected.data) {
            assert!((y - expected).abs() <= 1e-6 * expected.abs(), "{y} for {expected}");
        }
    }
}

/// A window wider than all channels, and a constant of zero, where spare lanes would be 0 / 0,
/// above all beside a last channel that is zero.
#[test]
fn extremes() {
    let channels = Channels::concat(&[Channels::new(3), Channels::new(18)]);
    let mut x = Tensor::random([1, 21, 3, 3], 6);
    x.data[20 * 9..].fill(0.0);
    let input = Placed::new(&x, &channels, common::PLAIN);
    for (size, k) in [(51, 1.0), (5, 0.0), (1, 0.0)] {
        let lrn = Lrn { size, alpha: 1.0, beta: 0.75, k };
        let y = reference::lrn::forward(&x, &lrn);
        check(&y, 1e-6, &channels, common::PLAIN, None, |cpu, y| {
            lrn::forward(cpu, input.view(), &channels, &lrn, y);
        });
        let dx = reference::lrn::backward(&x, &x, &lrn);
        check(&dx, 1e-5, &channels, common::PLAIN, None, |cpu, dx| {
            lrn::backward(cpu, input.view(), input.view(), &channels, &lrn, false, dx);
        });
    }
}

/// The usual exponent's power by itself, over all that a float holds.
#[test]
fn powers() {
    let lrn = Lrn { size: 1, alpha: 0.0, beta: 0.75, k: 1.0 };
    let channels = Channels::new(1);
    let x = Tensor { shape: [1, 1, 1, 1], data: vec![1.0] };
    let input = Placed::new(&x, &channels, common::PLAIN);
    for [cpu, _] in common::cpus() {
        for bits in (f32::MIN_POSITIVE.to_bits()..f32::INFINITY.to_bits()).step_by(123_457) {
            let k = f32::from_bits(bits);
            let mut out = Placed::unwritten(x.shape, &channels, common::PLAIN);
            lrn::forward(&cpu, input.view(), &channels, &Lrn { k, ..lrn }, &mut out.view_mut());
            let (y, expected) = (out.checked().data[0], f64::from(k).powf(-0.75));
            // Two units in the last place of the power.
            assert!((y - expected).abs() <= 2.4e-7 * expected, "{y:e} for {k:e} ^ -3/4");
        }
        // What overflows is divided by infinity; what is not a number stays so.
        let x = Tensor { shape: [1, 1, 1, 2], data: vec![1e30, f64::NAN] };
        let input = Placed::new(&x, &channels, common::PLAIN);
        let mut out = Placed::unwritten(x.shape, &channels, common::PLAIN);
        let lrn = Lrn { alpha: 1.0, ..lrn };
        lrn::forward(&cpu, input.view(), &channels, &lrn, &mut out.view_mut());
        let y = out.checked().data;
        assert!(y[0] == 0.0 && y[1].is_nan(), "{y:?}");
    }
}

#[test]
fn batches_do_not_matter() {
    let lrn = Lrn { size: 5, alpha: 0.5, beta: 0.75, k: 1.0 };
    let x = Tensor::random([3, 40, 5, 11], 9);
    let channels = Channels::new(40);
    check_batch(&x, &channels, x.shape, |cpu, x, y| lrn::forward(cpu, x, &channels, &lrn, y));
    check_batch(&x, &channels, x.shape, |cpu, x, dx| {
        lrn::backward(cpu, x, x, &channels, &lrn, false, dx);
    });
}

#[test]
fn reference_gradient_is_slope() {
    for (size, beta) in [(5, 0.75), (4, 1.3), (1, 0.5)] {
        let lrn = Lrn { size, alpha: 0.7, beta, k: 1.5 };
        let x = Tensor::random([2, 9, 2, 3], 7);
        let dy = Tensor::random(x.shape, 8);
        let slopes = numerical_gradient(&x, &dy, |x| reference::lrn::forward(x, &lrn));
        assert!(reference::lrn::backward(&x, &dy, &lrn).error(&slopes) < 1e-8);
    }
}
