//! What happens to each value by itself, sums per lane, and the way into and out of the blocked
//! layout.

pub(crate) mod bands;
pub(crate) mod lanes;
pub(crate) mod sums;

use crate::simd::kernel;
use crate::threads::Shared;
use crate::{Channels, Cpu, LANES, View, ViewMut};
use bands::{assert_same_size, for_each_band, row};
use lanes::by_block;
use sums::sum_rows;

/// Gradient of `y = max(0, z)`: `dz = dy` where `y > 0`, else zero.
pub fn relu_backward(cpu: &Cpu, y: View, dy: View, dz: &mut ViewMut) {
    assert_same_size(&y, &dz.as_view());
    assert_same_size(&dy, &dz.as_view());
    for_each_band(cpu, dz, false, |band| {
        for i in band.rows.clone() {
            let (y, dy) =
                (row(&y, band.picture, band.block, i), row(&dy, band.picture, band.block, i));
            // SAFETY: rows of the same length.
            unsafe { relu_backward_row(cpu, y, dy, band.row(i)) };
        }
    });
}

kernel! {
    /// # Safety
    /// All have the same length, a multiple of 16.
    unsafe fn relu_backward_row<V>(y: &[f32], dy: &[f32], dz: &mut [f32]) {
        // SAFETY: in bounds by the caller's promise.
        unsafe {
            let zero = V::splat(0.0);
            for i in (0..dz.len()).step_by(V::LANES) {
                let dy = V::load(dy.as_ptr().add(i));
                let y = V::load(y.as_ptr().add(i));
                y.select_greater(zero, dy, zero).store(dz.as_mut_ptr().add(i));
            }
        }
    }
}

/// Sum of `dy` over pictures, rows and columns for each lane: a bias's gradient. `out` has an
/// entry for each lane.
pub fn sum_per_lane(cpu: &Cpu, dy: View, out: &mut [f32]) {
    assert_eq!(out.len(), dy.blocks * LANES, "an entry for each lane");
    let totals = sum_rows(cpu, &dy, |picture, block, y, [sum]: &mut [_; 1]| {
        // SAFETY: nothing but the instruction set is asked for, and `cpu` has it.
        unsafe { add_up(cpu, row(&dy, picture, block, y), sum) };
    });
    for (out, total) in out.iter_mut().zip(totals.iter().flatten().flatten()) {
        *out = *total as f32;
    }
}

kernel! {
    /// Adds a row's pixels to `sum`.
    ///
    /// # Safety
    /// None is asked.
    unsafe fn add_up<V>(x: &[f32], sum: &mut [f64; LANES]) {
        let mut local = *sum;
        for pixel in x.as_chunks::<LANES>().0 {
            for lane in 0..LANES {
                local[lane] += f64::from(pixel[lane]);
            }
        }
        *sum = local;
    }
}

/// `y = x`; the borders may differ.
pub fn copy(cpu: &Cpu, x: View, y: &mut ViewMut) {
    assert_same_size(&x, &y.as_view());
    for_each_band(cpu, y, false, |band| {
        for i in band.rows.clone() {
            let x = row(&x, band.picture, band.block, i);
            band.row(i).copy_from_slice(x);
        }
    });
}

/// `y += x`; the borders may differ.
pub fn add(cpu: &Cpu, x: View, y: &mut ViewMut) {
    assert_same_size(&x, &y.as_view());
    for_each_band(cpu, y, true, |band| {
        for i in band.rows.clone() {
            // SAFETY: rows of the same length.
            unsafe { add_row(cpu, row(&x, band.picture, band.block, i), band.row(i)) };
        }
    });
}

kernel! {
    /// `y += x`.
    ///
    /// # Safety
    /// Both have the same length, a multiple of 16.
    pub(crate) unsafe fn add_row<V>(x: &[f32], y: &mut [f32]) {
        // SAFETY: in bounds by the caller's promise.
        unsafe {
            for i in (0..y.len()).step_by(V::LANES) {
                let to = y.as_mut_ptr().add(i);
                V::load(to).add(V::load(x.as_ptr().add(i))).store(to);
            }
        }
    }
}

/// Zeroes each value with probability `rate` and scales the others by `1 / (1 - rate)` (inverted
/// dropout). Which ones is decided by a hash of `seed` and the value's picture, lane in the view,
/// row and column, and by nothing else.
pub fn dropout(cpu: &Cpu, x: View, rate: f32, seed: u64, y: &mut ViewMut) {
    drop_values(cpu, x, rate, seed, false, y);
}

/// Gradient of [`dropout`] with the same `rate` and `seed`: `dx = ` (`+=` if `accumulate`) `dy`
/// through the same mask.
pub fn dropout_backward(
    cpu: &Cpu,
    dy: View,
    rate: f32,
    seed: u64,
    accumulate: bool,
    dx: &mut ViewMut,
) {
    drop_values(cpu, dy, rate, seed, accumulate, dx);
}

/// What both directions of dropout do.
fn drop_values(cpu: &Cpu, x: View, rate: f32, seed: u64, accumulate: bool, y: &mut ViewMut) {
    assert_same_size(&x, &y.as_view());
    let mask = Mask {
        threshold: (f64::from(rate) * (1u64 << 31) as f64) as u32,
        scale: 1.0 / (1.0 - rate),
    };
    for_each_band(cpu, y, accumulate, |band| {
        for i in band.rows.clone() {
            let x = row(&x, band.picture, band.block, i);
            let key = mix(mix(seed, band.picture), i);
            // SAFETY: rows of the same length.
            unsafe { drop_row(cpu, x, mask, key, band.block, accumulate, band.row(i)) };
        }
    });
}

