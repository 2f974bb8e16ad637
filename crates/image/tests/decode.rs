//! Every kind of picture, against what was encoded or what Pillow reads.

mod common;

use common::{colours, data, encode, greys, with_orientation};
use image::{DynamicImage, ImageFormat, Rgba, RgbaImage};
use inception_image::{Picture, Problem, decode};

fn pixel(picture: &Picture, x: usize, y: usize) -> &[u8] {
    let channels = picture.channels();
    let at = (y * picture.width() + x) * channels;
    &picture.values()[at..at + channels]
}

/// Pixels (0, 0), (7, 5), (20, 12), (31, 23) are what Pillow prints in `make.py`, within
/// `tolerance`: decoders round and upsample colour differently.
fn assert_as_pillow(name: &str, bytes: &[u8], expected: [[u8; 3]; 4], tolerance: u8) {
    let picture = decode(bytes, name).unwrap();
    assert_eq!((picture.width(), picture.height(), picture.channels()), (32, 24, 3), "{name}");
    for ((x, y), expected) in [(0, 0), (7, 5), (20, 12), (31, 23)].into_iter().zip(expected) {
        let got = pixel(&picture, x, y);
        assert!(
            got.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= tolerance),
            "{name} at {x}, {y}: {got:?}, Pillow {expected:?}"
        );
    }
}

fn assert_close(name: &str, picture: &Picture, expected: &[u8], tolerance: u8) {
    assert_eq!(picture.values().len(), expected.len(), "{name}");
    let worst = picture.values().iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(worst <= Some(tolerance), "{name}: off by {worst:?}");
}

#[test]
fn colour_in_every_format() {
    let picture = colours(37, 21);
    for (format, tolerance) in [
        (ImageFormat::Png, 0),
        (ImageFormat::WebP, 0),
        (ImageFormat::Bmp, 0),
        (ImageFormat::Tiff, 0),
        (ImageFormat::Gif, 40), // 256 colours
        (ImageFormat::Jpeg, 12),
    ] {
        let decoded = decode(&encode(picture.clone(), format), "test").unwrap();
        assert_eq!((decoded.width(), decoded.height()), (37, 21));
        assert_close(&format!("{format:?}"), &decoded, picture.as_raw(), tolerance);
    }
}

#[test]
fn grey_stays_grey() {
    let picture = greys(33, 18);
    for (format, tolerance) in
        [(ImageFormat::Png, 0), (ImageFormat::Tiff, 0), (ImageFormat::Jpeg, 24)]
    {
        let decoded = decode(&encode(picture.clone(), format), "test").unwrap();
        assert_eq!(decoded.channels(), 1, "{format:?}");
        assert_close(&format!("{format:?}"), &decoded, picture.as_raw(), tolerance);
    }
}

#[test]
fn sixteen_bits_are_rounded_to_eight() {
    let picture = DynamicImage::from(colours(9, 8));
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        let decoded = decode(&encode(picture.to_rgb16(), format), "test").unwrap();
        assert_close("rgb", &decoded, picture.to_rgb8().as_raw(), 0);
        let decoded = decode(&encode(picture.to_luma16(), format), "test").unwrap();
        assert_eq!(decoded.channels(), 1);
        assert_close("grey", &decoded, picture.to_luma8().as_raw(), 1);
    }
}

#[test]
fn transparency_is_laid_on_white() {
    let picture =
        RgbaImage::from_fn(4, 1, |x, _| Rgba([200, 100, 0, [0, 51, 128, 255][x as usize]]));
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Tiff] {
        let decoded = decode(&encode(picture.clone(), format), "test").unwrap();
        let expected = [255, 255, 255, 244, 224, 204, 227, 177, 127, 200, 100, 0];
        assert_close(&format!("{format:?}"), &decoded, &expected, 0);
    }
    let grey = image::GrayAlphaImage::from_raw(2, 1, vec![100, 255, 100, 51]).unwrap();
    let decoded = decode(&encode(grey, ImageFormat::Png), "test").unwrap();
    assert_eq!((decoded.channels(), decoded.values()), (1, &[100, 224][..]));
}

