//! Local response normalisation across channels (Krizhevsky et al. 2012, §3.3, with Caffe's
//! `alpha / size`).
//!
//! A window of channels crosses blocks and skips spare lanes. So a few pixels at a time are copied
//! into a dense line of channels with room on both sides, where each lane's window is a plain run.

use crate::border::zero_border;
use crate::pointwise::bands::{assert_same_size, assert_whole};
use crate::pointwise::lanes::{BlockChannels, by_block, split_lanes};
use crate::simd::{Vector, kernel};
use crate::threads::Shared;
use crate::threads::with_scratch;
use crate::{Channels, Cpu, LANES, View, ViewMut};

/// `y = x / d^beta`, `d = k + alpha / size * sum of squares over size channels around it`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lrn {
    /// Channels in the window; odd as a rule. An even window has one more before than after.
    pub size: usize,
    /// Factor, divided by `size` as in Caffe.
    pub alpha: f32,
    /// Exponent.
    pub beta: f32,
    /// Constant.
    pub k: f32,
}

/// Pixels copied at a time: few enough to stay in the first cache, many enough that a value has
/// left the store queue before it is read again at another alignment.
const PIXELS: usize = 8;

/// Normalises `x`, whose lanes hold `channels`.
pub fn forward(cpu: &Cpu, x: View, channels: &Channels, lrn: &Lrn, y: &mut ViewMut) {
    assert_same_size(&x, &y.as_view());
    let (line, blocks) = (Line::new(&x, channels, lrn), by_block(channels));
    for_each_row(cpu, y, false, line.len() * PIXELS, |at, y, scratch| {
        let x = Source::of(&x, at);
        // SAFETY: the pixels lie in the views, and the scratch is as large as asked for.
        unsafe { forward_row(cpu, x, &blocks, line, scratch, y) };
    });
}

/// Gradient of [`forward`] from `x` (what it read) and `dy`: `dx = `, or `+=` if `accumulate`.
pub fn backward(
    cpu: &Cpu,
    x: View,
    dy: View,
    channels: &Channels,
    lrn: &Lrn,
    accumulate: bool,
    dx: &mut ViewMut,
) {
    assert_same_size(&x, &dx.as_view());
    assert_same_size(&dy, &dx.as_view());
    let (line, blocks) = (Line::new(&x, channels, lrn), by_block(channels));
    for_each_row(cpu, dx, accumulate, 3 * line.len() * PIXELS, |at, dx, scratch| {
        let (x, dy) = (Source::of(&x, at), Source::of(&dy, at));
        // SAFETY: the pixels lie in the views, and the scratch is as large as asked for.
        unsafe { backward_row(cpu, x, dy, &blocks, line, accumulate, scratch, dx) };
    });
}

/// One pixel's channels in a dense line, and what is done to them.
#[derive(Clone, Copy)]
struct Line {
    /// Channels in the window before and after its own; no more than there are.
    before: usize,
    after: usize,
    channels: usize,
    /// `alpha / size`.
    factor: f32,
    beta: f32,
    k: f32,
    /// Whether the exponent is that of every published network and all `d` are normal numbers.
    usual: bool,
}

impl Line {
    fn new(x: &View, channels: &Channels, lrn: &Lrn) -> Self {
        assert_eq!(x.blocks, channels.blocks(), "the view holds the channels");
        let count = channels.count();
        Self {
            before: (lrn.size / 2).min(count),
            after: (lrn.size.saturating_sub(1) / 2).min(count),
            channels: count,
            factor: lrn.alpha / lrn.size as f32,
            beta: lrn.beta,
            k: lrn.k,
            usual: lrn.beta == 0.75 && lrn.k >= f32::MIN_POSITIVE && lrn.alpha >= 0.0,
        }
    }

    /// Zeros on both sides: whole blocks of them, so that blocks without spare lanes lie on cache
    /// lines.
    fn padding(&self) -> usize {
        self.before.max(self.after).next_multiple_of(LANES)
    }

    /// Values, with those that the last block's spare lanes reach.
    fn len(&self) -> usize {
        self.channels.next_multiple_of(LANES) + LANES + 2 * self.padding()
    }

    /// Channels in the window.
    fn window(&self) -> usize {
        self.before + 1 + self.after
    }
}

