//! The sums of dealt rows' products with the filters.

// Indices throughout, because the loops must unroll into registers.
#![allow(clippy::needless_range_loop)]

use super::dealing::Spread;
use crate::LANES;
use crate::conv::Geometry;
use crate::pointwise::bands::RowsMut;
use crate::simd::{Vector, kernel, prefetch_to_write};

/// Outputs of a row that one dealing serves: what they read stays in the first cache.
pub(super) const STRIP: usize = 14;

/// Outputs of each of a pair of rows whose sums stay in registers: a value read serves both rows,
/// a filter's value all of one.
const TILE: usize = 7;

/// What the windows of some outputs read.
#[derive(Clone, Copy)]
pub(super) struct Window<'a> {
    /// Dealt rows.
    pub ring: &'a [f32],
    pub spread: Spread,
    pub geometry: &'a Geometry,
    /// The dealt row that is the windows' first; after the last comes number 0.
    pub first: usize,
}

kernel! {
    /// `width` outputs of one row of windows, or of a pair of rows, no more than a strip; lanes
    /// from `end` on are spare.
    ///
    /// # Safety
    /// The dealt rows are as many and as long as the windows reach, `taps` as many as the geometry
    /// says; the outputs belong to the caller alone.
    pub(super) unsafe fn convolve_rows<V>(
        window: Window, taps: &[f32], end: usize, y: RowsMut, width: usize, pair: bool,
    ) {
        let narrow = end <= V::Half::LANES;
        // SAFETY: the caller's promise.
        unsafe {
            match (narrow, pair) {
                (true, true) => convolve_lanes::<V::Half, 2>(window, taps, end, y, width),
                (true, false) => convolve_lanes::<V::Half, 1>(window, taps, end, y, width),
                (false, true) => convolve_lanes::<V, 2>(window, taps, end, y, width),
                (false, false) => convolve_lanes::<V, 1>(window, taps, end, y, width),
            }
        }
    }
}

/// [`convolve_rows`] with the vectors that suit, for `R` rows.
///
/// # Safety
/// As there, and the machine has `V`'s instructions.
#[inline(always)]
unsafe fn convolve_lanes<V: Vector, const R: usize>(
    window: Window,
    taps: &[f32],
    end: usize,
    y: RowsMut,
    width: usize,
) {
    for lane in (0..LANES).step_by(V::LANES) {
        // SAFETY: in bounds by the caller's promise.
        unsafe {
            let taps = taps.as_ptr().add(lane);
            let mut j = 0;
            while j < width {
                let x = window.ring.as_ptr().add(j * LANES + lane);
                let y = (y.start.add(j * LANES + lane), y.stride);
                j += if lane >= end {
                    for i in 0..R {
                        V::splat(0.0).store(y.0.add(i * y.1));
                    }
                    1
                } else if width - j >= TILE {
                    convolve::<V, R, TILE>(x, window, taps, y)
                } else {
                    convolve::<V, R, 1>(x, window, taps, y)
                };
            }
        }
    }
}

/// `N` outputs of `R` rows, one or two, from what lies from `x` on, which is in the first dealt
/// row; `y` is where they go and from one row to the next. Returns `N`.
///
/// # Safety
/// The pixels and taps are there, and the machine has `V`'s instructions.
#[inline(always)]
unsafe fn convolve<V: Vector, const R: usize, const N: usize>(
    x: *const f32,
    window: Window,
    taps: *const f32,
    y: (*mut f32, usize),
) -> usize {
    let Window { ring, spread, geometry, first } = window;
    let (height, width) = geometry.kernel;
    let stride = geometry.stride.0;
    let slots = ring.len() / spread.len();
    // SAFETY: the caller's promise.
    unsafe {
        // By then the next rows' lines have come.
        for j in 0..R * N {
            prefetch_to_write(y.0.wrapping_add((j / N + R) * y.1 + j % N * LANES));
        }
        let mut sums = [[V::splat(0.0); N]; R];
        let mut slot = first;
        for row in 0..height + (R - 1) * stride {
            let x = x.add(slot * spread.len());
            slot = if slot + 1 == slots { 0 } else { slot + 1 };
            // The filters' rows that lie on this one, for the first and the second output row.
            let tap = [row, row.wrapping_sub(stride)]
                .map(|row| taps.wrapping_add(row.wrapping_mul(width * LANES)));
            match (row < height, R == 2 && row >= stride) {
                (true, true) => convolve_row::<V, R, N, 0, 2>(x, spread, tap, width, &mut sums),
                (true, false) => convolve_row::<V, R, N, 0, 1>(x, spread, tap, width, &mut sums),
                (false, true) => convolve_row::<V, R, N, 1, 2>(x, spread, tap, width, &mut sums),
                (false, false) => (),
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            for (j, sum) in sums.iter().enumerate() {
                sum.store(y.0.add(i * y.1 + j * LANES));
            }
        }
    }
    N
}

/// Adds the products of one dealt row to the sums of output rows `FROM` to `TO`.
///
/// # Safety
/// The pixels and taps are there, and the machine has `V`'s instructions.
#[inline(always)]
unsafe fn convolve_row<
    V: Vector,
    const R: usize,
    const N: usize,
    const FROM: usize,
    const TO: usize,
>(
    mut x: *const f32,
    spread: Spread,
    taps: [*const f32; 2],
    width: usize,
    sums: &mut [[V; N]; R],
) {
    // As `Spread::at`, without its divisions.
    let mut remainder = 0;
    for kx in 0..width {
        let mut tap = sums[0][0];
        let mut tap_2 = tap;
        // SAFETY: the caller's promise.
        unsafe {
            if FROM == 0 {
                tap = V::load(taps[0].add(kx * LANES));
            }
            if TO == 2 {
                tap_2 = V::load(taps[1].add(kx * LANES));
            }
            for j in 0..N {
                let x = V::load(x.add(j * LANES));
                if FROM == 0 {
                    sums[0][j] = x.mul_add(tap, sums[0][j]);
                }
                if TO == 2 {
                    sums[R - 1][j] = x.mul_add(tap_2, sums[R - 1][j]);
                }
            }
        }
        x = x.wrapping_add(spread.columns * LANES);
        remainder += 1;
        if remainder == spread.stride {
            remainder = 0;
            x = x.wrapping_sub(spread.len()).wrapping_add(LANES);
        }
    }
}
