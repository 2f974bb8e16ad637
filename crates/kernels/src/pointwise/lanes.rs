//! Which lanes of a block hold channels.

use crate::simd::Vector;
use crate::{Channels, LANES};

/// The channels of one block.
#[derive(Clone, Copy)]
pub(crate) struct BlockChannels {
    /// Number of the first of them among all channels.
    pub first: usize,
    /// How many: the block's lanes from here on are spare.
    pub count: usize,
}

/// Those of each block in turn.
pub(crate) fn by_block(channels: &Channels) -> Vec<BlockChannels> {
    let next = |first: &mut usize, count: usize| {
        let block = BlockChannels { first: *first, count };
        *first += count;
        Some(block)
    };
    channels.per_block().scan(0, next).collect()
}

/// `below` in a block's lanes before number `split`, `from` in that and later ones; the vectors'
/// first lane is number `lane`.
///
/// # Safety
/// `lane + V::LANES <= 16`, and the machine has `V`'s instructions.
#[inline(always)]
pub(crate) unsafe fn split_lanes<V: Vector>(split: usize, lane: usize, below: V, from: V) -> V {
    const NUMBERS: [f32; LANES] =
        [0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.];
    // SAFETY: in the array; the caller's promise.
    unsafe {
        let numbers = V::load(NUMBERS.as_ptr().add(lane));
        numbers.select_greater(V::splat(split as f32 - 0.5), from, below)
    }
}
