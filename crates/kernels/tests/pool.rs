//! Pooling against the plain reference.

mod common;

use common::{Place, Placed, channels, check, check_batch, place, sum, to_lanes, within};
use inception_kernels::pool::{self, Span, Windows};
use inception_kernels::reference::{self, Tensor, numerical_gradient};
use inception_kernels::{Border, Channels, Epilogue, LINEAR, RELU};
use proptest::prelude::*;

/// Windows of `kernel` at `stride` with `padding` on both sides, `partial` ones at the end kept
/// (ceil mode); padding counts in averages if `counted`.
fn spans(
    size: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    partial: bool,
    counted: bool,
) -> Vec<Span> {
    let reach = size + 2 * padding;
    (0..)
        .map(|i| i * stride)
        .take_while(|first| if partial { *first < size + padding } else { first + kernel <= reach })
        .map(|first| {
            let start = first.saturating_sub(padding);
            let end = (first + kernel - padding).min(size);
            let count = if counted { (first + kernel).min(reach) - first } else { end - start };
            Span { start, end, count }
        })
        .collect()
}

/// A side of a picture and windows along it.
fn axis() -> impl Strategy<Value = (usize, Vec<Span>)> {
    (1..=4usize, 1..=3usize, any::<bool>(), any::<bool>(), 0..=12usize).prop_flat_map(
        |(kernel, stride, partial, counted, extra)| {
            let size = kernel + extra;
            (0..=kernel / 2).prop_map(move |padding| {
                (size, spans(size, kernel, stride, padding, partial, counted))
            })
        },
    )
}

/// A picture's size and windows over it.
fn windows() -> impl Strategy<Value = ((usize, usize), Windows)> {
    (axis(), axis())
        .prop_map(|((height, rows), (width, columns))| ((height, width), Windows { rows, columns }))
}

