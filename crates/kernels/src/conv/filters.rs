//! Filters in the order in which the microkernels read them.

use super::microkernel::Microkernels;
use super::minimal::Minimal;
use super::phase::{Phase, phases};
use super::split::Split;
use super::strassen::{Balance, Strassen};
use super::{Algorithm, Geometry};
use crate::threads::Shared;
use crate::{Border, Buffer, Channels, Cpu, Isa, LANES, View};
use std::ops::Range;

/// A convolution's filters, packed: for each phase (see [`backward_data`](super::backward_data);
/// forward has one) and group of output blocks one stream of
/// `[input block][row][column][lane][output]`. Spare lanes of the input have no weights in it,
/// those of the output have zeros. For bilinear algorithms a group's stream is
/// `[matrix][input block][lane][output]`, transformed.
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
    /// Channels of each block that products are summed over: a source block, or several mixed.
    lanes: Vec<u8>,
    packing: Packing,
    /// For Strassen's product.
    balance: Balance,
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

/// The piece that some output channels of one block are in, and their numbers there; `each` is an
/// output's weights.
fn piece<'a>(rows: &[Rows<'a>], channels: Range<usize>, each: usize) -> (Rows<'a>, Range<usize>) {
    let mut start = 0;
    for &piece in rows {
        // Backwards, where the pieces' rows are not the targets, there is only one.
        let end = start + piece.weights.len() / each;
        if channels.start < end || rows.len() == 1 {
            return (piece, channels.start - start..channels.end - start);
        }
        start = end;
    }
    panic!("all channels have weights")
}

/// What the filters are packed for.
#[derive(Clone, Debug)]
pub(super) enum Packing {
    Direct,
    Minimal(Minimal),
    Strassen(Strassen),
}

impl Packing {
    /// Matrices of weights.
    fn matrices(&self, kernel: (usize, usize)) -> usize {
        match self {
            Packing::Direct => kernel.0 * kernel.1,
            Packing::Minimal(minimal) => minimal.matrices(),
            Packing::Strassen(strassen) => strassen.points(),
        }
    }

    /// How often the source is read, each time other pixels.
    fn folds(&self) -> usize {
        match self {
            Packing::Direct | Packing::Strassen(_) => 1,
            Packing::Minimal(minimal) => minimal.folds(),
        }
    }

