//! Convolution as a product of matrices, of windows that are copied first: each is a row.
//!
//! It has the multiplications of the definition, but may pair what it sums (see `paired`), which direct
//! convolution cannot. A window's values follow each other by row, column and channel, in blocks of
//! sixteen. Those of pixels that do not fill a block follow without gaps, as only whole blocks have
//! pairs: the rows of such pixels are packed first, and a block is made of pieces of them. Elsewhere
//! blocks are those of the pixels; 1×1 filters' windows are pixels.

mod kernels;

use super::Geometry;
use super::balance::Balance;
use super::bilinear::{Memory, Scheme, Step};
use super::target::{Origin, Place, Targets};
use crate::epilogue::{Ends, PerBlock};
use crate::{Channels, Cpu, LANES, View};
use kernels::Row;
use std::ops::Range;

/// A window's values as if they were a pixel's channels.
pub(super) fn values(source: &Channels, kernel: (usize, usize)) -> Channels {
    let taps = kernel.0 * kernel.1;
    match packs(source, kernel) {
        true => Channels::new(taps * source.count()),
        false => Channels::concat(std::iter::repeat_n(source, taps)),
    }
}

/// Whether rows of pixels are packed.
fn packs(source: &Channels, kernel: (usize, usize)) -> bool {
    source.blocks() == 1 && source.count() < LANES && kernel != (1, 1)
}

/// The windows of a convolution.
pub(super) struct Windows<'a> {
    cpu: &'a Cpu,
    balance: &'a Balance,
    x: View<'a>,
    geometry: Geometry,
    ends: Ends<'a>,
    /// The output's height and width.
    output: (usize, usize),
    /// Of a window's values, block by block: the first piece of each has lane 0.
    pieces: Vec<Piece>,
    /// Where rows are packed.
    packed: Option<Packed>,
}

/// Values of a block that follow each other in memory.
struct Piece {
    /// Which of the window's rows they are in.
    row: usize,
    /// From the row's start.
    at: usize,
    /// The first one's lane.
    lane: usize,
}

/// Rows of pixels without gaps.
struct Packed {
    channels: usize,
    pixels: usize,
}

impl Packed {
    /// From one row to the next: a block's pieces are read with what is beside them.
    fn step(&self) -> usize {
        self.channels * self.pixels + 2 * LANES
    }
}

/// Windows that follow each other in a row.
struct Run {
    /// The first one's number among a task's.
    tile: usize,
    place: Place,
    count: usize,
}

/// The windows' one matrix.
static STEP: [Step; 1] = [Step { point: 0, matrix: 0, turn: 0, turns: 1, plain: false }];

