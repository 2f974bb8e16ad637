//! RandAugment: operations drawn from fourteen, all at one magnitude.

use inception_net::preprocessing::ChannelOrder;
use serde::{Deserialize, Serialize};

use crate::picture::luma;
use crate::random::Random;

/// RandAugment (1909.13719) with the operations and magnitudes of torchvision's `RandAugment` on
/// PIL pictures: whole numbers, the nearest pixel, black where nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandAugment {
    /// N: how many are drawn for each picture, with replacement; 2 in torchvision.
    pub operations: usize,
    /// M: how strong they are, 0–30; 9 in torchvision.
    pub magnitude: usize,
}

/// Largest [`RandAugment::magnitude`]: one less than torchvision's 31 bins.
const STRONGEST: usize = 30;

/// The paper's operations in torchvision's order.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Operation {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Colour,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
}

use Operation::*;

impl Operation {
    const ALL: [Self; 14] = [
        Identity,
        ShearX,
        ShearY,
        TranslateX,
        TranslateY,
        Rotate,
        Brightness,
        Colour,
        Contrast,
        Sharpness,
        Posterize,
        Solarize,
        AutoContrast,
        Equalize,
    ];

    /// Whether it works in two directions, one of which is drawn.
    fn signed(self) -> bool {
        !matches!(self, Identity | Posterize | Solarize | AutoContrast | Equalize)
    }
}

impl RandAugment {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.magnitude > STRONGEST {
            let magnitude = self.magnitude;
            return Err(format!("rand_augment's magnitude is 0 to {STRONGEST}, not {magnitude}"));
        }
        if !(1..=14).contains(&self.operations) {
            let operations = self.operations;
            return Err(format!("rand_augment takes 1 to 14 operations, not {operations}"));
        }
        Ok(())
    }

    /// Changes a tensor of values 0–255 and rows of `width`, whose planes are `order`; they are
    /// rounded to whole numbers.
    pub(crate) fn change(
        self,
        values: &mut [f32],
        width: usize,
        order: ChannelOrder,
        random: &mut Random,
    ) {
        let mut bytes = Bytes {
            values: values.iter().map(|v| (v + 0.5) as u8).collect(),
            width,
            height: values.len() / order.channels() / width,
            order,
        };
        for _ in 0..self.operations {
            let operation = Operation::ALL[random.below(Operation::ALL.len())];
            let negative = operation.signed() && random.below(2) == 1;
            bytes.apply(operation, self.magnitude, negative);
        }
        values.iter_mut().zip(&bytes.values).for_each(|(v, &byte)| *v = byte.into());
    }
}

/// A picture of whole numbers, `[channel][row][column]`.
struct Bytes {
    values: Vec<u8>,
    width: usize,
    height: usize,
    order: ChannelOrder,
}

impl Bytes {
    fn apply(&mut self, operation: Operation, magnitude: usize, negative: bool) {
        let share = magnitude as f64 / STRONGEST as f64;
        let sign = if negative { -1.0 } else { 1.0 };
        // How far enhancement goes from the picture: 1 is the picture itself.
        let factor = (1.0 + sign * 0.9 * share) as f32;
        let shear = sign * 0.3 * share;
        // Made for the 331 pixels of the networks in which AutoAugment was searched.
        let pixels = |side: usize| (sign * (150.0 / 331.0 * side as f64 * share).trunc()) as isize;
        match operation {
            Identity => {}
            ShearX => self.transform([1.0, shear, 0.0, 0.0, 1.0, 0.0]),
            ShearY => self.transform([1.0, 0.0, 0.0, shear, 1.0, 0.0]),
            TranslateX => self.translate(0, pixels(self.width)),
            TranslateY => self.translate(pixels(self.height), 0),
            Rotate => self.rotate(sign * 30.0 * share),
            Brightness => self.map(|_| table(|v| blend(0, v, factor))),
            Colour => self.saturate(factor),
            Contrast => {
                let mean = self.mean();
                self.map(|_| table(|v| blend(mean, v, factor)));
            }
            Sharpness => self.sharpen(factor),
            Posterize => {
                let bits = 8 - (4.0 * share).round() as u32;
                let mask = !((1u32 << (8 - bits)) - 1) as u8;
                self.map(|_| table(|v| v & mask));
            }
            Solarize => {
                let threshold = 255.0 - 8.5 * magnitude as f64;
                self.map(|_| table(|v| if f64::from(v) < threshold { v } else { 255 - v }));
            }
            AutoContrast => self.map(stretched),
            Equalize => self.map(equalized),
        }
    }

    fn plane(&self) -> usize {
        self.width * self.height
    }

    /// Replaces each plane's values by those of a table, which is made from the plane.
    fn map(&mut self, make: impl Fn(&[u8]) -> [u8; 256]) {
        let plane = self.plane();
        for plane in self.values.chunks_exact_mut(plane) {
            let table = make(plane);
            plane.iter_mut().for_each(|v| *v = table[usize::from(*v)]);
        }
    }

