//! Direct convolution over a grid of pixels, cut into tiles and tasks.

use super::filters::Filters;
use super::microkernel::{MAX_ROWS, Microkernels, Tile, max_rows};
use super::phase::Phase;
use super::split::Split;
use super::target::{Target, Targets};
use crate::epilogue::Ends;
use crate::{Cpu, LANES, Layout, View, ViewMut};
use std::ops::Range;

/// How long a task should take, in multiply–adds of whole blocks: some ten microseconds, long
/// beside its claiming and short beside a layer.
const TASK: usize = 60_000;

/// Packed weights of at most so many values stay in a core's second-level cache, whatever is read
/// beside them.
const RESIDENT: usize = 1 << 16;

/// About so many values of the source stay in or near that cache, while weights stream by.
const PANEL: usize = 1 << 18;

/// Where along one axis windows lie and results go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    /// Results.
    pub count: usize,
    /// Where in the source the first result's window starts; the border's pixels count down from
    /// zero.
    pub origin: isize,
    /// From one window to the next.
    pub source_step: usize,
    /// Where the first result goes.
    pub first: usize,
    /// From one result to the next.
    pub target_step: usize,
}

/// One convolution: target = (target +) epilogue(taps · source) at some of the targets' pixels.
pub(super) struct Direct<'a> {
    pub source: View<'a>,
    pub filters: &'a Filters,
    pub phase: Phase,
    /// The phase's packed weights: one stream per group of target blocks.
    pub weights: &'a [f32],
    pub rows: Walk,
    pub columns: Walk,
    pub ends: Ends<'a>,
    pub accumulate: bool,
    /// Whether the targets' borders are to be zeroed on the way.
    pub border: bool,
}

impl Direct<'_> {
    /// Computes all results, to targets of the same pictures, rows and columns.
    ///
    /// # Safety
    /// `weights` are those of the filters, which are for the views' blocks; all windows lie inside
    /// the source, borders included, and all results inside the targets; the ends have a value for
    /// each of the targets' lanes.
    pub unsafe fn compute(&self, cpu: &Cpu, targets: &mut [ViewMut]) {
        let microkernels = Microkernels::of(cpu.isa());
        let pixels = self.source.layout.pictures * self.rows.count * self.columns.count;
        let tasks = self.tasks(cpu, microkernels, pixels);
        let targets = Targets::new(targets);
        let work = |task| {
            let (group, chunk) = tasks.get(task);
            let group = &self.filters.groups()[group];
            let tiles = Split::at_most(pixels, max_rows(microkernels.convolve, group.len()));
            let chunk = Split { total: tiles.parts, parts: tasks.chunks }.part(chunk);
            // SAFETY: each task has its own pixels of its own blocks; the rest is the caller's
            // promise.
            unsafe { self.tiles(microkernels, targets.of(group.start), group, tiles, chunk) };
        };
        // SAFETY: tasks write no borders; the caller's promise.
        unsafe { targets.for_each(cpu, tasks.len(), self.border, work) };
    }

    /// How to cut the work: several times as many tasks as threads, but none of them tiny.
    fn tasks(&self, cpu: &Cpu, microkernels: &Microkernels, pixels: usize) -> Tasks {
        let groups = self.filters.groups();
        let blocks = groups.iter().map(Range::len).max().unwrap_or(0);
        if blocks == 0 || pixels == 0 {
            return Tasks { groups: 0, chunks: 0, panel: 1 };
        }
        let tiles = pixels.div_ceil(max_rows(microkernels.convolve, blocks));
        let sources = self.filters.sources();
        let steps = sources * self.phase.taps();
        let by_work = (pixels * steps * blocks).div_ceil(TASK);
        let by_threads = (8 * cpu.threads()).div_ceil(groups.len());
        let chunks = by_work.max(by_threads).min(tiles);
        let all = groups.last().map_or(0, |group| group.end);
        let panel = if steps * all * LANES <= RESIDENT {
            1
        } else {
            let windows = pixels * self.rows.source_step * self.columns.source_step;
            PANEL * chunks / (windows * sources).max(1)
        };
        Tasks { groups: groups.len(), chunks, panel: panel.clamp(1, chunks) }
    }

    /// Computes some tiles of a group of target blocks.
    ///
    /// # Safety
    /// As for [`Direct::compute`]; nobody else uses the tiles' results.
    unsafe fn tiles(
        &self,
        microkernels: &Microkernels,
        (target, block): (&Target, usize),
        group: &Range<usize>,
        tiles: Split,
        range: Range<usize>,
    ) {
        let (source, layout) = (&self.source.layout, &target.layout);
        let lanes = self.filters.lanes();
        let kernels = microkernels.convolve[group.len() - 1];
        let (bias, floor) = self.ends.of(group);
        let stream = group.start * LANES * self.filters.sources() * self.phase.taps();
        let mut tile = Tile {
            x: [std::ptr::null(); MAX_ROWS],
            next: [std::ptr::null(); MAX_ROWS],
            fresh: (
                self.rows.source_step.min(self.phase.rows.count),
                self.columns.source_step.min(self.phase.columns.count),
            ),
            y: [std::ptr::null_mut(); MAX_ROWS],
            y_block: layout.block_stride(),
            weights: self.weights[stream..].as_ptr(),
            lanes: lanes.as_ptr(),
            blocks: (lanes.len(), source.block_stride() as isize),
            rows: (self.phase.rows.count, source.row_stride() as isize),
            columns: (self.phase.columns.count, LANES as isize),
            bias,
            floor,
            accumulate: self.accumulate,
        };
        let mut parts = tiles.parts_from(range.start).map(|part| part.len()).take(range.len());
        let mut pixel = Pixel::new(self, layout, block, tiles.part(range.start).start);
        // One tile ahead, so that each knows the windows that come next.
        let mut next_y = tile.y;
        let mut pixels = 0;
        for _ in range.start..=range.end {
            tile.x = tile.next;
            tile.y = next_y;
            let ahead = parts.next().unwrap_or(0);
            for (x, y) in tile.next.iter_mut().zip(&mut next_y).take(ahead) {
                // A window without taps may lie anywhere, as nothing of it is read.
                *x = self.source.data.as_ptr().wrapping_offset(pixel.source);
                // SAFETY: a pixel of the target.
                *y = unsafe { target.data.at(pixel.target) };
                pixel.advance();
            }
            if pixels > 0 {
                // SAFETY: the caller's promise; `cpu` has the instruction set of its microkernels.
                unsafe { kernels[pixels - 1](&tile) };
            }
            pixels = ahead;
        }
    }
}

