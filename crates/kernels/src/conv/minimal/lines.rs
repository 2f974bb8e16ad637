//! The transforms of [`ToomCook`] on vectors of sixteen channels, along one axis.
//!
//! Zero and the pairs ±a split them into even and odd halves: with z = x², Bᵀ's row for ±a is
//! x (x ± a) Q(z), so both of a pair are E ± aO with E and O the same sums over the even and the
//! odd inputs; Aᵀ needs of a pair only the sum (for even outputs) and the difference (for odd).
//! That halves the multiplications.

// Indices throughout, as the loops must unroll into registers.
#![allow(clippy::needless_range_loop)]

use std::sync::OnceLock;

use super::toom_cook::{ToomCook, powers, to_f64};
use crate::simd::Vector;
use crate::{Isa, LANES};

/// Points are differences of pixels, which are alike where they are close: so much smaller points
/// are than if pixels had nothing to do with one another, as seen in Inception v3.
const ALIKE: f64 = 0.4;
/// The most pairs of points.
const MOST_PAIRS: usize = 7;
/// The most outputs of a tile.
const MOST_OUTPUTS: usize = 15;
/// The most that a transform is compiled for by itself.
const MOST_UNROLLED: usize = 9;

/// An axis' transforms as numbers.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub exact: ToomCook,
    /// For each point, by how much it is larger than pixels.
    pub input_sizes: Vec<f64>,
    /// See [`ToomCook::amplification`].
    pub amplification: f64,
    /// G.
    pub filters: Vec<Vec<f64>>,
    infinity: bool,
    /// Coefficients of Π (z − a²).
    squares: [f32; MOST_PAIRS + 1],
    /// For each pair, those without its own factor.
    others: [[f32; MOST_PAIRS]; MOST_PAIRS],
    /// The pairs' positive points.
    pairs: [f32; MOST_PAIRS],
    /// By output, then by pair: the point's power.
    powers: [[f32; MOST_PAIRS]; MOST_OUTPUTS],
}

/// Vectors at equal distances, all counted in `f32`s: `count` lines `next` apart, each of vectors
/// `step` apart.
#[derive(Clone, Copy)]
pub(super) struct Lines<P> {
    pub start: P,
    pub step: usize,
    pub next: usize,
}

impl Lines<*mut f32> {
    /// The same vectors, to read.
    pub fn as_read(self) -> Lines<*const f32> {
        Lines { start: self.start.cast_const(), step: self.step, next: self.next }
    }
}

/// What ends an output transform.
#[derive(Clone, Copy)]
pub(super) enum End {
    /// y
    Nothing,
    /// max(floor, y + bias), sixteen values each.
    Same { bias: *const f32, floor: *const f32 },
    /// max(floor, y + a vector for each output).
    Each { add: Lines<*const f32>, floor: *const f32 },
}

type Input = unsafe fn(&Line, Lines<*const f32>, Lines<*mut f32>, usize);
type Output = unsafe fn(&Line, Lines<*const f32>, Lines<*mut f32>, (usize, usize), End, *mut f32);

impl Line {
    /// F(outputs, taps), if there is one. Each is made once: exact arithmetic takes its time, and
    /// plans ask for many.
    pub fn of(outputs: usize, taps: usize) -> Option<&'static Self> {
        const COUNT: usize = ToomCook::MOST + 1;
        static LINES: [[OnceLock<Option<Line>>; COUNT]; COUNT] =
            [const { [const { OnceLock::new() }; COUNT] }; COUNT];
        let line = LINES.get(outputs)?.get(taps)?;
        line.get_or_init(|| ToomCook::new(outputs, taps).map(Line::new)).as_ref()
    }

    fn new(exact: ToomCook) -> Self {
        let rounded = |value| to_f64(value) as f32;
        let mut line = Self {
            infinity: exact.has_infinity(),
            squares: [0.0; MOST_PAIRS + 1],
            others: [[0.0; MOST_PAIRS]; MOST_PAIRS],
            pairs: [0.0; MOST_PAIRS],
            powers: [[0.0; MOST_PAIRS]; MOST_OUTPUTS],
            amplification: exact.amplification(),
            filters: Vec::new(),
            input_sizes: Vec::new(),
            exact,
        };
        let exact = &line.exact;
        let alike = if exact.is_identity() { 1.0 } else { ALIKE };
        line.input_sizes = exact.input_norms().iter().map(|norm| alike * norm.sqrt()).collect();
        let numbers = |row: Vec<_>| row.into_iter().map(to_f64).collect();
        line.filters = exact.filter_transform().into_iter().map(numbers).collect();
        let fill = |to: &mut [f32], from: Vec<_>| {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = rounded(from));
        };
        fill(&mut line.squares, exact.product_of_squares());
        fill(&mut line.pairs, exact.pairs.clone());
        for (i, &point) in exact.pairs.iter().enumerate() {
            fill(&mut line.others[i], exact.product_of_other_squares(i));
            for (row, power) in line.powers.iter_mut().zip(powers(point).take(exact.outputs)) {
                row[i] = rounded(power);
            }
        }
        line
    }

    /// Bᵀ: `count` lines of `points` vectors from `x` to `y`.
    ///
    /// # Safety
    /// All the vectors are readable or writable, by nobody else meanwhile.
    pub unsafe fn input(
        &self,
        kernels: &Kernels,
        x: Lines<*const f32>,
        y: Lines<*mut f32>,
        count: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe { kernels.input[self.exact.pairs.len()](self, x, y, count) }
    }

    /// Aᵀ: `count` lines of `points` vectors from `x` to the first `outputs` vectors in `y`; `spare`
    /// is room for a vector that nobody reads.
    ///
    /// # Safety
    /// All the vectors are readable or writable, by nobody else meanwhile; so are `spare`'s sixteen
    /// values and what ends the outputs.
    pub unsafe fn output(
        &self,
        kernels: &Kernels,
        x: Lines<*const f32>,
        y: Lines<*mut f32>,
        count_and_outputs: (usize, usize),
        end: End,
        spare: *mut f32,
    ) {
        let forms = &kernels.output[self.exact.pairs.len()];
        let kernel = *forms.get(self.exact.outputs).unwrap_or(&forms[0]);
        // SAFETY: the caller's promise.
        unsafe { kernel(self, x, y, count_and_outputs, end, spare) }
    }
}

