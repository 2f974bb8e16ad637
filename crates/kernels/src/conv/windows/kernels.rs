//! Copies of windows, and their sums' way to the outputs.

// Indices throughout, as the loops must unroll into registers.
#![allow(clippy::needless_range_loop)]

use crate::LANES;
use crate::conv::balance::finish_block;
use crate::pointwise::lanes::split_lanes;
use crate::simd::{Vector, kernel, prefetch_to_l2};

/// One block of windows that follow each other.
pub(super) struct Row {
    /// Where the block would start that has a piece's values in their lanes, and the first of those; as
    /// many as there are, then the last again.
    pub pieces: [(*const f32, usize); LANES],
    pub count: usize,
    /// What is copied next, to be asked for.
    pub next: *const f32,
    /// From one window to the next.
    pub step: usize,
    pub windows: usize,
    /// Lanes that hold values, and what each is multiplied with.
    pub channels: usize,
    pub scale: *const f32,
}

/// Pixels of so few channels without gaps. Of each more is copied, to be overwritten by the next.
///
/// # Safety
/// The pixels are readable, and as many channels and [`LANES`] more writable.
pub(super) unsafe fn pack(x: *const f32, pixels: usize, channels: usize, y: *mut f32) {
    for pixel in 0..pixels {
        // SAFETY: the caller's promise.
        unsafe {
            let (from, to) = (x.add(pixel * LANES), y.add(pixel * channels));
            match channels {
                ..=4 => from.copy_to_nonoverlapping(to, 4),
                _ => from.copy_to_nonoverlapping(to, LANES),
            }
        }
    }
}

kernel! {
    /// A block of windows, scaled; spare lanes become zeros.
    ///
    /// # Safety
    /// The pieces are readable with the rest of a block beside them, the scales too, `y` is writable.
    pub(super) unsafe fn copy<V>(row: &Row, y: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe {
            match row.count {
                1 => copy_pieces::<V, 1>(row, y),
                2 => copy_pieces::<V, 2>(row, y),
                3 | 4 => copy_pieces::<V, 4>(row, y),
                _ => copy_pieces::<V, LANES>(row, y),
            }
        }
    }
}

/// # Safety
/// As for [`copy`]; there are no more than `N` pieces.
#[inline(always)]
unsafe fn copy_pieces<V: Vector, const N: usize>(row: &Row, y: *mut f32) {
    let Row { pieces, next, step, windows, channels, scale, .. } = *row;
    for lane in (0..LANES).step_by(V::LANES) {
        // SAFETY: the caller's promise.
        unsafe {
            let scale = V::load(scale.add(lane));
            for window in 0..windows {
                let (from, to) = (window * step + lane, y.add(window * LANES + lane));
                prefetch_to_l2(next.wrapping_add(from));
                let mut value = V::load(pieces[0].0.wrapping_add(from));
                for i in 1..N {
                    let (piece, first) = pieces[i];
                    value = split_lanes(first, lane, value, V::load(piece.wrapping_add(from)));
                }
                value = value.mul(scale);
                if channels < LANES {
                    value = split_lanes(channels, lane, value, V::splat(0.0));
                }
                value.store(to);
            }
        }
    }
}

kernel! {
    /// A block of so many pixels, of its sums.
    ///
    /// # Safety
    /// The sums and ends are readable, the outputs writable.
    pub(super) unsafe fn finish<V>(
        sums: *const f32, pixels: usize, ends: &[*const f32; 3], y: *mut f32,
    ) {
        for i in (0..pixels * LANES).step_by(LANES) {
            for lane in (0..LANES).step_by(V::LANES) {
                // SAFETY: the caller's promise.
                unsafe { finish_block(V::load(sums.add(i + lane)), y.add(i), *ends, lane) };
            }
        }
    }
}
