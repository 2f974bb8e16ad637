//! The gradient of the filters.
//!
//! dw[o][k] = Σ over pixels of dy[o] · x[k], where k counts a filter's weights: (channel, row,
//! column). Registers hold the sums of some weights × some output blocks over a *strip* of pixels
//! short enough that what it reads stays in a core's cache; strips' sums are then added up.
//! That also keeps rounding small: a chain of some hundred terms, and a chain of strips, in place
//! of one of hundreds of thousands.
//!
//! Where a layer has few weights (a network's first ones), pixels are split too, into *slices*
//! whose sums are added at the end. How many depends on the layer alone, so that the number of
//! threads does not change the result.

use super::Geometry;
use super::microkernel::{Loop, MAX_ROWS, Microkernels, Strip, max_blocks, max_rows};
use super::split::Split;
use crate::simd::prefetch_to_write;
use crate::threads::Shared;
use crate::{Buffer, Channels, Cpu, LANES, View};
use std::ops::Range;

/// The most pixels of a strip.
const STRIP: usize = 800;

/// The most tiles of a task, which go through the strips together.
const TILES: usize = 16;

/// The most sums of a tile, on any instruction set.
const TILE: usize = 28 * LANES;

/// So many tasks at least, pixels being sliced where there are fewer tiles.
const TASKS: usize = 64;

/// Room for [`backward_filters`]' partial sums; one serves any number of convolutions.
pub struct Scratch(Buffer);