/// # Safety
/// See [`Line::input`].
#[inline(always)]
unsafe fn input<V: Vector, const H: usize>(
    line: &Line,
    x: Lines<*const f32>,
    y: Lines<*mut f32>,
    count: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for i in 0..count {
            for lane in (0..LANES).step_by(V::LANES) {
                let x_line = x.start.add(i * x.next + lane);
                let y_line = y.start.add(i * y.next + lane);
                // Inputs 1, 3, … and 2, 4, …
                let mut odd = [V::splat(0.0); H];
                let mut even = [V::splat(0.0); H];
                for h in 0..H {
                    odd[h] = V::load(x_line.add((2 * h + 1) * x.step));
                    even[h] = V::load(x_line.add((2 * h + 2) * x.step));
                }
                // The highest coefficient of each product is 1.
                let first = V::load(x_line);
                let mut zero = first.mul_add(V::splat(line.squares[0]), even[H - 1]);
                for h in 1..H {
                    zero = even[h - 1].mul_add(V::splat(line.squares[h]), zero);
                }
                zero.store(y_line);
                for pair in 0..H {
                    let (mut e, mut o) = (even[H - 1], odd[H - 1]);
                    for h in 0..H - 1 {
                        let other = V::splat(line.others[pair][h]);
                        e = even[h].mul_add(other, e);
                        o = odd[h].mul_add(other, o);
                    }
                    if pair != ToomCook::one(H) {
                        o = o.mul(V::splat(line.pairs[pair]));
                    }
                    e.add(o).store(y_line.add((2 * pair + 1) * y.step));
                    e.sub(o).store(y_line.add((2 * pair + 2) * y.step));
                }
                if line.infinity {
                    let mut infinity = V::load(x_line.add((2 * H + 1) * x.step));
                    for h in 0..H {
                        infinity = odd[h].mul_add(V::splat(line.squares[h]), infinity);
                    }
                    infinity.store(y_line.add((2 * H + 1) * y.step));
                }
            }
        }
    }
}

/// Σ of the pairs' vectors × powers; a power of 1 is no multiplication. As a function of the arrays
/// it would put them in memory.
macro_rules! weighted {
    ($vectors:ident, $powers:ident) => {{
        let (one, start) = (ToomCook::one(H), ToomCook::one(H) % H);
        let mut sum = $vectors[start];
        if one == H {
            sum = sum.mul(V::splat($powers[start]));
        }
        for h in 0..H {
            if h != start {
                sum = $vectors[h].mul_add(V::splat($powers[h]), sum);
            }
        }
        sum
    }};
}

/// Of a line with `M` outputs; with any number of them if `M` is 0. Those beyond `outputs` go to
/// `spare`, which costs less than to ask before each.
///
/// # Safety
/// See [`Line::output`].
#[inline(always)]
unsafe fn output<V: Vector, const H: usize, const M: usize>(
    line: &Line,
    x: Lines<*const f32>,
    y: Lines<*mut f32>,
    (count, outputs): (usize, usize),
    end: End,
    spare: *mut f32,
) {
    let most = if M == 0 { line.exact.outputs } else { M };
    // SAFETY: the caller's promise.
    unsafe {
        for lane in (0..LANES).step_by(V::LANES) {
            let (bias, floor) = match end {
                End::Nothing => (V::splat(0.0), V::splat(0.0)),
                End::Same { bias, floor } => (V::load(bias.add(lane)), V::load(floor.add(lane))),
                End::Each { floor, .. } => (V::splat(0.0), V::load(floor.add(lane))),
            };
            for i in 0..count {
                let x_line = x.start.add(i * x.next + lane);
                let y_line = y.start.add(i * y.next + lane);
                let mut sum = [V::splat(0.0); H];
                let mut difference = [V::splat(0.0); H];
                let mut first = V::load(x_line);
                for h in 0..H {
                    let plus = V::load(x_line.add((2 * h + 1) * x.step));
                    let minus = V::load(x_line.add((2 * h + 2) * x.step));
                    sum[h] = plus.add(minus);
                    difference[h] = plus.sub(minus);
                    first = first.add(sum[h]);
                }
                for j in 0..most {
                    let powers = &line.powers[j];
                    let mut value = first;
                    if j % 2 == 1 {
                        value = weighted!(difference, powers);
                    } else if j > 0 {
                        value = weighted!(sum, powers);
                    }
                    if line.infinity && j + 1 == most {
                        value = value.add(V::load(x_line.add((2 * H + 1) * x.step)));
                    }
                    let there = j < outputs;
                    value = match end {
                        End::Nothing => value,
                        End::Same { .. } => floor.max(value.add(bias)),
                        End::Each { add, .. } => {
                            let add = add.start.wrapping_add(i * add.next + j * add.step + lane);
                            floor.max(value.add(V::load(if there { add } else { x_line })))
                        }
                    };
                    value.store(if there { y_line.wrapping_add(j * y.step) } else { spare });
                }
            }
        }
    }
}