    /// Blocks of the source, and of the targets, that are mixed into one.
    fn parts(&self) -> usize {
        match self {
            Packing::Direct | Packing::Minimal(_) => 1,
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
            Packing::Strassen(_) => return None,
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
        // A block that is mixed with others is whole: its spare lanes are zeros.
        let lanes: Vec<u8> = match parts {
            1 => {
                let lanes: Vec<u8> = source.per_block().map(|n| n as u8).collect();
                lanes.repeat(packing.folds())
            }
            _ => vec![LANES as u8; source.blocks().div_ceil(parts)],
        };
        let mut filters = Filters {
            data: Buffer::default(),
            direction,
            kernel,
            stride,
            lanes,
            source,
            targets,
            packing,
            balance: Balance::default(),
            isa: None,
            groups: Vec::new(),
        };
        let sums = filters.target_blocks().div_ceil(parts) * LANES * filters.sources();
        filters.data = Buffer::zeroed(sums * filters.packing.matrices(kernel));
        filters
    }

    /// What the filters are packed for.
    pub fn algorithm(&self) -> Algorithm {
        match &self.packing {
            Packing::Direct => Algorithm::Direct,
            Packing::Minimal(minimal) => {
                let (rows, columns) = minimal.tile();
                Algorithm::Minimal { rows, columns }
            }
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
        self.data.len() * size_of::<f32>()
    }

    /// Packs weights, `[outputs][inputs][rows][columns]` for both directions. May be called again
    /// with others.
    ///
    /// Panics where the number of weights is another.
    pub fn pack(&mut self, cpu: &Cpu, weights: &[f32]) {
        self.pack_rows(cpu, &[Rows { weights, scale: &[] }]);
    }

    /// The same with the weights in several pieces: those of each run of target channels, one
    /// after the other.
    ///
    /// Panics where the number of weights or of factors is another.
    pub fn pack_rows(&mut self, cpu: &Cpu, rows: &[Rows]) {
        let taps = self.kernel.0 * self.kernel.1;
        let targets: usize = self.targets.iter().map(Channels::count).sum();
        let wanted = targets * self.source.count() * taps;
        let found: usize = rows.iter().map(|rows| rows.weights.len()).sum();
        assert_eq!(found, wanted, "one weight for each tap");
        for Rows { weights, scale } in rows.iter().filter(|rows| !rows.scale.is_empty()) {
            assert_eq!(scale.len() * self.source.count() * taps, weights.len(), "a factor each");
        }
        self.groups = self.group(Microkernels::of(cpu.isa()).max_blocks());
        let mut data = std::mem::take(&mut self.data);
        let shared = Shared::new(&mut data);
        match &self.packing {
            Packing::Direct => self.pack_taps(cpu, rows, targets, shared),
            Packing::Minimal(minimal) => {
                self.pack_transformed(cpu, rows, targets, minimal, shared);
            }
            Packing::Strassen(strassen) => {
                self.balance = self.pack_mixed(cpu, rows, *strassen, shared);
            }
        }
        self.data = data;
        self.isa = Some(cpu.isa());
    }

    /// Groups of at most so many blocks, none in two targets where blocks are not mixed anyway.
    fn group(&self, most: usize) -> Vec<Range<usize>> {
        let counts: Vec<usize> = match self.packing.parts() {
            1 => self.targets.iter().map(Channels::blocks).collect(),
            parts => vec![self.target_blocks().div_ceil(parts)],
        };
        let mut groups = Vec::new();
        let mut start = 0;
        for blocks in counts {
            let mut split = Split::at_most(blocks, most);
            // Bilinear tasks may be runs of groups: an even number suits any even one of threads,
            // where no group becomes a single block by it.
            let bilinear = !matches!(self.packing, Packing::Direct);
            if bilinear && split.parts % 2 == 1 && 2 * (split.parts + 1) <= blocks {
                split.parts += 1;
            }
            let parts = (0..split.parts).map(|i| split.part(i));
            groups.extend(parts.map(|part| start + part.start..start + part.end));
            start += blocks;
        }
        groups
    }

    fn pack_taps(&self, cpu: &Cpu, rows: &[Rows], targets: usize, data: Shared) {
        let (taps, sources) = (self.kernel.0 * self.kernel.1, self.source.count());
        // From one target channel's weights to the next's, and from one source channel's.
        let steps = match self.direction {
            Direction::Forward => (sources * taps, taps),
            Direction::Backward => (taps, targets * taps),
        };
        let blocks = self.lanes.len();
        for phase in self.phases().filter(|phase| phase.taps() > 0) {
            cpu.for_each(self.groups.len() * blocks, |task| {
                let (group, block) = (&self.groups[task / blocks], task % blocks);
                let before: usize = self.lanes[..block].iter().map(|&n| n as usize).sum();
                let count = self.lanes[block] as usize;
                let width = group.len() * LANES;
                let start = self.stream(&phase, group.start) + before * phase.taps() * width;
                // SAFETY: each task has its own block of its own group's stream.
                let packed = unsafe { data.slice(start, count * phase.taps() * width) };
                for (i, channels) in self.target_channels(group).enumerate() {
                    let packed = &mut packed[i * LANES..];
                    let (rows, channels) = piece(rows, channels, taps * sources);
                    let rows = Rows { weights: &rows.weights[before * steps.1..], ..rows };
                    self.pack_block(packed, (count, width), &phase, channels, rows, steps);
                }
            });
        }
    }

    /// Packs the weights between a source block and a target block, as `[row][column][lane]` of
    /// sixteen outputs each, `width` apart. `weights` starts at the source block's first channel.
    fn pack_block(
        &self,
        packed: &mut [f32],
        (count, width): (usize, usize),
        phase: &Phase,
        channels: Range<usize>,
        rows: Rows,
        steps: (usize, usize),
    ) {
        let weights = &rows.weights[channels.start * steps.0..];
        let scale = rows.scale.get(channels.clone());
        for (tap, place) in phase.taps_of(self.kernel).enumerate() {
            for lane in 0..count {
                let weights = &weights[lane * steps.1 + place..];
                let outputs = &mut packed[(tap * count + lane) * width..][..LANES];
                outputs.fill(0.0);
                for (i, output) in outputs.iter_mut().enumerate().take(channels.len()) {
                    let weight = weights[i * steps.0];
                    *output = match scale {
                        Some(scale) => (f64::from(weight) * scale[i]) as f32,
                        None => weight,
                    };
                }
            }
        }
    }

    fn pack_transformed(
        &self,
        cpu: &Cpu,
        rows: &[Rows],
        targets: usize,
        minimal: &Minimal,
        data: Shared,
    ) {
        let (taps, sources) = (self.kernel.0 * self.kernel.1, self.source.count());
        let backward = self.direction == Direction::Backward;
        let matrices = self.packing.matrices(self.kernel);
        cpu.for_each(self.groups.len() * sources, |task| {
            let (group, source) = (&self.groups[task / sources], task % sources);
            let width = group.len() * LANES;
            let stream = group.start * LANES * self.sources() * matrices;
            for (i, channels) in self.target_channels(group).enumerate() {
                let mut filters = vec![[0.0; LANES]; taps];
                let (rows, channels) = piece(rows, channels, taps * sources);
                for (lane, target) in channels.enumerate() {
                    let scale = rows.scale.get(target).copied().unwrap_or(1.0);
                    let pair = if backward {
                        source * targets + target
                    } else {
                        target * sources + source
                    };
                    let from = &rows.weights[pair * taps..][..taps];
                    for (tap, &weight) in from.iter().enumerate() {
                        let tap = if backward { taps - 1 - tap } else { tap };
                        filters[tap][lane] = scale * f64::from(weight);
                    }
                }
                minimal.filters(cpu, &filters, |fold, matrix, values| {
                    let source = matrix * self.sources() + fold * sources + source;
                    let to = stream + source * width + i * LANES;
                    // SAFETY: each task has its own source's place in its own group's stream.
                    unsafe { data.slice(to, LANES) }.copy_from_slice(&values);
                });
            }
        });
    }

    fn pack_mixed(&self, cpu: &Cpu, rows: &[Rows], strassen: Strassen, data: Shared) -> Balance {
        let (parts, points, sources) = (strassen.parts(), strassen.points(), self.sources());
        let inputs: Vec<usize> = self.source.lanes().collect();
        // Each lane's channel, and each lane's weights with their factor.
        let mut channels = vec![None; self.source.blocks() * LANES];
        inputs.iter().enumerate().for_each(|(channel, &lane)| channels[lane] = Some(channel));
        let mut outputs = vec![None; self.target_blocks() * LANES];
        for (block, of_block) in self.target_channels(&(0..self.target_blocks())).enumerate() {
            let (rows, of_block) = piece(rows, of_block, inputs.len());
            for (lane, row) in of_block.enumerate() {
                let weights = &rows.weights[row * inputs.len()..][..inputs.len()];
                let scale = rows.scale.get(row).copied().unwrap_or(1.0);
                outputs[block * LANES + lane] = Some((weights, scale));
            }
        }
        let balance = Balance::new(&outputs, &inputs, self.source.per_block());
        let (of_inputs, of_outputs) = (&*balance.inputs, &*balance.outputs);
        let terms = strassen.terms();
        cpu.for_each(self.groups.len() * sources, |task| {
            let (group, source) = (&self.groups[task / sources], task % sources);
            let stream = group.start * LANES * sources * points;
            for (i, block) in group.clone().enumerate() {
                let mut weights = vec![[0.0; LANES]; parts * parts];
                for (n, weights) in weights.iter_mut().enumerate() {
                    let input = (source / LANES * parts + n / parts) * LANES + source % LANES;
                    let first = (block * parts + n % parts) * LANES;
                    let Some(&Some(channel)) = channels.get(input) else { continue };
                    for (output, weight) in (first..).zip(weights) {
                        if let Some(&Some((row, factor))) = outputs.get(output) {
                            let scale = f64::from(of_inputs[input]) * f64::from(of_outputs[output]);
                            *weight = f64::from(row[channel]) * factor / scale;
                        }
                    }
                }
                for (point, terms) in terms.iter().enumerate() {
                    let mut sums = [0.0; LANES];
                    for &(part, sign) in terms {
                        let each = sums.iter_mut().zip(&weights[part]);
                        each.for_each(|(sum, value)| *sum += sign * value);
                    }
                    let width = group.len() * LANES;
                    let to = stream + (point * sources + source) * width + i * LANES;
                    // SAFETY: each task has its own source's place in its own group's stream.
                    let to = unsafe { data.slice(to, LANES) };
                    to.iter_mut().zip(sums).for_each(|(to, sum)| *to = sum as f32);
                }
            }
        });
        balance
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

    /// Channels of each block that products are summed over.
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

    /// What Strassen's product balances its operands with.
    pub(super) fn balance(&self) -> &Balance {
        &self.balance
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
