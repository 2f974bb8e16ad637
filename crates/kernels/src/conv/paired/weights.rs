//! The weights' side of paired channels: which have partners, of what size they are, their products.

// Indices throughout, as the loops must unroll into registers.
#![allow(clippy::needless_range_loop)]

use super::{PAIRS, root_to_power_of_two};
use crate::conv::split::Split;
use crate::simd::kernel;
use crate::threads::Shared;
use crate::{Buffer, Cpu, LANES};
use std::ops::Range;
use std::sync::Mutex;

/// What a filter's products need to know of its weights.
#[derive(Default)]
pub(in crate::conv) struct Weights {
    /// In the order of the packed weights, for each matrix and block of outputs sixteen values each:
    /// −Σ w₁w₂, and what brings sums back to their size.
    outputs: Buffer,
    /// For each matrix, the size of inputs that its weights have been brought to.
    sizes: Vec<f32>,
    /// In which blocks of inputs channels are paired.
    blocks: Vec<bool>,
}

/// What weights are packed for.
pub(in crate::conv) struct Packed<'a> {
    /// Channels of each block of inputs.
    pub lanes: &'a [u8],
    /// In which blocks of inputs channels are paired.
    pub blocks: Vec<bool>,
    /// Blocks of outputs that are computed together.
    pub groups: &'a [Range<usize>],
    /// For each matrix, the size that its inputs are expected to have.
    pub sizes: Vec<f32>,
}

impl Weights {
    /// Brings packed weights to the size of the inputs they are for: `data` has for each group, each
    /// matrix and each of the group's blocks as many vectors as there are lanes.
    pub fn balance(cpu: &Cpu, data: &mut [f32], packed: Packed) -> Self {
        let Packed { lanes, blocks: paired, groups, sizes } = packed;
        let each = lanes.iter().map(|&lanes| usize::from(lanes) * LANES).sum::<usize>();
        let blocks = groups.last().map_or(0, |group| group.end);
        let mut outputs = Buffer::zeroed(blocks * sizes.len() * 2 * LANES);
        let (data, to) = (Shared::new(data), Shared::new(&mut outputs));
        cpu.for_each(groups.len() * sizes.len(), |task| {
            let (group, matrix) = (&groups[task / sizes.len()], task % sizes.len());
            let first = group.start * sizes.len() + matrix * group.len();
            for at in first..first + group.len() {
                // SAFETY: each task has its own matrix of its own group.
                unsafe {
                    let weights = data.slice(at * each, each);
                    let to = to.slice(at * 2 * LANES, 2 * LANES);
                    balance(cpu, weights, lanes, &paired, sizes[matrix], to);
                }
            }
        });
        Self { outputs, sizes, blocks: paired }
    }

    /// Of a group's matrix, for the first of its blocks, the others' following: see
    /// [`Panel`](crate::conv::microkernel::Panel).
    pub fn outputs(&self, group: &Range<usize>, matrix: usize) -> &[f32] {
        &self.outputs[(group.start * self.sizes.len() + matrix * group.len()) * 2 * LANES..]
    }

    /// In which blocks of inputs channels are paired.
    pub fn blocks(&self) -> &[bool] {
        &self.blocks
    }

    /// The size of a matrix' inputs.
    pub fn size(&self, matrix: usize) -> f32 {
        self.sizes.get(matrix).copied().unwrap_or(1.0)
    }
}

/// How many times as large or as small as most, squared, weights may be whose channels have partners.
const SPREAD: f64 = 64.0;

/// Parts that the outputs are looked at in, one after the other's sums.
const PARTS: usize = 16;

/// The blocks whose channels have weights of about one size, in each output and in all; only whole
/// ones. `squares` tells an output's squared weights, of each channel; lanes where nothing is
/// `present` do not matter.
pub(in crate::conv) fn even_blocks(
    cpu: &Cpu,
    lanes: &[u8],
    present: &[bool],
    outputs: usize,
    squares: impl Fn(usize, &mut [f64]) + Sync,
) -> Vec<bool> {
    let mut even: Vec<bool> = lanes.iter().map(|&lanes| usize::from(lanes) == LANES).collect();
    let about = |value: f64, middle: f64| (middle / SPREAD..=middle * SPREAD).contains(&value);
    let starts: Vec<usize> = lanes
        .iter()
        .scan(0, |end, &lanes| Some(std::mem::replace(end, *end + usize::from(lanes))))
        .collect();
    let split = Split { total: outputs, parts: PARTS.min(outputs.max(1)) };
    let parts: Vec<Mutex<(Vec<f64>, Vec<bool>)>> = (0..split.parts)
        .map(|_| Mutex::new((vec![0.0; present.len()], vec![true; lanes.len()])))
        .collect();
    cpu.for_each(split.parts, |part| {
        let mut found = parts[part].lock().expect("nobody panics with it");
        let (sums, even) = &mut *found;
        let mut of_output = vec![0.0; present.len()];
        for output in split.part(part) {
            squares(output, &mut of_output);
            let mean = of_output.iter().sum::<f64>() / present.len() as f64;
            for ((even, &start), &lanes) in even.iter_mut().zip(&starts).zip(lanes) {
                let block = &of_output[start..start + usize::from(lanes)];
                *even &= about(block.iter().sum::<f64>() / block.len() as f64, mean);
                // What an output has no weight for may be of any size.
                let none = |(&square, &present): (&f64, &bool)| present && square == 0.0;
                *even &= mean == 0.0 || !block.iter().zip(&present[start..]).any(none);
            }
            sums.iter_mut().zip(&of_output).for_each(|(sum, square)| *sum += square);
        }
    });
    let mut sums = vec![0.0; present.len()];
    for part in parts {
        let (of_part, evenly) = part.into_inner().expect("nobody panics with it");
        sums.iter_mut().zip(of_part).for_each(|(sum, part)| *sum += part);
        even.iter_mut().zip(evenly).for_each(|(even, evenly)| *even &= evenly);
    }
    let mut sorted: Vec<f64> =
        sums.iter().zip(present).filter(|&(_, &present)| present).map(|(&sum, _)| sum).collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
    for ((even, &start), &lanes) in even.iter_mut().zip(&starts).zip(lanes) {
        let block = start..start + usize::from(lanes);
        *even &= block.into_iter().all(|lane| !present[lane] || about(sums[lane], middle));
    }
    even
}

