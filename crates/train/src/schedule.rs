//! How the learning rate changes over a run.

use serde::{Deserialize, Serialize};

/// Share of the learning rate that a warm-up begins with: at zero the first step would be none.
const WARMUP_START: f64 = 0.1;

/// The learning rate as a function of the epochs done, fractions included, so that it does not
/// depend on how many steps an epoch has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The rate that warm-up leads to and decay starts from.
    pub learning_rate: f64,
    /// Epochs over which the rate rises linearly from a tenth of itself (Goyal et al. 2017,
    /// 1706.02677 §2.2, there from 1/workers); 0 for none.
    #[serde(default)]
    pub warmup_epochs: f64,
    /// What happens to it in the course of the run.
    pub decay: Decay,
}

/// Decay of the learning rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Decay {
    /// None.
    Constant,
    /// Times `factor` every `every` epochs, counted from the start of the run; 1512.00567 §8 has
    /// 0.94 every two.
    Exponential {
        /// Between 0 and 1.
        factor: f64,
        /// Epochs.
        every: f64,
        /// At once at the end of each `every` epochs, instead of a little with each step.
        staircase: bool,
    },
    /// Half a cosine from the end of the warm-up to zero at the end of the run (Loshchilov and
    /// Hutter 2017, 1608.03983, without restarts).
    Cosine,
}

impl Schedule {
    /// The rate for the step that begins after `done` of a run's `epochs`.
    pub fn at(&self, done: f64, epochs: f64) -> f64 {
        let decayed = match self.decay {
            Decay::Constant => 1.0,
            Decay::Exponential { factor, every, staircase } => {
                let times = done / every;
                factor.powf(if staircase { times.floor() } else { times })
            }
            Decay::Cosine => {
                let length = (epochs - self.warmup_epochs).max(f64::MIN_POSITIVE);
                let share = ((done - self.warmup_epochs) / length).clamp(0.0, 1.0);
                0.5 * (1.0 + (std::f64::consts::PI * share).cos())
            }
        };
        let warmed = if done < self.warmup_epochs {
            WARMUP_START + (1.0 - WARMUP_START) * done / self.warmup_epochs
        } else {
            1.0
        };
        self.learning_rate * warmed * decayed
    }

    /// What is wrong with the numbers, if anything.
    pub(crate) fn fault(&self) -> Option<String> {
        let Self { learning_rate, warmup_epochs, decay } = self;
        if !(learning_rate.is_finite() && *learning_rate > 0.0) {
            return Some(format!("learning_rate is {learning_rate}, it has to be above 0"));
        }
        if !(warmup_epochs.is_finite() && *warmup_epochs >= 0.0) {
            return Some(format!("warmup_epochs is {warmup_epochs}, it has to be 0 or more"));
        }
        match decay {
            Decay::Exponential { factor, .. } if !(*factor > 0.0 && *factor <= 1.0) => {
                Some(format!("the decay's factor is {factor}, it has to be above 0 and at most 1"))
            }
            Decay::Exponential { every, .. } if !(every.is_finite() && *every > 0.0) => {
                Some(format!("the decay's every is {every}, it has to be above 0"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(warmup_epochs: f64, decay: Decay) -> Schedule {
        Schedule { learning_rate: 0.045, warmup_epochs, decay }
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-12 * expected, "{found} instead of {expected}");
    }

    #[test]
    fn the_papers_staircase() {
        let paper = schedule(0.0, Decay::Exponential { factor: 0.94, every: 2.0, staircase: true });
        for (done, times) in [(0.0, 0), (1.99, 0), (2.0, 1), (3.5, 1), (4.0, 2), (99.9, 49)] {
            close(paper.at(done, 100.0), 0.045 * 0.94f64.powi(times));
        }
    }

    #[test]
    fn smooth_exponential_meets_the_staircase_at_its_steps() {
        let smooth =
            schedule(0.0, Decay::Exponential { factor: 0.94, every: 2.0, staircase: false });
        close(smooth.at(4.0, 100.0), 0.045 * 0.94 * 0.94);
        close(smooth.at(1.0, 100.0), 0.045 * 0.94f64.sqrt());
    }

    #[test]
    fn cosine_ends_at_zero_and_is_half_in_the_middle() {
        let cosine = schedule(0.0, Decay::Cosine);
        close(cosine.at(0.0, 8.0), 0.045);
        close(cosine.at(4.0, 8.0), 0.0225);
        // torch.optim.lr_scheduler.CosineAnnealingLR(T_max=8) after 3 steps.
        close(cosine.at(3.0, 8.0), 0.045 * 0.6913417161825449);
        assert!(cosine.at(8.0, 8.0).abs() < 1e-15);
    }

    #[test]
    fn warmup_rises_from_a_tenth_and_the_cosine_waits_for_it() {
        let warmed = schedule(2.0, Decay::Cosine);
        close(warmed.at(0.0, 10.0), 0.0045);
        close(warmed.at(1.0, 10.0), 0.045 * 0.55);
        close(warmed.at(2.0, 10.0), 0.045);
        close(warmed.at(6.0, 10.0), 0.0225);
    }

    #[test]
    fn a_run_shorter_than_its_warmup_still_has_a_rate() {
        let rate = schedule(5.0, Decay::Cosine).at(2.0, 3.0);
        assert!(rate.is_finite() && rate > 0.0);
    }
}
