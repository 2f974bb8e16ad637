//! Tensors in awkward places: amid a concatenation, with borders, with ragged blocks.

// Each test program uses some of this.
#![allow(dead_code)]

use inception_kernels::reference::Tensor;
use inception_kernels::{Border, Buffer, Channels, Cpu, Isa, LANES, Layout, View, ViewMut};
use proptest::prelude::*;

/// What the blocks beside a placed tensor hold, so that a stray write shows.
const NEIGHBOUR: f32 = 7.0;

/// Every machine to run on: each instruction set with one thread and with two.
pub fn cpus() -> Vec<[Cpu; 2]> {
    Isa::supported()
        .into_iter()
        .map(|isa| [1, 2].map(|threads| Cpu::with_isa(threads, isa).expect("supported")))
        .collect()
}

/// Where a tensor lies in a larger one.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Blocks of others before it.
    pub before: usize,
    /// Blocks of others after it.
    pub after: usize,
    /// The larger tensor's border.
    pub border: Border,
}

/// By itself, with no border.
pub const PLAIN: Place =
    Place { before: 0, after: 0, border: Border { top: 0, bottom: 0, left: 0, right: 0 } };

/// Any [`Place`].
pub fn place() -> impl Strategy<Value = Place> {
    (0..2usize, 0..2usize, [0..3usize, 0..3usize, 0..3usize, 0..3usize]).prop_map(
        |(before, after, [top, bottom, left, right])| Place {
            before,
            after,
            border: Border { top, bottom, left, right },
        },
    )
}

/// Up to three runs of channels, ragged more often than not.
pub fn channels() -> impl Strategy<Value = Channels> {
    prop::collection::vec(1..=34usize, 1..=3)
        .prop_map(|runs| Channels::concat(&runs.into_iter().map(Channels::new).collect::<Vec<_>>()))
}

/// A tensor that lies somewhere in a larger one.
pub struct Placed {
    data: Buffer,
    layout: Layout,
    place: Place,
    channels: Channels,
}

impl Placed {
    /// One that holds `values`, with the zeros where they belong.
    pub fn new(values: &Tensor, channels: &Channels, place: Place) -> Self {
        let mut placed = Self::filled(values.shape, channels, place, 0.0);
        values.write_to(channels, &mut placed.view_mut());
        placed
    }

    /// One that holds NaN everywhere, border and spare lanes included: all is to be written.
    pub fn unwritten(shape: [usize; 4], channels: &Channels, place: Place) -> Self {
        Self::filled(shape, channels, place, f32::NAN)
    }

    fn filled(shape: [usize; 4], channels: &Channels, place: Place, value: f32) -> Self {
        let [pictures, count, height, width] = shape;
        assert_eq!(count, channels.count());
        let blocks = place.before + channels.blocks() + place.after;
        let layout = Layout { pictures, blocks, height, width, border: place.border };
        let mut data = Buffer::zeroed(layout.len());
        let own = place.before..place.before + channels.blocks();
        for (i, block) in data.chunks_exact_mut(layout.block_stride().max(1)).enumerate() {
            block.fill(if own.contains(&(i % blocks)) { value } else { NEIGHBOUR });
        }
        Self { data, layout, place, channels: channels.clone() }
    }

    /// The tensor, to read.
    pub fn view(&self) -> View<'_> {
        View::new(&self.data[..self.layout.len()], self.layout)
            .blocks(self.place.before, self.channels.blocks())
    }

    /// The tensor, to write.
    pub fn view_mut(&mut self) -> ViewMut<'_> {
        let (layout, len) = (self.layout, self.layout.len());
        ViewMut::new(&mut self.data[..len], layout)
            .blocks(self.place.before, self.channels.blocks())
    }

    /// The values, after making sure that the border and the spare lanes are zero and that the
    /// neighbours are as they were.
    pub fn checked(&self) -> Tensor {
        let mut expected = Self::filled(
            [self.layout.pictures, self.channels.count(), self.layout.height, self.layout.width],
            &self.channels,
            self.place,
            0.0,
        );
        let values = Tensor::from_view(self.view(), &self.channels);
        values.write_to(&self.channels, &mut expected.view_mut());
        let wrong = self.data.iter().zip(expected.data.iter()).position(|(a, b)| {
            a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan()) && *a != *b
        });
        if let Some(at) = wrong {
            let pixel = at / LANES % (self.layout.block_stride() / LANES);
            panic!(
                "{} at block {}, bordered pixel {pixel}, lane {} of {:?} {:?}",
                self.data[at],
                at / self.layout.block_stride(),
                at % LANES,
                self.layout,
                self.channels,
            );
        }
        values
    }

    /// The whole memory's bits.
    pub fn bits(&self) -> Vec<u32> {
        self.data.iter().map(|v| v.to_bits()).collect()
    }
}

