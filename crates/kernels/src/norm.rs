//! Batch normalisation (Ioffe & Szegedy 2015, algorithm 1), per lane, and its gradient.
//!
//! Arrays have an entry for each lane of the view: `blocks * 16`. Spare lanes' scale and shift are
//! to be zero.

use crate::pointwise::bands::{assert_same_size, for_each_band, row};
use crate::pointwise::sums::sum_rows;
use crate::simd::kernel;
use crate::{Cpu, LANES, View, ViewMut};

/// Mean and biased variance over pictures, rows and columns.
///
/// Sums are in `f64`, in which a square of an `f32` is exact: the variance keeps `f32`'s accuracy
/// even where the mean is thousands of times the spread.
pub fn statistics(cpu: &Cpu, z: View, mean: &mut [f32], variance: &mut [f32]) {
    assert_eq!(mean.len(), z.blocks * LANES, "an entry for each lane");
    assert_eq!(variance.len(), z.blocks * LANES, "an entry for each lane");
    let totals = sum_rows(cpu, &z, |picture, block, y, sums: &mut [_; 2]| {
        // SAFETY: nothing but the instruction set is asked for, and `cpu` has it.
        unsafe { add_powers(cpu, row(&z, picture, block, y), sums) };
    });
    let count = values(&z);
    for (block, [sum, squares]) in totals.iter().enumerate() {
        for lane in 0..LANES {
            let at = block * LANES + lane;
            let m = sum[lane] / count;
            mean[at] = m as f32;
            // Rounding may leave less than nothing; NaN stays.
            let v = squares[lane] / count - m * m;
            variance[at] = if v < 0.0 { 0.0 } else { v as f32 };
        }
    }
}

/// Values of each lane.
fn values(z: &View) -> f64 {
    (z.layout.pictures * z.layout.height * z.layout.width) as f64
}

kernel! {
    /// Adds a row's values and their squares to `sums`.
    ///
    /// # Safety
    /// None is asked.
    unsafe fn add_powers<V>(z: &[f32], sums: &mut [[f64; LANES]; 2]) {
        let [mut sum, mut squares] = *sums;
        for pixel in z.as_chunks::<LANES>().0 {
            for lane in 0..LANES {
                let value = f64::from(pixel[lane]);
                sum[lane] += value;
                squares[lane] += value * value;
            }
        }
        *sums = [sum, squares];
    }
}

/// `y = scale * z + shift`, then `max(0, ·)` if `relu`. NaN stays NaN.
pub fn apply(cpu: &Cpu, z: View, scale: &[f32], shift: &[f32], relu: bool, y: &mut ViewMut) {
    assert_same_size(&z, &y.as_view());
    assert_eq!(scale.len(), z.blocks * LANES, "an entry for each lane");
    assert_eq!(shift.len(), z.blocks * LANES, "an entry for each lane");
    for_each_band(cpu, y, false, |band| {
        let [scale, shift] = [scale, shift].map(|lanes| of_block(lanes, band.block));
        for i in band.rows.clone() {
            let z = row(&z, band.picture, band.block, i);
            // SAFETY: rows of the same length.
            unsafe { apply_row(cpu, z, scale, shift, relu, band.row(i)) };
        }
    });
}

/// A block's entries.
fn of_block(lanes: &[f32], block: usize) -> &[f32; LANES] {
    &lanes.as_chunks().0[block]
}

kernel! {
    /// # Safety
    /// Both rows have the same length, a multiple of 16.
    unsafe fn apply_row<V>(
        z: &[f32], scale: &[f32; LANES], shift: &[f32; LANES], relu: bool, y: &mut [f32],
    ) {
        for lane in (0..LANES).step_by(V::LANES) {
            // SAFETY: in bounds by the caller's promise.
            unsafe {
                let floor = V::splat(if relu { 0.0 } else { f32::NEG_INFINITY });
                let scale = V::load(scale.as_ptr().add(lane));
                let shift = V::load(shift.as_ptr().add(lane));
                for i in (lane..y.len()).step_by(LANES) {
                    let value = V::load(z.as_ptr().add(i)).mul_add(scale, shift);
                    // In this order NaN passes.
                    floor.max(value).store(y.as_mut_ptr().add(i));
                }
            }
        }
    }
}

/// What the forward pass leaves for [`backward`], for each lane.
#[derive(Clone, Copy)]
pub struct Saved<'a> {
    /// The mean that was subtracted: the batch's, or the running one.
    pub mean: &'a [f32],
    /// `1 / √(variance + ε)` with the batch's biased variance, or the running one.
    pub inverse_std: &'a [f32],
    /// The learned scale, or ones.
    pub gamma: &'a [f32],
    /// Whether mean and variance are constants (running statistics) and not the batch's own, which
    /// change with every value.
    pub frozen: bool,
}

