//! Convolution by 1×1 filters with fewer multiplications: Strassen's product of matrices (1969).
//!
//! A picture's pixels × channels times channels × outputs is a product of matrices. Cut in two
//! along all three, it needs seven products of halves, not eight; cut in two again, 49 instead of
//! 64. Halves are taken in turn: the first pixel of a tile is in the first half, the second in the
//! second, and so are blocks of channels and of outputs. So a tile is two or four pixels that
//! follow each other, which a product's points mix. A missing pixel or block counts as zeros, and
//! what would become of it is not written.
//!
//! Sums of channels of very different size would lose the smaller ones' digits. Networks have such
//! channels, small weights reading large ones; so weights are first brought to one size by powers
//! of two, the channels' by the inverse of them: a [`Balance`].

// Indices throughout in the kernels, as the loops must unroll into registers.
#![allow(clippy::needless_range_loop)]

use super::bilinear::{Memory, Scheme, Step};
use super::target::{Target, Targets};
use crate::epilogue::{Ends, PerBlock};
use crate::simd::{Vector, kernel, prefetch_to_l2, prefetch_to_write};
use crate::{Buffer, Cpu, LANES, View};
use std::ops::Range;

/// A product's points once cut.
const POINTS: usize = 7;

/// The most halves of halves along each axis.
const MOST: usize = 4;

/// Which halves of the weights, of channels and of outputs, each point is multiplied with:
/// coefficients of (0, 0), (0, 1), (1, 0), (1, 1).
const WEIGHTS: [[f64; 4]; POINTS] = [
    [1.0, 0.0, 0.0, 1.0],
    [1.0, 0.0, 0.0, 0.0],
    [0.0, 1.0, 0.0, -1.0],
    [-1.0, 0.0, 1.0, 0.0],
    [0.0, 0.0, 0.0, 1.0],
    [1.0, 1.0, 0.0, 0.0],
    [0.0, 0.0, 1.0, 1.0],
];

/// The points of (pixel, channels) = (0, 0), (0, 1), (1, 0), (1, 1).
#[inline(always)]
fn split<V: Vector>([a, b, c, d]: [V; 4]) -> [V; POINTS] {
    [a.add(d), c.add(d), a, d, a.add(b), c.sub(a), b.sub(d)]
}

/// (pixel, outputs) = (0, 0), (0, 1), (1, 0), (1, 1) of the points' products.
#[inline(always)]
fn join<V: Vector>(m: [V; POINTS]) -> [V; 4] {
    [
        m[0].add(m[3]).sub(m[4]).add(m[6]),
        m[2].add(m[4]),
        m[1].add(m[3]),
        m[0].sub(m[1]).add(m[2]).add(m[5]),
    ]
}

/// The product cut so often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Strassen {
    /// 1 or 2.
    pub levels: u32,
}

impl Strassen {
    /// The algorithm for 1×1 filters that cuts so often, if there is one.
    pub fn new(levels: u32) -> Option<Self> {
        (1..=MOST.ilog2()).contains(&levels).then_some(Self { levels })
    }

    /// Parts along each axis: a tile's pixels, and blocks of channels and of outputs that are mixed.
    pub fn parts(&self) -> usize {
        1 << self.levels
    }

    /// Products of matrices.
    pub fn points(&self) -> usize {
        POINTS.pow(self.levels)
    }

    /// By how much rounding errors grow in the outputs on average, compared with a direct sum, if
    /// all operands are as large: the root of the mean over the outputs of Σ (‖input‖ ‖weight‖)²
    /// over the products in each.
    pub fn amplification(&self) -> f64 {
        // An output of one cut has products of (1, 1), (1, 1), (√2, √2) … operands: 12 and 4 in
        // place of 2.
        2f64.powi(self.levels as i32)
    }

