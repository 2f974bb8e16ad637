//! What a finder of learning rates makes of a run whose rate rises with every step.

/// A run whose rate rose exponentially (Smith 2017, 1506.01186 §3.3; in this form Howard's).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RateCurve {
    /// Step by step, the rate rising.
    pub points: Vec<RatePoint>,
}

/// A step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RatePoint {
    /// Learning rate.
    pub learning_rate: f64,
    /// What the step made smaller, before it did.
    pub loss: f64,
    /// The running mean of the losses, with which the curve is read.
    pub smoothed: f64,
}

/// Share kept of the running mean in each step.
const SMOOTHING: f64 = 0.9;
/// So many times the smallest smoothed loss, and the run is over.
const BLOWN_UP: f64 = 3.0;
/// Steps whose mean is of too few losses to say anything.
const WARM: usize = 10;

impl RateCurve {
    /// Rate of a step out of so many, from the lowest to the highest.
    pub(crate) fn rate(step: usize, steps: usize, (low, high): (f64, f64)) -> f64 {
        low * (high / low).powf(step as f64 / (steps - 1).max(1) as f64)
    }

    /// Adds a step and tells whether the loss has blown up.
    pub(crate) fn add(&mut self, learning_rate: f64, loss: f64) -> bool {
        // The mean of `n` losses begins at 0 and is unbiased as Adam's are.
        let count = self.points.len() as i32;
        let before = self.points.last().map_or(0.0, |last| last.smoothed);
        let before = before * (1.0 - SMOOTHING.powi(count));
        let sum = SMOOTHING * before + (1.0 - SMOOTHING) * loss;
        let smoothed = sum / (1.0 - SMOOTHING.powi(count + 1));
        self.points.push(RatePoint { learning_rate, loss, smoothed });
        let smallest = self.points.iter().map(|p| p.smoothed).fold(f64::INFINITY, f64::min);
        !smoothed.is_finite() || (self.points.len() > WARM && smoothed > BLOWN_UP * smallest)
    }

    /// The rate at which the smoothed loss is smallest: from here on it rises.
    pub fn smallest(&self) -> Option<f64> {
        let read = self.read();
        let smallest = read.iter().min_by(|a, b| a.smoothed.total_cmp(&b.smoothed))?;
        Some(smallest.learning_rate)
    }

    /// The rate at which the smoothed loss falls most steeply by the logarithm of the rate, before
    /// it is smallest; none if it never falls.
    pub fn steepest(&self) -> Option<f64> {
        let read = self.read();
        let end = read.iter().position(|p| Some(p.learning_rate) == self.smallest())?;
        let slope = |i: usize| {
            let (a, b) = (read[i.saturating_sub(2)], read[(i + 2).min(end)]);
            (b.smoothed - a.smoothed) / (b.learning_rate / a.learning_rate).ln()
        };
        let steepest = (0..end).min_by(|&a, &b| slope(a).total_cmp(&slope(b)))?;
        (slope(steepest) < 0.0).then(|| read[steepest].learning_rate)
    }

    /// A rate to train with: a tenth of that with the smallest loss, which is the edge of what
    /// works.
    pub fn suggestion(&self) -> Option<f64> {
        self.steepest().and(self.smallest()).map(|rate| rate / 10.0)
    }

    fn read(&self) -> Vec<RatePoint> {
        let finite = self.points.iter().copied().filter(|point| point.smoothed.is_finite());
        finite.skip(WARM.min(self.points.len() / 2)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Falls around 0.01, is smallest at about 0.1, blows up beyond.
    fn curve() -> (RateCurve, bool) {
        let mut curve = RateCurve::default();
        let blown_up = (0..200).any(|step| {
            let rate = RateCurve::rate(step, 200, (1e-5, 10.0));
            let fallen = 1.0 / (1.0 + (0.01 / rate).powi(2));
            curve.add(rate, 2.5 - 1.5 * fallen + (rate / 0.3).powi(2))
        });
        (curve, blown_up)
    }

    #[test]
    fn rates_rise_evenly_from_end_to_end() {
        let rates: Vec<f64> = (0..5).map(|step| RateCurve::rate(step, 5, (1e-4, 1.0))).collect();
        for (found, expected) in rates.iter().zip([1e-4, 1e-3, 1e-2, 1e-1, 1.0]) {
            assert!((found / expected - 1.0).abs() < 1e-12, "{rates:?}");
        }
    }

    #[test]
    fn suggests_a_rate_between_steepest_and_smallest() {
        let (curve, blown_up) = curve();
        assert!(blown_up && curve.points.len() < 200);
        let (steepest, smallest) = (curve.steepest().unwrap(), curve.smallest().unwrap());
        assert!((0.005..0.05).contains(&steepest), "{steepest}");
        assert!((0.05..0.3).contains(&smallest), "{smallest}");
        assert_eq!(curve.suggestion(), Some(smallest / 10.0));
    }

    #[test]
    fn the_running_mean_of_one_loss_is_that_loss() {
        let mut curve = RateCurve::default();
        (0..20).for_each(|step| assert!(!curve.add(f64::from(step + 1), 2.0)));
        assert!(curve.points.iter().all(|p| (p.smoothed - 2.0).abs() < 1e-12));
        assert!(curve.add(100.0, f64::NAN));
    }

    #[test]
    fn a_loss_that_never_falls_suggests_nothing() {
        let mut curve = RateCurve::default();
        for step in 1..40 {
            curve.add(f64::from(step), f64::from(step));
        }
        assert_eq!(curve.suggestion(), None);
        assert_eq!(RateCurve::default().suggestion(), None);
    }
}
