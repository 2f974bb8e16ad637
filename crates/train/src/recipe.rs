//! Everything that decides how a network is trained, as data.

use inception_image::{Augmentation, RandomCrop};
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::optimizer::Rule;
use crate::schedule::{Decay, Schedule};

/// A training method. Written out it is complete: what a recipe's text leaves out is not done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// How often every training picture is seen.
    pub epochs: usize,
    /// Pictures in a step.
    pub batch: usize,
    /// Batches whose gradients make one step, so that a step can have more pictures than memory
    /// holds. Batch norm still sees each batch alone.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub accumulate: usize,
    /// Decides the order of the pictures, their augmentation and what dropout drops.
    #[serde(default)]
    pub seed: u32,
    /// ε of label smoothing (1512.00567 §7, there 0.1); 0 for none.
    #[serde(default)]
    pub label_smoothing: f64,
    /// Factor of the L2 penalty on filters and matrices; 0 for none.
    #[serde(default)]
    pub weight_decay: f64,
    /// Longest gradient, all tensors taken as one vector, weight decay included; longer ones are
    /// shortened to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Decay of the running average of the weights, with which the network is evaluated and
    /// saved; without it these are the weights themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_decay: Option<f64>,
    /// How gradients change weights.
    pub optimizer: Rule,
    /// The learning rate.
    pub schedule: Schedule,
    /// How training pictures are changed at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub augmentation: Option<Augmentation>,
}

fn one() -> usize {
    1
}

fn is_one(number: &usize) -> bool {
    *number == 1
}

impl Default for Recipe {
    /// For a folder of some hundreds to some ten thousand photographs and a network that starts
    /// from nothing.
    fn default() -> Self {
        Self {
            epochs: 60,
            batch: 32,
            accumulate: 1,
            seed: 0,
            label_smoothing: 0.1,
            weight_decay: 4e-5,
            clip_norm: Some(2.0),
            average_decay: Some(0.999),
            optimizer: Rule::RmsProp { decay: 0.9, momentum: 0.9, epsilon: 1.0 },
            schedule: Schedule { learning_rate: 0.045, warmup_epochs: 1.0, decay: Decay::Cosine },
            augmentation: Some(Augmentation::photographs()),
        }
    }
}

impl Recipe {
    /// For the embedded Fashion-MNIST pictures and `inception-v3-small`: a few epochs that end
    /// within minutes on two cores. In so few the paper's RMSProp, whose ε of 1 makes small
    /// steps, comes less far than momentum at a high rate.
    pub fn small() -> Self {
        Self {
            epochs: 8,
            batch: 64,
            // Some thousand steps in all: the average looks back over the last hundred.
            average_decay: Some(0.99),
            optimizer: Rule::Sgd { momentum: 0.9, nesterov: true },
            schedule: Schedule { learning_rate: 0.1, warmup_epochs: 0.5, decay: Decay::Cosine },
            // In so few epochs shifts of two pixels cost more than they teach.
            augmentation: Some(Augmentation { crop: RandomCrop::Shift { by: 1 }, flip: 0.5 }),
            ..Self::default()
        }
    }

    /// Reads a recipe's TOML.
    ///
    /// # Errors
    /// What is wrong with the text, with its line, or with a number in it.
    pub fn from_toml(text: &str) -> Result<Self, TrainError> {
        let recipe: Self = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..start].iter().filter(|&&b| b == b'\n').count() + 1;
            let message = error.message().replace('\n', ", ");
            TrainError::Recipe(format!("line {line}: {message}"))
        })?;
        recipe.check()?;
        Ok(recipe)
    }

    /// The TOML that [`Recipe::from_toml`] reads back to an equal recipe.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a recipe is plain data")
    }

    /// Whether the numbers make sense.
    ///
    /// # Errors
    /// [`TrainError::Recipe`] with the first that does not and what it may be.
    pub fn check(&self) -> Result<(), TrainError> {
        let not_below_one = |name: &str, value: f64| {
            let fine = (0.0..1.0).contains(&value);
            (!fine).then(|| format!("{name} is {value}, it has to be at least 0 and below 1"))
        };
        let zero = |name: &str, value: usize| {
            (value == 0).then(|| format!("{name} is 0, it has to be 1 or more"))
        };
        let fault = zero("epochs", self.epochs)
            .or_else(|| zero("batch", self.batch))
            .or_else(|| zero("accumulate", self.accumulate))
            .or_else(|| not_below_one("label_smoothing", self.label_smoothing))
            .or_else(|| not_below_one("weight_decay", self.weight_decay))
            .or_else(|| not_below_one("average_decay", self.average_decay.unwrap_or(0.0)))
            .or_else(|| {
                let limit = self.clip_norm.unwrap_or(1.0);
                let fine = limit.is_finite() && limit > 0.0;
                (!fine).then(|| format!("clip_norm is {limit}, it has to be above 0"))
            })
            .or_else(|| self.optimizer.fault())
            .or_else(|| self.schedule.fault());
        fault.map_or(Ok(()), |fault| Err(TrainError::Recipe(fault)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toml_round_trip() {
        let spare = Recipe {
            clip_norm: None,
            average_decay: None,
            optimizer: Rule::Sgd { momentum: 0.9, nesterov: true },
            schedule: Schedule {
                learning_rate: 0.1 + 0.2,
                warmup_epochs: 0.0,
                decay: Decay::Exponential { factor: 0.94, every: 2.0, staircase: true },
            },
            ..Recipe::default()
        };
        for recipe in [Recipe::default(), Recipe::small(), spare] {
            let text = recipe.to_toml();
            assert_eq!(Recipe::from_toml(&text).unwrap(), recipe, "{text}");
        }
    }

    #[test]
    fn what_is_not_said_is_not_done() {
        let recipe = Recipe::from_toml(
            "epochs = 3\n\
             batch = 8\n\
             optimizer = { type = 'sgd', momentum = 0 }\n\
             schedule = { learning_rate = 0.1, decay = { type = 'constant' } }",
        )
        .unwrap();
        assert_eq!((recipe.clip_norm, recipe.average_decay), (None, None));
        assert_eq!((recipe.label_smoothing, recipe.weight_decay), (0.0, 0.0));
        assert_eq!(recipe.augmentation, None);
    }

    #[test]
    fn errors_say_where_and_what() {
        let good = Recipe::default().to_toml();
        let message = |from: &str, to: &str| {
            assert!(good.contains(from), "{from} is not in {good}");
            Recipe::from_toml(&good.replace(from, to)).unwrap_err().to_string()
        };
        let unknown = message("clip_norm", "clip");
        assert!(unknown.contains("line 6") && unknown.contains("`clip_norm`"), "{unknown}");
        for (from, to) in [("clip_norm", "clip"), ("rmsprop", "adam"), ("batch = ", "batch 32")] {
            let text = message(from, to);
            assert!(text.contains(": line ") && !text.contains('\n'), "{text}");
        }
        assert!(message("rmsprop", "adam").contains("rmsprop"));
        assert!(message("momentum = 0.9", "momentum = 1.5").contains("momentum is 1.5"));
        assert!(message("learning_rate = 0.045", "learning_rate = nan").contains("learning_rate"));
        assert!(message("batch = 32", "batch = 0").contains("batch is 0"));
        assert!(message("label_smoothing = 0.1", "label_smoothing = 1").contains("below 1"));
    }
}
