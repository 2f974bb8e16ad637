//! Batch norm's running statistics: whether they suit the weights, and how to take them anew.

use std::fmt;
use std::sync::Arc;

use inception_engine::{Cpu, Inference, LayerMode, NormMode, Training};
use inception_image::Batch;
use inception_metrics::Evaluation;
use inception_model::Weights;
use inception_net::graph::{BatchNorm, Graph, Op, Role};

use crate::TrainError;

/// Above this difference of the losses the two modes disagree: the right class then gets less
/// than half the probability (its geometric mean) in inference.
const LARGEST_GAP: f64 = std::f64::consts::LN_2;
/// Pictures looked at to compare the modes.
const COMPARED: usize = 64;
/// Share of what running statistics began with that may be left in them.
const LARGEST_REST: f64 = 0.05;
/// Values of a channel in a batch below which its statistics are mostly chance: the variance of
/// 32 values is off by a quarter (√(2/31)).
const FEWEST_VALUES: usize = 32;

/// The network does much worse on the same training pictures with the same weights when batch norm
/// uses its running statistics, as in prediction, than with each batch's own, as in training.
#[derive(Clone, Debug, PartialEq)]
pub struct ModeGap {
    /// Epoch after which, from 1.
    pub epoch: usize,
    /// Loss of the main head with the batches' statistics, without dropout.
    pub training_loss: f64,
    /// The same with the running statistics.
    pub inference_loss: f64,
    /// The likely cause.
    pub cause: GapCause,
}

/// Why running statistics do not suit.
#[derive(Clone, Debug, PartialEq)]
pub enum GapCause {
    /// They still hold this share of what they began with: `decay` to the power of the steps.
    Slow {
        /// Share left, 0–1.
        rest: f64,
        /// The slowest batch norm's decay.
        decay: f32,
    },
    /// A batch gives some layer's channels so few values that its statistics are mostly chance.
    FewValues {
        /// Values of a channel in a batch.
        values: usize,
        /// The layer.
        layer: String,
    },
    /// They trail behind weights that change fast.
    Trailing,
}

impl fmt::Display for ModeGap {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { epoch, training_loss, inference_loss, cause } = self;
        write!(
            f,
            "after epoch {epoch} the loss on training pictures is {inference_loss:.2} with batch \
             norm's running statistics, as in prediction, but {training_loss:.2} with the batches' \
             own, as in training: "
        )?;
        match cause {
            GapCause::Slow { rest, decay } => write!(
                f,
                "the running statistics are still to {:.0} % what they began with, as they keep \
                 {decay} at each step",
                100.0 * rest
            )?,
            GapCause::FewValues { values, layer } => write!(
                f,
                "a batch gives each channel of `{layer}` only {values} values, whose mean and \
                 variance are mostly chance; take a larger batch"
            )?,
            GapCause::Trailing => write!(f, "the running statistics trail behind the weights")?,
        }
        write!(
            f,
            "; `reestimate_norm = 50` in the recipe takes the statistics anew after each epoch, \
             and `frozen_batch_norm = \"all\"` under [fine_tuning] trains with those the model has"
        )
    }
}

/// What it takes to look at batch norm in training mode.
pub(crate) struct Observed<'a> {
    pub graph: &'a Graph,
    pub modes: &'a [LayerMode],
    pub weights: &'a Weights,
    pub cpu: &'a Arc<Cpu>,
}

