//! Where the pixels lie that Strassen's product mixes.

use super::kernels::{self, Blocks, Points, Sources};
use super::{MOST, POINTS, Strassen};
use crate::conv::balance::Balance;
use crate::conv::bilinear::{Memory, Scheme, Step};
use crate::conv::target::{Origin, Place, Targets};
use crate::epilogue::{Ends, PerBlock};
use crate::{Cpu, LANES, View};
use std::ops::Range;

/// A convolution of `x` by 1×1 filters at stride 1, without padding.
pub(in crate::conv) struct Pixels<'a> {
    pub cpu: &'a Cpu,
    pub strassen: Strassen,
    pub balance: &'a Balance,
    pub x: View<'a>,
    pub ends: Ends<'a>,
    /// The output's height and width.
    pub output: (usize, usize),
    /// Blocks of outputs, in all targets.
    pub blocks: usize,
}

/// What a missing pixel or block holds.
static ZEROS: [f32; LANES] = [0.0; LANES];

/// Each point has a matrix of its own.
static STEPS: [Step; POINTS * POINTS] = {
    let mut steps =
        [Step { point: 0, matrix: 0, turn: 0, turns: 1, plain: false }; POINTS * POINTS];
    let mut point = 0;
    while point < steps.len() {
        (steps[point].point, steps[point].matrix) = (point, point);
        point += 1;
    }
    steps
};

impl Pixels<'_> {
    fn tiles_per_picture(&self) -> usize {
        (self.output.0 * self.output.1).div_ceil(self.strassen.parts())
    }

    /// A tile's first pixel.
    fn first(&self, tile: usize) -> Place {
        let (each, width) = (self.tiles_per_picture(), self.output.1);
        let pixel = tile % each * self.strassen.parts();
        Place { picture: tile / each, row: pixel / width, column: pixel % width }
    }

    /// Calls `with` for each pixel of a tile, with its number there, if it exists; returns the next
    /// tile's first.
    #[inline(always)]
    fn for_pixels(&self, mut place: Place, mut with: impl FnMut(usize, Option<Place>)) -> Place {
        let (height, width) = self.output;
        for pixel in 0..self.strassen.parts() {
            with(pixel, (place.row < height).then_some(place));
            place.column += 1;
            if place.column == width {
                (place.row, place.column) = (place.row + 1, 0);
            }
        }
        if place.row >= height {
            place = Place { picture: place.picture + 1, row: 0, column: 0 };
        }
        place
    }

    /// The blocks of outputs that are mixed in a block of sums.
    fn outputs_in(&self, block: usize) -> Range<usize> {
        let parts = self.strassen.parts();
        block * parts..((block + 1) * parts).min(self.blocks)
    }

    /// Each pixel of a tile in the first block of the input; of a missing one zeros.
    fn sources(&self, place: Place) -> (Sources, Place) {
        let mut sources = [(ZEROS.as_ptr(), 0); MOST];
        let next = self.for_pixels(place, |pixel, place| {
            if let Some(Place { picture, row, column }) = place {
                let at = self.x.data.as_ptr().wrapping_add(self.x.offset(picture, 0, row, column));
                sources[pixel] = (at, self.x.layout.block_stride());
            }
        });
        (sources, next)
    }
}

impl Scheme for Pixels<'_> {
    fn tiles(&self) -> usize {
        self.x.layout.pictures * self.tiles_per_picture()
    }

    fn points(&self) -> usize {
        self.strassen.points()
    }

    fn matrices(&self) -> usize {
        self.strassen.points()
    }

    fn steps(&self) -> &[Step] {
        &STEPS[..self.points()]
    }

    fn bias(&self, blocks: &Range<usize>) -> PerBlock {
        Ends::NONE.of(blocks).0
    }

    fn room(&self) -> usize {
        LANES
    }

    unsafe fn inputs(&self, memory: &Memory, tiles: Range<usize>) {
        let Balance { inputs, channels, .. } = self.balance;
        let blocks = Blocks { channels, scale: inputs.as_ptr() };
        let (mut x, mut place) = self.sources(self.first(tiles.start));
        for i in 0..tiles.len() {
            // One tile ahead, to be asked for; after the last there may be none.
            let (mut next, mut after) = (x, place);
            if i + 1 < tiles.len() {
                (next, after) = self.sources(place);
            }
            let y = Points {
                start: memory.inputs.wrapping_add(i * LANES),
                step: memory.inputs_point,
                block: tiles.len() * LANES,
            };
            // SAFETY: the pixels' blocks are readable, and there are as many blocks' scales; the
            // points lie in the task's memory.
            unsafe {
                match self.strassen.levels {
                    1 => kernels::split_once(self.cpu, &x, &next, &blocks, y),
                    _ => kernels::split_twice(self.cpu, &x, &next, &blocks, y),
                }
            }
            (x, place) = (next, after);
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
            let mut ends = [[ZEROS.as_ptr(); 3]; MOST];
            for (end, block) in ends.iter_mut().zip(self.outputs_in(block)) {
                let ((bias, _), (floor, _)) = self.ends.of(&(block..block + 1));
                *end = [self.balance.outputs[block * LANES..].as_ptr(), bias, floor];
            }
            let mut origins = [None; MOST];
            for (origin, block) in origins.iter_mut().zip(self.outputs_in(block)) {
                *origin = Some(Origin::of(targets, block));
            }
            let mut place = self.first(tiles.start);
            let mut y = [[memory.room; MOST * MOST]; RUN];
            for run in (0..tiles.len()).step_by(RUN) {
                let count = RUN.min(tiles.len() - run);
                for y in &mut y[..count] {
                    place = self.for_pixels(place, |pixel, place| {
                        for (part, origin) in origins.iter().enumerate() {
                            y[pixel * MOST + part] = match (origin, place) {
                                (Some(origin), Some(place)) => origin.at(place),
                                _ => memory.room,
                            };
                        }
                    });
                }
                let from = (number * tiles.len() + run) * LANES;
                // SAFETY: the sums lie in the task's memory, the existing outputs in the targets,
                // where they are this task's; the others are written to the task's memory.
                unsafe {
                    let sums = memory.sums.add(from).cast_const();
                    match self.strassen.levels {
                        1 => kernels::join_once(
                            self.cpu,
                            sums,
                            memory.sums_point,
                            &y[..count],
                            &ends,
                        ),
                        _ => kernels::join_twice(
                            self.cpu,
                            sums,
                            memory.sums_point,
                            &y[..count],
                            &ends,
                        ),
                    }
                }
            }
        }
    }
}

/// Tiles whose outputs are written together.
const RUN: usize = 8;
