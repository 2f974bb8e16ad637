//! When a run ends before its last epoch.

use serde::{Deserialize, Serialize};

use crate::report::EpochReport;

/// Ends a run whose test pictures are recognised no better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// Epochs without a better one after which the run ends.
    pub patience: usize,
    /// What counts as better.
    #[serde(default)]
    pub metric: Metric,
}

/// A figure of the test pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// A higher share recognised; of equal ones the lower loss.
    #[default]
    Accuracy,
    /// A lower loss.
    Loss,
}

impl EarlyStopping {
    /// Place of the best epoch, the first of equals; none without epochs or test pictures.
    pub fn best(&self, history: &[EpochReport]) -> Option<usize> {
        let better = |a: (f64, f64), b: (f64, f64)| a.0 > b.0 || (a.0 == b.0 && a.1 > b.1);
        let mut best: Option<(usize, (f64, f64))> = None;
        for (place, epoch) in history.iter().enumerate() {
            let (Some(top1), Some(loss)) = (epoch.test_top1, epoch.test_loss) else { continue };
            let merit = match self.metric {
                Metric::Accuracy => (top1, -loss),
                Metric::Loss => (-loss, 0.0),
            };
            if best.is_none_or(|(_, so_far)| better(merit, so_far)) {
                best = Some((place, merit));
            }
        }
        best.map(|(place, _)| place)
    }

    /// Whether a run with these epochs is over. Without test pictures it never is.
    pub fn is_over(&self, history: &[EpochReport]) -> bool {
        self.best(history).is_some_and(|best| history.len() - 1 - best >= self.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(figures: &[(f64, f64)]) -> Vec<EpochReport> {
        let epoch = |&(top1, loss): &(f64, f64)| {
            let json = format!(
                "{{\"epoch\":1,\"train_loss\":0,\"train_top1\":0,\"test_loss\":{loss},\
                 \"test_top1\":{top1},\"test_top5\":null,\"objective\":0,\"gradient_norm\":0,\
                 \"learning_rate\":0,\"pictures_per_second\":0,\"seconds\":0,\"skipped\":0}}"
            );
            serde_json::from_str(&json).unwrap()
        };
        figures.iter().map(epoch).collect()
    }

    #[test]
    fn ends_after_its_patience() {
        let by = |metric| EarlyStopping { patience: 2, metric };
        let run = history(&[(0.5, 2.0), (0.8, 1.0), (0.7, 0.9), (0.8, 1.0)]);
        let accuracy = by(Metric::Accuracy);
        assert_eq!(accuracy.best(&run), Some(1));
        assert!(!accuracy.is_over(&run[..3]) && accuracy.is_over(&run));
        let loss = by(Metric::Loss);
        assert_eq!(loss.best(&run), Some(2));
        assert!(!loss.is_over(&run));
        // As often right, and surer of it.
        assert_eq!(accuracy.best(&history(&[(0.8, 1.0), (0.8, 0.7)])), Some(1));
    }

    #[test]
    fn without_test_pictures_nothing_is_over() {
        let mut run = history(&[(0.5, 1.0); 9]);
        run.iter_mut().for_each(|epoch| (epoch.test_top1, epoch.test_loss) = (None, None));
        let stopping = EarlyStopping { patience: 1, metric: Metric::Accuracy };
        assert_eq!((stopping.best(&run), stopping.is_over(&run)), (None, false));
        assert!(!stopping.is_over(&[]));
    }
}
