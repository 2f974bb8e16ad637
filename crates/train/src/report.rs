//! What a run tells while it goes on.

use inception_image::PictureError;
use inception_metrics::Evaluation;
use serde::{Deserialize, Serialize};

/// Whoever wants to know how a run goes.
pub trait Observer {
    /// A step is done.
    fn step(&mut self, _report: &StepReport) {}
    /// This many of the test pictures have been looked at after an epoch.
    fn evaluating(&mut self, _done: usize, _of: usize) {}
    /// An epoch is done, and its checkpoint and model are written.
    fn epoch(&mut self, _report: &EpochReport) {}
    /// A picture cannot be read and is left out; told once for each picture.
    fn skipped(&mut self, _picture: &PictureError) {}
}

/// Nobody.
impl Observer for () {}

/// After each step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Epochs of the whole run.
    pub epochs: usize,
    /// Step of the epoch, from 1.
    pub step: usize,
    /// Steps of the epoch.
    pub steps: usize,
    /// What this step made smaller: the loss of all heads, weighted and smoothed, without weight
    /// decay's part.
    pub objective: f64,
    /// Mean cross entropy of the main head over the epoch so far.
    pub loss: f64,
    /// Share of the epoch's pictures so far that the main head got right.
    pub top1: f64,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Length of the gradient before clipping, weight decay included.
    pub gradient_norm: f64,
    /// Over the epoch so far, waiting for pictures included.
    pub pictures_per_second: f64,
}

/// After each epoch; serialised, one line of a run's log.
///
/// The losses are the main head's mean cross entropy without smoothing, so that the two can be
/// compared. The training figures were taken along the way, on augmented pictures, with dropout,
/// while the weights changed; the test figures with the weights that are saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// From 1.
    pub epoch: usize,
    /// Loss on the training pictures.
    pub train_loss: f64,
    /// Share of the training pictures recognised.
    pub train_top1: f64,
    /// Loss on the test pictures; none without test pictures.
    pub test_loss: Option<f64>,
    /// Share of the test pictures recognised.
    pub test_top1: Option<f64>,
    /// Share of the test pictures whose class was among the first five; none for five classes or
    /// fewer.
    pub test_top5: Option<f64>,
    /// Mean of what the steps made smaller: all heads' losses, weighted and smoothed.
    pub objective: f64,
    /// Mean length of the gradient before clipping.
    pub gradient_norm: f64,
    /// Rate of the epoch's last step.
    pub learning_rate: f64,
    /// Training pictures by the time that training took, evaluation not included.
    pub pictures_per_second: f64,
    /// Time of the whole epoch, evaluation included, files not.
    pub seconds: f64,
    /// Pictures of this epoch that could not be read.
    pub skipped: usize,
}

/// What a step did.
pub(crate) struct StepFigures {
    pub objective: f64,
    pub gradient_norm: f64,
    pub learning_rate: f64,
}

/// What an epoch adds up so far, and where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Batches of the epoch that were trained on or could not be read.
    pub batches: usize,
    /// Steps done.
    pub steps: usize,
    /// The main head on the training pictures.
    pub evaluation: Evaluation,
    objective: f64,
    gradient_norm: f64,
    /// Rate of the last step.
    pub learning_rate: f64,
    /// Pictures that could not be read.
    pub skipped: usize,
    /// Time that the steps took.
    pub seconds: f64,
}

impl Tally {
    pub(crate) fn new(classes: usize) -> Self {
        Self {
            batches: 0,
            steps: 0,
            evaluation: Evaluation::new(classes),
            objective: 0.0,
            gradient_norm: 0.0,
            learning_rate: 0.0,
            skipped: 0,
            seconds: 0.0,
        }
    }

    pub(crate) fn add(&mut self, step: &StepFigures) {
        self.objective += step.objective;
        self.gradient_norm += step.gradient_norm;
        self.learning_rate = step.learning_rate;
        self.steps += 1;
    }

    fn pictures_per_second(&self) -> f64 {
        // A clock too coarse for one step would make it infinite, which JSON has no word for.
        self.evaluation.pictures() as f64 / self.seconds.max(1e-9)
    }

    /// After the step just added.
    pub(crate) fn step_report(
        &self,
        step: &StepFigures,
        (epoch, epochs): (usize, usize),
        steps: usize,
    ) -> StepReport {
        StepReport {
            epoch,
            epochs,
            step: self.steps,
            steps,
            objective: step.objective,
            loss: self.evaluation.loss(),
            top1: self.evaluation.top1(),
            learning_rate: step.learning_rate,
            gradient_norm: step.gradient_norm,
            pictures_per_second: self.pictures_per_second(),
        }
    }

    /// After the epoch, which took `seconds` in all; `test` holds the test pictures' evaluation
    /// where there are any.
    pub(crate) fn epoch_report(
        &self,
        epoch: usize,
        test: Option<&Evaluation>,
        seconds: f64,
    ) -> EpochReport {
        let test = test.filter(|test| test.pictures() > 0);
        let steps = self.steps as f64;
        EpochReport {
            epoch,
            train_loss: self.evaluation.loss(),
            train_top1: self.evaluation.top1(),
            test_loss: test.map(Evaluation::loss),
            test_top1: test.map(Evaluation::top1),
            test_top5: test.and_then(Evaluation::top5),
            objective: self.objective / steps,
            gradient_norm: self.gradient_norm / steps,
            learning_rate: self.learning_rate,
            pictures_per_second: self.pictures_per_second(),
            seconds,
            skipped: self.skipped,
        }
    }
}