impl<'a> Windows<'a> {
    /// Of `x`, whose channels are `source`, for an output of this height and width.
    pub fn new(
        cpu: &'a Cpu,
        (x, source): (View<'a>, &Channels),
        geometry: Geometry,
        (ends, balance): (Ends<'a>, &'a Balance),
        output: (usize, usize),
    ) -> Self {
        let Geometry { kernel, stride, .. } = geometry;
        let packed = packs(source, kernel).then(|| {
            let pixels = output.1.saturating_sub(1) * stride.1 + kernel.1;
            Packed { channels: source.count(), pixels }
        });
        let pieces = match packed {
            Some(_) => packed_pieces(kernel.0, kernel.1 * source.count()),
            None => pieces(&x, kernel),
        };
        Self { cpu, balance, x, geometry, ends, output, pieces, packed }
    }

    fn place(&self, tile: usize) -> Place {
        let (height, width) = self.output;
        let (row, column) = (tile / width, tile % width);
        Place { picture: row / height, row: row % height, column }
    }

    /// A task's windows.
    fn runs(&self, tiles: Range<usize>) -> impl Iterator<Item = Run> {
        let mut tile = tiles.start;
        std::iter::from_fn(move || {
            let place = (tile < tiles.end).then(|| self.place(tile))?;
            let count = (self.output.1 - place.column).min(tiles.end - tile);
            let run = Run { tile: tile - tiles.start, place, count };
            tile += count;
            Some(run)
        })
    }

    /// Where the first window of an output row has its values of one of the input's rows, counted from
    /// the first that a window has.
    fn row(&self, picture: usize, row: usize) -> *const f32 {
        let (row_stride, padding) = (self.x.layout.row_stride(), self.geometry.padding);
        let first = self.x.offset(picture, 0, 0, 0) - padding.0 * row_stride - padding.1 * LANES;
        self.x.data.as_ptr().wrapping_add(first + row * row_stride)
    }

    /// Rows of a picture as [`Packed`], in as many places as a window has rows.
    ///
    /// # Safety
    /// The room is for as many.
    unsafe fn pack(&self, packed: &Packed, picture: usize, rows: Range<usize>, room: *mut f32) {
        let &Packed { channels, pixels } = packed;
        for row in rows {
            let to = packed_row(room, packed, row % self.geometry.kernel.0);
            // SAFETY: windows are inside the input's border; the caller's promise.
            unsafe { kernels::pack(self.row(picture, row), pixels, channels, to) };
        }
    }

    /// Copies a run of windows, of rows that have been packed if they are to be.
    ///
    /// # Safety
    /// As for [`Scheme::inputs`]; `y` is the place of the first one's first block.
    unsafe fn copy(&self, run: &Run, room: *mut f32, (y, y_block): (*mut f32, usize)) {
        let Geometry { kernel, stride, .. } = self.geometry;
        let Place { picture, row, column } = run.place;
        let pixel = self.packed.as_ref().map_or(LANES, |packed| packed.channels);
        let start = |piece: &Piece| {
            let row = row * stride.0 + piece.row;
            let start = match &self.packed {
                Some(packed) => packed_row(room, packed, row % kernel.0).cast_const(),
                None => self.row(picture, row),
            };
            start.wrapping_add(column * stride.1 * pixel + piece.at).wrapping_sub(piece.lane)
        };
        let mut blocks = self.pieces.chunk_by(|_, next| next.lane > 0).enumerate().peekable();
        while let Some((block, pieces)) = blocks.next() {
            let of = |piece: &Piece| (start(piece), piece.lane);
            let next = blocks.peek().map_or(std::ptr::null(), |(_, pieces)| start(&pieces[0]));
            let mut row = Row {
                pieces: [of(&pieces[pieces.len() - 1]); LANES],
                count: pieces.len(),
                next,
                step: stride.1 * pixel,
                windows: run.count,
                channels: self.balance.channels[block].into(),
                scale: self.balance.inputs[block * LANES..].as_ptr(),
            };
            row.pieces.iter_mut().zip(pieces).for_each(|(to, piece)| *to = of(piece));
            // SAFETY: the pieces lie in the room or in the input's border; the caller's promise.
            unsafe { kernels::copy(self.cpu, &row, y.wrapping_add(block * y_block)) };
        }
    }
}

/// Those of blocks of pixels.
fn pieces(x: &View, kernel: (usize, usize)) -> Vec<Piece> {
    let of_tap = |tap: usize| {
        let (row, column) = (tap / kernel.1, tap % kernel.1);
        let at = move |block| block * x.layout.block_stride() + column * LANES;
        (0..x.blocks).map(move |block| Piece { row, at: at(block), lane: 0 })
    };
    (0..kernel.0 * kernel.1).flat_map(of_tap).collect()
}

/// Those of packed rows, of which a window has so many with so many values each.
fn packed_pieces(rows: usize, values: usize) -> Vec<Piece> {
    let (mut pieces, mut value) = (Vec::new(), 0);
    while value < rows * values {
        let (row, at, lane) = (value / values, value % values, value % LANES);
        pieces.push(Piece { row, at, lane });
        value += (values - at).min(LANES - lane);
    }
    pieces
}

/// Where a packed row starts.
fn packed_row(room: *mut f32, packed: &Packed, place: usize) -> *mut f32 {
    room.wrapping_add(place * packed.step() + LANES)
}

impl Scheme for Windows<'_> {
    fn tiles(&self) -> usize {
        self.x.layout.pictures * self.output.0 * self.output.1
    }

    fn points(&self) -> usize {
        1
    }

    fn matrices(&self) -> usize {
        1
    }

    fn steps(&self) -> &[Step] {
        &STEP
    }

    fn bias(&self, blocks: &Range<usize>) -> PerBlock {
        Ends::NONE.of(blocks).0
    }

    fn room(&self) -> usize {
        self.packed.as_ref().map_or(0, |packed| self.geometry.kernel.0 * packed.step())
    }

    unsafe fn inputs(&self, memory: &Memory, tiles: Range<usize>) {
        let y_block = tiles.len() * LANES;
        let (mut picture, mut ready) = (0, 0..0);
        for run in self.runs(tiles) {
            let Geometry { kernel, stride, .. } = self.geometry;
            let first = run.place.row * stride.0;
            let mut rows = first..first + kernel.0;
            let y = memory.inputs.wrapping_add(run.tile * LANES);
            // SAFETY: the caller's promise.
            unsafe {
                if let Some(packed) = &self.packed {
                    // Some are those of the row before.
                    if picture == run.place.picture && ready.contains(&rows.start) {
                        rows.start = ready.end;
                    }
                    (picture, ready) = (run.place.picture, first..rows.end);
                    self.pack(packed, picture, rows, memory.room);
                }
                self.copy(&run, memory.room, (y, y_block));
            }
        }
    }

    unsafe fn outputs(
        &self,
        memory: &Memory,
        targets: &Targets,
        blocks: &Range<usize>,
        tiles: Range<usize>,
    ) {
        for (number, block) in blocks.clone().enumerate() {
            let ((bias, _), (floor, _)) = self.ends.of(&(block..block + 1));
            let ends = [self.balance.outputs[block * LANES..].as_ptr(), bias, floor];
            let origin = Origin::of(targets, block);
            for run in self.runs(tiles.clone()) {
                let from = (number * tiles.len() + run.tile) * LANES;
                // SAFETY: the sums lie in the task's memory, the outputs in the targets, where they
                // are this task's.
                unsafe {
                    let sums = memory.sums.add(from).cast_const();
                    kernels::finish(self.cpu, sums, run.count, &ends, origin.at(run.place));
                }
            }
        }
    }
}
