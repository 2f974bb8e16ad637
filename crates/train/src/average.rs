//! The running average of the weights, which is what a run evaluates and saves.

use inception_engine::Cpu;
use inception_model::Weights;
use serde::{Deserialize, Serialize};

use crate::parallel::{self, PIECE};

/// How weights are averaged over a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Averaging {
    /// Exponential moving average: 1512.00567 §8 evaluates with "a running average of the
    /// parameters computed over time".
    Exponential {
        /// Share kept of the average so far in each step.
        decay: f64,
    },
    /// All weights from some point on count alike (Polyak and Juditsky 1992), as 1409.4842 §6 has
    /// it without saying from where on.
    Polyak {
        /// The share of the run's epochs after which it begins; until then the weights themselves
        /// stand for it.
        #[serde(default)]
        from: f64,
    },
}

impl Averaging {
    /// What is wrong with the numbers, if anything.
    pub(crate) fn fault(&self) -> Option<String> {
        let (name, value) = match *self {
            Self::Exponential { decay } => ("the average's decay", decay),
            Self::Polyak { from } => ("the average's from", from),
        };
        let fine = (0.0..1.0).contains(&value);
        (!fine).then(|| format!("{name} is {value}, it has to be at least 0 and below 1"))
    }
}

/// An average of all weights and running statistics.
///
/// Batch norm's statistics are averaged too, as TF-slim does, since they belong to the weights
/// they were taken with.
#[derive(Clone, Debug)]
pub struct Average {
    averaging: Averaging,
    weights: Weights,
    /// Steps that have moved it.
    count: u64,
}

impl Average {
    /// Starts at these weights.
    pub fn new(averaging: Averaging, weights: Weights) -> Self {
        Self::restored(averaging, weights, 0)
    }

    /// An average that this many steps have moved.
    pub(crate) fn restored(averaging: Averaging, weights: Weights, count: u64) -> Self {
        Self { averaging, weights, count }
    }

    /// The average.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Puts others in its place.
    pub fn replace(&mut self, weights: Weights) {
        self.weights = weights;
    }

    /// Steps that have moved it: all of the run's, or for [`Averaging::Polyak`] those since it
    /// began.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Moves the average towards the weights after a step, before which `done` of the run's epochs
    /// were over, as a share.
    ///
    /// The exponential one decays faster early on, by `(1 + t) / (10 + t)` after `t` steps as
    /// `tf.train.ExponentialMovingAverage` does with `num_updates`, so that the random weights at
    /// the start are soon forgotten.
    pub fn update(&mut self, cpu: &Cpu, weights: &Weights, done: f64) {
        let count = self.count as f64;
        let share = match self.averaging {
            Averaging::Exponential { decay } => 1.0 - decay.min((1.0 + count) / (10.0 + count)),
            // A rounding error below the boundary is none. A run that is made longer may be before it
            // again.
            Averaging::Polyak { from } if done < from - 1e-9 => {
                self.count = 0;
                return self.take(cpu, weights);
            }
            Averaging::Polyak { .. } => 1.0 / (1.0 + count),
        };
        self.count += 1;
        if share == 1.0 {
            return self.take(cpu, weights);
        }
        let share = share as f32;
        parallel::map(cpu, self.pieces(weights), |(average, weights)| {
            average.iter_mut().zip(weights).for_each(|(a, w)| *a += share * (w - *a));
        });
    }

    fn take(&mut self, cpu: &Cpu, weights: &Weights) {
        parallel::map(cpu, self.pieces(weights), |(average, weights)| {
            average.copy_from_slice(weights);
        });
    }

    fn pieces<'a>(
        &'a mut self,
        weights: &'a Weights,
    ) -> impl Iterator<Item = (&'a mut [f32], &'a [f32])> {
        let pairs = self.weights.values_mut().zip(weights.tensors());
        pairs.flat_map(|((_, a), w)| a.chunks_mut(PIECE).zip(w.values.chunks(PIECE)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiny::{cpu, vector};

    /// `tf.train.ExponentialMovingAverage(0.2, num_updates=t)` by hand: decays 0.1, 2/11, then
    /// 0.2, where the ramp's 3/12 is above it.
    /// Lengthened, a run's second half begins later: what was averaged before counts no more.
    #[test]
    fn polyak_forgets_what_lies_before_its_beginning() {
        let cpu = Cpu::new(1).unwrap();
        let averaging = Averaging::Polyak { from: 0.5 };
        let mut average = Average::new(averaging, vector(&[0.0]));
        average.update(&cpu, &vector(&[1.0]), 0.6);
        average.update(&cpu, &vector(&[3.0]), 0.8);
        assert_eq!((average.weights().tensors()[0].values[0], average.count()), (2.0, 2));
        average.update(&cpu, &vector(&[5.0]), 0.4);
        average.update(&cpu, &vector(&[7.0]), 0.5);
        assert_eq!((average.weights().tensors()[0].values[0], average.count()), (7.0, 1));
    }

    #[test]
    fn early_steps_forget_faster() {
        let mut average = Average::new(Averaging::Exponential { decay: 0.2 }, vector(&[1.0]));
        let mut expected = 1.0;
        for (step, decay) in [(0, 0.1), (1, 2.0 / 11.0), (2, 0.2)] {
            let weight = 2.0 + step as f64;
            expected = decay * expected + (1.0 - decay) * weight;
            average.update(&cpu(), &vector(&[weight as f32]), 0.0);
        }
        let found = f64::from(average.weights().tensors()[0].values[0]);
        assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
    }

    #[test]
    fn constant_weights_are_their_own_average() {
        let weights = vector(&[0.1, -3.7]);
        for averaging in [Averaging::Exponential { decay: 0.999 }, Averaging::Polyak { from: 0.5 }]
        {
            let mut average = Average::new(averaging, weights.clone());
            (0..20).for_each(|step| average.update(&cpu(), &weights, f64::from(step) / 20.0));
            assert_eq!(*average.weights(), weights);
        }
    }

    #[test]
    fn polyaks_begins_at_its_share_of_the_run_and_counts_all_alike() {
        let mut average = Average::new(Averaging::Polyak { from: 0.5 }, vector(&[100.0]));
        let mut seen = Vec::new();
        for step in 0..8u8 {
            let done = f64::from(step) / 8.0;
            average.update(&cpu(), &vector(&[f32::from(step)]), done);
            seen.push(average.weights().tensors()[0].values[0]);
        }
        assert_eq!(seen, [0.0, 1.0, 2.0, 3.0, 4.0, 4.5, 5.0, 5.5]);
        assert_eq!(average.count(), 4);
    }
}
