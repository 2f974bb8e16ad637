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

    /// The things in part `i` and, without further divisions, in all after it.
    pub fn parts_from(&self, i: usize) -> Parts {
        let parts = self.parts.max(1);
        Parts {
            next: i * self.total / parts,
            each: self.total / parts,
            more: self.total % parts,
            carry: i * (self.total % parts) % parts,
            parts,
            left: self.parts - i,
        }
    }
}

/// See [`Split::parts_from`].
#[derive(Clone, Debug)]
pub(super) struct Parts {
    next: usize,
    each: usize,
    more: usize,
    carry: usize,
    parts: usize,
    left: usize,
}

impl Iterator for Parts {
    type Item = Range<usize>;

    #[inline]
    fn next(&mut self) -> Option<Range<usize>> {
        self.left = self.left.checked_sub(1)?;
        let start = self.next;
        self.next += self.each;
        self.carry += self.more;
        if self.carry >= self.parts {
            self.carry -= self.parts;
            self.next += 1;
        }
        Some(start..self.next)
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
                for first in 0..=split.parts {
                    let parts = (first..split.parts).map(|i| split.part(i));
                    assert!(split.parts_from(first).eq(parts));
                }
                assert_eq!(
                    split.largest(),
                    (0..split.parts).map(|i| split.part(i).len()).max().unwrap_or(0)
                );
            }
        }
    }
}
