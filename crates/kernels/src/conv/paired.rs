//! Products of matrices with fewer multiplications: Winograd's inner product (1968).
//!
//! x₁w₁ + x₂w₂ = (x₁ + w₂)(x₂ + w₁) − x₁x₂ − w₁w₂
//!
//! takes one multiplication and two additions in place of two multiplications; Σ x₁x₂ is one sum
//! for a row of inputs, whatever the outputs, Σ w₁w₂ one for an output, whatever the rows. It pays on
//! cores with adders beside their multipliers: those stand idle in a product of matrices. Of sixteen
//! channels ten are paired and six are not, so that both kinds have the same work: eleven
//! multiplications in place of sixteen.
//!
//! The terms x₁x₂ and w₁w₂ are digits lost unless x and w are of one size. So each output's weights
//! are brought to the size that inputs are expected to have ([`Weights`]), and a row of inputs that
//! is far from it is brought there too ([`rows`]); all by powers of two, which round nothing. And
//! every second pair is (x₁ − w₂)(x₂ − w₁), subtracted: what is left of x₁x₂ then has both signs, and
//! where all inputs are positive, as ReLU leaves them, it grows a fifth as much with the channels.
//!
//! Channels have partners only in blocks whose weights are of about one size ([`even_blocks`]): others
//! meet inputs of another size, or matter to some outputs only.

// Indices throughout, as the loops must unroll into registers.
#![allow(clippy::needless_range_loop)]
// No other architecture has such cores yet.
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]

mod weights;

pub(super) use weights::{Packed, Weights, even_blocks};

use super::microkernel::{AHEAD, Panel, place};
use crate::LANES;
use crate::simd::{Vector, kernel, prefetch, prefetch_to_l2};

/// Pairs in a whole block of channels: lanes `i` and `i + 8` for each `i` below.
pub(super) const PAIRS: usize = 5;

/// Lanes without a partner, that the multipliers take meanwhile; the last lane is one more.
pub(super) const SINGLE: [usize; PAIRS] = [5, 6, 7, 13, 14];

/// A power of two close to the root of a mean square, far from the ends of the numbers' range; 1 for
/// what is no number.
#[inline(always)]
fn root_to_power_of_two(mean_square: f64) -> f32 {
    if mean_square.is_nan() {
        return 1.0;
    }
    let exponent = (mean_square.to_bits() >> 52) as i32 - 1023;
    f32::from_bits((((exponent.clamp(-240, 240) >> 1) + 127) << 23) as u32)
}

/// Inputs of a point: some rows of blocks of channels, `step` values apart.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub x: *mut f32,
    pub step: usize,
    pub rows: usize,
    pub blocks: &'a [bool],
    /// The size that their weights have been brought to.
    pub size: f32,
}

/// Mean squares, as multiples of what is expected, at which a row is left as it is: errors grow less where
/// inputs are larger than weights than where they are smaller.
const LEAST: f32 = 1.0 / 8.0;
const MOST: f32 = 16.0;

/// Sums of squares that have all their digits, and after whose root the row's products have them too.
const SMALLEST: f32 = 1e-20;
const LARGEST: f32 = 1e20;

/// Of each lane's product with its partner.
static SIGNS: [f32; LANES / 2] = [1.0, -1.0, 1.0, -1.0, 1.0, 0.0, 0.0, 0.0];

/// Rows that are summed side by side.
const AT_ONCE: usize = 8;

kernel! {
    /// What each row's sums start with, −Σ x₁x₂, and what brings them back to their size: 1 unless the
    /// row is brought to another, 0 if it is nothing but zeros.
    ///
    /// # Safety
    /// The inputs are readable and writable, `starts` and `factors` are writable for all rows.
    pub(super) unsafe fn rows<V>(inputs: &Inputs, starts: *mut f32, factors: *mut f32) {
        let (whole, rest) = (inputs.rows / AT_ONCE, inputs.rows % AT_ONCE);
        // SAFETY: the caller's promise.
        unsafe {
            for first in (0..whole).map(|i| i * AT_ONCE) {
                some_rows::<V, AT_ONCE>(inputs, first, starts, factors);
            }
            let mut first = whole * AT_ONCE;
            if rest >= AT_ONCE / 2 {
                some_rows::<V, { AT_ONCE / 2 }>(inputs, first, starts, factors);
                first += AT_ONCE / 2;
            }
            for first in first..inputs.rows {
                some_rows::<V, 1>(inputs, first, starts, factors);
            }
        }
    }
}

