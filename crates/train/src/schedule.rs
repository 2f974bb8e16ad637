//! How the learning rate changes over a run.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// Share of the learning rate that a warm-up begins with: at zero the first step would be none.
const WARMUP_START: f64 = 0.1;

/// The learning rate as a function of the epochs done, fractions included, so that it does not
/// depend on how many steps an epoch has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The rate that warm-up leads to and decay starts from; the largest of the run.
    pub learning_rate: f64,
    /// Pictures in a step that `learning_rate` is meant for: with other numbers it is scaled in
    /// proportion (Goyal et al. 2017, 1706.02677 §2.1). Without it the rate is what it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_batch: Option<usize>,
    /// Epochs over which the rate rises linearly from a tenth of itself (1706.02677 §2.2, there
    /// from 1/workers); 0 for none.
    #[serde(default)]
    pub warmup_epochs: f64,
    /// Length in epochs of the run that all numbers of epochs in the schedule are written for: in
    /// a longer or shorter run they are stretched, so that the curve keeps its form. Without it
    /// they are epochs of any run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_epochs: Option<f64>,
    /// What happens to it in the course of the run.
    pub decay: Decay,
}

/// Decay of the learning rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
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
    /// Times `factor` at each of some points.
    Step {
        /// Between 0 and 1.
        factor: f64,
        /// Epochs after which the rate falls, in rising order.
        at: Vec<f64>,
    },
    /// Half a cosine from the end of the warm-up to zero at the end of the run (Loshchilov and
    /// Hutter 2017, 1608.03983, without restarts).
    Cosine,
    /// A power of the share of the run that is left after the warm-up: 1 for a straight line.
    Polynomial {
        /// Above 0.
        power: f64,
    },
    /// Half a cosine up from `1 / div_factor` of the rate to all of it, then one down to
    /// `1 / final_div_factor` of what it began with (Smith and Topin 2017, 1708.07120), as
    /// `torch.optim.lr_scheduler.OneCycleLR` has it, whose names and usual values these are. The
    /// momentum is left alone.
    OneCycle {
        /// Share of the run in which the rate rises.
        #[serde(default = "pct_start")]
        pct_start: f64,
        /// The largest rate by the first.
        #[serde(default = "div_factor")]
        div_factor: f64,
        /// The first rate by the last.
        #[serde(default = "final_div_factor")]
        final_div_factor: f64,
    },
}

fn pct_start() -> f64 {
    0.3
}

fn div_factor() -> f64 {
    25.0
}

fn final_div_factor() -> f64 {
    1e4
}

impl Schedule {
    /// The rate for the step that begins after `done` of a run's `epochs`, where a step is of
    /// `pictures` pictures.
    pub fn at(&self, done: f64, epochs: f64, pictures: usize) -> f64 {
        let stretch = self.of_epochs.map_or(1.0, |of| of / epochs);
        let (done, epochs) = (done * stretch, epochs * stretch);
        let warmed = if done < self.warmup_epochs {
            WARMUP_START + (1.0 - WARMUP_START) * done / self.warmup_epochs
        } else {
            1.0
        };
        self.largest(pictures) * warmed * self.decayed(done, epochs)
    }

    /// The rate that warm-up leads to in steps of `pictures` pictures.
    pub fn largest(&self, pictures: usize) -> f64 {
        let scale = self.reference_batch.map_or(1.0, |batch| pictures as f64 / batch as f64);
        self.learning_rate * scale
    }

    fn decayed(&self, done: f64, epochs: f64) -> f64 {
        // What is over of the part after the warm-up.
        let length = (epochs - self.warmup_epochs).max(f64::MIN_POSITIVE);
        let share = ((done - self.warmup_epochs) / length).clamp(0.0, 1.0);
        match &self.decay {
            Decay::Constant => 1.0,
            &Decay::Exponential { factor, every, staircase } => {
                let times = done / every;
                factor.powf(if staircase { whole(times) } else { times })
            }
            Decay::Step { factor, at } => {
                let passed = at.iter().filter(|&&point| whole(done / point) >= 1.0).count();
                factor.powi(passed as i32)
            }
            Decay::Cosine => half_cosine(1.0, 0.0, share),
            Decay::Polynomial { power } => (1.0 - share).powf(*power),
            &Decay::OneCycle { pct_start, div_factor, final_div_factor } => {
                let first = 1.0 / div_factor;
                match share < pct_start {
                    true => half_cosine(first, 1.0, share / pct_start),
                    false => {
                        let fall = (share - pct_start) / (1.0 - pct_start);
                        half_cosine(1.0, first / final_div_factor, fall)
                    }
                }
            }
        }
    }