    /// Luma of every pixel.
    fn grey(&self) -> Vec<u8> {
        let plane = self.plane();
        let part = |c: usize| &self.values[c * plane..][..plane];
        let (red, blue) = match self.order {
            ChannelOrder::Grey => return self.values.clone(),
            ChannelOrder::Rgb => (part(0), part(2)),
            ChannelOrder::Bgr => (part(2), part(0)),
        };
        let pixels = red.iter().zip(part(1)).zip(blue);
        pixels.map(|((&r, &g), &b)| luma([r, g, b])).collect()
    }

    /// Mean luma, rounded.
    fn mean(&self) -> u8 {
        let sum: u64 = self.grey().into_iter().map(u64::from).sum();
        (sum as f64 / self.plane() as f64 + 0.5) as u8
    }

    /// `ImageEnhance.Color`.
    fn saturate(&mut self, factor: f32) {
        let (plane, grey) = (self.plane(), self.grey());
        for plane in self.values.chunks_exact_mut(plane) {
            plane.iter_mut().zip(&grey).for_each(|(v, &grey)| *v = blend(grey, *v, factor));
        }
    }

    /// `ImageEnhance.Sharpness`: away from or towards a blurred picture, but for its edge.
    fn sharpen(&mut self, factor: f32) {
        let (width, height) = (self.width, self.height);
        if width < 3 || height < 3 {
            return;
        }
        let before = self.values.clone();
        let planes = before.chunks_exact(width * height);
        for (plane, before) in self.values.chunks_exact_mut(width * height).zip(planes) {
            for y in 1..height - 1 {
                let row = |y: usize| &before[y * width..][..width];
                let (above, here, below) = (row(y - 1), row(y), row(y + 1));
                let inner = &mut plane[y * width + 1..][..width - 2];
                for (x, v) in inner.iter_mut().enumerate() {
                    let three =
                        |row: &[u8]| row[x..x + 3].iter().map(|&v| u32::from(v)).sum::<u32>();
                    // `ImageFilter.SMOOTH`: ones around a five, divided by 13.
                    let sum = three(above) + three(here) + three(below) + 4 * u32::from(*v);
                    *v = blend(((2 * sum + 13) / 26) as u8, *v, factor);
                }
            }
        }
    }

    fn translate(&mut self, down: isize, right: isize) {
        self.transform([1.0, 0.0, -right as f64, 0.0, 1.0, -down as f64]);
    }

    /// `Image.rotate`: counter-clockwise about the middle.
    fn rotate(&mut self, degrees: f64) {
        let (sin, cos) = (-degrees.to_radians()).sin_cos();
        let (x, y) = (self.width as f64 / 2.0, self.height as f64 / 2.0);
        self.transform([cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y]);
    }

    /// Takes each pixel from where the affine map sends its middle; in Pillow's fixed point
    /// numbers of 16 binary places.
    fn transform(&mut self, [xx, xy, x, yx, yy, y]: [f64; 6]) {
        let fixed = |v: f64| (v * 65536.0 + 0.5).floor() as i64;
        let start = (fixed(x + (xx + xy) * 0.5), fixed(y + (yx + yy) * 0.5));
        let along_row = (fixed(xx), fixed(yx));
        let along_column = (fixed(xy), fixed(yy));
        let (width, plane) = (self.width, self.plane());
        let black = vec![0; self.values.len()];
        let before = std::mem::replace(&mut self.values, black);
        for row in 0..self.height {
            let mut x = start.0 + row as i64 * along_column.0;
            let mut y = start.1 + row as i64 * along_column.1;
            for column in 0..width {
                let (from_x, from_y) = ((x >> 16) as usize, (y >> 16) as usize);
                // What is left or above of the picture is very large here.
                if from_x < width && from_y < self.height {
                    let (to, from) = (row * width + column, from_y * width + from_x);
                    for c in 0..self.order.channels() {
                        self.values[c * plane + to] = before[c * plane + from];
                    }
                }
                (x, y) = (x + along_row.0, y + along_row.1);
            }
        }
    }
}

/// `Image.blend`: 0 is `from`, 1 is `to`, beyond it further away; clipped, rounded down.
fn blend(from: u8, to: u8, factor: f32) -> u8 {
    let distance = f32::from(to) - f32::from(from);
    (f32::from(from) + factor * distance) as u8
}

/// A function's values.
fn table(f: impl Fn(u8) -> u8) -> [u8; 256] {
    std::array::from_fn(|v| f(v as u8))
}

/// `ImageOps.autocontrast`: the darkest value becomes 0, the lightest 255.
fn stretched(plane: &[u8]) -> [u8; 256] {
    let low = plane.iter().copied().min().unwrap_or(0);
    let high = plane.iter().copied().max().unwrap_or(0);
    if low >= high {
        return table(|v| v);
    }
    let scale = 255.0 / f64::from(high - low);
    let offset = -f64::from(low) * scale;
    table(|v| (f64::from(v) * scale + offset) as u8)
}