impl Scratch {
    /// Allocates it.
    pub fn new() -> Self {
        // Fewer tiles than `TASKS`, times slices, exceed `TASKS` by less than the tiles.
        Self(Buffer::zeroed(2 * TASKS * TILE))
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// dw = the gradient of the filters, `[outputs][inputs][rows][columns]`, summed over the batch.
///
/// Panics where `x` and `dy` are not the blocks of `inputs` and of one run of `outputs` channels,
/// of as many pictures, `x`'s border is smaller than [`Geometry::input_border`], or `dw` has
/// another length.
#[allow(clippy::too_many_arguments)]
pub fn backward_filters(
    cpu: &Cpu,
    x: View,
    inputs: &Channels,
    dy: View,
    outputs: usize,
    geometry: &Geometry,
    scratch: &mut Scratch,
    dw: &mut [f32],
) {
    let taps = geometry.kernel.0 * geometry.kernel.1;
    super::check_views(&x, &dy, geometry);
    assert_eq!(x.blocks, inputs.blocks(), "the input has the blocks of its channels");
    assert_eq!(dy.blocks, outputs.div_ceil(LANES), "the gradient has the outputs' blocks");
    assert_eq!(dw.len(), outputs * inputs.count() * taps, "one value for each weight");

    let microkernels = Microkernels::of(cpu.isa());
    let groups = Split::at_most(dy.blocks, max_blocks(microkernels.correlate));
    let weights = inputs.count() * taps;
    let strips = Strips::new(loops(&x, &dy, geometry));
    let gradient = Gradient { x, dy, inputs, outputs, geometry, microkernels, weights, strips };

    if weights * dy.blocks == 0 {
        return;
    }
    // All groups are cut into as many tiles as the largest needs.
    let tiles = Split::at_most(weights, max_rows(microkernels.correlate, groups.largest()));
    let all = tiles.parts * groups.parts;
    let dw = Shared::new(dw);
    let slices = TASKS.div_ceil(all).min(gradient.strips.count());
    if slices < 2 {
        let per_task = (all / (8 * cpu.threads())).clamp(1, TILES);
        let chunks = Split::at_most(tiles.parts, per_task);
        cpu.for_each(chunks.parts * groups.parts, |task| {
            let (group, chunk) =
                (groups.part(task / chunks.parts), chunks.part(task % chunks.parts));
            let range = tiles.part(chunk.start).start..tiles.part(chunk.end - 1).end;
            gradient.prefetch(&range, &group, dw);
            let mut sums = Sums([0.0; TILES * TILE]);
            gradient.sum(
                tiles,
                chunk.clone(),
                group.clone(),
                0..gradient.strips.count(),
                &mut sums.0,
            );
            // SAFETY: each task has its own weights of its own outputs.
            unsafe { gradient.store(&sums.0, range, group, dw) };
        });
        return;
    }

    let slices = Split { total: gradient.strips.count(), parts: slices };
    let partial = Shared::new(&mut scratch.0);
    cpu.for_each(all * slices.parts, |task| {
        let (slice, tile) = (task / all, task % all);
        let (group, tile) = (groups.part(tile / tiles.parts), tile % tiles.parts);
        // SAFETY: each task has its own part.
        let sums = unsafe { partial.slice(task * TILE, TILE) };
        sums.fill(0.0);
        gradient.sum(tiles, tile..tile + 1, group, slices.part(slice), sums);
    });
    cpu.for_each(all, |task| {
        let (group, tile) = (groups.part(task / tiles.parts), task % tiles.parts);
        let mut sums = Sums([0.0; TILES * TILE]);
        for slice in 0..slices.parts {
            // SAFETY: nobody writes here any more.
            let part = unsafe { partial.slice((slice * all + task) * TILE, TILE) };
            sums.0.iter_mut().zip(part).for_each(|(sum, part)| *sum += *part);
        }
        // SAFETY: each task has its own weights of its own outputs.
        unsafe { gradient.store(&sums.0, tiles.part(tile), group, dw) };
    });
}

/// A task's sums: `[weight][output]`, tile after tile.
#[repr(align(64))]
struct Sums([f32; TILES * TILE]);

/// What all tasks share.
struct Gradient<'a> {
    x: View<'a>,
    dy: View<'a>,
    inputs: &'a Channels,
    outputs: usize,
    geometry: &'a Geometry,
    microkernels: &'static Microkernels,
    /// Weights of a filter.
    weights: usize,
    strips: Strips,
}

impl Gradient<'_> {
    /// Adds to `sums` those of some strips, for some tiles of weights and a group of blocks.
    fn sum(
        &self,
        tiles: Split,
        range: Range<usize>,
        group: Range<usize>,
        strips: Range<usize>,
        sums: &mut [f32],
    ) {
        let width = group.len() * LANES;
        let kernels = self.microkernels.correlate[group.len() - 1];
        let first = tiles.part(range.start).start;
        let count = tiles.part(range.end - 1).end - first;
        assert!(count * width <= sums.len(), "there is room for all sums");
        let mut places = [0; TILES * MAX_ROWS];
        self.places(first, &mut places[..count]);

        let mut strip = Strip {
            x: [std::ptr::null(); MAX_ROWS],
            dy: std::ptr::null(),
            dy_block: self.dy.layout.block_stride(),
            loops: self.strips.loops,
            sums: std::ptr::null_mut(),
        };
        let dy = &self.dy.data[self.dy.offset(0, group.start, 0, 0)..];
        for i in strips {
            let (loops, x_start, dy_start) = self.strips.get(i);
            strip.loops = loops;
            strip.dy = dy[dy_start..].as_ptr();
            for tile in range.clone() {
                let part = tiles.part(tile);
                for (x, place) in
                    strip.x.iter_mut().zip(&places[part.start - first..]).take(part.len())
                {
                    *x = self.x.data.as_ptr().wrapping_add(place + x_start);
                }
                strip.sums = sums[(part.start - first) * width..].as_mut_ptr();
                // SAFETY: sizes and border have been checked; `cpu` has the instruction set of its
                // microkernels.
                unsafe { kernels[part.len() - 1](&strip) };
            }
        }
    }

