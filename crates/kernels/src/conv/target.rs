//! Where a convolution's results go.

use super::split::Split;
use crate::border::zero_border;
use crate::threads::Shared;
use crate::{Border, Cpu, LANES, Layout, ViewMut};

/// A view that tasks write, each its own part.
pub(super) struct Target<'a> {
    pub data: Shared<'a>,
    pub layout: Layout,
    first_block: usize,
    blocks: usize,
}

/// All views of one convolution.
pub(super) struct Targets<'a>(Vec<Target<'a>>);

impl<'a> Targets<'a> {
    pub fn new(views: &'a mut [ViewMut]) -> Self {
        let target = |view: &'a mut ViewMut| Target {
            layout: view.layout,
            first_block: view.first_block,
            blocks: view.blocks,
            data: Shared::new(view.data),
        };
        Self(views.iter_mut().map(target).collect())
    }

    /// The one that a block is in, counted through all of them, and its number in that tensor.
    pub fn of(&self, mut block: usize) -> (&Target<'a>, usize) {
        for target in &self.0 {
            if block < target.blocks {
                return (target, target.first_block + block);
            }
            block -= target.blocks;
        }
        panic!("all blocks are in a target")
    }

    /// Does numbered tasks in parallel; each zeroes its share of the targets' borders too, if asked to.
    /// As tasks of their own these would shift the threads' shares of the others, and with them what
    /// each finds in its cache.
    ///
    /// # Safety
    /// Nobody else uses the borders meanwhile.
    pub unsafe fn for_each(
        &self,
        cpu: &Cpu,
        tasks: usize,
        border: bool,
        work: impl Fn(usize) + Sync,
    ) {
        // SAFETY: the caller's promise.
        unsafe { self.share(cpu, tasks, border, |claims| claims.for_each(&work)) };
    }

    /// The same with one call for each thread that comes, which claims tasks one by one.
    ///
    /// # Safety
    /// As for [`Targets::for_each`].
    pub unsafe fn share(
        &self,
        cpu: &Cpu,
        tasks: usize,
        border: bool,
        work: impl Fn(&mut dyn Iterator<Item = usize>) + Sync,
    ) {
        // Targets without pixels may have borders.
        let shares = tasks.max(1);
        cpu.share(shares, |claims| {
            work(&mut claims.filter(|&task| {
                if border {
                    // SAFETY: each share is claimed once; the caller's promise.
                    unsafe { self.zero_borders(task, shares) };
                }
                task < tasks
            }));
        });
    }

    /// Zeroes one of so many shares of the borders of all pictures and blocks.
    ///
    /// # Safety
    /// Nobody else uses the share's borders meanwhile.
    unsafe fn zero_borders(&self, share: usize, shares: usize) {
        for Target { data, layout, first_block, blocks } in &self.0 {
            if layout.border == Border::default() {
                continue;
            }
            let all = Split { total: layout.pictures * blocks, parts: shares };
            for i in all.part(share) {
                // SAFETY: the caller's promise.
                unsafe { zero_border(*data, layout, i / blocks, first_block + i % blocks) };
            }
        }
    }
}

/// A pixel of the batch.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub picture: usize,
    pub row: usize,
    pub column: usize,
}

/// Where a block's outputs lie.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    start: *mut f32,
    picture: usize,
    row: usize,
}

impl Origin {
    pub fn of(targets: &Targets, block: usize) -> Self {
        let (Target { data, layout, .. }, block) = targets.of(block);
        // SAFETY: an output.
        let start = unsafe { data.at(layout.offset(0, block, 0, 0)) };
        Self { start, picture: layout.picture_stride(), row: layout.row_stride() }
    }

    #[inline(always)]
    pub fn at(&self, Place { picture, row, column }: Place) -> *mut f32 {
        self.start.wrapping_add(picture * self.picture + row * self.row + column * LANES)
    }
}
