//! Minimal filtering along one axis, exactly: the transforms of Toom–Cook's algorithm.
//!
//! `m` outputs of a filter with `k` taps, y[j] = Σ g[i] d[j + i], need `m k` multiplications when
//! computed directly, and `n = m + k - 1` as y = Aᵀ [(G g) ⊙ (Bᵀ d)] (Winograd 1980, *Arithmetic
//! complexity of computations*; Lavin and Gray 2015, arXiv 1509.09308, call it F(m, k)). A and G
//! evaluate polynomials at `n` points, B interpolates; the transposition turns the product of
//! polynomials into a filter.
//!
//! The points are 0, pairs ±a and, where `n` is even, ∞. Zero and pairs make all transforms split
//! into even and odd halves, which is what [`lines`](super::lines) computes with.

use num_rational::Ratio;

/// An exact number.
pub(super) type Exact = Ratio<i128>;

/// F(m, k) along one axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ToomCook {
    /// Outputs of a tile, m.
    pub outputs: usize,
    /// Taps of the filter, k.
    pub taps: usize,
    /// The positive point of each pair.
    pub pairs: Vec<Exact>,
}

/// The pairs by their number, without and with ∞; 1 is in the middle of an odd number. Of those with
/// numerators of three bits and powers of two below they amplify rounding errors least, or nearly
/// so. Floats have the powers of such points exactly up to the eighth, and with up to five pairs all
/// of Bᵀ (with six and seven most of it). What a coefficient lacks is no noise: it is the same in all
/// pixels, and no mean over them takes it away.
const PAIRS: [[&[(i128, i128)]; 2]; 8] = [
    [&[], &[]],
    [&[(1, 1)], &[(1, 1)]],
    [&[(3, 4), (5, 2)], &[(5, 8), (3, 2)]],
    [&[(1, 2), (1, 1), (4, 1)], &[(1, 2), (1, 1), (2, 1)]],
    [&[(1, 2), (7, 8), (3, 2), (4, 1)], &[(7, 16), (3, 4), (5, 4), (5, 2)]],
    [&[(3, 8), (3, 4), (1, 1), (7, 4), (5, 1)], &[(3, 8), (3, 4), (1, 1), (3, 2), (3, 1)]],
    [
        &[(5, 16), (5, 8), (7, 8), (5, 4), (2, 1), (6, 1)],
        &[(5, 16), (5, 8), (7, 8), (5, 4), (7, 4), (3, 1)],
    ],
    [
        &[(5, 16), (1, 2), (7, 8), (1, 1), (3, 2), (5, 2), (7, 1)],
        &[(1, 4), (1, 2), (3, 4), (1, 1), (5, 4), (2, 1), (7, 2)],
    ],
];

impl ToomCook {
    /// The most outputs or taps; keeps sums of hostile numbers from wrapping around.
    pub const MOST: usize = 2 * PAIRS.len();

    /// The algorithm for `outputs` outputs of a filter with `taps` taps, if it saves anything and
    /// the points are known that it needs. One tap needs none: the transforms are identities.
    pub fn new(outputs: usize, taps: usize) -> Option<Self> {
        let limit = Self::MOST;
        if outputs == 0 || taps == 0 || outputs.max(taps) > limit || outputs == 1 && taps > 1 {
            return None;
        }
        let beside_zero = if taps == 1 { 0 } else { outputs + taps - 2 };
        let pairs = PAIRS.get(beside_zero / 2)?[beside_zero % 2];
        let pairs = pairs.iter().map(|&(a, b)| Exact::new(a, b)).collect();
        Some(Self { outputs, taps, pairs })
    }

    /// Which of so many pairs is ±1; past the end where none is.
    pub const fn one(pairs: usize) -> usize {
        if pairs % 2 == 1 { pairs / 2 } else { pairs }
    }

    /// Inputs of a tile and multiplications, n.
    pub fn points(&self) -> usize {
        self.outputs + self.taps - 1
    }

    /// Whether nothing is transformed.
    pub fn is_identity(&self) -> bool {
        self.taps == 1
    }

    /// Whether ∞, the last point, is one of them.
    pub fn has_infinity(&self) -> bool {
        !self.is_identity() && self.points().is_multiple_of(2)
    }

    /// 0, a₁, −a₁, a₂, −a₂, …: all but ∞.
    pub fn finite_points(&self) -> Vec<Exact> {
        let zero = Exact::from_integer(0);
        [zero].into_iter().chain(self.pairs.iter().flat_map(|&a| [a, -a])).collect()
    }

    /// Different rows of G: one a point, but a single tap is the same at all.
    pub fn filters(&self) -> usize {
        if self.is_identity() { 1 } else { self.points() }
    }

