//! Colour distortion as TF-slim trains with it.

use inception_net::preprocessing::ChannelOrder;
use serde::{Deserialize, Serialize};

use crate::random::Random;

/// How colours are distorted: `distort_color` of TF-slim's `inception_preprocessing`, with
/// TensorFlow's adjustments of brightness (by up to ±32/255), saturation (× 0.5–1.5), hue (by up
/// to ±0.2 of the circle) and contrast (× 0.5–1.5), each amount drawn evenly. Between the steps
/// values may leave black to white; they are clipped in the end.
///
/// Grey pictures have neither saturation nor hue, and keep them so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Colour {
    /// All four, in one of TF-slim's four orders.
    Slim,
    /// Brightness, then saturation: its `fast_mode`.
    SlimFast,
}

/// An adjustment and by how much, of values 0–1.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// Added.
    Brightness(f32),
    /// Factor.
    Saturation(f32),
    /// Added, as a share of the circle.
    Hue(f32),
    /// Factor of the distance from the channel's mean.
    Contrast(f32),
}

impl Colour {
    /// Distorts a tensor of values 0–255, whose planes are `order`.
    pub(crate) fn distort(self, values: &mut [f32], order: ChannelOrder, random: &mut Random) {
        values.iter_mut().for_each(|v| *v /= 255.0);
        for step in self.draw(random) {
            step.apply(values, order);
        }
        values.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0) * 255.0);
    }

    fn draw(self, random: &mut Random) -> Vec<Step> {
        let order = match self {
            Self::Slim => random.below(4),
            Self::SlimFast => 0,
        };
        let mut uniform = |low, high| random.uniform(low, high) as f32;
        let brightness = Step::Brightness(uniform(-32.0 / 255.0, 32.0 / 255.0));
        let saturation = Step::Saturation(uniform(0.5, 1.5));
        if self == Self::SlimFast {
            return vec![brightness, saturation];
        }
        let hue = Step::Hue(uniform(-0.2, 0.2));
        let contrast = Step::Contrast(uniform(0.5, 1.5));
        match order {
            0 => vec![brightness, saturation, hue, contrast],
            1 => vec![saturation, brightness, contrast, hue],
            2 => vec![contrast, hue, brightness, saturation],
            _ => vec![hue, saturation, contrast, brightness],
        }
    }
}

impl Step {
    fn apply(self, values: &mut [f32], order: ChannelOrder) {
        match (self, order) {
            (Self::Brightness(delta), _) => values.iter_mut().for_each(|v| *v += delta),
            (Self::Contrast(factor), _) => {
                let plane = values.len() / order.channels();
                values.chunks_exact_mut(plane).for_each(|plane| contrast(plane, factor));
            }
            (Self::Saturation(_) | Self::Hue(_), ChannelOrder::Grey) => {}
            (Self::Saturation(factor), _) => pixels(values, order, |p| saturated(p, factor)),
            (Self::Hue(delta), _) => pixels(values, order, |p| turned(p, delta)),
        }
    }
}

/// Replaces every pixel's red, green and blue.
fn pixels(values: &mut [f32], order: ChannelOrder, f: impl Fn([f32; 3]) -> [f32; 3]) {
    let (first, rest) = values.split_at_mut(values.len() / 3);
    let (green, last) = rest.split_at_mut(first.len());
    let (red, blue) = if order == ChannelOrder::Bgr { (last, first) } else { (first, last) };
    for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
        [*r, *g, *b] = f([*r, *g, *b]);
    }
}

fn contrast(plane: &mut [f32], factor: f32) {
    let mean = plane.iter().map(|&v| f64::from(v)).sum::<f64>() / plane.len() as f64;
    let mean = mean as f32;
    plane.iter_mut().for_each(|v| *v = (*v - mean) * factor + mean);
}

/// Saturation in the HSV model times `factor`, at most 1. Hue and value stay, so a colour's
/// distances from its largest part all change by the same factor.
fn saturated(rgb: [f32; 3], factor: f32) -> [f32; 3] {
    let largest = rgb[0].max(rgb[1]).max(rgb[2]);
    let smallest = rgb[0].min(rgb[1]).min(rgb[2]);
    let range = largest - smallest;
    // As TensorFlow: where the value is not above 0 there is no saturation, which leaves grey.
    let saturation = if largest > 0.0 { range / largest } else { 0.0 };
    let wanted = (saturation * factor).min(1.0);
    let scale = if saturation > 0.0 { wanted / saturation } else { 0.0 };
    rgb.map(|v| largest - (largest - v) * scale)
}

