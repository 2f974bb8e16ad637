//! Resizing as other libraries do it: to the bit where they round, else to `f32`'s last digits.
//!
//! Every protocol is a list of weights for each output row and column; how the products are added
//! and rounded is the same for all but PIL. Positions are computed in the originals' own `f32`
//! where they do so: in `f64` a large picture's pixels would come from slightly elsewhere.

use std::f64::consts::PI;
use std::ops::Range;

use inception_net::preprocessing::{Filter, Protocol};

/// What one output row (or column) is made of.
struct Taps {
    /// The first input row.
    first: usize,
    /// Factors of that row and those after it.
    weights: Vec<f64>,
}

/// A resizing, or a rectangle of one.
pub(crate) struct Interpolation {
    rows: Vec<Taps>,
    columns: Vec<Taps>,
    /// Whether sums are rounded to whole numbers after each direction.
    rounded: bool,
    /// Which direction comes first, where that matters.
    across_first: bool,
}

impl Interpolation {
    /// For the rectangle `rows` × `columns` of what becomes of `from` (height, width) resized
    /// to `to`.
    pub(crate) fn new(
        (protocol, filter): (Protocol, Filter),
        from: (usize, usize),
        to: (usize, usize),
        (rows, columns): (Range<usize>, Range<usize>),
    ) -> Self {
        let taps = |from, to, range: Range<usize>| {
            range.map(|i| taps(protocol, filter, from, to, i)).collect()
        };
        Self {
            rows: taps(from.0, to.0, rows),
            columns: taps(from.1, to.1, columns),
            rounded: protocol == Protocol::Pil,
            // Pillow 13's rule; earlier ones always go across first.
            across_first: from.0 <= to.0 || from.0 + 2 * to.1 <= to.0 + 2 * from.1,
        }
    }

    /// The input rows and columns that are read.
    pub(crate) fn source(&self) -> (Range<usize>, Range<usize>) {
        let reach = |taps: &[Taps]| {
            let start = taps.iter().map(|t| t.first).min().unwrap_or(0);
            let end = taps.iter().map(|t| t.first + t.weights.len()).max().unwrap_or(0);
            start..end
        };
        (reach(&self.rows), reach(&self.columns))
    }

    /// Resizes a channel, given as the values of [`Interpolation::source`], row by row.
    pub(crate) fn run(&self, channel: &[u8]) -> Vec<f32> {
        if self.rounded { self.in_integers(channel) } else { self.in_floats(channel) }
    }

    /// Down, then across: the longer pass runs along rows, which vector units like.
    fn in_floats(&self, channel: &[u8]) -> Vec<f32> {
        let (rows, columns) = self.source();
        let mut high = vec![0.0; columns.len()];
        let mut out = Vec::with_capacity(self.rows.len() * self.columns.len());
        for taps in &self.rows {
            high.fill(0.0);
            let read = channel[(taps.first - rows.start) * columns.len()..].chunks(columns.len());
            for (row, &weight) in read.zip(&taps.weights) {
                let weight = weight as f32;
                high.iter_mut().zip(row).for_each(|(sum, &v)| *sum += weight * f32::from(v));
            }
            out.extend(self.columns.iter().map(|taps| {
                let values = &high[taps.first - columns.start..];
                values.iter().zip(&taps.weights).map(|(v, &w)| v * w as f32).sum::<f32>()
            }));
        }
        out
    }

    /// Pillow's `ImagingResample` for 8 bits.
    fn in_integers(&self, channel: &[u8]) -> Vec<f32> {
        let (rows, columns) = self.source();
        let down = whole(&self.rows, rows.start);
        let across = whole(&self.columns, columns.start);
        let values = match self.across_first {
            true => {
                let wide = pass_across(channel, columns.len(), &across);
                pass_down(&wide, across.len(), &down)
            }
            false => {
                let high = pass_down(channel, columns.len(), &down);
                pass_across(&high, columns.len(), &across)
            }
        };
        values.into_iter().map(f32::from).collect()
    }
}

