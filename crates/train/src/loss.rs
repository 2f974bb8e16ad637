//! What training minimises: softmax cross entropy with label smoothing, and a teacher's answers.

use inception_image::{Batch, Blend};
use serde::{Deserialize, Serialize};

/// What the network should have answered for each picture of a batch.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a> {
    /// One class per picture.
    Classes(&'a [usize]),
    /// Two classes per picture, the second mixed in; each has its share.
    Mixed(&'a [usize], &'a Blend),
    /// One distribution over the classes per picture, picture after picture.
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

/// The classes that label smoothing gives a share of ε.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmoothingOver {
    /// All of them, the true one included, as 1512.00567 §7 defines it:
    /// `q' = (1 − ε)·q + ε / K`.
    #[default]
    All,
    /// The `K − 1` others, a common mis-statement: `q' = (1 − ε)·q + ε·(1 − q) / (K − 1)`. With
    /// `ε·K / (K − 1)` for ε the paper's form gives the same.
    Others,
}

/// Learning from a teacher's answers (Hinton et al. 2015, 1503.02531).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distillation {
    /// What both networks' logits are divided by, so that the teacher's small probabilities count
    /// too.
    pub temperature: f64,
    /// The teacher's share of the loss; the labels have the rest.
    pub weight: f64,
}

/// What a batch's answers are judged by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Criterion {
    /// ε of label smoothing; 0 for none.
    pub smoothing: f64,
    /// Who shares it.
    pub over: SmoothingOver,
    /// A factor for each class's part of the cross entropy; empty for none.
    pub class_weights: Vec<f64>,
    /// How a teacher's answers count, where there are any.
    pub distillation: Option<Distillation>,
}

/// A batch's answers and what they should have been.
#[derive(Clone, Copy, Debug)]
pub struct Answers<'a> {
    /// Picture after picture, `classes` values each.
    pub logits: &'a [f32],
    /// Number of classes.
    pub classes: usize,
    /// One for each picture.
    pub targets: Targets<'a>,
    /// The teacher's logits for the same pictures, where there is one.
    pub teacher: Option<&'a [f32]>,
}

impl Criterion {
    /// Mean loss of a batch and its gradient:
    /// `(1 − w)·CE(q', p) + w·T²·KL(p_T(teacher) ‖ p_T)` with the distillation's weight `w` and
    /// temperature `T`, or the cross entropy alone without a teacher. `T²` keeps the size of the
    /// gradient whatever the temperature.
    ///
    /// The smoothed target `q'` is multiplied by the class weights, class by class, as
    /// `torch.nn.CrossEntropyLoss(weight, label_smoothing)` does. The mean is over pictures:
    /// dividing by the sum of the weights in the batch, as PyTorch does with class labels, would
    /// make a picture's share depend on its neighbours and class weights without effect in
    /// batches of one. Each picture is computed in `f64` with the largest logit subtracted, so no
    /// logits overflow.
    ///
    /// `weight` is the head's share of the loss being minimised and scales the gradient only.
    ///
    /// # Panics
    /// If there are not as many targets (or teacher's answers) as pictures, or a class is not
    /// below `classes`.
    pub fn loss(&self, answers: Answers, weight: f64) -> HeadLoss {
        let Answers { logits, classes, targets, teacher } = answers;
        let pictures = logits.len() / classes;
        let targets_given = match targets {
            Targets::Classes(labels) | Targets::Mixed(labels, _) => labels.len(),
            Targets::Distributions(values) => values.len() / classes,
        };
        assert_eq!(pictures, targets_given, "one target per picture");
        let teacher = teacher.zip(self.distillation);
        let taught = teacher.map_or(0.0, |(_, distillation)| distillation.weight);
        if let Some((answers, _)) = teacher {
            assert_eq!(answers.len(), logits.len(), "the teacher answers every picture");
        }
        let mut row = Row { target: vec![0.0; classes], exponentials: vec![0.0; classes] };
        let mut gradient = vec![0.0; logits.len()];
        let scale = weight / pictures as f64;
        let mut sum = 0.0;
        let rows = logits.chunks_exact(classes).zip(gradient.chunks_exact_mut(classes));
        for (picture, (logits, gradient)) in rows.enumerate() {
            row.aim(targets, picture);
            self.shape(&mut row.target);
            sum += (1.0 - taught) * row.loss(logits, (1.0 - taught) * scale, gradient);
            if let Some((answers, distillation)) = teacher {
                let answers = &answers[picture * classes..(picture + 1) * classes];
                sum += taught * divergence(logits, answers, distillation, scale, gradient);
            }
        }
        HeadLoss { loss: sum / pictures as f64, gradient }
    }

