//! Value-by-value operations against the plain reference.

mod common;

use common::{PLAIN, Placed, channels, check, check_lanes, place, sum};
use inception_kernels::pointwise;
use inception_kernels::reference::{self, Tensor, numerical_gradient};
use inception_kernels::{Channels, Cpu, Isa};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn all(
        channels in channels(), pictures in 1..=3usize,
        (height, width) in (1..=9usize, 1..=20usize), places in [place(), place(), place()], seed: u64,
    ) {
        let shape = [pictures, channels.count(), height, width];
        let y = Tensor::random(shape, seed).map(|v| v.max(0.0));
        let dy = Tensor::random(shape, seed ^ 1);
        let [y_placed, dy_placed] = [(&y, places[0]), (&dy, places[1])]
            .map(|(values, place)| Placed::new(values, &channels, place));
        let to = places[2];

        let dz = reference::pointwise::relu_backward(&y, &dy);
        check(&dz, 0.0, &channels, to, None, |cpu, dz| {
            pointwise::relu_backward(cpu, y_placed.view(), dy_placed.view(), dz);
        });
        check_lanes(&reference::pointwise::sum_per_channel(&y), 1e-6, &channels, |cpu, out| {
            pointwise::sum_per_lane(cpu, y_placed.view(), out);
        });
        check(&dy, 0.0, &channels, to, None, |cpu, y| pointwise::copy(cpu, dy_placed.view(), y));
        check(&sum(&y, &dy), 1e-7, &channels, to, Some(&y), |cpu, y| {
            pointwise::add(cpu, dy_placed.view(), y);
        });
        let dense: Vec<f32> = dy.data.iter().map(|v| *v as f32).collect();
        check(&dy, 0.0, &channels, to, None, |cpu, y| {
            pointwise::from_nchw(cpu, &dense, &channels, y);
        });
        for cpu in common::cpus().iter().flatten() {
            let mut back = vec![f32::NAN; dense.len()];
            pointwise::to_nchw(cpu, dy_placed.view(), &channels, &mut back);
            prop_assert_eq!(&back, &dense);
        }
    }

    #[test]
    fn space_to_depth(
        channels in 1..=4usize, pictures in 1..=3usize,
        (height, width) in (1..=30usize, 1..=70usize), place in place(), seed: u64,
    ) {
        let x = Tensor::random([pictures, channels, height, width], seed);
        let dense: Vec<f32> = x.data.iter().map(|v| *v as f32).collect();
        let expected = reference::pointwise::space_to_depth(&x);
        check(&expected, 0.0, &Channels::new(4 * channels), place, None, |cpu, y| {
            pointwise::space_to_depth(cpu, &dense, (channels, height, width), y);
        });
    }

    #[test]
    fn dropout(
        channels in channels(), pictures in 1..=2usize, (height, width) in (1..=5usize, 1..=9usize),
        rate in prop_oneof![Just(0.0f32), Just(1.0), 0.0f32..1.0],
        places in [place(), place(), place(), place()], seed: u64,
    ) {
        let shape = [pictures, channels.count(), height, width];
        let x = Tensor::random(shape, seed);
        let dy = Tensor::random(shape, seed ^ 1);
        let old = Tensor::random(shape, seed ^ 2);
        // One mask whatever the machine and the tensors' places: ones through dropout show it.
        let mut ones = x.clone();
        ones.data.fill(1.0);
        let ones = Placed::new(&ones, &channels, places[0]);
        let mut mask = Placed::unwritten(shape, &channels, places[3]);
        let cpu = Cpu::with_isa(1, Isa::Portable).unwrap();
        pointwise::dropout(&cpu, ones.view(), rate, seed, &mut mask.view_mut());
        let mask = mask.checked();
        let scale = 1.0 / (1.0 - f64::from(rate));
        prop_assert!(mask.data.iter().all(|m| *m == 0.0 || (m - scale).abs() < 1e-6 * m));
        let times_mask = |values: &Tensor| {
            let mut product = values.clone();
            product.data.iter_mut().zip(&mask.data).for_each(|(v, m)| *v *= m);
            product
        };

        let x_placed = Placed::new(&x, &channels, places[0]);
        check(&times_mask(&x), 1e-6, &channels, places[2], None, |cpu, y| {
            pointwise::dropout(cpu, x_placed.view(), rate, seed, y);
        });
        let dy_placed = Placed::new(&dy, &channels, places[1]);
        for before in [None, Some(&old)] {
            let dx = times_mask(&dy);
            let total = before.map_or(dx.clone(), |old| sum(old, &dx));
            check(&total, 1e-6, &channels, places[2], before, |cpu, dx| {
                let accumulate = before.is_some();
                pointwise::dropout_backward(cpu, dy_placed.view(), rate, seed, accumulate, dx);
            });
        }
    }
}

