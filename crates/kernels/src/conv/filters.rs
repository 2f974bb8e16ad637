//! Filters in the order in which the microkernels read them.

mod pack;

use super::balance::Balance;
use super::microkernel::Microkernels;
use super::minimal::Minimal;
use super::paired;
use super::phase::{Phase, phases};
use super::strassen::Strassen;
use super::windows;
use super::{Algorithm, Geometry};
use crate::{Border, Buffer, Channels, Cpu, Isa, LANES, View};
use std::ops::Range;

/// A convolution's filters, packed: for each phase (see [`backward_data`](super::backward_data);
/// forward has one) and group of output blocks one stream of
/// `[input block][row][column][lane][output]`. Spare lanes of the input have no weights in it,
/// those of the output have zeros. For bilinear algorithms a group's stream is
/// `[matrix][input block][lane][output]`, transformed; where panels have a single output block
/// `[matrix][output block][input block][lane][output]`. For a product of windows their values are what
/// channels are elsewhere.
///
/// How many blocks form a group depends on the instruction set, thus a `Filters` works with a
/// [`Cpu`] of the instruction set it was last packed with.
pub struct Filters {
    data: Buffer,
    direction: Direction,
    kernel: (usize, usize),
    /// What the backward direction and bilinear algorithms are made for.
    stride: (usize, usize),
    /// Channels that are read, and those that are written to each target.
    source: Channels,
    targets: Vec<Channels>,
    /// What products are summed over: the source's channels, or a window's values.
    summed: Channels,
    /// How many of them there are in each block: of the source, or of several that are mixed.
    lanes: Vec<u8>,
    packing: Packing,
    /// For products of pixels or windows.
    balance: Balance,
    /// Whether channels are paired where the instruction set does.
    pairs: bool,
    /// For paired channels.
    paired: paired::Weights,
    isa: Option<Isa>,
    /// Output blocks that are computed together, counted through all targets.
    groups: Vec<Range<usize>>,
}

/// Weights of some outputs, `[output][input][row][column]`.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// The values.
    pub weights: &'a [f32],
    /// What each output's are multiplied with; empty for 1.
    pub scale: &'a [f64],
}

/// What the filters are packed for.
#[derive(Clone, Debug)]
pub(super) enum Packing {
    Direct,
    /// Of windows.
    Product,
    Minimal(Minimal),
    Strassen(Strassen),
}

impl Packing {
    /// Matrices of weights.
    fn matrices(&self, kernel: (usize, usize)) -> usize {
        match self {
            Packing::Direct => kernel.0 * kernel.1,
            Packing::Product => 1,
            Packing::Minimal(minimal) => minimal.matrices(),
            Packing::Strassen(strassen) => strassen.points(),
        }
    }

    /// How often the source is read, each time other pixels.
    fn folds(&self) -> usize {
        match self {
            Packing::Direct | Packing::Product | Packing::Strassen(_) => 1,
            Packing::Minimal(minimal) => minimal.folds(),
        }
    }

    /// Blocks of the source, and of the targets, that are mixed into one.
    fn parts(&self) -> usize {
        match self {
            Packing::Direct | Packing::Product | Packing::Minimal(_) => 1,
            Packing::Strassen(strassen) => strassen.parts(),
        }
    }
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
    /// channels, computed directly.
    pub fn forward(outputs: usize, inputs: &Channels, kernel: (usize, usize)) -> Filters {
        let targets = vec![Channels::new(outputs)];
        Self::new(Direction::Forward, inputs.clone(), targets, kernel, (1, 1), Packing::Direct)
    }

    /// Room for the filters of [`forward`](super::forward) from `inputs` to several targets, by an
    /// algorithm; `None` where that does not apply to the geometry.
    pub fn with_algorithm(
        targets: &[Channels],
        inputs: &Channels,
        geometry: &Geometry,
        algorithm: Algorithm,
    ) -> Option<Filters> {
        let Geometry { kernel, stride, .. } = *geometry;
        let packing = algorithm.packing(geometry)?;
        let (source, targets) = (inputs.clone(), targets.to_vec());
        Some(Self::new(Direction::Forward, source, targets, kernel, stride, packing))
    }

