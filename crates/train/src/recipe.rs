//! Everything that decides how a network is trained, as data.

use inception_image::Augmentation;
use inception_net::graph::{Graph, Op};
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::average::Averaging;
use crate::class_weights::ClassWeights;
use crate::early_stopping::EarlyStopping;
use crate::fine_tuning::FineTuning;
use crate::loss::{Criterion, Distillation, SmoothingOver};
use crate::optimizer::Rule;
use crate::schedule::Schedule;

/// A training method. Written out it is complete: what a recipe's text leaves out is not done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// How often every training picture is seen.
    pub epochs: usize,
    /// Pictures in a batch, which go through the network together.
    pub batch: usize,
    /// Batches whose mean gradient makes one step, for steps of more pictures than fit into
    /// memory. Batch norm still sees one batch at a time.
    #[serde(default = "one")]
    pub accumulate: usize,
    /// Decides the order of the pictures, their augmentation and what dropout drops.
    #[serde(default)]
    pub seed: u32,
    /// ε of label smoothing (1512.00567 §7, there 0.1); 0 for none.
    #[serde(default)]
    pub label_smoothing: f64,
    /// The classes that share ε.
    #[serde(default)]
    pub smoothing_over: SmoothingOver,
    /// How much each class counts; all alike without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<ClassWeights>,
    /// Weight of the auxiliary heads' losses; the network's own without it. 0 leaves the heads
    /// without any effect but on batch norm's statistics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auxiliary_weight: Option<f64>,
    /// Share of values that dropout zeroes, all of the network's dropout layers; the network's own
    /// without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Factor of the L2 penalty on filters and matrices; 0 for none. AdamW shortens the weights by
    /// it instead (see [`Rule::AdamW`]).
    #[serde(default)]
    pub weight_decay: f64,
    /// Longest gradient of a step, all tensors taken as one vector, weight decay included; longer
    /// ones are shortened to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Largest value in a gradient; larger ones are cut down to it, before their length is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_value: Option<f64>,
    /// The running average of the weights, with which the network is evaluated and saved; without
    /// it these are the weights themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average: Option<Averaging>,
    /// Training batches over which batch norm's statistics are taken anew after each epoch, with
    /// the weights that are evaluated and saved (1502.03167, algorithm 2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reestimate_norm: Option<usize>,
    /// How gradients change weights.
    pub optimizer: Rule,
    /// The learning rate.
    pub schedule: Schedule,
    /// When to end before the last epoch; never without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    /// How a teacher's answers count; needs a teacher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distillation: Option<Distillation>,
    /// How training pictures are changed at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub augmentation: Option<Augmentation>,
    /// What stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fine_tuning: Option<FineTuning>,
}

fn one() -> usize {
    1
}

impl Recipe {
    /// The learning rate of the step that begins after `done` epochs, fractions included.
    pub fn learning_rate(&self, done: f64) -> f64 {
        self.schedule.at(done, self.epochs as f64, self.step_pictures())
    }

    /// Pictures whose gradients make one step.
    pub fn step_pictures(&self) -> usize {
        self.batch.saturating_mul(self.accumulate)
    }

    /// What a batch's answers are judged by; `class_weights` are those of the training pictures,
    /// empty for none.
    pub fn criterion(&self, class_weights: Vec<f64>) -> Criterion {
        Criterion {
            smoothing: self.label_smoothing,
            over: self.smoothing_over,
            class_weights,
            distillation: self.distillation,
        }
    }

