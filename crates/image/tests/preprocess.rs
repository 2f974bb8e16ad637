//! Resizing, cropping and normalising, against torchvision and Pillow (`data/make.py`).

mod common;

use std::f64::consts::PI;

use common::{data, noise};
use inception_image::{Crops, Picture, Preprocessor, Problem, decode};
use inception_net::preprocessing::{
    ChannelOrder, Filter, Preprocessing, Protocol, Resize, Rounding,
};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Recorded {
    resized: Vec<Resized>,
    preprocessed: Vec<Preprocessed>,
}

#[derive(Deserialize)]
struct Resized {
    filter: Filter,
    height: usize,
    width: usize,
    values: Vec<f32>,
}

#[derive(Deserialize)]
struct Preprocessed {
    height: usize,
    width: usize,
    side: usize,
    crop: (usize, usize),
    values: Vec<f32>,
}

fn recorded() -> Recorded {
    serde_json::from_slice(&data("resize.json")).unwrap()
}

/// Values stay 0–255.
fn plain(order: ChannelOrder) -> Preprocessing {
    Preprocessing {
        central: None,
        resize: Resize::None,
        filter: Filter::Bilinear,
        protocol: Protocol::default(),
        crop: None,
        rounding: Rounding::default(),
        order,
        mean: vec![0.0; order.channels()],
        std: vec![1.0 / 255.0; order.channels()],
    }
}

fn tensor(p: &Preprocessing, size: (usize, usize), picture: &Picture) -> Vec<f32> {
    let shape = (p.order.channels(), size.0, size.1);
    let preprocessor = Preprocessor::new(p.clone(), shape).unwrap();
    let mut out = vec![f32::NAN; preprocessor.len()];
    preprocessor.apply(picture, &mut out).unwrap();
    out
}

fn assert_close(what: &str, got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!((got - expected).abs() <= tolerance, "{what}, value {i}: {got}, not {expected}");
    }
}

#[test]
fn resizes_as_torchvision_and_pillow() {
    let picture = Picture::grey(23, 17, noise(23 * 17));
    for Resized { filter, height, width, values } in recorded().resized {
        let resize = Resize::Exact { height, width };
        let p = Preprocessing { resize, filter, ..plain(ChannelOrder::Grey) };
        let got = tensor(&p, (height, width), &picture);
        assert_close(&format!("{filter:?} to {height}×{width}"), &got, &values, 2e-3);
    }
}

#[derive(Deserialize)]
struct Original {
    protocol: Protocol,
    filter: Filter,
    height: usize,
    width: usize,
    values: Vec<f32>,
}

fn originals() -> Vec<Original> {
    serde_json::from_slice(&data("protocols.json")).unwrap()
}

fn resized_by(original: &Original) -> Vec<f32> {
    let &Original { protocol, filter, height, width, .. } = original;
    let picture = Picture::grey(23, 17, noise(23 * 17));
    let resize = Resize::Exact { height, width };
    let p = Preprocessing { resize, filter, protocol, ..plain(ChannelOrder::Grey) };
    tensor(&p, (height, width), &picture)
}

#[test]
fn every_protocol_is_its_library() {
    let originals = originals();
    assert_eq!(originals.len(), 3 * 13);
    for original in &originals {
        let Original { protocol, filter, height, width, values } = original;
        // Recorded with three digits; PIL's are whole numbers.
        let tolerance = if *protocol == Protocol::Pil { 1e-4 } else { 255e-5 };
        let what = format!("{protocol} {filter:?} to {height}×{width}");
        assert_close(&what, &resized_by(original), values, tolerance);
    }
}

/// Taking one protocol for another is seen: no two of them agree within the tolerance, but for
/// the two that are the same by definition.
#[test]
fn no_protocol_is_another() {
    let originals: Vec<Original> =
        originals().into_iter().filter(|o| o.filter == Filter::Bilinear && o.width == 11).collect();
    for (i, a) in originals.iter().enumerate() {
        for b in &originals[..i] {
            let off = a.values.iter().zip(&b.values).map(|(a, b)| (a - b).abs());
            let off = off.fold(0.0, f32::max);
            let pair = [a.protocol, b.protocol];
            let same = pair == [Protocol::Tensorflow2, Protocol::TorchvisionAliased];
            assert_eq!(off < 0.1, same, "{pair:?}: {off}");
        }
    }
}

