//! What came of an ablation: means, spreads, differences.

use serde::Serialize;

use super::arms::{Arm, Claim};
use crate::text::{Align, Table, percent, scaled};

/// An arm after its runs.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// Multiply–adds for one picture.
    pub multiply_adds: usize,
    /// Parameters without auxiliary heads.
    pub parameters: usize,
    /// Share of the test pictures recognised after the last epoch, for each seed from 0.
    pub top1: Vec<f64>,
    /// Cross entropy on them.
    pub loss: Vec<f64>,
    /// Mean of `top1`.
    pub mean: f64,
    /// Standard deviation of `top1` over the seeds (n − 1); none for one seed.
    pub deviation: Option<f64>,
    /// What sets it apart from the arm it is compared with, if that was run.
    pub difference: Option<Difference>,
}

/// The difference between two arms' accuracies.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// The other arm.
    pub from: &'static str,
    /// Mean minus the other's mean.
    pub mean: f64,
    /// Half the width of its 95 % interval (Welch); none for one seed.
    pub interval: Option<f64>,
    /// What it says about the paper's claim.
    pub verdict: Verdict,
}

/// What a difference says about the paper's claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The interval lies on the claimed side of zero; for a claim of no gain: all below 1 %.
    AsThePaper,
    /// The interval lies on the other side.
    Against,
    /// The interval holds zero (for a claim of no gain: reaches 1 %), or there is none.
    Undecided,
}

/// Accuracies and losses of an arm's runs, by seed.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    /// Shares of the test pictures.
    pub top1: Vec<f64>,
    /// Cross entropies.
    pub loss: Vec<f64>,
}

/// The arms' outcomes, in their order.
pub fn outcomes(arms: &[Arm], runs: &[Runs]) -> Vec<Outcome> {
    let outcome = |(arm, own): (&Arm, &Runs)| {
        // It was trained, so it has a graph.
        let summary = arm.net.graph().map(|graph| graph.summary());
        let (multiply_adds, parameters) =
            summary.map_or((0, 0), |s| (s.multiply_adds, s.parameters_without_auxiliary));
        let difference = arm.against.and_then(|(from, claim)| {
            let other = arms.iter().position(|arm| arm.name == from)?;
            Some(difference(from, claim, &own.top1, &runs[other].top1))
        });
        Outcome {
            name: arm.name,
            what: arm.what,
            multiply_adds,
            parameters,
            top1: own.top1.clone(),
            loss: own.loss.clone(),
            mean: mean(&own.top1),
            deviation: deviation(&own.top1),
            difference,
        }
    };
    arms.iter().zip(runs).map(outcome).collect()
}

/// A claim of no gain holds where the interval ends below one picture in a hundred.
const GAIN: f64 = 0.01;

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Standard deviation with n − 1.
fn deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

fn difference(from: &'static str, claim: Claim, own: &[f64], other: &[f64]) -> Difference {
    let mean = mean(own) - mean(other);
    let interval = deviation(own).zip(deviation(other)).map(|(a, b)| {
        let (a, b) = (a * a / own.len() as f64, b * b / other.len() as f64);
        let parts = a * a / (own.len() - 1) as f64 + b * b / (other.len() - 1) as f64;
        // Welch's degrees of freedom; without any spread the interval is a point.
        let freedom = if parts > 0.0 { (a + b).powi(2) / parts } else { f64::INFINITY };
        critical(freedom) * (a + b).sqrt()
    });
    let verdict = match (interval, claim) {
        (Some(interval), Claim::Better) if mean > interval => Verdict::AsThePaper,
        (Some(interval), Claim::Better) if mean < -interval => Verdict::Against,
        (Some(interval), Claim::Worse) if mean < -interval => Verdict::AsThePaper,
        (Some(interval), Claim::Worse) if mean > interval => Verdict::Against,
        (Some(interval), Claim::NoBetter) if mean > interval => Verdict::Against,
        (Some(interval), Claim::NoBetter) if mean + interval < GAIN => Verdict::AsThePaper,
        _ => Verdict::Undecided,
    };
    Difference { from, mean, interval, verdict }
}

/// Student's t for a two-sided 95 % interval; freedom is rounded down, which widens it.
fn critical(freedom: f64) -> f64 {
    const TABLE: [f64; 20] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    ];
    if freedom.is_infinite() {
        return 1.960;
    }
    TABLE[(freedom.max(1.0) as usize).min(TABLE.len()) - 1]
}

impl Verdict {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::AsThePaper => "as the paper",
            Verdict::Against => "against it",
            Verdict::Undecided => "undecided",
        }
    }
}

/// `+0.42 ± 0.65` in per cent of the test pictures.
pub fn signed(difference: &Difference) -> String {
    let points = 100.0 * difference.mean;
    let sign = if points < 0.0 { '−' } else { '+' };
    let interval = difference.interval.map(|half| format!(" ± {:.2}", 100.0 * half));
    format!("{sign}{:.2}{}", points.abs(), interval.unwrap_or_default())
}

/// The table for the terminal.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut table = Table::new(&[
        ("arm", Align::Left),
        ("what", Align::Left),
        ("accuracy", Align::Right),
        ("spread", Align::Right),
        ("difference", Align::Right),
        ("from", Align::Left),
        ("claim", Align::Left),
        ("mult-adds", Align::Right),
        ("parameters", Align::Right),
    ]);
    for outcome in outcomes {
        let difference = outcome.difference.as_ref();
        table.row(vec![
            outcome.name.to_owned(),
            outcome.what.to_owned(),
            percent(outcome.mean),
            outcome.deviation.map_or("–".to_owned(), |spread| format!("{:.2}", 100.0 * spread)),
            difference.map_or(String::new(), signed),
            difference.map_or(String::new(), |difference| difference.from.to_owned()),
            difference.map_or(String::new(), |difference| difference.verdict.name().to_owned()),
            scaled(outcome.multiply_adds as u64),
            scaled(outcome.parameters as u64),
        ]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn welchs_interval() {
        // scipy.stats.ttest_ind(equal_var=False) has 3.2 degrees of freedom here, rounded to 3.
        let (own, other) = ([0.90, 0.91, 0.92], [0.85, 0.88, 0.85]);
        let found = difference("other", Claim::Better, &own, &other);
        assert!((found.mean - 0.05).abs() < 1e-12);
        let error = (0.0001f64 / 3.0 + 0.0003 / 3.0).sqrt();
        assert!((found.interval.unwrap() - 3.182 * error).abs() < 1e-9, "{found:?}");
        assert_eq!(found.verdict, Verdict::AsThePaper);
        assert_eq!(difference("o", Claim::Worse, &own, &other).verdict, Verdict::Against);
        assert_eq!(difference("o", Claim::NoBetter, &own, &other).verdict, Verdict::Against);
        assert_eq!(difference("o", Claim::NoBetter, &other, &own).verdict, Verdict::AsThePaper);
    }

    #[test]
    fn one_seed_decides_nothing() {
        let found = difference("other", Claim::Better, &[0.9], &[0.1]);
        assert_eq!((found.interval, found.verdict), (None, Verdict::Undecided));
        assert_eq!(signed(&found), "+80.00");
    }

    #[test]
    fn equal_runs_have_a_point_for_an_interval() {
        let found = difference("other", Claim::Better, &[0.5, 0.5], &[0.5, 0.5]);
        assert_eq!((found.interval, found.verdict), (Some(0.0), Verdict::Undecided));
    }
}
