//! Random changes to training pictures that leave what they show the same.

mod colour;
mod erase;
mod geometry;
mod mix;
mod rand_augment;
#[cfg(test)]
mod recorded;

use serde::{Deserialize, Serialize};

pub use colour::Colour;
pub use erase::{Erase, Fill};
pub use mix::{Blend, Mix};
pub use rand_augment::RandAugment;

pub(crate) use geometry::{mirror, random_bounds, shift};

/// How training pictures are changed at random, each epoch anew; the default is not at all.
///
/// What happens to a picture depends on the seed, the epoch and the picture's number alone, not on
/// threads or order; what is mixed into it also on the batch. The steps follow one another as the
/// fields do: pictures are normalised after `colour` and mixed as they are in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// Which part is shown.
    pub crop: RandomCrop,
    /// Probability of mirroring left and right.
    pub flip: f64,
    /// Operations drawn from fourteen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rand_augment: Option<RandAugment>,
    /// Brightness, saturation, hue and contrast.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colour: Option<Colour>,
    /// A rectangle that is blotted out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erase: Option<Erase>,
    /// Another picture of the batch that is mixed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mix: Option<Mix>,
}

/// Which part of a training picture is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum RandomCrop {
    /// The one that is shown in evaluation.
    #[default]
    Central,
    /// A rectangle of random area and proportion at a random place, resized to the network's
    /// input (1409.4842 §6; torchvision's `RandomResizedCrop`). Takes the place of the
    /// preprocessing's own resize and crop.
    Resized {
        /// Smallest and largest share of the picture's area, in 0–1: 0.08 to 1 in the paper,
        /// 0.05 to 1 in TF-slim.
        area: (f64, f64),
        /// Smallest and largest width / height; its logarithm is drawn evenly.
        aspect: (f64, f64),
    },
    /// The one shown in evaluation, moved by up to `by` pixels in each direction; black comes in
    /// at the edges. For small pictures, which have nothing to lose by cropping.
    Shift {
        /// Pixels of the network's input.
        by: usize,
    },
}

impl Augmentation {
    /// The Inception papers' for photographs: 8 to 100 % of the area, proportions from 3:4 to
    /// 4:3, mirrored half the time (1409.4842 §6).
    pub fn photographs() -> Self {
        let crop = RandomCrop::Resized { area: (0.08, 1.0), aspect: (3.0 / 4.0, 4.0 / 3.0) };
        Self { crop, flip: 0.5, ..Self::default() }
    }

    /// For small pictures such as Fashion-MNIST's: moved by up to two pixels, mirrored half the
    /// time.
    pub fn small_pictures() -> Self {
        Self { crop: RandomCrop::Shift { by: 2 }, flip: 0.5, ..Self::default() }
    }

    /// What is wrong with the numbers, if something is.
    ///
    /// # Errors
    /// The first of them and what it may be.
    pub fn check(&self) -> Result<(), String> {
        check_probability("flip", self.flip)?;
        match self.crop {
            RandomCrop::Shift { by: 10_000.. } => {
                return Err("a shift by 10,000 pixels or more leaves nothing of the picture".into());
            }
            RandomCrop::Resized { area, aspect } => check_rectangle(area, aspect)?,
            RandomCrop::Central | RandomCrop::Shift { .. } => {}
        }
        self.rand_augment.map_or(Ok(()), |rand_augment| rand_augment.check())?;
        self.erase.map_or(Ok(()), |erase| erase.check())?;
        self.mix.map_or(Ok(()), |mix| mix.check())
    }
}

fn check_probability(name: &str, value: f64) -> Result<(), String> {
    match (0.0..=1.0).contains(&value) {
        true => Ok(()),
        false => Err(format!("{name} is a probability between 0 and 1, not {value}")),
    }
}

/// A share of the picture's area and a proportion, as ranges.
fn check_rectangle(area: (f64, f64), aspect: (f64, f64)) -> Result<(), String> {
    if !(area.0 > 0.0 && area.0 <= area.1 && area.1 <= 1.0) {
        return Err(format!("area runs from above 0 up to 1 at most, not {area:?}"));
    }
    if !(aspect.0 > 0.0 && aspect.0 <= aspect.1 && aspect.1.is_finite()) {
        return Err(format!("aspect runs upwards from above 0, not {aspect:?}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_named() {
        let mut augmentation = Augmentation::photographs();
        assert_eq!(augmentation.check(), Ok(()));
        augmentation.flip = 1.5;
        assert!(augmentation.check().unwrap_err().contains("flip"));
        for (area, aspect) in [
            ((0.0, 1.0), (1.0, 1.0)),
            ((0.5, 0.4), (1.0, 1.0)),
            ((0.5, 2.0), (1.0, 1.0)),
            ((f64::NAN, 1.0), (1.0, 1.0)),
            ((0.5, 1.0), (-1.0, 1.0)),
            ((0.5, 1.0), (1.0, f64::INFINITY)),
        ] {
            let crop = RandomCrop::Resized { area, aspect };
            assert!(Augmentation { crop, ..Augmentation::default() }.check().is_err(), "{crop:?}");
        }
    }

    #[test]
    fn every_part_is_checked() {
        let none = Augmentation::default();
        assert_eq!(none.check(), Ok(()));
        let rand = |operations, magnitude| Augmentation {
            rand_augment: Some(RandAugment { operations, magnitude }),
            ..none
        };
        let erase = |probability, area| Augmentation {
            erase: Some(Erase { probability, area, aspect: (0.3, 3.3), fill: Fill::Mean }),
            ..none
        };
        let mix = |mixup, cutmix| Augmentation { mix: Some(Mix { mixup, cutmix }), ..none };
        for good in [rand(2, 30), erase(1.0, (0.1, 0.1)), mix(None, Some(0.01))] {
            assert_eq!(good.check(), Ok(()));
        }
        for (bad, word) in [
            (rand(0, 9), "operations"),
            (rand(2, 31), "magnitude"),
            (erase(1.1, (0.1, 0.1)), "erase"),
            (erase(0.5, (0.2, 0.1)), "erase's area"),
            (mix(None, None), "mixup, cutmix"),
            (mix(Some(0.0), None), "mixup"),
            (mix(Some(1.0), Some(f64::INFINITY)), "cutmix"),
        ] {
            let message = bad.check().unwrap_err();
            assert!(message.contains(word), "{message}");
        }
    }
}