/// All blocks' pixels of one row, to read: that in block `b` and column `c` starts at
/// `b * block_stride + c * 16`.
#[derive(Clone, Copy)]
struct Source<'a> {
    values: &'a [f32],
    block_stride: usize,
}

impl<'a> Source<'a> {
    fn of(x: &View<'a>, (picture, row): (usize, usize)) -> Self {
        let end = x.offset(picture, x.blocks - 1, row, x.layout.width);
        Self {
            values: &x.data[x.offset(picture, 0, row, 0)..end],
            block_stride: x.layout.block_stride(),
        }
    }
}

/// As [`Source`], to write.
#[derive(Clone, Copy)]
struct Target {
    start: *mut f32,
    block_stride: usize,
    width: usize,
}

/// Calls `work` once for each picture and row with where all its blocks go and with scratch memory,
/// zeroed; zeroes `y`'s border too unless `accumulate`.
fn for_each_row(
    cpu: &Cpu,
    y: &mut ViewMut,
    accumulate: bool,
    scratch: usize,
    work: impl Fn((usize, usize), Target, &mut [f32]) + Sync,
) {
    assert_whole(&y.as_view());
    let layout = y.layout;
    let (first_block, blocks) = (y.first_block, y.blocks);
    let values = Shared::new(y.data);
    cpu.for_each(layout.pictures * layout.height, |task| {
        let (picture, row) = (task / layout.height, task % layout.height);
        if row == 0 && !accumulate {
            for block in first_block..first_block + blocks {
                // SAFETY: pixels are all that the other tasks write.
                unsafe { zero_border(values, &layout, picture, block) };
            }
        }
        let target = Target {
            // SAFETY: inside; the row's pixels are this task's alone.
            start: unsafe { values.at(layout.offset(picture, first_block, row, 0)) },
            block_stride: layout.block_stride(),
            width: layout.width,
        };
        with_scratch(scratch, |scratch| {
            scratch.fill(0.0);
            work((picture, row), target, scratch);
        });
    });
}

/// `d ^ -beta`.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
unsafe fn inverse_powers<V: Vector, const USUAL: bool, const N: usize>(
    mut d: [V; N],
    beta: f32,
) -> [V; N] {
    // SAFETY: the array is long enough; the caller's promise.
    unsafe {
        if USUAL {
            return inverse_three_quarters(d);
        }
        let mut values = [0.0f32; LANES];
        for d in &mut d {
            d.store(values.as_mut_ptr());
            for value in &mut values[..V::LANES] {
                *value = value.powf(-beta);
            }
            *d = V::load(values.as_ptr());
        }
        d
    }
}

/// `d ^ -¾` within two units in the last place, for positive `d` that are not subnormal. Roots and
/// divisions would take longer.
///
/// With `h = 1 - d³ y⁴`, the power is `y (1 - h) ^ -¼`: a third-degree polynomial in `h`, the best
/// where the guess leaves it, takes 5 % of error to 1e-5; Newton's step takes that to rounding.
/// Every step is done for all vectors: a chain by itself would wait for each of its results.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
unsafe fn inverse_three_quarters<V: Vector, const N: usize>(d: [V; N]) -> [V; N] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut y = d;
        for y in &mut y {
            *y = y.guess_power();
        }
        let h = errors(d, y);
        let mut power = [V::splat(0.134_852_68); N];
        for c in [0.158_056_63, 0.249_802_13, 0.999_994_6] {
            for i in 0..N {
                power[i] = power[i].mul_add(h[i], V::splat(c));
            }
        }
        for i in 0..N {
            y[i] = y[i].mul(power[i]);
        }
        let h = errors(d, y);
        for i in 0..N {
            y[i] = y[i].mul(V::splat(0.25)).mul_add(h[i], y[i]);
            // Infinity has no logarithm.
            y[i] = d[i].select_greater(V::splat(f32::MAX), V::splat(0.0), y[i]);
        }
        y
    }
}

