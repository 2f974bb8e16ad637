//! Depthwise convolution: each input channel is read by `multiplier` filters of its own; output
//! channel `c * multiplier + m` reads input channel `c`.
//!
//! Which lane reads which is up to the multiplier, so rows are first *dealt out*: a scratch row
//! holds, at each output's lane, the value that this lane reads, and one behind the other what
//! neighbouring windows read. The arithmetic is then lane by lane. Gradients of the input are
//! computed at the outputs' lanes and then *folded* back.

mod dealing;
mod summing;

use self::dealing::{Lanes, Place, Spread, deal};
use self::summing::{STRIP, Window, convolve_rows};
use crate::conv::Geometry;
use crate::pointwise::bands::{self, assert_whole, for_each_band, for_each_band_of};
use crate::pointwise::lanes::{BlockChannels, by_block};
use crate::simd::{Vector, kernel};
use crate::threads::Shared;
use crate::threads::with_scratch;
use crate::{Buffer, Channels, Cpu, LANES, View, ViewMut};

/// Output rows of a task: dealing out what the first of them reads is small beside them.
const BAND_ROWS: usize = 16;

/// `y` from `x`, whose lanes hold `inputs`. `weights` are `[inputs * multiplier][kernel height]
/// [kernel width]`; `y` holds its channels in one run.
pub fn forward(
    cpu: &Cpu,
    x: View,
    inputs: &Channels,
    multiplier: usize,
    weights: &[f32],
    geometry: &Geometry,
    y: &mut ViewMut,
) {
    let layer = Layer::new(inputs, multiplier, geometry);
    layer.assert_fit(&x, &y.as_view());
    let filters = layer.pack(weights);
    let (kernel, stride) = (geometry.kernel.0, geometry.stride.0);
    let width = y.layout.width;
    let spread = layer.spread(STRIP.min(width));
    let slots = kernel + stride;
    let lanes: Vec<Lanes> = (0..y.blocks).map(|b| layer.inputs_of(b, &x)).collect();
    for_each_band_of(cpu, y, false, BAND_ROWS, |band| {
        let (picture, block) = (band.picture, band.block);
        let filters = &filters[block * layer.taps() * LANES..][..layer.taps() * LANES];
        with_scratch(slots * spread.len(), |ring| {
            for strip in (0..width).step_by(STRIP) {
                let outputs = strip..width.min(strip + STRIP);
                // Rows dealt out, the padding's counted, are kept for the next output rows: as many
                // as a window is high.
                let mut undealt = 0;
                for i in band.rows.clone().step_by(2) {
                    let rows = i..band.rows.end.min(i + 2);
                    let end = (rows.end - 1) * stride + kernel;
                    for row in undealt.max(i * stride)..end {
                        let dealt = &mut ring[row % slots * spread.len()..][..spread.len()];
                        let at = Place { picture, row, column: strip * geometry.stride.1 };
                        deal(cpu, &x, at, &lanes[block], geometry, spread, dealt);
                    }
                    undealt = end;
                    let window = Window { ring, spread, geometry, first: i * stride % slots };
                    let pair = rows.len() == 2;
                    let mut y = band.rows_mut(rows);
                    y.start = y.start.wrapping_add(outputs.start * LANES);
                    let end = lanes[block].end;
                    // SAFETY: the ring is as large as the windows reach, and has the rows' slots.
                    unsafe { convolve_rows(cpu, window, filters, end, y, outputs.len(), pair) };
                }
            }
        });
    });
}

/// Gradient of [`forward`] by its input: `dx = `, or `+=` if `accumulate`.
#[allow(clippy::too_many_arguments)]
pub fn backward_data(
    cpu: &Cpu,
    dy: View,
    inputs: &Channels,
    multiplier: usize,
    weights: &[f32],
    geometry: &Geometry,
    accumulate: bool,
    dx: &mut ViewMut,
) {
    let layer = Layer::new(inputs, multiplier, geometry);
    layer.assert_fit(&dx.as_view(), &dy);
    let filters = layer.pack(weights);
    let (height, width) = geometry.kernel;
    let place = (geometry.stride.1, geometry.padding.1);
    let row_len = dx.layout.width * LANES;
    for_each_band(cpu, dx, accumulate, |band| {
        let (picture, own) = (band.picture, layer.blocks[band.block]);
        if !accumulate {
            band.rows.clone().for_each(|i| band.row(i).fill(0.0));
        }
        with_scratch(row_len, |line| {
            // The gradient at each output's lane, then at the lane of the input it read.
            let outputs = own.first * multiplier..(own.first + own.count) * multiplier;
            for block in outputs.start / LANES..outputs.end.div_ceil(LANES) {
                let filters = &filters[block * layer.taps() * LANES..];
                for i in band.rows.clone() {
                    line.fill(0.0);
                    for ky in 0..height {
                        let Some(row) = layer.row_reading(i, ky, dy.layout.height) else {
                            continue;
                        };
                        let dy = bands::row(&dy, picture, block, row);
                        let taps = &filters[ky * width * LANES..][..width * LANES];
                        // SAFETY: whole pixels.
                        unsafe { scatter_row(cpu, dy, taps, place, line) };
                    }
                    layer.fold(line, block, own, band.row(i));
                }
            }
        });
    });
}

