//! Vectors of `f32`: one narrow trait, implemented for each instruction set, and the macro that
//! compiles a function generic over it once for each of them.
//!
//! To add a kernel, write it inside [`kernel!`]:
//!
//! ```ignore
//! kernel! {
//!     /// y[i] = max(x[i], 0).
//!     ///
//!     /// # Safety
//!     /// Both point to `blocks` × 16 values; `y`'s belong to the caller alone.
//!     unsafe fn relu<V>(x: *const f32, y: *mut f32, blocks: usize) {
//!         // SAFETY: in bounds by the caller's promise.
//!         unsafe {
//!             let zero = V::splat(0.0);
//!             for i in (0..blocks * LANES).step_by(V::LANES) {
//!                 zero.max(V::load(x.add(i))).store(y.add(i));
//!             }
//!         }
//!     }
//! }
//! // …
//! // SAFETY: …
//! cpu.for_each(tasks, |task| unsafe { relu(cpu, x, y, n) });
//! ```
//!
//! The function that comes out takes `cpu: &Cpu` first and chooses the form once per call, so call
//! it once per task, not once per pixel. Everything the body calls must be `#[inline(always)]`:
//! code that is not inlined is compiled without the instruction set and is very slow. For the same
//! reason avoid closures and iterator chains around vectors; plain loops over indices are best.
//! [`LANES`](crate::LANES) (16) is a multiple of every `V::LANES`, so a pixel's block is a whole
//! number of vectors.

#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

use crate::LANES;

/// A vector of `f32`s.
///
/// A value of the type only exists where the machine has the instructions: those who make one
/// ([`splat`](Vector::splat), [`load`](Vector::load)) promise it, so that the rest is safe.
pub(crate) trait Vector: Copy {
    /// Values in a vector: a divisor of 16.
    const LANES: usize;

    /// A vector of half as many, where the instruction set has such and they cost half as much.
    type Half: Vector;

    /// All lanes `value`.
    ///
    /// # Safety
    /// The machine has the instruction set.
    unsafe fn splat(value: f32) -> Self;

    /// Reads [`LANES`](Vector::LANES) values; no alignment needed.
    ///
    /// # Safety
    /// They are readable, and the machine has the instruction set.
    unsafe fn load(from: *const f32) -> Self;

    /// Writes [`LANES`](Vector::LANES) values; no alignment needed.
    ///
    /// # Safety
    /// They are writable.
    unsafe fn store(self, to: *mut f32);

    /// In each lane the one of the sixteen values at `from` whose number is at `places`.
    ///
    /// # Safety
    /// They and a number below 16 for each lane are readable, and the machine has the instruction
    /// set.
    unsafe fn pick(from: *const f32, places: *const u32) -> Self;

    /// The sum of each one's lanes.
    #[inline(always)]
    fn sums(vectors: [Self; 4]) -> [f32; 4] {
        vectors.map(|vector| {
            let mut lanes = [0.0; LANES];
            // SAFETY: no vector has more lanes.
            unsafe { vector.store(lanes.as_mut_ptr()) };
            lanes[..Self::LANES].iter().sum()
        })
    }

    /// self + other
    fn add(self, other: Self) -> Self;
    /// self − other
    fn sub(self, other: Self) -> Self;
    /// self × other
    fn mul(self, other: Self) -> Self;
    /// self ÷ other
    fn div(self, other: Self) -> Self;
    /// About self^-¾, 5.3 % too small to 3.0 % too large, where self is positive and normal. It is
    /// [`guess_power`] in each lane: the same bits whatever the instruction set.
    fn guess_power(self) -> Self;
    /// self × factor + summand: rounded once, except in the portable form, which rounds twice.
    fn mul_add(self, factor: Self, summand: Self) -> Self;
    /// summand − self × factor, likewise.
    fn neg_mul_add(self, factor: Self, summand: Self) -> Self;
    /// `if self > other { self } else { other }` in each lane: where one is NaN, `other`.
    fn max(self, other: Self) -> Self;
    /// `if self > other { yes } else { no }` in each lane: where one is NaN, `no`.
    fn select_greater(self, other: Self, yes: Self, no: Self) -> Self;
    /// `if self or other is NaN { yes } else { no }` in each lane.
    fn select_unordered(self, other: Self, yes: Self, no: Self) -> Self;
}

/// The bits of 1 to the power of -¾, as [`guess_power`] reckons them: 1¾ times the bits of 1, less
/// what leaves least for a polynomial to mend.
const GUESS_OF_ONE: i32 = 0x6f12_9280;

/// A float's bits as an integer are nearly its logarithm, so that -¾ of them are nearly those of
/// the power.
#[inline(always)]
fn guess_power(value: f32) -> f32 {
    let bits = value.to_bits() as i32;
    f32::from_bits(GUESS_OF_ONE.wrapping_sub(bits).wrapping_add(bits >> 2) as u32)
}

/// Asks for the cache line at an address, which need not be valid, to be read soon.
#[inline(always)]
pub(crate) fn prefetch(at: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction is part of the baseline and only a hint.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    // Other architectures have no stable intrinsic.
    let _ = at;
}

/// The same, to be read later: fetches it into the second-level cache only.
#[inline(always)]
pub(crate) fn prefetch_to_l2(at: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction is part of the baseline and only a hint.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(at.cast());
    }
    let _ = at;
}

/// Asks for the cache line at an address, which need not be valid, to be written soon.
#[inline(always)]
pub(crate) fn prefetch_to_write(at: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction is part of the baseline and only a hint.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_ET0 }>(at.cast());
    }
    let _ = at;
}

/// Compiles a function generic over [`Vector`] for every instruction set; see the module's text.
macro_rules! kernel {
    (
        $(#[$meta:meta])*
        $visibility:vis unsafe fn $name:ident<$V:ident>(
            $($argument:ident: $type:ty),* $(,)?
        ) $(-> $result:ty)? $body:block
    ) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $visibility unsafe fn $name(
            cpu: &$crate::Cpu, $($argument: $type),*
        ) $(-> $result)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            unsafe fn generic<$V: $crate::simd::Vector>(
                $($argument: $type),*
            ) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            unsafe fn avx512($($argument: $type),*) $(-> $result)? {
                // SAFETY: the features are enabled; the rest is the caller's promise.
                unsafe { generic::<$crate::simd::Avx512>($($argument),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            unsafe fn avx2($($argument: $type),*) $(-> $result)? {
                // SAFETY: the features are enabled; the rest is the caller's promise.
                unsafe { generic::<$crate::simd::Avx2>($($argument),*) }
            }

            // SAFETY: a `Cpu` only has an instruction set that the machine has; the rest is the
            // caller's promise.
            unsafe {
                match cpu.isa() {
                    #[cfg(target_arch = "x86_64")]
                    $crate::Isa::Zen4 | $crate::Isa::Avx512 => avx512($($argument),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::Isa::Avx2 => avx2($($argument),*),
                    // NEON is part of the 64-bit ARM baseline: nothing to enable.
                    #[cfg(target_arch = "aarch64")]
                    $crate::Isa::Neon => generic::<$crate::simd::Neon>($($argument),*),
                    _ => generic::<$crate::simd::Portable>($($argument),*),
                }
            }
        }
    };
}
pub(crate) use kernel;