#[test]
fn a_crop_of_any_protocol_is_a_part_of_the_whole() {
    for protocol in Protocol::ALL {
        let picture = Picture::grey(40, 31, noise(40 * 31));
        let resize = Resize::Exact { height: 22, width: 53 };
        let p = Preprocessing { resize, protocol, ..plain(ChannelOrder::Grey) };
        let whole = tensor(&p, (22, 53), &picture);
        let crop = tensor(&Preprocessing { crop: Some((8, 9)), ..p }, (8, 9), &picture);
        let expected: Vec<f32> = (7..15).flat_map(|y| whole[y * 53 + 22..][..9].to_vec()).collect();
        assert_eq!(crop, expected, "{protocol}");
    }
}

#[test]
fn the_central_part_is_tensorflows() {
    // tf.image.central_crop of 31 × 40 at .875: from (31 - 31 * .875) / 2 = 1, (40 - 35) / 2 = 2.
    let picture = Picture::grey(40, 31, noise(40 * 31));
    let p = Preprocessing { central: Some(0.875), ..plain(ChannelOrder::Grey) };
    let expected: Vec<f32> = (1..30)
        .flat_map(|y| picture.values()[y * 40 + 2..][..36].to_vec())
        .map(f32::from)
        .collect();
    let p = Preprocessing { resize: Resize::Exact { height: 29, width: 36 }, ..p };
    assert_close("", &tensor(&p, (29, 36), &picture), &expected, 1e-4);
}

#[test]
fn a_filter_that_the_library_lacks_is_an_error() {
    for protocol in Protocol::ALL {
        for filter in [Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
            let p = Preprocessing { filter, protocol, ..plain(ChannelOrder::Grey) };
            let made = Preprocessor::new(p, (1, 5, 5));
            assert_eq!(made.is_ok(), protocol.has(filter), "{protocol} {filter:?}");
        }
    }
    let json = r#"{"resize":"none","protocol":"pillow","order":"rgb","mean":[0],"std":[1]}"#;
    let error = serde_json::from_str::<Preprocessing>(json).unwrap_err().to_string();
    assert!(error.contains("`pillow`; there are torchvision,"), "{error}");
}

/// Values of view `n` of several.
fn view(p: &Preprocessing, crops: Crops, n: usize, picture: &Picture) -> Vec<f32> {
    let (height, width) = p.crop.unwrap();
    let one = Preprocessor::new(p.clone(), (p.order.channels(), height, width)).unwrap();
    let several = one.with_crops(crops).unwrap();
    let mut out = vec![f32::NAN; several.len() * several.views()];
    several.apply(picture, &mut out).unwrap();
    out[n * several.len()..][..several.len()].to_vec()
}

#[test]
fn ten_crops_are_corners_and_centre_of_the_central_square() {
    // Shorter side 10, its size already: nothing is resized. The square is columns 3 to 12.
    let picture = Picture::grey(16, 10, noise(160));
    let p = Preprocessing {
        resize: Resize::Shorter(10),
        crop: Some((7, 7)),
        ..plain(ChannelOrder::Grey)
    };
    let cut = |top: usize, left: usize, mirrored: bool| -> Vec<f32> {
        let row = |y: usize| {
            let mut row = picture.values()[(top + y) * 16 + left..][..7].to_vec();
            if mirrored {
                row.reverse();
            }
            row
        };
        (0..7).flat_map(row).map(f32::from).collect()
    };
    let places = [(0, 3), (0, 6), (3, 3), (3, 6), (2, 5)];
    for (n, (top, left)) in places.into_iter().enumerate() {
        for mirrored in [false, true] {
            let got = view(&p, Crops::Ten, 2 * n + usize::from(mirrored), &picture);
            assert_close(&format!("{n} {mirrored}"), &got, &cut(top, left, mirrored), 1e-4);
        }
    }
}

