//! Convolution with fewer multiplications: Toom–Cook's and Winograd's minimal filtering, in one
//! dimension and in two.
//!
//! Stride 1. The output is cut into tiles; a tile's inputs are transformed ([`lines`]), so are the
//! filters, once; then each of a tile's *points* is a product of matrices over the input channels,
//! done by the same microkernel as direct convolution, and the sums are transformed back, with
//! bias and ReLU. An axis along which the filter has one tap is not transformed.
//!
//! A task transforms some tiles' inputs into memory of its thread's own, which stays in its
//! second-level cache, and goes through groups of output blocks: each group's weights are one
//! stream. Tiles that reach over the picture's edge read zeros there and write only what exists.
//! An output's value depends on its tile alone, not on what else a task computes.

mod lines;
mod schedule;
mod toom_cook;

use super::Geometry;
use super::filters::{Filters, Group};
use super::microkernel::{MAX_ROWS, Microkernels, Tile};
use super::split::Split;
use super::target::{Target, Targets};
use crate::epilogue::Ends;
use crate::threads::with_scratch;
use crate::{Cpu, LANES, Layout, View, ViewMut};
use lines::{End, Kernels, Line, Lines};
use schedule::Schedule;
use std::ops::Range;
use toom_cook::{ToomCook, to_f64};

/// F(rows × columns, kernel): the transforms along both axes.
#[derive(Clone, Debug)]
pub(super) struct Minimal {
    rows: Line,
    columns: Line,
}

impl Minimal {
    /// The algorithm with tiles of `tile` outputs (down, across) for filters of this size, if
    /// there is one.
    pub fn new(tile: (usize, usize), kernel: (usize, usize)) -> Option<Self> {
        let line = |outputs, taps| ToomCook::new(outputs, taps).map(Line::new);
        if kernel == (1, 1) {
            return None;
        }
        Some(Self { rows: line(tile.0, kernel.0)?, columns: line(tile.1, kernel.1)? })
    }

    /// Products of a tile, per pair of channels.
    pub fn points(&self) -> usize {
        self.rows.exact.points() * self.columns.exact.points()
    }

    /// Outputs of a tile: down, across.
    pub fn tile(&self) -> (usize, usize) {
        (self.rows.exact.outputs, self.columns.exact.outputs)
    }

    /// See [`ToomCook::amplification`].
    pub fn amplification(&self) -> f64 {
        self.rows.exact.amplification() * self.columns.exact.amplification()
    }

    /// The filters' transform, for weights `[row][column]` of sixteen outputs each: all points'.
    pub fn filter_transform(&self) -> FilterTransform {
        let numbers = |line: &Line| {
            let rows = line.exact.filter_transform();
            rows.iter().map(|row| row.iter().map(|&value| to_f64(value)).collect()).collect()
        };
        FilterTransform { rows: numbers(&self.rows), columns: numbers(&self.columns) }
    }
}

/// G of both axes.
pub(super) struct FilterTransform {
    rows: Vec<Vec<f64>>,
    columns: Vec<Vec<f64>>,
}

impl FilterTransform {
    /// Transforms the filters of sixteen outputs, `[row][column][output]`; gives each point's
    /// values, point by point.
    pub fn apply(&self, filters: &[[f64; LANES]], mut point: impl FnMut(usize, [f32; LANES])) {
        let taps = self.columns[0].len();
        let dot = |coefficients: &[f64], values: &mut dyn Iterator<Item = &[f64; LANES]>| {
            let mut sums = [0.0; LANES];
            for (c, values) in coefficients.iter().zip(values) {
                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += c * value);
            }
            sums
        };
        for (i, row) in self.rows.iter().enumerate() {
            let line: Vec<[f64; LANES]> =
                (0..taps).map(|tap| dot(row, &mut filters[tap..].iter().step_by(taps))).collect();
            for (j, column) in self.columns.iter().enumerate() {
                let sums = dot(column, &mut line.iter());
                point(i * self.columns.len() + j, sums.map(|sum| sum as f32));
            }
        }
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
    /// The output's height and width, and tiles: down, across.
    output: (usize, usize),
    grid: (usize, usize),
    schedule: Schedule,
}