    /// The weights of each point for one block of outputs of `weights`, `[channels][outputs]` parts.
    pub fn transform(&self, weights: &[[f64; LANES]], mut matrix: impl FnMut(usize, [f32; LANES])) {
        let parts = self.parts();
        for point in 0..self.points() {
            let mut sums = [0.0; LANES];
            for (i, values) in weights.iter().enumerate() {
                let coefficient = self.coefficient(point, (i / parts, i % parts));
                if coefficient != 0.0 {
                    sums.iter_mut()
                        .zip(values)
                        .for_each(|(sum, value)| *sum += coefficient * value);
                }
            }
            matrix(point, sums.map(|sum| sum as f32));
        }
    }

    /// How often a point has a part of the channels and of the outputs.
    fn coefficient(&self, point: usize, (channels, outputs): (usize, usize)) -> f64 {
        // Digits: the first cut's are the higher.
        let cut = |level: u32| {
            let half = 2 * (channels >> level & 1) + (outputs >> level & 1);
            WEIGHTS[point / POINTS.pow(level) % POINTS][half]
        };
        (0..self.levels).map(cut).product()
    }
}

/// Powers of two that bring the weights of each channel, and of each output, to one size.
#[derive(Default)]
pub(super) struct Balance {
    /// What inputs are multiplied with, a value for each lane; their weights are divided by it.
    pub inputs: Buffer,
    /// What sums are multiplied with, likewise.
    pub outputs: Buffer,
}

impl Balance {
    /// For `rows`, the weights of each lane of the outputs (`None`: a spare one) and their factor,
    /// of channels that are in such lanes of the inputs.
    pub fn new(rows: &[Option<(&[f32], f64)>], lanes: &[usize], inputs: usize) -> Self {
        let mut largest = vec![0f32; lanes.len()];
        let mut balance =
            Self { inputs: Buffer::zeroed(inputs), outputs: Buffer::zeroed(rows.len()) };
        for (output, row) in balance.outputs.iter_mut().zip(rows) {
            // A spare lane's sums are no exact zeros; its scale is.
            let Some((row, factor)) = row else { continue };
            let most = row.iter().fold(0f32, |most, weight| most.max(weight.abs()));
            *output = power_of_two(f64::from(most) * factor.abs());
            let factor = (factor.abs() / f64::from(*output)) as f32;
            for (largest, weight) in largest.iter_mut().zip(*row) {
                *largest = largest.max(weight.abs() * factor);
            }
        }
        for (&lane, largest) in lanes.iter().zip(largest) {
            balance.inputs[lane] = power_of_two(f64::from(largest));
        }
        balance
    }
}

/// The nearest to a size, far from the ends of the numbers' range; 1 for none.
fn power_of_two(size: f64) -> f32 {
    match size > 0.0 && size.is_finite() {
        true => size.log2().round().clamp(-40.0, 40.0).exp2() as f32,
        false => 1.0,
    }
}

/// A convolution of `x` by 1×1 filters at stride 1, without padding.
pub(super) struct Pixels<'a> {
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

/// A pixel of the batch.
#[derive(Clone, Copy)]
struct Place {
    picture: usize,
    row: usize,
    column: usize,
}

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

    fn steps(&self) -> impl Iterator<Item = Step> {
        (0..self.points()).map(|point| Step { point, matrix: point, turn: 0, turns: 1 })
    }

    fn start(&self, _: usize, blocks: &Range<usize>) -> PerBlock {
        Ends::NONE.of(blocks).0
    }

    fn room(&self) -> usize {
        LANES
    }

    unsafe fn inputs(&self, memory: &Memory, tiles: Range<usize>) {
        let blocks = (self.x.blocks, self.balance.inputs.as_ptr());
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
                    1 => split_once(self.cpu, &x, &next, blocks, y),
                    _ => split_twice(self.cpu, &x, &next, blocks, y),
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
                        1 => join_once(self.cpu, sums, memory.sums_point, &y[..count], &ends),
                        _ => join_twice(self.cpu, sums, memory.sums_point, &y[..count], &ends),
                    }
                }
            }
        }
    }

    fn ask_for_outputs(&self, targets: &Targets, block: usize, tiles: Range<usize>) {
        for block in self.outputs_in(block) {
            let origin = Origin::of(targets, block);
            let mut place = self.first(tiles.start);
            for _ in tiles.clone() {
                place = self.for_pixels(place, |_, place| {
                    if let Some(place) = place {
                        prefetch_to_write(origin.at(place));
                    }
                });
            }
        }
    }
}