/// Bits after the point of PIL's weights.
const BITS: u32 = 32 - 8 - 2;

/// Weights as PIL has them, with the place of the first value they are for.
fn whole(taps: &[Taps], start: usize) -> Vec<(usize, Vec<i32>)> {
    let scaled = |w: &f64| (w * f64::from(1 << BITS)).round() as i32;
    let of = |taps: &Taps| (taps.first - start, taps.weights.iter().map(scaled).collect());
    taps.iter().map(of).collect()
}

/// The nearest whole number, as far as a byte holds it, of a sum that began at [`HALF`].
fn rounded(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

const HALF: i32 = 1 << (BITS - 1);

fn pass_across(values: &[u8], width: usize, weights: &[(usize, Vec<i32>)]) -> Vec<u8> {
    let value = |row: &[u8], (first, weights): &(usize, Vec<i32>)| {
        let products = row[*first..].iter().zip(weights).map(|(&v, w)| i32::from(v) * w);
        rounded(HALF + products.sum::<i32>())
    };
    let rows = values.chunks_exact(width);
    rows.flat_map(|row| weights.iter().map(move |weights| value(row, weights))).collect()
}

fn pass_down(values: &[u8], width: usize, weights: &[(usize, Vec<i32>)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(weights.len() * width);
    let mut sums = vec![HALF; width];
    for (first, weights) in weights {
        sums.fill(HALF);
        for (row, weight) in values[first * width..].chunks_exact(width).zip(weights) {
            sums.iter_mut().zip(row).for_each(|(sum, &v)| *sum += i32::from(v) * weight);
        }
        out.extend(sums.iter().map(|&sum| rounded(sum)));
    }
    out
}

/// What output `i` of `to` is made of, where there are `from` inputs.
fn taps(protocol: Protocol, filter: Filter, from: usize, to: usize, i: usize) -> Taps {
    let scale = from as f32 / to as f32;
    let half_pixel = (i as f32 + 0.5) * scale - 0.5;
    match (protocol, filter) {
        (Protocol::Pil, _) | (_, Filter::Lanczos) => antialiased(filter, from, to, i),
        (Protocol::Torchvision, _) => antialiased_in_f32(filter, from, to, i),
        (Protocol::TorchvisionAliased, Filter::Bilinear) => linear(half_pixel.max(0.0), from),
        (Protocol::Tensorflow2, Filter::Bilinear) => linear(half_pixel, from),
        (Protocol::Tensorflow1, Filter::Bilinear) => linear(i as f32 * scale, from),
        (Protocol::AlignCorners, _) => {
            let scale = if to > 1 { (from - 1) as f32 / (to - 1) as f32 } else { scale };
            linear(i as f32 * scale, from)
        }
        (Protocol::TorchvisionAliased, Filter::Bicubic) => {
            // PyTorch's compiler fuses the two operations here and not in the bilinear case.
            let at = scale.mul_add(i as f32 + 0.5, -0.5);
            edges_repeated(at, cubic(-0.75, f64::from(at - at.floor())), from)
        }
        (Protocol::Tensorflow1, Filter::Bicubic) => {
            let at = i as f32 * scale;
            edges_repeated(at, cubic(-0.75, in_steps(at)), from)
        }
        (Protocol::Tensorflow2, Filter::Bicubic) => {
            edges_left_out(half_pixel, cubic(-0.5, in_steps(half_pixel)), from)
        }
    }
}

/// The two pixels beside `at`, which may lie outside the picture.
fn linear(at: f32, from: usize) -> Taps {
    let first = (at.floor().max(0.0) as usize).min(from - 1);
    // Left of the first pixel and right of the last both are the same one.
    if at < 0.0 || first + 1 >= from {
        return Taps { first, weights: vec![1.0] };
    }
    let share = at - at.floor();
    Taps { first, weights: vec![f64::from(1.0 - share), f64::from(share)] }
}

/// Weights of the four pixels around a place `share` of the way from the second to the third
/// (Keys 1981).
fn cubic(a: f64, share: f64) -> [f64; 4] {
    let near = |x: f64| ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a;
    [far(share + 1.0), near(share), near(1.0 - share), far(2.0 - share)]
}

/// TensorFlow looks its cubic up in a table of 1024 steps.
fn in_steps(at: f32) -> f64 {
    f64::from(((at - at.floor()) * 1024.0).round_ties_even()) / 1024.0
}

/// Pixels beyond the edge are taken to be those on it.
fn edges_repeated(at: f32, weights: [f64; 4], from: usize) -> Taps {
    let place = |i: isize| (at.floor() as isize - 1 + i).clamp(0, from as isize - 1) as usize;
    let first = place(0);
    let mut folded = vec![0.0; place(3) - first + 1];
    for (i, weight) in (0..).zip(weights) {
        folded[place(i) - first] += weight;
    }
    Taps { first, weights: folded }
}

/// Pixels beyond the edge do not count, the others for more.
fn edges_left_out(at: f32, weights: [f64; 4], from: usize) -> Taps {
    let start = (at.floor() as isize).min(from as isize - 1) - 1;
    let skipped = (-start).clamp(0, 3) as usize;
    let first = (start + skipped as isize) as usize;
    let weights = &weights[skipped..(from - first).min(4 - skipped) + skipped];
    let sum: f64 = weights.iter().sum();
    Taps { first, weights: weights.iter().map(|w| w / sum).collect() }
}

/// How far from the centre a filter reaches.
fn support(filter: Filter) -> f64 {
    match filter {
        Filter::Bilinear => 1.0,
        Filter::Bicubic => 2.0,
        Filter::Lanczos => 3.0,
    }
}

/// Pillow's `precompute_coeffs`: the filter stretched by the scale where the picture shrinks.
fn antialiased(filter: Filter, from: usize, to: usize, i: usize) -> Taps {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    let support = stretch * support(filter);
    let centre = (i as f64 + 0.5) * scale;
    // Pillow multiplies by the inverse, and every bit of it counts.
    let step = 1.0 / stretch;
    let reach = (centre - support + 0.5, centre + support + 0.5);
    windowed(reach, from, |x| kernel(filter, (x as f64 - centre + 0.5) * step))
}

/// The same in PyTorch's `upsample_…2d_aa`, whose scale and centre are `f32`: in a large picture
/// its pixels come from a hundredth beside the place.
fn antialiased_in_f32(filter: Filter, from: usize, to: usize, i: usize) -> Taps {
    let scale = from as f32 / to as f32;
    let stretch = scale.max(1.0);
    let support = support(filter) as f32 * stretch;
    let centre = (f64::from(scale) * (i as f64 + 0.5)) as f32;
    let step = f64::from(1.0 / stretch);
    let reach = (f64::from(centre - support) + 0.5, f64::from(centre + support) + 0.5);
    let place = |x: usize| f64::from(x as f32 - centre) + 0.5;
    windowed(reach, from, |x| kernel(filter, f64::from((place(x) * step) as f32)))
}

/// Weights of the inputs whose numbers lie within `reach`, which add up to 1.
fn windowed(reach: (f64, f64), from: usize, weight: impl Fn(usize) -> f64) -> Taps {
    let first = (reach.0.max(0.0) as usize).min(from - 1);
    let end = (reach.1 as usize).clamp(first + 1, from);
    let mut weights: Vec<f64> = (first..end).map(weight).collect();
    let sum: f64 = weights.iter().sum();
    if sum != 0.0 {
        weights.iter_mut().for_each(|w| *w /= sum);
    }
    Taps { first, weights }
}

fn kernel(filter: Filter, x: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) };
    match filter {
        Filter::Bilinear => (1.0 - x.abs()).max(0.0),
        Filter::Bicubic if x.abs() < 1.0 => (1.5 * x.abs() - 2.5) * x * x + 1.0,
        Filter::Bicubic if x.abs() < 2.0 => {
            (((x.abs() - 5.0) * x.abs() + 8.0) * x.abs() - 4.0) * -0.5
        }
        Filter::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
        _ => 0.0,
    }
}