    /// G: [`filters`](Self::filters) × taps.
    pub fn filter_transform(&self) -> Vec<Vec<Exact>> {
        if self.is_identity() {
            return vec![vec![Exact::from_integer(1)]];
        }
        let points = self.finite_points();
        let scale = |i: usize| -> Exact {
            let others = points.iter().enumerate().filter(|&(j, _)| j != i);
            others.map(|(_, q)| points[i] - q).product()
        };
        self.evaluation(self.taps)
            .into_iter()
            .enumerate()
            .map(|(i, row)| match i < points.len() {
                true => row.into_iter().map(|value| value / scale(i)).collect(),
                false => row,
            })
            .collect()
    }

    /// Aᵀ: outputs × points.
    pub fn output_transform(&self) -> Vec<Vec<Exact>> {
        if self.is_identity() {
            return identity(self.outputs);
        }
        let rows = self.evaluation(self.outputs);
        (0..self.outputs).map(|j| rows.iter().map(|row| row[j]).collect()).collect()
    }

    /// Bᵀ: points × points. The kernels know it by its halves.
    #[cfg(test)]
    pub fn input_transform(&self) -> Vec<Vec<Exact>> {
        if self.is_identity() {
            return identity(self.outputs);
        }
        let points = self.finite_points();
        let mut rows: Vec<Vec<Exact>> = (0..points.len())
            .map(|i| {
                let others = points.iter().enumerate().filter(|&(j, _)| j != i);
                polynomial(others.map(|(_, &q)| q))
            })
            .collect();
        if self.has_infinity() {
            rows.push(polynomial(points.iter().copied()));
        }
        rows.iter_mut().for_each(|row| row.resize(self.points(), Exact::from_integer(0)));
        rows
    }

    /// By how much rounding errors of the products' size grow in the outputs, on average: the root
    /// of the mean over outputs of Σ (A ‖G‖ ‖B‖)², relative to a direct sum. 1 for one tap.
    pub fn amplification(&self) -> f64 {
        if self.is_identity() {
            return 1.0;
        }
        let norm =
            |row: &Vec<Exact>| -> f64 { row.iter().map(|&value| to_f64(value).powi(2)).sum() };
        let g: Vec<f64> = self.filter_transform().iter().map(norm).collect();
        let b = self.input_norms();
        let growth = |row: &Vec<Exact>| -> f64 {
            row.iter().zip(&g).zip(&b).map(|((&a, g), b)| to_f64(a).powi(2) * g * b).sum()
        };
        let sum: f64 = self.output_transform().iter().map(growth).sum();
        (sum / (self.outputs * self.taps) as f64).sqrt()
    }

    /// Σ Bᵀ² of each row, from its halves: the whole of Bᵀ takes far more exact arithmetic, and a plan
    /// asks for many tiles.
    pub fn input_norms(&self) -> Vec<f64> {
        if self.is_identity() {
            return vec![1.0; self.points()];
        }
        let norm =
            |row: Vec<Exact>| -> f64 { row.iter().map(|&value| to_f64(value).powi(2)).sum() };
        let ends = norm(self.product_of_squares());
        let of_pair = |(i, &a): (usize, &Exact)| {
            let each = (1.0 + to_f64(a).powi(2)) * norm(self.product_of_other_squares(i));
            [each, each]
        };
        let pairs = self.pairs.iter().enumerate().flat_map(of_pair);
        [ends].into_iter().chain(pairs).chain(self.has_infinity().then_some(ends)).collect()
    }

    /// Powers of the points below `degree`; ∞ has only the highest.
    fn evaluation(&self, degree: usize) -> Vec<Vec<Exact>> {
        let mut rows: Vec<Vec<Exact>> = self
            .finite_points()
            .iter()
            .map(|&point| powers(point).take(degree).collect())
            .collect();
        if self.has_infinity() {
            rows.push((0..degree).map(|i| Exact::from_integer((i + 1 == degree).into())).collect());
        }
        rows
    }

    /// Coefficients of Π (z − a²) over all pairs, the lowest first: Bᵀ's row for 0 with z = x²,
    /// and, shifted by one, for ∞.
    pub fn product_of_squares(&self) -> Vec<Exact> {
        polynomial(self.pairs.iter().map(|a| a * a))
    }

    /// Coefficients of Π (z − b²) over all pairs but the `i`-th: with x (x ± a) before it, Bᵀ's
    /// rows for ±a.
    pub fn product_of_other_squares(&self, i: usize) -> Vec<Exact> {
        let others = self.pairs.iter().enumerate().filter(|&(j, _)| j != i);
        polynomial(others.map(|(_, a)| a * a))
    }
}

