//! Where the workers of a team may run.
//!
//! Linux likes to wake a thread on the core of the one that wakes it. There it waits for
//! milliseconds, as long as a small network takes in all, while another core idles.

use std::sync::atomic::{AtomicI32, Ordering};

/// No core, no thread.
const NONE: i32 = -1;

/// Keeps workers off the core that their caller is on when it wakes them.
pub(crate) struct Cores {
    /// The system's number of each worker's thread.
    workers: Box<[AtomicI32]>,
    /// The core that they were last kept off.
    avoided: AtomicI32,
}

impl Cores {
    pub fn new(workers: usize) -> Self {
        let workers = (0..workers).map(|_| AtomicI32::new(NONE)).collect();
        Self { workers, avoided: AtomicI32::new(NONE) }
    }

    /// To be called by each worker first.
    pub fn enlist(&self, worker: usize) {
        self.workers[worker].store(system::thread(), Ordering::Relaxed);
        self.avoided.store(NONE, Ordering::Relaxed);
    }

    /// To be called by who is about to wake workers: they may run where the caller may, but not
    /// where it is. Costs a system call a worker if it has moved since the last time.
    pub fn avoid_caller(&self) {
        let core = system::core();
        if core == NONE || self.avoided.swap(core, Ordering::Relaxed) == core {
            return;
        }
        for worker in &self.workers {
            let thread = worker.load(Ordering::Relaxed);
            if thread != NONE {
                system::keep_off(thread, core);
            }
        }
    }
}

#[cfg(target_os = "linux")]
mod system {
    pub fn thread() -> i32 {
        // SAFETY: asks for nothing.
        unsafe { libc::gettid() }
    }

    pub fn core() -> i32 {
        // SAFETY: asks for nothing; it is -1 where the system does not tell.
        unsafe { libc::sched_getcpu() }
    }

    /// Does nothing where there is no other core, or the system does not allow it: it is only
    /// about speed.
    pub fn keep_off(thread: i32, core: i32) {
        // SAFETY: a set of bits, for which zeros are a value; the system writes and reads no more
        // than its size, and the core is one that it named.
        unsafe {
            let mut cores: libc::cpu_set_t = std::mem::zeroed();
            let size = size_of::<libc::cpu_set_t>();
            if core < 8 * size as i32 && libc::sched_getaffinity(0, size, &raw mut cores) == 0 {
                libc::CPU_CLR(core as usize, &mut cores);
                if libc::CPU_COUNT(&cores) > 0 {
                    libc::sched_setaffinity(thread, size, &raw const cores);
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub fn thread() -> i32 {
        super::NONE
    }

    pub fn core() -> i32 {
        super::NONE
    }

    pub fn keep_off(_: i32, _: i32) {}
}
