//! Convolution with fewer multiplications: Toom–Cook's and Winograd's minimal filtering, in one
//! dimension and in two.
//!
//! The output is cut into tiles; a tile's inputs are transformed ([`lines`]), so are the filters,
//! once; then each of a tile's *points* is a product of matrices over the input channels, done by
//! a microkernel like direct convolution's, and the sums are transformed back, with bias and
//! ReLU. An axis along which the filter has one tap is not transformed.
//!
//! At stride 2 a filter is four filters ([`Part`]), of its even and its odd rows and columns, on
//! the input's pixels likewise: the polyphase form. Of 3×3 taps the odd ones have a single tap
//! along that axis, so that all points along it share their weights. Of 5×5 and 7×7 taps the odd
//! ones have one tap less than the even ones; taken as many, all four have the same points, whose
//! sums are one sum, as if the parts were further channels: they are *folded*.
//!
//! Here is what is computed, in [`tiles`] where.

mod lines;
mod tiles;
mod toom_cook;
mod transform;

pub(super) use tiles::Tiles;

use super::Geometry;
use super::bilinear::Step;
use crate::simd::kernel;
use crate::{Cpu, LANES};
use lines::Line;

/// F(rows × columns, kernel): a tile's outputs and the parts they are the sum of.
#[derive(Clone, Debug)]
pub(super) struct Minimal {
    tile: (usize, usize),
    kernel: (usize, usize),
    stride: (usize, usize),
    /// One at stride 1; at stride 2 even and odd taps down, each with even and odd taps across.
    parts: Vec<Part>,
    /// Whether all parts have the same points.
    folded: bool,
    /// The products of matrices, in the order in which the weights are packed.
    steps: Vec<Step>,
}

/// A filter of stride 1 over some of the taps.
#[derive(Clone, Debug)]
struct Part {
    rows: &'static Line,
    columns: &'static Line,
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
    /// one: for stride 1, and for 3×3, 5×5 and 7×7 at stride 2.
    pub fn new(tile: (usize, usize), geometry: &Geometry) -> Option<Self> {
        let Geometry { kernel, stride, .. } = *geometry;
        let fits = |outputs: usize, taps: usize| taps > 1 || outputs == 1;
        let starts = match stride {
            (1, 1) if kernel != (1, 1) && fits(tile.0, kernel.0) && fits(tile.1, kernel.1) => 1,
            (2, 2) if matches!(kernel, (3, 3) | (5, 5) | (7, 7)) => 2,
            _ => return None,
        };
        let folded = starts == 2 && kernel != (3, 3);
        let mut minimal =
            Self { tile, kernel, stride, parts: Vec::new(), folded, steps: Vec::new() };
        for from in (0..starts).flat_map(|row| (0..starts).map(move |column| (row, column))) {
            let line = |outputs: usize, taps: usize, from: usize| {
                let from = if folded { 0 } else { from };
                Line::of(outputs, (taps - from).div_ceil(starts))
            };
            let (point, matrix) =
                if folded { (0, 0) } else { (minimal.points(), minimal.matrices()) };
            let rows = line(tile.0, kernel.0, from.0)?;
            let columns = line(tile.1, kernel.1, from.1)?;
            minimal.parts.push(Part { rows, columns, from, point, matrix });
        }
        minimal.steps = minimal.sums().iter().flat_map(|part| minimal.steps_of(part)).collect();
        Some(minimal)
    }

    /// Parts that are folded into one.
    pub fn folds(&self) -> usize {
        if self.folded { self.parts.len() } else { 1 }
    }

    /// The parts that have sums of their own.
    fn sums(&self) -> &[Part] {
        if self.folded { &self.parts[..1] } else { &self.parts }
    }

    /// Products of a tile, per pair of channels and fold.
    pub fn points(&self) -> usize {
        self.parts.last().map_or(0, |part| part.point + part.points().0 * part.points().1)
    }

    /// Weights per pair of channels and fold.
    pub fn matrices(&self) -> usize {
        self.parts.last().map_or(0, |part| part.matrix + part.matrices())
    }

    /// Outputs of a tile: down, across.
    pub fn tile(&self) -> (usize, usize) {
        self.tile
    }