/// Hue moved by a share of the circle; the largest and the smallest part stay what they are.
fn turned([r, g, b]: [f32; 3], delta: f32) -> [f32; 3] {
    let largest = r.max(g).max(b);
    let smallest = r.min(g).min(b);
    let range = largest - smallest;
    let share = if range > 0.0 { 1.0 / range } else { 0.0 };
    // In sixths of the circle: red at 0, green at 2, blue at 4.
    let from_blue = if largest == g { 2.0 + (b - r) * share } else { 4.0 + (r - g) * share };
    let hue = if largest == r { (g - b) * share } else { from_blue };
    let hue = hue + delta * 6.0;
    let hue = if hue < 0.0 { hue + 6.0 } else { hue };
    let hue = if hue >= 6.0 { hue - 6.0 } else { hue };
    let part = |share: f32| smallest + range * share.clamp(0.0, 1.0);
    [part((hue - 3.0).abs() - 1.0), part(2.0 - (hue - 2.0).abs()), part(2.0 - (hue - 4.0).abs())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::recorded::{ColourCase, noise, recorded};
    use crate::random::Purpose;

    /// The picture of `peers/augment.py`, planes of 0–1.
    fn start(channels: usize) -> Vec<f32> {
        let special = [
            0, 0, 0, 255, 255, 255, 128, 128, 128, 255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 0,
            90, 90, 7,
        ];
        let values: Vec<u8> = special.into_iter().chain(noise(108 - 24)).collect();
        let plane = |c: usize| values.iter().skip(c).step_by(3).map(|&v| f32::from(v) / 255.0);
        (0..channels).flat_map(plane).collect()
    }

    fn steps(case: &ColourCase) -> Vec<Step> {
        let step = |(name, amount): &(String, f32)| match name.as_str() {
            "brightness" => Step::Brightness(*amount),
            "saturation" => Step::Saturation(*amount),
            "hue" => Step::Hue(*amount),
            "contrast" => Step::Contrast(*amount),
            other => panic!("{other}"),
        };
        case.steps.iter().map(step).collect()
    }

    /// Within 2e-6 of TensorFlow, of values 0–1: the roundings of four steps in `f32`.
    #[test]
    fn adjustments_are_tensorflows() {
        let cases = recorded().colours;
        assert_eq!(cases.len(), 21);
        for case in &cases {
            let order = if case.grey { ChannelOrder::Grey } else { ChannelOrder::Rgb };
            let channels = order.channels();
            let mut values = start(channels);
            for step in steps(case) {
                step.apply(&mut values, order);
            }
            if case.steps.len() > 1 {
                values.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
            }
            for (i, expected) in case.values.iter().enumerate() {
                let found = values[i % channels * 36 + i / channels];
                let what = format!("{:?} {i}: {found} instead of {expected}", case.steps);
                assert!((found - expected).abs() < 2e-6, "{what}");
            }
        }
    }

    #[test]
    fn blue_may_come_first() {
        let mut rgb = start(3);
        let mut bgr: Vec<f32> = rgb.chunks_exact(36).rev().flatten().copied().collect();
        for step in [Step::Hue(0.1), Step::Saturation(0.5), Step::Contrast(1.2)] {
            step.apply(&mut rgb, ChannelOrder::Rgb);
            step.apply(&mut bgr, ChannelOrder::Bgr);
        }
        assert!(rgb.chunks_exact(36).rev().flatten().eq(&bgr));
    }

    #[test]
    fn amounts_are_drawn_evenly_in_each_of_four_orders() {
        let mut firsts = [0; 4];
        let mut amounts = [const { Vec::new() }; 4];
        for picture in 0..4000 {
            let steps = Colour::Slim.draw(&mut Random::new(Purpose::Augment, [1, 2, picture]));
            assert_eq!(steps.len(), 4);
            for (place, step) in steps.into_iter().enumerate() {
                let (kind, amount) = match step {
                    Step::Brightness(amount) => (0, amount * 255.0 / 32.0),
                    Step::Saturation(amount) => (1, (amount - 1.0) * 2.0),
                    Step::Hue(amount) => (2, amount * 5.0),
                    Step::Contrast(amount) => (3, (amount - 1.0) * 2.0),
                };
                assert!((-1.0..=1.0).contains(&amount), "{step:?}");
                amounts[kind].push(amount);
                firsts[kind] += usize::from(place == 0);
            }
        }
        assert!(firsts.iter().all(|n| (900..1100).contains(n)), "{firsts:?}");
        for mut amounts in amounts {
            amounts.sort_by(f32::total_cmp);
            assert!(amounts[0] < -0.99 && amounts[3999] > 0.99 && amounts[2000].abs() < 0.05);
        }
        let mut random = Random::new(Purpose::Augment, [1, 2, 3]);
        let fast = Colour::SlimFast.draw(&mut random);
        assert!(matches!(fast[..], [Step::Brightness(_), Step::Saturation(_)]), "{fast:?}");
    }

    #[test]
    fn distorted_values_stay_between_black_and_white() {
        for picture in 0..50 {
            let mut values: Vec<f32> = noise(48).into_iter().map(f32::from).collect();
            let mut random = Random::new(Purpose::Augment, [1, 2, picture]);
            Colour::Slim.distort(&mut values, ChannelOrder::Rgb, &mut random);
            assert!(values.iter().all(|v| (0.0..=255.0).contains(v)), "{values:?}");
        }
    }
}