#[test]
fn the_last_of_twelve_crops_is_the_whole_square() {
    let picture = Picture::grey(16, 10, noise(160));
    let p = Preprocessing {
        resize: Resize::Shorter(10),
        crop: Some((7, 7)),
        protocol: Protocol::Pil,
        ..plain(ChannelOrder::Grey)
    };
    let square: Vec<u8> =
        (0..10).flat_map(|y| picture.values()[y * 16 + 3..][..10].to_vec()).collect();
    let exact = Resize::Exact { height: 7, width: 7 };
    let whole = Preprocessing { resize: exact, crop: None, ..p.clone() };
    let expected = tensor(&whole, (7, 7), &Picture::grey(10, 10, square));
    assert_eq!(view(&p, Crops::Twelve, 10, &picture), expected);
}

#[test]
fn a_hundred_and_forty_four_views_of_any_picture() {
    for (width, height) in [(300, 11), (9, 200), (64, 64), (1, 1)] {
        let picture = Picture::rgb(width, height, noise(width * height * 3));
        let p = Preprocessing {
            resize: Resize::Shorter(32),
            crop: Some((28, 28)),
            ..plain(ChannelOrder::Rgb)
        };
        for n in [0, 71, 143] {
            let values = view(&p, Crops::OneHundredFortyFour, n, &picture);
            assert!(values.iter().all(|v| v.is_finite()), "{width}×{height}");
        }
    }
    let p = Preprocessor::new(plain(ChannelOrder::Grey), (1, 10, 12)).unwrap();
    let error = p.with_crops(Crops::Ten).unwrap_err().to_string();
    assert!(error.contains("square inputs"), "{error}");
}

#[test]
fn preprocesses_as_torchvision() {
    for Preprocessed { height, width, side, crop, values } in recorded().preprocessed {
        let picture = Picture::rgb(width, height, noise(height * width * 3));
        let p = Preprocessing {
            resize: Resize::Shorter(side),
            crop: Some(crop),
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
            ..plain(ChannelOrder::Rgb)
        };
        let got = tensor(&p, crop, &picture);
        assert_close(&format!("{height}×{width}"), &got, &values, 3e-5);
    }
}

#[test]
fn unresized_values_are_exact() {
    let picture = Picture::rgb(2, 1, vec![10, 20, 30, 255, 0, 128]);
    let p = Preprocessing {
        mean: vec![0.5, 0.25, 0.0],
        std: vec![0.5, 1.0, 2.0],
        ..plain(ChannelOrder::Rgb)
    };
    let expected = [
        (10.0 / 255.0 - 0.5) / 0.5,
        1.0,
        20.0 / 255.0 - 0.25,
        -0.25,
        (30.0f32 / 255.0) / 2.0,
        (128.0f32 / 255.0) / 2.0,
    ];
    assert_eq!(tensor(&p, (1, 2), &picture), expected);
}

#[test]
fn channels_in_the_order_asked_for() {
    let (colour, grey) = (Picture::rgb(1, 1, vec![255, 100, 0]), Picture::grey(1, 1, vec![7]));
    let values = |order, picture| -> Vec<u8> {
        tensor(&plain(order), (1, 1), picture).iter().map(|v| v.round() as u8).collect()
    };
    assert_eq!(values(ChannelOrder::Rgb, &colour), [255, 100, 0]);
    assert_eq!(values(ChannelOrder::Bgr, &colour), [0, 100, 255]);
    // Pillow: Image.new("RGB", (1, 1), (255, 100, 0)).convert("L")
    assert_eq!(values(ChannelOrder::Grey, &colour), [135]);
    assert_eq!(values(ChannelOrder::Rgb, &grey), [7, 7, 7]);
    assert_eq!(values(ChannelOrder::Grey, &grey), [7]);
}

