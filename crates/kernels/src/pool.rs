//! Pooling over windows that are given as lists, so that padding, ceil mode, global and adaptive
//! pooling are all the same code. Windows lie inside the picture: the border is never read.

use crate::epilogue::{Ends, Epilogue};
use crate::pointwise::add_row;
use crate::pointwise::bands::{Band, RowsMut, for_each_band, for_each_block, row};
use crate::simd::{Vector, kernel, prefetch};
use crate::threads::with_scratch;
use crate::{Cpu, LANES, View, ViewMut};

/// Input positions `start..end` (inside the picture, never empty) that one output reads along one
/// axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// First position.
    pub start: usize,
    /// One past the last.
    pub end: usize,
    /// What this axis contributes to an average's divisor: `end - start`, or more where padding
    /// counts.
    pub count: usize,
}

impl Span {
    fn len(&self) -> usize {
        self.end - self.start
    }
}

/// Output (i, j) pools `rows[i]` × `columns[j]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// One for each output row.
    pub rows: Vec<Span>,
    /// One for each output column.
    pub columns: Vec<Span>,
}

impl Windows {
    /// Panics unless the windows take `x`'s size to `y`'s. The kernels rely on it.
    fn assert_fit(&self, x: &View, y: &View) {
        let inside = |spans: &[Span], size: usize| {
            spans.iter().all(|s| s.start < s.end && s.end <= size && s.count > 0)
        };
        assert!(
            inside(&self.rows, x.layout.height) && inside(&self.columns, x.layout.width),
            "windows lie in the picture"
        );
        assert_eq!(
            (self.rows.len(), self.columns.len()),
            (y.layout.height, y.layout.width),
            "one window for each output"
        );
        assert_eq!((x.layout.pictures, x.blocks), (y.layout.pictures, y.blocks));
    }

    /// Columns of the widest window.
    fn longest_columns(&self) -> usize {
        self.columns.iter().map(Span::len).max().unwrap_or(0)
    }
}

/// Maximum of each window. As in PyTorch, a NaN in the window is its maximum.
pub fn max(cpu: &Cpu, x: View, w: &Windows, y: &mut ViewMut) {
    w.assert_fit(&x, &y.as_view());
    for_each_band(cpu, y, false, |band| {
        with_scratch(x.layout.width * LANES, |line| {
            for i in band.rows.clone() {
                let input = input_rows(&x, band.picture, band.block, &w.rows, i);
                // SAFETY: the windows fit, as asserted.
                unsafe { max_row(cpu, input, &w.columns, line, band.row(i)) };
            }
        });
    });
}

/// Sum of each window's values by the product of its spans' counts, then the epilogue.
///
/// Panics where the epilogue has not one value per lane.
pub fn average(cpu: &Cpu, x: View, w: &Windows, epilogue: Epilogue, y: &mut ViewMut) {
    w.assert_fit(&x, &y.as_view());
    epilogue.assert_lanes(y.blocks * LANES);
    let ends = Ends::from(epilogue);
    for_each_band(cpu, y, false, |band| {
        with_scratch(x.layout.width * LANES, |line| {
            for i in band.rows.clone() {
                let input = input_rows(&x, band.picture, band.block, &w.rows, i);
                let count = w.rows[i].count;
                let ((bias, _), (floor, _)) = ends.of(&(band.block..band.block + 1));
                let y = band.row(i);
                // SAFETY: the windows fit, and there are ends for each lane, as asserted.
                unsafe { average_row(cpu, input, count, &w.columns, line, y, bias, floor) };
            }
        });
    });
}

/// Gradient of [`max`]: each output's goes to the first maximum of its window, row by row, as in
/// PyTorch; where a NaN is the maximum, to the window's first value. `dx = `, or `+=` if
/// `accumulate`.
pub fn max_backward(cpu: &Cpu, x: View, dy: View, w: &Windows, accumulate: bool, dx: &mut ViewMut) {
    w.assert_fit(&x, &dy);
    w.assert_fit(&dx.as_view(), &dy);
    let (input, output) = (x.layout.width * LANES, dy.layout.width * LANES);
    // Windows overlap, so a whole block is one task.
    for_each_block(cpu, dx, accumulate, |band| {
        zero_unless(accumulate, band);
        with_scratch(input + output, |scratch| {
            let (line, maxima) = scratch.split_at_mut(input);
            for (i, rows) in w.rows.iter().enumerate() {
                let x = input_rows(&x, band.picture, band.block, &w.rows, i);
                let dy = row(&dy, band.picture, band.block, i);
                let dx = band.rows_mut(rows.start..rows.end);
                // SAFETY: the windows fit, as asserted.
                unsafe {
                    max_row(cpu, x, &w.columns, line, maxima);
                    give_rows(cpu, x, maxima, dy, &w.columns, dx);
                }
            }
        });
    });
}