/// The mask of ones at this rate and seed.
fn mask(shape: [usize; 4], rate: f32, seed: u64) -> Tensor {
    let channels = Channels::new(shape[1]);
    let mut ones = Tensor::zeros(shape);
    ones.data.fill(1.0);
    let ones = Placed::new(&ones, &channels, PLAIN);
    let mut out = Placed::unwritten(shape, &channels, PLAIN);
    let cpu = Cpu::with_isa(1, Isa::Portable).unwrap();
    pointwise::dropout(&cpu, ones.view(), rate, seed, &mut out.view_mut());
    out.checked()
}

/// Shares kept, overall and per picture, channel and row, are what chance allows; masks of
/// neighbours in any direction and of other seeds are unrelated.
#[test]
fn dropout_is_random() {
    let shape = [8, 64, 16, 16];
    let total = 8 * 64 * 16 * 16;
    for rate in [0.2f32, 0.5, 0.8] {
        let kept = mask(shape, rate, 11);
        let other = mask(shape, rate, 12);
        let p = 1.0 - f64::from(rate);
        let kept_at = |m: &Tensor, at| if m[at] != 0.0 { 1.0 } else { 0.0 };
        // Five standard deviations: one such failure in a million seeds.
        let near = |count: f64, n: usize, p: f64| {
            let n = n as f64;
            assert!(
                (count - n * p).abs() < 5.0 * (n * p * (1.0 - p)).sqrt(),
                "{count} of {n} at {p}"
            );
        };
        near(kept.indices().map(|at| kept_at(&kept, at)).sum(), total, p);
        for axis in 0..4 {
            for i in 0..shape[axis] {
                let slice = kept.indices().filter(|at| at[axis] == i);
                near(slice.map(|at| kept_at(&kept, at)).sum(), total / shape[axis], p);
            }
            let mut pairs = 0;
            let mut both = 0.0;
            for at in kept.indices().filter(|at| at[axis] + 1 < shape[axis]) {
                let mut next = at;
                next[axis] += 1;
                pairs += 1;
                both += kept_at(&kept, at) * kept_at(&kept, next);
            }
            near(both, pairs, p * p);
        }
        near(kept.indices().map(|at| kept_at(&kept, at) * kept_at(&other, at)).sum(), total, p * p);
    }
}

/// The mask never changes, or a resumed run would not repeat what it was cut off from.
#[test]
fn dropout_is_stable() {
    let kept = mask([2, 20, 1, 1], 0.5, 42);
    let bits: String = kept.data.iter().map(|m| if *m != 0.0 { '1' } else { '0' }).collect();
    assert_eq!(bits, "0111010001000010111010000101010000010101");
}

#[test]
fn reference_gradients_are_slopes() {
    let x = Tensor::random([1, 3, 4, 4], 1);
    let dy = Tensor::random(x.shape, 2);
    let relu =
        |x: &Tensor| Tensor { shape: x.shape, data: x.data.iter().map(|v| v.max(0.0)).collect() };
    let slopes = numerical_gradient(&x, &dy, relu);
    assert!(reference::pointwise::relu_backward(&relu(&x), &dy).error(&slopes) < 1e-8);
}
