//! An epoch's steps, from wherever a checkpoint left off.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use inception_engine::Algorithms;
use inception_metrics::Evaluation;

use super::Trainer;
use super::session::Session;
use super::step::{Broken, Moment};
use crate::predictor::Predictor;
use crate::report::Tally;
use crate::{TrainError, diagnosis};

impl Trainer {
    /// Does the steps that are left of the epoch; false if it was stopped before the last.
    pub(super) fn train_epoch(&mut self, session: &mut Session) -> Result<bool, TrainError> {
        let (epoch, epochs) = (self.run.history.len(), self.run.recipe.epochs);
        let mut tally = self.run.epoch.take().unwrap_or_else(|| Tally::new(self.run.net.classes));
        let Some(mut batches) = session.batches(&self.run.recipe, epoch, tally.batches)? else {
            self.run.epoch = (tally.steps > 0).then_some(tally);
            return Ok(false);
        };
        let accumulate = self.run.recipe.accumulate;
        let steps = batches.batches().div_ceil(accumulate);
        let (start, before, skipped_before) = (Instant::now(), tally.seconds, tally.skipped);
        let mut last_save = Instant::now();
        let mut told = 0;
        loop {
            if session.options.stop.load(Ordering::Relaxed) {
                self.check_weights(&tally, epoch, session)?;
                self.run.epoch = (tally.steps > 0).then_some(tally);
                return Ok(false);
            }
            let done = epoch as f64 + tally.steps as f64 / steps as f64;
            let rate = self.run.recipe.learning_rate(done);
            let moment = Moment { learning_rate: rate, done: done / epochs as f64 };
            let some = batches.by_ref().take(accumulate);
            let figures = match self.step(some, &session.criterion, moment, &mut tally.evaluation) {
                Ok(Some(figures)) => figures,
                Ok(None) => break,
                Err(Broken::Error(error)) => return Err(error),
                Err(Broken::NotFinite(origin)) => {
                    return Err(session.not_finite(epoch + 1, rate, tally.steps + 1, origin));
                }
            };
            told = session.tell_skipped(&batches, told);
            tally.add(&figures);
            tally.batches = batches.given();
            tally.skipped = skipped_before + told;
            tally.seconds = before + start.elapsed().as_secs_f64();
            session.observer.step(&tally.step_report(&figures, (epoch + 1, epochs), steps));
            if last_save.elapsed() >= session.options.checkpoint_every {
                self.save_within(&tally, (epoch, steps), session)?;
                last_save = Instant::now();
            }
        }
        told = session.tell_skipped(&batches, told);
        tally.skipped = skipped_before + told;
        if tally.steps == 0 {
            return Err(TrainError::NoPictures(batches.first_skipped().unwrap_or_default()));
        }
        self.check_weights(&tally, epoch, session)?;
        self.run.epoch = Some(tally);
        Ok(true)
    }

    /// A checkpoint within an epoch. The last step of it is left to the checkpoint that follows
    /// the evaluation.
    fn save_within(
        &mut self,
        tally: &Tally,
        (epoch, steps): (usize, usize),
        session: &Session,
    ) -> Result<(), TrainError> {
        if tally.steps >= steps {
            return Ok(());
        }
        self.check_weights(tally, epoch, session)?;
        self.run.epoch = Some(tally.clone());
        let saved = self.save_checkpoint(&session.checkpoint());
        self.run.epoch = None;
        saved
    }

    /// The last step's own effect has not been through a loss yet, and what is not finite must
    /// never replace a good checkpoint.
    fn check_weights(
        &self,
        tally: &Tally,
        epoch: usize,
        session: &Session,
    ) -> Result<(), TrainError> {
        diagnosis::in_weights(self.training.weights()).map_or(Ok(()), |origin| {
            Err(session.not_finite(epoch + 1, tally.learning_rate, tally.steps, origin))
        })
    }

    /// `None` without test pictures.
    pub(super) fn evaluate(
        &self,
        session: &mut Session,
        tally: &mut Tally,
    ) -> Result<Option<Evaluation>, TrainError> {
        let Some(pipeline) = session.test.clone() else { return Ok(None) };
        if session.features.is_some() {
            let network = (&self.graph, self.weights(), &self.cpu);
            return session.evaluate_features(network, &pipeline, tally);
        }
        let cpu = Arc::clone(&self.cpu);
        let (net, algorithms) = (&self.run.net, Algorithms::Estimated);
        let mut predictor =
            Predictor::for_graph(net, &self.graph, self.weights(), cpu, &algorithms)?;
        let of = pipeline.samples().len();
        let mut done = 0;
        let evaluation = predictor.evaluate(&pipeline, session.options.workers, |i, answer| {
            done += 1;
            session.observer.evaluating(done, of);
            if let Err(error) = answer {
                tally.skipped += 1;
                session.tell_test(i, error);
            }
        })?;
        Ok(Some(evaluation))
    }
}
