//! Filters in the order in which the microkernels read them.

use super::Geometry;
use super::microkernel::Microkernels;
use super::phase::{Phase, phases};
use super::split::Split;
use crate::threads::Shared;
use crate::{Buffer, Channels, Cpu, Isa, LANES};
use std::ops::Range;

/// A convolution's filters, packed: for each phase (see [`backward_data`](super::backward_data);
/// forward has one) and group of output blocks one stream of
/// `[input block][row][column][lane][output]`. Spare lanes of the input have no weights in it,
/// those of the output have zeros.
///
/// How many blocks form a group depends on the instruction set, thus a `Filters` works with a
/// [`Cpu`] of the instruction set it was last packed with.
pub struct Filters {
    data: Buffer,
    direction: Direction,
    kernel: (usize, usize),
    /// Backward only.
    stride: (usize, usize),
    /// Channels that are read and channels that are written.
    source: Channels,
    target: Channels,
    /// Channels of each source block.
    lanes: Vec<u8>,
    isa: Option<Isa>,
}

/// Which convolution the filters are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the input to the output.
    Forward,
    /// From the output's gradient to the input's.
    Backward,
}

impl Filters {
    /// Room for the filters of [`forward`](super::forward) from `inputs` to one run of `outputs`
    /// channels.
    pub fn forward(outputs: usize, inputs: &Channels, kernel: (usize, usize)) -> Filters {
        Self::new(Direction::Forward, inputs.clone(), Channels::new(outputs), kernel, (1, 1))
    }

    /// Room for the filters of [`backward_data`](super::backward_data) of a convolution from
    /// `inputs` to one run of `outputs` channels.
    pub fn backward(outputs: usize, inputs: &Channels, geometry: &Geometry) -> Filters {
        let Geometry { kernel, stride, .. } = *geometry;
        Self::new(Direction::Backward, Channels::new(outputs), inputs.clone(), kernel, stride)
    }

    fn new(
        direction: Direction,
        source: Channels,
        target: Channels,
        kernel: (usize, usize),
        stride: (usize, usize),
    ) -> Filters {
        let lanes = source.per_block().map(|n| n as u8).collect();
        let len = target.blocks() * LANES * source.count() * kernel.0 * kernel.1;
        let data = Buffer::zeroed(len);
        Filters { data, direction, kernel, stride, source, target, lanes, isa: None }
    }

    /// Packs weights, `[outputs][inputs][rows][columns]` for both directions. May be called again
    /// with others; allocates nothing.
    ///
    /// Panics where the number of weights is another.
    pub fn pack(&mut self, cpu: &Cpu, weights: &[f32]) {
        let (taps, sources) = (self.kernel.0 * self.kernel.1, self.source.count());
        let targets = self.target.count();
        assert_eq!(weights.len(), targets * sources * taps, "one weight for each tap");
        // From one target channel's weights to the next's, and from one source channel's.
        let steps = match self.direction {
            Direction::Forward => (sources * taps, taps),
            Direction::Backward => (taps, targets * taps),
        };
        let mut data = std::mem::take(&mut self.data);
        let shared = Shared::new(&mut data);
        let blocks = self.lanes.len();
        let groups = Split::at_most(self.target.blocks(), Microkernels::of(cpu.isa()).max_blocks());
        for phase in self.phases().filter(|phase| phase.taps() > 0) {
            cpu.for_each(groups.parts * blocks, |task| {
                let (group, block) = (groups.part(task / blocks), task % blocks);
                let before: usize = self.lanes[..block].iter().map(|&n| n as usize).sum();
                let count = self.lanes[block] as usize;
                let width = group.len() * LANES;
                let start = self.stream(&phase, group.start) + before * phase.taps() * width;
                // SAFETY: each task has its own block of its own group's stream.
                let packed = unsafe { shared.slice(start, count * phase.taps() * width) };
                let weights = &weights[before * steps.1..];
                for (i, channels) in self.target_channels(group).enumerate() {
                    let packed = &mut packed[i * LANES..];
                    self.pack_block(packed, (count, width), &phase, channels, weights, steps);
                }
            });
        }
        self.data = data;
        self.isa = Some(cpu.isa());
    }

    /// Packs the weights between a source block and a target block, as `[row][column][lane]` of
    /// sixteen outputs each, `width` apart. `weights` starts at the source block's first channel.
    fn pack_block(
        &self,
        packed: &mut [f32],
        (count, width): (usize, usize),
        phase: &Phase,
        channels: Range<usize>,
        weights: &[f32],
        steps: (usize, usize),
    ) {
        let weights = &weights[channels.start * steps.0..];
        for (tap, place) in phase.taps_of(self.kernel).enumerate() {
            for lane in 0..count {
                let weights = &weights[lane * steps.1 + place..];
                let outputs = &mut packed[(tap * count + lane) * width..][..LANES];
                for (i, output) in outputs.iter_mut().enumerate() {
                    *output = if i < channels.len() { weights[i * steps.0] } else { 0.0 };
                }
            }
        }
    }

    /// The phases, in the order of their streams.
    pub(super) fn phases(&self) -> impl Iterator<Item = Phase> + use<> {
        let forward = self.direction == Direction::Forward;
        let whole = forward.then(|| Phase::whole(self.kernel));
        let stride = if forward { (0, 0) } else { self.stride };
        whole.into_iter().chain(phases(self.kernel, stride))
    }

    /// Where the stream of a phase and of the group that starts at target block `block` begins.
    pub(super) fn stream(&self, phase: &Phase, block: usize) -> usize {
        let taps = self.target.blocks() * phase.taps_before + block * phase.taps();
        taps * self.source.count() * LANES
    }

    /// The packed weights. Panics where they are not for this direction, kernel, stride and
    /// instruction set, or where the tensors have other blocks.
    pub(super) fn packed_for(
        &self,
        cpu: &Cpu,
        direction: Direction,
        geometry: &Geometry,
        source_blocks: usize,
        target_blocks: usize,
    ) -> &[f32] {
        assert_eq!(self.direction, direction, "filters are made for one direction");
        assert_eq!(self.kernel, geometry.kernel, "filters are made for one size of kernel");
        if direction == Direction::Backward {
            assert_eq!(self.stride, geometry.stride, "backward filters are made for one stride");
        }
        assert_eq!(self.isa, Some(cpu.isa()), "filters are packed for this instruction set");
        assert_eq!(self.lanes.len(), source_blocks, "filters read all blocks of the source");
        assert_eq!(self.target.blocks(), target_blocks, "filters write all blocks of the target");
        &self.data
    }

    /// Channels of each source block.
    pub(super) fn lanes(&self) -> &[u8] {
        &self.lanes
    }

    /// Multiply–adds of a tap for one lane of the target.
    pub(super) fn sources(&self) -> usize {
        self.source.count()
    }

    /// The channels that each of some target blocks holds.
    fn target_channels(&self, blocks: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let mut end = 0;
        let all = self.target.per_block().map(move |count| {
            end += count;
            end - count..end
        });
        all.skip(blocks.start).take(blocks.len())
    }
}
