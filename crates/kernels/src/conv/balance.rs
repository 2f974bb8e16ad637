//! Weights of one size: what products of matrices need that mix or pair channels.
//!
//! Channels of very different size would lose the smaller ones' digits. Networks have such channels,
//! small weights reading large ones, and filters have small weights at their edges; so weights are first
//! brought to one size by powers of two, the channels' by the inverse of them.

use crate::simd::Vector;
use crate::{Buffer, LANES};

/// Powers of two that bring the weights of each channel, and of each output, to one size.
#[derive(Default)]
pub(super) struct Balance {
    /// What inputs are multiplied with, a value for each lane; their weights are divided by it.
    pub inputs: Buffer,
    /// Channels of each block of the inputs; what its spare lanes hold is not to be mixed.
    pub channels: Vec<u8>,
    /// What sums are multiplied with, likewise.
    pub outputs: Buffer,
}

impl Balance {
    /// For `rows`, the weights of each lane of the outputs (`None`: a spare one) and their factor,
    /// of channels that are in such lanes of the inputs, so many in each block.
    pub fn new(
        rows: &[Option<(&[f32], f64)>],
        lanes: &[usize],
        channels: impl Iterator<Item = usize>,
    ) -> Self {
        let channels: Vec<u8> = channels.map(|count| count as u8).collect();
        let mut largest = vec![0f32; lanes.len()];
        let inputs = Buffer::zeroed(channels.len() * LANES);
        let mut balance = Self { inputs, channels, outputs: Buffer::zeroed(rows.len()) };
        for (output, row) in balance.outputs.iter_mut().zip(rows) {
            // A spare lane's sums are no exact zeros; its scale is.
            let Some((row, factor)) = row else { continue };
            let most = row.iter().fold(0f32, |most, weight| most.max(weight.abs()));
            *output = power_of_two(f64::from(most) * factor.abs());
            let factor = (factor.abs() / f64::from(*output)) as f32;
            for (largest, weight) in largest.iter_mut().zip(*row) {
                *largest = largest.max(weight.abs() * factor);
            }
        }
        for (&lane, largest) in lanes.iter().zip(largest) {
            balance.inputs[lane] = power_of_two(f64::from(largest));
        }
        balance
    }

    /// The inputs' size, once balanced, if they had been of size 1.
    pub fn input_size(&self) -> f32 {
        let squares: f32 = self.inputs.iter().map(|scale| scale * scale).sum();
        let channels: f32 = self.channels.iter().map(|&count| f32::from(count)).sum();
        if channels > 0.0 { (squares / channels).sqrt() } else { 1.0 }
    }
}

/// The nearest to a size, far from the ends of the numbers' range; 1 for none.
fn power_of_two(size: f64) -> f32 {
    match size > 0.0 && size.is_finite() {
        true => size.log2().round().clamp(-40.0, 40.0).exp2() as f32,
        false => 1.0,
    }
}

/// y = max(floor, value × scale + bias), some lanes of a block.
///
/// # Safety
/// The ends are readable from `lane` on, the output writable.
#[inline(always)]
pub(super) unsafe fn finish_block<V: Vector>(
    value: V,
    y: *mut f32,
    [scale, bias, floor]: [*const f32; 3],
    lane: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let value = value.mul_add(V::load(scale.add(lane)), V::load(bias.add(lane)));
        V::load(floor.add(lane)).max(value).store(y.add(lane));
    }
}
