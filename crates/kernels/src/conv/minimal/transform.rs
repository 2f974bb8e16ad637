//! One block of one tile, from its inputs to points and from the points' sums to its outputs.

use super::lines::{End, Kernels, Lines};
use super::{Minimal, Part};
use crate::LANES;
use crate::epilogue::Ends;

/// The transforms of one task.
pub(super) struct Transform<'a> {
    pub minimal: &'a Minimal,
    pub kernels: &'a Kernels,
    /// From one point of a tile to the next, among the inputs and among the sums.
    pub inputs_point: usize,
    pub sums_point: usize,
    /// From one folded part of a tile's inputs to the next.
    pub fold: usize,
    /// Room for [`Transform::room`] values, as long as the task runs.
    pub half: *mut f32,
}

/// Blocks of one tile's inputs: from one block's window to the next's, and among the points.
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub blocks: usize,
    pub x: usize,
    pub y: usize,
}

impl Transform<'_> {
    /// Values that lie half transformed at a time, two tiles' points at most, and a spare vector.
    pub fn room(minimal: &Minimal) -> usize {
        (2 * minimal.points() + 1) * LANES
    }

    fn spare(&self) -> *mut f32 {
        self.half.wrapping_add(2 * self.minimal.points() * LANES)
    }

    /// Bᵀ of some blocks: `x` is the first one's rows (`step`) and columns (`next`) of the window,
    /// `y` the first of all its points.
    ///
    /// # Safety
    /// The windows are readable, the points writable.
    pub unsafe fn input(&self, x: Lines<*const f32>, y: *mut f32, run: Run) {
        let stride = self.minimal.stride;
        let fold = if self.minimal.folds() > 1 { self.fold } else { 0 };
        for (number, part) in self.minimal.parts.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe {
                let x = Lines {
                    start: x.start.add(part.from.0 * x.step + part.from.1 * x.next),
                    step: stride.0 * x.step,
                    next: stride.1 * x.next,
                };
                let y = y.add(part.point * self.inputs_point + number * fold);
                self.part_input(part, x, y, run);
            }
        }
    }

    /// # Safety
    /// As for [`Transform::input`].
    unsafe fn part_input(&self, part: &Part, x: Lines<*const f32>, y: *mut f32, run: Run) {
        let (down, across) = part.points();
        let line = |step| Lines { start: x.start, step, next: run.x };
        let points = Lines { start: y, step: self.inputs_point, next: run.y };
        // SAFETY: the caller's promise.
        unsafe {
            // A single line of each block: one call has its numbers ready for all.
            if down == 1 {
                part.columns.input(self.kernels, line(x.next), points, run.blocks);
            } else if across == 1 {
                part.rows.input(self.kernels, line(x.step), points, run.blocks);
            } else {
                for block in 0..run.blocks {
                    let x = Lines { start: x.start.add(block * run.x), ..x };
                    self.block_input(part, x, y.add(block * run.y));
                }
            }
        }
    }

    /// # Safety
    /// As for [`Transform::input`].
    unsafe fn block_input(&self, part: &Part, x: Lines<*const f32>, y: *mut f32) {
        let (rows, columns) = (part.rows, part.columns);
        let (down, across) = part.points();
        let point = self.inputs_point;
        let along_rows = Lines { start: y, step: across * point, next: point };
        let along_columns = Lines { start: y, step: point, next: across * point };
        let turned = Lines { start: x.start, step: x.next, next: x.step };
        // SAFETY: the caller's promise.
        unsafe {
            match (rows.exact.is_identity(), columns.exact.is_identity()) {
                (true, true) => copy(x, along_rows, (down, across)),
                (true, false) => columns.input(self.kernels, turned, along_columns, down),
                (false, true) => rows.input(self.kernels, x, along_rows, across),
                (false, false) => {
                    let row = across * LANES;
                    let half = Lines { start: self.half, step: row, next: LANES };
                    rows.input(self.kernels, x, half, across);
                    let half = Lines { start: self.half.cast_const(), step: LANES, next: row };
                    columns.input(self.kernels, half, along_columns, down);
                }
            }
        }
    }

    /// Aᵀ: from the first of all points' sums to the tile's outputs, columns `step` apart and rows
    /// `next`, of which only those that `exist` (rows, columns) are written. What is added to them
    /// lies like them.
    ///
    /// # Safety
    /// The sums are readable, the outputs writable; so is what ends them.
    pub unsafe fn output(
        &self,
        sums: *const f32,
        y: Lines<*mut f32>,
        exist: (usize, usize),
        end: End,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.minimal.sums() {
                [part] => self.part_output(part, sums, y, exist, end),
                parts => self.polyphase_output(parts, sums, y, exist, end),
            }
        }
    }

    /// # Safety
    /// As for [`Transform::output`].
    unsafe fn part_output(
        &self,
        part: &Part,
        sums: *const f32,
        y: Lines<*mut f32>,
        exist: (usize, usize),
        end: End,
    ) {
        let (rows, columns) = (part.rows, part.columns);
        let across = part.points().1;
        let point = self.sums_point;
        let along_columns = Lines { start: sums, step: point, next: across * point };
        let along_rows = Lines { start: sums, step: across * point, next: point };
        let turned = Lines { start: y.start, step: y.next, next: y.step };
        let spare = self.spare();
        // SAFETY: the caller's promise.
        unsafe {
            if rows.exact.is_identity() {
                columns.output(self.kernels, along_columns, y, exist, end, spare);
            } else if columns.exact.is_identity() {
                let end = match end {
                    End::Each { add, floor } => {
                        let add = Lines { step: add.next, next: add.step, ..add };
                        End::Each { add, floor }
                    }
                    end => end,
                };
                rows.output(self.kernels, along_rows, turned, (exist.1, exist.0), end, spare);
            } else {
                let row = across * LANES;
                let half = Lines { start: self.half, step: row, next: LANES };
                rows.output(self.kernels, along_rows, half, (across, exist.0), End::Nothing, spare);
                let half = Lines { start: self.half.cast_const(), step: LANES, next: row };
                columns.output(self.kernels, half, y, exist, end, spare);
            }
        }
    }

    /// y = Aᵣ (EE A꜀ + EO) + OE A꜀ + OO for the sums of even and odd taps down and across: odd ones
    /// are a single tap and need no transform. The bias is in OO already.
    ///
    /// # Safety
    /// As for [`Transform::output`].
    unsafe fn polyphase_output(
        &self,
        parts: &[Part],
        sums: *const f32,
        y: Lines<*mut f32>,
        exist: (usize, usize),
        end: End,
    ) {
        let [ee, eo, oe, oo] = parts else { unreachable!("two phases along each axis") };
        let point = self.sums_point;
        let points = |part: &Part| Lines {
            start: sums.wrapping_add(part.point * point),
            step: point,
            next: part.points().1 * point,
        };
        let (rows, columns) = (&ee.rows, &ee.columns);
        let (down, row) = (ee.points().0, self.minimal.tile.1 * LANES);
        let spare = self.spare();
        // SAFETY: the caller's promise.
        unsafe {
            let odd = self.half.add(down * row);
            let to = |start| Lines { start, step: LANES, next: row };
            let turned =
                |start: *mut f32| Lines { start: start.cast_const(), step: row, next: LANES };
            let lowest = Ends::NONE.of(&(0..1)).1.0;
            let plus = |part| End::Each { add: points(part), floor: lowest };
            let End::Same { floor, .. } = end else {
                unreachable!("nothing is added to outputs of stride 2 but their bias")
            };
            let half = to(self.half);
            columns.output(self.kernels, points(ee), half, (down, exist.1), plus(eo), spare);
            columns.output(self.kernels, points(oe), to(odd), exist, plus(oo), spare);
            let y = Lines { start: y.start, step: y.next, next: y.step };
            let end = End::Each { add: turned(odd), floor };
            rows.output(self.kernels, turned(self.half), y, (exist.1, exist.0), end, spare);
        }
    }
}

/// Vectors of so many rows and columns.
///
/// # Safety
/// They are readable and writable.
unsafe fn copy(x: Lines<*const f32>, y: Lines<*mut f32>, (rows, columns): (usize, usize)) {
    for row in 0..rows {
        for column in 0..columns {
            // SAFETY: the caller's promise.
            unsafe {
                let from = x.start.add(row * x.step + column * x.next);
                from.copy_to_nonoverlapping(y.start.add(row * y.step + column * y.next), LANES);
            }
        }
    }
}
