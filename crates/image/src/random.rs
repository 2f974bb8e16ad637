//! Random numbers that depend on what they are for, not on when they are drawn.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// What a generator is for: streams of different purposes are unrelated.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    /// Splitting a class into training and test pictures.
    Split = 1,
    /// Order of an epoch's pictures.
    Shuffle = 2,
    /// Augmentation of a picture.
    Augment = 3,
    /// Mixing the pictures of a batch.
    Mix = 4,
}

/// A generator seeded by a purpose and a tuple of counters, such as (seed, epoch, picture).
///
/// The numbers are made here from the generator's raw bits, so that they stay the same whatever
/// the `rand` crates do to their distributions.
pub(crate) struct Random(Pcg64Mcg);

impl Random {
    pub(crate) fn new(purpose: Purpose, counters: [u64; 3]) -> Self {
        // SplitMix64's finaliser (Steele et al. 2014) over the counters, one after the other.
        let mix = |state: u64, counter: u64| {
            let mut z = (state ^ counter).wrapping_add(0x9E37_79B9_7F4A_7C15);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        };
        let low = counters.into_iter().fold(mix(0, purpose as u64), mix);
        let state = (u128::from(mix(low, 1)) << 64) | u128::from(low);
        Self(Pcg64Mcg::from_seed(state.to_le_bytes()))
    }

    /// Uniform in `low..high` (or `low` where they are equal), 53 bits of it.
    pub(crate) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        let unit = (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        low + (high - low) * unit
    }

    /// Uniform in `0..n`; the bias of at most n / 2⁶⁴ is beyond notice.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.0.next_u64()) * n as u128) >> 64) as usize
    }

    /// From Beta(α, α), for any α above 0: Ulrich's formula for α above ½ (Devroye, Non-Uniform
    /// Random Variate Generation, IX.3.3: the share of the way from −r to r at an even angle), else
    /// Jöhnk's rejection (there IX.3.5), which for these takes at least π / 4 of the pairs.
    pub(crate) fn beta(&mut self, alpha: f64) -> f64 {
        if alpha > 0.5 {
            let radius = (1.0 - self.uniform(0.0, 1.0).powf(2.0 / (2.0 * alpha - 1.0))).sqrt();
            let angle = self.uniform(0.0, std::f64::consts::TAU);
            return (1.0 + radius * angle.cos()) / 2.0;
        }
        loop {
            let mut power = || self.uniform(0.0, 1.0).powf(1.0 / alpha);
            let (x, y) = (power(), power());
            // Where α is so small that both vanish, another pair is as good.
            if x + y > 0.0 && x + y <= 1.0 {
                return x / (x + y);
            }
        }
    }

    /// Brings the items into random order (Fisher and Yates).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ() {
        let first =
            |purpose, counters| (0..4).map(move |_| Random::new(purpose, counters).below(1 << 30));
        let base: Vec<usize> = first(Purpose::Augment, [1, 2, 3]).collect();
        assert!(base.iter().all(|v| *v == base[0]));
        for (purpose, counters) in [
            (Purpose::Shuffle, [1, 2, 3]),
            (Purpose::Augment, [2, 2, 3]),
            (Purpose::Augment, [1, 3, 3]),
            (Purpose::Augment, [1, 2, 4]),
            (Purpose::Augment, [2, 1, 3]),
            (Purpose::Augment, [1, 3, 2]),
        ] {
            assert_ne!(first(purpose, counters).next(), Some(base[0]));
        }
    }

    #[test]
    fn numbers_are_spread_evenly_over_counters_and_draws() {
        let mut counts = [0u32; 10];
        for picture in 0..10_000 {
            let mut random = Random::new(Purpose::Augment, [7, 0, picture]);
            counts[random.below(10)] += 1;
            counts[(random.uniform(-2.0, 3.0) * 2.0 + 4.0) as usize] += 1;
        }
        // Mean 2000, standard deviation 42.
        assert!(counts.iter().all(|c| (1800..2200).contains(c)), "{counts:?}");
    }

    #[test]
    fn shuffling_keeps_every_item() {
        let mut items: Vec<usize> = (0..100).collect();
        Random::new(Purpose::Shuffle, [1, 0, 0]).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }

    /// About the mean of ½: variance 1 / (8 α + 4), fourth moment 3 / (16 (2 α + 1) (2 α + 3)).
    #[test]
    fn beta_has_its_moments() {
        for alpha in [0.1, 0.2, 0.5, 0.6, 1.0, 2.5] {
            let mut random = Random::new(Purpose::Mix, [1, 2, 3]);
            let draws: Vec<f64> = (0..100_000).map(|_| random.beta(alpha) - 0.5).collect();
            let moment = |n: i32| draws.iter().map(|v| v.powi(n)).sum::<f64>() / 1e5;
            let variance = 1.0 / (8.0 * alpha + 4.0);
            let fourth = 3.0 / (16.0 * (2.0 * alpha + 1.0) * (2.0 * alpha + 3.0));
            assert!(moment(1).abs() < 0.006, "{alpha}: mean {}", moment(1));
            let close = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.03;
            assert!(close(moment(2), variance), "{alpha}: {} {variance}", moment(2));
            assert!(close(moment(4), fourth), "{alpha}: {} {fourth}", moment(4));
            assert!(draws.iter().all(|v| v.abs() <= 0.5));
        }
    }

    #[test]
    fn numbers_are_the_same_everywhere_for_ever() {
        let mut random = Random::new(Purpose::Split, [1, 2, 3]);
        let numbers: Vec<usize> = (0..4).map(|_| random.below(1000)).collect();
        assert_eq!(numbers, [377, 997, 621, 824]);
    }
}
