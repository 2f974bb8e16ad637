//! How weights are put in the order in which the microkernels read them.

use super::{Direction, Filters, Packing, Rows};
use crate::conv::balance::Balance;
use crate::conv::microkernel::max_blocks;
use crate::conv::minimal::Minimal;
use crate::conv::paired;
use crate::conv::phase::Phase;
use crate::conv::split::Split;
use crate::threads::Shared;
use crate::{Channels, Cpu, LANES};
use std::borrow::Cow;
use std::ops::Range;

/// The piece that some output channels of one block are in, and their numbers there; `each` is an
/// output's weights.
fn piece<'a>(rows: &[Rows<'a>], channels: Range<usize>, each: usize) -> (Rows<'a>, Range<usize>) {
    let mut start = 0;
    for &piece in rows {
        // Outputs without weights are in any. Backwards, where the pieces' rows are not the targets,
        // there is only one.
        let end = piece.weights.len().checked_div(each).map_or(usize::MAX, |count| start + count);
        if channels.start < end || rows.len() == 1 {
            return (piece, channels.start - start..channels.end - start);
        }
        start = end;
    }
    panic!("all channels have weights")
}

impl Filters {
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
        let weights: Vec<Cow<[f32]>> =
            rows.iter().map(|rows| self.by_summand(rows.weights)).collect();
        let rows: Vec<Rows> =
            weights.iter().zip(rows).map(|(weights, rows)| Rows { weights, ..*rows }).collect();
        let rows = &*rows;
        let microkernels = self.microkernels(cpu);
        self.groups = self.group(match self.packing {
            Packing::Direct => max_blocks(microkernels.convolve),
            _ => microkernels.most_together(),
        });
        let mut data = std::mem::take(&mut self.data);
        let shared = Shared::new(&mut data);
        match &self.packing {
            Packing::Direct => self.pack_taps(cpu, rows, targets, shared),
            Packing::Minimal(minimal) => {
                self.pack_transformed(cpu, rows, targets, minimal, shared);
            }
            Packing::Product => {
                self.balance = self.pack_mixed(cpu, rows, (1, &[vec![(0, 1.0)]]), shared);
            }
            Packing::Strassen(strassen) => {
                let mixed = (strassen.parts(), &*strassen.terms());
                self.balance = self.pack_mixed(cpu, rows, mixed, shared);
            }
        }
        if microkernels.paired && !matches!(self.packing, Packing::Direct) {
            let (lanes, groups, sizes) = (&*self.lanes, &*self.groups, self.sizes());
            let packed =
                paired::Packed { lanes, blocks: self.even_blocks(cpu, rows), groups, sizes };
            self.paired = paired::Weights::balance(cpu, &mut data, packed);
        }
        self.data = data;
        self.isa = Some(cpu.isa());
    }

    /// What products are summed over, and how many weights each has: channels one for each tap, a
    /// window's values a single one.
    fn summands(&self) -> (&Channels, usize) {
        let taps = self.kernel.0 * self.kernel.1;
        (&self.summed, if matches!(self.packing, Packing::Product) { 1 } else { taps })
    }

    /// The weights in the order of what products are summed over.
    fn by_summand<'a>(&self, weights: &'a [f32]) -> Cow<'a, [f32]> {
        let (taps, sources) = (self.kernel.0 * self.kernel.1, self.source.count());
        if taps == self.summands().1 || sources == 0 {
            return Cow::Borrowed(weights);
        }
        let of_output = |row: &'a [f32]| {
            (0..taps).flat_map(move |tap| (0..sources).map(move |source| row[source * taps + tap]))
        };
        weights.chunks(taps * sources).flat_map(of_output).collect()
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
            // Threads may share the groups of one chunk: an even number suits any even one of threads,
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
                    let source = fold * sources + source;
                    let to = stream + self.place(cpu, group.len(), matrix, source, i);
                    // SAFETY: each task has its own source's place in its own group's stream.
                    unsafe { data.slice(to, LANES) }.copy_from_slice(&values);
                });
            }
        });
    }

    /// Where in a group's stream sixteen outputs' weights lie, for bilinear algorithms.
    fn place(&self, cpu: &Cpu, blocks: usize, matrix: usize, source: usize, block: usize) -> usize {
        let (source, block) = match self.microkernels(cpu).single() {
            true => (source, block * self.sources()),
            false => (source * blocks, block),
        };
        (matrix * blocks * self.sources() + source + block) * LANES
    }

    /// Packs weights of pixels or windows, balanced, for points that are sums of such of so many parts.
    fn pack_mixed(
        &self,
        cpu: &Cpu,
        rows: &[Rows],
        (parts, terms): (usize, &[Vec<(usize, f64)>]),
        data: Shared,
    ) -> Balance {
        let (points, sources) = (terms.len(), self.sources());
        let inputs: Vec<usize> = self.summed.lanes().collect();
        // Each lane's channel, and each lane's weights with their factor.
        let mut channels = vec![None; self.summed.blocks() * LANES];
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
        let balance = Balance::new(&outputs, &inputs, self.summed.per_block());
        let (of_inputs, of_outputs) = (&*balance.inputs, &*balance.outputs);
        cpu.for_each(self.groups.len() * sources, |task| {
            let (group, source) = (&self.groups[task / sources], task % sources);
            let stream = group.start * LANES * sources * points;
            for (i, block) in group.clone().enumerate() {
                let mut weights = vec![[0.0; LANES]; parts * parts];
                for (n, weights) in weights.iter_mut().enumerate() {
                    let input = match parts {
                        1 => inputs[source],
                        _ => (source / LANES * parts + n / parts) * LANES + source % LANES,
                    };
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
                    let to = stream + self.place(cpu, group.len(), point, source, i);
                    // SAFETY: each task has its own source's place in its own group's stream.
                    let to = unsafe { data.slice(to, LANES) };
                    to.iter_mut().zip(sums).for_each(|(to, sum)| *to = sum as f32);
                }
            }
        });
        balance
    }

    /// The size that each matrix' inputs are expected to have, where the source's values are about 1,
    /// as batch normalisation makes them.
    fn sizes(&self) -> Vec<f32> {
        match &self.packing {
            Packing::Direct => Vec::new(),
            Packing::Product => vec![self.balance.input_size()],
            Packing::Minimal(minimal) => minimal.input_sizes(),
            Packing::Strassen(strassen) => {
                let size = self.balance.input_size();
                strassen.input_sizes().map(|of_point| size * of_point).collect()
            }
        }
    }

    /// In which blocks channels are paired. What products of pixels or windows read has been brought to
    /// one size.
    fn even_blocks(&self, cpu: &Cpu, rows: &[Rows]) -> Vec<bool> {
        let (summed, taps) = self.summands();
        let sources = summed.count();
        let targets: usize = self.targets.iter().map(Channels::count).sum();
        if targets * sources == 0 {
            return vec![false; self.lanes.len()];
        }
        let backward = self.direction == Direction::Backward;
        let balanced = !matches!(self.packing, Packing::Minimal(_));
        let (places, lanes): (_, Vec<usize>) = (self.places(), summed.lanes().collect());
        let count = self.lanes.iter().map(|&lanes| usize::from(lanes)).sum::<usize>();
        let folds = self.packing.folds();
        let mut present = vec![false; count / folds];
        places.iter().for_each(|&place| present[place] = true);
        let squares = |target: usize, squares: &mut [f64]| {
            squares.fill(0.0);
            let (rows, of_piece) = piece(rows, target..target + 1, taps * sources);
            for (source, &place) in places.iter().enumerate() {
                let pair = match backward {
                    true => source * targets + target,
                    false => of_piece.start * sources + source,
                };
                let weights = &rows.weights[pair * taps..][..taps];
                let scale = if balanced { self.balance.inputs[lanes[source]] } else { 1.0 };
                let sum: f64 = weights.iter().map(|&weight| f64::from(weight).powi(2)).sum();
                squares[place] += sum / f64::from(scale).powi(2);
            }
        };
        let blocks = &self.lanes[..self.lanes.len() / folds];
        paired::even_blocks(cpu, blocks, &present, targets, squares).repeat(folds)
    }

    /// In which lane of what is multiplied each of the summed is, lanes that are never used left out.
    fn places(&self) -> Vec<usize> {
        match self.packing.parts() {
            1 => (0..self.summed.count()).collect(),
            parts => {
                let place = |lane: usize| lane / LANES / parts * LANES + lane % LANES;
                self.summed.lanes().map(place).collect()
            }
        }
    }
}
