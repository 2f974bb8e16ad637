//! Plain Rust, for machines without one of the instruction sets above, vectorised by the compiler
//! as far as the target's baseline goes.

use super::Vector;
use std::array::from_fn;

/// Eight lanes.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Portable([f32; 8]);

impl Vector for Portable {
    const LANES: usize = 8;
    type Half = Portable;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 8])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: readable.
        Self(unsafe { from.cast::<[f32; 8]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: writable.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn pick(from: *const f32, places: *const u32) -> Self {
        // SAFETY: readable.
        Self(from_fn(|i| unsafe { *from.add(*places.add(i) as usize) }))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i] + other.0[i]))
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i] - other.0[i]))
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i] * other.0[i]))
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i] / other.0[i]))
    }

    #[inline(always)]
    fn guess_power(self) -> Self {
        Self(from_fn(|i| super::guess_power(self.0[i])))
    }

    // `f32::mul_add` is a call into the C library where the baseline has no such instruction.
    #[inline(always)]
    fn mul_add(self, factor: Self, summand: Self) -> Self {
        Self(from_fn(|i| self.0[i] * factor.0[i] + summand.0[i]))
    }

    #[inline(always)]
    fn neg_mul_add(self, factor: Self, summand: Self) -> Self {
        Self(from_fn(|i| summand.0[i] - self.0[i] * factor.0[i]))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.select_greater(other, self, other)
    }

    #[inline(always)]
    fn select_greater(self, other: Self, yes: Self, no: Self) -> Self {
        Self(from_fn(|i| if self.0[i] > other.0[i] { yes.0[i] } else { no.0[i] }))
    }

    #[inline(always)]
    fn select_unordered(self, other: Self, yes: Self, no: Self) -> Self {
        Self(from_fn(
            |i| {
                if self.0[i].is_nan() || other.0[i].is_nan() { yes.0[i] } else { no.0[i] }
            },
        ))
    }
}
