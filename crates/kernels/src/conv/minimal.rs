//! Convolution with fewer multiplications: Toom–Cook's and Winograd's minimal filtering, in one
//! dimension and in two.
//!
//! The output is cut into tiles; a tile's inputs are transformed ([`lines`]), so are the filters,
//! once; then each of a tile's *points* is a product of matrices over the input channels, done by
//! a microkernel like direct convolution's, and the sums are transformed back, with bias and
//! ReLU. An axis along which the filter has one tap is not transformed.
//!
//! At stride 2 a filter of 3×3 taps is four filters ([`Part`]), of its even and its odd rows and
//! columns, on the input's pixels likewise: the polyphase form. The odd ones have a single tap
//! along that axis, so that all points along it share their weights.
//!
//! A task transforms some tiles' inputs into memory of its thread's own, which stays in its
//! second-level cache, and goes through groups of output blocks: each group's weights are one
//! stream. Tiles that reach over the picture's edge read zeros there and write only what exists.
//! An output's value depends on its tile alone, not on what else a task computes.

mod lines;
mod schedule;
mod toom_cook;
mod transform;

use super::Geometry;
use super::filters::{Filters, Group};
use super::microkernel::{Microkernels, Panel};
use super::split::Split;
use super::target::{Target, Targets};
use crate::epilogue::Ends;
use crate::simd::{kernel, prefetch_to_l2, prefetch_to_write};
use crate::threads::with_scratch;
use crate::{Cpu, LANES, Layout, View, ViewMut};
use lines::{End, Kernels, Line, Lines};
use schedule::Schedule;
use std::ops::Range;
use toom_cook::{ToomCook, to_f64};
use transform::Transform;

/// F(rows × columns, kernel): a tile's outputs and the parts they are the sum of.
#[derive(Clone, Debug)]
pub(super) struct Minimal {
    tile: (usize, usize),
    kernel: (usize, usize),
    stride: (usize, usize),
    /// One at stride 1; at stride 2 even and odd taps down, each with even and odd taps across.
    parts: Vec<Part>,
}

/// A filter of stride 1 over some of the taps.
#[derive(Clone, Debug)]
struct Part {
    rows: Line,
    columns: Line,
    /// Its first row and column of taps, and of the window's pixels.
    from: (usize, usize),
    /// Points and matrices of weights of the parts before it.
    point: usize,
    matrix: usize,
}

impl Part {
    /// Points: down, across.
    fn points(&self) -> (usize, usize) {
        (self.rows.exact.points(), self.columns.exact.points())
    }

    fn matrices(&self) -> usize {
        self.rows.exact.filters() * self.columns.exact.filters()
    }

    /// The matrix that a point is multiplied with.
    fn matrix_of(&self, row: usize, column: usize) -> usize {
        let across = self.columns.exact.filters();
        let row = row.min(self.rows.exact.filters() - 1);
        self.matrix + row * across + column.min(across - 1)
    }
}

impl Minimal {
    /// The algorithm with tiles of `tile` outputs (down, across) for such filters, if there is
    /// one: for stride 1, and for 3×3 at stride 2.
    pub fn new(tile: (usize, usize), geometry: &Geometry) -> Option<Self> {
        let Geometry { kernel, stride, .. } = *geometry;
        let fits = |outputs: usize, taps: usize| taps > 1 || outputs == 1;
        let starts = match stride {
            (1, 1) if kernel != (1, 1) && fits(tile.0, kernel.0) && fits(tile.1, kernel.1) => 1,
            (2, 2) if kernel == (3, 3) => 2,
            _ => return None,
        };
        let mut minimal = Self { tile, kernel, stride, parts: Vec::new() };
        for from in (0..starts).flat_map(|row| (0..starts).map(move |column| (row, column))) {
            let line = |outputs: usize, taps: usize, from: usize| {
                ToomCook::new(outputs, (taps - from).div_ceil(starts)).map(Line::new)
            };
            let (point, matrix) = (minimal.points(), minimal.matrices());
            let rows = line(tile.0, kernel.0, from.0)?;
            let columns = line(tile.1, kernel.1, from.1)?;
            minimal.parts.push(Part { rows, columns, from, point, matrix });
        }
        Some(minimal)
    }

    /// Products of a tile, per pair of channels.
    pub fn points(&self) -> usize {
        self.parts.last().map_or(0, |part| part.point + part.points().0 * part.points().1)
    }

