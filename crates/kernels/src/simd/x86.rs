//! AVX-512 and AVX2 with FMA.

use super::{GUESS_OF_ONE, Vector};
use std::arch::x86_64::*;

/// Sixteen lanes.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(__m512);

impl Vector for Avx512 {
    const LANES: usize = 16;
    type Half = Avx2;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller has the instruction set.
        Self(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: readable, and the caller has the instruction set.
        Self(unsafe { _mm512_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: writable.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn pick(from: *const f32, places: *const u32) -> Self {
        // SAFETY: readable, and the caller has the instruction set.
        unsafe {
            let places = _mm512_loadu_si512(places.cast());
            Self(_mm512_permutexvar_ps(places, _mm512_loadu_ps(from)))
        }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: a value exists only where the instructions do.
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: a value exists only where the instructions do.
        Self(unsafe { _mm512_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: a value exists only where the instructions do.
        Self(unsafe { _mm512_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        // SAFETY: a value exists only where the instructions do.
        Self(unsafe { _mm512_div_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn guess_power(self) -> Self {
        // SAFETY: a value exists only where the instructions do.
        unsafe {
            let bits = _mm512_castps_si512(self.0);
            let rest = _mm512_sub_epi32(_mm512_set1_epi32(GUESS_OF_ONE), bits);
            let guess = _mm512_add_epi32(rest, _mm512_srai_epi32::<2>(bits));
            Self(_mm512_castsi512_ps(guess))
        }
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, summand: Self) -> Self {
        // SAFETY: a value exists only where the instructions do.
        Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, summand.0) })
    }

    #[inline(always)]
    fn neg_mul_add(self, factor: Self, summand: Self) -> Self {
        // SAFETY: a value exists only where the instructions do.
        Self(unsafe { _mm512_fnmadd_ps(self.0, factor.0, summand.0) })
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: a value exists only where the instructions do.
        Self(unsafe { _mm512_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn select_greater(self, other: Self, yes: Self, no: Self) -> Self {
        // SAFETY: a value exists only where the instructions do.
        unsafe {
            let greater = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, other.0);
            Self(_mm512_mask_blend_ps(greater, no.0, yes.0))
        }
    }

    #[inline(always)]
    fn select_unordered(self, other: Self, yes: Self, no: Self) -> Self {
        // SAFETY: a value exists only where the instructions do.
        unsafe {
            let unordered = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, other.0);
            Self(_mm512_mask_blend_ps(unordered, no.0, yes.0))
        }
    }
}

/// Eight lanes.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256);

impl Vector for Avx2 {
    const LANES: usize = 8;
    type Half = Avx2;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller has the instruction set.
        Self(unsafe { _mm256_set1_ps(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: readable, and the caller has the instruction set.
        Self(unsafe { _mm256_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: writable.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn pick(from: *const f32, places: *const u32) -> Self {
        // SAFETY: readable, and the caller has the instruction set.
        unsafe {
            let places = _mm256_loadu_si256(places.cast());
            // The permutation heeds three bits of a number; the fourth becomes the sign that blends.
            let low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(from), places);
            let high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(from.add(8)), places);
            let fourth = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(places));
            Self(_mm256_blendv_ps(low, high, fourth))
        }
    }

    #[inline(always)]
    fn sums([a, b, c, d]: [Self; 4]) -> [f32; 4] {
        // SAFETY: a value exists only where the instructions do.
        unsafe {
            let pairs = (_mm256_hadd_ps(a.0, b.0), _mm256_hadd_ps(c.0, d.0));
            let halves = _mm256_hadd_ps(pairs.0, pairs.1);
            let low = _mm256_castps256_ps128(halves);
            let mut sums = [0.0; 4];
            _mm_storeu_ps(sums.as_mut_ptr(), _mm_add_ps(low, _mm256_extractf128_ps::<1>(halves)));
            sums
        }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: a value exists only where the instructions do.
        Self(unsafe { _mm256_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: a value exists only where the instructions do.
        Self(unsafe { _mm256_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: a value exists only where the instructions do.
        Self(unsafe { _mm256_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        // SAFETY: a value exists only where the instructions do.
        Self(unsafe { _mm256_div_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn guess_power(self) -> Self {
        // SAFETY: a value exists only where the instructions do.
        unsafe {
            let bits = _mm256_castps_si256(self.0);
            let rest = _mm256_sub_epi32(_mm256_set1_epi32(GUESS_OF_ONE), bits);
            let guess = _mm256_add_epi32(rest, _mm256_srai_epi32::<2>(bits));
            Self(_mm256_castsi256_ps(guess))
        }
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, summand: Self) -> Self {
        // SAFETY: a value exists only where the instructions do.
        Self(unsafe { _mm256_fmadd_ps(self.0, factor.0, summand.0) })
    }

    #[inline(always)]
    fn neg_mul_add(self, factor: Self, summand: Self) -> Self {
        // SAFETY: a value exists only where the instructions do.
        Self(unsafe { _mm256_fnmadd_ps(self.0, factor.0, summand.0) })
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: a value exists only where the instructions do.
        Self(unsafe { _mm256_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn select_greater(self, other: Self, yes: Self, no: Self) -> Self {
        // SAFETY: a value exists only where the instructions do.
        unsafe {
            let greater = _mm256_cmp_ps::<_CMP_GT_OQ>(self.0, other.0);
            Self(_mm256_blendv_ps(no.0, yes.0, greater))
        }
    }

    #[inline(always)]
    fn select_unordered(self, other: Self, yes: Self, no: Self) -> Self {
        // SAFETY: a value exists only where the instructions do.
        unsafe {
            let unordered = _mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, other.0);
            Self(_mm256_blendv_ps(no.0, yes.0, unordered))
        }
    }
}
