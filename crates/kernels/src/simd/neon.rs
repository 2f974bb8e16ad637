//! NEON, which every 64-bit ARM has.

use super::{GUESS_OF_ONE, Vector};
use std::arch::aarch64::*;

/// Four lanes.
#[derive(Clone, Copy)]
pub(crate) struct Neon(float32x4_t);

impl Vector for Neon {
    const LANES: usize = 4;
    type Half = Neon;

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
    unsafe fn pick(from: *const f32, places: *const u32) -> Self {
        // SAFETY: readable.
        unsafe {
            let from = from.cast::<u8>();
            let [a, b, c, d] = [0, 16, 32, 48].map(|i| vld1q_u8(from.add(i)));
            // A value's four bytes, the lowest first.
            let bytes = vmulq_n_u32(vld1q_u32(places), 0x0404_0404);
            let bytes = vaddq_u32(bytes, vdupq_n_u32(0x0302_0100));
            let table = uint8x16x4_t(a, b, c, d);
            Self(vreinterpretq_f32_u8(vqtbl4q_u8(table, vreinterpretq_u8_u32(bytes))))
        }
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
    fn guess_power(self) -> Self {
        // SAFETY: NEON is part of the baseline.
        unsafe {
            let bits = vreinterpretq_s32_f32(self.0);
            let rest = vsubq_s32(vdupq_n_s32(GUESS_OF_ONE), bits);
            Self(vreinterpretq_f32_s32(vaddq_s32(rest, vshrq_n_s32::<2>(bits))))
        }
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, summand: Self) -> Self {
        // SAFETY: NEON is part of the baseline.
        Self(unsafe { vfmaq_f32(summand.0, self.0, factor.0) })
    }

    #[inline(always)]
    fn neg_mul_add(self, factor: Self, summand: Self) -> Self {
        // SAFETY: NEON is part of the baseline.
        Self(unsafe { vfmsq_f32(summand.0, self.0, factor.0) })
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