impl Observed<'_> {
    /// Whether any layer is normalised by the batch.
    pub fn any(&self) -> bool {
        let mut modes = self.modes.iter().enumerate();
        modes.any(|(id, mode)| {
            mode.norm == NormMode::Batch && norm(&self.graph.layers[id].op).is_some()
        })
    }

    /// In training mode, but nothing is trained or dropped, and running statistics become each
    /// batch's own.
    fn training_mode(&self) -> Result<Training, TrainError> {
        let mut graph = self.graph.clone();
        for layer in &mut graph.layers {
            match &mut layer.op {
                Op::Dropout { rate } => *rate = 0.0,
                Op::Conv(conv) => conv.batch_norm.iter_mut().for_each(|norm| norm.decay = 0.0),
                Op::Linear(linear) => linear.batch_norm.iter_mut().for_each(|n| n.decay = 0.0),
                _ => {}
            }
        }
        let untrained = |mode: &LayerMode| LayerMode { trained: false, ..*mode };
        let modes: Vec<LayerMode> = self.modes.iter().map(untrained).collect();
        let cpu = Arc::clone(self.cpu);
        Ok(Training::partial(&graph, self.weights.clone(), cpu, &modes, &[0])?)
    }

    /// The weights with statistics of the population: over these batches the mean of the means
    /// and of the unbiased variances (1502.03167, algorithm 2).
    pub fn population(&self, batches: impl Iterator<Item = Batch>) -> Result<Weights, TrainError> {
        let mut training = self.training_mode()?;
        let is_statistic = |role| matches!(role, Role::RunningMean | Role::RunningVariance);
        let mut sums: Vec<Vec<f64>> =
            self.weights.tensors().iter().map(|t| vec![0.0; t.values.len()]).collect();
        let mut count = 0.0;
        for batch in batches {
            training.forward(&batch.pictures, 0)?;
            count += 1.0;
            for (sum, tensor) in sums.iter_mut().zip(training.weights().tensors()) {
                if is_statistic(tensor.parameter.role) {
                    sum.iter_mut().zip(&tensor.values).for_each(|(s, &v)| *s += f64::from(v));
                }
            }
        }
        let mut weights = self.weights.clone();
        for ((parameter, values), sum) in weights.values_mut().zip(&sums) {
            if count > 0.0 && is_statistic(parameter.role) {
                values.iter_mut().zip(sum).for_each(|(v, s)| *v = (s / count) as f32);
            }
        }
        Ok(weights)
    }

    /// Whether training and inference mode disagree on these batches, after this epoch and this
    /// many steps.
    pub fn gap(
        &self,
        batches: impl Iterator<Item = Batch>,
        (epoch, steps): (usize, u64),
    ) -> Result<Option<ModeGap>, TrainError> {
        let mut training = self.training_mode()?;
        let mut inference = Inference::new(self.graph, self.weights, Arc::clone(self.cpu))?;
        let classes = self.graph.layers[self.graph.main_logits()].shape.channels;
        let [mut own, mut running] = [Evaluation::new(classes), Evaluation::new(classes)];
        let mut largest = 0;
        for batch in batches {
            let heads = training.forward(&batch.pictures, 0)?;
            let logits = [heads.last().expect("a main head"), &inference.run(&batch.pictures)?];
            for (evaluation, logits) in [&mut own, &mut running].into_iter().zip(logits) {
                let rows = logits.chunks_exact(classes).zip(&batch.labels);
                rows.for_each(|(logits, &label)| evaluation.add(logits, label));
            }
            largest = largest.max(batch.len());
            if own.pictures() >= COMPARED as u64 {
                break;
            }
        }
        let (training_loss, inference_loss) = (own.loss(), running.loss());
        // What is no number is a disagreement too.
        if largest == 0 || inference_loss - training_loss <= LARGEST_GAP {
            return Ok(None);
        }
        let cause = self.cause(largest, steps);
        Ok(Some(ModeGap { epoch, training_loss, inference_loss, cause }))
    }

    fn cause(&self, batch: usize, steps: u64) -> GapCause {
        let layers = self.graph.layers.iter().zip(self.modes);
        let normed: Vec<_> = layers
            .filter(|(_, mode)| mode.norm == NormMode::Batch)
            .filter_map(|(layer, _)| norm(&layer.op).map(|norm| (layer, norm.decay)))
            .collect();
        let decay = normed.iter().fold(0.0, |slowest: f32, (_, decay)| slowest.max(*decay));
        let rest = f64::from(decay).powf(steps as f64);
        let values = |height: usize, width: usize| batch * height * width;
        let fewest = normed.iter().map(|(l, _)| (values(l.shape.height, l.shape.width), &l.name));
        match fewest.filter(|(values, _)| *values > 1).min_by_key(|(values, _)| *values) {
            _ if rest > LARGEST_REST => GapCause::Slow { rest, decay },
            Some((values, layer)) if values < FEWEST_VALUES => {
                GapCause::FewValues { values, layer: layer.clone() }
            }
            _ => GapCause::Trailing,
        }
    }
}

fn norm(op: &Op) -> Option<BatchNorm> {
    match op {
        Op::Conv(conv) => conv.batch_norm,
        Op::Linear(linear) => linear.batch_norm,
        _ => None,
    }
}

/// Whether the modes are compared after this epoch: from a tenth of the run on after the first,
/// second, fourth, eighth epoch and so on, and after the last. Early on statistics have had no
/// time yet.
pub(crate) fn is_compared(epoch: usize, epochs: usize) -> bool {
    epoch == epochs || (epoch.is_power_of_two() && 10 * epoch >= epochs)
}