/// The same for `N` rows from one on.
///
/// # Safety
/// As there, and the machine has `V`'s instructions.
#[inline(always)]
unsafe fn some_rows<V: Vector, const N: usize>(
    inputs: &Inputs,
    first: usize,
    starts: *mut f32,
    factors: *mut f32,
) {
    const HALF: usize = LANES / 2;
    let Inputs { x, step, blocks, size, .. } = *inputs;
    let whole = blocks.iter().filter(|&&paired| paired).count();
    let expected = size * size * (whole * LANES) as f32;
    let (least, most) = (LEAST * expected, MOST * expected);
    // SAFETY: the caller's promise.
    unsafe {
        let x = x.add(first * LANES);
        let zero = [[V::Half::splat(0.0); 2]; N];
        // Squares of each half have sums of their own, so that none waits for the other.
        let (mut products, mut lows, mut highs) = (zero, zero, zero);
        for (block, &paired) in blocks.iter().enumerate() {
            if !paired {
                continue;
            }
            let x = x.add(block * step);
            for i in 0..N {
                for v in 0..HALF / V::Half::LANES {
                    let at = x.add(i * LANES + v * V::Half::LANES);
                    let (low, high) = (V::Half::load(at), V::Half::load(at.add(HALF)));
                    products[i][v] = low.mul_add(high, products[i][v]);
                    lows[i][v] = low.mul_add(low, lows[i][v]);
                    highs[i][v] = high.mul_add(high, highs[i][v]);
                }
            }
        }
        let (mut p, mut q) = ([V::Half::splat(0.0); AT_ONCE], [V::Half::splat(0.0); AT_ONCE]);
        for i in 0..N {
            for v in 0..HALF / V::Half::LANES {
                let signs = V::Half::load(SIGNS.as_ptr().add(v * V::Half::LANES));
                p[i] = products[i][v].neg_mul_add(signs, p[i]);
                q[i] = lows[i][v].add(highs[i][v]).add(q[i]);
            }
        }
        let sums = |v: [V::Half; AT_ONCE]| {
            let [a, b, c, d, e, f, g, h] = v;
            let (first, last) = (V::Half::sums([a, b, c, d]), V::Half::sums([e, f, g, h]));
            let ([a, b, c, d], [e, f, g, h]) = (first, last);
            [a, b, c, d, e, f, g, h]
        };
        let (mut p, q) = (sums(p), sums(q));
        let mut factor = [1.0; AT_ONCE];
        // All of them together first: in many networks hardly any is far.
        let far = |q: f32| !(q >= least && q <= most);
        if q[..N].iter().fold(false, |any, &q| any | far(q)) {
            for i in (0..N).filter(|&i| far(q[i])) {
                let x = x.add(i * LANES);
                if q[i] >= SMALLEST && q[i] <= LARGEST {
                    let mean_square = f64::from(q[i]) / f64::from(expected);
                    factor[i] = root_to_power_of_two(mean_square);
                    let inverse = 1.0 / factor[i];
                    scale::<V>(x, step, blocks.len(), inverse);
                    p[i] = p[i] * inverse * inverse;
                } else {
                    (p[i], factor[i]) = bring_to_size(x, step, blocks, size);
                }
            }
        }
        p.as_ptr().copy_to_nonoverlapping(starts.add(first), N);
        factor.as_ptr().copy_to_nonoverlapping(factors.add(first), N);
    }
}