    /// The lead of the true class's logit over the others at which the loss with smoothed targets
    /// (1512.00567 §7) is smallest: `ln((1 − ε + ε/K) / (ε/K))`. There is none without smoothing,
    /// where the loss falls for ever as the lead grows, nor where labels are not all that counts.
    pub fn best_gap(&self, classes: usize) -> Option<f64> {
        if self.distillation.is_some() || !self.class_weights.is_empty() {
            return None;
        }
        let mut target = vec![0.0; classes];
        *target.first_mut()? = 1.0;
        self.shape(&mut target);
        let gap = (target[0] / target.get(1)?).ln();
        gap.is_finite().then_some(gap)
    }

    /// Smooths a target and weights its classes.
    fn shape(&self, target: &mut [f64]) {
        let (smoothing, classes) = (self.smoothing, target.len() as f64);
        for q in &mut *target {
            let share = match self.over {
                SmoothingOver::All => 1.0 / classes,
                SmoothingOver::Others => (1.0 - *q) / (classes - 1.0).max(1.0),
            };
            *q = (1.0 - smoothing) * *q + smoothing * share;
        }
        target.iter_mut().zip(&self.class_weights).for_each(|(q, weight)| *q *= weight);
    }
}

/// `T²·KL(p_T(teacher) ‖ p_T(student))` of a picture; adds its gradient, times `scale` and the
/// distillation's weight.
fn divergence(
    logits: &[f32],
    teacher: &[f32],
    distillation: Distillation,
    scale: f64,
    gradient: &mut [f32],
) -> f64 {
    let Distillation { temperature, weight } = distillation;
    let (student, teacher) = (log_softmax(logits, temperature), log_softmax(teacher, temperature));
    let mut divergence = 0.0;
    for ((student, teacher), gradient) in student.iter().zip(&teacher).zip(gradient) {
        let p = teacher.exp();
        // A probability too small for a number adds nothing.
        if p > 0.0 {
            divergence += p * (teacher - student);
        }
        *gradient += (scale * weight * temperature * (student.exp() - p)) as f32;
    }
    temperature * temperature * divergence
}

/// Logarithms of the softmax of logits divided by a temperature.
fn log_softmax(logits: &[f32], temperature: f64) -> Vec<f64> {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let mut values: Vec<f64> =
        logits.iter().map(|&logit| (f64::from(logit) - largest) / temperature).collect();
    let sum = values.iter().map(|value| value.exp()).sum::<f64>().ln();
    values.iter_mut().for_each(|value| *value -= sum);
    values
}

/// Work space of one picture.
struct Row {
    target: Vec<f64>,
    exponentials: Vec<f64>,
}

impl Row {
    /// Sets the target, not smoothed.
    fn aim(&mut self, targets: Targets, picture: usize) {
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
    }

