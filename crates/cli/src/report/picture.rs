//! Pictures inside the page.

use std::io::Cursor;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::imageops::FilterType;
use image::{DynamicImage, ImageFormat, RgbImage};

/// The longer side of pictures on the page: enough for their place there, twice as fine.
const SIDE: u32 = 176;

/// A picture (red, green, blue, row by row) as a `data:` address: a PNG if small, so that every
/// pixel stays what it is, else a JPEG of at most [`SIDE`] pixels; `None` if the values are not
/// `width` × `height` × 3.
pub fn data_uri(width: usize, height: usize, rgb: &[u8]) -> Option<String> {
    let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    let mut picture = DynamicImage::from(RgbImage::from_raw(width, height, rgb.to_vec())?);
    let small = width.max(height) <= 64;
    if width.max(height) > SIDE {
        picture = picture.resize(SIDE, SIDE, FilterType::Triangle);
    }
    if rgb.as_chunks::<3>().0.iter().all(|[r, g, b]| r == g && g == b) {
        picture = picture.grayscale();
    }
    let (format, kind) =
        if small { (ImageFormat::Png, "png") } else { (ImageFormat::Jpeg, "jpeg") };
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).ok()?;
    Some(format!("data:image/{kind};base64,{}", BASE64_STANDARD.encode(bytes.into_inner())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pictures_keep_their_pixels_and_large_ones_shrink() {
        let decode = |uri: &str| {
            let (_, data) = uri.split_once(',').unwrap();
            image::load_from_memory(&BASE64_STANDARD.decode(data).unwrap()).unwrap()
        };
        let rgb: Vec<u8> = (0..4 * 2 * 3).map(|v| v * 10).collect();
        let uri = data_uri(4, 2, &rgb).unwrap();
        assert!(uri.starts_with("data:image/png;base64,"));
        assert_eq!(decode(&uri).to_rgb8().as_raw(), &rgb);
        let uri = data_uri(400, 200, &[90; 400 * 200 * 3]).unwrap();
        assert!(uri.starts_with("data:image/jpeg;base64,"));
        assert_eq!((decode(&uri).width(), decode(&uri).height()), (176, 88));
        assert_eq!(data_uri(4, 2, &rgb[1..]), None);
    }
}
