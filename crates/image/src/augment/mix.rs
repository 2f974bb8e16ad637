//! Pictures of a batch mixed with one another.

use serde::{Deserialize, Serialize};

use crate::preprocess::Bounds;
use crate::random::Random;

/// Another picture of the batch mixed into each, and its class into the target. Where both kinds
/// are given, one of them is drawn for each batch, either as likely.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mix {
    /// α of MixUp (1710.09412): every pixel is a sum, with shares drawn from Beta(α, α); the paper
    /// has 0.2 for ImageNet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixup: Option<f64>,
    /// α of CutMix (1905.04899): a rectangle comes from the other picture, its share of the area
    /// drawn from Beta(α, α) before what sticks out is cut off; the paper has 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutmix: Option<f64>,
}

/// What was mixed into the pictures of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Blend {
    /// The class mixed into each picture.
    pub labels: Vec<usize>,
    /// The share that each picture's own class keeps, in 0–1.
    pub shares: Vec<f32>,
}

/// How the pictures of a batch are mixed.
#[derive(Debug, PartialEq)]
enum Kind {
    /// Each pixel keeps this share.
    Sum(f32),
    /// This comes from the other picture.
    Rectangle(Bounds),
}

/// Beyond these α the two pictures' shares are as good as 0 and 1, or as halves, and numbers from
/// Beta's distribution are hard to draw.
const SMALLEST: f64 = 1e-3;
const LARGEST: f64 = 1e3;

impl Mix {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.mixup.is_none() && self.cutmix.is_none() {
            return Err("mix wants mixup, cutmix or both".into());
        }
        for (name, alpha) in [("mixup", self.mixup), ("cutmix", self.cutmix)] {
            if let Some(alpha) = alpha.filter(|alpha| !(SMALLEST..=LARGEST).contains(alpha)) {
                return Err(format!(
                    "{name} is a number from {SMALLEST} to {LARGEST}, not {alpha}"
                ));
            }
        }
        Ok(())
    }

    /// Mixes each picture with the one some places further on, around the end; how many, and the
    /// shares, are drawn once for the batch. `pictures` holds planes of this height and width.
    /// `None` for a batch of one, which has no other.
    pub(crate) fn mix(
        &self,
        pictures: &mut [f32],
        labels: &[usize],
        size: (usize, usize),
        random: &mut Random,
    ) -> Option<Blend> {
        let kind = self.draw(size, random);
        let others = labels.len().checked_sub(1).filter(|&others| others > 0)?;
        let places = 1 + random.below(others);
        let mut partners = pictures.to_vec();
        partners.rotate_left(places * (pictures.len() / labels.len()));
        let share = match kind {
            Kind::Sum(share) => {
                let values = pictures.iter_mut().zip(&partners);
                values.for_each(|(v, other)| *v = share * *v + (1.0 - share) * other);
                share
            }
            Kind::Rectangle(bounds) => {
                copy(pictures, &partners, size, bounds);
                1.0 - (bounds.height * bounds.width) as f32 / (size.0 * size.1) as f32
            }
        };
        let mut mixed_in = labels.to_vec();
        mixed_in.rotate_left(places);
        Some(Blend { labels: mixed_in, shares: vec![share; labels.len()] })
    }

    fn draw(&self, size: (usize, usize), random: &mut Random) -> Kind {
        let sum = random.below(2) == 0;
        match (self.mixup, self.cutmix) {
            (Some(alpha), cutmix) if sum || cutmix.is_none() => {
                Kind::Sum(random.beta(alpha) as f32)
            }
            (_, alpha) => {
                let share = random.beta(alpha.unwrap_or(1.0));
                Kind::Rectangle(rectangle(size, share, random))
            }
        }
    }
}

/// A rectangle of the picture's proportion and `1 − share` of its area around an even place, as
/// the paper's code cuts it: what sticks out is cut off.
fn rectangle((height, width): (usize, usize), share: f64, random: &mut Random) -> Bounds {
    let cut = (1.0 - share).sqrt();
    let mut along = |side: usize| {
        let half = (side as f64 * cut) as usize / 2;
        let middle = random.below(side);
        (middle.saturating_sub(half), (middle + half).min(side))
    };
    let (top, bottom) = along(height);
    let (left, right) = along(width);
    Bounds { top, left, height: bottom - top, width: right - left }
}

