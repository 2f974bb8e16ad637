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
}

impl Lifetime {
    /// No step yet.
    pub const NEVER: Self = Self { first: usize::MAX, last: 0 };

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

    fn is_within(self, other: Self) -> bool {
        other.first <= self.first && self.last <= other.last
    }
}

/// Steps that are gone through for a group of pictures, then for the next.
#[derive(Clone, Debug)]
pub(crate) struct Loop {
    pub steps: Lifetime,
    /// Pictures of a group, at most.
    pub group: usize,
}

/// Where buffers lie for some number of pictures.
#[derive(Default)]
struct Plan {
    /// In values.
    offsets: Vec<usize>,
    /// Pictures whose contents each buffer holds at a time.
    held: Vec<usize>,
    len: usize,
}

/// Memory for a network's buffers.
pub(crate) struct Arena {
    specs: Vec<TensorSpec>,
    lifetimes: Vec<Lifetime>,
    loops: Vec<Loop>,
    memory: Buffer,
    /// Those there is room for, and where.
    pictures: usize,
    plan: Plan,
    /// Those that are read and written.
    part: Range<usize>,
}

impl Arena {
    /// A buffer that never lives takes no memory and must not be asked for.
    pub fn new(specs: Vec<TensorSpec>, lifetimes: Vec<Lifetime>, loops: Vec<Loop>) -> Self {
        let (memory, plan) = Default::default();
        Self { specs, lifetimes, loops, memory, pictures: 0, plan, part: 0..0 }
    }

    /// A buffer's life, and the pictures it holds. What one loop alone uses it holds for a group at
    /// a time; what others use too keeps all pictures' contents while the loop lasts.
    fn life(&self, buffer: usize, pictures: usize) -> (Lifetime, usize) {
        let (mut life, mut held) = (self.lifetimes[buffer], pictures);
        for Loop { steps, group } in self.loops.iter().filter(|each| each.group < pictures) {
            if self.lifetimes[buffer].is_within(*steps) {
                held = *group;
            } else if self.lifetimes[buffer].meets(*steps) {
                life.extend(steps.first);
                life.extend(steps.last);
            }
        }
        (life, held)
    }

    /// The largest buffer first, each at the lowest address that no buffer alive at the same time
    /// takes.
    fn plan(&self, pictures: usize) -> Plan {
        let count = self.specs.len();
        let (lives, held): (Vec<_>, Vec<_>) = (0..count).map(|i| self.life(i, pictures)).unzip();
        let len = |i: usize| match lives[i].is_never() {
            true => 0,
            false => self.specs[i].layout(held[i]).len(),
        };
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_key(|&i| (std::cmp::Reverse(len(i)), i));
        let mut offsets = vec![0; count];
        let mut placed: Vec<usize> = Vec::new();
        for &i in &order {
            let mut taken: Vec<Range<usize>> = placed
                .iter()
                .filter(|&&j| lives[i].meets(lives[j]))
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
        let all = (0..count).map(|i| offsets[i] + len(i)).max().unwrap_or(0);
        Plan { offsets, held, len: all }
    }

    /// Makes room for a batch of this many pictures; contents are lost where the number changes.
    /// All of them are read and written.
    pub fn resize(&mut self, pictures: usize) -> Result<(), EngineError> {
        if self.pictures != pictures {
            let plan = self.plan(pictures);
            if self.memory.len() < plan.len {
                // The old memory goes first, so that both need not fit.
                (self.memory, self.pictures, self.part) = (Buffer::default(), 0, 0..0);
                self.memory = Buffer::try_zeroed(plan.len).ok_or(EngineError::Memory {
                    pictures,
                    mebibytes: plan.len.saturating_mul(size_of::<f32>()) >> 20,
                })?;
            }
            (self.plan, self.pictures) = (plan, pictures);
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
        self.plan(1).len * size_of::<f32>()
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
        let whole = self.plan.held[buffer] == self.pictures;
        let before = if whole { self.part.start } else { 0 };
        let layout = self.specs[buffer].layout(self.part.len());
        let start = self.plan.offsets[buffer] + before * layout.picture_stride();
        start..start + layout.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use inception_kernels::Border;

    #[test]
    fn what_a_loop_shares_keeps_all_pictures() {
        let during = |first, last| Lifetime { first, last };
        let lives = [(0, 1), (3, 4), (4, 5), (5, 6), (2, 7)];
        let lifetimes = lives.map(|(first, last)| during(first, last)).to_vec();
        let spec = TensorSpec { blocks: 1, height: 1, width: 1, border: Border::default() };
        let loops =
            vec![Loop { steps: during(0, 4), group: 2 }, Loop { steps: during(5, 6), group: 8 }];
        let arena = Arena::new(vec![spec; lives.len()], lifetimes, loops);
        let life = |buffer, pictures| {
            let (life, held) = arena.life(buffer, pictures);
            (life.first, life.last, held)
        };
        assert_eq!(life(0, 5), (0, 1, 2));
        assert_eq!(life(1, 5), (3, 4, 2));
        assert_eq!(life(2, 5), (0, 5, 5));
        assert_eq!(life(3, 5), (5, 6, 5));
        assert_eq!(life(4, 5), (0, 7, 5));
        // One group is no loop.
        assert_eq!(life(2, 2), (4, 5, 2));
        assert_eq!(life(4, 9), (0, 7, 9));
        assert_eq!(life(3, 9), (5, 6, 8));
    }
}