/// 1, x, x², …
pub(super) fn powers(x: Exact) -> impl Iterator<Item = Exact> {
    std::iter::successors(Some(Exact::from_integer(1)), move |power| Some(power * x))
}

/// Coefficients of Π (x − root), the lowest first.
fn polynomial(roots: impl Iterator<Item = Exact>) -> Vec<Exact> {
    roots.fold(vec![Exact::from_integer(1)], |factor, root| {
        let zero = Exact::from_integer(0);
        let shifted = [zero].into_iter().chain(factor.iter().copied());
        let scaled = factor.iter().map(|c| c * root).chain([zero]);
        shifted.zip(scaled).map(|(a, b)| a - b).collect()
    })
}

/// The nearest `f64`.
pub(super) fn to_f64(value: Exact) -> f64 {
    *value.numer() as f64 / *value.denom() as f64
}

fn identity(size: usize) -> Vec<Vec<Exact>> {
    (0..size).map(|i| (0..size).map(|j| Exact::from_integer((i == j).into())).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(matrix: &[Vec<Exact>], vector: &[Exact]) -> Vec<Exact> {
        matrix.iter().map(|row| row.iter().zip(vector).map(|(a, b)| a * b).sum()).collect()
    }

    fn all() -> impl Iterator<Item = ToomCook> {
        (1..17).flat_map(|taps| (1..17).filter_map(move |outputs| ToomCook::new(outputs, taps)))
    }

    #[test]
    fn one_is_where_it_is_looked_for() {
        for pairs in PAIRS.into_iter().flatten() {
            let found = pairs.iter().position(|&pair| pair == (1, 1));
            assert_eq!(found.unwrap_or(pairs.len()), ToomCook::one(pairs.len()));
        }
    }

    /// Bilinear, so that it holds for all filters and inputs if it holds for all unit vectors.
    #[test]
    fn equals_the_filter_exactly() {
        let mut count = 0;
        for f in all() {
            let unit = |size, i| -> Vec<Exact> {
                (0..size).map(|j| Exact::from_integer((i == j).into())).collect()
            };
            let (a, b, g) = (f.output_transform(), f.input_transform(), f.filter_transform());
            for tap in 0..f.taps {
                let mut filter = times(&g, &unit(f.taps, tap));
                filter.resize(f.points(), filter[0]);
                for place in 0..f.points() {
                    let input = times(&b, &unit(f.points(), place));
                    let products: Vec<_> = filter.iter().zip(&input).map(|(a, b)| a * b).collect();
                    let expected: Vec<_> = (0..f.outputs)
                        .map(|j| Exact::from_integer((j + tap == place).into()))
                        .collect();
                    assert_eq!(times(&a, &products), expected, "F({}, {})", f.outputs, f.taps);
                }
            }
            count += 1;
        }
        assert_eq!(count, 16 + (1..=14).sum::<usize>());
    }

    #[test]
    fn norms_are_those_of_the_input_transform() {
        for f in all().filter(|f| !f.is_identity()) {
            let rows = f.input_transform();
            for (row, norm) in rows.iter().zip(f.input_norms()) {
                let sum: f64 = row.iter().map(|&value| to_f64(value).powi(2)).sum();
                assert!((sum - norm).abs() < 1e-9 * sum, "F({}, {})", f.outputs, f.taps);
            }
            assert_eq!(rows.len(), f.input_norms().len());
        }
    }

    /// The halves that the kernels compute with are the rows of the transform.
    #[test]
    fn halves_make_up_the_input_transform() {
        for f in all().filter(|f| !f.is_identity()) {
            let rows = f.input_transform();
            let zero = Exact::from_integer(0);
            let row = |terms: &mut dyn Iterator<Item = (usize, Exact)>| {
                let mut row = vec![zero; f.points()];
                terms.for_each(|(place, value)| row[place] += value);
                row
            };
            let squares = f.product_of_squares();
            assert_eq!(rows[0], row(&mut squares.iter().enumerate().map(|(i, &c)| (2 * i, c))));
            for (pair, &a) in f.pairs.iter().enumerate() {
                let others = f.product_of_other_squares(pair);
                for (sign, of_pair) in [(a, 1), (-a, 2)] {
                    let even = others.iter().enumerate().map(|(i, &c)| (2 * i + 2, c));
                    let odd = others.iter().enumerate().map(|(i, &c)| (2 * i + 1, sign * c));
                    assert_eq!(rows[2 * pair + of_pair], row(&mut even.chain(odd)));
                }
            }
            if f.has_infinity() {
                let last = row(&mut squares.iter().enumerate().map(|(i, &c)| (2 * i + 1, c)));
                assert_eq!(rows[f.points() - 1], last);
            }
        }
    }
}