/// `1 - d³ y⁴`, by factors none of which is beyond what a float holds.
///
/// # Safety
/// The machine has `V`'s instructions.
#[inline(always)]
unsafe fn errors<V: Vector, const N: usize>(d: [V; N], y: [V; N]) -> [V; N] {
    let mut root = d;
    for i in 0..N {
        root[i] = d[i].mul(y[i]);
    }
    for i in 0..N {
        root[i] = root[i].mul(y[i]);
    }
    let mut h = d;
    for i in 0..N {
        h[i] = d[i].mul(root[i]);
    }
    for i in 0..N {
        // SAFETY: the caller's promise.
        h[i] = unsafe { V::splat(0.0).sub(h[i]).mul_add(root[i], V::splat(1.0)) };
    }
    h
}

/// Sum of the `count` values from each lane's `first` on.
///
/// # Safety
/// They are readable, and the machine has `V`'s instructions.
#[inline(always)]
unsafe fn run_sum<V: Vector>(first: *const f32, count: usize) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sum = V::load(first);
        for i in 1..count {
            sum = sum.add(V::load(first.add(i)));
        }
        sum
    }
}

/// Writes the squares of `pixels` pixels' channels in one block into their lines.
///
/// # Safety
/// `x` points to the first pixel in this block; `lines` has room for all pixels.
#[inline(always)]
unsafe fn square<V: Vector>(
    x: *const f32,
    pixels: usize,
    own: BlockChannels,
    line: Line,
    lines: *mut f32,
) {
    for p in 0..pixels {
        for lane in (0..LANES).step_by(V::LANES) {
            // A block's spare lanes are overwritten by the next block's channels.
            // SAFETY: in bounds by the caller's promise.
            unsafe {
                let value = V::load(x.add(p * LANES + lane));
                let at = p * line.len() + line.padding() + own.first + lane;
                value.mul(value).store(lines.add(at));
            }
        }
    }
}

/// Pixels whose windows are summed and whose powers are taken side by side: each is one long
/// chain.
const TOGETHER: usize = 4;

/// Normalises one block of `N` pixels, which has `count` channels; `windows` points to where the
/// first lane's window starts in the first pixel's line.
///
/// # Safety
/// All is there, and the machine has `V`'s instructions.
#[inline(always)]
unsafe fn normalise<V: Vector, const USUAL: bool, const N: usize>(
    windows: *const f32,
    x: *const f32,
    count: usize,
    line: Line,
    y: *mut f32,
) {
    for lane in (0..LANES).step_by(V::LANES) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [V::splat(0.0); N];
            for i in 0..line.window() {
                for (p, sum) in sums.iter_mut().enumerate() {
                    *sum = sum.add(V::load(windows.add(p * line.len() + lane + i)));
                }
            }
            for sum in &mut sums {
                *sum = sum.mul_add(V::splat(line.factor), V::splat(line.k));
            }
            let powers = inverse_powers::<V, USUAL, N>(sums, line.beta);
            for (p, power) in powers.iter().enumerate() {
                let value = V::load(x.add(p * LANES + lane)).mul(*power);
                split_lanes(count, lane, value, V::splat(0.0)).store(y.add(p * LANES + lane));
            }
        }
    }
}

kernel! {
    /// [`forward_pixels`] of a row.
    ///
    /// # Safety
    /// As there.
    unsafe fn forward_row<V>(
        x: Source, blocks: &[BlockChannels], line: Line, scratch: &mut [f32], y: Target,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            if line.usual {
                forward_pixels::<V, true>(x, blocks, line, scratch, y);
            } else {
                forward_pixels::<V, false>(x, blocks, line, scratch, y);
            }
        }
    }
}

/// # Safety
/// All rows hold as many pixels as `y` in each of `blocks`; `scratch` is zero and has a line
/// for each of [`PIXELS`].
#[inline(always)]
unsafe fn forward_pixels<V: Vector, const USUAL: bool>(
    x: Source,
    blocks: &[BlockChannels],
    line: Line,
    scratch: &mut [f32],
    y: Target,
) {
    for first in (0..y.width).step_by(PIXELS) {
        let pixels = PIXELS.min(y.width - first);
        // SAFETY: in bounds by the caller's promise.
        unsafe {
            let x_at = x.values.as_ptr().add(first * LANES);
            let y_at = y.start.add(first * LANES);
            let squares = scratch.as_mut_ptr();
            for (b, own) in blocks.iter().enumerate() {
                square::<V>(x_at.add(b * x.block_stride), pixels, *own, line, squares);
            }
            for (b, own) in blocks.iter().enumerate() {
                let lines = squares.add(line.padding() + own.first - line.before);
                let x_at = x_at.add(b * x.block_stride);
                let y_at = y_at.add(b * y.block_stride);
                let mut p = 0;
                while p < pixels {
                    let together = if pixels - p < TOGETHER { 1 } else { TOGETHER };
                    let at = (lines.add(p * line.len()), x_at.add(p * LANES));
                    let y_at = y_at.add(p * LANES);
                    if together == 1 {
                        normalise::<V, USUAL, 1>(at.0, at.1, own.count, line, y_at);
                    } else {
                        normalise::<V, USUAL, TOGETHER>(at.0, at.1, own.count, line, y_at);
                    }
                    p += together;
                }
            }
        }
    }
}

