//! Where minimal filtering's tiles lie: windows read from the input, outputs written.
//!
//! Tiles that reach over the picture's edge read zeros there and write only what exists.

use super::Minimal;
use super::lines::{End, Kernels, Lines};
use super::transform::{Run, Transform};
use crate::conv::bilinear::{Memory, Scheme, Step};
use crate::conv::target::{Target, Targets};
use crate::epilogue::{Ends, PerBlock};
use crate::simd::prefetch_to_l2;
use crate::{Isa, LANES, Layout, View};
use std::ops::Range;

/// A convolution by minimal filtering: windows are moved over `x`, padded as the geometry says, by
/// `minimal`'s stride.
pub(in crate::conv) struct Tiles<'a> {
    minimal: &'a Minimal,
    kernels: &'static Kernels,
    x: View<'a>,
    padding: (usize, usize),
    ends: Ends<'a>,
    accumulate: bool,
    /// The output's height and width, and tiles: down, across.
    output: (usize, usize),
    grid: (usize, usize),
}

/// Blocks of a tile's inputs that are transformed together where each has a single line.
const RUN: usize = 4;

/// A tile: its picture, and its row and column in the grid of tiles.
#[derive(Clone, Copy)]
struct Place {
    picture: usize,
    row: usize,
    column: usize,
}

impl<'a> Tiles<'a> {
    /// All of `output`'s; with `accumulate` results are added to the targets and nothing ends
    /// them.
    pub fn new(
        isa: Isa,
        minimal: &'a Minimal,
        x: View<'a>,
        padding: (usize, usize),
        (ends, accumulate): (Ends<'a>, bool),
        output: &Layout,
    ) -> Self {
        let tile = minimal.tile();
        let output = (output.height, output.width);
        let grid = (output.0.div_ceil(tile.0), output.1.div_ceil(tile.1));
        let kernels = Kernels::of(isa);
        Self { minimal, kernels, x, padding, ends, accumulate, output, grid }
    }

    /// Where tiles from one on lie.
    fn places(&self, first: usize) -> impl Iterator<Item = Place> {
        let (rows, columns) = self.grid;
        let (row, column) = (first / columns, first % columns);
        let first = Place { picture: row / rows, row: row % rows, column };
        std::iter::successors(Some(first), move |&Place { picture, row, column }| {
            Some(if column + 1 < columns {
                Place { picture, row, column: column + 1 }
            } else if row + 1 < rows {
                Place { picture, row: row + 1, column: 0 }
            } else {
                Place { picture: picture + 1, row: 0, column: 0 }
            })
        })
    }

    /// Where a tile's outputs of one block start, and how many rows and columns of them exist.
    fn outputs_of(&self, place: Place, layout: &Layout, block: usize) -> (usize, (usize, usize)) {
        let tile = self.minimal.tile();
        let (top, left) = (place.row * tile.0, place.column * tile.1);
        let exist = (tile.0.min(self.output.0 - top), tile.1.min(self.output.1 - left));
        (layout.offset(place.picture, block, top, left), exist)
    }

    /// A tile's window in the first block, as far as it lies inside the tensor, its border
    /// included: where it starts, rows and columns.
    fn window(&self, place: Place) -> (*const f32, (usize, usize)) {
        let Minimal { tile: size, stride, .. } = *self.minimal;
        let (layout, window) = (&self.x.layout, self.minimal.window());
        let (top, left) = (place.row * size.0 * stride.0, place.column * size.1 * stride.1);
        let start = self.x.offset(place.picture, 0, 0, 0) as isize
            + (top as isize - self.padding.0 as isize) * layout.row_stride() as isize
            + (left as isize - self.padding.1 as isize) * LANES as isize;
        let inside = (
            layout.height + layout.border.bottom + self.padding.0,
            layout.width + layout.border.right + self.padding.1,
        );
        let readable = (window.0.min(inside.0 - top), window.1.min(inside.1 - left));
        (self.x.data.as_ptr().wrapping_offset(start), readable)
    }

    /// Values of one window.
    fn patch(&self) -> usize {
        let window = self.minimal.window();
        window.0 * window.1 * LANES
    }

    /// For the memory of so many tiles.
    fn transform(&self, memory: &Memory, tiles: usize) -> Transform<'_> {
        let Self { minimal, kernels, .. } = self;
        let Memory { inputs_point, sums_point, room, .. } = *memory;
        let half = room.wrapping_add(RUN * self.patch());
        let fold = self.x.blocks * tiles * LANES;
        Transform { minimal, kernels, inputs_point, sums_point, fold, half }
    }
}

