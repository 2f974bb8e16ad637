//! Writing the zeros around a block's pixels.

use crate::threads::Shared;
use crate::{LANES, Layout};

/// Zeroes the border of one block (counted within the whole tensor) of one picture.
///
/// # Safety
/// `tensor` is laid out so, and nobody else uses the block's border meanwhile.
pub(crate) unsafe fn zero_border(
    tensor: Shared<'_>,
    layout: &Layout,
    picture: usize,
    block: usize,
) {
    let start = picture * layout.picture_stride() + block * layout.block_stride();
    let row = layout.row_stride();
    let border = layout.border;
    // From the end of one row's pixels to the start of the next row's is one run of zeros.
    let gap = (border.right + border.left) * LANES;
    let first = border.top * row + border.left * LANES;
    let end = start + layout.block_stride();
    // SAFETY: inside the block; the caller's promise.
    let zero = |from: usize, len: usize| unsafe { tensor.slice(from, len) }.fill(0.0);
    if layout.height == 0 || layout.width == 0 {
        zero(start, layout.block_stride());
        return;
    }
    zero(start, first);
    let mut next = start + first + layout.width * LANES;
    if gap > 0 {
        for _ in 1..layout.height {
            zero(next, gap);
            next += row;
        }
    } else {
        next += (layout.height - 1) * row;
    }
    zero(next, end - next);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Border;

    #[test]
    fn the_border_and_nothing_else() {
        for (height, width) in [(1, 1), (3, 2), (2, 5), (0, 2)] {
            for bits in 0..16 {
                let side = |i: usize| (bits >> i & 1) * (i + 1);
                let border =
                    Border { top: side(0), bottom: side(1), left: side(2), right: side(3) };
                let layout = Layout { pictures: 2, blocks: 3, height, width, border };
                let mut data = vec![1.0; layout.len()];
                // SAFETY: the only user.
                unsafe { zero_border(Shared::new(&mut data), &layout, 1, 1) };
                let mut expected = vec![1.0; layout.len()];
                let start = layout.picture_stride() + layout.block_stride();
                expected[start..start + layout.block_stride()].fill(0.0);
                for y in 0..height {
                    let pixels = layout.offset(1, 1, y, 0);
                    expected[pixels..pixels + width * LANES].fill(1.0);
                }
                assert_eq!(data, expected);
            }
        }
    }
}
