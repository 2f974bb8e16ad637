//! Random erasing.

use serde::{Deserialize, Serialize};

use super::{check_probability, check_rectangle};
use crate::preprocess::Bounds;
use crate::random::Random;

/// Random erasing (1708.04896) of a rectangle drawn as torchvision's `RandomErasing` draws it: of
/// random area and proportion at a random place, after normalisation; ten tries that stick out
/// leave the picture whole.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erase {
    /// Of erasing at all.
    pub probability: f64,
    /// Smallest and largest share of the picture's area, in 0–1; torchvision's 0.02 to 0.33 unless
    /// said otherwise.
    #[serde(default = "area")]
    pub area: (f64, f64),
    /// Smallest and largest height / width, 0.3 to 3.3 unless said otherwise; its logarithm is
    /// drawn evenly.
    #[serde(default = "aspect")]
    pub aspect: (f64, f64),
    /// With what.
    #[serde(default)]
    pub fill: Fill,
}

/// What an erased rectangle shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fill {
    /// Normalised values of 0, the preprocessing's mean: torchvision's default.
    #[default]
    Mean,
    /// Every value drawn anew, evenly from black to white: what the paper found best.
    Noise,
}

fn area() -> (f64, f64) {
    (0.02, 0.33)
}

fn aspect() -> (f64, f64) {
    (0.3, 3.3)
}

impl Erase {
    pub(super) fn check(&self) -> Result<(), String> {
        check_probability("erase's probability", self.probability)?;
        check_rectangle(self.area, self.aspect).map_err(|what| format!("erase's {what}"))
    }

    /// What to erase of a picture of this height and width.
    pub(crate) fn draw(&self, size: (usize, usize), random: &mut Random) -> Option<Bounds> {
        if random.uniform(0.0, 1.0) >= self.probability {
            return None;
        }
        let (height, width) = size;
        for _ in 0..10 {
            let pixels = (height * width) as f64 * random.uniform(self.area.0, self.area.1);
            let proportion = random.uniform(self.aspect.0.ln(), self.aspect.1.ln()).exp();
            let h = (pixels * proportion).sqrt().round_ties_even() as usize;
            let w = (pixels / proportion).sqrt().round_ties_even() as usize;
            if h < height && w < width {
                let top = random.below(height - h + 1);
                let left = random.below(width - w + 1);
                return Some(Bounds { top, left, height: h, width: w });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    #[test]
    fn rectangles_lie_within_the_picture_and_are_as_large_as_asked_for() {
        let erase =
            Erase { probability: 0.25, area: area(), aspect: aspect(), fill: Fill::default() };
        let draw =
            |picture| erase.draw((80, 100), &mut Random::new(Purpose::Augment, [1, 2, picture]));
        let drawn: Vec<Bounds> = (0..8000).filter_map(draw).collect();
        // A quarter of 8000; standard deviation 39.
        assert!((1850..2150).contains(&drawn.len()), "{}", drawn.len());
        let mut tops = 0;
        for b in &drawn {
            assert!(b.top + b.height <= 80 && b.left + b.width <= 100, "{b:?}");
            let share = (b.height * b.width) as f64 / 8000.0;
            assert!((0.018..0.34).contains(&share), "{b:?}");
            let proportion = b.height as f64 / b.width as f64;
            assert!((0.27..3.6).contains(&proportion), "{b:?}");
            tops += usize::from(b.top < (80 - b.height) / 2);
        }
        assert!((drawn.len() * 4 / 10..drawn.len() * 6 / 10).contains(&tops), "{tops}");
    }

    #[test]
    fn what_never_fits_leaves_the_picture_whole() {
        let whole = (1.0, 1.0);
        let erase = Erase { probability: 1.0, area: whole, aspect: whole, fill: Fill::default() };
        assert_eq!(erase.draw((10, 10), &mut Random::new(Purpose::Augment, [1, 2, 3])), None);
    }
}
