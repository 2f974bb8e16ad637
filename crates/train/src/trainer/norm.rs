//! Batch norm's running statistics after an epoch: taken anew, and compared with the batches'.

use super::Trainer;
use super::session::Session;
use crate::TrainError;
use crate::running_statistics::{self, Observed};

impl Trainer {
    fn observed(&self) -> Observed<'_> {
        let (graph, cpu) = (&self.graph, &self.cpu);
        Observed { graph, modes: &self.parts.modes, weights: self.weights(), cpu }
    }

    /// Takes batch norm's statistics anew, where the recipe asks for it.
    pub(super) fn reestimate(&mut self, session: &Session) -> Result<(), TrainError> {
        let Some(batches) = self.run.recipe.reestimate_norm else { return Ok(()) };
        if !self.observed().any() {
            return Ok(());
        }
        let pass = session.pass(&self.run.recipe, self.run.history.len() as u64, 0);
        let weights = self.observed().population(pass.take(batches))?;
        match &mut self.average {
            Some(average) => average.replace(weights),
            None => *self.training.weights_mut() = weights,
        }
        Ok(())
    }

    /// Tells once if the network does not do in inference what it does in training.
    pub(super) fn compare_modes(
        &self,
        session: &mut Session,
        epoch: usize,
    ) -> Result<(), TrainError> {
        let recipe = &self.run.recipe;
        if session.gap_told
            || !running_statistics::is_compared(epoch, recipe.epochs)
            || !self.observed().any()
        {
            return Ok(());
        }
        let pass = session.pass(recipe, epoch as u64 - 1, 0);
        if let Some(gap) = self.observed().gap(pass, (epoch, self.run.steps))? {
            session.gap_told = true;
            session.observer.mode_gap(&gap);
        }
        Ok(())
    }
}