    fn steps_of(&self, part: &Part) -> impl Iterator<Item = Step> {
        let (down, across) = part.points();
        // Along an axis of one tap the matrix is the same, so that one goes innermost.
        let turned = part.rows.exact.is_identity();
        let (outer, inner) = if turned { (across, down) } else { (down, across) };
        let turns = outer * inner / part.matrices();
        // In the polyphase form the last part's sums are not transformed.
        let plain =
            self.sums().len() > 1 && part.point == self.sums().last().map_or(0, |last| last.point);
        (0..outer * inner).map(move |i| {
            let (a, b) = (i / inner, i % inner);
            let (row, column) = if turned { (b, a) } else { (a, b) };
            let (point, matrix) = (part.point + row * across + column, part.matrix_of(row, column));
            Step { point, matrix, turn: i % turns, turns, plain }
        })
    }

    /// Pixels of a tile's inputs: down, across.
    fn window(&self) -> (usize, usize) {
        let Self { tile, kernel, stride, .. } = self;
        if let (true, [part, ..]) = (self.folded, &self.parts[..]) {
            let points = part.points();
            return (points.0 * stride.0, points.1 * stride.1);
        }
        let along = |tile, stride, kernel| (tile - 1) * stride + kernel;
        (along(tile.0, stride.0, kernel.0), along(tile.1, stride.1, kernel.1))
    }

    /// Rows below and columns to the right of an input of this size that the windows of the last tiles
    /// reach over, `padding` being above and to the left.
    pub fn reach(
        &self,
        padding: (usize, usize),
        input: (usize, usize),
        output: (usize, usize),
    ) -> (usize, usize) {
        let window = self.window();
        let along = |tiles: usize, step: usize, window: usize, inside: usize| match tiles {
            0 => 0,
            _ => ((tiles - 1) * step + window).saturating_sub(inside),
        };
        let Self { tile, stride, .. } = *self;
        (
            along(output.0.div_ceil(tile.0), tile.0 * stride.0, window.0, padding.0 + input.0),
            along(output.1.div_ceil(tile.1), tile.1 * stride.1, window.1, padding.1 + input.1),
        )
    }

    /// See [`Line::amplification`]; that of the worst part.
    pub fn amplification(&self) -> f64 {
        let of = |part: &Part| part.rows.amplification * part.columns.amplification;
        self.parts.iter().map(of).fold(1.0, f64::max)
    }

    /// For each matrix, by how much its points' inputs are larger than the window's pixels.
    pub fn input_sizes(&self) -> Vec<f32> {
        let mut sizes = vec![0f32; self.matrices()];
        for part in self.sums() {
            let (rows, columns) = (&part.rows.input_sizes, &part.columns.input_sizes);
            for (i, row) in rows.iter().enumerate() {
                for (j, column) in columns.iter().enumerate() {
                    let size = &mut sizes[part.matrix_of(i, j)];
                    *size = size.max((row * column) as f32);
                }
            }
        }
        sizes
    }

    /// Transforms the filters of sixteen outputs, `[row][column][output]`; gives the values of
    /// each fold and matrix.
    pub fn filters(
        &self,
        cpu: &Cpu,
        filters: &[[f64; LANES]],
        mut matrix: impl FnMut(usize, usize, [f32; LANES]),
    ) {
        let Minimal { kernel, stride, parts, .. } = self;
        for (number, part) in parts.iter().enumerate() {
            let fold = if self.folded { number } else { 0 };
            // A part may have fewer taps than its line.
            let mut line = vec![[0.0; LANES]; kernel.1];
            for (i, row) in part.rows.filters.iter().enumerate() {
                // Along each column of taps that is the part's; then along the row of results.
                let taps = (part.from.1..kernel.1).step_by(stride.1);
                for (sums, tap) in line.iter_mut().zip(taps) {
                    let column = &filters[part.from.0 * kernel.1 + tap..];
                    // SAFETY: `cpu` has its instruction set; nothing else is asked.
                    *sums = unsafe { dot(cpu, row, column, stride.0 * kernel.1) };
                }
                for (j, column) in part.columns.filters.iter().enumerate() {
                    // SAFETY: `cpu` has its instruction set; nothing else is asked.
                    let sums = unsafe { dot(cpu, column, &line, 1) };
                    matrix(fold, part.matrix_of(i, j), sums.map(|sum| sum as f32));
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
