//! Cutting a tensor's pixels into tasks, the same ones for any number of threads.

use std::marker::PhantomData;
use std::ops::Range;

use crate::border::zero_border;
use crate::threads::Shared;
use crate::{Cpu, LANES, Layout, View, ViewMut};

/// Pixels of a task, at least: 32 KiB, beside which claiming the task costs little, and few
/// enough that a single picture's layer makes work for many threads.
pub(crate) const TASK_PIXELS: usize = 512;

/// Some rows of one channel block of a picture, to be written by one task.
pub(crate) struct Band<'a> {
    pub picture: usize,
    /// Within the view.
    pub block: usize,
    pub rows: Range<usize>,
    /// The block within the whole tensor.
    block_in_tensor: usize,
    layout: Layout,
    values: Shared<'a>,
}

impl Band<'_> {
    /// The pixels of row `y`, which is one of `rows`.
    pub fn row(&mut self, y: usize) -> &mut [f32] {
        assert!(self.rows.contains(&y), "a task's row");
        let start = self.layout.offset(self.picture, self.block_in_tensor, y, 0);
        // SAFETY: no other band has this row; the borrow of `self` keeps it from being had twice.
        unsafe { self.values.slice(start, self.layout.width * LANES) }
    }

    /// Several rows at once, all of them among `rows`; the pixels are this band's alone.
    pub fn rows_mut(&mut self, rows: Range<usize>) -> RowsMut<'_> {
        assert!(self.rows.start <= rows.start && rows.end <= self.rows.end, "a task's rows");
        let start = self.layout.offset(self.picture, self.block_in_tensor, rows.start, 0);
        // SAFETY: inside the tensor, whose size `for_each_band_of` has checked.
        let start = unsafe { self.values.at(start) };
        RowsMut { start, stride: self.layout.row_stride(), borrow: PhantomData }
    }
}

/// Some rows of a [`Band`].
#[derive(Clone, Copy)]
pub(crate) struct RowsMut<'a> {
    /// The first row's first pixel.
    pub start: *mut f32,
    /// From one row to the next.
    pub stride: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

/// Calls `work` once for each of the bands that together make up `y`; zeroes `y`'s border too
/// unless `accumulate`.
pub(crate) fn for_each_band(
    cpu: &Cpu,
    y: &mut ViewMut,
    accumulate: bool,
    work: impl Fn(&mut Band) + Sync,
) {
    let rows = TASK_PIXELS.div_ceil(y.layout.width.max(1));
    for_each_band_of(cpu, y, accumulate, rows, work);
}

/// As [`for_each_band`], with each block of each picture in one band.
pub(crate) fn for_each_block(
    cpu: &Cpu,
    y: &mut ViewMut,
    accumulate: bool,
    work: impl Fn(&mut Band) + Sync,
) {
    for_each_band_of(cpu, y, accumulate, y.layout.height, work);
}

/// As [`for_each_band`], with this many rows in a band (fewer in a block's last), in tasks of at
/// least [`TASK_PIXELS`] where the tensor has them.
pub(crate) fn for_each_band_of(
    cpu: &Cpu,
    y: &mut ViewMut,
    accumulate: bool,
    rows: usize,
    work: impl Fn(&mut Band) + Sync,
) {
    assert_whole(&y.as_view());
    let (layout, first_block, blocks) = (y.layout, y.first_block, y.blocks);
    let rows = rows.clamp(1, layout.height.max(1));
    let bands = layout.height.div_ceil(rows).max(1);
    let total = layout.pictures * blocks * bands;
    let together = TASK_PIXELS.div_ceil((rows * layout.width).max(1));
    let values = Shared::new(y.data);
    cpu.for_each(total.div_ceil(together), |task| {
        for i in task * together..total.min((task + 1) * together) {
            // Rows outermost, as convolutions have them: a thread's are those that it wrote itself.
            let (picture, first, block) =
                (i / blocks / bands, i / blocks % bands * rows, i % blocks);
            let block_in_tensor = first_block + block;
            if first == 0 && !accumulate {
                // SAFETY: bands write pixels only, and one band of each block comes here.
                unsafe { zero_border(values, &layout, picture, block_in_tensor) };
            }
            let rows = first..layout.height.min(first + rows);
            work(&mut Band { picture, block, rows, block_in_tensor, layout, values });
        }
    });
}

/// The pixels of a row; `block` counts within the view.
pub(crate) fn row<'a>(x: &View<'a>, picture: usize, block: usize, y: usize) -> &'a [f32] {
    let start = x.offset(picture, block, y, 0);
    &x.data[start..start + x.layout.width * LANES]
}

/// Panics unless the view's data are as large as its layout says and the view lies in it: its
/// fields are open to all.
pub(crate) fn assert_whole(x: &View) {
    assert_eq!(x.data.len(), x.layout.len(), "a view's data has its layout's length");
    assert!(x.first_block + x.blocks <= x.layout.blocks, "the view lies in its tensor");
}

/// Panics unless both hold as many pictures, blocks, rows and columns.
pub(crate) fn assert_same_size(x: &View, y: &View) {
    let size = |v: &View| (v.layout.pictures, v.blocks, v.layout.height, v.layout.width);
    assert_eq!(size(x), size(y), "pictures, blocks, height and width are the same");
}
