//! What the parts of a recipe did to a finished run: what its report tells besides how well it
//! went.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use inception_engine::Cpu;
use inception_image::Dataset;
use inception_metrics::{Evaluation, logit_gap};
use inception_train::{CHECKPOINT_FILE, Checkpoint, LayerStatistics, Predictor, Run, Trainer};

use crate::events;
use crate::showcase::Showcase;
use crate::text::percent;

/// Training pictures that the gap between logits is measured on.
const MEASURED: usize = 2000;

/// Averages, clipping, smoothing; layers and steps.
pub struct Effects {
    /// The weights as they were after the last step, on the test pictures; where the recipe keeps
    /// an average of them and there are test pictures.
    pub last_weights: Option<Evaluation>,
    /// Share of all steps whose gradient was clipped; none without clipping.
    pub clipped: Option<f64>,
    /// How far each picture's largest logit is above the mean of the others, with the weights that
    /// are saved: training pictures without augmentation.
    pub train_gaps: Vec<f64>,
    /// The same for test pictures.
    pub test_gaps: Vec<f64>,
    /// The gap at which the smoothed loss is smallest.
    pub best_gap: Option<f64>,
    /// Each layer in one more step.
    pub layers: Vec<LayerStatistics>,
    /// What the steps made smaller, by the step's number in the run.
    pub objective: Vec<(u64, f64)>,
    /// Length of the steps' gradients before clipping.
    pub gradient_norm: Vec<(u64, f64)>,
}

impl Effects {
    /// Takes the run's figures, asks the saved model (`predictor`) about training pictures and
    /// trains the folder's checkpoint for one more step.
    pub fn new(
        run: &Run,
        data: &Dataset,
        folder: &Path,
        predictor: &mut Predictor,
        showcase: Option<&Showcase>,
        cpu: &Arc<Cpu>,
    ) -> Result<Self> {
        let checkpoint = Checkpoint::load(&folder.join(CHECKPOINT_FILE))?;
        let recipe = &run.recipe;
        let last_weights = match (&checkpoint.average, showcase) {
            (Some(_), Some(_)) => Some(evaluate(&checkpoint, data, cpu)?),
            _ => None,
        };
        let steps = run.history.iter().map(|epoch| epoch.clipped).sum::<f64>();
        Ok(Self {
            last_weights,
            clipped: recipe
                .clip_norm
                .or(recipe.clip_value)
                .map(|_| steps / run.history.len() as f64),
            train_gaps: gaps(predictor, data, cpu.threads())?,
            test_gaps: showcase.map_or_else(Vec::new, |showcase| showcase.gaps.clone()),
            best_gap: best_gap(run),
            layers: Trainer::resume(checkpoint, Arc::clone(cpu))?
                .statistics(data, cpu.threads())?,
            objective: events::scalar(folder, "step/objective"),
            gradient_norm: events::scalar(folder, "step/gradient_norm"),
        })
    }

    /// In a few words each, for the terminal.
    pub fn figures(&self) -> Vec<(&'static str, String)> {
        let mut figures = Vec::new();
        if let Some(last) = &self.last_weights {
            figures.push(("accuracy, last weights", percent(last.top1())));
        }
        figures.extend(self.clipped.map(|share| ("steps clipped", percent(share))));
        let gaps = [
            ("logit gap, training", mean(&self.train_gaps)),
            ("logit gap, test", mean(&self.test_gaps)),
            ("gap that smoothing wants", self.best_gap),
        ];
        figures.extend(
            gaps.into_iter().filter_map(|(name, gap)| Some((name, format!("{:.2}", gap?)))),
        );
        figures
    }
}

/// None of no values.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The weights being trained, not their average, on the test pictures.
fn evaluate(checkpoint: &Checkpoint, data: &Dataset, cpu: &Arc<Cpu>) -> Result<Evaluation> {
    let net = &checkpoint.run.net;
    let mut predictor = Predictor::new(net, &checkpoint.weights, Arc::clone(cpu))?;
    let pipeline = predictor.pipeline(data.test.clone(), 0)?;
    Ok(predictor.evaluate(&pipeline, cpu.threads(), |_, _| ())?)
}

/// The gap at which the loss is smallest, where labels, all alike, are what counts.
fn best_gap(run: &Run) -> Option<f64> {
    let recipe = &run.recipe;
    let mixed = recipe.augmentation.is_some_and(|augmentation| augmentation.mix.is_some());
    let plain = !mixed && recipe.class_weights.is_none();
    plain.then(|| recipe.criterion(Vec::new()).best_gap(run.net.classes)).flatten()
}

/// Of training pictures, evenly spaced.
fn gaps(predictor: &mut Predictor, data: &Dataset, workers: usize) -> Result<Vec<f64>> {
    let (all, taken) = (data.train.len(), data.train.len().min(MEASURED));
    let samples = (0..taken).map(|i| data.train[i * all / taken].clone()).collect();
    let pipeline = predictor.pipeline(samples, 0)?;
    let mut gaps = Vec::with_capacity(taken);
    predictor.answer(&pipeline, workers, |_, answer| gaps.extend(answer.map(logit_gap)))?;
    Ok(gaps)
}
