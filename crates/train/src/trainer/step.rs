//! One step: some pictures forward and back, and the weights moved.

use inception_image::Batch;
use inception_metrics::Evaluation;

use super::Trainer;
use crate::loss::{Answers, Criterion, HeadLoss, Targets};
use crate::optimizer::Step;
use crate::report::StepFigures;
use crate::{Origin, TrainError, diagnosis, gradient};

/// When a step is made and how far it goes.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub learning_rate: f64,
    /// The share of the run that is done before it.
    pub done: f64,
}

/// A step that did not work out.
pub(super) enum Broken {
    /// Something is not finite any more.
    NotFinite(Origin),
    Error(TrainError),
}

impl<E: Into<TrainError>> From<E> for Broken {
    fn from(error: E) -> Self {
        Broken::Error(error.into())
    }
}

impl Trainer {
    /// Moves the weights by the mean gradient over all pictures of the batches; `None` without
    /// any.
    pub(super) fn step(
        &mut self,
        batches: impl Iterator<Item = Batch>,
        criterion: &Criterion,
        moment: Moment,
        evaluation: &mut Evaluation,
    ) -> Result<Option<StepFigures>, Broken> {
        let accumulate = self.run.recipe.accumulate;
        let (mut pictures, mut objective) = (0, 0.0);
        for (place, batch) in batches.enumerate() {
            let part = self.run.steps * accumulate as u64 + place as u64;
            objective +=
                self.forward_backward(&batch, criterion, part, evaluation)? * batch.len() as f64;
            pictures += batch.len();
            if accumulate > 1 {
                let gradients = self.training.gradients();
                gradient::accumulate(&self.cpu, &mut self.accumulated, gradients, batch.len());
            }
        }
        if pictures == 0 {
            return Ok(None);
        }
        if accumulate > 1 {
            let (_, gradients) = self.training.weights_and_gradients();
            gradient::take_mean(&self.cpu, &mut self.accumulated, pictures, gradients);
        }
        let (gradient_norm, clipped) = self.update(moment)?;
        let objective = objective / pictures as f64;
        let run_step = self.run.steps;
        let learning_rate = moment.learning_rate;
        Ok(Some(StepFigures { objective, gradient_norm, clipped, learning_rate, run_step }))
    }

    /// The loss that is made smaller, its gradient left in the engine; `part` is the batch's
    /// number in the run.
    fn forward_backward(
        &mut self,
        batch: &Batch,
        criterion: &Criterion,
        part: u64,
        evaluation: &mut Evaluation,
    ) -> Result<f64, Broken> {
        let seed = dropout_seed(self.run.recipe.seed, part);
        let logits = self.training.forward(&batch.pictures, seed)?;
        let teacher = self.teacher.as_mut().map(|teacher| teacher.answer(&batch.pictures));
        let teacher = teacher.transpose()?;
        let heads = self.losses(&logits, Targets::of(batch), criterion, teacher.as_deref());
        let weights = self.graph.heads.iter().map(|head| f64::from(head.loss_weight));
        let objective: f64 = weights.zip(&heads).map(|(weight, head)| weight * head.loss).sum();
        if !objective.is_finite() {
            let weights = self.training.weights();
            let pictures = &batch.pictures;
            let (graph, inputs) = (&self.graph, &self.parts.inputs);
            let origin = diagnosis::in_forward(graph, inputs, weights, &self.cpu, pictures)?;
            return Err(Broken::NotFinite(origin));
        }
        let gradients: Vec<Vec<f32>> = heads.into_iter().map(|head| head.gradient).collect();
        self.training.backward(&gradients)?;
        let main = logits.last().expect("a network has a main head");
        let rows = main.chunks_exact(self.run.net.classes).zip(&batch.labels);
        rows.for_each(|(logits, &label)| evaluation.add(logits, label));
        Ok(objective)
    }

    /// Moves the weights by the gradients at hand. Gives their length before clipping by it, and
    /// whether they were clipped.
    fn update(&mut self, moment: Moment) -> Result<(f64, bool), Broken> {
        let (recipe, cpu) = (&self.run.recipe, &*self.cpu);
        let (weights, gradients) = self.training.weights_and_gradients();
        if !recipe.optimizer.decouples_weight_decay() {
            gradient::add_weight_decay(cpu, weights, gradients, recipe.weight_decay);
        }
        let by_value =
            recipe.clip_value.is_some_and(|limit| gradient::clip_value(cpu, gradients, limit));
        let norm = gradient::global_norm(cpu, gradients);
        if !norm.is_finite() {
            return Err(Broken::NotFinite(diagnosis::in_gradients(weights, gradients)));
        }
        let by_norm =
            recipe.clip_norm.is_some_and(|limit| gradient::clip_norm(cpu, gradients, norm, limit));
        let (rate, weight_decay) = (moment.learning_rate, recipe.weight_decay);
        let step = Step { rate, weight_decay, before: self.run.steps };
        self.optimizer.step(cpu, weights, gradients, step);
        if let Some(average) = &mut self.average {
            average.update(cpu, weights, moment.done);
        }
        self.run.steps += 1;
        Ok((norm, by_value || by_norm))
    }

    fn losses(
        &self,
        logits: &[Vec<f32>],
        targets: Targets,
        criterion: &Criterion,
        teacher: Option<&[f32]>,
    ) -> Vec<HeadLoss> {
        let classes = self.run.net.classes;
        let heads = self.graph.heads.iter().zip(logits);
        heads
            .map(|(head, logits)| {
                let answers = Answers { logits, classes, targets, teacher };
                criterion.loss(answers, f64::from(head.loss_weight))
            })
            .collect()
    }
}

/// Another for each batch, and for neighbouring seeds (splitmix64's finaliser).
pub(super) fn dropout_seed(seed: u32, batch: u64) -> u64 {
    let mut z = (u64::from(seed) << 32 ^ batch).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
