//! The running average of the weights, which is what a run evaluates and saves.

use inception_model::Weights;

/// Exponential moving average of all weights and running statistics.
///
/// 1512.00567 §8 evaluates with "a running average of the parameters computed over time".
/// Batch norm's statistics are averaged too, as TF-slim does, since they belong to the weights
/// they were taken with.
#[derive(Clone, Debug)]
pub struct Average {
    decay: f64,
    weights: Weights,
}

impl Average {
    /// Starts at these weights.
    pub fn new(decay: f64, weights: Weights) -> Self {
        Self { decay, weights }
    }

    /// The average.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Puts others in its place.
    pub fn replace(&mut self, weights: Weights) {
        self.weights = weights;
    }

    /// Moves the average towards the weights after a step, `steps_before` of which came before
    /// it. Early on it decays faster, by `(1 + steps_before) / (10 + steps_before)` as
    /// `tf.train.ExponentialMovingAverage` does with `num_updates`, so that the random weights at
    /// the start are soon forgotten.
    pub fn update(&mut self, weights: &Weights, steps_before: u64) {
        let steps = steps_before as f64;
        let decay = self.decay.min((1.0 + steps) / (10.0 + steps));
        let share = (1.0 - decay) as f32;
        for ((_, average), tensor) in self.weights.values_mut().zip(weights.tensors()) {
            average.iter_mut().zip(&tensor.values).for_each(|(a, w)| *a += share * (w - *a));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiny::vector;

    /// `tf.train.ExponentialMovingAverage(0.2, num_updates=t)` by hand: decays 0.1, 2/11, then
    /// 0.2, where the ramp's 3/12 is above it.
    #[test]
    fn early_steps_forget_faster() {
        let mut average = Average::new(0.2, vector(&[1.0]));
        let mut expected = 1.0;
        for (step, decay) in [(0, 0.1), (1, 2.0 / 11.0), (2, 0.2)] {
            let weight = 2.0 + step as f64;
            expected = decay * expected + (1.0 - decay) * weight;
            average.update(&vector(&[weight as f32]), step);
        }
        let found = f64::from(average.weights().tensors()[0].values[0]);
        assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
    }

    #[test]
    fn constant_weights_are_their_own_average() {
        let weights = vector(&[0.1, -3.7]);
        let mut average = Average::new(0.999, weights.clone());
        (0..20).for_each(|step| average.update(&weights, step));
        assert_eq!(*average.weights(), weights);
    }
}
