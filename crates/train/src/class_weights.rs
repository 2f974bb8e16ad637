//! How much each class counts.

use serde::{Deserialize, Serialize};

/// Factors of the classes' parts of the loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected \"balanced\" or a list with a number for each class")]
pub enum ClassWeights {
    /// By a rule.
    Rule(WeightRule),
    /// One number for each class, in the order of the network's classes. Only their proportions
    /// matter.
    List(Vec<f64>),
}

/// Rules for class weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightRule {
    /// Every class counts as much as any other, however many pictures it has: `n / (K·n_k)`.
    Balanced,
}

impl ClassWeights {
    /// The weights for training pictures of these classes, scaled so that they are 1 on average
    /// over the pictures and the learning rate keeps its meaning. A class without pictures gets 1
    /// by the rule.
    ///
    /// # Errors
    /// If there is not one weight for each class, or no picture has one above 0.
    pub fn of(
        &self,
        labels: impl Iterator<Item = usize>,
        classes: usize,
    ) -> Result<Vec<f64>, String> {
        let mut counts = vec![0.0; classes];
        labels.for_each(|label| counts[label] += 1.0);
        let mut weights = match self {
            Self::Rule(WeightRule::Balanced) => {
                counts.iter().map(|&n| if n > 0.0 { 1.0 / n } else { 0.0 }).collect()
            }
            Self::List(weights) if weights.len() == classes => weights.clone(),
            Self::List(weights) => {
                let given = weights.len();
                return Err(format!("class_weights has {given} numbers for {classes} classes"));
            }
        };
        // Their largest is 1 from now on, so that no sum of them is beyond numbers.
        let largest = weights.iter().copied().fold(0.0, f64::max);
        if largest > 0.0 {
            weights.iter_mut().for_each(|weight| *weight /= largest);
        }
        let pictures: f64 = counts.iter().sum();
        let total: f64 = counts.iter().zip(&weights).map(|(n, weight)| n * weight).sum();
        if total <= 0.0 {
            return Err("class_weights leaves no training picture any weight".to_owned());
        }
        weights.iter_mut().for_each(|weight| *weight *= pictures / total);
        if let Self::Rule(_) = self {
            let empty = weights.iter_mut().zip(&counts).filter(|(_, n)| **n == 0.0);
            empty.for_each(|(weight, _)| *weight = 1.0);
        }
        Ok(weights)
    }

    /// What is wrong with the numbers, if anything.
    pub(crate) fn fault(&self) -> Option<String> {
        let Self::List(weights) = self else { return None };
        let bad = weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0));
        bad.map(|weight| format!("class_weights has {weight}, each has to be 0 or more"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_classes_count_alike() {
        let labels = [0, 0, 0, 0, 0, 0, 1, 1, 1, 3];
        let balanced = ClassWeights::Rule(WeightRule::Balanced);
        let weights = balanced.of(labels.into_iter(), 4).unwrap();
        // n / (K·n_k) for the three classes that have pictures.
        let expected = [10.0 / 18.0, 10.0 / 9.0, 1.0, 10.0 / 3.0];
        for (found, expected) in weights.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{weights:?}");
        }
    }

    #[test]
    fn only_proportions_of_a_list_matter() {
        let of =
            |weights: &[f64]| ClassWeights::List(weights.to_vec()).of([0, 1, 1].into_iter(), 2);
        assert_eq!(of(&[4.0, 1.0]).unwrap(), [2.0, 0.5]);
        assert_eq!(of(&[8.0, 2.0]).unwrap(), [2.0, 0.5]);
        assert!(of(&[1.0]).unwrap_err().contains("1 numbers for 2 classes"));
        assert!(of(&[0.0, 0.0]).is_err());
    }
}
