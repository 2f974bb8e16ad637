//! What the kernels run on: an instruction set and a team of threads.

use crate::threads::{Claims, Team};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// An instruction set the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// The same as [`Isa::Avx512`] on cores that add beside multiplying, AMD's from Zen 4 on: products of
    /// matrices then have fewer multiplications and more additions.
    Zen4,
    /// x86-64 with AVX-512 F, BW, DQ and VL.
    Avx512,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// 64-bit ARM.
    Neon,
    /// Any machine: plain Rust that the compiler vectorises as it can.
    Portable,
}

impl Isa {
    /// All of them, faster ones first.
    const ALL: [Isa; 5] = [Isa::Zen4, Isa::Avx512, Isa::Avx2, Isa::Neon, Isa::Portable];

    /// Those this machine has, the fastest first; [`Isa::Portable`] is always the last.
    pub fn supported() -> Vec<Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.is_supported()).collect()
    }

    fn is_supported(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Zen4 => Isa::Avx512.is_supported() && vendor() == *b"AuthenticAMD",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && Isa::Avx2.is_supported()
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => true,
            Isa::Portable => true,
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// Whether products of matrices have fewer multiplications and more additions than others, so that
    /// they take about three quarters of the time.
    pub fn pairs_channels(self) -> bool {
        self == Isa::Zen4
    }

    /// The one with which they have not.
    pub(crate) fn without_pairs(self) -> Isa {
        match self {
            Isa::Zen4 => Isa::Avx512,
            isa => isa,
        }
    }

    /// `f32`s in a vector.
    pub(crate) fn lanes(self) -> usize {
        match self {
            Isa::Zen4 | Isa::Avx512 => 16,
            Isa::Avx2 | Isa::Portable => 8,
            Isa::Neon => 4,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Isa::Zen4 => "zen4",
            Isa::Avx512 => "avx512",
            Isa::Avx2 => "avx2",
            Isa::Neon => "neon",
            Isa::Portable => "portable",
        }
    }
}

/// Who made the processor, as it tells itself.
#[cfg(target_arch = "x86_64")]
fn vendor() -> [u8; 12] {
    let id = std::arch::x86_64::__cpuid(0);
    let mut vendor = [0; 12];
    let words = [id.ebx, id.edx, id.ecx].map(u32::to_le_bytes);
    vendor.copy_from_slice(words.as_flattened());
    vendor
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = CpuError;

    fn from_str(name: &str) -> Result<Self, CpuError> {
        Isa::ALL
            .into_iter()
            .find(|isa| isa.name() == name)
            .ok_or_else(|| CpuError::Unknown(name.to_owned()))
    }
}

/// Why there is no such [`Cpu`].
#[derive(Debug, Error)]
pub enum CpuError {
    /// No instruction set has this name.
    #[error("no instruction set is called {0:?}; the names are zen4, avx512, avx2, neon, portable")]
    Unknown(String),
    /// This machine does not have it.
    #[error("this machine has no {0} instructions")]
    Unsupported(Isa),
    /// The operating system refused a thread.
    #[error("cannot start a thread")]
    Thread(#[from] std::io::Error),
}

/// What kernels run on: an instruction set and a team of threads.
///
/// The threads wait, first spinning, then asleep, until [`Cpu::for_each`] has work for them, and
/// end when the value is dropped. Share one by reference; a second one's threads would compete.
pub struct Cpu {
    isa: Isa,
    team: Team,
}

impl Cpu {
    /// Name of the environment variable that selects an instruction set for [`Cpu::new`].
    pub const ISA_VARIABLE: &'static str = "INCEPTION_ISA";

    /// `threads` of them, the caller's included (none is taken as one), with the fastest
    /// instruction set, or that which the environment variable `INCEPTION_ISA` names.
    pub fn new(threads: usize) -> Result<Cpu, CpuError> {
        match std::env::var_os(Self::ISA_VARIABLE) {
            Some(name) if !name.is_empty() => {
                Cpu::with_isa(threads, name.to_string_lossy().parse()?)
            }
            _ => Cpu::with_isa(threads, Isa::supported()[0]),
        }
    }

    /// `threads` of them, the caller's included (none is taken as one), with this instruction set.
    pub fn with_isa(threads: usize, isa: Isa) -> Result<Cpu, CpuError> {
        if !isa.is_supported() {
            return Err(CpuError::Unsupported(isa));
        }
        Ok(Cpu { isa, team: Team::new(threads.max(1))? })
    }

    /// Threads the machine can run at once for this process.
    pub fn default_threads() -> usize {
        std::thread::available_parallelism().map_or(1, |n| n.get())
    }

    /// The instruction set; this machine has it.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Threads that work, the caller's included.
    pub fn threads(&self) -> usize {
        self.team.threads()
    }

    /// Calls `work` once with each number below `tasks`, in any order, on all threads, and returns
    /// when all calls have. A panic in one of them comes out here, after the others have ended;
    /// tasks not yet begun are then left out.
    ///
    /// Nothing is allocated. Where the threads are busy already (a call inside a task, or from a
    /// second thread) the caller's thread does everything itself.
    pub fn for_each(&self, tasks: usize, work: impl Fn(usize) + Sync) {
        self.share(tasks, |claims| claims.for_each(&work));
    }

    /// The same with one call of `work` for each thread that comes, which claims tasks one by one: for
    /// what a thread keeps from one to the next.
    pub(crate) fn share(&self, tasks: usize, work: impl Fn(&mut Claims) + Sync) {
        self.team.share(tasks, &work);
    }
}

impl fmt::Debug for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cpu({}, {} threads)", self.isa, self.threads())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for isa in Isa::ALL {
            assert_eq!(isa.to_string().parse::<Isa>().unwrap(), isa);
        }
        assert!(matches!("sse9".parse::<Isa>(), Err(CpuError::Unknown(name)) if name == "sse9"));
    }

    #[test]
    fn an_instruction_set_of_another_machine_is_refused() {
        let foreign = if cfg!(target_arch = "aarch64") { Isa::Avx2 } else { Isa::Neon };
        assert!(matches!(Cpu::with_isa(1, foreign), Err(CpuError::Unsupported(_))));
    }

    #[test]
    fn portable_is_always_there_and_last() {
        assert_eq!(Isa::supported().last(), Some(&Isa::Portable));
    }
}