/// See [`forward`](super::forward).
///
/// # Safety
/// `weights` are those of the filters, packed for `minimal`; all windows lie inside `x`, its
/// border included; the targets have the same pictures, height and width; the ends have a value
/// for each of their lanes.
pub(super) unsafe fn forward(
    cpu: &Cpu,
    x: View,
    (filters, weights, minimal): (&Filters, &[f32], &Minimal),
    geometry: &Geometry,
    ends: Ends,
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
        padding: geometry.padding,
        ends,
        output: (height, width),
        grid,
        schedule,
    };
    let targets = Targets::new(y);
    let borders = targets.borders();
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
struct Memory {
    /// `[point][input block][tile]` of sixteen channels; from point to point.
    inputs: *mut f32,
    inputs_point: usize,
    /// `[point][block of the group][tile]`.
    sums: *mut f32,
    sums_point: usize,
    /// One tile's points, half transformed.
    half: *mut f32,
    /// One tile's inputs at the picture's edge.
    patch: *mut f32,
}

impl Convolution<'_> {
    /// Some tiles' outputs of some groups of blocks.
    ///
    /// # Safety
    /// As for [`forward`]; nobody else uses those outputs.
    unsafe fn task(&self, targets: &Targets, tiles: Range<usize>, groups: Range<usize>) {
        let (points, most) = (self.minimal.points(), tiles.len() * LANES);
        let inputs_point = odd_lines(self.x.blocks * most);
        let sums_point = odd_lines(self.schedule.largest * most);
        let lengths = [points * inputs_point, points * sums_point, points * LANES, points * LANES];
        with_scratch(lengths.iter().sum(), |scratch| {
            let (inputs, rest) = scratch.split_at_mut(lengths[0]);
            let (sums, rest) = rest.split_at_mut(lengths[1]);
            let (half, patch) = rest.split_at_mut(lengths[2]);
            let memory = Memory {
                inputs: inputs.as_mut_ptr(),
                inputs_point,
                sums: sums.as_mut_ptr(),
                sums_point,
                half: half.as_mut_ptr(),
                patch: patch.as_mut_ptr(),
            };
            // SAFETY: the memory is as long as each part uses it; the caller's promise.
            unsafe {
                self.transform_inputs(&memory, tiles.clone());
                for group in &self.filters.groups()[groups] {
                    self.multiply(&memory, tiles.len(), &group.blocks);
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
        let (rows, columns) = (&self.minimal.rows, &self.minimal.columns);
        let tile = self.minimal.tile();
        let size = (rows.exact.points(), columns.exact.points());
        let layout = &self.x.layout;
        // What lies inside the tensor, its border included.
        let inside = (
            layout.height + layout.border.bottom + self.padding.0,
            layout.width + layout.border.right + self.padding.1,
        );
        let row_stride = layout.row_stride();
        for (i, tile_index) in tiles.clone().enumerate() {
            let place = self.place(tile_index);
            let (top, left) = (place.row * tile.0, place.column * tile.1);
            let readable = (size.0.min(inside.0 - top), size.1.min(inside.1 - left));
            for block in 0..self.x.blocks {
                let start = self.x.offset(place.picture, block, 0, 0) as isize
                    + (top as isize - self.padding.0 as isize) * row_stride as isize
                    + (left as isize - self.padding.1 as isize) * LANES as isize;
                let to = (block * tiles.len() + i) * LANES;
                // SAFETY: the window's readable part lies inside the tensor; the points lie in
                // the task's memory.
                unsafe {
                    let mut from = Lines {
                        start: self.x.data.as_ptr().offset(start),
                        step: row_stride,
                        next: LANES,
                    };
                    if readable != size {
                        from = copy_patch(from, readable, size, memory.patch);
                    }
                    self.transform_input(memory, from, memory.inputs.add(to));
                }
            }
        }
    }

    /// One block of one tile: `x` is its rows (`step`) and columns (`next`), `y` its first point.
    ///
    /// # Safety
    /// The tile is readable, its points writable.
    unsafe fn transform_input(&self, memory: &Memory, x: Lines<*const f32>, y: *mut f32) {
        let (rows, columns) = (&self.minimal.rows, &self.minimal.columns);
        let (down, across) = (rows.exact.points(), columns.exact.points());
        let point = memory.inputs_point;
        let along_columns = Lines { start: y, step: point, next: across * point };
        // SAFETY: the caller's promise.
        unsafe {
            if rows.exact.is_identity() {
                let x = Lines { start: x.start, step: x.next, next: x.step };
                columns.input(self.kernels, x, along_columns, down);
            } else if columns.exact.is_identity() {
                rows.input(self.kernels, x, Lines { start: y, step: point, next: point }, across);
            } else {
                let row = across * LANES;
                let half = Lines { start: memory.half, step: row, next: LANES };
                rows.input(self.kernels, x, half, across);
                let half = Lines { start: memory.half.cast_const(), step: LANES, next: row };
                columns.input(self.kernels, half, along_columns, down);
            }
        }
    }

    /// All points' sums of products over the input channels, for one group of blocks.
    ///
    /// # Safety
    /// As for [`Self::task`].
    unsafe fn multiply(&self, memory: &Memory, tiles: usize, group: &Range<usize>) {
        let kernels = self.microkernels.convolve[group.len() - 1];
        let parts = Split::at_most(tiles, self.microkernels.max_rows(group.len()));
        let lanes = self.filters.lanes();
        let points = self.minimal.points();
        let per_point = self.filters.sources() * group.len() * LANES;
        let stream = &self.weights[group.start * LANES * self.filters.sources() * points..];
        let (bias, floor) = Ends::NONE.of(group);
        let mut tile = Tile {
            x: [std::ptr::null(); MAX_ROWS],
            next: [std::ptr::null(); MAX_ROWS],
            // The inputs are in the cache already.
            fresh: (0, 0),
            y: [std::ptr::null_mut(); MAX_ROWS],
            y_block: tiles * LANES,
            weights: stream.as_ptr(),
            lanes: lanes.as_ptr(),
            blocks: (lanes.len(), (tiles * LANES) as isize),
            rows: (1, 0),
            columns: (1, 0),
            bias,
            floor,
            accumulate: false,
        };
        for point in 0..points {
            tile.weights = stream[point * per_point..][..per_point].as_ptr();
            for part in 0..parts.parts {
                let part = parts.part(part);
                for (row, i) in part.clone().enumerate() {
                    // SAFETY: the task's memory has all points of all tiles.
                    unsafe {
                        tile.x[row] = memory.inputs.add(point * memory.inputs_point + i * LANES);
                        tile.y[row] = memory.sums.add(point * memory.sums_point + i * LANES);
                    }
                }
                // SAFETY: weights, inputs and sums are as long as the tile says.
                unsafe { kernels[part.len() - 1](&tile) };
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
        let tile = self.minimal.tile();
        for (number, block) in group.blocks.clone().enumerate() {
            let ((bias, _), (floor, _)) = self.ends.of(&(block..block + 1));
            let end = End { bias, floor };
            for (i, tile_index) in tiles.clone().enumerate() {
                let place = self.place(tile_index);
                let (top, left) = (place.row * tile.0, place.column * tile.1);
                let exists = (tile.0.min(self.output.0 - top), tile.1.min(self.output.1 - left));
                let to = target.first_block + group.first + number;
                let to = target.layout.offset(place.picture, to, top, left);
                let from = (number * tiles.len() + i) * LANES;
                // SAFETY: the sums lie in the task's memory, the tile's existing outputs in the
                // target, where they are this task's.
                unsafe {
                    let y = Lines {
                        start: target.data.at(to),
                        step: LANES,
                        next: target.layout.row_stride(),
                    };
                    self.transform_output(memory, memory.sums.add(from), y, exists, end);
                }
            }
        }
    }

    /// One block of one tile: from its first point's sum to its outputs, columns `step` apart and
    /// rows `next`.
    ///
    /// # Safety
    /// The sums are readable, the `exists` outputs (rows, columns) writable.
    unsafe fn transform_output(
        &self,
        memory: &Memory,
        sums: *const f32,
        y: Lines<*mut f32>,
        exists: (usize, usize),
        end: End,
    ) {
        let (rows, columns) = (&self.minimal.rows, &self.minimal.columns);
        let across = columns.exact.points();
        let point = memory.sums_point;
        // SAFETY: the caller's promise.
        unsafe {
            if rows.exact.is_identity() {
                let x = Lines { start: sums, step: point, next: across * point };
                columns.output(self.kernels, x, y, exists.0, exists.1, end);
            } else if columns.exact.is_identity() {
                let x = Lines { start: sums, step: point, next: point };
                let along_rows = Lines { start: y.start, step: y.next, next: y.step };
                rows.output(self.kernels, x, along_rows, exists.1, exists.0, end);
            } else {
                let row = across * LANES;
                let x = Lines { start: sums, step: across * point, next: point };
                let half = Lines { start: memory.half, step: row, next: LANES };
                let ((bias, _), (floor, _)) = Ends::NONE.of(&(0..1));
                rows.output(self.kernels, x, half, across, exists.0, End { bias, floor });
                let half = Lines { start: memory.half.cast_const(), step: LANES, next: row };
                columns.output(self.kernels, half, y, exists.0, exists.1, end);
            }
        }
    }
}

/// The least length that is an odd number of cache lines: at even ones, the same place in many
/// points would meet the same few sets of the cache.
fn odd_lines(len: usize) -> usize {
    (len / LANES | 1) * LANES
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