#[test]
fn spans_of_known_pools() {
    let list = |spans: Vec<Span>| -> Vec<_> {
        spans.into_iter().map(|s| (s.start, s.end, s.count)).collect()
    };
    assert_eq!(list(spans(5, 3, 2, 0, false, false)), [(0, 3, 3), (2, 5, 3)]);
    assert_eq!(list(spans(4, 3, 2, 0, true, false)), [(0, 3, 3), (2, 4, 2)]);
    assert_eq!(list(spans(3, 3, 1, 1, false, true)), [(0, 2, 3), (0, 3, 3), (1, 3, 3)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn forward(
        ((height, width), w) in windows(), channels in channels(), pictures in 1..=3usize,
        from in place(), to in place(), seed: u64,
    ) {
        // All negative: zeros of a border would win.
        let x = Tensor::random([pictures, channels.count(), height, width], seed).map(|v| v - 2.0);
        let input = Placed::new(&x, &channels, from);
        check(&reference::pool::max(&x, &w), 0.0, &channels, to, None, |cpu, y| {
            pool::max(cpu, input.view(), &w, y);
        });
        check(&reference::pool::average(&x, &w), 1e-6, &channels, to, None, |cpu, y| {
            pool::average(cpu, input.view(), &w, Epilogue::Store, y);
        });
    }

    #[test]
    fn average_with_bias_and_relu(
        ((height, width), w) in windows(), channels in channels(), from in place(), to in place(),
        relu: bool,
    ) {
        let x = Tensor::random([2, channels.count(), height, width], 1);
        let b = Tensor::random([1, channels.count(), 1, 1], 2);
        let mut y = reference::pool::average(&x, &w);
        for index in y.indices() {
            let sum = y[index] + b.data[index[1]];
            y[index] = if relu { sum.max(0.0) } else { sum };
        }
        let input = Placed::new(&x, &channels, from);
        let bias = to_lanes(&b.data, &channels);
        let floor = vec![if relu { RELU } else { LINEAR }; bias.len()];
        // What relu leaves may be nothing: errors count beside the sums' size.
        let tolerance = within(2e-6, &y.data);
        check(&y, tolerance, &channels, to, None, |cpu, y| {
            let epilogue = Epilogue::Bias { bias: &bias, floor: &floor };
            pool::average(cpu, input.view(), &w, epilogue, y);
        });
    }

    #[test]
    fn backward(
        ((height, width), w) in windows(), channels in channels(), pictures in 1..=3usize,
        places in [place(), place(), place()], seed: u64,
    ) {
        let shape = [pictures, channels.count(), height, width];
        // Many ties, so that which maximum comes first matters.
        let x = Tensor::random(shape, seed).map(|v| (v * 3.0).round() - 4.0);
        let dy = Tensor::random([shape[0], shape[1], w.rows.len(), w.columns.len()], seed ^ 1);
        let old = Tensor::random(shape, seed ^ 2);
        let [x_placed, dy_placed] = [(&x, places[0]), (&dy, places[1])]
            .map(|(values, place)| Placed::new(values, &channels, place));
        let max = reference::pool::max_backward(&x, &dy, &w);
        let average = reference::pool::average_backward(&dy, &w, (height, width));
        for before in [None, Some(&old)] {
            let total = |dx: &Tensor| before.map_or(dx.clone(), |old| sum(old, dx));
            // An input can be in sixteen windows.
            let expected = total(&max);
            let tolerance = within(1e-5, &expected.data);
            check(&expected, tolerance, &channels, places[2], before, |cpu, dx| {
                pool::max_backward(
                    cpu, x_placed.view(), dy_placed.view(), &w, before.is_some(), dx,
                );
            });
            let expected = total(&average);
            let tolerance = within(1e-5, &expected.data);
            check(&expected, tolerance, &channels, places[2], before, |cpu, dx| {
                pool::average_backward(cpu, dy_placed.view(), &w, before.is_some(), dx);
            });
        }
    }
}

/// The pools of the networks, at sizes where rows are split over tasks.
#[test]
fn known_pools() {
    let place =
        Place { before: 1, after: 0, border: Border { top: 1, bottom: 1, left: 1, right: 1 } };
    let channels = Channels::new(24);
    for (size, kernel, stride, padding) in
        [(147, 3, 2, 0), (71, 3, 2, 0), (35, 3, 1, 1), (17, 3, 1, 1), (8, 8, 1, 0), (17, 5, 3, 0)]
    {
        let spans = spans(size, kernel, stride, padding, false, false);
        let w = Windows { rows: spans.clone(), columns: spans };
        let out = w.rows.len();
        let x = Tensor::random([1, 24, size, size], size as u64);
        let dy = Tensor::random([1, 24, out, out], size as u64 + 1);
        let input = Placed::new(&x, &channels, place);
        let gradient = Placed::new(&dy, &channels, place);
        check(&reference::pool::max(&x, &w), 0.0, &channels, place, None, |cpu, y| {
            pool::max(cpu, input.view(), &w, y);
        });
        check(&reference::pool::average(&x, &w), 1e-6, &channels, place, None, |cpu, y| {
            pool::average(cpu, input.view(), &w, Epilogue::Store, y);
        });
        let dx = reference::pool::max_backward(&x, &dy, &w);
        check(&dx, 1e-6, &channels, place, None, |cpu, dx| {
            pool::max_backward(cpu, input.view(), gradient.view(), &w, false, dx);
        });
        let dx = reference::pool::average_backward(&dy, &w, (size, size));
        check(&dx, 1e-6, &channels, place, None, |cpu, dx| {
            pool::average_backward(cpu, gradient.view(), &w, false, dx);
        });
    }
}

#[test]
fn batches_do_not_matter() {
    let spans = spans(8, 3, 1, 1, false, false);
    let w = Windows { rows: spans.clone(), columns: spans };
    let x = Tensor::random([5, 20, 8, 8], 1);
    let channels = Channels::new(20);
    check_batch(&x, &channels, x.shape, |cpu, x, y| pool::average(cpu, x, &w, Epilogue::Store, y));
    check_batch(&x, &channels, x.shape, |cpu, dy, dx| {
        pool::average_backward(cpu, dy, &w, false, dx);
    });
    check_batch(&x, &channels, x.shape, |cpu, x, dx| {
        pool::max_backward(cpu, x, x, &w, false, dx);
    });
}

/// A NaN in the window is its maximum wherever it stands, as in PyTorch.
#[test]
fn nan_wins_the_maximum() {
    let place = Place { before: 0, after: 0, border: Border::default() };
    let channels = Channels::new(3);
    let spans = spans(9, 3, 2, 0, false, false);
    let w = Windows { rows: spans.clone(), columns: spans };
    let mut x = Tensor::random([1, 3, 9, 9], 1);
    for (i, v) in x.data.iter_mut().enumerate() {
        match i % 11 {
            0 => *v = f64::NAN,
            1 | 2 => *v = f64::NEG_INFINITY,
            _ => {}
        }
    }
    x.data[81..].fill(f64::NEG_INFINITY);
    let dy = Tensor::random([1, 3, 4, 4], 2);
    let input = Placed::new(&x, &channels, place);
    let gradient = Placed::new(&dy, &channels, place);
    let y = reference::pool::max(&x, &w);
    assert!(y.data.iter().any(|v| v.is_nan()));
    check(&y, 0.0, &channels, place, None, |cpu, y| pool::max(cpu, input.view(), &w, y));
    let dx = reference::pool::max_backward(&x, &dy, &w);
    check(&dx, 1e-6, &channels, place, None, |cpu, dx| {
        pool::max_backward(cpu, input.view(), gradient.view(), &w, false, dx);
    });
}

#[test]
fn reference_gradients_are_slopes() {
    let columns = spans(7, 3, 2, 1, true, true);
    let w = Windows { rows: spans(6, 3, 1, 1, false, false), columns };
    let x = Tensor::random([2, 2, 6, 7], 3);
    let dy = Tensor::random([2, 2, w.rows.len(), w.columns.len()], 4);
    let slopes = numerical_gradient(&x, &dy, |x| reference::pool::max(x, &w));
    assert!(reference::pool::max_backward(&x, &dy, &w).error(&slopes) < 1e-8);
    let slopes = numerical_gradient(&x, &dy, |x| reference::pool::average(x, &w));
    assert!(reference::pool::average_backward(&dy, &w, (6, 7)).error(&slopes) < 1e-8);
}