kernel! {
    /// [`backward_pixels`] of a row.
    ///
    /// # Safety
    /// As there.
    unsafe fn backward_row<V>(
        x: Source, dy: Source, blocks: &[BlockChannels], line: Line, accumulate: bool,
        scratch: &mut [f32], dx: Target,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            if line.usual {
                backward_pixels::<V, true>(x, dy, blocks, line, accumulate, scratch, dx);
            } else {
                backward_pixels::<V, false>(x, dy, blocks, line, accumulate, scratch, dx);
            }
        }
    }
}

/// `dx = dy / d^beta - 2 beta alpha / size * x * sum of dy x / d^(beta+1)`, the sum over the
/// channels whose windows hold this one.
///
/// # Safety
/// All rows hold as many pixels as `dx` in each of `blocks`; `scratch` is zero and has three
/// lines for each of [`PIXELS`].
#[inline(always)]
unsafe fn backward_pixels<V: Vector, const USUAL: bool>(
    x: Source,
    dy: Source,
    blocks: &[BlockChannels],
    line: Line,
    accumulate: bool,
    scratch: &mut [f32],
    dx: Target,
) {
    for first in (0..dx.width).step_by(PIXELS) {
        let pixels = PIXELS.min(dx.width - first);
        // SAFETY: in bounds by the caller's promise.
        unsafe {
            let x_at = x.values.as_ptr().add(first * LANES);
            let dy_at = dy.values.as_ptr().add(first * LANES);
            let dx_at = dx.start.add(first * LANES);
            let squares = scratch.as_mut_ptr();
            let direct = squares.add(PIXELS * line.len());
            let shares = squares.add(2 * PIXELS * line.len());
            for (b, own) in blocks.iter().enumerate() {
                square::<V>(x_at.add(b * x.block_stride), pixels, *own, line, squares);
            }
            for (b, own) in blocks.iter().enumerate() {
                for p in 0..pixels {
                    for lane in (0..LANES).step_by(V::LANES) {
                        let at = p * line.len() + line.padding() + own.first + lane;
                        let sum: V = run_sum(squares.add(at - line.before), line.window());
                        let d = sum.mul_add(V::splat(line.factor), V::splat(line.k));
                        let x = V::load(x_at.add(b * x.block_stride + p * LANES + lane));
                        let dy = V::load(dy_at.add(b * dy.block_stride + p * LANES + lane));
                        let value = dy.mul(inverse_powers::<V, USUAL, 1>([d], line.beta)[0]);
                        value.store(direct.add(at));
                        let share = value.mul(x).div(d);
                        split_lanes(own.count, lane, share, V::splat(0.0)).store(shares.add(at));
                    }
                }
            }
            let slope = V::splat(-2.0 * line.beta * line.factor);
            for (b, own) in blocks.iter().enumerate() {
                for p in 0..pixels {
                    for lane in (0..LANES).step_by(V::LANES) {
                        let at = p * line.len() + line.padding() + own.first + lane;
                        // The windows that hold a channel are those of its window mirrored.
                        let sum: V = run_sum(shares.add(at - line.after), line.window());
                        let x = V::load(x_at.add(b * x.block_stride + p * LANES + lane));
                        let value = sum.mul(x).mul_add(slope, V::load(direct.add(at)));
                        let mut value = split_lanes(own.count, lane, value, V::splat(0.0));
                        let to = dx_at.add(b * dx.block_stride + p * LANES + lane);
                        if accumulate {
                            value = value.add(V::load(to));
                        }
                        value.store(to);
                    }
                }
            }
        }
    }
}
