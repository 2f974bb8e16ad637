//! How the work of a convolution by tiles is cut into tasks.

use crate::LANES;
use crate::conv::filters::Filters;
use crate::conv::split::Split;
use std::ops::Range;

/// Values that a task may keep in its core's second-level cache, beside the weights that stream
/// through it.
const RESIDENT: usize = 160 << 10;

/// Time in which a vector of weights comes to one thread, from memory or from another core that
/// reads it too, in multiply–adds of a vector: with fewer tiles to use it for, a task waits. And where
/// channels are paired, so that multiply–adds are faster.
const STREAM: usize = 12;
const PAIRED_STREAM: usize = 16;

/// Time that a value of a point takes to be transformed and moved, among the inputs and among the
/// sums, likewise for a vector.
const INPUT: usize = 12;
const SUM: usize = 10;

/// Tasks: each some tiles and a group of output blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// The most blocks of a group.
    pub largest: usize,
    /// All tiles, in chunks.
    pub tiles: Split,
    groups: usize,
}

impl Schedule {
    /// For `tiles` in all, of so many points, which have so many matrices of weights.
    ///
    /// Chunks of tiles share the inputs' transforms, and a thread's groups of a chunk do. Of the ways that
    /// keep a chunk in the cache, the one that is soonest ready on so many threads.
    pub fn new(
        (threads, paired): (usize, bool),
        tiles: usize,
        filters: &Filters,
        (points, matrices): (usize, usize),
    ) -> Self {
        let groups = filters.groups().len();
        let largest = filters.groups().iter().map(Range::len).max().unwrap_or(0);
        let (inputs, sources) = (filters.lanes().len(), filters.sources());
        let cut = |chunks| Self { largest, tiles: Split { total: tiles, parts: chunks }, groups };
        if groups == 0 || tiles == 0 {
            return cut(0);
        }
        let stream = if paired { PAIRED_STREAM } else { STREAM };
        let most = (RESIDENT / (points * (inputs + largest) * LANES).max(1)).max(stream);
        // Each vector of weights is used for all points that have its matrix.
        let stream = stream * matrices / points.max(1);
        let time = |way: &Self| {
            let (tiles, tasks) = (way.tiles.largest(), way.tasks().div_ceil(threads));
            let (chunks, blocks) = (tasks.div_ceil(groups), tasks * largest);
            chunks * tiles * inputs * INPUT + blocks * (tiles.max(stream) * sources + tiles * SUM)
        };
        let least = tiles.div_ceil(most);
        // So many threads to each chunk that all have the same.
        let even = (1..=groups.min(threads)).map(|each| {
            let chunks = least.next_multiple_of(threads.div_ceil(each));
            chunks.min(tiles)
        });
        let ways = [least].into_iter().chain(even).map(cut);
        ways.min_by_key(time).expect("there is one way at least")
    }

    /// Number of tasks.
    pub fn tasks(&self) -> usize {
        self.tiles.parts * self.groups
    }

    /// A task's chunk of tiles and its group; those of a chunk follow each other.
    pub fn task(&self, task: usize) -> (usize, usize) {
        (task / self.groups, task % self.groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::{Algorithm, Geometry};
    use crate::{Channels, Cpu};

    fn filters(cpu: &Cpu, channels: (usize, usize)) -> Filters {
        let geometry = Geometry { kernel: (3, 3), stride: (1, 1), padding: (1, 1) };
        let algorithm = Algorithm::Minimal { rows: 4, columns: 4 };
        let (inputs, targets) = (Channels::new(channels.0), [Channels::new(channels.1)]);
        let mut filters = Filters::with_algorithm(&targets, &inputs, &geometry, algorithm).unwrap();
        filters.pack(cpu, &vec![0.0; channels.0 * channels.1 * 9]);
        filters
    }

    #[test]
    fn tasks_cover_all_tiles_and_groups_once_and_stay_small() {
        let cpu = Cpu::new(1).unwrap();
        for channels in [(16, 16), (128, 128), (200, 104), (48, 720)] {
            let filters = filters(&cpu, channels);
            let groups = filters.groups().len();
            for tiles in [0, 1, 4, 16, 25, 100, 1000] {
                for (threads, matrices) in [(1, 36), (2, 36), (3, 18), (8, 3), (64, 36)] {
                    let schedule = Schedule::new((threads, false), tiles, &filters, (36, matrices));
                    let mut seen = vec![0; tiles * groups];
                    for task in 0..schedule.tasks() {
                        let (chunk, group) = schedule.task(task);
                        let tiles = schedule.tiles.part(chunk);
                        assert!(tiles.len() * 36 * LANES <= RESIDENT.max(STREAM * 36 * LANES));
                        tiles.for_each(|tile| seen[tile * groups + group] += 1);
                    }
                    assert!(seen.iter().all(|&times| times == 1), "{channels:?} {tiles} {threads}");
                }
            }
        }
    }

    /// Sixteen tiles by 25 points: with a matrix each a thread would wait for weights if it had half
    /// of the tiles; with matrices for nine of them it does not, and no tile is transformed twice.
    #[test]
    fn tiles_are_shared_out_where_points_share_weights() {
        let cpu = Cpu::new(1).unwrap();
        let filters = filters(&cpu, (192, 320));
        let tiles = |matrices| Schedule::new((2, false), 16, &filters, (25, matrices)).tiles.parts;
        assert_eq!((tiles(25), tiles(16)), (1, 2));
    }

    /// Eighty-one tiles and two groups: eight threads have a task each where four chunks are cut.
    #[test]
    fn many_threads_share_chunks() {
        let cpu = Cpu::new(1).unwrap();
        let filters = filters(&cpu, (64, 96));
        let groups = filters.groups().len();
        let schedule = Schedule::new((8, false), 81, &filters, (36, 36));
        assert_eq!(schedule.tasks() % 8, 0, "{groups} groups, {} chunks", schedule.tiles.parts);
    }

    /// 3×3 128→128 @14×14 by F(4×4): sixteen tiles, which stay together for the sake of the weights; each
    /// thread has half of the groups.
    #[test]
    fn two_threads_share_a_small_grid_evenly() {
        let cpu = Cpu::new(1).unwrap();
        let filters = filters(&cpu, (128, 128));
        let schedule = Schedule::new((2, false), 16, &filters, (36, 36));
        let blocks = |tasks: Range<usize>| -> usize {
            tasks.map(|task| filters.groups()[schedule.task(task).1].len()).sum()
        };
        let tasks = schedule.tasks();
        assert_eq!(schedule.tiles.parts, 1);
        assert_eq!(blocks(0..tasks / 2), blocks(tasks / 2..tasks));
    }
}
