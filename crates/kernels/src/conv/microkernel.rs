//! The innermost loops: a tile of sums held in registers.
//!
//! Both products keep `P` × `N` vectors of sums, and each step adds the outer product of `P`
//! broadcast values with `N` vectors. A tile has just enough sums to hide the latency of a
//! multiply–add and few enough to stay in registers; its shape decides nothing but speed, as every
//! sum is one chain of multiply–adds in the same order whatever tile it is in.

// Indices throughout, as in the formulas, and because the loops must unroll into registers.
#![allow(clippy::needless_range_loop)]

#[cfg(target_arch = "x86_64")]
use super::paired::multiply_paired;
use crate::simd::{Vector, prefetch, prefetch_to_l2, prefetch_to_write};
use crate::{Isa, LANES};

/// The most broadcast values of any tile.
pub(super) const MAX_ROWS: usize = 14;

/// Sums of a convolution: some pixels × some output blocks.
pub(super) struct Tile {
    /// First value of each pixel's window.
    pub x: [*const f32; MAX_ROWS],
    /// The windows of the tile that comes next, to be read ahead.
    pub next: [*const f32; MAX_ROWS],
    /// Rows and columns at a window's end that windows above and to the left don't have.
    pub fresh: (usize, usize),
    /// Where each pixel's sums go, first block.
    pub y: [*mut f32; MAX_ROWS],
    /// From one output block to the next.
    pub y_block: usize,
    /// Packed `[input block][row][column][lane][output]`.
    pub weights: *const f32,
    /// Channels of each input block.
    pub lanes: *const u8,
    /// Input blocks, rows and columns of the filter, and from one to the next in the input.
    pub blocks: (usize, isize),
    pub rows: (usize, isize),
    pub columns: (usize, isize),
    /// What is added to the sums, and from one output block to the next.
    pub bias: (*const f32, usize),
    /// Results below become this, and from one output block to the next.
    pub floor: (*const f32, usize),
    /// Whether sums start at what stands at `y`, not at zero.
    pub accumulate: bool,
}

/// Sums of a product of matrices: some rows that lie one behind the other × some output blocks.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(super) struct Panel {
    /// `[input block][row][lane]`; number of input blocks, and from one to the next.
    pub x: *const f32,
    pub blocks: (usize, usize),
    /// Channels of each input block.
    pub lanes: *const u8,
    /// Packed `[input block][lane][output]`.
    pub weights: *const f32,
    /// `[output block][row][lane]`, and from one output block to the next.
    pub y: *mut f32,
    pub y_block: usize,
    /// What sums start with, and from one output block to the next.
    pub start: (*const f32, usize),
    /// Weights that a later panel reads, to be fetched from memory meanwhile: from where on, and
    /// how many cache lines for each input channel; where channels are paired, how many in all.
    pub ahead: (*const f32, usize),
    /// Where channels are [`paired`](super::paired): in which input blocks they are.
    pub paired: *const bool,
    /// What each row's sums start with, and what they are multiplied with in the end.
    pub rows: (*const f32, *const f32),
    /// Likewise sixteen values for each output block, first the one and then the other.
    pub outputs: *const f32,
}

/// Sums of a gradient of filters: some weights of one output × some output blocks.
pub(super) struct Strip {
    /// The input value that meets each weight in the first pixel.
    pub x: [*const f32; MAX_ROWS],
    /// The first pixel's gradient, first block.
    pub dy: *const f32,
    /// From one output block to the next.
    pub dy_block: usize,
    /// Three nested loops over pixels, the innermost last.
    pub loops: [Loop; 3],
    /// `[weight][output]`: the sums are added to these.
    pub sums: *mut f32,
}

/// A loop over pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loop {
    pub count: usize,
    /// From one pixel to the next in the input, and in the output's gradient.
    pub x: usize,
    pub dy: usize,
}

/// A convolution's tile, computed and stored.
///
/// # Safety
/// The machine has the instruction set. All that the tile's pointers and steps lead to is readable,
/// and the sums' places are writable and nobody else's.
pub(super) type Convolve = unsafe fn(&Tile);

/// A panel's sums, computed and stored.
///
/// # Safety
/// As for [`Convolve`].
pub(super) type Multiply = unsafe fn(&Panel);

