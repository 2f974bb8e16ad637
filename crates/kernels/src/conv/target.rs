//! Where a convolution's results go.

use crate::border::zero_border;
use crate::threads::Shared;
use crate::{Border, Layout, ViewMut};

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

    /// Number of borders to zero: one a picture, if there are any at all.
    pub fn borders(&self) -> usize {
        let bordered = |target: &&Target| target.layout.border != Border::default();
        self.0.iter().find(bordered).map_or(0, |target| target.layout.pictures)
    }

    /// Zeroes the borders of one picture.
    ///
    /// # Safety
    /// Nobody else uses them meanwhile.
    pub unsafe fn zero_border(&self, picture: usize) {
        for Target { data, layout, first_block, blocks } in &self.0 {
            for block in *first_block..first_block + blocks {
                // SAFETY: the caller's promise.
                unsafe { zero_border(*data, layout, picture, block) };
            }
        }
    }
}