/// Which values dropout zeroes and what it does to the others.
#[derive(Clone, Copy)]
struct Mask {
    /// Those whose 31 random bits are less.
    threshold: u32,
    scale: f32,
}

/// A 64-bit hash: the finaliser of splitmix64 (Steele, Lea, Flood 2014) on a counter from `key`.
#[inline(always)]
fn mix(key: u64, counter: usize) -> u64 {
    let mut z = key.wrapping_add((counter as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A 32-bit hash: MurmurHash3's finaliser (Appleby 2011), which vector units can do.
#[inline(always)]
fn mix32(mut h: u32) -> u32 {
    h = (h ^ (h >> 16)).wrapping_mul(0x85EB_CA6B);
    h = (h ^ (h >> 13)).wrapping_mul(0xC2B2_AE35);
    h ^ (h >> 16)
}

kernel! {
    /// Dropout of a row; `key` is the hash of all but lane and column.
    ///
    /// # Safety
    /// None is asked.
    unsafe fn drop_row<V>(
        x: &[f32], mask: Mask, key: u64, block: usize, accumulate: bool, y: &mut [f32],
    ) {
        let (x, y) = (x.as_chunks::<LANES>().0, y.as_chunks_mut::<LANES>().0);
        for (column, (x, y)) in x.iter().zip(y).enumerate() {
            let key = mix(key, column);
            for lane in 0..LANES {
                // Twice, with half of the key each time: pixels whose halves agree part again.
                let counter = ((block * LANES + lane) as u32).wrapping_mul(0x9E37_79B9);
                let once = mix32((key as u32).wrapping_add(counter));
                let bits = mix32(once ^ (key >> 32) as u32);
                let value = if bits >> 1 < mask.threshold { 0.0 } else { x[lane] * mask.scale };
                y[lane] = if accumulate { y[lane] + value } else { value };
            }
        }
    }
}

/// Dense pictures of `channels.count()` planes each into the blocked layout; spare lanes and
/// border become zero.
pub fn from_nchw(cpu: &Cpu, dense: &[f32], channels: &Channels, y: &mut ViewMut) {
    let layout = y.layout;
    assert_eq!(y.blocks, channels.blocks(), "the view holds the channels");
    let plane = layout.height * layout.width;
    assert_eq!(dense.len(), layout.pictures * channels.count() * plane, "all pictures' planes");
    let blocks = by_block(channels);
    for_each_band(cpu, y, false, |band| {
        let (picture, own) = (band.picture, blocks[band.block]);
        for i in band.rows.clone() {
            let pixels = band.row(i);
            pixels.fill(0.0);
            for lane in 0..own.count {
                let channel = picture * channels.count() + own.first + lane;
                let from = &dense[channel * plane + i * layout.width..][..layout.width];
                for (pixel, value) in pixels.as_chunks_mut::<LANES>().0.iter_mut().zip(from) {
                    pixel[lane] = *value;
                }
            }
        }
    });
}

/// Space to depth: from dense pictures of `(channels, height, width)`, whose pixels become one of `y`'s
/// two by two; rows and columns that are missing in the last ones are zeros. Its channels are those of
/// the upper left pixel, then of the upper right one, the lower left and the lower right one.
///
/// Panics where these are more than a block's, or where pictures and `y` are not of these sizes.
pub fn space_to_depth(
    cpu: &Cpu,
    dense: &[f32],
    (channels, height, width): (usize, usize, usize),
    y: &mut ViewMut,
) {
    let layout = y.layout;
    assert!(4 * channels <= LANES && y.blocks == 1, "four pixels' channels are one block");
    let halves = (height.div_ceil(2), width.div_ceil(2));
    assert_eq!((layout.height, layout.width), halves, "half as many rows and columns");
    let plane = height * width;
    assert_eq!(dense.len(), layout.pictures * channels * plane, "all pictures' planes");
    for_each_band(cpu, y, false, |band| {
        let picture = &dense[band.picture * channels * plane..][..channels * plane];
        for i in band.rows.clone() {
            let pixels = band.row(i).as_chunks_mut::<LANES>().0;
            pixels.fill([0.0; LANES]);
            for (lane, part) in (0..4 * channels).map(|lane| (lane, lane / channels)) {
                let (row, first) = (2 * i + part / 2, part % 2);
                let from = &picture[lane % channels * plane..][..plane];
                if row < height {
                    let row = &from[row * width..][..width];
                    let values = row.iter().skip(first).step_by(2);
                    pixels.iter_mut().zip(values).for_each(|(pixel, value)| pixel[lane] = *value);
                }
            }
        }
    });
}

/// The inverse of [`from_nchw`].
pub fn to_nchw(cpu: &Cpu, x: View, channels: &Channels, dense: &mut [f32]) {
    let layout = x.layout;
    assert_eq!(x.blocks, channels.blocks(), "the view holds the channels");
    let plane = layout.height * layout.width;
    assert_eq!(dense.len(), layout.pictures * channels.count() * plane, "all pictures' planes");
    let blocks = by_block(channels);
    let shared = Shared::new(dense);
    cpu.for_each(layout.pictures * x.blocks, |task| {
        let (picture, block) = (task / x.blocks, task % x.blocks);
        let own = blocks[block];
        let start = (picture * channels.count() + own.first) * plane;
        // SAFETY: each task has its block's planes.
        let planes = unsafe { shared.slice(start, own.count * plane) };
        for i in 0..layout.height {
            let pixels = row(&x, picture, block, i).as_chunks::<LANES>().0;
            for lane in 0..own.count {
                let to = &mut planes[lane * plane + i * layout.width..][..layout.width];
                for (value, pixel) in to.iter_mut().zip(pixels) {
                    *value = pixel[lane];
                }
            }
        }
    });
}