/// A strip's sums, computed and added.
///
/// # Safety
/// As for [`Convolve`].
pub(super) type Correlate = unsafe fn(&Strip);

/// `sums[p][v] += x[p][at] × y[v]`
///
/// # Safety
/// The values are readable.
#[inline(always)]
unsafe fn outer_product<V: Vector, const P: usize, const N: usize>(
    sums: &mut [[V; N]; P],
    x: &[*const f32; P],
    at: isize,
    y: *const f32,
    y_block: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut vectors = [V::splat(0.0); N];
        for v in 0..N {
            vectors[v] = V::load(y.add(place::<V>(v, y_block)));
        }
        for p in 0..P {
            let value = V::splat(*x[p].offset(at));
            for v in 0..N {
                sums[p][v] = value.mul_add(vectors[v], sums[p][v]);
            }
        }
    }
}

/// Where a tile's `v`-th vector lies, blocks being `block` apart.
#[inline(always)]
pub(super) fn place<V: Vector>(v: usize, block: usize) -> usize {
    let lane = v * V::LANES;
    lane / LANES * block + lane % LANES
}

/// # Safety
/// See [`Convolve`].
#[inline(always)]
unsafe fn convolve<V: Vector, const P: usize, const N: usize>(tile: &Tile) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[V::splat(0.0); N]; P];
        let mut x = [std::ptr::null(); P];
        x.copy_from_slice(&tile.x[..P]);
        if tile.accumulate {
            for p in 0..P {
                for v in 0..N {
                    sums[p][v] = V::load(tile.y[p].add(place::<V>(v, tile.y_block)));
                }
            }
        }

        for v in 0..N {
            for p in 0..P {
                prefetch_to_write(tile.y[p].wrapping_add(place::<V>(v, tile.y_block)));
            }
        }
        let fresh_row = (tile.rows.0 - tile.fresh.0) as isize * tile.rows.1;
        let fresh_column = (tile.columns.0 - tile.fresh.1) as isize * tile.columns.1;

        let mut weights = tile.weights;
        let unrolled = const { unrolled::<V>() };
        for block in 0..tile.blocks.0 {
            let lanes = *tile.lanes.add(block) as isize;
            let block = block as isize * tile.blocks.1;
            for row in 0..tile.fresh.0 {
                let row = block + fresh_row + row as isize * tile.rows.1;
                for column in 0..tile.fresh.1 {
                    let at = row + fresh_column + column as isize * tile.columns.1;
                    for p in 0..P {
                        prefetch(tile.next[p].wrapping_offset(at));
                    }
                }
            }
            for row in 0..tile.rows.0 {
                let row = block + row as isize * tile.rows.1;
                for column in 0..tile.columns.0 {
                    let mut at = row + column as isize * tile.columns.1;
                    let end = at + lanes;
                    while at + unrolled as isize <= end {
                        for i in 0..unrolled {
                            let weights = weights.add(i * N * V::LANES);
                            outer_product(&mut sums, &x, at + i as isize, weights, LANES);
                        }
                        at += unrolled as isize;
                        weights = weights.add(unrolled * N * V::LANES);
                    }
                    while at < end {
                        outer_product(&mut sums, &x, at, weights, LANES);
                        at += 1;
                        weights = weights.add(N * V::LANES);
                    }
                }
            }
        }

        // The same instructions with and without bias and ReLU: a branch here would make the
        // compiler keep the sums in memory.
        for v in 0..N {
            let bias = V::load(tile.bias.0.add(place::<V>(v, tile.bias.1)));
            let floor = V::load(tile.floor.0.add(place::<V>(v, tile.floor.1)));
            for p in 0..P {
                let y = tile.y[p].add(place::<V>(v, tile.y_block));
                floor.max(sums[p][v].add(bias)).store(y);
            }
        }
    }
}

/// Lanes that are multiplied in a row where vectors are less than a block: their many instructions leave
/// little for others, least of all where two threads share a core.
const fn unrolled<V: Vector>() -> usize {
    if V::LANES < LANES { 4 } else { 1 }
}

/// Steps ahead at which weights are asked for: they come from far, one long stream.
pub(super) const AHEAD: usize = 48;