/// Gradients through batch normalisation and, if `relu`, the ReLU after it, from `dy`, the gradient
/// of the output `y` (whose sign is the ReLU's mask; not read without `relu`). Writes those of
/// scale and shift for each lane, and `dz`.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    cpu: &Cpu,
    z: View,
    y: View,
    relu: bool,
    dy: View,
    saved: Saved,
    dgamma: &mut [f32],
    dbeta: &mut [f32],
    dz: &mut ViewMut,
) {
    for view in [&z, &y, &dy] {
        assert_same_size(view, &dz.as_view());
    }
    for lanes in [saved.mean, saved.inverse_std, saved.gamma, dgamma, dbeta] {
        assert_eq!(lanes.len(), z.blocks * LANES, "an entry for each lane");
    }
    let rows = |picture, block, i| Rows {
        z: row(&z, picture, block, i),
        y: row(&y, picture, block, i),
        relu,
        dy: row(&dy, picture, block, i),
    };
    let totals = sum_rows(cpu, &z, |picture, block, i, sums: &mut [_; 2]| {
        let mean = of_block(saved.mean, block);
        // SAFETY: rows of the same length.
        unsafe { add_gradients(cpu, rows(picture, block, i), mean, sums) };
    });
    for (block, [sum, moment]) in totals.iter().enumerate() {
        for lane in 0..LANES {
            let at = block * LANES + lane;
            dbeta[at] = sum[lane] as f32;
            dgamma[at] = (moment[lane] * f64::from(saved.inverse_std[at])) as f32;
        }
    }

    // dz = γ/σ (g − dβ/n − (z − μ)/σ · dγ/n), with g the gradient below the ReLU; constants have
    // no gradient, so that only γ/σ g remains: the limit of many values.
    let count = if saved.frozen { f64::INFINITY } else { values(&z) };
    for_each_band(cpu, dz, false, |band| {
        let mean = of_block(saved.mean, band.block);
        let [sum, moment] = &totals[band.block];
        let mut line =
            Line { mean: *mean, factor: [0.0; LANES], slope: [0.0; LANES], constant: [0.0; LANES] };
        for lane in 0..LANES {
            let at = band.block * LANES + lane;
            let inverse_std = f64::from(saved.inverse_std[at]);
            let factor = f64::from(saved.gamma[at]) * inverse_std;
            line.factor[lane] = factor as f32;
            line.constant[lane] = (-factor * sum[lane] / count) as f32;
            line.slope[lane] = (-factor * inverse_std.powi(2) * moment[lane] / count) as f32;
        }
        for i in band.rows.clone() {
            // SAFETY: rows of the same length.
            unsafe { backward_row(cpu, rows(band.picture, band.block, i), &line, band.row(i)) };
        }
    });
}

/// A row of what [`backward`] reads.
#[derive(Clone, Copy)]
struct Rows<'a> {
    z: &'a [f32],
    y: &'a [f32],
    relu: bool,
    dy: &'a [f32],
}

/// `dz = factor * g + slope * (z - mean) + constant`, for each lane of a block.
struct Line {
    mean: [f32; LANES],
    factor: [f32; LANES],
    slope: [f32; LANES],
    constant: [f32; LANES],
}

kernel! {
    /// Adds a row's `g` and `g * (z - mean)` to `sums`, where `g` is `dy` below the ReLU.
    ///
    /// # Safety
    /// All rows have the same length, a multiple of 16.
    unsafe fn add_gradients<V>(rows: Rows, mean: &[f32; LANES], sums: &mut [[f64; LANES]; 2]) {
        let [mut sum, mut moment] = *sums;
        let pixels = rows.z.as_chunks::<LANES>().0.iter().zip(rows.y.as_chunks::<LANES>().0);
        for ((z, y), dy) in pixels.zip(rows.dy.as_chunks::<LANES>().0) {
            for lane in 0..LANES {
                let g = if !rows.relu || y[lane] > 0.0 { dy[lane] } else { 0.0 };
                sum[lane] += f64::from(g);
                moment[lane] += f64::from(g) * f64::from(z[lane] - mean[lane]);
            }
        }
        *sums = [sum, moment];
    }
}

kernel! {
    /// # Safety
    /// All rows have the same length, a multiple of 16.
    unsafe fn backward_row<V>(rows: Rows, line: &Line, dz: &mut [f32]) {
        for lane in (0..LANES).step_by(V::LANES) {
            // SAFETY: in bounds by the caller's promise.
            unsafe {
                let zero = V::splat(0.0);
                let mean = V::load(line.mean.as_ptr().add(lane));
                let factor = V::load(line.factor.as_ptr().add(lane));
                let slope = V::load(line.slope.as_ptr().add(lane));
                let constant = V::load(line.constant.as_ptr().add(lane));
                for i in (lane..dz.len()).step_by(LANES) {
                    let mut g = V::load(rows.dy.as_ptr().add(i));
                    if rows.relu {
                        g = V::load(rows.y.as_ptr().add(i)).select_greater(zero, g, zero);
                    }
                    let z = V::load(rows.z.as_ptr().add(i)).sub(mean);
                    let dz_value = g.mul_add(factor, z.mul_add(slope, constant));
                    dz_value.store(dz.as_mut_ptr().add(i));
                }
            }
        }
    }
}