#[test]
fn as_pillow_reads_them() {
    let rgb = [[0, 0, 0], [57, 55, 56], [164, 133, 151], [255, 255, 255]];
    assert_as_pillow("progressive.jpg", &data("progressive.jpg"), rgb, 1);
    assert_as_pillow("lzw.tiff", &data("lzw.tiff"), rgb, 2);
    let halved = [[0, 0, 2], [57, 56, 54], [164, 133, 149], [255, 253, 255]];
    assert_as_pillow("halved.jpg", &data("halved.jpg"), halved, 4);
    assert_as_pillow("restart.jpg", &data("restart.jpg"), halved, 4);
    let webp = [[1, 4, 0], [54, 53, 56], [166, 135, 155], [255, 253, 252]];
    assert_as_pillow("lossy.webp", &data("lossy.webp"), webp, 4);
    let alpha = [[1, 4, 0], [152, 151, 153], [195, 173, 184], [255, 253, 253]];
    assert_as_pillow("lossy-alpha.webp", &data("lossy-alpha.webp"), alpha, 4);
    let palette = [[24, 22, 23], [24, 83, 49], [152, 149, 151], [222, 221, 221]];
    assert_as_pillow("palette.png", &data("palette.png"), palette, 0);
    assert_as_pillow("palette.bmp", &data("palette.bmp"), palette, 0);
}

#[test]
fn cmyk_and_ycck_as_pillow_reads_them() {
    let cmyk = data("cmyk.jpg");
    let expected = [[254, 254, 254], [173, 176, 175], [83, 112, 96], [0, 1, 1]];
    assert_as_pillow("CMYK", &cmyk, expected, 1);
    // The same bytes declared as YCCK: the transform is the last byte of Adobe's segment.
    let adobe = cmyk.windows(5).position(|w| w == b"Adobe").unwrap();
    let mut ycck = cmyk.clone();
    ycck[adobe + 11] = 2;
    let expected = [[0, 133, 0], [0, 117, 0], [183, 135, 162], [242, 115, 242]];
    assert_as_pillow("YCCK", &ycck, expected, 2);
    // And without the segment.
    let mut plain = cmyk.clone();
    plain.drain(adobe - 4..adobe + 12);
    let expected = [[254, 254, 254], [173, 176, 175], [83, 112, 96], [0, 1, 1]];
    assert_as_pillow("CMYK without Adobe's segment", &plain, expected, 1);
}

#[test]
fn grey_jpeg_with_adobe_segment() {
    let grey = encode(greys(16, 16), ImageFormat::Jpeg);
    let mut bytes = grey[..2].to_vec();
    bytes.extend_from_slice(b"\xFF\xEE\x00\x0EAdobe\x00\x64\x00\x00\x00\x00\x00");
    bytes.extend_from_slice(&grey[2..]);
    assert_eq!(decode(&bytes, "test").unwrap(), decode(&grey, "test").unwrap());
}

#[test]
fn a_bilevel_picture_has_both_levels() {
    let decoded = decode(&data("bilevel.png"), "test").unwrap();
    assert_eq!(decoded.channels(), 1);
    assert_eq!((pixel(&decoded, 0, 0)[0], pixel(&decoded, 31, 0)[0]), (0, 255));
    assert!(decoded.values().iter().all(|v| [0, 255].contains(v)));
}

#[test]
fn every_orientation_comes_out_upright() {
    let upright = colours(24, 16);
    // How a camera stores the upright scene, by the EXIF specification's "row 0 is …, column 0
    // is …": the inverse of what the decoder has to do.
    use image::imageops::{flip_horizontal, flip_vertical, rotate90, rotate180, rotate270};
    let stored = [
        upright.clone(),                      // top, left
        flip_horizontal(&upright),            // top, right
        rotate180(&upright),                  // bottom, right
        flip_vertical(&upright),              // bottom, left
        flip_horizontal(&rotate90(&upright)), // left, top
        rotate270(&upright),                  // right, top
        flip_vertical(&rotate90(&upright)),   // right, bottom
        rotate90(&upright),                   // left, bottom
    ];
    for (orientation, stored) in (1..).zip(&stored) {
        let jpeg = encode(stored.clone(), ImageFormat::Jpeg);
        for big_endian in [false, true] {
            let bytes = with_orientation(&jpeg, orientation, big_endian);
            let decoded = decode(&bytes, "test").unwrap();
            assert_eq!((decoded.width(), decoded.height()), (24, 16), "{orientation}");
            assert_close(&format!("orientation {orientation}"), &decoded, upright.as_raw(), 14);
        }
    }
}

