//! The fastest this machine can do multiply–adds.

use std::hint::black_box;
use std::time::Instant;

use crate::Cpu;
use crate::simd::kernel;

/// Sums at a time: enough to hide the latency of a multiply–add, few enough for sixteen registers.
const CHAINS: usize = 12;

kernel! {
    /// # Safety
    /// None but that of the instruction set.
    unsafe fn spin<V>(steps: usize, result: &mut [f32; 16]) {
        // SAFETY: the machine has the instructions; the result holds a vector.
        unsafe {
            let factor = V::load(result.as_ptr());
            let mut sums = [factor; CHAINS];
            for _ in 0..steps {
                for sum in &mut sums {
                    *sum = sum.mul_add(factor, factor);
                }
            }
            let mut all = sums[0];
            for sum in sums {
                all = all.add(sum);
            }
            all.store(result.as_mut_ptr());
        }
    }
}

impl Cpu {
    /// Floating-point operations a second of multiply–adds in registers, on all of the team's
    /// threads, in some tens of microseconds. The best of several calls is the machine's peak.
    pub fn measure_peak(&self) -> f64 {
        const STEPS: usize = 10_000;
        let start = Instant::now();
        self.for_each(self.threads(), |_| {
            let mut result = black_box([0.5; 16]);
            // SAFETY: nothing is asked.
            unsafe { spin(self, STEPS, &mut result) };
            black_box(result);
        });
        let operations = self.threads() * STEPS * CHAINS * self.isa().lanes() * 2;
        operations as f64 / start.elapsed().as_secs_f64()
    }
}
