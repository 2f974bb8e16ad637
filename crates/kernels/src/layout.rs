//! How tensors lie in memory: pictures × channel blocks × rows × columns × 16 channels.
//!
//! Sixteen consecutive channels of a pixel are one cache line, whatever the vector width of the
//! machine, so one layout serves all instruction sets. Two invariants hold for every tensor:
//! the *border* around the pixels and the *spare lanes* of ragged blocks are zero. Who writes a
//! tensor writes its border too; thus no kernel ever tests whether a window leaves the picture.

use std::ops::{Deref, DerefMut};

/// Channels in a block.
pub const LANES: usize = 16;

/// Which of a tensor's lanes hold channels. A concatenation starts every branch at a new block,
/// so a ragged branch leaves spare lanes inside the tensor, not only at its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Channels {
    /// Channels of each contiguous run, none zero.
    segments: Vec<usize>,
}

impl Channels {
    /// One run of `count` channels.
    pub fn new(count: usize) -> Self {
        Self { segments: vec![count] }
    }

    /// Those of tensors laid one after the other.
    pub fn concat<'a>(parts: impl IntoIterator<Item = &'a Channels>) -> Self {
        Self {
            segments: parts.into_iter().flat_map(|part| part.segments.iter().copied()).collect(),
        }
    }

    /// Number of channels.
    pub fn count(&self) -> usize {
        self.segments.iter().sum()
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.segments.iter().map(|n| n.div_ceil(LANES)).sum()
    }

    /// Channels held by each block in turn: 16, but less in a run's last block.
    pub fn per_block(&self) -> impl Iterator<Item = usize> + '_ {
        self.segments
            .iter()
            .flat_map(|&n| (0..n.div_ceil(LANES)).map(move |b| (n - b * LANES).min(LANES)))
    }

    /// The lane (block × 16 + place in the block) of each channel in turn.
    pub fn lanes(&self) -> impl Iterator<Item = usize> + '_ {
        self.per_block().enumerate().flat_map(|(b, n)| (0..n).map(move |i| b * LANES + i))
    }
}

/// Zeros kept around each block's pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Border {
    pub top: usize,
    pub bottom: usize,
    pub left: usize,
    pub right: usize,
}

impl Border {
    /// The smallest border that contains both.
    pub fn union(self, other: Border) -> Border {
        Border {
            top: self.top.max(other.top),
            bottom: self.bottom.max(other.bottom),
            left: self.left.max(other.left),
            right: self.right.max(other.right),
        }
    }

    /// Whether `other` fits inside.
    pub fn contains(self, other: Border) -> bool {
        self.union(other) == self
    }
}

/// Sizes and strides of a blocked tensor. Strides count `f32`s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Pictures in the batch.
    pub pictures: usize,
    /// Channel blocks of a picture.
    pub blocks: usize,
    /// Rows, without the border.
    pub height: usize,
    /// Columns, without the border.
    pub width: usize,
    /// Zeros around.
    pub border: Border,
}

impl Layout {
    /// From one row to the next.
    pub fn row_stride(&self) -> usize {
        (self.border.left + self.width + self.border.right) * LANES
    }

    /// From one channel block to the next.
    pub fn block_stride(&self) -> usize {
        (self.border.top + self.height + self.border.bottom) * self.row_stride()
    }

    /// From one picture to the next.
    pub fn picture_stride(&self) -> usize {
        self.blocks * self.block_stride()
    }

    /// Values in all, the border's included.
    pub fn len(&self) -> usize {
        self.pictures * self.picture_stride()
    }

    /// Whether the tensor holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the pixel's sixteen channels start.
    pub fn offset(&self, picture: usize, block: usize, y: usize, x: usize) -> usize {
        picture * self.picture_stride()
            + block * self.block_stride()
            + (self.border.top + y) * self.row_stride()
            + (self.border.left + x) * LANES
    }
}

/// Some consecutive channel blocks of a tensor, to read.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The whole tensor's values: [`Layout::len`] of them.
    pub data: &'a [f32],
    /// The whole tensor's layout.
    pub layout: Layout,
    /// First block of the view.
    pub first_block: usize,
    /// Blocks of the view.
    pub blocks: usize,
}

impl<'a> View<'a> {
    /// The whole tensor. Panics where the length does not match the layout.
    pub fn new(data: &'a [f32], layout: Layout) -> Self {
        assert_eq!(data.len(), layout.len(), "a view's data has its layout's length");
        Self { data, layout, first_block: 0, blocks: layout.blocks }
    }

    /// `count` blocks from `first` on, counted within this view.
    pub fn blocks(self, first: usize, count: usize) -> Self {
        assert!(first + count <= self.blocks, "blocks lie inside the view");
        Self { first_block: self.first_block + first, blocks: count, ..self }
    }

    /// Where the pixel's sixteen channels start in `data`; `block` counts within the view.
    pub fn offset(&self, picture: usize, block: usize, y: usize, x: usize) -> usize {
        self.layout.offset(picture, self.first_block + block, y, x)
    }
}

/// Some consecutive channel blocks of a tensor, to write.
pub struct ViewMut<'a> {
    /// The whole tensor's values: [`Layout::len`] of them.
    pub data: &'a mut [f32],
    /// The whole tensor's layout.
    pub layout: Layout,
    /// First block of the view.
    pub first_block: usize,
    /// Blocks of the view.
    pub blocks: usize,
}

impl<'a> ViewMut<'a> {
    /// The whole tensor. Panics where the length does not match the layout.
    pub fn new(data: &'a mut [f32], layout: Layout) -> Self {
        assert_eq!(data.len(), layout.len(), "a view's data has its layout's length");
        let blocks = layout.blocks;
        Self { data, layout, first_block: 0, blocks }
    }

    /// `count` blocks from `first` on, counted within this view.
    pub fn blocks(self, first: usize, count: usize) -> Self {
        assert!(first + count <= self.blocks, "blocks lie inside the view");
        Self { first_block: self.first_block + first, blocks: count, ..self }
    }

    /// The same blocks, to read.
    pub fn as_view(&self) -> View<'_> {
        View {
            data: self.data,
            layout: self.layout,
            first_block: self.first_block,
            blocks: self.blocks,
        }
    }

    /// Where the pixel's sixteen channels start in `data`; `block` counts within the view.
    pub fn offset(&self, picture: usize, block: usize, y: usize, x: usize) -> usize {
        self.layout.offset(picture, self.first_block + block, y, x)
    }
}

#[repr(C, align(64))]
#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
struct CacheLine([f32; LANES]);

/// Zeroed memory that starts on a cache line, for tensors and packed weights.
#[derive(Clone, Default)]
pub struct Buffer(Vec<CacheLine>);

impl Buffer {
    /// At least `len` zeros, rounded up to whole cache lines.
    pub fn zeroed(len: usize) -> Self {
        Self(bytemuck::zeroed_vec(len.div_ceil(LANES)))
    }

    /// The same, or `None` where the system has no such amount to give.
    pub fn try_zeroed(len: usize) -> Option<Self> {
        bytemuck::allocation::try_zeroed_vec(len.div_ceil(LANES)).ok().map(Self)
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}