#[test]
fn an_unknown_orientation_is_none() {
    let jpeg = encode(colours(24, 16), ImageFormat::Jpeg);
    for orientation in [0, 9, 0xFFFF] {
        let decoded = decode(&with_orientation(&jpeg, orientation, true), "test").unwrap();
        assert_eq!(decoded, decode(&jpeg, "test").unwrap());
    }
}

#[test]
fn the_content_counts_not_the_extension() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("really-a-png.jpg");
    std::fs::write(&path, encode(colours(5, 4), ImageFormat::Png)).unwrap();
    assert_eq!(inception_image::open(&path).unwrap().width(), 5);
}

#[test]
fn the_first_frame_of_an_animation() {
    let frame = |colour: [u8; 4]| image::Frame::new(RgbaImage::from_pixel(3, 2, Rgba(colour)));
    let mut bytes = Vec::new();
    image::codecs::gif::GifEncoder::new(&mut bytes)
        .encode_frames([frame([250, 10, 20, 255]), frame([0, 0, 255, 255])])
        .unwrap();
    let decoded = decode(&bytes, "test").unwrap();
    assert_eq!((decoded.width(), decoded.height()), (3, 2));
    assert_close("gif", &decoded, &[250, 10, 20].repeat(6), 8);
}

#[test]
fn what_is_no_picture_says_so() {
    let problem = |bytes: &[u8]| decode(bytes, "folder/cat.jpg").unwrap_err();
    assert!(matches!(problem(b"").problem, Problem::Empty));
    let html = problem(b"<html><body>Not found</body></html>");
    assert!(matches!(html.problem, Problem::NotAPicture(_)));
    let message = html.to_string();
    assert!(message.starts_with("folder/cat.jpg: not a picture"), "{message}");
    assert!(message.contains("text"), "{message}");
    // Recognised, but not read.
    assert!(problem(b"qoif\0\0\0\x01\0\0\0\x01\x03\0").to_string().contains("Qoi"));
    assert!(matches!(problem(&[7; 100]).problem, Problem::NotAPicture(_)));
    let missing = inception_image::open("no/such/file.png".as_ref()).unwrap_err();
    assert!(matches!(missing.problem, Problem::Read(_)), "{missing}");
}

#[test]
fn a_decompression_bomb_is_refused_before_it_takes_memory() {
    // A PNG header that claims 100,000 × 100,000 pixels, with its checksum.
    let mut png = encode(colours(2, 2), ImageFormat::Png);
    png[16..24].copy_from_slice(&[0, 1, 0x86, 0xA0, 0, 1, 0x86, 0xA0]);
    let mut crc = flate2::Crc::new();
    crc.update(&png[12..29]);
    png[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    let error = decode(&png, "bomb.png").unwrap_err();
    assert!(matches!(error.problem, Problem::TooLarge(_)), "{error}");

    // JPEG: height and width follow length and precision in the frame header.
    let mut jpeg = encode(colours(8, 8), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xFF; 4]);
    let error = decode(&jpeg, "bomb.jpg").unwrap_err();
    assert!(matches!(error.problem, Problem::TooLarge(_)), "{error}");

    let mut bmp = encode(colours(8, 8), ImageFormat::Bmp);
    bmp[18..22].copy_from_slice(&60_000u32.to_le_bytes());
    bmp[22..26].copy_from_slice(&60_000u32.to_le_bytes());
    let error = decode(&bmp, "bomb.bmp").unwrap_err();
    assert!(matches!(error.problem, Problem::TooLarge(_)), "{error}");
}
