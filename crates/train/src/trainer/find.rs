//! The run of a finder of learning rates.

use std::sync::atomic::Ordering;

use inception_image::Dataset;
use inception_metrics::Evaluation;

use super::session::Session;
use super::step::{Broken, Moment};
use super::{RunOptions, Trainer};
use crate::TrainError;
use crate::finder::RateCurve;
use crate::report::Observer;

impl Trainer {
    /// Trains for up to `steps` steps, the learning rate rising exponentially from the lower to
    /// the higher of `rates`, until the loss blows up or the run is stopped. The recipe's schedule
    /// plays no part, all else does. Nothing of use is written, and the trainer is used up.
    ///
    /// # Errors
    /// As [`Trainer::train`], numbers that are no longer finite excepted: they end the curve.
    pub fn find_rate(
        mut self,
        data: &Dataset,
        options: RunOptions,
        (steps, rates): (usize, (f64, f64)),
        observer: &mut dyn Observer,
    ) -> Result<RateCurve, TrainError> {
        let mut session = Session::new(&self, data, options, observer)?;
        let mut curve = RateCurve::default();
        let mut evaluation = Evaluation::new(self.run.net.classes);
        let accumulate = self.run.recipe.accumulate;
        for epoch in 0.. {
            let Some(mut batches) = session.batches(&self.run.recipe, epoch, 0)? else {
                return Ok(curve);
            };
            let before = curve.points.len();
            loop {
                let step = curve.points.len();
                if step == steps || session.options.stop.load(Ordering::Relaxed) {
                    return Ok(curve);
                }
                let learning_rate = RateCurve::rate(step, steps, rates);
                let moment = Moment { learning_rate, done: 0.0 };
                let some = batches.by_ref().take(accumulate);
                let loss = match self.step(some, &session.criterion, moment, &mut evaluation) {
                    Ok(Some(figures)) => figures.objective,
                    Ok(None) => break,
                    Err(Broken::NotFinite(_)) => return Ok(curve),
                    Err(Broken::Error(error)) => return Err(error),
                };
                if curve.add(learning_rate, loss) {
                    return Ok(curve);
                }
            }
            if curve.points.len() == before {
                return Err(TrainError::NoPictures(batches.first_skipped().unwrap_or_default()));
            }
        }
        Ok(curve)
    }
}