    /// What is wrong with the numbers, if anything.
    pub(crate) fn fault(&self) -> Option<String> {
        let Self { learning_rate, reference_batch, warmup_epochs, of_epochs, decay } = self;
        let above_zero = |name: &str, value: f64| {
            let fine = value.is_finite() && value > 0.0;
            (!fine).then(|| format!("{name} is {value}, it has to be above 0"))
        };
        if *reference_batch == Some(0) {
            return Some("reference_batch is 0, it has to be 1 or more".to_owned());
        }
        if !(warmup_epochs.is_finite() && *warmup_epochs >= 0.0) {
            return Some(format!("warmup_epochs is {warmup_epochs}, it has to be 0 or more"));
        }
        above_zero("learning_rate", *learning_rate)
            .or_else(|| above_zero("of_epochs", of_epochs.unwrap_or(1.0)))
            .or_else(|| decay.fault(*warmup_epochs))
    }
}

impl Decay {
    fn fault(&self, warmup_epochs: f64) -> Option<String> {
        let above_zero = |name: &str, value: f64| {
            let fine = value.is_finite() && value > 0.0;
            (!fine).then(|| format!("the decay's {name} is {value}, it has to be above 0"))
        };
        let factor = |factor: f64| {
            let fine = factor > 0.0 && factor <= 1.0;
            let say =
                || format!("the decay's factor is {factor}, it has to be above 0 and at most 1");
            (!fine).then(say)
        };
        match self {
            Decay::Constant | Decay::Cosine => None,
            Decay::Exponential { factor: by, every, .. } => {
                factor(*by).or_else(|| above_zero("every", *every))
            }
            Decay::Step { factor: by, at } => factor(*by)
                .or_else(|| at.iter().find_map(|&point| above_zero("at", point)))
                .or_else(|| {
                    let rising = at.is_sorted_by(|a, b| a < b);
                    (!rising).then(|| "the decay's at is not in rising order".to_owned())
                }),
            Decay::Polynomial { power } => above_zero("power", *power),
            Decay::OneCycle { pct_start, div_factor, final_div_factor } => {
                if warmup_epochs > 0.0 {
                    let rise = "one-cycle rises by itself; leave out warmup_epochs".to_owned();
                    return Some(rise);
                }
                if !(*pct_start > 0.0 && *pct_start < 1.0) {
                    let say = format!("pct_start is {pct_start}, it has to be between 0 and 1");
                    return Some(say);
                }
                above_zero("div_factor", *div_factor)
                    .or_else(|| above_zero("final_div_factor", *final_div_factor))
            }
        }
    }
}

/// From one number to another as `share` goes from 0 to 1, slowly at both ends.
fn half_cosine(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) * 0.5 * (1.0 + (PI * share).cos())
}