/// Gradient of [`forward`] by its filters, laid out as these.
pub fn backward_filters(
    cpu: &Cpu,
    x: View,
    inputs: &Channels,
    multiplier: usize,
    dy: View,
    geometry: &Geometry,
    dw: &mut [f32],
) {
    let layer = Layer::new(inputs, multiplier, geometry);
    layer.assert_fit(&x, &dy);
    assert_eq!(dw.len(), layer.outputs * layer.taps(), "a filter for each output");
    let (height, width) = geometry.kernel;
    let spread = layer.spread(dy.layout.width);
    let shared = Shared::new(dw);
    cpu.for_each(dy.blocks * height, |task| {
        let (block, ky) = (task / height, task % height);
        let lanes = layer.inputs_of(block, &x);
        // Rows are summed in `f32`, their sums in `f64`: a filter meets very many pixels.
        let mut sums = vec![[0.0f64; LANES]; width];
        with_scratch(spread.len(), |dealt| {
            for picture in 0..x.layout.pictures {
                for i in 0..dy.layout.height {
                    let at = Place { picture, row: i * geometry.stride.0 + ky, column: 0 };
                    deal(cpu, &x, at, &lanes, geometry, spread, dealt);
                    let dy = bands::row(&dy, picture, block, i);
                    // SAFETY: the dealt row is as long as the windows reach.
                    unsafe { correlate_row(cpu, dealt, spread, dy, &mut sums) };
                }
            }
        });
        for lane in 0..LANES {
            let Some(output) = layer.output(block, lane) else {
                continue;
            };
            // SAFETY: each task has a row of each of its block's filters.
            let row = unsafe { shared.slice(output * layer.taps() + ky * width, width) };
            for (value, sum) in row.iter_mut().zip(&sums) {
                *value = sum[lane] as f32;
            }
        }
    });
}

/// Numbers that all three directions share.
struct Layer<'a> {
    blocks: Vec<BlockChannels>,
    /// Lane of each input channel.
    input_lanes: Vec<usize>,
    outputs: usize,
    multiplier: usize,
    geometry: &'a Geometry,
}

impl<'a> Layer<'a> {
    fn new(inputs: &Channels, multiplier: usize, geometry: &'a Geometry) -> Self {
        Self {
            blocks: by_block(inputs),
            input_lanes: inputs.lanes().collect(),
            outputs: inputs.count() * multiplier,
            multiplier,
            geometry,
        }
    }

    fn assert_fit(&self, x: &View, y: &View) {
        assert_whole(x);
        assert_eq!(x.blocks, self.blocks.len(), "the view holds the inputs");
        assert_eq!(y.blocks, self.outputs.div_ceil(LANES), "outputs are one run");
        assert_eq!(x.layout.pictures, y.layout.pictures);
    }

    /// Taps of a filter.
    fn taps(&self) -> usize {
        self.geometry.kernel.0 * self.geometry.kernel.1
    }

    /// For rows that `outputs` windows reach over.
    fn spread(&self, outputs: usize) -> Spread {
        let stride = self.geometry.stride.1;
        let reach = (outputs.max(1) - 1) * stride + self.geometry.kernel.1;
        Spread { stride, columns: reach.div_ceil(stride) }
    }

    /// The output row whose filter row `ky` lies on input row `i`, if there is one.
    fn row_reading(&self, i: usize, ky: usize, height: usize) -> Option<usize> {
        let Geometry { stride, padding, .. } = self.geometry;
        let first = (i + padding.0).checked_sub(ky)?;
        (first % stride.0 == 0 && first / stride.0 < height).then_some(first / stride.0)
    }

    /// The output channel in a lane, `None` if the lane is spare.
    fn output(&self, block: usize, lane: usize) -> Option<usize> {
        Some(block * LANES + lane).filter(|&output| output < self.outputs)
    }

    /// The values in `x` that the lanes of an output block read.
    fn inputs_of(&self, block: usize, x: &View) -> Lanes {
        let outputs = (0..LANES).map_while(|lane| self.output(block, lane));
        Lanes::new(outputs.map(|output| self.input_lanes[output / self.multiplier]), x)
    }

