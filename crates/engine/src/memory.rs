//! One arena for all buffers, shared over time.

use std::ops::Range;

use inception_kernels::{Buffer, View, ViewMut};

use crate::EngineError;
use crate::placement::{Place, TensorSpec};

/// The steps of a run between which a buffer must keep its contents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetime {
    pub first: usize,
    pub last: usize,
    /// How many pictures' contents at most; beyond that those of earlier ones are done with.
    pub pictures: usize,
}

impl Lifetime {
    /// No step yet.
    pub const NEVER: Self = Self { first: usize::MAX, last: 0, pictures: usize::MAX };

    /// Makes the life include this step.
    pub fn extend(&mut self, step: usize) {
        self.first = self.first.min(step);
        self.last = self.last.max(step);
    }

    fn is_never(self) -> bool {
        self.first > self.last
    }

    fn meets(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Memory for a network's buffers, planned for a number of pictures.
pub(crate) struct Arena {
    specs: Vec<TensorSpec>,
    lifetimes: Vec<Lifetime>,
    /// In values.
    offsets: Vec<usize>,
    memory: Buffer,
    /// Those there is room for.
    pictures: usize,
    /// Those that are read and written.
    part: Range<usize>,
}

impl Arena {
    /// A buffer that never lives takes no memory and must not be asked for.
    pub fn new(specs: Vec<TensorSpec>, lifetimes: Vec<Lifetime>) -> Self {
        let memory = Buffer::default();
        Self { specs, lifetimes, offsets: Vec::new(), memory, pictures: 0, part: 0..0 }
    }

    /// Where each buffer lies, and the length of all: largest first, each at the lowest address
    /// that no buffer alive at the same time takes.
    fn plan(&self, pictures: usize) -> (Vec<usize>, usize) {
        let Self { specs, lifetimes, .. } = self;
        let len = |i: usize| match lifetimes[i].is_never() {
            true => 0,
            false => specs[i].layout(pictures.min(lifetimes[i].pictures)).len(),
        };
        let mut order: Vec<usize> = (0..specs.len()).collect();
        order.sort_by_key(|&i| (std::cmp::Reverse(len(i)), i));
        let mut offsets = vec![0; specs.len()];
        let mut placed: Vec<usize> = Vec::new();
        for &i in &order {
            let mut taken: Vec<Range<usize>> = placed
                .iter()
                .filter(|&&j| lifetimes[i].meets(lifetimes[j]))
                .map(|&j| offsets[j]..offsets[j] + len(j))
                .collect();
            taken.sort_by_key(|range| range.start);
            let mut offset = 0;
            for range in taken {
                if offset + len(i) <= range.start {
                    break;
                }
                offset = offset.max(range.end);
            }
            offsets[i] = offset;
            placed.push(i);
        }
        let all = (0..specs.len()).map(|i| offsets[i] + len(i)).max().unwrap_or(0);
        (offsets, all)
    }

    /// Makes room for a batch of this many pictures; contents are lost where the number changes.
    /// All of them are read and written.
    pub fn resize(&mut self, pictures: usize) -> Result<(), EngineError> {
        if self.pictures != pictures {
            let (offsets, needed) = self.plan(pictures);
            if self.memory.len() < needed {
                // The old memory goes first, so that both need not fit.
                (self.memory, self.pictures) = (Buffer::default(), 0);
                self.memory = Buffer::try_zeroed(needed).ok_or(EngineError::Memory {
                    pictures,
                    mebibytes: needed.saturating_mul(size_of::<f32>()) >> 20,
                })?;
            }
            (self.offsets, self.pictures) = (offsets, pictures);
        }
        self.part = 0..pictures;
        Ok(())
    }

    /// Reads and writes these pictures from now on.
    pub fn turn_to(&mut self, part: Range<usize>) {
        assert!(part.end <= self.pictures, "there is room for the pictures");
        self.part = part;
    }

    /// Bytes of memory a picture takes.
    pub fn bytes_per_picture(&self) -> usize {
        self.plan(1).1 * size_of::<f32>()
    }

    /// One place to read.
    pub fn read(&self, place: &Place) -> View<'_> {
        let spec = &self.specs[place.buffer];
        View::new(&self.memory[self.range(place.buffer)], spec.layout(self.part.len()))
            .blocks(place.first_block, place.channels.blocks())
    }

    /// One place to write.
    pub fn write(&mut self, place: &Place) -> ViewMut<'_> {
        self.access([], place).1
    }

    /// Some places to read and one, in another buffer, to write.
    pub fn access<const N: usize>(
        &mut self,
        reads: [&Place; N],
        write: &Place,
    ) -> ([View<'_>; N], ViewMut<'_>) {
        let target = self.range(write.buffer);
        let layout = |place: &Place| self.specs[place.buffer].layout(self.part.len());
        let (ranges, layouts) = (reads.map(|place| self.range(place.buffer)), reads.map(layout));
        let write_layout = layout(write);
        // What is read may lie on both sides of what is written, and two reads may be one buffer.
        let (below, rest) = self.memory.split_at_mut(target.start);
        let (written, above) = rest.split_at_mut(target.len());
        let (below, above) = (&*below, &*above);
        let view = |i: usize| {
            let range = ranges[i].clone();
            let data = if range.end <= target.start {
                &below[range]
            } else {
                assert!(range.start >= target.end, "buffers alive together are disjoint");
                &above[range.start - target.end..range.end - target.end]
            };
            View::new(data, layouts[i]).blocks(reads[i].first_block, reads[i].channels.blocks())
        };
        let views = std::array::from_fn(view);
        let write_view =
            ViewMut::new(written, write_layout).blocks(write.first_block, write.channels.blocks());
        (views, write_view)
    }

    /// One place to read and some to write, all in different buffers.
    pub fn access_several(
        &mut self,
        read: &Place,
        writes: &[Place],
    ) -> (View<'_>, Vec<ViewMut<'_>>) {
        let layout = |place: &Place| self.specs[place.buffer].layout(self.part.len());
        let mut parts: Vec<(Range<usize>, Option<usize>)> = vec![(self.range(read.buffer), None)];
        parts.extend(writes.iter().enumerate().map(|(i, y)| (self.range(y.buffer), Some(i))));
        parts.sort_by_key(|(range, _)| range.start);
        let layouts: Vec<_> = writes.iter().map(layout).collect();
        let read_layout = layout(read);
        let (mut rest, mut end) = (&mut *self.memory, 0);
        let mut x = None;
        let mut ys: Vec<Option<ViewMut>> = writes.iter().map(|_| None).collect();
        for (range, part) in parts {
            assert!(range.start >= end, "buffers alive together are disjoint");
            let (data, after) = rest[range.start - end..].split_at_mut(range.len());
            (rest, end) = (after, range.end);
            let blocks = |place: &Place| (place.first_block, place.channels.blocks());
            match part {
                None => {
                    let (first, count) = blocks(read);
                    x = Some(View::new(data, read_layout).blocks(first, count));
                }
                Some(i) => {
                    let (first, count) = blocks(&writes[i]);
                    ys[i] = Some(ViewMut::new(data, layouts[i]).blocks(first, count));
                }
            }
        }
        (x.expect("read"), ys.into_iter().flatten().collect())
    }

    fn range(&self, buffer: usize) -> Range<usize> {
        let whole = self.lifetimes[buffer].pictures >= self.pictures;
        let before = if whole { self.part.start } else { 0 };
        let layout = self.specs[buffer].layout(self.part.len());
        let start = self.offsets[buffer] + before * layout.picture_stride();
        start..start + layout.len()
    }
}
