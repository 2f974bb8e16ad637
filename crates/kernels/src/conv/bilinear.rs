//! Convolution by a bilinear algorithm: sums of products of transformed inputs with transformed
//! weights, fewer than the definition's.
//!
//! The output is cut into tiles. A tile's inputs are transformed into *points*, so are the weights,
//! once; each point is a product of matrices over the input channels; and the points' sums are
//! transformed back into the tile's outputs, with bias and ReLU. What the points are is a
//! [`Scheme`]'s: `minimal` filtering's or `strassen`'s.
//!
//! A thread transforms some tiles' inputs into memory of its own, which stays in its second-level
//! cache, and goes through groups of output blocks, each a task of its own: a group's weights are one
//! stream. An output's value depends on its tile alone, not on what else a task computes.
//!
//! Weights and inputs come from far: weights from memory, inputs from where another core left them.
//! They are asked for while there is arithmetic to do meanwhile.

mod schedule;

use super::filters::Filters;
use super::microkernel::{Microkernels, Panel, max_rows};
use super::paired;
use super::split::Split;
use super::target::Targets;
use crate::epilogue::{Ends, PerBlock};
use crate::threads::with_scratch;
use crate::{Cpu, LANES};
use schedule::Schedule;
use std::ops::Range;

/// One product of matrices.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Which of a tile's points.
    pub point: usize,
    /// What it is multiplied with.
    pub matrix: usize,
    /// Which of the points that have this matrix; they follow each other.
    pub turn: usize,
    /// How many there are.
    pub turns: usize,
    /// Whether its sums become outputs as they are, so that they start with the bias.
    pub plain: bool,
}

/// The transforms of one convolution.
///
/// Blocks of sums are counted as the filters' groups are.
pub(super) trait Scheme: Sync {
    /// Tiles of all pictures.
    fn tiles(&self) -> usize;

    /// Points of a tile.
    fn points(&self) -> usize;

    /// Packed matrices.
    fn matrices(&self) -> usize;

    /// All products, matrices in the order in which they are packed.
    fn steps(&self) -> &[Step];

    /// What the sums of plain steps start with.
    fn bias(&self, blocks: &Range<usize>) -> PerBlock;

    /// Values that the transforms need beside points and sums.
    fn room(&self) -> usize;

    /// Writes the points of some tiles.
    ///
    /// # Safety
    /// The memory is for as many tiles; the scheme's inputs are readable.
    unsafe fn inputs(&self, memory: &Memory, tiles: Range<usize>);

    /// Reads the sums of some tiles and blocks and writes their outputs.
    ///
    /// # Safety
    /// The memory is for as many tiles and blocks; nobody else uses the outputs.
    unsafe fn outputs(
        &self,
        memory: &Memory,
        targets: &Targets,
        blocks: &Range<usize>,
        tiles: Range<usize>,
    );
}

/// A task's memory.
pub(super) struct Memory {
    /// `[point][block][tile]` of sixteen channels, and from one point to the next.
    pub inputs: *mut f32,
    pub inputs_point: usize,
    /// `[point][block of the group][tile]`, and from one point to the next.
    pub sums: *mut f32,
    pub sums_point: usize,
    /// [`Scheme::room`] values.
    pub room: *mut f32,
    /// `[point][2][tile]`: what paired channels need to know of the inputs.
    pub rows: *mut f32,
}

/// Computes all tiles; zeroes the targets' borders if asked to.
///
/// # Safety
/// `weights` are those of the filters, packed for the scheme; its inputs are readable and its
/// outputs inside the targets.
pub(super) unsafe fn compute<S: Scheme>(
    cpu: &Cpu,
    scheme: &S,
    (filters, weights): (&Filters, &[f32]),
    targets: &Targets,
    border: bool,
) {
    let products = (scheme.points(), scheme.matrices());
    let microkernels = filters.microkernels(cpu);
    let workers = (cpu.threads(), microkernels.paired);
    let schedule = Schedule::new(workers, scheme.tiles(), filters, products);
    let convolution = Convolution { scheme, filters, weights, cpu, microkernels, schedule };
    let work = |claims: &mut dyn Iterator<Item = usize>| {
        // SAFETY: each task has its own tiles of its own blocks; the rest is the caller's promise.
        unsafe { convolution.tasks(targets, claims) };
    };
    // SAFETY: tasks write no borders; the caller's promise.
    unsafe { targets.share(cpu, schedule.tasks(), border, work) };
}

/// One convolution's numbers, shared by its tasks.
struct Convolution<'a, S> {
    scheme: &'a S,
    filters: &'a Filters,
    weights: &'a [f32],
    cpu: &'a Cpu,
    microkernels: &'a Microkernels,
    schedule: Schedule,
}

