//! What a network is judged by: accuracy, confusion, loss.
//!
//! Reads logits and labels, nothing else; it knows no networks, touches no files and prints
//! nothing.

mod evaluation;

pub use evaluation::{ClassScore, Evaluation};

/// Probabilities of one picture's classes: `exp(logit) / sum of exp(logits)`, computed in `f64`
/// after subtracting the largest logit, so that nothing overflows.
///
/// All values are NaN if a logit is NaN or `+∞`, or if every logit is `-∞`: there is no such
/// distribution. Empty for no logits.
pub fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut probabilities: Vec<f64> =
        logits.iter().map(|&z| (f64::from(z) - f64::from(largest)).exp()).collect();
    let sum: f64 = probabilities.iter().sum();
    for p in &mut probabilities {
        *p /= sum;
    }
    probabilities
}

/// Cross entropy of one picture, in nats: `-ln(softmax(logits)[label])`, in `f64`.
///
/// Not finite (NaN or `+∞`) where [`softmax`] is undefined or gives the label probability 0.
///
/// # Panics
/// If `label` is not below the number of logits.
pub fn cross_entropy(logits: &[f32], label: usize) -> f64 {
    let own = f64::from(logits[label]);
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&z| (f64::from(z) - largest).exp()).sum();
    sum.ln() - (own - largest)
}

/// How far the largest logit is above the mean of the others: what label smoothing keeps small
/// (1512.00567 §7). 0 for a single class, NaN without logits or where one is NaN.
pub fn logit_gap(logits: &[f32]) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let others = logits.len().saturating_sub(1).max(1) as f64;
    let below = logits.iter().map(|&z| f64::from(largest) - f64::from(z));
    if logits.is_empty() { f64::NAN } else { below.sum::<f64>() / others }
}

/// The classes of the `k` largest logits, the largest first; of equal logits the class with the
/// lower number comes first, and NaN comes after everything else. All classes if there are fewer
/// than `k`.
pub fn top_k(logits: &[f32], k: usize) -> Vec<usize> {
    let mut classes: Vec<usize> = (0..logits.len()).collect();
    // A stable sort keeps equal classes, 0 and -0 among them, in order.
    classes.sort_by(|&a, &b| {
        let (a, b) = (logits[a], logits[b]);
        b.partial_cmp(&a).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
    });
    classes.truncate(k);
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_of_known_values() {
        let p = softmax(&[0.0, 2f32.ln(), 5f32.ln()]);
        for (p, expected) in p.iter().zip([0.125, 0.25, 0.625]) {
            assert!((p - expected).abs() < 1e-7, "{p} instead of {expected}");
        }
        assert!(softmax(&[]).is_empty());
    }

    #[test]
    fn softmax_neither_overflows_nor_loses_small_classes() {
        let p = softmax(&[1e4, 1e4 - 50.0, -1e4]);
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        assert!((p[1] - (-50f64).exp()).abs() < 1e-30);
        assert_eq!(p[2], 0.0);
    }

    #[test]
    fn softmax_is_nan_where_undefined() {
        for logits in [[f32::NAN, 0.0], [f32::INFINITY, 0.0], [f32::NEG_INFINITY; 2]] {
            assert!(softmax(&logits).iter().all(|p| p.is_nan()), "{logits:?}");
        }
    }

    #[test]
    fn cross_entropy_is_minus_log_softmax() {
        let logits = [0.3, -1.2, 2.5, 0.0];
        for label in 0..4 {
            let expected = -softmax(&logits)[label].ln();
            assert!((cross_entropy(&logits, label) - expected).abs() < 1e-12);
        }
        // Far out, where the probability itself would round to 0.
        assert_eq!(cross_entropy(&[0.0, 2000.0], 0), 2000.0);
        assert_eq!(cross_entropy(&[f32::NEG_INFINITY, 0.0], 0), f64::INFINITY);
        assert!(cross_entropy(&[f32::NAN, 0.0], 1).is_nan());
    }

    #[test]
    fn gap_is_to_the_mean_of_the_others() {
        assert_eq!(logit_gap(&[1.0, 7.0, 3.0, 2.0]), 5.0);
        assert_eq!(logit_gap(&[4.0, 4.0]), 0.0);
        assert_eq!(logit_gap(&[4.0]), 0.0);
        assert!(logit_gap(&[]).is_nan() && logit_gap(&[f32::NAN, 1.0]).is_nan());
    }

    #[test]
    fn top_k_breaks_ties_by_lowest_class_and_puts_nan_last() {
        assert_eq!(top_k(&[1.0, 3.0, 3.0, 2.0], 3), [1, 2, 3]);
        assert_eq!(top_k(&[0.0, -0.0], 1), [0]);
        assert_eq!(top_k(&[-0.0, 0.0], 1), [0]);
        assert_eq!(top_k(&[f32::NAN, f32::NEG_INFINITY, f32::NAN, 1.0], 9), [3, 1, 0, 2]);
    }
}
