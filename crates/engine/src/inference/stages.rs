//! How many pictures of a batch each part of the network computes at a time.
//!
//! Early layers have large outputs and few weights: a batch's would go to memory and come back.
//! So a network begins with a few pictures at a time, whose values stay in the cache; its later
//! layers have small outputs and many weights, which then are read once for all pictures.

use std::ops::Range;

use super::BATCH;
use super::lowering::{Kernel, Step};
use crate::memory::{Lifetime, Loop};
use crate::placement::{Place, TensorSpec};

/// Bytes that the values which a layer reads and writes may take, for each thread: about a core's
/// share of the caches.
const HELD: usize = 4 << 20;

/// Steps that are computed one after the other for a group of pictures, then for the next.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stage {
    pub steps: Range<usize>,
    /// Pictures of a group.
    pub group: usize,
}

impl Stage {
    /// The times of its steps; the pictures arrive at time 0 and are the first stage's.
    pub fn times(&self) -> Loop {
        let Range { start, end } = self.steps;
        let first = if start == 0 { 0 } else { start + 1 };
        Loop { steps: Lifetime { first, last: end }, group: self.group }
    }
}

/// A step's traffic.
#[derive(Clone, Copy, Debug)]
struct Bytes {
    /// What it reads and writes of a picture.
    values: usize,
    weights: usize,
}

/// One or two stages.
pub(super) fn of(steps: &[Step], buffers: &[TensorSpec], threads: usize) -> Vec<Stage> {
    let values = |place: &Place| {
        place.channels.blocks() * buffers[place.buffer].layout(1).block_stride() * size_of::<f32>()
    };
    let bytes = |step: &Step| Bytes {
        values: values(&step.x) + step.y.iter().map(values).sum::<usize>(),
        weights: match &step.kernel {
            Kernel::Conv { filters, .. } => filters.bytes(),
            _ => 0,
        },
    };
    let bytes: Vec<Bytes> = steps.iter().map(bytes).collect();
    cut(&bytes, HELD * threads)
}

/// The first stage ends where most is saved: a picture's values in place of the weights, which are
/// read again for each group, at worst for each picture.
fn cut(steps: &[Bytes], held: usize) -> Vec<Stage> {
    let saved = steps.iter().scan(0, |saved: &mut isize, step| {
        *saved += step.values as isize - step.weights as isize;
        Some(*saved)
    });
    // Of equal sums the first.
    let most = saved.enumerate().filter(|&(_, saved)| saved > 0).min_by_key(|&(_, saved)| -saved);
    let end = most.map_or(0, |(last, _)| last + 1);
    let largest = steps[..end].iter().map(|step| step.values).max().unwrap_or(0);
    let group = (held / largest.max(1)).clamp(1, BATCH);
    // As few groups, but even ones.
    let group = BATCH.div_ceil(BATCH.div_ceil(group));
    let end = if group < BATCH { end } else { 0 };
    let mut stages =
        vec![Stage { steps: 0..end, group }, Stage { steps: end..steps.len(), group: BATCH }];
    // One of them may be empty, but the pictures must arrive at one.
    stages.retain(|stage| !stage.steps.is_empty() || steps.is_empty());
    stages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(bytes: &[(usize, usize)]) -> Vec<Bytes> {
        bytes.iter().map(|&(values, weights)| Bytes { values, weights }).collect()
    }

    fn stage(steps: Range<usize>, group: usize) -> Stage {
        Stage { steps, group }
    }

    #[test]
    fn stages_end_where_weights_outweigh_values() {
        // A layer of many weights in between does not end a stage that goes on saving.
        let network = steps(&[(90, 1), (60, 10), (20, 30), (40, 5), (10, 70), (10, 5)]);
        assert_eq!(cut(&network, 100), [stage(0..4, 1), stage(4..6, BATCH)]);
        assert_eq!(cut(&network, 200), [stage(0..4, 2), stage(4..6, BATCH)]);
        // Not seven and one.
        assert_eq!(cut(&network, 700)[0], stage(0..4, 4));
        // What fits as it is.
        assert_eq!(cut(&network, 90 * BATCH), [stage(0..6, BATCH)]);
        assert_eq!(cut(&steps(&[(90, 1), (60, 10)]), 100), [stage(0..2, 1)]);
        assert_eq!(cut(&steps(&[(1, 90), (10, 60)]), 5), [stage(0..2, BATCH)]);
        assert!(!cut(&[], 5).is_empty());
    }
}