#[test]
fn grey_is_resized_like_colour_without_colour() {
    let values = noise(20 * 30);
    let grey = Picture::grey(30, 20, values.clone());
    let colour = Picture::rgb(30, 20, values.iter().flat_map(|v| [*v; 3]).collect());
    let p = Preprocessing {
        resize: Resize::Shorter(11),
        crop: Some((9, 9)),
        mean: vec![0.1, 0.2, 0.3],
        ..plain(ChannelOrder::Rgb)
    };
    assert_eq!(tensor(&p, (9, 9), &grey), tensor(&p, (9, 9), &colour));
}

#[test]
fn the_centre_is_rounded_half_to_even() {
    // torchvision: int(round((size - crop) / 2)) with Python's round.
    let row = Picture::grey(8, 1, (0..8).collect());
    for (crop, first) in [(7, 0.0), (6, 1.0), (5, 2.0), (4, 2.0), (3, 2.0), (1, 4.0)] {
        let p = Preprocessing { crop: Some((1, crop)), ..plain(ChannelOrder::Grey) };
        assert!((tensor(&p, (1, crop), &row)[0] - first).abs() < 1e-4, "crop {crop}");
    }
}

#[test]
fn a_picture_smaller_than_the_crop_lies_on_black() {
    let picture = Picture::grey(2, 1, vec![255, 255]);
    let p = Preprocessing {
        crop: Some((2, 5)),
        mean: vec![0.5],
        std: vec![0.5],
        ..plain(ChannelOrder::Grey)
    };
    let expected = [-1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0];
    assert_eq!(tensor(&p, (2, 5), &picture), expected);
}

#[test]
fn a_long_thin_picture_takes_no_more_memory_than_a_square_one() {
    // Its shorter side enlarged to 299, this picture would have 299 × 44,850,000 pixels.
    let picture = Picture::grey(1, 150_000, vec![200; 150_000]);
    let p = Preprocessing {
        resize: Resize::Shorter(299),
        crop: Some((299, 299)),
        ..plain(ChannelOrder::Grey)
    };
    assert_close("", &tensor(&p, (299, 299), &picture), &[200.0; 299 * 299], 1e-3);
}

#[test]
fn a_size_the_network_does_not_take_is_named() {
    let p = plain(ChannelOrder::Grey);
    let preprocessor = Preprocessor::new(p, (1, 28, 28)).unwrap();
    let picture = Picture::grey(30, 28, vec![0; 840]);
    let error = preprocessor.apply(&picture, &mut [0.0; 784]).unwrap_err();
    assert!(matches!(error, Problem::WrongSize { got_height: 28, got_width: 30, .. }));
    assert!(error.to_string().contains("28×30 pixels where the network takes 28×28"), "{error}");
}