/// Copies a rectangle of every plane.
fn copy(to: &mut [f32], from: &[f32], (height, width): (usize, usize), bounds: Bounds) {
    let planes = to.chunks_exact_mut(height * width).zip(from.chunks_exact(height * width));
    for (to, from) in planes {
        let rows = to.chunks_exact_mut(width).zip(from.chunks_exact(width));
        for (to, from) in rows.skip(bounds.top).take(bounds.height) {
            let columns = bounds.left..bounds.left + bounds.width;
            to[columns.clone()].copy_from_slice(&from[columns]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    const SIZE: (usize, usize) = (6, 8);

    /// Four pictures of two planes, each of one value of its own.
    fn batch() -> (Vec<f32>, [usize; 4]) {
        let pictures = (0..4).flat_map(|i| [i as f32 * 10.0; 2 * 6 * 8]).collect();
        (pictures, [5, 6, 7, 8])
    }

    fn mixed(mix: Mix, n: u64) -> (Vec<f32>, Blend) {
        let (mut pictures, labels) = batch();
        let mut random = Random::new(Purpose::Mix, [1, 2, n]);
        let blend = mix.mix(&mut pictures, &labels, SIZE, &mut random).unwrap();
        (pictures, blend)
    }

    /// The mean of a picture's values is the mixture of the classes, whichever way it was mixed.
    #[test]
    fn shares_are_those_of_the_pixels() {
        for mix in [
            Mix { mixup: Some(0.4), cutmix: None },
            Mix { mixup: None, cutmix: Some(1.0) },
            Mix { mixup: Some(0.4), cutmix: Some(1.0) },
        ] {
            for n in 0..200 {
                let (pictures, blend) = mixed(mix, n);
                for (i, picture) in pictures.chunks_exact(96).enumerate() {
                    let share = blend.shares[i];
                    assert!((0.0..=1.0).contains(&share));
                    assert_ne!(blend.labels[i], 5 + i, "never itself");
                    let other = (blend.labels[i] - 5) as f32 * 10.0;
                    let expected = share * i as f32 * 10.0 + (1.0 - share) * other;
                    let mean = picture.iter().sum::<f32>() / 96.0;
                    assert!((mean - expected).abs() < 1e-4, "{mean} instead of {expected}");
                }
            }
        }
    }

    #[test]
    fn a_rectangle_comes_from_the_other_picture_in_all_planes() {
        let mix = Mix { mixup: None, cutmix: Some(1.0) };
        for n in 0..50 {
            let (pictures, blend) = mixed(mix, n);
            for (i, picture) in pictures.chunks_exact(96).enumerate() {
                let other = (blend.labels[i] - 5) as f32 * 10.0;
                assert!(picture.iter().all(|v| *v == i as f32 * 10.0 || *v == other));
                assert_eq!(picture[..48], picture[48..]);
            }
        }
    }

    #[test]
    fn one_kind_is_drawn_for_each_batch() {
        let mix = Mix { mixup: Some(0.2), cutmix: Some(1.0) };
        let sums = (0..1000).filter(|&n| {
            let mut random = Random::new(Purpose::Mix, [1, 2, n]);
            matches!(mix.draw(SIZE, &mut random), Kind::Sum(_))
        });
        let sums = sums.count();
        assert!((430..570).contains(&sums), "{sums}");
    }

    #[test]
    fn rectangles_are_clipped_and_their_area_is_that_of_the_paper() {
        let mut random = Random::new(Purpose::Mix, [3, 2, 1]);
        let size = (100, 60);
        assert_eq!(rectangle(size, 1.0, &mut random).height, 0);
        let mut whole = 0;
        for _ in 0..1000 {
            let b = rectangle(size, 0.75, &mut random);
            assert!(b.top + b.height <= 100 && b.left + b.width <= 60, "{b:?}");
            assert!(b.height <= 50 && b.width <= 30, "{b:?}");
            whole += usize::from((b.height, b.width) == (50, 30));
        }
        // A quarter of the places for the middle are far enough from all sides.
        assert!((180..330).contains(&whole), "{whole}");
    }

    #[test]
    fn one_picture_has_no_partner() {
        let mix = Mix { mixup: Some(0.2), cutmix: None };
        let mut random = Random::new(Purpose::Mix, [1, 2, 3]);
        let mut picture = [1.0; 48];
        assert_eq!(mix.mix(&mut picture, &[3], SIZE, &mut random), None);
        assert_eq!(picture, [1.0; 48]);
    }
}
