//! The transforms of Strassen's product on vectors of sixteen channels.

// Indices throughout, as the loops must unroll into registers.
#![allow(clippy::needless_range_loop)]

use super::{MOST, POINTS};
use crate::LANES;
use crate::conv::balance::finish_block;
use crate::pointwise::lanes::split_lanes;
use crate::simd::{Vector, kernel, prefetch_to_l2};
use std::ops::Range;

/// Each pixel of a tile in the first block, and from one block to the next.
pub(super) type Sources = [(*const f32, usize); MOST];

/// A pixel's blocks: the channels of each, and a scale for each lane.
pub(super) struct Blocks<'a> {
    pub channels: &'a [u8],
    pub scale: *const f32,
}

/// Scale, bias and floor of each part of the outputs.
pub(super) type PartEnds = [[*const f32; 3]; MOST];

/// Where a tile's points go: from one to the next, and from one block to the next.
#[derive(Clone, Copy)]
pub(super) struct Points {
    pub start: *mut f32,
    pub step: usize,
    pub block: usize,
}

/// The points of (pixel, channels) = (0, 0), (0, 1), (1, 0), (1, 1).
#[inline(always)]
fn split<V: Vector>([a, b, c, d]: [V; 4]) -> [V; POINTS] {
    [a.add(d), c.add(d), a, d, a.add(b), c.sub(a), b.sub(d)]
}

/// (pixel, outputs) = (0, 0), (0, 1), (1, 0), (1, 1) of the points' products.
#[inline(always)]
fn join<V: Vector>(m: [V; POINTS]) -> [V; 4] {
    [
        m[0].add(m[3]).sub(m[4]).add(m[6]),
        m[2].add(m[4]),
        m[1].add(m[3]),
        m[0].sub(m[1]).add(m[2]).add(m[5]),
    ]
}

/// Some lanes of a pixel's block, scaled; zeros where the block or a lane's channel is missing.
///
/// # Safety
/// The blocks there are are readable.
#[inline(always)]
unsafe fn load<V: Vector>(
    (start, step): (*const f32, usize),
    block: usize,
    blocks: &Blocks,
    lane: usize,
) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let Some(&count) = blocks.channels.get(block) else { return V::splat(0.0) };
        let scale = V::load(blocks.scale.add(block * LANES + lane));
        let value = V::load(start.add(block * step + lane)).mul(scale);
        match usize::from(count) {
            LANES => value,
            count => split_lanes(count, lane, value, V::splat(0.0)),
        }
    }
}

/// The seven points of two pixels and two blocks, the first of which are given.
///
/// # Safety
/// As for [`load`].
#[inline(always)]
unsafe fn quarter<V: Vector>(
    x: &Sources,
    (pixel, block): (usize, usize),
    blocks: &Blocks,
    lane: usize,
) -> [V; POINTS] {
    // SAFETY: the caller's promise.
    unsafe {
        split([
            load(x[pixel], block, blocks, lane),
            load(x[pixel], block + 1, blocks, lane),
            load(x[pixel + 1], block, blocks, lane),
            load(x[pixel + 1], block + 1, blocks, lane),
        ])
    }
}

/// Four outputs of the seven sums that lie `step` apart.
///
/// # Safety
/// The sums are readable.
#[inline(always)]
unsafe fn joined<V: Vector>(sums: *const f32, step: usize) -> [V; 4] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut m = [V::splat(0.0); POINTS];
        for point in 0..POINTS {
            m[point] = V::load(sums.add(point * step));
        }
        join(m)
    }
}

/// Asks for some blocks of a tile's pixels, to be read later.
#[inline(always)]
fn ask_for(next: &Sources, pixels: usize, blocks: Range<usize>) {
    for (start, step) in &next[..pixels] {
        for block in blocks.clone() {
            prefetch_to_l2(start.wrapping_add(block * step));
        }
    }
}

