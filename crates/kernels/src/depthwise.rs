//! Depthwise convolution: each input channel is read by `multiplier` filters of its own; output
//! channel `c * multiplier + m` reads input channel `c`.
//!
//! Which lane reads which is up to the multiplier, so rows are first *dealt out*: a scratch row
//! holds, at each output's lane, the value that this lane reads. The arithmetic is then lane by
//! lane. Gradients of the input are computed at the outputs' lanes and then *folded* back.

use crate::conv::Geometry;
use crate::pointwise::bands::{self, assert_whole, for_each_band, for_each_band_of};
use crate::pointwise::lanes::{BlockChannels, by_block, split_lanes};
use crate::simd::{Vector, kernel};
use crate::threads::Shared;
use crate::threads::with_scratch;
use crate::{Channels, Cpu, LANES, View, ViewMut};

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
    assert_eq!(weights.len(), layer.outputs * layer.taps(), "a filter for each output");
    let (height, width) = geometry.kernel;
    let reach = layer.reach(y.layout.width);
    let lanes: Vec<Lanes> = (0..y.blocks).map(|b| layer.inputs_of(b, &x)).collect();
    for_each_band_of(cpu, y, false, BAND_ROWS, |band| {
        let (picture, block) = (band.picture, band.block);
        with_scratch((layer.taps() + height * reach) * LANES, |scratch| {
            let (filters, ring) = scratch.split_at_mut(layer.taps() * LANES);
            layer.pack(weights, block, filters);
            // Rows dealt out are kept for the next output rows: as many as a window is high.
            let mut undealt = 0;
            for i in band.rows.clone() {
                let output = band.row(i);
                output.fill(0.0);
                for ky in 0..height {
                    let Some(row) = layer.row_read(i, ky, x.layout.height) else {
                        continue;
                    };
                    let dealt = &mut ring[row % height * reach * LANES..][..reach * LANES];
                    if row >= undealt {
                        deal(cpu, &x, picture, row, &lanes[block], geometry.padding.1, dealt);
                        undealt = row + 1;
                    }
                    let taps = &filters[ky * width * LANES..][..width * LANES];
                    // SAFETY: the dealt row is as long as the windows reach.
                    unsafe { convolve_row(cpu, dealt, taps, geometry.stride.1, output) };
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
    assert_eq!(weights.len(), layer.outputs * layer.taps(), "a filter for each output");
    let (height, width) = geometry.kernel;
    let place = (geometry.stride.1, geometry.padding.1);
    let row_len = dx.layout.width * LANES;
    for_each_band(cpu, dx, accumulate, |band| {
        let (picture, own) = (band.picture, layer.blocks[band.block]);
        if !accumulate {
            band.rows.clone().for_each(|i| band.row(i).fill(0.0));
        }
        with_scratch(layer.taps() * LANES + row_len, |scratch| {
            let (filters, line) = scratch.split_at_mut(layer.taps() * LANES);
            // The gradient at each output's lane, then at the lane of the input it read.
            let outputs = own.first * multiplier..(own.first + own.count) * multiplier;
            for block in outputs.start / LANES..outputs.end.div_ceil(LANES) {
                layer.pack(weights, block, filters);
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
    let reach = layer.reach(dy.layout.width);
    let shared = Shared::new(dw);
    cpu.for_each(dy.blocks * height, |task| {
        let (block, ky) = (task / height, task % height);
        let lanes = layer.inputs_of(block, &x);
        // Rows are summed in `f32`, their sums in `f64`: a filter meets very many pixels.
        let mut sums = vec![[0.0f64; LANES]; width];
        with_scratch(reach * LANES, |dealt| {
            for picture in 0..x.layout.pictures {
                for i in 0..dy.layout.height {
                    let Some(row) = layer.row_read(i, ky, x.layout.height) else {
                        continue;
                    };
                    deal(cpu, &x, picture, row, &lanes, geometry.padding.1, dealt);
                    let dy = bands::row(&dy, picture, block, i);
                    // SAFETY: the dealt row is as long as the windows reach.
                    unsafe { correlate_row(cpu, dealt, dy, geometry.stride.1, &mut sums) };
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

/// From where the lanes of a dealt pixel come: all from some lane on from one value, until the
/// next such run begins.
struct Lanes {
    runs: [Run; LANES],
    count: usize,
    /// Lanes from here on are spare: zero.
    end: usize,
}

#[derive(Clone, Copy, Default)]
struct Run {
    /// First lane.
    lane: usize,
    /// Distance of the value from the pixel in the view's first block.
    offset: usize,
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

    /// Columns that a row of `outputs` windows reaches over, padding included.
    fn reach(&self, outputs: usize) -> usize {
        (outputs.max(1) - 1) * self.geometry.stride.1 + self.geometry.kernel.1
    }

    /// The input row under filter row `ky` of output row `i`, if inside.
    fn row_read(&self, i: usize, ky: usize, height: usize) -> Option<usize> {
        let Geometry { stride, padding, .. } = self.geometry;
        (i * stride.0 + ky).checked_sub(padding.0).filter(|&row| row < height)
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

    /// An output block's filters, lane by lane: `[height][width][16]`, spare lanes zero.
    fn pack(&self, weights: &[f32], block: usize, filters: &mut [f32]) {
        for (tap, pixel) in filters.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            for (lane, value) in pixel.iter_mut().enumerate() {
                let output = self.output(block, lane);
                *value = output.map_or(0.0, |output| weights[output * self.taps() + tap]);
            }
        }
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

impl Lanes {
    /// From the lanes of `view` that each lane in turn reads.
    fn new(read: impl Iterator<Item = usize>, view: &View) -> Self {
        let mut lanes = Lanes { runs: [Run::default(); LANES], count: 0, end: 0 };
        for number in read {
            let offset = number / LANES * view.layout.block_stride() + number % LANES;
            if lanes.count == 0 || lanes.runs[lanes.count - 1].offset != offset {
                lanes.runs[lanes.count] = Run { lane: lanes.end, offset };
                lanes.count += 1;
            }
            lanes.end += 1;
        }
        lanes
    }
}

/// Fills `dealt` with a row's pixels, the first at `padding`, zeros where the picture is not.
fn deal(
    cpu: &Cpu,
    from: &View,
    picture: usize,
    row: usize,
    lanes: &Lanes,
    padding: usize,
    dealt: &mut [f32],
) {
    let reach = dealt.len() / LANES;
    let end = reach.min(padding + from.layout.width);
    let start = padding.min(end);
    dealt[..start * LANES].fill(0.0);
    dealt[end * LANES..].fill(0.0);
    let values = &from.data[from.offset(picture, 0, row, 0)..];
    // SAFETY: the row's pixels lie in the view, from its first block on.
    unsafe { deal_pixels(cpu, values, lanes, &mut dealt[start * LANES..end * LANES]) };
}

kernel! {
    /// # Safety
    /// `values` starts at the first pixel, and has all blocks of as many as `dealt`.
    unsafe fn deal_pixels<V>(values: &[f32], lanes: &Lanes, dealt: &mut [f32]) {
        for lane in (0..LANES).step_by(V::LANES) {
            for i in (lane..dealt.len()).step_by(LANES) {
                // SAFETY: in bounds.
                unsafe { V::splat(0.0).store(dealt.as_mut_ptr().add(i)) };
            }
            for (n, run) in lanes.runs[..lanes.count].iter().enumerate() {
                // A run reaches on over the later ones, which then take their lanes.
                let end = if n + 1 < lanes.count { LANES } else { lanes.end };
                for i in (0..dealt.len()).step_by(LANES) {
                    // SAFETY: in bounds by the caller's promise.
                    unsafe {
                        let value = V::splat(*values.as_ptr().add(i + run.offset));
                        let to = dealt.as_mut_ptr().add(i + lane);
                        let old = V::load(to);
                        let value = split_lanes(end, lane, value, old);
                        split_lanes(run.lane, lane, old, value).store(to);
                    }
                }
            }
        }
    }
}

/// Outputs that [`convolve_row`], taps that [`correlate_row`] does at a time: so many independent
/// sums keep the unit busy, and share a load.
const TOGETHER: usize = 4;

kernel! {
    /// Adds to each output the products of one filter row.
    ///
    /// # Safety
    /// `x` is as long as the windows of `y` reach.
    unsafe fn convolve_row<V>(x: &[f32], taps: &[f32], stride: usize, y: &mut [f32]) {
        let width = y.len() / LANES;
        let whole = width - width % TOGETHER;
        for lane in (0..LANES).step_by(V::LANES) {
            // SAFETY: in bounds by the caller's promise.
            unsafe {
                let (x, y) = (x.as_ptr().add(lane), y.as_mut_ptr().add(lane));
                let taps = (taps.as_ptr().add(lane), taps.len() / LANES);
                for j in (0..whole).step_by(TOGETHER) {
                    let x = x.add(j * stride * LANES);
                    convolve::<V, TOGETHER>(x, taps, stride, y.add(j * LANES));
                }
                for j in whole..width {
                    let x = x.add(j * stride * LANES);
                    convolve::<V, 1>(x, taps, stride, y.add(j * LANES));
                }
            }
        }
    }
}

/// Adds the products of one filter row to `N` outputs; `taps` are a pointer and their number.
///
/// # Safety
/// The pixels and taps are there, and the machine has `V`'s instructions.
#[inline(always)]
unsafe fn convolve<V: Vector, const N: usize>(
    x: *const f32,
    taps: (*const f32, usize),
    stride: usize,
    y: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [V::splat(0.0); N];
        for (j, sum) in sums.iter_mut().enumerate() {
            *sum = V::load(y.add(j * LANES));
        }
        for kx in 0..taps.1 {
            let tap = V::load(taps.0.add(kx * LANES));
            for (j, sum) in sums.iter_mut().enumerate() {
                *sum = V::load(x.add((j * stride + kx) * LANES)).mul_add(tap, *sum);
            }
        }
        for (j, sum) in sums.iter().enumerate() {
            sum.store(y.add(j * LANES));
        }
    }
}

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
    /// Adds to `sums`, one for each tap of a filter row, the products of a row of inputs and of
    /// outputs' gradients.
    ///
    /// # Safety
    /// `x` is as long as the windows of `dy` reach.
    unsafe fn correlate_row<V>(
        x: &[f32], dy: &[f32], stride: usize, sums: &mut [[f64; LANES]],
    ) {
        let whole = sums.len() - sums.len() % TOGETHER;
        // SAFETY: in bounds by the caller's promise.
        unsafe {
            for kx in (0..whole).step_by(TOGETHER) {
                let x = x.as_ptr().add(kx * LANES);
                correlate::<V, TOGETHER>(x, dy, stride, &mut sums[kx..]);
            }
            for kx in whole..sums.len() {
                correlate::<V, 1>(x.as_ptr().add(kx * LANES), dy, stride, &mut sums[kx..]);
            }
        }
    }
}

/// Adds to `N` taps' sums; `x` is what the first of them meets first.
///
/// # Safety
/// The pixels are there, and the machine has `V`'s instructions.
#[inline(always)]
unsafe fn correlate<V: Vector, const N: usize>(
    x: *const f32,
    dy: &[f32],
    stride: usize,
    sums: &mut [[f64; LANES]],
) {
    for lane in (0..LANES).step_by(V::LANES) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut products = [V::splat(0.0); N];
            for j in 0..dy.len() / LANES {
                let dy = V::load(dy.as_ptr().add(j * LANES + lane));
                for (kx, product) in products.iter_mut().enumerate() {
                    let x = V::load(x.add((j * stride + kx) * LANES + lane));
                    *product = x.mul_add(dy, *product);
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