/// Where a block's outputs lie.
#[derive(Clone, Copy)]
struct Origin {
    start: *mut f32,
    picture: usize,
    row: usize,
}

impl Origin {
    fn of(targets: &Targets, block: usize) -> Self {
        let (Target { data, layout, .. }, block) = targets.of(block);
        // SAFETY: an output.
        let start = unsafe { data.at(layout.offset(0, block, 0, 0)) };
        Self { start, picture: layout.picture_stride(), row: layout.row_stride() }
    }

    #[inline(always)]
    fn at(&self, Place { picture, row, column }: Place) -> *mut f32 {
        self.start.wrapping_add(picture * self.picture + row * self.row + column * LANES)
    }
}

/// Tiles whose outputs are written together.
const RUN: usize = 8;

/// Each pixel of a tile in the first block, and from one block to the next.
type Sources = [(*const f32, usize); MOST];

/// Scale, bias and floor of each part of the outputs.
type PartEnds = [[*const f32; 3]; MOST];

/// Where a tile's points go: from one to the next, and from one block to the next.
#[derive(Clone, Copy)]
struct Points {
    start: *mut f32,
    step: usize,
    block: usize,
}

/// Some lanes of a pixel's block, scaled; zeros where the block is missing.
///
/// # Safety
/// Those of `blocks` are readable, and as many blocks' scales.
#[inline(always)]
unsafe fn load<V: Vector>(
    (start, step): (*const f32, usize),
    block: usize,
    (blocks, scale): (usize, *const f32),
    lane: usize,
) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        match block < blocks {
            true => {
                let scale = V::load(scale.add(block * LANES + lane));
                V::load(start.add(block * step + lane)).mul(scale)
            }
            false => V::splat(0.0),
        }
    }
}

/// The seven points of two pixels and two blocks, the first of which are given.
///
/// # Safety
/// As for [`load`].
#[inline(always)]
unsafe fn quarter<V: Vector>(
    x: &Sources,
    (pixel, block): (usize, usize),
    blocks: (usize, *const f32),
    lane: usize,
) -> [V; POINTS] {
    // SAFETY: the caller's promise.
    unsafe {
        split([
            load(x[pixel], block, blocks, lane),
            load(x[pixel], block + 1, blocks, lane),
            load(x[pixel + 1], block, blocks, lane),
            load(x[pixel + 1], block + 1, blocks, lane),
        ])
    }
}

/// Four outputs of the seven sums that lie `step` apart.
///
/// # Safety
/// The sums are readable.
#[inline(always)]
unsafe fn joined<V: Vector>(sums: *const f32, step: usize) -> [V; 4] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut m = [V::splat(0.0); POINTS];
        for point in 0..POINTS {
            m[point] = V::load(sums.add(point * step));
        }
        join(m)
    }
}

/// Asks for some blocks of a tile's pixels, to be read later.
#[inline(always)]
fn ask_for(next: &Sources, pixels: usize, blocks: Range<usize>) {
    for (start, step) in &next[..pixels] {
        for block in blocks.clone() {
            prefetch_to_l2(start.wrapping_add(block * step));
        }
    }
}

kernel! {
    /// The seven points of two pixels and each two blocks.
    ///
    /// # Safety
    /// The blocks are readable, the points writable.
    unsafe fn split_once<V>(
        x: &Sources, next: &Sources, blocks: (usize, *const f32), y: Points,
    ) {
        for (i, block) in (0..blocks.0).step_by(2).enumerate() {
            ask_for(next, 2, block..block + 2);
            for lane in (0..LANES).step_by(V::LANES) {
                // SAFETY: the caller's promise.
                unsafe {
                    let points = quarter::<V>(x, (0, block), blocks, lane);
                    for point in 0..POINTS {
                        points[point].store(y.start.add(i * y.block + point * y.step + lane));
                    }
                }
            }
        }
    }
}