    /// Cross entropy; writes its gradient times `scale`.
    fn loss(&mut self, logits: &[f32], scale: f64, gradient: &mut [f32]) -> f64 {
        let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        for (exponential, &logit) in self.exponentials.iter_mut().zip(logits) {
            *exponential = (f64::from(logit) - largest).exp();
        }
        let sum: f64 = self.exponentials.iter().sum();
        // A distribution given in `f32` adds up to 1 only nearly, and a weighted one need not; with
        // its true mass the gradient is that of the loss.
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
    const TEACHER: [f32; 8] = [1.5, 0.25, 3.0, -2.0, 4.0, 0.5, 9.0, 1.0];

    fn smoothed(smoothing: f64) -> Criterion {
        Criterion { smoothing, ..Criterion::default() }
    }

    fn judged(criterion: &Criterion, logits: &[f32], targets: Targets) -> HeadLoss {
        let teacher = criterion.distillation.map(|_| &TEACHER[..]);
        criterion.loss(Answers { logits, classes: 4, targets, teacher }, 0.4)
    }

    fn loss_of(logits: &[f32], targets: Targets, smoothing: f64) -> f64 {
        judged(&smoothed(smoothing), logits, targets).loss
    }

    #[test]
    fn gradient_is_that_of_the_loss() {
        let distributions = [0.25, 0.5, 0.125, 0.125, 0.0, 0.0, 0.7, 0.3];
        let blend = Blend { labels: vec![0, 1], shares: vec![0.75, 0.5] };
        let weighted = Criterion { class_weights: vec![0.5, 2.0, 1.25, 0.25], ..smoothed(0.1) };
        let distilled = |weight| {
            let distillation = Some(Distillation { temperature: 4.0, weight });
            Criterion { distillation, ..weighted.clone() }
        };
        let criteria = [
            smoothed(0.0),
            smoothed(0.1),
            Criterion { over: SmoothingOver::Others, ..smoothed(0.1) },
            weighted.clone(),
            distilled(0.7),
            distilled(1.0),
        ];
        for targets in [
            Targets::Classes(&[2, 1]),
            Targets::Mixed(&[2, 1], &blend),
            Targets::Distributions(&distributions),
        ] {
            for criterion in &criteria {
                let head = judged(criterion, &LOGITS, targets);
                for i in 0..LOGITS.len() {
                    // A power of two, so that the logits move by exactly this much in `f32`.
                    let eps = 2f32.powi(-12);
                    let moved = |by: f32| {
                        let mut logits = LOGITS;
                        logits[i] += by;
                        judged(criterion, &logits, targets).loss
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

    /// The true class keeps 1 − ε; with K/(K − 1) times the ε the paper's form is the same.
    #[test]
    fn smoothing_over_the_others_is_by_name() {
        let others = Criterion { over: SmoothingOver::Others, ..smoothed(0.09) };
        let found = judged(&others, &LOGITS, Targets::Classes(&[2, 1])).loss;
        let spelled_out = [0.03, 0.03, 0.91, 0.03, 0.03, 0.91, 0.03, 0.03];
        let expected = loss_of(&LOGITS, Targets::Distributions(&spelled_out), 0.0);
        assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
        let papers = loss_of(&LOGITS, Targets::Classes(&[2, 1]), 0.12);
        assert!((found - papers).abs() < 1e-12, "{found} instead of {papers}");
    }

    #[test]
    fn class_weights_have_an_effect_in_a_batch_of_one() {
        let weighted = Criterion { class_weights: vec![1.0, 1.0, 3.0, 1.0], ..smoothed(0.0) };
        let found = judged(&weighted, &LOGITS[..4], Targets::Classes(&[2]));
        let plain = judged(&smoothed(0.0), &LOGITS[..4], Targets::Classes(&[2]));
        assert!((found.loss - 3.0 * plain.loss).abs() < 1e-12);
    }

    #[test]
    fn a_student_that_answers_as_its_teacher_has_nothing_to_learn() {
        let distillation = Some(Distillation { temperature: 3.0, weight: 1.0 });
        let criterion = Criterion { distillation, ..smoothed(0.1) };
        let head = judged(&criterion, &TEACHER, Targets::Classes(&[0, 0]));
        assert_eq!((head.loss, head.gradient), (0.0, vec![0.0; 8]));
        // Without its answers the labels are all there is.
        let teacher = None;
        let targets = Targets::Classes(&[0, 0]);
        let answers = Answers { logits: &TEACHER, classes: 4, targets, teacher };
        assert_eq!(criterion.loss(answers, 1.0).loss, loss_of(&TEACHER, targets, 0.1));
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
        assert_eq!(smoothed(0.0).best_gap(10), None);
        let best = smoothed(0.1).best_gap(4).unwrap();
        assert!((best - (0.925f64 / 0.025).ln()).abs() < 1e-12);
        let loss = |gap: f64| loss_of(&[0.0, gap as f32, 0.0, 0.0], Targets::Classes(&[1]), 0.1);
        let others = Criterion { over: SmoothingOver::Others, ..smoothed(0.075) };
        assert!((others.best_gap(4).unwrap() - best).abs() < 1e-12);
        assert!(loss(best) < loss(best - 0.01) && loss(best) < loss(best + 0.01));
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let (logits, targets) = (&[1e5, 0.0], Targets::Classes(&[1]));
        let answers = Answers { logits, classes: 2, targets, teacher: None };
        let head = smoothed(0.0).loss(answers, 1.0);
        assert_eq!((head.loss, head.gradient), (1e5, vec![1.0, -1.0]));
        let distillation = Some(Distillation { temperature: 1.0, weight: 0.5 });
        let criterion = Criterion { distillation, ..smoothed(0.0) };
        let head = criterion.loss(Answers { teacher: Some(&[0.0, 1e5]), ..answers }, 1.0);
        assert_eq!((head.loss, head.gradient), (1e5, vec![1.0, -1.0]));
    }

    #[test]
    fn a_broken_logit_breaks_the_loss() {
        for broken in [f32::NAN, f32::INFINITY] {
            let logits = &[broken, 0.0];
            let targets = Targets::Classes(&[1]);
            let answers = Answers { logits, classes: 2, targets, teacher: None };
            assert!(!smoothed(0.1).loss(answers, 1.0).loss.is_finite());
        }
    }
}