/// Tasks: each one group of target blocks and one chunk of the pixels. A panel of chunks, whose
/// source stays in a core's cache, goes through all groups before the next.
struct Tasks {
    groups: usize,
    chunks: usize,
    panel: usize,
}

impl Tasks {
    fn len(&self) -> usize {
        self.groups * self.chunks
    }

    /// Group and chunk.
    fn get(&self, task: usize) -> (usize, usize) {
        let start = task / (self.groups * self.panel) * self.panel;
        let task = task - start * self.groups;
        let panel = self.panel.min(self.chunks - start);
        (task / panel, start + task % panel)
    }
}

/// A position in the sequence of all pictures' results, row by row.
struct Pixel<'a> {
    direct: &'a Direct<'a>,
    layout: &'a Layout,
    /// The target's block, counted within the whole tensor.
    block: usize,
    picture: usize,
    row: usize,
    column: usize,
    /// Where the window starts in the source.
    source: isize,
    /// Where the result's block lies in the target.
    target: usize,
}

impl<'a> Pixel<'a> {
    fn new(direct: &'a Direct, layout: &'a Layout, block: usize, index: usize) -> Self {
        let (rows, columns) = (direct.rows.count, direct.columns.count);
        let (picture, row) = (index / columns / rows, index / columns % rows);
        let mut pixel =
            Self { direct, layout, block, picture, row, column: 0, source: 0, target: 0 };
        pixel.start_row();
        for _ in 0..index % columns {
            pixel.advance();
        }
        pixel
    }

    /// Finds the row's first window and result.
    fn start_row(&mut self) {
        let Direct { source, rows, columns, .. } = self.direct;
        let y = rows.origin + (self.row * rows.source_step) as isize;
        let picture = source.offset(self.picture, 0, 0, 0) as isize;
        self.source =
            picture + y * source.layout.row_stride() as isize + columns.origin * LANES as isize;
        let y = rows.first + self.row * rows.target_step;
        self.target = self.layout.offset(self.picture, self.block, y, columns.first);
    }

    fn advance(&mut self) {
        let Direct { rows, columns, .. } = self.direct;
        self.column += 1;
        self.source += (columns.source_step * LANES) as isize;
        self.target += columns.target_step * LANES;
        if self.column == columns.count {
            self.column = 0;
            self.row += 1;
            if self.row == rows.count {
                self.row = 0;
                self.picture += 1;
            }
            // Past the last picture this leads nowhere, and nobody goes there.
            if self.picture < self.layout.pictures {
                self.start_row();
            }
        }
    }
}
