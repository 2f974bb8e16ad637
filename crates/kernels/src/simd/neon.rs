//! NEON, which every 64-bit ARM has.

use super::Vector;
use std::arch::aarch64::*;

/// Four lanes.
#[derive(Clone, Copy)]
pub(crate) struct Neon(float32x4_t);

impl Vector for Neon {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: NEON is part of the baseline.
        Self(unsafe { vdupq_n_f32(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: readable.
        Self(unsafe { vld1q_f32(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: writable.
        unsafe { vst1q_f32(to, self.0) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: NEON is part of the baseline.
        Self(unsafe { vaddq_f32(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: NEON is part of the baseline.
        Self(unsafe { vsubq_f32(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: NEON is part of the baseline.
        Self(unsafe { vmulq_f32(self.0, other.0) })
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        // SAFETY: NEON is part of the baseline.
        Self(unsafe { vdivq_f32(self.0, other.0) })
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        // SAFETY: NEON is part of the baseline.
        Self(unsafe { vsqrtq_f32(self.0) })
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, summand: Self) -> Self {
        // SAFETY: NEON is part of the baseline.
        Self(unsafe { vfmaq_f32(summand.0, self.0, factor.0) })
    }

    // NEON's own maximum treats NaN otherwise; a comparison keeps all forms alike.

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.select_greater(other, self, other)
    }

    #[inline(always)]
    fn select_greater(self, other: Self, yes: Self, no: Self) -> Self {
        // SAFETY: NEON is part of the baseline.
        Self(unsafe { vbslq_f32(vcgtq_f32(self.0, other.0), yes.0, no.0) })
    }

    #[inline(always)]
    fn select_unordered(self, other: Self, yes: Self, no: Self) -> Self {
        // SAFETY: NEON is part of the baseline.
        unsafe {
            let ordered = vandq_u32(vceqq_f32(self.0, self.0), vceqq_f32(other.0, other.0));
            Self(vbslq_f32(ordered, no.0, yes.0))
        }
    }
}