kernel! {
    /// The 49 points of four pixels and each four blocks.
    ///
    /// # Safety
    /// The blocks are readable, the points writable.
    unsafe fn split_twice<V>(
        x: &Sources, next: &Sources, blocks: (usize, *const f32), y: Points,
    ) {
        for (i, block) in (0..blocks.0).step_by(4).enumerate() {
            ask_for(next, 4, block..block + 4);
            for lane in (0..LANES).step_by(V::LANES) {
                // SAFETY: the caller's promise.
                unsafe {
                    let a = quarter::<V>(x, (0, block), blocks, lane);
                    let b = quarter::<V>(x, (0, block + 2), blocks, lane);
                    let c = quarter::<V>(x, (2, block), blocks, lane);
                    let d = quarter::<V>(x, (2, block + 2), blocks, lane);
                    for inner in 0..POINTS {
                        let points = split([a[inner], b[inner], c[inner], d[inner]]);
                        for outer in 0..POINTS {
                            let point = outer * POINTS + inner;
                            points[outer].store(y.start.add(i * y.block + point * y.step + lane));
                        }
                    }
                }
            }
        }
    }
}

kernel! {
    /// Two pixels' two blocks, for each of some tiles, of the seven points' sums, `step` apart.
    ///
    /// # Safety
    /// The sums and ends are readable, the outputs writable.
    unsafe fn join_once<V>(
        sums: *const f32, step: usize, y: &[[*mut f32; MOST * MOST]], ends: &PartEnds,
    ) {
        for (i, y) in y.iter().enumerate() {
            for lane in (0..LANES).step_by(V::LANES) {
                // SAFETY: the caller's promise.
                unsafe {
                    let results = joined::<V>(sums.add(i * LANES + lane), step);
                    for i in 0..4 {
                        finish(results[i], y[i / 2 * MOST + i % 2], ends[i % 2], lane);
                    }
                }
            }
        }
    }
}

kernel! {
    /// Four pixels' four blocks, for each of some tiles, of the 49 points' sums, `step` apart.
    ///
    /// # Safety
    /// The sums and ends are readable, the outputs writable.
    unsafe fn join_twice<V>(
        sums: *const f32, step: usize, y: &[[*mut f32; MOST * MOST]], ends: &PartEnds,
    ) {
        for (i, y) in y.iter().enumerate() {
            for lane in (0..LANES).step_by(V::LANES) {
                // SAFETY: the caller's promise.
                unsafe {
                    let mut quarters = [[V::splat(0.0); POINTS]; 4];
                    for inner in 0..POINTS {
                        let sums = sums.add(inner * step + i * LANES + lane);
                        let outer = joined::<V>(sums, POINTS * step);
                        for q in 0..4 {
                            quarters[q][inner] = outer[q];
                        }
                    }
                    for q in 0..4 {
                        let results = join(quarters[q]);
                        for i in 0..4 {
                            let (pixel, part) = (2 * (q / 2) + i / 2, 2 * (q % 2) + i % 2);
                            finish(results[i], y[pixel * MOST + part], ends[part], lane);
                        }
                    }
                }
            }
        }
    }
}

/// y = max(floor, value × scale + bias)
///
/// # Safety
/// The ends are readable from `lane` on, the output writable.
#[inline(always)]
unsafe fn finish<V: Vector>(
    value: V,
    y: *mut f32,
    [scale, bias, floor]: [*const f32; 3],
    lane: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let value = value.mul_add(V::load(scale.add(lane)), V::load(bias.add(lane)));
        V::load(floor.add(lane)).max(value).store(y.add(lane));
    }
}