/// Transforms of an instruction set, by the number of pairs.
pub(super) struct Kernels {
    input: [Input; MOST_PAIRS + 1],
    /// By the number of outputs too; first for any number of them.
    output: [[Output; MOST_UNROLLED + 1]; MOST_PAIRS + 1],
}

macro_rules! kernels {
    ($name:ident, $vector:ty, $(#[$feature:meta])?) => {
        mod $name {
            use super::*;

            $(#[$feature])?
            unsafe fn input<const H: usize>(
                line: &Line, x: Lines<*const f32>, y: Lines<*mut f32>, count: usize,
            ) {
                // SAFETY: the features are enabled; the rest is the caller's promise.
                unsafe { super::input::<$vector, H>(line, x, y, count) }
            }

            $(#[$feature])?
            unsafe fn output<const H: usize, const M: usize>(
                line: &Line, x: Lines<*const f32>, y: Lines<*mut f32>, counts: (usize, usize),
                end: End, spare: *mut f32,
            ) {
                // Each call is compiled by itself.
                // SAFETY: the features are enabled; the rest is the caller's promise.
                unsafe {
                    match end {
                        End::Nothing => {
                            super::output::<$vector, H, M>(line, x, y, counts, End::Nothing, spare);
                        }
                        End::Same { bias, floor } => {
                            let end = End::Same { bias, floor };
                            super::output::<$vector, H, M>(line, x, y, counts, end, spare);
                        }
                        End::Each { add, floor } => {
                            let end = End::Each { add, floor };
                            super::output::<$vector, H, M>(line, x, y, counts, end, spare);
                        }
                    }
                }
            }

            const fn outputs<const H: usize>() -> [Output; MOST_UNROLLED + 1] {
                [
                    output::<H, 0>,
                    output::<H, 0>,
                    output::<H, 2>,
                    output::<H, 3>,
                    output::<H, 4>,
                    output::<H, 5>,
                    output::<H, 6>,
                    output::<H, 7>,
                    output::<H, 8>,
                    output::<H, 9>,
                ]
            }

            pub(super) const KERNELS: Kernels = Kernels {
                input: [
                    copy_in,
                    input::<1>,
                    input::<2>,
                    input::<3>,
                    input::<4>,
                    input::<5>,
                    input::<6>,
                    input::<7>,
                ],
                output: [
                    [copy_out; MOST_UNROLLED + 1],
                    outputs::<1>(),
                    outputs::<2>(),
                    outputs::<3>(),
                    outputs::<4>(),
                    outputs::<5>(),
                    outputs::<6>(),
                    outputs::<7>(),
                ],
            };
        }
    };
}

/// No pairs, one tap: nothing to transform. Callers leave such an axis out.
unsafe fn copy_in(_: &Line, _: Lines<*const f32>, _: Lines<*mut f32>, _: usize) {
    unreachable!("an axis of one tap is not transformed")
}

/// As [`copy_in`].
unsafe fn copy_out(
    _: &Line,
    _: Lines<*const f32>,
    _: Lines<*mut f32>,
    _: (usize, usize),
    _: End,
    _: *mut f32,
) {
    unreachable!("an axis of one tap is not transformed")
}

#[cfg(target_arch = "x86_64")]
kernels!(
    avx512, crate::simd::Avx512,
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
);
#[cfg(target_arch = "x86_64")]
kernels!(avx2, crate::simd::Avx2, #[target_feature(enable = "avx2,fma")]);
#[cfg(target_arch = "aarch64")]
kernels!(neon, crate::simd::Neon,);
kernels!(portable, crate::simd::Portable,);

impl Kernels {
    /// Those of an instruction set.
    pub fn of(isa: Isa) -> &'static Kernels {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Zen4 | Isa::Avx512 => &const { avx512::KERNELS },
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => &const { avx2::KERNELS },
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => &const { neon::KERNELS },
            _ => &const { portable::KERNELS },
        }
    }
}
