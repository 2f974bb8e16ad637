//! Sums per lane over pictures, rows and columns.

use super::bands::TASK_PIXELS;
use crate::threads::Shared;
use crate::{Buffer, Cpu, LANES, View};

/// Values of one sum of a block in `f32` memory: an `f64` for each lane.
const SUM: usize = LANES * 2;

/// Adds up `N` quantities per lane in `f64`: `row(picture, block, y, sums)` adds those of a row of
/// `of`'s pixels to `sums`. Returns them by block.
///
/// Each task sums some pictures' parts of one block; the tasks' sums are then added in order. What
/// a task covers is up to the tensor's size alone, hence so is the result.
pub(crate) fn sum_rows<const N: usize>(
    cpu: &Cpu,
    of: &View,
    row: impl Fn(usize, usize, usize, &mut [[f64; LANES]; N]) + Sync,
) -> Vec<[[f64; LANES]; N]> {
    let (blocks, pictures, height) = (of.blocks, of.layout.pictures, of.layout.height);
    let together = TASK_PIXELS.div_ceil((height * of.layout.width).max(1));
    let parts = pictures.div_ceil(together);
    // One small allocation for a pass over a whole tensor.
    let mut partial = Buffer::zeroed(blocks * parts * N * SUM);
    let shared = Shared::new(&mut partial);
    cpu.for_each(blocks * parts, |task| {
        let (block, part) = (task / parts, task % parts);
        let mut sums = [[0.0; LANES]; N];
        for picture in part * together..pictures.min((part + 1) * together) {
            for y in 0..height {
                row(picture, block, y, &mut sums);
            }
        }
        // SAFETY: each task has its own part.
        let own = unsafe { shared.slice(task * N * SUM, N * SUM) };
        for (own, sum) in own.chunks_exact_mut(SUM).zip(&sums) {
            own.copy_from_slice(bytemuck::cast_slice(sum));
        }
    });
    let partial: &[[f64; LANES]] = bytemuck::cast_slice(&partial[..blocks * parts * N * SUM]);
    let mut totals = vec![[[0.0; LANES]; N]; blocks];
    for (i, sum) in partial.iter().enumerate() {
        let total = &mut totals[i / N / parts][i % N];
        for (total, sum) in total.iter_mut().zip(sum) {
            *total += sum;
        }
    }
    totals
}