/// `sums[p][v] += x[p] × weights[v]`, the rows a pixel apart.
///
/// # Safety
/// The values are readable.
#[inline(always)]
unsafe fn multiply_lane<V: Vector, const P: usize, const N: usize>(
    sums: &mut [[V; N]; P],
    x: *const f32,
    weights: *const f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut vectors = [V::splat(0.0); N];
        for v in 0..N {
            vectors[v] = V::load(weights.add(v * V::LANES));
            if v * V::LANES % LANES == 0 {
                prefetch(weights.wrapping_add(AHEAD * N * V::LANES + v * V::LANES));
            }
        }
        for p in 0..P {
            let value = V::splat(*x.add(p * LANES));
            for v in 0..N {
                sums[p][v] = value.mul_add(vectors[v], sums[p][v]);
            }
        }
    }
}

/// # Safety
/// See [`Multiply`].
#[inline(always)]
unsafe fn multiply<V: Vector, const P: usize, const N: usize>(panel: &Panel) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[V::splat(0.0); N]; P];
        for v in 0..N {
            let start = V::load(panel.start.0.add(place::<V>(v, panel.start.1)));
            for p in 0..P {
                sums[p][v] = start;
            }
        }
        let mut weights = panel.weights;
        let (mut ahead, lines) = panel.ahead;
        let unrolled = const { unrolled::<V>() };
        for block in 0..panel.blocks.0 {
            let mut x = panel.x.add(block * panel.blocks.1);
            let lanes = *panel.lanes.add(block) as usize;
            for _ in 0..lanes / unrolled {
                for _ in 0..lines {
                    for i in 0..unrolled {
                        prefetch_to_l2(ahead.wrapping_add(i * LANES));
                    }
                    ahead = ahead.wrapping_add(unrolled * LANES);
                }
                for i in 0..unrolled {
                    multiply_lane::<V, P, N>(&mut sums, x.add(i), weights.add(i * N * V::LANES));
                }
                x = x.add(unrolled);
                weights = weights.add(unrolled * N * V::LANES);
            }
            for _ in 0..lanes % unrolled {
                for _ in 0..lines {
                    prefetch_to_l2(ahead);
                    ahead = ahead.wrapping_add(LANES);
                }
                multiply_lane::<V, P, N>(&mut sums, x, weights);
                x = x.add(1);
                weights = weights.add(N * V::LANES);
            }
        }
        for v in 0..N {
            for p in 0..P {
                sums[p][v].store(panel.y.add(p * LANES + place::<V>(v, panel.y_block)));
            }
        }
    }
}

/// # Safety
/// See [`Correlate`].
#[inline(always)]
unsafe fn correlate<V: Vector, const P: usize, const N: usize>(strip: &Strip) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[V::splat(0.0); N]; P];
        let mut x = [std::ptr::null(); P];
        x.copy_from_slice(&strip.x[..P]);
        let [outer, middle, inner] = strip.loops;
        for i in 0..outer.count {
            for j in 0..middle.count {
                let mut at = (i * outer.x + j * middle.x) as isize;
                let mut dy = strip.dy.add(i * outer.dy + j * middle.dy);
                for _ in 0..inner.count {
                    outer_product(&mut sums, &x, at, dy, strip.dy_block);
                    at += inner.x as isize;
                    dy = dy.add(inner.dy);
                }
            }
        }
        for p in 0..P {
            for v in 0..N {
                let sum = strip.sums.add((p * N + v) * V::LANES);
                V::load(sum).add(sums[p][v]).store(sum);
            }
        }
    }
}

/// An instruction set's forms of the products.
pub(super) struct Microkernels {
    /// By output blocks − 1, then by broadcast values − 1.
    pub convolve: &'static [&'static [Convolve]],
    /// Likewise.
    pub multiply: &'static [&'static [Multiply]],
    /// Whether those have [`paired`](super::paired) channels.
    pub paired: bool,
    /// Likewise.
    pub correlate: &'static [&'static [Correlate]],
}

/// The table of one function for all tile shapes: vectors, then the counts of broadcast values.
macro_rules! forms {
    ($function:ident: $($vectors:literal [$($rows:literal)*])*) => {
        &[$(&[$($function::<$rows, $vectors>),*]),*]
    };
}