    /// Gives a network to be trained the weights of auxiliary heads and the dropout that the
    /// recipe names.
    pub fn adjust(&self, graph: &mut Graph) {
        if let (Some(weight), Some((_, auxiliary))) =
            (self.auxiliary_weight, graph.heads.split_last_mut())
        {
            auxiliary.iter_mut().for_each(|head| head.loss_weight = weight as f32);
        }
        if let Some(dropout) = self.dropout {
            for layer in &mut graph.layers {
                if let Op::Dropout { rate } = &mut layer.op {
                    *rate = dropout as f32;
                }
            }
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
        let above_zero = |name: &str, value: Option<f64>| {
            let bad = value.filter(|value| !(value.is_finite() && *value > 0.0));
            bad.map(|value| format!("{name} is {value}, it has to be above 0"))
        };
        let finite = |name: &str, value: Option<f64>| {
            let bad = value.filter(|value| !((*value as f32).is_finite() && *value >= 0.0));
            bad.map(|value| format!("{name} is {value}, it has to be 0 or more"))
        };
        let distillation = self.distillation;
        let patience = self.early_stopping.map_or(1, |stopping| stopping.patience);
        let fault = zero("epochs", self.epochs)
            .or_else(|| zero("batch", self.batch))
            .or_else(|| zero("accumulate", self.accumulate))
            .or_else(|| not_below_one("label_smoothing", self.label_smoothing))
            .or_else(|| self.class_weights.as_ref().and_then(ClassWeights::fault))
            .or_else(|| finite("auxiliary_weight", self.auxiliary_weight))
            .or_else(|| not_below_one("dropout", self.dropout.unwrap_or(0.0)))
            .or_else(|| not_below_one("weight_decay", self.weight_decay))
            .or_else(|| above_zero("clip_norm", self.clip_norm))
            .or_else(|| above_zero("clip_value", self.clip_value))
            .or_else(|| self.average.and_then(|average| average.fault()))
            .or_else(|| self.optimizer.fault())
            .or_else(|| self.schedule.fault())
            .or_else(|| zero("early_stopping's patience", patience))
            .or_else(|| above_zero("the temperature", distillation.map(|d| d.temperature)))
            .or_else(|| {
                let weight = distillation.map_or(0.5, |d| d.weight);
                let fine = weight > 0.0 && weight <= 1.0;
                let say = || {
                    format!("the teacher's weight is {weight}, it has to be above 0 and at most 1")
                };
                (!fine).then(say)
            })
            .or_else(|| self.augmentation.and_then(|a| a.check().err()))
            .or_else(|| zero("reestimate_norm", self.reestimate_norm.unwrap_or(1)))
            .or_else(|| self.fine_tuning.as_ref().and_then(FineTuning::fault))
            .or_else(|| {
                let cached = self.fine_tuning.as_ref().is_some_and(|f| f.cached_views.is_some());
                let mixed = self.augmentation.is_some_and(|a| a.mix.is_some());
                let fault =
                    "cached_views keeps what becomes of single pictures, and mix mixes them";
                (cached && mixed).then(|| format!("{fault}; leave out one of the two"))
            });
        fault.map_or(Ok(()), |fault| Err(TrainError::Recipe(fault)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decay, Preset};

    fn preset(name: &str) -> Recipe {
        Preset::named(name).unwrap().recipe()
    }

    #[test]
    fn toml_round_trip() {
        let spare = Recipe {
            clip_norm: None,
            clip_value: Some(0.5),
            accumulate: 4,
            smoothing_over: SmoothingOver::Others,
            class_weights: Some(ClassWeights::List(vec![1.0, 2.0])),
            auxiliary_weight: Some(0.3),
            dropout: Some(0.5),
            average: Some(Averaging::Polyak { from: 0.25 }),
            optimizer: Rule::adamw(),
            schedule: Schedule {
                learning_rate: 0.1 + 0.2,
                reference_batch: Some(256),
                warmup_epochs: 0.0,
                of_epochs: Some(90.0),
                decay: Decay::Step { factor: 0.1, at: vec![30.0, 60.0] },
            },
            early_stopping: Some(EarlyStopping { patience: 3, metric: Default::default() }),
            distillation: Some(Distillation { temperature: 4.0, weight: 0.9 }),
            ..preset("paper")
        };
        let text = spare.to_toml();
        assert_eq!(Recipe::from_toml(&text).unwrap(), spare, "{text}");
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
        assert_eq!((recipe.clip_norm, recipe.clip_value, recipe.average), (None, None, None));
        assert_eq!((recipe.label_smoothing, recipe.weight_decay), (0.0, 0.0));
        assert_eq!((recipe.auxiliary_weight, recipe.dropout), (None, None));
        assert_eq!((recipe.augmentation, recipe.distillation), (None, None));
        assert_eq!(recipe.step_pictures(), 8);
    }

    #[test]
    fn rate_goes_with_the_pictures_of_a_step() {
        let mut recipe = preset("paper");
        (recipe.batch, recipe.accumulate) = (16, 8);
        assert_eq!(recipe.learning_rate(0.0), 0.18);
        recipe.schedule.reference_batch = None;
        assert_eq!(recipe.learning_rate(0.0), 0.045);
    }

    #[test]
    fn errors_say_where_and_what() {
        let good = preset("small-data").to_toml();
        let message = |from: &str, to: &str| {
            assert!(good.contains(from), "{from} is not in {good}");
            Recipe::from_toml(&good.replace(from, to)).unwrap_err().to_string()
        };
        let unknown = message("clip_norm", "clip");
        assert!(unknown.contains("line 8") && unknown.contains("`clip_norm`"), "{unknown}");
        for (from, to) in [("clip_norm", "clip"), ("rmsprop", "adam"), ("batch = ", "batch 32")] {
            let text = message(from, to);
            assert!(text.contains(": line ") && !text.contains('\n'), "{text}");
        }
        assert!(message("rmsprop", "adam").contains("rmsprop"));
        assert!(message("momentum = 0.9", "momentum = 1.5").contains("momentum is 1.5"));
        assert!(message("learning_rate = 0.045", "learning_rate = nan").contains("learning_rate"));
        assert!(message("batch = 32", "batch = 0").contains("batch is 0"));
        assert!(message("accumulate = 1", "accumulate = 0").contains("accumulate is 0"));
        assert!(message("label_smoothing = 0.1", "label_smoothing = 1").contains("below 1"));
        assert!(message("clip_norm = 2.0", "clip_norm = 0").contains("above 0"));
        assert!(message("decay = 0.999", "decay = 1").contains("average's decay"));
    }

    #[test]
    fn a_network_is_adjusted() {
        let net = inception_net::zoo::build("googlenet", &Default::default()).unwrap();
        let mut graph = net.graph().unwrap();
        let recipe = preset("paper");
        let before = graph.heads.clone();
        Recipe { auxiliary_weight: None, ..recipe.clone() }.adjust(&mut graph);
        assert_eq!(graph.heads, before);
        let recipe = Recipe { auxiliary_weight: Some(0.125), dropout: Some(0.25), ..recipe };
        recipe.adjust(&mut graph);
        let weights: Vec<f32> = graph.heads.iter().map(|head| head.loss_weight).collect();
        assert_eq!(weights, [0.125, 0.125, 1.0]);
        let rates = graph.layers.iter().filter_map(|layer| match layer.op {
            Op::Dropout { rate } => Some(rate),
            _ => None,
        });
        assert!(rates.clone().count() > 0 && rates.into_iter().all(|rate| rate == 0.25));
    }
}
