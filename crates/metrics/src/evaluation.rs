use serde::{Deserialize, Serialize};

use crate::{cross_entropy, top_k};

/// A network's answers on a set of labelled pictures, gathered picture by picture.
///
/// Shares are `f64` between 0 and 1, and NaN while no picture was added. A picture with a NaN
/// among its logits counts as wrong, is predicted as no class, and makes the loss NaN. Of equal
/// logits the class with the lowest number is the prediction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// `confusion[label][prediction]`: pictures.
    confusion: Vec<Vec<u64>>,
    /// Per label, pictures with a NaN logit, which no class was predicted for.
    unpredicted: Vec<u64>,
    /// Pictures whose label was among the five largest logits.
    in_top5: u64,
    /// Sum of the finite cross entropies, so that the state stays representable in JSON.
    loss_sum: f64,
    /// Pictures whose cross entropy was not finite.
    without_loss: u64,
}

/// How well one class was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassScore {
    /// Pictures with this label.
    pub pictures: u64,
    /// Pictures predicted as this class.
    pub predicted: u64,
    /// Pictures with this label that were predicted as it.
    pub correct: u64,
}

impl ClassScore {
    /// Of the pictures predicted as this class, the share that is of it; `None` if there were
    /// none.
    pub fn precision(&self) -> Option<f64> {
        share(self.correct, self.predicted)
    }