/// Multiplies a row's blocks, `step` apart.
///
/// # Safety
/// They are readable and writable.
#[inline(always)]
unsafe fn scale<V: Vector>(x: *mut f32, step: usize, blocks: usize, factor: f32) {
    // SAFETY: the caller's promise.
    unsafe {
        let factor = V::splat(factor);
        for block in 0..blocks {
            for lane in (0..LANES).step_by(V::LANES) {
                let x = x.add(block * step + lane);
                V::load(x).mul(factor).store(x);
            }
        }
    }
}

/// Brings a row's blocks, `step` apart, to a size; −Σ x₁x₂ of what it is then, and what brings sums
/// back. In `f64`s, which hold the square of any float.
///
/// # Safety
/// They are readable and writable.
#[inline(always)]
unsafe fn bring_to_size(x: *mut f32, step: usize, blocks: &[bool], size: f32) -> (f32, f32) {
    let (mut of_pairs, mut of_all, mut count) = ([0f64; LANES], [0f64; LANES], 0);
    // SAFETY: the caller's promise.
    unsafe {
        for (block, &paired) in blocks.iter().enumerate() {
            for lane in 0..LANES {
                let value = f64::from(*x.add(block * step + lane));
                of_all[lane] += value * value;
                if paired {
                    of_pairs[lane] += value * value;
                }
            }
            count += if paired { LANES } else { 0 };
        }
        let squares: [f64; 2] = [of_pairs.iter().sum(), of_all.iter().sum()];
        let square = if squares[0] > 0.0 { squares[0] } else { squares[1] };
        if square == 0.0 {
            return (0.0, 0.0);
        }
        let expected = f64::from(size) * f64::from(size) * count as f64;
        let factor = root_to_power_of_two(square / expected);
        let (inverse, mut starts) = (1.0 / factor, [0f32; LANES / 2]);
        for (block, &paired) in blocks.iter().enumerate() {
            let x = x.add(block * step);
            for lane in 0..LANES {
                *x.add(lane) *= inverse;
            }
            for lane in 0..LANES / 2 {
                let product = *x.add(lane) * *x.add(lane + LANES / 2);
                starts[lane] -= if paired { SIGNS[lane] * product } else { 0.0 };
            }
        }
        (starts.iter().sum(), factor)
    }
}

/// Does something for each of `P` rows. The compiler unrolls loops of 17 rows at most by itself, and keeps
/// the sums of more in memory. From 20 on they do not fit into registers.
macro_rules! for_rows {
    ($P:ident, $p:ident, $body:block) => {
        for_rows!($P, $p, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18)
    };
    ($P:ident, $p:ident, $body:block, $($row:literal)*) => {
        $(if $row < $P {
            let $p = $row;
            $body
        })*
    };
}