    /// Weights per pair of channels.
    pub fn matrices(&self) -> usize {
        self.parts.last().map_or(0, |part| part.matrix + part.matrices())
    }

    /// Outputs of a tile: down, across.
    pub fn tile(&self) -> (usize, usize) {
        self.tile
    }

    /// Each point and the matrix it is multiplied with; of how many with that matrix it is which.
    /// Points that share a matrix follow each other, and matrices are in the order in which they
    /// are packed.
    fn products(&self) -> impl Iterator<Item = (usize, usize, (usize, usize))> + '_ {
        self.parts.iter().flat_map(|part| {
            let (down, across) = part.points();
            // Along an axis of one tap the matrix is the same, so that one goes innermost.
            let turned = part.rows.exact.is_identity();
            let (outer, inner) = if turned { (across, down) } else { (down, across) };
            let turns = outer * inner / part.matrices();
            (0..outer * inner).map(move |i| {
                let (a, b) = (i / inner, i % inner);
                let (row, column) = if turned { (b, a) } else { (a, b) };
                let point = part.point + row * across + column;
                (point, part.matrix_of(row, column), (i % turns, turns))
            })
        })
    }

    /// The first point of the polyphase form's last part, whose sums are not transformed and
    /// carry the bias; past the end in other forms.
    fn plain(&self) -> usize {
        let last = self.parts.last().filter(|_| self.parts.len() > 1);
        last.map_or(usize::MAX, |part| part.point)
    }

    /// Pixels of a tile's inputs: down, across.
    fn window(&self) -> (usize, usize) {
        let along = |tile, stride, kernel| (tile - 1) * stride + kernel;
        let Self { tile, kernel, stride, .. } = self;
        (along(tile.0, stride.0, kernel.0), along(tile.1, stride.1, kernel.1))
    }

    /// See [`ToomCook::amplification`]; that of the worst part.
    pub fn amplification(&self) -> f64 {
        let of = |part: &Part| part.rows.exact.amplification() * part.columns.exact.amplification();
        self.parts.iter().map(of).fold(1.0, f64::max)
    }

    /// The filters' transform, to be applied many times.
    pub fn filter_transform(&self) -> FilterTransform<'_> {
        let numbers = |line: &Line| -> Matrix {
            let rows = line.exact.filter_transform();
            rows.iter().map(|row| row.iter().map(|&value| to_f64(value)).collect()).collect()
        };
        let axes = |part: &Part| (numbers(&part.rows), numbers(&part.columns));
        FilterTransform { minimal: self, axes: self.parts.iter().map(axes).collect() }
    }
}

/// Rows of coefficients.
type Matrix = Vec<Vec<f64>>;

/// G of both axes, of each part.
pub(super) struct FilterTransform<'a> {
    minimal: &'a Minimal,
    /// Of each part: down, across.
    axes: Vec<(Matrix, Matrix)>,
}

impl FilterTransform<'_> {
    /// Transforms the filters of sixteen outputs, `[row][column][output]`; gives the values of
    /// each matrix.
    pub fn apply(
        &self,
        cpu: &Cpu,
        filters: &[[f64; LANES]],
        mut matrix: impl FnMut(usize, [f32; LANES]),
    ) {
        let Minimal { kernel, stride, parts, .. } = self.minimal;
        let mut line = vec![[0.0; LANES]; kernel.1];
        for (part, (rows, columns)) in parts.iter().zip(&self.axes) {
            for (i, row) in rows.iter().enumerate() {
                // Along each column of taps that is the part's; then along the row of results.
                let taps = (part.from.1..kernel.1).step_by(stride.1);
                for (sums, tap) in line.iter_mut().zip(taps) {
                    let column = &filters[part.from.0 * kernel.1 + tap..];
                    // SAFETY: `cpu` has its instruction set; nothing else is asked.
                    *sums = unsafe { dot(cpu, row, column, stride.0 * kernel.1) };
                }
                for (j, column) in columns.iter().enumerate() {
                    // SAFETY: `cpu` has its instruction set; nothing else is asked.
                    let sums = unsafe { dot(cpu, column, &line, 1) };
                    matrix(part.matrix_of(i, j), sums.map(|sum| sum as f32));
                }
            }
        }
    }
}