/// Gradient of [`average`]: `dx = `, or `+=` if `accumulate`.
pub fn average_backward(cpu: &Cpu, dy: View, w: &Windows, accumulate: bool, dx: &mut ViewMut) {
    w.assert_fit(&dx.as_view(), &dy);
    let longest = w.longest_columns();
    let width = dx.layout.width;
    for_each_block(cpu, dx, accumulate, |band| {
        zero_unless(accumulate, band);
        with_scratch(width * LANES, |line| {
            for (i, rows) in w.rows.iter().enumerate() {
                let dy = row(&dy, band.picture, band.block, i);
                // SAFETY: the windows fit, as asserted.
                unsafe { spread_row(cpu, dy, rows.count, &w.columns, longest, line) };
                for r in rows.start..rows.end {
                    // SAFETY: rows of the same length.
                    unsafe { add_row(cpu, line, band.row(r)) };
                }
            }
        });
    });
}

/// The input rows that a row of windows reads.
#[derive(Clone, Copy)]
struct InputRows<'a> {
    /// From the first one's first pixel to the last one's last.
    values: &'a [f32],
    /// From one row to the next.
    stride: usize,
    rows: usize,
    /// Rows behind them that the next windows read too: they come while these are read.
    fresh: usize,
}

/// Of the `i`-th of all rows of windows.
fn input_rows<'a>(
    x: &View<'a>,
    picture: usize,
    block: usize,
    windows: &[Span],
    i: usize,
) -> InputRows<'a> {
    let rows = &windows[i];
    let start = x.offset(picture, block, rows.start, 0);
    let end = x.offset(picture, block, rows.end - 1, x.layout.width);
    let fresh = windows.get(i + 1).map_or(0, |next| next.end.saturating_sub(rows.end));
    let (values, stride) = (&x.data[start..end], x.layout.row_stride());
    InputRows { values, stride, rows: rows.len(), fresh }
}

fn zero_unless(accumulate: bool, band: &mut Band) {
    if !accumulate {
        for i in band.rows.clone() {
            band.row(i).fill(0.0);
        }
    }
}

/// The larger value; where one is NaN, NaN.
#[inline(always)]
fn larger<V: Vector>(a: V, b: V) -> V {
    a.select_unordered(a, a, a.max(b))
}

// Windows are pooled down their columns first, which neighbouring windows share, into `line`: a
// row as wide as the input. Kernels go over a row once for each of a pixel's vectors, so that the
// state of one vector stays in registers; the rows stay in the first cache meanwhile.

kernel! {
    /// # Safety
    /// Windows lie in `x`; `line` is as wide as `x`; `y` has a pixel for each window.
    unsafe fn max_row<V>(x: InputRows, columns: &[Span], line: &mut [f32], y: &mut [f32]) {
        // SAFETY: in bounds by the caller's promise.
        unsafe {
            for i in (0..line.len()).step_by(V::LANES) {
                let mut max = V::load(x.values.as_ptr().add(i));
                for r in x.rows..x.rows + x.fresh {
                    prefetch(x.values.as_ptr().wrapping_add(r * x.stride + i));
                }
                for r in 1..x.rows {
                    max = larger(V::load(x.values.as_ptr().add(r * x.stride + i)), max);
                }
                max.store(line.as_mut_ptr().add(i));
            }
            for lane in (0..LANES).step_by(V::LANES) {
                for (j, span) in columns.iter().enumerate() {
                    let window = line.as_ptr().add(span.start * LANES + lane);
                    let mut max = V::load(window);
                    for c in 1..span.len() {
                        max = larger(V::load(window.add(c * LANES)), max);
                    }
                    max.store(y.as_mut_ptr().add(j * LANES + lane));
                }
            }
        }
    }
}

kernel! {
    /// `count` is the rows' part of the divisor.
    ///
    /// # Safety
    /// Windows lie in `x`; `line` is as wide as `x`; `y` has a pixel for each window; `bias` and
    /// `floor` have sixteen values.
    unsafe fn average_row<V>(
        x: InputRows, count: usize, columns: &[Span], line: &mut [f32], y: &mut [f32],
        bias: *const f32, floor: *const f32,
    ) {
        // SAFETY: in bounds by the caller's promise.
        unsafe {
            for i in (0..line.len()).step_by(V::LANES) {
                let mut sum = V::load(x.values.as_ptr().add(i));
                for r in 1..x.rows {
                    sum = sum.add(V::load(x.values.as_ptr().add(r * x.stride + i)));
                }
                sum.store(line.as_mut_ptr().add(i));
            }
            for lane in (0..LANES).step_by(V::LANES) {
                let mut share = Share::<V>::none();
                let (bias, floor) = (V::load(bias.add(lane)), V::load(floor.add(lane)));
                for (j, span) in columns.iter().enumerate() {
                    let window = line.as_ptr().add(span.start * LANES + lane);
                    let mut sum = V::load(window);
                    for c in 1..span.len() {
                        sum = sum.add(V::load(window.add(c * LANES)));
                    }
                    let share = share.of(count * span.count);
                    let y = y.as_mut_ptr().add(j * LANES + lane);
                    floor.max(sum.mul(share).add(bias)).store(y);
                }
            }
        }
    }
}