/// `ImageOps.equalize`: all values equally often, as far as that goes.
fn equalized(plane: &[u8]) -> [u8; 256] {
    let mut counts = [0usize; 256];
    plane.iter().for_each(|&v| counts[usize::from(v)] += 1);
    let last = counts.iter().copied().rfind(|&count| count > 0).unwrap_or(0);
    let step = (plane.len() - last) / 255;
    if step == 0 {
        return table(|v| v);
    }
    let mut below = step / 2;
    counts.map(|count| {
        let value = (below / step).min(255) as u8;
        below += count;
        value
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::recorded::{noise, recorded};
    use crate::random::Purpose;

    const HEIGHT: usize = 17;
    const WIDTH: usize = 23;

    /// The picture of `peers/augment.py`.
    fn picture(order: ChannelOrder) -> Bytes {
        let channels = order.channels();
        let noise = noise(HEIGHT * WIDTH * channels);
        let value = |i: usize| {
            let (c, x, y) = (i / (HEIGHT * WIDTH), i % WIDTH, i / WIDTH % HEIGHT);
            let noise = usize::from(noise[(y * WIDTH + x) * channels + c]);
            (20 + 25 * c + noise / 4 + 4 * x + 2 * y) as u8
        };
        let values = (0..HEIGHT * WIDTH * channels).map(value).collect();
        Bytes { values, width: WIDTH, height: HEIGHT, order }
    }

    fn operation(name: &str) -> Operation {
        let name = if name == "Color" { "Colour" } else { name };
        Operation::ALL.into_iter().find(|operation| format!("{operation:?}") == name).unwrap()
    }

    /// To the last bit.
    #[test]
    fn operations_are_torchvisions_on_pil_pictures() {
        let cases = recorded().operations;
        assert_eq!(cases.len(), 1 + 5 * 3 + 4 * 4 + 2 * 2 + 2 + 14);
        for case in &cases {
            let order = if case.channels == 1 { ChannelOrder::Grey } else { ChannelOrder::Rgb };
            let mut found = picture(order);
            found.apply(operation(&case.name), case.magnitude, case.negative);
            let plane = HEIGHT * WIDTH;
            for (i, hex) in case.values.as_bytes().as_chunks::<2>().0.iter().enumerate() {
                let expected = u8::from_str_radix(str::from_utf8(hex).unwrap(), 16).unwrap();
                let (pixel, c) = (i / case.channels, i % case.channels);
                let found = found.values[c * plane + pixel];
                let (name, magnitude) = (&case.name, case.magnitude);
                let place = (pixel / WIDTH, pixel % WIDTH, c);
                assert_eq!(found, expected, "{name} {magnitude} at {place:?}");
            }
        }
    }

    #[test]
    fn blue_may_come_first() {
        let plane = HEIGHT * WIDTH;
        for operation in Operation::ALL {
            let mut rgb = picture(ChannelOrder::Rgb);
            let values = rgb.values.chunks_exact(plane).rev().flatten().copied().collect();
            let mut bgr = Bytes { values, order: ChannelOrder::Bgr, ..picture(ChannelOrder::Rgb) };
            rgb.apply(operation, 20, true);
            bgr.apply(operation, 20, true);
            assert!(rgb.values.chunks_exact(plane).rev().flatten().eq(&bgr.values));
        }
    }

    #[test]
    fn every_operation_takes_the_smallest_and_plainest_pictures() {
        for (width, height) in [(1, 1), (2, 5), (3, 3)] {
            for operation in Operation::ALL {
                for value in [0, 7, 255] {
                    let values = vec![value; width * height];
                    let mut bytes = Bytes { values, width, height, order: ChannelOrder::Grey };
                    bytes.apply(operation, 30, false);
                    assert_eq!(bytes.values.len(), width * height);
                }
            }
        }
    }

    #[test]
    fn operations_are_drawn_for_each_picture() {
        let values: Vec<f32> =
            picture(ChannelOrder::Rgb).values.into_iter().map(f32::from).collect();
        let changed = |operations, picture| {
            let mut changed = values.clone();
            let mut random = Random::new(Purpose::Augment, [1, 2, picture]);
            let rand_augment = RandAugment { operations, magnitude: 9 };
            rand_augment.change(&mut changed, WIDTH, ChannelOrder::Rgb, &mut random);
            changed
        };
        // 13 in 14 are no identity; posterizing to 7 bits changes something too.
        let other = (0..1000).filter(|&picture| changed(1, picture) != values).count();
        assert!((900..960).contains(&other), "{other}");
        assert_ne!(changed(2, 1), changed(2, 2));
        assert_eq!(changed(2, 1), changed(2, 1));
    }
}