    /// Where in `x` the values lie that meet the weights from `first` on in the first pixel.
    fn places(&self, first: usize, places: &mut [usize]) {
        let (rows, columns) = self.geometry.kernel;
        let (row_stride, block_stride) = (self.x.layout.row_stride(), self.x.layout.block_stride());
        let padding = self.geometry.padding;
        // The border holds the padding, so this is no less than zero.
        let origin = self.x.offset(0, 0, 0, 0) - padding.0 * row_stride - padding.1 * LANES;

        // Whole blocks before the first channel are stepped over, as channels are many.
        let taps = rows * columns;
        let mut places = places.iter_mut();
        let mut skip = first / taps;
        let mut tap = first % taps;
        for (block, count) in self.inputs.per_block().enumerate() {
            for lane in skip.min(count)..count {
                let value = origin + block * block_stride + lane;
                for tap in std::mem::take(&mut tap)..taps {
                    let Some(place) = places.next() else { return };
                    *place = value + tap / columns * row_stride + tap % columns * LANES;
                }
            }
            skip = skip.saturating_sub(count);
        }
    }

    /// Asks for the lines that [`Gradient::store`] will write: they lie in as many places as the
    /// group has outputs, which no hardware foresees.
    fn prefetch(&self, range: &Range<usize>, group: &Range<usize>, dw: Shared) {
        for output in group.start * LANES..(group.end * LANES).min(self.outputs) {
            for weight in range.clone().step_by(LANES) {
                // SAFETY: a weight's place; nothing is read or written.
                prefetch_to_write(unsafe { dw.at(output * self.weights + weight) });
            }
        }
    }

    /// Writes the sums of a range of weights and a group of blocks.
    ///
    /// # Safety
    /// Nobody else writes them.
    unsafe fn store(&self, sums: &[f32], range: Range<usize>, group: Range<usize>, dw: Shared) {
        let width = group.len() * LANES;
        for output in group.start * LANES..(group.end * LANES).min(self.outputs) {
            // SAFETY: the caller's promise.
            let row = unsafe { dw.slice(output * self.weights + range.start, range.len()) };
            let column = sums[output - group.start * LANES..].iter().step_by(width);
            row.iter_mut().zip(column).for_each(|(weight, sum)| *weight = *sum);
        }
    }
}

/// Loops over all pixels of the batch: as few as describe them, the innermost last.
fn loops(x: &View, dy: &View, geometry: &Geometry) -> [Loop; 3] {
    let (input, output) = (x.layout, dy.layout);
    let axes = [
        (output.width, geometry.stride.1 * LANES, LANES),
        (output.height, geometry.stride.0 * input.row_stride(), output.row_stride()),
        (output.pictures, input.picture_stride(), output.picture_stride()),
    ];
    let mut loops = [Loop { count: 1, x: 0, dy: 0 }; 3];
    let mut at = 2;
    for (count, x, dy) in axes {
        let inner = &mut loops[at];
        if inner.count == 1 {
            *inner = Loop { count, x, dy };
        } else if (x, dy) == (inner.count * inner.x, inner.count * inner.dy) {
            inner.count *= count;
        } else if count > 1 {
            at -= 1;
            loops[at] = Loop { count, x, dy };
        }
    }
    loops
}

/// All pixels, cut into strips: parts of the innermost loop or, where that is short, all of it and
/// part of the loops around it.
struct Strips {
    loops: [Loop; 3],
    parts: [Split; 3],
}

impl Strips {
    fn new(loops: [Loop; 3]) -> Self {
        // Outer loops are only joined where the inner ones are whole.
        let mut room = STRIP;
        let mut parts = loops.map(|l| Split { total: l.count, parts: l.count });
        for split in parts.iter_mut().rev() {
            *split = Split::at_most(split.total, room);
            room = if split.parts > 1 { 1 } else { (room / split.total.max(1)).max(1) };
        }
        Self { loops, parts }
    }

    fn count(&self) -> usize {
        self.parts.iter().map(|split| split.parts).product()
    }

    /// A strip's loops, and where it starts in the input and in the gradient.
    fn get(&self, mut strip: usize) -> ([Loop; 3], usize, usize) {
        let mut loops = self.loops;
        let (mut x, mut dy) = (0, 0);
        for (one, split) in loops.iter_mut().zip(&self.parts).rev() {
            let part = split.part(strip % split.parts);
            strip /= split.parts;
            x += part.start * one.x;
            dy += part.start * one.dy;
            one.count = part.len();
        }
        (loops, x, dy)
    }
}