/// One by a window's count, divided anew only where the count changes: nearly all are the same.
struct Share<V> {
    count: usize,
    share: V,
}

impl<V: Vector> Share<V> {
    /// # Safety
    /// The machine has `V`'s instructions.
    #[inline(always)]
    unsafe fn none() -> Self {
        // SAFETY: the caller's promise.
        Self { count: 0, share: unsafe { V::splat(0.0) } }
    }

    #[inline(always)]
    fn of(&mut self, count: usize) -> V {
        if count != self.count {
            // SAFETY: the machine has the instructions, or `self` would not be.
            *self = Self { count, share: unsafe { V::splat(1.0 / count as f32) } };
        }
        self.share
    }
}

/// Windows that [`give_rows`] does at a time: the sums in `dx` that overlapping windows share are
/// then not waited for at once.
const TOGETHER: usize = 8;

kernel! {
    /// Adds each output's gradient to the first value of its window that is the maximum.
    ///
    /// # Safety
    /// Windows lie in `x` and `dx`; `maxima` and `dy` have a pixel for each.
    unsafe fn give_rows<V>(
        x: InputRows, maxima: &[f32], dy: &[f32], columns: &[Span], dx: RowsMut,
    ) {
        let (chunks, rest) = columns.as_chunks::<TOGETHER>();
        for lane in (0..LANES).step_by(V::LANES) {
            // SAFETY: in bounds by the caller's promise.
            unsafe {
                for (i, columns) in chunks.iter().enumerate() {
                    give::<V, TOGETHER>(x, maxima, dy, columns, dx, (i * TOGETHER, lane));
                }
                for (i, column) in rest.iter().enumerate() {
                    let j = chunks.len() * TOGETHER + i;
                    give::<V, 1>(x, maxima, dy, &[*column], dx, (j, lane));
                }
            }
        }
    }
}

/// What [`give_rows`] does for one vector of the `N` outputs from `(j, lane)` on.
///
/// # Safety
/// As there, and the machine has `V`'s instructions.
#[inline(always)]
unsafe fn give<V: Vector, const N: usize>(
    x: InputRows,
    maxima: &[f32],
    dy: &[f32],
    columns: &[Span; N],
    dx: RowsMut,
    (j, lane): (usize, usize),
) {
    // SAFETY: the caller's promise.
    unsafe {
        let zero = V::splat(0.0);
        let (mut max, mut left) = ([zero; N], [zero; N]);
        let mut longest = 0;
        for i in 0..N {
            max[i] = V::load(maxima.as_ptr().add((j + i) * LANES + lane));
            left[i] = V::load(dy.as_ptr().add((j + i) * LANES + lane));
            longest = longest.max(columns[i].len());
        }
        for r in 0..x.rows {
            for c in 0..longest {
                for i in 0..N {
                    let span = columns[i];
                    if c < span.len() {
                        let at = (span.start + c) * LANES + lane;
                        let value = V::load(x.values.as_ptr().add(r * x.stride + at));
                        let share = max[i].select_greater(value, zero, left[i]);
                        left[i] = max[i].select_greater(value, left[i], zero);
                        let to = dx.start.add(r * dx.stride + at);
                        V::load(to).add(share).store(to);
                    }
                }
            }
        }
    }
}

kernel! {
    /// What each column gets from a row of outputs' gradients in equal shares; `count` is the
    /// rows' part of the divisor.
    ///
    /// # Safety
    /// Windows lie in `line`; `dy` has a pixel for each.
    unsafe fn spread_row<V>(
        dy: &[f32], count: usize, columns: &[Span], longest: usize, line: &mut [f32],
    ) {
        line.fill(0.0);
        for lane in (0..LANES).step_by(V::LANES) {
            // SAFETY: the machine has the instructions.
            let mut share = unsafe { Share::<V>::none() };
            // The windows' columns in turn: windows one after the other would each wait for what
            // the one before has written.
            for c in 0..longest {
                for (j, span) in columns.iter().enumerate() {
                    if c < span.len() {
                        let share = share.of(count * span.count);
                        // SAFETY: in bounds by the caller's promise.
                        unsafe {
                            let dy = V::load(dy.as_ptr().add(j * LANES + lane));
                            let to = line.as_mut_ptr().add((span.start + c) * LANES + lane);
                            dy.mul_add(share, V::load(to)).store(to);
                        }
                    }
                }
            }
        }
    }
}