/// The product of a panel's rows with paired channels and a single output block.
///
/// # Safety
/// See [`Multiply`](super::microkernel::Multiply).
#[inline(always)]
pub(super) unsafe fn multiply_paired<V: Vector, const P: usize, const N: usize>(panel: &Panel) {
    const { assert!(N * V::LANES == LANES && P <= 19) };
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[V::splat(0.0); N]; P];
        for v in 0..N {
            let start = V::load(panel.outputs.add(v * V::LANES));
            for_rows!(P, p, {
                sums[p][v] = V::splat(*panel.rows.0.add(p)).add(start);
            });
        }
        let mut weights = panel.weights;
        let mut ahead = panel.ahead.0;
        let last = ahead.wrapping_add(panel.ahead.1 * LANES);
        for block in 0..panel.blocks.0 {
            let x = panel.x.add(block * panel.blocks.1);
            let lanes = *panel.lanes.add(block) as usize;
            // A few lines at a time: more at once would keep the sums waiting.
            let mut ask = |lane: usize, count: usize| {
                if ahead < last {
                    for i in 0..count {
                        prefetch_to_l2(ahead.wrapping_add(i * LANES));
                    }
                    ahead = ahead.wrapping_add(count * LANES);
                }
                for lane in lane..lane + count {
                    prefetch(weights.wrapping_add((AHEAD + lane) * LANES));
                }
            };
            if *panel.paired.add(block) {
                ask(0, 3);
                pair_and_single::<V, P, N, 0>(&mut sums, x, weights);
                ask(3, 3);
                pair_and_single::<V, P, N, 1>(&mut sums, x, weights);
                ask(6, 3);
                pair_and_single::<V, P, N, 2>(&mut sums, x, weights);
                ask(9, 3);
                pair_and_single::<V, P, N, 3>(&mut sums, x, weights);
                ask(12, 4);
                pair_and_single::<V, P, N, 4>(&mut sums, x, weights);
                single(&mut sums, x, weights, LANES - 1);
            } else {
                for lane in 0..lanes {
                    ask(lane, 1);
                    single(&mut sums, x, weights, lane);
                }
            }
            weights = weights.add(lanes * LANES);
        }
        for v in 0..N {
            let start = V::load(panel.start.0.add(place::<V>(v, panel.start.1)));
            let factor = V::load(panel.outputs.add(LANES + v * V::LANES));
            for_rows!(P, p, {
                let factor = V::splat(*panel.rows.1.add(p)).mul(factor);
                let y = panel.y.add(p * LANES + place::<V>(v, panel.y_block));
                sums[p][v].mul_add(factor, start).store(y);
            });
        }
    }
}

/// `sums[p] += x[p][lane] × weights[lane]`
///
/// # Safety
/// The values are readable.
#[inline(always)]
unsafe fn single<V: Vector, const P: usize, const N: usize>(
    sums: &mut [[V; N]; P],
    x: *const f32,
    weights: *const f32,
    lane: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for v in 0..N {
            let weight = V::load(weights.add(lane * LANES + v * V::LANES));
            for_rows!(P, p, {
                let x = V::splat(*x.add(p * LANES + lane));
                sums[p][v] = x.mul_add(weight, sums[p][v]);
            });
        }
    }
}