    /// Of the pictures of this class, the share predicted as it; `None` if there were none.
    pub fn recall(&self) -> Option<f64> {
        share(self.correct, self.pictures)
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl Evaluation {
    /// An evaluation over `classes` classes, without pictures yet.
    pub fn new(classes: usize) -> Self {
        Self {
            confusion: vec![vec![0; classes]; classes],
            unpredicted: vec![0; classes],
            in_top5: 0,
            loss_sum: 0.0,
            without_loss: 0,
        }
    }

    /// Adds one picture: its logits (one per class, before softmax) and its true class.
    ///
    /// # Panics
    /// If there are not as many logits as classes, or `label` is not below their number.
    pub fn add(&mut self, logits: &[f32], label: usize) {
        assert_eq!(logits.len(), self.classes(), "one logit per class");
        assert!(label < self.classes(), "label {label} of {} classes", self.classes());
        let loss = cross_entropy(logits, label);
        if loss.is_finite() {
            self.loss_sum += loss;
        } else {
            self.without_loss += 1;
        }
        if logits.iter().any(|z| z.is_nan()) {
            self.unpredicted[label] += 1;
            return;
        }
        let best = top_k(logits, 5);
        self.confusion[label][best[0]] += 1;
        self.in_top5 += u64::from(best.contains(&label));
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.confusion.len()
    }

    /// Pictures added.
    pub fn pictures(&self) -> u64 {
        self.confusion.iter().flatten().chain(&self.unpredicted).sum()
    }

    /// Pictures whose prediction was their label.
    pub fn correct(&self) -> u64 {
        (0..self.classes()).map(|c| self.confusion[c][c]).sum()
    }

    /// Share of pictures whose largest logit is their label's.
    pub fn top1(&self) -> f64 {
        share(self.correct(), self.pictures()).unwrap_or(f64::NAN)
    }

    /// Share of pictures whose label is among the five largest logits; `None` with five classes
    /// or fewer, where it would say nothing.
    pub fn top5(&self) -> Option<f64> {
        (self.classes() > 5).then(|| share(self.in_top5, self.pictures()).unwrap_or(f64::NAN))
    }

    /// Mean cross entropy in nats, without label smoothing; NaN if a picture's was not finite.
    pub fn loss(&self) -> f64 {
        match (self.without_loss, self.pictures()) {
            (0, pictures @ 1..) => self.loss_sum / pictures as f64,
            _ => f64::NAN,
        }
    }

    /// `confusion()[label][prediction]`: pictures. A picture with a NaN logit is in none.
    pub fn confusion(&self) -> &[Vec<u64>] {
        &self.confusion
    }

    /// Every class's score, in order of the classes.
    pub fn per_class(&self) -> Vec<ClassScore> {
        (0..self.classes())
            .map(|class| ClassScore {
                pictures: self.confusion[class].iter().sum::<u64>() + self.unpredicted[class],
                predicted: self.confusion.iter().map(|row| row[class]).sum(),
                correct: self.confusion[class][class],
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits whose largest is at `best`.
    fn peak(classes: usize, best: usize) -> Vec<f32> {
        (0..classes).map(|c| if c == best { 4.0 } else { -(c as f32) }).collect()
    }

    #[test]
    fn counts_by_hand() {
        let mut evaluation = Evaluation::new(3);
        for (label, prediction) in [(0, 0), (0, 0), (0, 1), (1, 1), (1, 2), (2, 0)] {
            evaluation.add(&peak(3, prediction), label);
        }
        assert_eq!(evaluation.pictures(), 6);
        assert_eq!(evaluation.top1(), 0.5);
        assert_eq!(evaluation.top5(), None);
        assert_eq!(evaluation.confusion(), [[2, 1, 0], [0, 1, 1], [1, 0, 0]]);
        let per_class = evaluation.per_class();
        assert_eq!(per_class[0], ClassScore { pictures: 3, predicted: 3, correct: 2 });
        assert_eq!(per_class[0].precision(), Some(2.0 / 3.0));
        assert_eq!(per_class[1].recall(), Some(0.5));
        assert_eq!(per_class[2].precision(), Some(0.0));
    }

    #[test]
    fn top5_counts_the_label_in_fifth_place_but_not_in_sixth() {
        let descending = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0];
        let mut evaluation = Evaluation::new(7);
        evaluation.add(&descending, 4);
        assert_eq!(evaluation.top5(), Some(1.0));
        evaluation.add(&descending, 5);
        assert_eq!(evaluation.top5(), Some(0.5));
        assert_eq!(evaluation.top1(), 0.0);
        // Equal logits: the first five classes are the top five.
        evaluation.add(&[1.0; 7], 4);
        evaluation.add(&[1.0; 7], 5);
        assert_eq!(evaluation.top5(), Some(0.5));
    }

    #[test]
    fn ties_go_to_the_lowest_class() {
        let mut evaluation = Evaluation::new(3);
        evaluation.add(&[0.0; 3], 0);
        evaluation.add(&[0.0; 3], 1);
        assert_eq!(evaluation.confusion(), [[1, 0, 0], [1, 0, 0], [0, 0, 0]]);
        assert!((evaluation.loss() - 3f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn nan_is_wrong_and_is_seen_in_the_loss() {
        let mut evaluation = Evaluation::new(2);
        evaluation.add(&[3.0, 0.0], 0);
        evaluation.add(&[3.0, f32::NAN], 0);
        assert_eq!((evaluation.pictures(), evaluation.top1()), (2, 0.5));
        assert_eq!(evaluation.confusion(), [[1, 0], [0, 0]]);
        assert_eq!(evaluation.per_class()[0].recall(), Some(0.5));
        assert!(evaluation.loss().is_nan());
    }

    #[test]
    fn without_pictures_nothing_is_claimed() {
        let evaluation = Evaluation::new(10);
        assert!(evaluation.top1().is_nan() && evaluation.loss().is_nan());
        assert!(evaluation.top5().is_some_and(f64::is_nan));
        assert_eq!(evaluation.per_class()[3].recall(), None);
    }

    #[test]
    fn survives_json_even_after_nan() {
        let mut evaluation = Evaluation::new(6);
        evaluation.add(&peak(6, 2), 2);
        evaluation.add(&[f32::NAN; 6], 1);
        evaluation.add(&[f32::NEG_INFINITY, 0.0, 0.0, 0.0, 0.0, 0.0], 0);
        let json = serde_json::to_string(&evaluation).unwrap();
        assert_eq!(serde_json::from_str::<Evaluation>(&json).unwrap(), evaluation);
    }
}
