//! What training minimises: softmax cross entropy, with label smoothing.

use inception_image::{Batch, Blend};

/// What the network should have answered for each picture of a batch.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a> {
    /// One class per picture.
    Classes(&'a [usize]),
    /// Two classes per picture, the second mixed in; each has its share.
    Mixed(&'a [usize], &'a Blend),
    /// One distribution over the classes per picture, picture after picture: mixed pictures, a
    /// teacher's answers.
    Distributions(&'a [f32]),
}

impl<'a> Targets<'a> {
    /// What a batch's pictures show.
    pub fn of(batch: &'a Batch) -> Self {
        match &batch.blend {
            Some(blend) => Self::Mixed(&batch.labels, blend),
            None => Self::Classes(&batch.labels),
        }
    }
}

/// One head's loss on a batch.
#[derive(Clone, Debug)]
pub struct HeadLoss {
    /// Mean cross entropy per picture in nats, not weighted.
    pub loss: f64,
    /// Gradient of `weight` × `loss` by each logit, in the logits' order.
    pub gradient: Vec<f32>,
}

/// Mean softmax cross entropy of a batch and its gradient.
///
/// The targets are smoothed as 1512.00567 §7 defines it: `q' = (1 − smoothing)·q + smoothing / K`,
/// where the `K` classes that share `smoothing` include the true one (a common mis-statement
/// spreads it over the `K − 1` others). Where pictures are mixed, `q` is the mixture. Each picture is computed in `f64` with the largest logit
/// subtracted, so no logits overflow.
///
/// `logits` is picture after picture, `classes` values each; `weight` is the head's share of the
/// loss being minimised and scales the gradient only.
///
/// # Panics
/// If there are not as many targets as pictures, or a class is not below `classes`.
pub fn softmax_cross_entropy(
    logits: &[f32],
    classes: usize,
    targets: Targets,
    smoothing: f64,
    weight: f64,
) -> HeadLoss {
    let pictures = logits.len() / classes;
    let targets_given = match targets {
        Targets::Classes(labels) | Targets::Mixed(labels, _) => labels.len(),
        Targets::Distributions(values) => values.len() / classes,
    };
    assert_eq!(pictures, targets_given, "one target per picture");
    let mut row = Row { target: vec![0.0; classes], exponentials: vec![0.0; classes] };
    let mut gradient = vec![0.0; logits.len()];
    let scale = weight / pictures as f64;
    let mut sum = 0.0;
    let rows = logits.chunks_exact(classes).zip(gradient.chunks_exact_mut(classes));
    for (picture, (logits, gradient)) in rows.enumerate() {
        row.aim(targets, picture, smoothing);
        sum += row.loss(logits, scale, gradient);
    }
    HeadLoss { loss: sum / pictures as f64, gradient }
}

/// The lead of the true class's logit over the others at which the loss with smoothed targets
/// (1512.00567 §7) is smallest: `ln((1 − ε + ε/K) / (ε/K))`. Without smoothing there is none: the
/// loss falls for ever as the lead grows.
pub fn best_gap(smoothing: f64, classes: usize) -> Option<f64> {
    let share = smoothing / classes as f64;
    (share > 0.0).then(|| ((1.0 - smoothing + share) / share).ln())
}

/// Work space of one picture.
struct Row {
    target: Vec<f64>,
    exponentials: Vec<f64>,
}

impl Row {
    /// Sets the smoothed target.
    fn aim(&mut self, targets: Targets, picture: usize, smoothing: f64) {
        let classes = self.target.len();
        match targets {
            Targets::Classes(labels) => {
                self.target.fill(0.0);
                self.target[labels[picture]] = 1.0;
            }
            Targets::Mixed(labels, blend) => {
                let share = f64::from(blend.shares[picture]);
                self.target.fill(0.0);
                self.target[labels[picture]] += share;
                self.target[blend.labels[picture]] += 1.0 - share;
            }
            Targets::Distributions(values) => {
                let row = &values[picture * classes..(picture + 1) * classes];
                self.target.iter_mut().zip(row).for_each(|(to, &from)| *to = f64::from(from));
            }
        }
        let share = smoothing / classes as f64;
        self.target.iter_mut().for_each(|q| *q = (1.0 - smoothing) * *q + share);
    }

    /// Cross entropy; writes its gradient times `scale`.
    fn loss(&mut self, logits: &[f32], scale: f64, gradient: &mut [f32]) -> f64 {
        let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        for (exponential, &logit) in self.exponentials.iter_mut().zip(logits) {
            *exponential = (f64::from(logit) - largest).exp();
        }
        let sum: f64 = self.exponentials.iter().sum();
        // A distribution given in `f32` adds up to 1 only nearly; with its true mass the gradient
        // is that of the loss.
        let mass: f64 = self.target.iter().sum();
        let mut loss = mass * sum.ln();
        let values = self.exponentials.iter().zip(&self.target).zip(logits).zip(gradient);
        for (((exponential, target), &logit), gradient) in values {
            loss -= target * (f64::from(logit) - largest);
            *gradient = (scale * (mass * exponential / sum - target)) as f32;
        }
        loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 8] = [0.3, -1.2, 2.5, 0.0, 12.0, -7.5, 11.0, 3.25];

    fn loss_of(logits: &[f32], targets: Targets, smoothing: f64) -> f64 {
        softmax_cross_entropy(logits, 4, targets, smoothing, 1.0).loss
    }

    #[test]
    fn gradient_is_that_of_the_loss() {
        let distributions = [0.25, 0.5, 0.125, 0.125, 0.0, 0.0, 0.7, 0.3];
        let blend = Blend { labels: vec![0, 1], shares: vec![0.75, 0.5] };
        for targets in [
            Targets::Classes(&[2, 1]),
            Targets::Mixed(&[2, 1], &blend),
            Targets::Distributions(&distributions),
        ] {
            for smoothing in [0.0, 0.1] {
                let head = softmax_cross_entropy(&LOGITS, 4, targets, smoothing, 0.4);
                for i in 0..LOGITS.len() {
                    // A power of two, so that the logits move by exactly this much in `f32`.
                    let eps = 2f32.powi(-12);
                    let moved = |by: f32| {
                        let mut logits = LOGITS;
                        logits[i] += by;
                        loss_of(&logits, targets, smoothing)
                    };
                    let numeric = 0.4 * (moved(eps) - moved(-eps)) / (2.0 * f64::from(eps));
                    let found = f64::from(head.gradient[i]);
                    assert!((found - numeric).abs() < 1e-6, "{i}: {found} instead of {numeric}");
                }
            }
        }
    }

    #[test]
    fn unsmoothed_is_minus_log_softmax() {
        let expected = (inception_metrics::cross_entropy(&LOGITS[..4], 2)
            + inception_metrics::cross_entropy(&LOGITS[4..], 1))
            / 2.0;
        assert!((loss_of(&LOGITS, Targets::Classes(&[2, 1]), 0.0) - expected).abs() < 1e-12);
    }

    /// The true class keeps 1 − ε + ε/K, the others get ε/K each: the paper's, not the K − 1 form.
    #[test]
    fn smoothing_is_the_papers() {
        let smoothed = [0.025, 0.025, 0.925, 0.025, 0.025, 0.925, 0.025, 0.025];
        let expected = loss_of(&LOGITS, Targets::Distributions(&smoothed), 0.0);
        let found = loss_of(&LOGITS, Targets::Classes(&[2, 1]), 0.1);
        assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
    }

    /// Labels are mixed first, then the mixture is smoothed: it still adds up to 1. A class mixed
    /// with itself is that class.
    #[test]
    fn mixtures_are_smoothed_as_a_whole() {
        let blend = Blend { labels: vec![0, 1], shares: vec![0.75, 0.25] };
        let mixed = [0.9 * 0.25 + 0.025, 0.025, 0.9 * 0.75 + 0.025, 0.025];
        let smoothed = [mixed, [0.025, 0.925, 0.025, 0.025]].concat();
        assert!((smoothed[..4].iter().sum::<f32>() - 1.0).abs() < 1e-6);
        let expected = loss_of(&LOGITS, Targets::Distributions(&smoothed), 0.0);
        let found = loss_of(&LOGITS, Targets::Mixed(&[2, 1], &blend), 0.1);
        assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
    }

    #[test]
    fn no_gap_is_better_than_the_best() {
        assert_eq!(best_gap(0.0, 10), None);
        let best = best_gap(0.1, 4).unwrap();
        assert!((best - (0.925f64 / 0.025).ln()).abs() < 1e-12);
        let loss = |gap: f64| loss_of(&[0.0, gap as f32, 0.0, 0.0], Targets::Classes(&[1]), 0.1);
        assert!(loss(best) < loss(best - 0.01) && loss(best) < loss(best + 0.01));
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let head = softmax_cross_entropy(&[1e5, 0.0], 2, Targets::Classes(&[1]), 0.0, 1.0);
        assert_eq!((head.loss, head.gradient), (1e5, vec![1.0, -1.0]));
    }

    #[test]
    fn a_broken_logit_breaks_the_loss() {
        for broken in [f32::NAN, f32::INFINITY] {
            let logits = [broken, 0.0];
            let head = softmax_cross_entropy(&logits, 2, Targets::Classes(&[1]), 0.1, 1.0);
            assert!(!head.loss.is_finite());
        }
    }
}