    /// The filters, lane by lane: `[output block][height][width][16]`, spare lanes zero.
    fn pack(&self, weights: &[f32]) -> Buffer {
        let taps = self.taps();
        assert_eq!(weights.len(), self.outputs * taps, "a filter for each output");
        let mut filters = Buffer::zeroed(self.outputs.div_ceil(LANES) * taps * LANES);
        for (output, filter) in weights.chunks_exact(taps).enumerate() {
            let first = output / LANES * taps * LANES + output % LANES;
            for (tap, value) in filter.iter().enumerate() {
                filters[first + tap * LANES] = *value;
            }
        }
        filters
    }

    /// Adds the values in `line`, at an output block's lanes, to `dx` at the lanes that these read
    /// in an input block, as far as it holds them.
    fn fold(&self, line: &[f32], block: usize, own: BlockChannels, dx: &mut [f32]) {
        let mut lanes = [(0, 0); LANES];
        let mut count = 0;
        for lane in 0..LANES {
            let input = self.output(block, lane).map(|output| output / self.multiplier);
            if let Some(to) = input.and_then(|input| input.checked_sub(own.first))
                && to < own.count
            {
                lanes[count] = (lane, to);
                count += 1;
            }
        }
        let pixels = line.as_chunks::<LANES>().0.iter().zip(dx.as_chunks_mut::<LANES>().0);
        for (line, dx) in pixels {
            for &(from, to) in &lanes[..count] {
                dx[to] += line[from];
            }
        }
    }
}

/// Taps that [`correlate_row`] does at a time: so many independent sums keep the unit busy, and
/// share a load.
const TOGETHER: usize = 4;

kernel! {
    /// Adds the products of one row of outputs' gradients with one filter row to the inputs that
    /// lie inside; `place` is the stride and the padding.
    ///
    /// # Safety
    /// All hold whole pixels.
    unsafe fn scatter_row<V>(dy: &[f32], taps: &[f32], place: (usize, usize), dx: &mut [f32]) {
        let (stride, padding) = place;
        for lane in (0..LANES).step_by(V::LANES) {
            for j in 0..dy.len() / LANES {
                for kx in 0..taps.len() / LANES {
                    // Columns left of the picture wrap round, so are too large too.
                    let column = (j * stride + kx).wrapping_sub(padding);
                    if column < dx.len() / LANES {
                        // SAFETY: in bounds, as just checked and by the loops' ends.
                        unsafe {
                            let dy = V::load(dy.as_ptr().add(j * LANES + lane));
                            let tap = V::load(taps.as_ptr().add(kx * LANES + lane));
                            let to = dx.as_mut_ptr().add(column * LANES + lane);
                            dy.mul_add(tap, V::load(to)).store(to);
                        }
                    }
                }
            }
        }
    }
}

kernel! {
    /// Adds to `sums`, one for each tap of a filter row, the products of a dealt row of inputs and
    /// of outputs' gradients.
    ///
    /// # Safety
    /// `x` is as long as the windows of `dy` reach.
    unsafe fn correlate_row<V>(
        x: &[f32], spread: Spread, dy: &[f32], sums: &mut [[f64; LANES]],
    ) {
        let whole = sums.len() - sums.len() % TOGETHER;
        // SAFETY: in bounds by the caller's promise.
        unsafe {
            for kx in (0..whole).step_by(TOGETHER) {
                let starts: [_; TOGETHER] =
                    std::array::from_fn(|i| x.as_ptr().wrapping_add(spread.at(kx + i)));
                correlate::<V, TOGETHER>(starts, dy, &mut sums[kx..]);
            }
            for kx in whole..sums.len() {
                correlate::<V, 1>([x.as_ptr().add(spread.at(kx))], dy, &mut sums[kx..]);
            }
        }
    }
}

/// Adds to `N` taps' sums; `x` are the pixels that they meet first.
///
/// # Safety
/// The pixels are there, and the machine has `V`'s instructions.
#[inline(always)]
unsafe fn correlate<V: Vector, const N: usize>(
    x: [*const f32; N],
    dy: &[f32],
    sums: &mut [[f64; LANES]],
) {
    for lane in (0..LANES).step_by(V::LANES) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut products = [V::splat(0.0); N];
            for j in (0..dy.len()).step_by(LANES) {
                let dy = V::load(dy.as_ptr().add(j + lane));
                for (x, product) in x.iter().zip(&mut products) {
                    *product = V::load(x.add(j + lane)).mul_add(dy, *product);
                }
            }
            for (product, sums) in products.iter().zip(&mut *sums) {
                let mut values = [0.0f32; LANES];
                product.store(values.as_mut_ptr());
                for i in 0..V::LANES {
                    sums[lane + i] += f64::from(values[i]);
                }
            }
        }
    }
}