impl Scheme for Tiles<'_> {
    fn tiles(&self) -> usize {
        self.x.layout.pictures * self.grid.0 * self.grid.1
    }

    fn points(&self) -> usize {
        self.minimal.points()
    }

    fn matrices(&self) -> usize {
        self.minimal.matrices()
    }

    fn steps(&self) -> &[Step] {
        &self.minimal.steps
    }

    fn bias(&self, blocks: &Range<usize>) -> PerBlock {
        self.ends.of(blocks).0
    }

    fn room(&self) -> usize {
        RUN * self.patch() + Transform::room(self.minimal)
    }

    unsafe fn inputs(&self, memory: &Memory, tiles: Range<usize>) {
        let (transform, size) = (self.transform(memory, tiles.len()), self.minimal.window());
        let (step, block_stride) = (self.x.layout.row_stride(), self.x.layout.block_stride());
        let most = if self.minimal.tile.0 == 1 || self.minimal.tile.1 == 1 { RUN } else { 1 };
        let mut windows =
            self.places(tiles.start).take(tiles.len()).map(|place| self.window(place));
        let mut next = windows.next();
        for i in 0..tiles.len() {
            let Some((first, readable)) = next else { break };
            next = windows.next();
            for block in (0..self.x.blocks).step_by(most) {
                let blocks = most.min(self.x.blocks - block);
                let to = (block * tiles.len() + i) * LANES;
                let mut run = Run { blocks, x: block_stride, y: tiles.len() * LANES };
                // SAFETY: the window's readable part lies inside the tensor; the points lie in
                // the task's memory, and the room has space for a run of windows.
                unsafe {
                    for block in block..block + blocks {
                        let Some((next, readable)) = next else { break };
                        ask_for(next.wrapping_add(block * block_stride), step, readable);
                    }
                    let start = first.wrapping_add(block * block_stride);
                    let mut from = Lines { start, step, next: LANES };
                    if readable != size {
                        for block in 0..blocks {
                            let x =
                                Lines { start: start.wrapping_add(block * block_stride), ..from };
                            copy_patch(x, readable, size, memory.room.add(block * self.patch()));
                        }
                        run.x = self.patch();
                        from = Lines { start: memory.room, step: size.1 * LANES, next: LANES };
                    }
                    transform.input(from, memory.inputs.add(to), run);
                }
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
        let transform = self.transform(memory, tiles.len());
        for (number, block) in blocks.clone().enumerate() {
            let (bias, floor) = self.ends.of(&(block..block + 1));
            let (Target { data, layout, .. }, block) = targets.of(block);
            for (i, place) in self.places(tiles.start).take(tiles.len()).enumerate() {
                let (to, exist) = self.outputs_of(place, layout, block);
                let from = (number * tiles.len() + i) * LANES;
                // SAFETY: the sums lie in the task's memory, the tile's existing outputs in the
                // target, where they are this task's.
                unsafe {
                    let start = data.at(to);
                    let y = Lines { start, step: LANES, next: layout.row_stride() };
                    let end = match self.accumulate {
                        true => End::Each { add: y.as_read(), floor: floor.0 },
                        false => End::Same { bias: bias.0, floor: floor.0 },
                    };
                    transform.output(memory.sums.add(from), y, exist, end);
                }
            }
        }
    }
}

/// Asks for a window of so many rows and columns, to be read later.
fn ask_for(start: *const f32, row_stride: usize, (rows, columns): (usize, usize)) {
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
) {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::{Algorithm, Filters, Geometry};
    use crate::{Border, Channels};

    fn cut_windows(geometry: Geometry, rows: usize, size: usize, border: Option<Border>) -> usize {
        let columns = if geometry.kernel.1 == 1 { 1 } else { rows };
        let minimal = Minimal::new((rows, columns), &geometry).unwrap();
        let out = |kernel, padding: usize| (size + 2 * padding - kernel) / geometry.stride.0 + 1;
        let output = (
            out(geometry.kernel.0, geometry.padding.0),
            out(geometry.kernel.1, geometry.padding.1),
        );
        let border = border.unwrap_or_else(|| {
            let algorithm = Algorithm::Minimal { rows, columns };
            let channels = Channels::new(1);
            let targets = [channels.clone()];
            let filters = Filters::with_algorithm(&targets, &channels, &geometry, algorithm);
            filters.unwrap().source_border(&geometry, (size, size), output)
        });
        let layout = Layout { pictures: 2, blocks: 1, height: size, width: size, border };
        let data = vec![0.0; layout.len()];
        let y = Layout { height: output.0, width: output.1, border: Border::default(), ..layout };
        let x = View::new(&data, layout);
        let ends = (Ends::NONE, false);
        let tiles = Tiles::new(Isa::Portable, &minimal, x, geometry.padding, ends, &y);
        let cut = |&place: &Place| tiles.window(place).1 != minimal.window();
        tiles.places(0).take(tiles.tiles()).filter(cut).count()
    }

    #[test]
    fn with_the_border_it_asks_for_no_window_is_copied() {
        let unit = |kernel, padding| Geometry { kernel, stride: (1, 1), padding };
        let cases = [
            (unit((7, 1), (3, 0)), 9, 17),
            (unit((3, 3), (1, 1)), 5, 14),
            (unit((3, 3), (0, 0)), 6, 73),
            (unit((5, 5), (2, 2)), 4, 7),
            (Geometry { kernel: (3, 3), stride: (2, 2), padding: (0, 0) }, 3, 35),
            (Geometry { kernel: (7, 7), stride: (2, 2), padding: (3, 3) }, 4, 30),
        ];
        for (geometry, tile, size) in cases {
            assert_eq!(cut_windows(geometry, tile, size, None), 0, "{geometry:?}");
        }
        // 7×1 @17×17: of two rows of tiles the lower ones lack one row of pixels.
        let (geometry, tile, size) = cases[0];
        let border = geometry.input_border((size, size), (size, size));
        assert_eq!(cut_windows(geometry, tile, size, Some(border)), 2 * size);
    }
}