/// The functions of an instruction set whose features must be enabled, and their tables; with
/// paired channels `multiply` has shapes of its own.
macro_rules! microkernels {
    (
        $name:ident, $vector:ty, $(#[$feature:meta])?, $multiply:ident,
        paired: $paired:literal, multiply: [$($products:tt)*], others: [$($shapes:tt)*]
    ) => {
        mod $name {
            use super::*;

            $(#[$feature])?
            unsafe fn convolve<const P: usize, const N: usize>(tile: &Tile) {
                // SAFETY: the features are enabled; the rest is the caller's promise.
                unsafe { super::convolve::<$vector, P, N>(tile) }
            }

            $(#[$feature])?
            unsafe fn multiply<const P: usize, const N: usize>(panel: &Panel) {
                // SAFETY: the features are enabled; the rest is the caller's promise.
                unsafe { super::$multiply::<$vector, P, N>(panel) }
            }

            $(#[$feature])?
            unsafe fn correlate<const P: usize, const N: usize>(strip: &Strip) {
                // SAFETY: the features are enabled; the rest is the caller's promise.
                unsafe { super::correlate::<$vector, P, N>(strip) }
            }

            pub(super) const MICROKERNELS: Microkernels = Microkernels {
                convolve: forms!(convolve: $($shapes)*),
                multiply: forms!(multiply: $($products)*),
                paired: $paired,
                correlate: forms!(correlate: $($shapes)*),
            };
        }
    };
    ($name:ident, $vector:ty, $(#[$feature:meta])?, $($shapes:tt)*) => {
        microkernels!(
            $name, $vector, $(#[$feature])?, multiply,
            paired: false, multiply: [$($shapes)*], others: [$($shapes)*]
        );
    };
}

#[cfg(target_arch = "x86_64")]
microkernels!(
    avx512, crate::simd::Avx512,
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")],
    1 [1 2 3 4 5 6 7 8 9 10 11 12 13 14] 2 [1 2 3 4 5 6 7 8 9 10 11 12 13 14] 3 [1 2 3 4 5 6 7 8 9]
);
#[cfg(target_arch = "x86_64")]
microkernels!(
    zen4, crate::simd::Avx512,
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")], multiply_paired,
    paired: true,
    multiply: [1 [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19]],
    others: [
        1 [1 2 3 4 5 6 7 8 9 10 11 12 13 14] 2 [1 2 3 4 5 6 7 8 9 10 11 12 13 14]
        3 [1 2 3 4 5 6 7 8 9]
    ]
);
#[cfg(target_arch = "x86_64")]
microkernels!(
    avx2, crate::simd::Avx2, #[target_feature(enable = "avx2,fma")], 2 [1 2 3 4 5 6]
);
#[cfg(target_arch = "aarch64")]
microkernels!(neon, crate::simd::Neon, , 4 [1 2 3 4 5 6]);
microkernels!(portable, crate::simd::Portable, , 2 [1 2 3]);

impl Microkernels {
    /// Those of an instruction set.
    pub fn of(isa: Isa) -> &'static Microkernels {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Zen4 => &const { zen4::MICROKERNELS },
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => &const { avx512::MICROKERNELS },
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => &const { avx2::MICROKERNELS },
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => &const { neon::MICROKERNELS },
            _ => &const { portable::MICROKERNELS },
        }
    }

    /// Whether panels have a single output block.
    pub fn single(&self) -> bool {
        max_blocks(self.multiply) == 1
    }

    /// The most output blocks that share a bilinear algorithm's inputs while those are in the
    /// first-level cache: a panel's, or those of several panels.
    pub fn most_together(&self) -> usize {
        if self.single() { 4 } else { max_blocks(self.multiply) }
    }
}

/// The most output blocks of a tile that one of the tables is for.
pub(super) fn max_blocks<F>(table: &[&[F]]) -> usize {
    table.len()
}

/// The most broadcast values of a tile with so many output blocks.
pub(super) fn max_rows<F>(table: &[&[F]], blocks: usize) -> usize {
    table[blocks - 1].len()
}