kernel! {
    /// Brings the weights of sixteen outputs to a size; see [`Weights::outputs`] for what is written.
    ///
    /// # Safety
    /// None but that of the instruction set.
    unsafe fn balance<V>(
        weights: &mut [f32], lanes: &[u8], paired: &[bool], size: f32, to: &mut [f32],
    ) {
        let rows = weights.as_chunks_mut::<LANES>().0;
        let mut squares = [0f64; LANES];
        let mut count = 0;
        let mut start = 0;
        for (&lanes, &paired) in lanes.iter().zip(paired) {
            let end = start + usize::from(lanes);
            if paired {
                count += LANES;
                for row in &rows[start..end] {
                    for (square, &weight) in squares.iter_mut().zip(row) {
                        *square += f64::from(weight) * f64::from(weight);
                    }
                }
            }
            start = end;
        }
        let mut factors = [1f32; LANES];
        let expected = f64::from(size) * f64::from(size) * count as f64;
        for (factor, square) in factors.iter_mut().zip(squares) {
            if square > 0.0 {
                *factor = 1.0 / root_to_power_of_two(square / expected);
            }
        }
        let mut nothing = [true; LANES];
        for row in rows.iter_mut() {
            for lane in 0..LANES {
                row[lane] *= factors[lane];
                nothing[lane] &= row[lane] == 0.0;
            }
        }
        let mut products = [0f32; LANES];
        start = 0;
        for (&lanes, &paired) in lanes.iter().zip(paired) {
            if paired {
                for i in 0..PAIRS {
                    let (first, second) = (&rows[start + i], &rows[start + i + LANES / 2]);
                    for lane in 0..LANES {
                        let product = first[lane] * second[lane];
                        products[lane] -= if i % 2 == 0 { product } else { -product };
                    }
                }
            }
            start += usize::from(lanes);
        }
        to[..LANES].copy_from_slice(&products);
        for (lane, to) in to[LANES..].iter_mut().enumerate() {
            // What rounding leaves in the sums of a spare lane becomes zero.
            *to = if nothing[lane] { 0.0 } else { 1.0 / factors[lane] };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_of_another_size_have_no_partner() {
        let cpu = Cpu::new(1).unwrap();
        let (lanes, all) = ([16, 8, 16], [true; 40]);
        let blocks = |weight: &(dyn Fn(usize, usize) -> f64 + Sync), present: &[bool]| {
            even_blocks(&cpu, &lanes, present, 50, |output, squares| {
                (0..40).for_each(|lane| squares[lane] = weight(output, lane));
            })
        };
        assert_eq!(blocks(&|_, _| 1e-30, &all), [true, false, true]);
        // Whole outputs may have any size.
        assert_eq!(blocks(&|output, _| 10f64.powi(output as i32), &all), [true, false, true]);
        for wrong in [70.0, 1.0 / 70.0, 0.0, f64::NAN] {
            let weight = |_, lane| if lane == 39 { wrong } else { 1.0 };
            assert!(!blocks(&weight, &all)[2], "{wrong}");
        }
        // A single output that reads the first blocks only.
        let weight = |output, lane| if output == 7 && lane > 23 { 0.0 } else { 1.0 };
        assert_eq!(blocks(&weight, &all), [true, false, false]);
        let mut present = all;
        present[39] = false;
        let weight = |_, lane| if lane == 39 { 0.0 } else { 1.0 };
        assert_eq!(blocks(&weight, &present), [true, false, true]);
        assert!(even_blocks(&cpu, &[], &[], 3, |_, _| {}).is_empty());
        assert_eq!(even_blocks(&cpu, &[16], &[true; 16], 0, |_, _| {}), [true]);
    }
}