kernel! {
    /// The seven points of two pixels and each two blocks.
    ///
    /// # Safety
    /// The blocks are readable, the points writable.
    pub(super) unsafe fn split_once<V>(
        x: &Sources, next: &Sources, blocks: &Blocks, y: Points,
    ) {
        for (i, block) in (0..blocks.channels.len()).step_by(2).enumerate() {
            ask_for(next, 2, block..block + 2);
            for lane in (0..LANES).step_by(V::LANES) {
                // SAFETY: the caller's promise.
                unsafe {
                    let points = quarter::<V>(x, (0, block), blocks, lane);
                    for point in 0..POINTS {
                        points[point].store(y.start.add(i * y.block + point * y.step + lane));
                    }
                }
            }
        }
    }
}

kernel! {
    /// The 49 points of four pixels and each four blocks.
    ///
    /// # Safety
    /// The blocks are readable, the points writable.
    pub(super) unsafe fn split_twice<V>(
        x: &Sources, next: &Sources, blocks: &Blocks, y: Points,
    ) {
        for (i, block) in (0..blocks.channels.len()).step_by(4).enumerate() {
            ask_for(next, 4, block..block + 4);
            for lane in (0..LANES).step_by(V::LANES) {
                // SAFETY: the caller's promise.
                unsafe {
                    let a = quarter::<V>(x, (0, block), blocks, lane);
                    let b = quarter::<V>(x, (0, block + 2), blocks, lane);
                    let c = quarter::<V>(x, (2, block), blocks, lane);
                    let d = quarter::<V>(x, (2, block + 2), blocks, lane);
                    for inner in 0..POINTS {
                        let points = split([a[inner], b[inner], c[inner], d[inner]]);
                        for outer in 0..POINTS {
                            let point = outer * POINTS + inner;
                            points[outer].store(y.start.add(i * y.block + point * y.step + lane));
                        }
                    }
                }
            }
        }
    }
}

kernel! {
    /// Two pixels' two blocks, for each of some tiles, of the seven points' sums, `step` apart.
    ///
    /// # Safety
    /// The sums and ends are readable, the outputs writable.
    pub(super) unsafe fn join_once<V>(
        sums: *const f32, step: usize, y: &[[*mut f32; MOST * MOST]], ends: &PartEnds,
    ) {
        for (i, y) in y.iter().enumerate() {
            for lane in (0..LANES).step_by(V::LANES) {
                // SAFETY: the caller's promise.
                unsafe {
                    let results = joined::<V>(sums.add(i * LANES + lane), step);
                    for i in 0..4 {
                        finish_block(results[i], y[i / 2 * MOST + i % 2], ends[i % 2], lane);
                    }
                }
            }
        }
    }
}

kernel! {
    /// Four pixels' four blocks, for each of some tiles, of the 49 points' sums, `step` apart.
    ///
    /// # Safety
    /// The sums and ends are readable, the outputs writable.
    pub(super) unsafe fn join_twice<V>(
        sums: *const f32, step: usize, y: &[[*mut f32; MOST * MOST]], ends: &PartEnds,
    ) {
        for (i, y) in y.iter().enumerate() {
            for lane in (0..LANES).step_by(V::LANES) {
                // SAFETY: the caller's promise.
                unsafe {
                    let mut quarters = [[V::splat(0.0); POINTS]; 4];
                    for inner in 0..POINTS {
                        let sums = sums.add(inner * step + i * LANES + lane);
                        let outer = joined::<V>(sums, POINTS * step);
                        for q in 0..4 {
                            quarters[q][inner] = outer[q];
                        }
                    }
                    for q in 0..4 {
                        let results = join(quarters[q]);
                        for i in 0..4 {
                            let (pixel, part) = (2 * (q / 2) + i / 2, 2 * (q % 2) + i % 2);
                            finish_block(results[i], y[pixel * MOST + part], ends[part], lane);
                        }
                    }
                }
            }
        }
    }
}
