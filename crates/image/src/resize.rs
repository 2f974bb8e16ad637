//! Resampling of a picture's channel, antialiased, in `f32`.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::F32;
use fast_image_resize::{Filter as CustomFilter, FilterType, ResizeAlg, ResizeOptions, Resizer};
use inception_net::preprocessing::Filter;

/// A rectangle of whole pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) top: usize,
    pub(crate) left: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// A rectangle whose edges may lie between pixels; pixel (0, 0) covers 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Area {
    pub(crate) top: f64,
    pub(crate) left: f64,
    pub(crate) height: f64,
    pub(crate) width: f64,
}

impl Area {
    /// The pixels that a filter reads when this area becomes `height` × `width` pixels, as far
    /// as they lie within `bounds`.
    pub(crate) fn reach(&self, height: usize, width: usize, bounds: Bounds) -> Bounds {
        let reach = |from: f64, length: f64, size: usize, low: usize, count: usize| {
            // The widest filter reaches three pixels of the coarser grid; one for rounding.
            let margin = 3.0 * (length / size as f64).max(1.0) + 1.0;
            let start = ((from - margin).floor().max(0.0) as usize).clamp(low, low + count - 1);
            let end = ((from + length + margin).ceil() as usize).clamp(start + 1, low + count);
            (start, end - start)
        };
        let (top, rows) = reach(self.top, self.height, height, bounds.top, bounds.height);
        let (left, columns) = reach(self.left, self.width, width, bounds.left, bounds.width);
        Bounds { top, left, height: rows, width: columns }
    }
}

/// Resamples `area` of a channel to `height` × `width` values, row by row.
///
/// `channel` gives the values of the pixels in `bounds`, row by row; the filter sees no others,
/// as if the picture ended there. `area` is in the whole picture's coordinates. With `area` equal
/// to `bounds` this is PIL's `resize` of an `F` image and torchvision's antialiased `resize` of a
/// float tensor: the filter widens with the scale when the picture shrinks, and values are not
/// cut off at 0 and 255 where the filter overshoots.
pub(crate) fn resample(
    channel: &[u8],
    bounds: Bounds,
    area: Area,
    (height, width): (usize, usize),
    filter: Filter,
) -> Vec<f32> {
    let source: Vec<F32> = channel.iter().map(|v| F32::new(f32::from(*v))).collect();
    let mut target = vec![F32::new(0.0); height * width];
    // Rounding must not let the area reach over the edge, which would be refused.
    let left = (area.left - bounds.left as f64).clamp(0.0, bounds.width as f64);
    let top = (area.top - bounds.top as f64).clamp(0.0, bounds.height as f64);
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(match filter {
            Filter::Bilinear => FilterType::Bilinear,
            Filter::Bicubic => FilterType::Custom(
                CustomFilter::new("cubic", cubic, 2.0).expect("a finite support"),
            ),
            Filter::Lanczos => FilterType::Lanczos3,
        }))
        .crop(
            left,
            top,
            area.width.min(bounds.width as f64 - left),
            area.height.min(bounds.height as f64 - top),
        );
    let source = TypedImageRef::new(bounds.width as u32, bounds.height as u32, &source)
        .expect("as many values as pixels");
    let mut image = TypedImage::from_pixels_slice(width as u32, height as u32, &mut target)
        .expect("as many values as pixels");
    Resizer::new().resize_typed(&source, &mut image, &options).expect("area within bounds");
    target.into_iter().map(|v| v.0).collect()
}

/// Cubic convolution with a = -1/2 (Keys 1981), as PIL and torchvision's antialiased resize have
/// it.
///
/// The resizer leaves out weights of 0 at the ends of a window and takes the first and the last
/// window's ends for those of all (6.1.0). Where a picture is enlarged and the first or last pixel
/// lies on one of the source, whose neighbours then weigh nothing, it lost the other windows' rows.
/// So within its support this filter is never exactly 0.
fn cubic(x: f64) -> f64 {
    let x = x.abs();
    let weight = match x {
        0.0..1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        1.0..2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
        _ => return 0.0,
    };
    if weight == 0.0 { f64::MIN_POSITIVE } else { weight }
}
