//! Splitting a count into parts that differ by one at most.

use std::ops::Range;

/// `total` things in `parts` parts: 17 in two are 8 and 9, never 14 and 3.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    pub total: usize,
    pub parts: usize,
}

impl Split {
    /// The fewest parts of at most `largest` things.
    pub fn at_most(total: usize, largest: usize) -> Self {
        Self { total, parts: total.div_ceil(largest) }
    }

    /// The things in the largest part.
    pub fn largest(&self) -> usize {
        self.total.div_ceil(self.parts.max(1))
    }

    /// The things in part `i`.
    pub fn part(&self, i: usize) -> Range<usize> {
        i * self.total / self.parts..(i + 1) * self.total / self.parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_all_evenly() {
        for total in 0..60 {
            for largest in 1..20 {
                let split = Split::at_most(total, largest);
                let mut next = 0;
                for i in 0..split.parts {
                    let part = split.part(i);
                    assert_eq!(part.start, next);
                    assert!(part.len() <= largest);
                    assert!(
                        part.len() == total / split.parts || part.len() == total / split.parts + 1
                    );
                    next = part.end;
                }
                assert_eq!(next, total);
                assert_eq!(
                    split.largest(),
                    (0..split.parts).map(|i| split.part(i).len()).max().unwrap_or(0)
                );
            }
        }
    }
}