#[test]
fn contradictions_with_the_network_are_found_before_any_picture() {
    let rgb = plain(ChannelOrder::Rgb);
    let exact = Resize::Exact { height: 10, width: 20 };
    for (p, expected) in [
        (plain(ChannelOrder::Grey), "gives 1 channels"),
        (Preprocessing { crop: Some((8, 8)), ..rgb.clone() }, "8×8 pixels"),
        (Preprocessing { resize: exact, ..rgb.clone() }, "10×20 pixels"),
        (Preprocessing { mean: vec![0.0; 2], ..rgb.clone() }, "mean has 2"),
        (Preprocessing { std: vec![0.0; 3], ..rgb.clone() }, "no usable number"),
        (Preprocessing { resize: Resize::Shorter(0), ..rgb.clone() }, "to nothing"),
    ] {
        let error = Preprocessor::new(p, (3, 20, 10)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_decoded_file_goes_all_the_way() {
    let picture = decode(&data("palette.png"), "palette.png").unwrap();
    let values = tensor(&Preprocessing::symmetric(16, (16, 16)), (16, 16), &picture);
    assert_eq!(values.len(), 3 * 256);
    assert!(values.iter().all(|v| (-1.0..=1.0).contains(v)));
}

/// The definition, in `f64` and one picture row or column at a time: each new pixel is the
/// weighted mean of the pixels within the filter's support around its centre, which grows with
/// the scale (Pillow's `precompute_coeffs`).
fn resampled(values: &[f64], size: usize, filter: Filter) -> Vec<f64> {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) };
    let weight = |x: f64| match (filter, x.abs()) {
        (Filter::Bilinear, x) => (1.0 - x).max(0.0),
        (Filter::Bicubic, x) if x < 1.0 => 1.5 * x.powi(3) - 2.5 * x.powi(2) + 1.0,
        (Filter::Bicubic, x) if x < 2.0 => -0.5 * (x.powi(3) - 5.0 * x.powi(2) + 8.0 * x - 4.0),
        (Filter::Lanczos, x) if x < 3.0 => sinc(x) * sinc(x / 3.0),
        _ => 0.0,
    };
    let scale = values.len() as f64 / size as f64;
    let pixel = |i: usize| {
        let centre = (i as f64 + 0.5) * scale;
        let weights = (0..values.len()).map(|x| weight((x as f64 + 0.5 - centre) / scale.max(1.0)));
        let weights: Vec<f64> = weights.collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().zip(values).map(|(w, v)| w * v).sum::<f64>() / sum
    };
    (0..size).map(pixel).collect()
}

/// The whole picture resized by the definition, then cropped or padded.
fn by_definition(
    picture: &Picture,
    (rows, columns): (usize, usize),
    filter: Filter,
    crop: (usize, usize),
) -> Vec<f32> {
    let wide: Vec<Vec<f64>> = picture
        .values()
        .chunks_exact(picture.width())
        .map(|row| {
            resampled(&row.iter().map(|v| f64::from(*v)).collect::<Vec<_>>(), columns, filter)
        })
        .collect();
    let high: Vec<Vec<f64>> = (0..columns)
        .map(|x| resampled(&wide.iter().map(|row| row[x]).collect::<Vec<_>>(), rows, filter))
        .collect();
    let offset = |size: usize, wanted: usize| match size.checked_sub(wanted) {
        Some(over) => (over as f64 / 2.0).round_ties_even() as isize,
        None => -(((wanted - size) / 2) as isize),
    };
    let (down, right) = (offset(rows, crop.0), offset(columns, crop.1));
    let pixel = |y: usize, x: usize| {
        let column = x.checked_add_signed(right).and_then(|x| high.get(x));
        column.zip(y.checked_add_signed(down)).and_then(|(c, y)| c.get(y)).copied().unwrap_or(0.0)
    };
    (0..crop.0)
        .flat_map(|y| (0..crop.1).map(move |x| (y, x)))
        .map(|(y, x)| pixel(y, x) as f32)
        .collect()
}

#[test]
fn enlarged_threefold_no_row_is_lost() {
    // The crop's last row lies on a row of the source: see `cubic` in `resize.rs`.
    let picture = Picture::grey(9, 9, noise(81));
    let p = Preprocessing {
        resize: Resize::Shorter(27),
        filter: Filter::Bicubic,
        crop: Some((12, 1)),
        ..plain(ChannelOrder::Grey)
    };
    let expected = by_definition(&picture, (27, 27), Filter::Bicubic, (12, 1));
    assert_close("", &tensor(&p, (12, 1), &picture), &expected, 1e-3);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Resampling only what the crop shows gives what cropping the whole resized picture gives.
    #[test]
    fn cropping_while_resizing_is_resizing_then_cropping(
        height in 1usize..40, width in 1usize..40, side in 1usize..40,
        crop in (1usize..30, 1usize..30),
        filter in prop_oneof![Just(Filter::Bilinear), Just(Filter::Bicubic), Just(Filter::Lanczos)],
    ) {
        let picture = Picture::grey(width, height, noise(height * width));
        let p = Preprocessing {
            resize: Resize::Shorter(side), filter, crop: Some(crop), ..plain(ChannelOrder::Grey)
        };
        let size = if height <= width {
            (side, side * width / height)
        } else {
            (side * height / width, side)
        };
        let expected = by_definition(&picture, size, filter, crop);
        assert_close("", &tensor(&p, crop, &picture), &expected, 1e-3);
    }
}
