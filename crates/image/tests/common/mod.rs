//! Pictures made for the tests.

// Each test file uses its own part of this.
#![allow(dead_code)]

use std::io::Cursor;
use std::path::PathBuf;

use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};

/// A file of `tests/data`; `make.py` there says where it comes from.
pub fn data(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// `count` bytes, the same as `noise` of `make.py`.
pub fn noise(count: usize) -> Vec<u8> {
    let mut state: u64 = 1;
    let mut next = || {
        state = (state * 1103515245 + 12345) % (1 << 31);
        (state >> 23) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// A colour picture whose quarters differ, with smooth gradients that JPEG keeps well.
pub fn colours(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (x * 255 / width, y * 255 / height);
        image::Rgb([x as u8, y as u8, ((x + y) / 2) as u8])
    })
}

/// A grey gradient.
pub fn greys(width: u32, height: u32) -> GrayImage {
    GrayImage::from_fn(width, height, |x, y| image::Luma([((x * 3 + y * 5) % 256) as u8]))
}

/// The bytes of a file in `format`.
pub fn encode(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    picture.into().write_to(&mut Cursor::new(&mut bytes), format).expect("encodes");
    bytes
}

/// A JPEG with an EXIF segment that gives `orientation`, in either byte order.
pub fn with_orientation(jpeg: &[u8], orientation: u16, big_endian: bool) -> Vec<u8> {
    let two = |v: u16| {
        if big_endian { v.to_be_bytes() } else { v.to_le_bytes() }
    };
    let four = |v: u32| {
        if big_endian { v.to_be_bytes() } else { v.to_le_bytes() }
    };
    let mut exif = b"Exif\0\0".to_vec();
    exif.extend_from_slice(if big_endian { b"MM" } else { b"II" });
    exif.extend_from_slice(&two(42));
    exif.extend_from_slice(&four(8)); // offset of the directory
    exif.extend_from_slice(&two(1)); // entries
    exif.extend_from_slice(&two(0x0112)); // orientation
    exif.extend_from_slice(&two(3)); // a 16-bit number
    exif.extend_from_slice(&four(1)); // one of it
    exif.extend_from_slice(&two(orientation));
    exif.extend_from_slice(&[0; 6]); // padding, no further directory
    let mut bytes = jpeg[..2].to_vec();
    bytes.extend_from_slice(&[0xFF, 0xE1]);
    bytes.extend_from_slice(&(exif.len() as u16 + 2).to_be_bytes());
    bytes.extend_from_slice(&exif);
    bytes.extend_from_slice(&jpeg[2..]);
    bytes
}

/// One small file of every kind, with its name.
pub fn samples() -> Vec<(String, Vec<u8>)> {
    let mut samples: Vec<(String, Vec<u8>)> = [
        "bilevel.png",
        "cmyk.jpg",
        "halved.jpg",
        "lossy-alpha.webp",
        "lossy.webp",
        "lzw.tiff",
        "palette.bmp",
        "palette.png",
        "progressive.jpg",
        "restart.jpg",
    ]
    .iter()
    .map(|&name| (name.to_string(), data(name)))
    .collect();
    let rgb = DynamicImage::from(colours(19, 13));
    for format in [
        ImageFormat::Jpeg,
        ImageFormat::Png,
        ImageFormat::WebP,
        ImageFormat::Bmp,
        ImageFormat::Gif,
        ImageFormat::Tiff,
    ] {
        samples.push((format!("rgb {format:?}"), encode(rgb.clone(), format)));
    }
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff] {
        samples.push((format!("grey {format:?}"), encode(rgb.to_luma8(), format)));
    }
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        samples.push((format!("grey16 {format:?}"), encode(rgb.to_luma16(), format)));
        samples.push((format!("rgb16 {format:?}"), encode(rgb.to_rgb16(), format)));
        samples.push((format!("rgba {format:?}"), encode(rgb.to_rgba8(), format)));
    }
    let jpeg = encode(rgb, ImageFormat::Jpeg);
    samples.push(("turned Jpeg".into(), with_orientation(&jpeg, 6, true)));
    samples
}