    /// Room for the filters of [`backward_data`](super::backward_data) of a convolution from
    /// `inputs` to one run of `outputs` channels.
    pub fn backward(outputs: usize, inputs: &Channels, geometry: &Geometry) -> Filters {
        let Geometry { kernel, stride, .. } = *geometry;
        let (source, targets) = (Channels::new(outputs), vec![inputs.clone()]);
        Self::new(Direction::Backward, source, targets, kernel, stride, Packing::Direct)
    }

    /// The same by an algorithm; `None` where that does not apply. Minimal filtering does where its
    /// tiles apply to the geometry, the stride is 1 and the padding leaves no window empty.
    pub fn backward_with(
        outputs: usize,
        inputs: &Channels,
        geometry: &Geometry,
        algorithm: Algorithm,
    ) -> Option<Filters> {
        let minimal = match algorithm.packing(geometry)? {
            Packing::Direct => return Some(Self::backward(outputs, inputs, geometry)),
            Packing::Minimal(minimal) => minimal,
            Packing::Product | Packing::Strassen(_) => return None,
        };
        let Geometry { kernel, stride, padding } = *geometry;
        let turned = stride == (1, 1) && padding.0 < kernel.0 && padding.1 < kernel.1;
        let (source, targets) = (Channels::new(outputs), vec![inputs.clone()]);
        let packing = Packing::Minimal(minimal);
        turned.then(|| Self::new(Direction::Backward, source, targets, kernel, stride, packing))
    }

    fn new(
        direction: Direction,
        source: Channels,
        targets: Vec<Channels>,
        kernel: (usize, usize),
        stride: (usize, usize),
        packing: Packing,
    ) -> Filters {
        let parts = packing.parts();
        let summed = match packing {
            Packing::Product => windows::values(&source, kernel),
            _ => source.clone(),
        };
        // A block that is mixed with others is whole: its spare lanes are zeros.
        let lanes: Vec<u8> = match parts {
            1 => {
                let lanes: Vec<u8> = summed.per_block().map(|n| n as u8).collect();
                lanes.repeat(packing.folds())
            }
            _ => vec![LANES as u8; source.blocks().div_ceil(parts)],
        };
        let mut filters = Filters {
            data: Buffer::default(),
            direction,
            kernel,
            stride,
            summed,
            source,
            targets,
            packing,
            balance: Balance::default(),
            // Only whole blocks have pairs.
            pairs: lanes.contains(&(LANES as u8)),
            lanes,
            paired: paired::Weights::default(),
            isa: None,
            groups: Vec::new(),
        };
        let sums = filters.target_blocks().div_ceil(parts) * LANES * filters.sources();
        filters.data = Buffer::zeroed(sums * filters.packing.matrices(kernel));
        filters
    }

    /// The same without paired channels: where weights are packed anew for each use, pairing takes
    /// longer than it saves.
    pub fn without_pairs(self) -> Self {
        Self { pairs: false, ..self }
    }