kernel! {
    /// Σ of coefficients × every `step`-th value. In plain `f64`s, which the compiler puts in the
    /// instruction set's vectors; all sets come to the same bits.
    ///
    /// # Safety
    /// None but that of the instruction set.
    unsafe fn dot<V>(
        coefficients: &[f64], values: &[[f64; LANES]], step: usize,
    ) -> [f64; LANES] {
        let mut sums = [0.0; LANES];
        for (c, values) in coefficients.iter().zip(values.iter().step_by(step)) {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += c * value;
            }
        }
        sums
    }
}

/// One convolution's numbers, shared by its tasks.
struct Convolution<'a> {
    minimal: &'a Minimal,
    filters: &'a Filters,
    weights: &'a [f32],
    microkernels: &'a Microkernels,
    kernels: &'a Kernels,
    x: View<'a>,
    padding: (usize, usize),
    ends: Ends<'a>,
    accumulate: bool,
    /// The output's height and width, and tiles: down, across.
    output: (usize, usize),
    grid: (usize, usize),
    schedule: Schedule,
}

/// Windows are moved over `x`, padded as the geometry says, by `minimal`'s stride; see
/// [`forward`](super::forward). With `accumulate` the results are added to the targets, nothing
/// ends them and borders stay.
///
/// # Safety
/// `weights` are those of the filters, packed for `minimal`; all windows lie inside `x`, its
/// border included; the targets have the same pictures, height and width; the ends have a value
/// for each of their lanes.
pub(super) unsafe fn compute(
    cpu: &Cpu,
    x: View,
    (filters, weights, minimal): (&Filters, &[f32], &Minimal),
    padding: (usize, usize),
    (ends, accumulate): (Ends, bool),
    y: &mut [ViewMut],
) {
    let Some(&ViewMut { layout: Layout { pictures, height, width, .. }, .. }) = y.first() else {
        return;
    };
    let tile = minimal.tile();
    let grid = (height.div_ceil(tile.0), width.div_ceil(tile.1));
    let tiles = pictures * grid.0 * grid.1;
    let schedule = Schedule::new(cpu.threads(), tiles, filters, minimal.points());
    let convolution = Convolution {
        minimal,
        filters,
        weights,
        microkernels: Microkernels::of(cpu.isa()),
        kernels: Kernels::of(cpu.isa()),
        x,
        padding,
        ends,
        accumulate,
        output: (height, width),
        grid,
        schedule,
    };
    let targets = Targets::new(y);
    let borders = if accumulate { 0 } else { targets.borders() };
    cpu.for_each(borders + schedule.tasks(), |task| match task.checked_sub(borders) {
        // SAFETY: no other task writes this picture's border.
        None => unsafe { targets.zero_border(task) },
        Some(task) => {
            let (tiles, groups) = schedule.task(task);
            // SAFETY: each task has its own tiles of its own blocks; the rest is the caller's
            // promise.
            unsafe { convolution.task(&targets, tiles, groups) };
        }
    });
}

/// A tile: its picture, and its row and column in the grid of tiles.
#[derive(Clone, Copy)]
struct Place {
    picture: usize,
    row: usize,
    column: usize,
}

/// A task's memory.
struct Memory<'a> {
    /// `[point][input block][tile]` of sixteen channels.
    inputs: *mut f32,
    /// `[point][block of the group][tile]`.
    sums: *mut f32,
    /// One tile's inputs at the picture's edge.
    patch: *mut f32,
    transform: Transform<'a>,
}