/// Runs `write` on every machine and checks what it leaves in a tensor at `place`: nothing but
/// values within `tolerance` of `expected`, the same bits for one thread and two. With `before`
/// the tensor holds these values first, otherwise nothing but NaN.
pub fn check(
    expected: &Tensor,
    tolerance: f64,
    channels: &Channels,
    place: Place,
    before: Option<&Tensor>,
    write: impl Fn(&Cpu, &mut ViewMut),
) {
    for cpus in cpus() {
        let results = cpus.each_ref().map(|cpu| {
            let mut out = match before {
                Some(values) => Placed::new(values, channels, place),
                None => Placed::unwritten(expected.shape, channels, place),
            };
            write(cpu, &mut out.view_mut());
            out
        });
        let error = results[0].checked().error(expected);
        assert!(error <= tolerance, "relative error {error:e} on {:?}", cpus[0].isa());
        assert!(results[0].bits() == results[1].bits(), "threads differ on {:?}", cpus[0].isa());
    }
}

/// Checks on every machine that what `write` makes of `x` is the same bits for each picture by
/// itself and for all together. `shape` is the output's, in one run of channels.
pub fn check_batch(
    x: &Tensor,
    channels: &Channels,
    shape: [usize; 4],
    write: impl Fn(&Cpu, View, &mut ViewMut),
) {
    let outputs = Channels::new(shape[1]);
    for [_, cpu] in cpus() {
        let run = |x: &Tensor| {
            let x = Placed::new(x, channels, PLAIN);
            let shape = [x.layout.pictures, shape[1], shape[2], shape[3]];
            let mut y = Placed::unwritten(shape, &outputs, PLAIN);
            write(&cpu, x.view(), &mut y.view_mut());
            y.checked().data
        };
        let [_, c, h, w] = x.shape;
        let pictures = x.data.chunks_exact(c * h * w);
        let alone: Vec<f64> = pictures
            .flat_map(|data| run(&Tensor { shape: [1, c, h, w], data: data.to_vec() }))
            .collect();
        assert!(run(x) == alone, "the batch matters on {:?}", cpu.isa());
    }
}

/// Runs `write` on every machine and checks the channels' values that it leaves in an array of
/// one entry per lane: within `tolerance` of `expected`, zero in spare lanes, the same bits for
/// one thread and two.
pub fn check_lanes(
    expected: &[f64],
    tolerance: f64,
    channels: &Channels,
    write: impl Fn(&Cpu, &mut [f32]),
) {
    for cpus in cpus() {
        let results = cpus.each_ref().map(|cpu| {
            let mut out = vec![f32::NAN; channels.blocks() * LANES];
            write(cpu, &mut out);
            out
        });
        let error = per_channel(&per_lane(&results[0], channels)).error(&per_channel(expected));
        assert!(error <= tolerance, "relative error {error:e} on {:?}", cpus[0].isa());
        let spare = results[0].iter().filter(|v| **v != 0.0).count();
        assert!(spare <= channels.count(), "spare lanes are zero");
        let bits = results.map(|r| r.into_iter().map(f32::to_bits).collect::<Vec<_>>());
        assert!(bits[0] == bits[1], "threads differ on {:?}", cpus[0].isa());
    }
}

/// The channels' entries of an array with one per lane.
pub fn per_lane(lanes: &[f32], channels: &Channels) -> Vec<f64> {
    channels.lanes().map(|lane| lanes[lane].into()).collect()
}

/// An array with one entry per lane, zero in spare ones.
pub fn to_lanes(values: &[f64], channels: &Channels) -> Vec<f32> {
    let mut lanes = vec![0.0; channels.blocks() * LANES];
    for (lane, value) in channels.lanes().zip(values) {
        lanes[lane] = *value as f32;
    }
    lanes
}

/// The values as a tensor, for [`Tensor::error`].
pub fn per_channel(values: &[f64]) -> Tensor {
    Tensor { shape: [1, values.len(), 1, 1], data: values.to_vec() }
}

/// The tolerance for [`check`] at which values may be off by `absolute`: where terms cancel, it is
/// their size that counts, not that of what remains.
pub fn within(absolute: f64, expected: &[f64]) -> f64 {
    absolute / expected.iter().fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()))
}

/// `a + b`.
pub fn sum(a: &Tensor, b: &Tensor) -> Tensor {
    assert_eq!(a.shape, b.shape);
    Tensor { shape: a.shape, data: a.data.iter().zip(&b.data).map(|(a, b)| a + b).collect() }
}