/// `sums[p] ±= (x₁ ± w₂) × (x₂ ± w₁)` for the `I`-th pair of lanes, and one more lane: the adders
/// work on the pair while the multipliers do on the lane.
///
/// # Safety
/// The values are readable.
#[inline(always)]
unsafe fn pair_and_single<V: Vector, const P: usize, const N: usize, const I: usize>(
    sums: &mut [[V; N]; P],
    x: *const f32,
    weights: *const f32,
) {
    let (first, second, third) = (I, I + LANES / 2, SINGLE[I]);
    // SAFETY: the caller's promise.
    unsafe {
        for v in 0..N {
            let weight = |lane| V::load(weights.add(lane * LANES + v * V::LANES));
            let (w1, w2, w3) = (weight(first), weight(second), weight(third));
            for_rows!(P, p, {
                let x = x.add(p * LANES);
                let x1 = V::splat(*x.add(first));
                let x2 = V::splat(*x.add(second));
                let x3 = V::splat(*x.add(third));
                let sum = match I % 2 {
                    0 => w2.add(x1).mul_add(w1.add(x2), sums[p][v]),
                    _ => w2.sub(x1).neg_mul_add(w1.sub(x2), sums[p][v]),
                };
                sums[p][v] = x3.mul_add(w3, sum);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;

    #[test]
    fn each_lane_is_multiplied_once() {
        let pairs = (0..PAIRS).flat_map(|i| [i, i + LANES / 2]);
        let mut lanes: Vec<usize> = pairs.chain(SINGLE).chain([LANES - 1]).collect();
        lanes.sort_unstable();
        assert!(lanes.into_iter().eq(0..LANES));
    }

    #[test]
    fn powers_of_two_are_close_and_finite() {
        for (mean_square, power) in [(1.0, 1.0), (4.0, 2.0), (0.25, 0.5), (15.9, 2.0), (16.0, 4.0)]
        {
            assert_eq!(root_to_power_of_two(mean_square), power, "{mean_square}");
        }
        let ends = [0.0, f64::MIN_POSITIVE, f64::MAX, f64::INFINITY].map(root_to_power_of_two);
        assert_eq!(ends, [2f32.powi(-120), 2f32.powi(-120), 2f32.powi(120), 2f32.powi(120)]);
        assert_eq!(root_to_power_of_two(f64::NAN), 1.0);
    }

    /// Rows of the expected size are left alone; others, and how they are brought to it, are told.
    #[test]
    fn rows_are_brought_to_one_size() {
        let cpu = Cpu::new(1).unwrap();
        let (rows, blocks, step) = (9, [true, false, true], 9 * LANES);
        let value = |i: usize| ((i * 37 % 101) as f32 - 50.0) / 29.0;
        let before: Vec<f32> = (0..blocks.len() * step)
            .map(|i| {
                value(i) * [1.0, 1e30, 1e-30, 0.0, 2.0, 0.5, 300.0, 1e-4, 1.0][i / LANES % rows]
            })
            .collect();
        let mut x = before.clone();
        let (mut starts, mut factors) = ([0f32; 9], [0f32; 9]);
        let inputs = Inputs { x: x.as_mut_ptr(), step, rows, blocks: &blocks, size: 1.0 };
        // SAFETY: the rows' blocks, starts and factors are as many as the inputs say.
        unsafe { super::rows(&cpu, &inputs, starts.as_mut_ptr(), factors.as_mut_ptr()) };
        assert_eq!([0, 3, 4, 5, 8].map(|row| factors[row]), [1.0, 0.0, 1.0, 1.0, 1.0]);
        assert!(factors[6] > 99.0 && factors[7] < 3e-4, "{factors:?}");
        assert!(factors[1] > 1e29 && factors[2] < 1e-29, "{factors:?}");
        for row in 0..rows {
            let lane = |block: usize, lane: usize| f64::from(x[block * step + row * LANES + lane]);
            let mut start = 0.0;
            for block in [0, 2] {
                for i in 0..PAIRS {
                    let product = lane(block, i) * lane(block, i + LANES / 2);
                    start -= if i % 2 == 0 { product } else { -product };
                }
            }
            assert!(
                (f64::from(starts[row]) - start).abs() < 1e-4,
                "{row}: {} {start}",
                starts[row]
            );
            for at in (0..blocks.len()).map(|block| block * step + row * LANES) {
                let back = |i: usize| x[at + i] * factors[row];
                assert!((0..LANES).all(|i| back(i) == before[at + i]), "row {row}");
            }
        }
    }

    #[test]
    fn rows_are_brought_to_any_size() {
        let cpu = Cpu::new(1).unwrap();
        let value = |i: usize| ((i * 37 % 101) as f32 - 50.5) / 29.0;
        for (size, scale) in [40, -40]
            .into_iter()
            .flat_map(|size| (-60..=60).step_by(5).map(move |scale| (size, scale)))
            .map(|(size, scale)| (2f32.powi(size), 2f32.powi(scale)))
        {
            let before: [f32; 2 * LANES] = std::array::from_fn(|i| value(i) * scale);
            let (mut x, mut start, mut factor) = (before, 0.0, 0.0);
            let blocks = [true; 2];
            let inputs = Inputs { x: x.as_mut_ptr(), step: LANES, rows: 1, blocks: &blocks, size };
            // SAFETY: a row of two blocks, its start and its factor.
            unsafe { super::rows(&cpu, &inputs, &mut start, &mut factor) };
            let what = format!("{scale:e} to {size:e}: {start:e}, {factor:e}");
            assert!(x.iter().zip(before).all(|(x, before)| x * factor == before), "{what}");
            let square = x.iter().map(|&x| f64::from(x / size).powi(2)).sum::<f64>();
            assert!((3.0..=300.0).contains(&square), "{what}: {square}");
            assert!(start.is_finite(), "{what}");
        }
    }
}
