//! How the work of a convolution by tiles is cut into tasks.

use crate::LANES;
use crate::conv::filters::Filters;
use crate::conv::split::Split;
use std::ops::Range;

/// Values that a task may keep in its core's second-level cache, beside the weights that stream
/// through it.
const RESIDENT: usize = 160 << 10;

/// Tiles that a task should have at least: with fewer, the weights that it reads from beyond the
/// cache arrive more slowly than they are used.
const ENOUGH: usize = 9;

/// Tasks: each some tiles and some groups of output blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// The most blocks of a group.
    pub largest: usize,
    /// All tiles, in chunks.
    tiles: Split,
    /// All groups, in runs.
    runs: Split,
}

impl Schedule {
    /// For `tiles` in all, of so many points.
    pub fn new(threads: usize, tiles: usize, filters: &Filters, points: usize) -> Self {
        let groups = filters.groups().len();
        let largest = filters.groups().iter().map(Range::len).max().unwrap_or(0);
        let per_tile = points * (filters.lanes().len() + largest) * LANES;
        let most = (RESIDENT / per_tile.max(1)).max(ENOUGH);
        let mut chunks = tiles.div_ceil(most).max(1);
        let mut runs = 1;
        if groups == 0 || tiles == 0 {
            chunks = 0;
        } else if chunks < 4 * threads {
            // Few tiles: as many tasks for each thread.
            chunks = chunks.next_multiple_of(threads);
            if tiles < chunks * ENOUGH {
                chunks = tiles.div_ceil(most.max(2 * ENOUGH)).max(1);
                runs = threads.div_ceil(chunks).min(groups);
            }
        }
        Self {
            largest,
            tiles: Split { total: tiles, parts: chunks },
            runs: Split { total: groups, parts: runs },
        }
    }

    /// Number of tasks.
    pub fn tasks(&self) -> usize {
        self.tiles.parts * self.runs.parts
    }

    /// A task's tiles and groups.
    pub fn task(&self, task: usize) -> (Range<usize>, Range<usize>) {
        (self.tiles.part(task / self.runs.parts), self.runs.part(task % self.runs.parts))
    }
}