impl Convolution<'_> {
    /// Some tiles' outputs of some groups of blocks.
    ///
    /// # Safety
    /// As for [`compute`]; nobody else uses those outputs.
    unsafe fn task(&self, targets: &Targets, tiles: Range<usize>, groups: Range<usize>) {
        let (points, most) = (self.minimal.points(), tiles.len() * LANES);
        let inputs_point = odd_lines(self.x.blocks * most);
        let sums_point = odd_lines(self.schedule.largest * most);
        let window = self.minimal.window();
        let patch = window.0 * window.1 * LANES;
        let half = Transform::room(self.minimal);
        let lengths = [points * inputs_point, points * sums_point, patch, half];
        with_scratch(lengths.iter().sum(), |scratch| {
            let (inputs, rest) = scratch.split_at_mut(lengths[0]);
            let (sums, rest) = rest.split_at_mut(lengths[1]);
            let (patch, half) = rest.split_at_mut(lengths[2]);
            let Self { minimal, kernels, .. } = self;
            let half = half.as_mut_ptr();
            let memory = Memory {
                inputs: inputs.as_mut_ptr(),
                sums: sums.as_mut_ptr(),
                patch: patch.as_mut_ptr(),
                transform: Transform { minimal, kernels, inputs_point, sums_point, half },
            };
            // SAFETY: the memory is as long as each part uses it; the caller's promise.
            unsafe {
                self.transform_inputs(&memory, tiles.clone());
                for group in &self.filters.groups()[groups] {
                    self.multiply(&memory, targets.of(group), tiles.clone(), group);
                    self.transform_outputs(&memory, targets.of(group), tiles.clone(), group);
                }
            }
        });
    }

    fn place(&self, tile: usize) -> Place {
        let (rows, columns) = self.grid;
        Place { picture: tile / columns / rows, row: tile / columns % rows, column: tile % columns }
    }

    /// # Safety
    /// As for [`Self::task`].
    unsafe fn transform_inputs(&self, memory: &Memory, tiles: Range<usize>) {
        let Minimal { tile, stride, .. } = *self.minimal;
        let size = self.minimal.window();
        let layout = &self.x.layout;
        // What lies inside the tensor, its border included.
        let inside = (
            layout.height + layout.border.bottom + self.padding.0,
            layout.width + layout.border.right + self.padding.1,
        );
        let row_stride = layout.row_stride();
        let start_of = |tile_index: usize, block: usize| {
            let place = self.place(tile_index);
            let (top, left) = (place.row * tile.0 * stride.0, place.column * tile.1 * stride.1);
            let start = self.x.offset(place.picture, block, 0, 0) as isize
                + (top as isize - self.padding.0 as isize) * row_stride as isize
                + (left as isize - self.padding.1 as isize) * LANES as isize;
            let readable = (size.0.min(inside.0 - top), size.1.min(inside.1 - left));
            (self.x.data.as_ptr().wrapping_offset(start), readable)
        };
        let mut next = start_of(tiles.start, 0);
        for (i, tile_index) in tiles.clone().enumerate() {
            let (first, readable) = next;
            next = start_of((tile_index + 1).min(tiles.end - 1), 0);
            for block in 0..self.x.blocks {
                let to = (block * tiles.len() + i) * LANES;
                let start = first.wrapping_add(block * layout.block_stride());
                prefetch_window(next.0.wrapping_add(block * layout.block_stride()), row_stride, next.1);
                // SAFETY: the window's readable part lies inside the tensor; the points lie in
                // the task's memory.
                unsafe {
                    let mut from = Lines { start, step: row_stride, next: LANES };
                    if readable != size {
                        from = copy_patch(from, readable, size, memory.patch);
                    }
                    memory.transform.input(from, memory.inputs.add(to));
                }
            }
        }
    }

    /// All points' sums of products over the input channels, for one group of blocks.
    ///
    /// # Safety
    /// As for [`Self::task`].
    unsafe fn multiply(
        &self,
        memory: &Memory,
        target: &Target,
        all_tiles: Range<usize>,
        group: &Group,
    ) {
        let tiles = all_tiles.len();
        let blocks = &group.blocks;
        let kernels = self.microkernels.multiply[blocks.len() - 1];
        let rows = Split::at_most(tiles, self.microkernels.max_rows(blocks.len()));
        let lanes = self.filters.lanes();
        let sources = self.filters.sources();
        let per_matrix = sources * blocks.len() * LANES;
        let stream = blocks.start * LANES * sources * self.minimal.matrices();
        let stream = &self.weights[stream..][..per_matrix * self.minimal.matrices()];
        let Transform { inputs_point, sums_point, .. } = memory.transform;
        let mut start = Ends::NONE.of(blocks).0;
        let outputs = Split {
            total: blocks.len() * tiles,
            parts: rows.parts * self.minimal.points(),
        };
        let mut done = 0;
        for (point, matrix, (turn, turns)) in self.minimal.products() {
            if point == self.minimal.plain() {
                start = self.ends.of(blocks).0;
            }
            for part in 0..rows.parts {
                for output in outputs.part(done) {
                    let tile = all_tiles.start + output % tiles;
                    let block = target.first_block + group.first + output / tiles;
                    self.ask_for_outputs(target, tile, block);
                }
                done += 1;
                // The next matrix comes from memory while this one's panels are computed.
                let slice = Split { total: per_matrix / LANES, parts: turns * rows.parts };
                let slice = slice.part(turn * rows.parts + part);
                let next = stream.as_ptr().wrapping_add((matrix + 1) * per_matrix);
                let next = next.wrapping_add(slice.start * LANES);
                let part = rows.part(part);
                // SAFETY: the task's memory has all points of all tiles; weights, inputs and sums
                // are as long as the panel says.
                unsafe {
                    kernels[part.len() - 1](&Panel {
                        x: memory.inputs.add(point * inputs_point + part.start * LANES),
                        blocks: (lanes.len(), tiles * LANES),
                        lanes: lanes.as_ptr(),
                        weights: stream[matrix * per_matrix..].as_ptr(),
                        y: memory.sums.add(point * sums_point + part.start * LANES),
                        y_block: tiles * LANES,
                        start,
                        ahead: (next, slice.len().div_ceil(sources)),
                    });
                }
            }
        }
    }

    /// Asks for a tile's outputs of one block, to be written soon.
    fn ask_for_outputs(&self, target: &Target, tile: usize, block: usize) {
        let place = self.place(tile);
        let tile = self.minimal.tile;
        let (top, left) = (place.row * tile.0, place.column * tile.1);
        let exist = (tile.0.min(self.output.0 - top), tile.1.min(self.output.1 - left));
        let start = target.layout.offset(place.picture, block, top, left);
        for row in 0..exist.0 {
            for column in 0..exist.1 {
                let at = start + row * target.layout.row_stride() + column * LANES;
                // SAFETY: an output.
                prefetch_to_write(unsafe { target.data.at(at) });
            }
        }
    }

    /// # Safety
    /// As for [`Self::task`].
    unsafe fn transform_outputs(
        &self,
        memory: &Memory,
        target: &Target,
        tiles: Range<usize>,
        group: &Group,
    ) {
        let tile = self.minimal.tile;
        for (number, block) in group.blocks.clone().enumerate() {
            let (bias, floor) = self.ends.of(&(block..block + 1));
            let to = target.first_block + group.first + number;
            for (i, tile_index) in tiles.clone().enumerate() {
                let place = self.place(tile_index);
                let (top, left) = (place.row * tile.0, place.column * tile.1);
                let exist = (tile.0.min(self.output.0 - top), tile.1.min(self.output.1 - left));
                let to = target.layout.offset(place.picture, to, top, left);
                let from = (number * tiles.len() + i) * LANES;
                // SAFETY: the sums lie in the task's memory, the tile's existing outputs in the
                // target, where they are this task's.
                unsafe {
                    let start = target.data.at(to);
                    let y = Lines { start, step: LANES, next: target.layout.row_stride() };
                    let end = match self.accumulate {
                        true => End { add: y.as_read(), ..End::same(bias, floor) },
                        false => End::same(bias, floor),
                    };
                    memory.transform.output(memory.sums.add(from), y, exist, end);
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

/// Asks for a window of so many rows and columns, to be read soon.
fn prefetch_window(start: *const f32, row_stride: usize, (rows, columns): (usize, usize)) {
    for row in 0..rows {
        for column in 0..columns {
            prefetch_to_l2(start.wrapping_add(row * row_stride + column * LANES));
        }
    }
}

/// Copies the readable part of a window of `size` (rows, columns) to memory of its own, zeros
/// around it.
///
/// # Safety
/// What is called readable is; `patch` has room for the window.
unsafe fn copy_patch(
    x: Lines<*const f32>,
    readable: (usize, usize),
    size: (usize, usize),
    patch: *mut f32,
) -> Lines<*const f32> {
    for row in 0..size.0 {
        // SAFETY: the caller's promise.
        unsafe {
            let to = patch.add(row * size.1 * LANES);
            let count = if row < readable.0 { readable.1 * LANES } else { 0 };
            if count > 0 {
                x.start.add(row * x.step).copy_to_nonoverlapping(to, count);
            }
            to.add(count).write_bytes(0, size.1 * LANES - count);
        }
    }
    Lines { start: patch, step: size.1 * LANES, next: LANES }
}