    /// Those that the filters are packed for.
    pub(super) fn microkernels(&self, cpu: &Cpu) -> &'static Microkernels {
        Microkernels::of(if self.pairs { cpu.isa() } else { cpu.isa().without_pairs() })
    }

    /// What the filters are packed for.
    pub fn algorithm(&self) -> Algorithm {
        match &self.packing {
            Packing::Direct => Algorithm::Direct,
            Packing::Minimal(minimal) => {
                let (rows, columns) = minimal.tile();
                Algorithm::Minimal { rows, columns }
            }
            Packing::Product => Algorithm::Product,
            Packing::Strassen(Strassen { levels }) => Algorithm::Strassen { levels: *levels },
        }
    }

    /// The border with which what is read is read fastest, for a convolution of an input of this
    /// height and width to an output of this one: what the [geometry](Geometry::input_border) asks for
    /// (backwards that of the [gradient](Geometry::gradient_border)), and as far as the windows of the
    /// last tiles reach. With less such a window is copied first.
    ///
    /// Panics where the filters are made for another geometry.
    pub fn source_border(
        &self,
        geometry: &Geometry,
        input: (usize, usize),
        output: (usize, usize),
    ) -> Border {
        self.assert_made_for(geometry);
        let forward = self.direction == Direction::Forward;
        let border = match forward {
            true => geometry.input_border(input, output),
            false => geometry.gradient_border(input, output),
        };
        let Packing::Minimal(minimal) = &self.packing else { return border };
        let (bottom, right) = match forward {
            true => minimal.reach(geometry.padding, input, output),
            false => minimal.reach(geometry.turned_padding(), output, input),
        };
        border.union(Border { bottom, right, ..border })
    }

    /// Bytes of the packed weights.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.data)
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
        (self.target_blocks() * phase.taps_before + block * phase.taps())
            * self.source.count()
            * LANES
    }

    /// The packed weights. Panics where they are not for this direction, kernel, stride and
    /// instruction set, or where the tensors have other blocks.
    pub(super) fn packed_for(
        &self,
        cpu: &Cpu,
        direction: Direction,
        geometry: &Geometry,
        source: &View,
        targets: impl ExactSizeIterator<Item = usize>,
    ) -> &[f32] {
        assert_eq!(self.direction, direction, "filters are made for one direction");
        self.assert_made_for(geometry);
        assert_eq!(self.isa, Some(cpu.isa()), "filters are packed for this instruction set");
        assert_eq!(self.source.blocks(), source.blocks, "filters read all blocks of the source");
        assert_eq!(self.targets.len(), targets.len(), "filters write to all targets");
        for (channels, blocks) in self.targets.iter().zip(targets) {
            assert_eq!(channels.blocks(), blocks, "filters write all blocks of a target");
        }
        &self.data
    }

    fn assert_made_for(&self, geometry: &Geometry) {
        assert_eq!(self.kernel, geometry.kernel, "filters are made for one size of kernel");
        if self.direction == Direction::Backward || !matches!(self.packing, Packing::Direct) {
            assert_eq!(self.stride, geometry.stride, "filters are made for one stride");
        }
        let padding = geometry.padding;
        match (self.direction, &self.packing) {
            (Direction::Forward, Packing::Strassen(_)) => {
                assert_eq!(padding, (0, 0), "filters are made for no padding");
            }
            (Direction::Backward, Packing::Minimal(_)) => {
                let turned = padding.0 < self.kernel.0 && padding.1 < self.kernel.1;
                assert!(turned, "filters are made for a padding below their size");
            }
            _ => {}
        }
    }

    /// Channels that are read.
    pub(super) fn source(&self) -> &Channels {
        &self.source
    }

    /// How many channels or values of a window each block has that products are summed over.
    pub(super) fn lanes(&self) -> &[u8] {
        &self.lanes
    }

    /// Multiply–adds of a tap or a point for one lane of the target.
    pub(super) fn sources(&self) -> usize {
        self.lanes.iter().map(|&lanes| lanes as usize).sum()
    }

    /// What the filters are packed for.
    pub(super) fn packing(&self) -> &Packing {
        &self.packing
    }

    /// What a product of pixels or windows balances its operands with.
    pub(super) fn balance(&self) -> &Balance {
        &self.balance
    }

    /// What products with paired channels need to know of the weights.
    pub(super) fn paired(&self) -> &paired::Weights {
        &self.paired
    }

    /// Blocks of all targets.
    pub(super) fn target_blocks(&self) -> usize {
        self.targets.iter().map(Channels::blocks).sum()
    }

    /// Output blocks that are computed together, in the order of their streams.
    pub(super) fn groups(&self) -> &[Range<usize>] {
        &self.groups
    }

    /// The channels that each of some target blocks holds.
    fn target_channels(&self, blocks: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let mut end = 0;
        let per_block = self.targets.iter().flat_map(Channels::per_block);
        let all = per_block.map(move |count| {
            end += count;
            end - count..end
        });
        all.skip(blocks.start).take(blocks.len())
    }
}