/// Whole times; what a stretched schedule misses by a rounding error counts as reached.
fn whole(times: f64) -> f64 {
    (times * (1.0 + 1e-12)).floor()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(warmup_epochs: f64, decay: Decay) -> Schedule {
        let (reference_batch, of_epochs) = (None, None);
        Schedule { learning_rate: 0.045, reference_batch, warmup_epochs, of_epochs, decay }
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-12 * expected, "{found} instead of {expected}");
    }

    fn paper() -> Schedule {
        schedule(0.0, Decay::Exponential { factor: 0.94, every: 2.0, staircase: true })
    }

    #[test]
    fn the_papers_staircase() {
        for (done, times) in [(0.0, 0), (1.99, 0), (2.0, 1), (3.5, 1), (4.0, 2), (99.9, 49)] {
            close(paper().at(done, 100.0, 32), 0.045 * 0.94f64.powi(times));
        }
    }

    #[test]
    fn a_schedule_of_a_hundred_epochs_fits_any_run() {
        let stretched = Schedule { of_epochs: Some(100.0), ..paper() };
        for epoch in 0..30 {
            let whole = f64::from(epoch);
            close(stretched.at(whole, 30.0, 32), paper().at(whole * 100.0 / 30.0, 100.0, 32));
        }
        // 3 of 30 epochs are 10 of 100, whatever the division makes of it.
        close(stretched.at(3.0, 30.0, 32), 0.045 * 0.94f64.powi(5));
        close(stretched.at(200.0, 400.0, 32), 0.045 * 0.94f64.powi(25));
        let warmed = Schedule { of_epochs: Some(10.0), ..schedule(2.0, Decay::Cosine) };
        close(warmed.at(2.0, 20.0, 32), 0.045 * 0.55);
    }

    #[test]
    fn the_rate_follows_the_batch_only_by_name() {
        close(paper().at(0.0, 100.0, 64), 0.045);
        let scaled = Schedule { reference_batch: Some(32), ..paper() };
        close(scaled.at(0.0, 100.0, 64), 0.09);
        close(scaled.at(2.0, 100.0, 8), 0.045 * 0.94 / 4.0);
        close(scaled.largest(16), 0.0225);
    }

    #[test]
    fn smooth_exponential_meets_the_staircase_at_its_steps() {
        let smooth =
            schedule(0.0, Decay::Exponential { factor: 0.94, every: 2.0, staircase: false });
        close(smooth.at(4.0, 100.0, 32), 0.045 * 0.94 * 0.94);
        close(smooth.at(1.0, 100.0, 32), 0.045 * 0.94f64.sqrt());
    }

    #[test]
    fn cosine_ends_at_zero_and_is_half_in_the_middle() {
        let cosine = schedule(0.0, Decay::Cosine);
        close(cosine.at(0.0, 8.0, 32), 0.045);
        close(cosine.at(4.0, 8.0, 32), 0.0225);
        assert!(cosine.at(8.0, 8.0, 32).abs() < 1e-15);
    }

    #[test]
    fn a_straight_line_is_a_polynomial() {
        let line = schedule(0.0, Decay::Polynomial { power: 1.0 });
        close(line.at(2.0, 8.0, 32), 0.045 * 0.75);
        close(schedule(0.0, Decay::Polynomial { power: 0.5 }).at(6.0, 8.0, 32), 0.0225);
    }

    #[test]
    fn warmup_rises_from_a_tenth_and_the_cosine_waits_for_it() {
        let warmed = schedule(2.0, Decay::Cosine);
        close(warmed.at(0.0, 10.0, 32), 0.0045);
        close(warmed.at(1.0, 10.0, 32), 0.045 * 0.55);
        close(warmed.at(2.0, 10.0, 32), 0.045);
        close(warmed.at(6.0, 10.0, 32), 0.0225);
    }

    #[test]
    fn a_run_shorter_than_its_warmup_still_has_a_rate() {
        let rate = schedule(5.0, Decay::Cosine).at(2.0, 3.0, 32);
        assert!(rate.is_finite() && rate > 0.0);
    }

    #[test]
    fn faults_are_named() {
        let fault = |schedule: Schedule| schedule.fault().unwrap();
        let cycle = Decay::OneCycle { pct_start: 0.3, div_factor: 25.0, final_div_factor: 1e4 };
        assert!(fault(schedule(1.0, cycle.clone())).contains("leave out warmup_epochs"));
        assert_eq!(schedule(0.0, cycle).fault(), None);
        let falling = Decay::Step { factor: 0.1, at: vec![30.0, 20.0] };
        assert!(fault(schedule(0.0, falling)).contains("rising order"));
        assert!(
            fault(Schedule { reference_batch: Some(0), ..paper() }).contains("reference_batch")
        );
        assert!(fault(Schedule { of_epochs: Some(0.0), ..paper() }).contains("of_epochs is 0"));
    }
}
