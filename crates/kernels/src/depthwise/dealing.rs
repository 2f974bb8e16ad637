//! Dealing out: rows whose lanes hold what the outputs' lanes read.

use crate::conv::Geometry;
use crate::pointwise::lanes::split_lanes;
use crate::simd::{Vector, kernel};
use crate::{Cpu, LANES, View};

/// From where the lanes of a dealt pixel come: from some lane on all from one input block, until
/// the next such run begins.
pub(super) struct Lanes {
    runs: [Run; LANES],
    count: usize,
    /// Lanes from here on are spare: zero.
    pub end: usize,
}

#[derive(Clone, Copy, Default)]
struct Run {
    /// First lane.
    lane: usize,
    /// Distance of the block from the view's first one.
    offset: usize,
    /// The lane that each of the run's lanes reads.
    places: [u32; LANES],
}

/// How a dealt row lies in memory: columns a stride apart one behind the other.
#[derive(Clone, Copy)]
pub(super) struct Spread {
    pub stride: usize,
    /// Columns with the same remainder by the stride.
    pub columns: usize,
}

impl Spread {
    /// Values of a row.
    pub(super) fn len(self) -> usize {
        self.stride * self.columns * LANES
    }

    /// Where a column's pixel starts.
    #[inline(always)]
    pub(super) fn at(self, column: usize) -> usize {
        (column % self.stride * self.columns + column / self.stride) * LANES
    }
}

/// A row of a picture from some column on, both counted with the padding.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub picture: usize,
    pub row: usize,
    pub column: usize,
}

impl Lanes {
    /// From the lanes of `view` that each lane in turn reads.
    pub(super) fn new(read: impl Iterator<Item = usize>, view: &View) -> Self {
        let mut lanes = Lanes { runs: [Run::default(); LANES], count: 0, end: 0 };
        for number in read {
            let offset = number / LANES * view.layout.block_stride();
            if lanes.count == 0 || lanes.runs[lanes.count - 1].offset != offset {
                lanes.runs[lanes.count] = Run { lane: lanes.end, offset, ..Run::default() };
                lanes.count += 1;
            }
            lanes.runs[lanes.count - 1].places[lanes.end] = (number % LANES) as u32;
            lanes.end += 1;
        }
        lanes
    }
}

/// Fills `dealt` with a row's pixels, with zeros where the picture is not.
pub(super) fn deal(
    cpu: &Cpu,
    from: &View,
    at: Place,
    lanes: &Lanes,
    geometry: &Geometry,
    spread: Spread,
    dealt: &mut [f32],
) {
    let (padding, layout) = (geometry.padding, &from.layout);
    let reach = spread.stride * spread.columns;
    let start = padding.1.saturating_sub(at.column).min(reach);
    let end = (padding.1 + layout.width).saturating_sub(at.column).min(reach);
    let row = at.row.checked_sub(padding.0).filter(|&row| row < layout.height);
    if row.is_none() || start > 0 || end < reach {
        dealt.fill(0.0);
    }
    if let Some(row) = row
        && start < end
    {
        let column = at.column + start - padding.1;
        let values = &from.data[from.offset(at.picture, 0, row, column)..];
        // SAFETY: the row's pixels lie in the view, from its first block on.
        unsafe { deal_pixels(cpu, values, lanes, spread, start, end, dealt) };
    }
}

kernel! {
    /// Deals out columns `start` to `end`.
    ///
    /// # Safety
    /// `values` starts at the first pixel, and has all blocks of all; `dealt` is as long as
    /// `spread` says.
    unsafe fn deal_pixels<V>(
        values: &[f32], lanes: &Lanes, spread: Spread, start: usize, end: usize,
        dealt: &mut [f32],
    ) {
        let narrow = lanes.end <= V::Half::LANES;
        // SAFETY: the caller's promise.
        unsafe {
            if narrow {
                deal_lanes::<V::Half>(values, lanes, spread, start, end, dealt);
            } else {
                deal_lanes::<V>(values, lanes, spread, start, end, dealt);
            }
        }
    }
}

/// [`deal_pixels`] with the vectors that suit.
///
/// # Safety
/// As there, and the machine has `V`'s instructions.
#[inline(always)]
unsafe fn deal_lanes<V: Vector>(
    values: &[f32],
    lanes: &Lanes,
    spread: Spread,
    start: usize,
    end: usize,
    dealt: &mut [f32],
) {
    for lane in (0..lanes.end).step_by(V::LANES) {
        for (n, run) in lanes.runs[..lanes.count].iter().enumerate() {
            for first in start..end.min(start + spread.stride) {
                let mut to = dealt[spread.at(first) + lane..].as_mut_ptr();
                let mut from = values[(first - start) * LANES + run.offset..].as_ptr();
                for _ in (first..end).step_by(spread.stride) {
                    // SAFETY: in bounds by the caller's promise.
                    unsafe {
                        let zero = V::splat(0.0);
                        let old = if n == 0 { zero } else { V::load(to) };
                        let value = V::pick(from, run.places.as_ptr().add(lane));
                        let value = split_lanes(lanes.end, lane, value, zero);
                        split_lanes(run.lane, lane, old, value).store(to);
                    }
                    to = to.wrapping_add(LANES);
                    from = from.wrapping_add(spread.stride * LANES);
                }
            }
        }
    }
}