impl<S: Scheme> Convolution<'_, S> {
    /// Does a thread's tasks. Inputs are transformed once for all that follow each other on the same tiles.
    ///
    /// # Safety
    /// As for [`compute`]; nobody else uses those tasks' outputs.
    unsafe fn tasks(&self, targets: &Targets, tasks: &mut dyn Iterator<Item = usize>) {
        // Who comes late needs no memory.
        let Some(first) = tasks.next() else { return };
        let (points, most) = (self.scheme.points(), self.schedule.tiles.largest());
        let inputs_point = odd_lines(self.filters.lanes().len() * most * LANES);
        let sums_point = odd_lines(self.schedule.largest * most * LANES);
        let paired = if self.microkernels.paired { 2 * points * most } else { 0 };
        let lengths = [points * inputs_point, points * sums_point, self.scheme.room(), paired];
        with_scratch(lengths.iter().sum(), |scratch| {
            let (inputs, rest) = scratch.split_at_mut(lengths[0]);
            let (sums, rest) = rest.split_at_mut(lengths[1]);
            let (room, rows) = rest.split_at_mut(lengths[2]);
            let memory = Memory {
                inputs: inputs.as_mut_ptr(),
                inputs_point,
                sums: sums.as_mut_ptr(),
                sums_point,
                room: room.as_mut_ptr(),
                rows: rows.as_mut_ptr(),
            };
            let mut transformed = None;
            for task in std::iter::once(first).chain(tasks) {
                let (chunk, group) = self.schedule.task(task);
                let tiles = self.schedule.tiles.part(chunk);
                let group = &self.filters.groups()[group];
                // SAFETY: the memory is as long as each part uses it; the caller's promise.
                unsafe {
                    if transformed.replace(chunk) != Some(chunk) {
                        self.transform(&memory, tiles.clone());
                    }
                    self.multiply(&memory, group, tiles.clone());
                    self.scheme.outputs(&memory, targets, group, tiles);
                }
            }
        });
    }

    /// Some tiles' points, and what paired channels need to know of them.
    ///
    /// # Safety
    /// The memory is for as many tiles; the scheme's inputs are readable.
    unsafe fn transform(&self, memory: &Memory, tiles: Range<usize>) {
        let count = tiles.len();
        // SAFETY: the caller's promise.
        unsafe {
            self.scheme.inputs(memory, tiles);
            if self.microkernels.paired {
                self.pair_rows(memory, count);
            }
        }
    }

    /// What paired channels need to know of all points' inputs.
    ///
    /// # Safety
    /// The memory is for as many tiles, and they have been transformed.
    unsafe fn pair_rows(&self, memory: &Memory, tiles: usize) {
        let (paired, blocks) = (self.filters.paired(), self.filters.paired().blocks());
        for &Step { point, matrix, .. } in self.scheme.steps() {
            let size = paired.size(matrix);
            let x = memory.inputs.wrapping_add(point * memory.inputs_point);
            let inputs = paired::Inputs { x, step: tiles * LANES, rows: tiles, blocks, size };
            let starts = memory.rows.wrapping_add(2 * point * tiles);
            // SAFETY: the task's memory has all points of all tiles.
            unsafe { paired::rows(self.cpu, &inputs, starts, starts.wrapping_add(tiles)) };
        }
    }

    /// All points' sums of products over the input channels, for one group of blocks.
    ///
    /// # Safety
    /// As for [`Self::tasks`].
    unsafe fn multiply(&self, memory: &Memory, group: &Range<usize>, tiles: Range<usize>) {
        let Self { scheme, filters, .. } = self;
        let paired = self.microkernels.paired;
        let single = self.microkernels.single();
        let (blocks, panels) = if single { (1, group.len()) } else { (group.len(), 1) };
        let kernels = self.microkernels.multiply[blocks - 1];
        let rows = Split::at_most(tiles.len(), max_rows(self.microkernels.multiply, blocks));
        let (all_rows, parts) = (rows.parts_from(0), rows.parts * panels);
        let (lanes, sources) = (filters.lanes(), filters.sources());
        let per_matrix = sources * group.len() * LANES;
        let stream = group.start * LANES * sources * scheme.matrices();
        let stream = &self.weights[stream..][..per_matrix * scheme.matrices()];
        let (nothing, bias) = (Ends::NONE.of(group).0, scheme.bias(group));
        // The next matrix, the next group's first too, comes while this one is used.
        let lines = |turns: usize| {
            let lines = Split { total: per_matrix / LANES, parts: turns * parts };
            let each = if paired { 1 } else { sources.max(1) };
            (lines.parts_from(0), lines.largest().div_ceil(each))
        };
        let mut ahead = lines(1);
        for &Step { point, matrix, turn, turns, plain } in scheme.steps() {
            if turn == 0 {
                ahead = lines(turns);
            }
            let start = if plain { bias } else { nothing };
            let of_outputs = if paired { filters.paired().outputs(group, matrix) } else { &[] };
            for part in all_rows.clone() {
                let starts = memory.rows.wrapping_add(2 * point * tiles.len() + part.start);
                for panel in 0..panels {
                    let lines = ahead.0.next().map_or(0, |lines| lines.start);
                    let next = (matrix + 1) * per_matrix + lines * LANES;
                    let tile = panel * tiles.len() + part.start;
                    // SAFETY: the task's memory has all points of all tiles; weights, inputs and
                    // sums are as long as the panel says.
                    unsafe {
                        kernels[part.len() - 1](&Panel {
                            x: memory.inputs.add(point * memory.inputs_point + part.start * LANES),
                            blocks: (lanes.len(), tiles.len() * LANES),
                            lanes: lanes.as_ptr(),
                            weights: stream[matrix * per_matrix + panel * sources * LANES..]
                                .as_ptr(),
                            y: memory.sums.add(point * memory.sums_point + tile * LANES),
                            y_block: tiles.len() * LANES,
                            start: (start.0.add(panel * start.1), start.1),
                            ahead: (stream.as_ptr().wrapping_add(next), ahead.1),
                            paired: filters.paired().blocks().as_ptr(),
                            rows: (starts, starts.wrapping_add(tiles.len())),
                            outputs: of_outputs.as_ptr().wrapping_add(panel * 2 * LANES),
                        });
                    }
                }
            }
        }
    }
}

/// The least length that is an odd number of cache lines: at even ones, the same place in many
/// points would meet the same few sets of the cache.
fn odd_lines(len: usize) -> usize {
    ((len / LANES) | 1) * LANES
}
