//! A team of threads that claim numbered tasks, and the pointer through which tasks write.
//!
//! A *region* is one call of [`Team::share`]. Each thread has a share of consecutive tasks, the
//! same in every region, so that what it wrote in one is in its cache in the next; tasks are
//! claimed one by one from the share's counter, and who has finished its own helps with the
//! others. Thus a thread that the operating system takes away delays only the task it is in. The
//! caller opens the region, works itself, closes it, and waits for the workers that are inside;
//! one that has not come by then is not waited for. One word holds all of that: the region's
//! number, whether it is open, and how many workers are inside.

use crate::Buffer;
use crate::cores::Cores;
use std::any::Any;
use std::cell::{RefCell, UnsafeCell};
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a worker spins for the next region before it sleeps. Waking a sleeper costs tens of
/// microseconds; the gap between two layers of a network is far shorter than this.
const SPIN: Duration = Duration::from_micros(50);

/// A region's number is in the upper half of the word; it wraps.
const NUMBER: u64 = 1 << 32;
/// Workers may enter.
const OPEN: u64 = 1 << 31;
/// The count of workers inside.
const INSIDE: u64 = OPEN - 1;

/// A region's work: a closure behind a pointer that is valid while the region is open or a worker
/// is inside.
#[derive(Clone, Copy)]
struct Job {
    closure: *const (),
    call: unsafe fn(*const (), &mut Claims),
    tasks: usize,
}

/// Calls the closure that `closure` points to.
///
/// # Safety
/// It points to a living `F`.
unsafe fn call<F: Fn(&mut Claims) + Sync>(closure: *const (), claims: &mut Claims) {
    // SAFETY: the caller's promise.
    unsafe { (*closure.cast::<F>())(claims) }
}

/// The tasks that a thread claims, one by one: its own share's, then what is left of the others'.
pub(crate) struct Claims<'a> {
    /// What is left where the caller is alone.
    alone: Range<usize>,
    team: Option<&'a State>,
    tasks: usize,
    thread: usize,
    /// Shares that nothing is left of, from the thread's own on.
    done: usize,
}

impl Iterator for Claims<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let Some(team) = self.team else { return self.alone.next() };
        let threads = team.next.len();
        while self.done < threads {
            let owner = (self.thread + self.done) % threads;
            let task = team.next[owner].0.fetch_add(1, Ordering::Relaxed);
            if task < team.share(owner, self.tasks).end {
                return Some(task);
            }
            self.done += 1;
        }
        None
    }
}

/// Keeps what one thread writes off the cache line that others read.
#[repr(align(128))]
struct Apart<T>(T);

struct State {
    /// Region's number, [`OPEN`], count of workers inside.
    region: Apart<AtomicU64>,
    /// The next task to claim of each thread's share.
    next: Box<[Apart<AtomicUsize>]>,
    /// Written only while the region is closed and nobody is inside.
    job: UnsafeCell<Job>,
    /// Whether some caller has the team.
    taken: AtomicBool,
    /// Workers that sleep or are about to.
    sleepers: AtomicUsize,
    bed: Mutex<()>,
    wake: Condvar,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    quit: AtomicBool,
    /// Where workers may run.
    cores: Cores,
}

// SAFETY: `job` is the only part that is not `Sync` (and `Send`) by itself. It is written by the
// thread that holds `taken`, before it opens a region, and read by workers that entered that
// region; the release and acquire on `region` order the two. What it points to is `Sync`.
unsafe impl Sync for State {}
// SAFETY: as above.
unsafe impl Send for State {}

/// The caller's thread and some workers.
pub(crate) struct Team {
    state: Arc<State>,
    workers: Vec<JoinHandle<()>>,
}

impl Team {
    /// `threads` ≥ 1 of them, the caller's included.
    pub(crate) fn new(threads: usize) -> std::io::Result<Team> {
        let state = Arc::new(State {
            region: Apart(AtomicU64::new(0)),
            next: (0..threads).map(|_| Apart(AtomicUsize::new(0))).collect(),
            job: UnsafeCell::new(Job {
                closure: std::ptr::null(),
                call: call::<fn(&mut Claims)>,
                tasks: 0,
            }),
            taken: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            bed: Mutex::new(()),
            wake: Condvar::new(),
            panic: Mutex::new(None),
            quit: AtomicBool::new(false),
            cores: Cores::new(threads - 1),
        });
        let mut team = Team { state, workers: Vec::new() };
        for i in 1..threads {
            let state = Arc::clone(&team.state);
            // Where this fails, dropping `team` ends those already started.
            let worker = std::thread::Builder::new()
                .name(format!("kernels-{i}"))
                .spawn(move || state.work(i))?;
            team.workers.push(worker);
        }
        Ok(team)
    }

    pub(crate) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// See [`Cpu::share`](crate::Cpu::share).
    pub(crate) fn share<F: Fn(&mut Claims) + Sync>(&self, tasks: usize, work: &F) {
        let alone = self.workers.is_empty() || tasks < 2;
        if alone || self.state.taken.swap(true, Ordering::Acquire) {
            work(&mut Claims { alone: 0..tasks, team: None, tasks, thread: 0, done: 0 });
            return;
        }
        let job = Job { closure: (&raw const *work).cast(), call: call::<F>, tasks };
        // SAFETY: we have the team; its region is closed and empty, as its last caller left it.
        unsafe { *self.state.job.get() = job };
        self.state.open(tasks);
        self.state.claim(job, 0);
        self.state.close();
        let panic = lock(&self.state.panic).take();
        self.state.taken.store(false, Ordering::Release);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.state.quit.store(true, Ordering::SeqCst);
        self.state.wake_all();
        for worker in self.workers.drain(..) {
            // A worker catches its tasks' panics, so there is no error to report.
            let _ = worker.join();
        }
    }
}

impl State {
    /// The tasks that are a thread's share.
    fn share(&self, thread: usize, tasks: usize) -> Range<usize> {
        let threads = self.next.len();
        thread * tasks / threads..(thread + 1) * tasks / threads
    }

    /// Lets workers in.
    fn open(&self, tasks: usize) {
        for (thread, next) in self.next.iter().enumerate() {
            next.0.store(self.share(thread, tasks).start, Ordering::Relaxed);
        }
        let number = (self.region.0.load(Ordering::Relaxed) & !(NUMBER - 1)).wrapping_add(NUMBER);
        // Sequentially consistent, as is the count of sleepers: either we see the sleeper here or
        // it sees the open region there.
        self.region.0.store(number | OPEN, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            self.cores.avoid_caller();
            self.wake_all();
        }
    }

    /// Lets nobody in any more, and waits until those inside have left.
    fn close(&self) {
        let mut region = self.region.0.fetch_and(!OPEN, Ordering::AcqRel) & !OPEN;
        let mut spins = 0;
        while region & INSIDE != 0 {
            // A worker that is still inside may have lost its core to another process, or wait for
            // ours: after a while let others run.
            if spins < 1000 {
                spins += 1;
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
            region = self.region.0.load(Ordering::Acquire);
        }
    }

    /// Enters the open region `region`; `false` where it has been closed meanwhile.
    fn enter(&self, mut region: u64) -> bool {
        let number = region & !(NUMBER - 1);
        while region & OPEN != 0 && region & !(NUMBER - 1) == number {
            match self.region.0.compare_exchange_weak(
                region,
                region + 1,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => region = now,
            }
        }
        false
    }

    fn leave(&self) {
        self.region.0.fetch_sub(1, Ordering::Release);
    }

    /// Does tasks until none is left. A panic ends the region early and is kept for the caller.
    fn claim(&self, job: Job, thread: usize) {
        let mut claims =
            Claims { alone: 0..0, team: Some(self), tasks: job.tasks, thread, done: 0 };
        let result = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the closure lives until the region is closed and empty, and we are the caller
            // or inside.
            unsafe { (job.call)(job.closure, &mut claims) };
        }));
        if let Err(panic) = result {
            self.next.iter().for_each(|next| next.0.store(job.tasks, Ordering::Relaxed));
            lock(&self.panic).get_or_insert(panic);
        }
    }

    /// A worker's life.
    fn work(&self, thread: usize) {
        self.cores.enlist(thread - 1);
        let mut last = 0;
        while let Some(region) = self.wait(last) {
            last = region & !(NUMBER - 1);
            if self.enter(region) {
                // SAFETY: we are inside, so nobody writes the job.
                self.claim(unsafe { *self.job.get() }, thread);
                self.leave();
            }
        }
    }

    /// An open region other than `last`, or `None` when the team is dropped.
    fn wait(&self, last: u64) -> Option<u64> {
        let new = |region: u64| region & OPEN != 0 && region & !(NUMBER - 1) != last;
        let start = Instant::now();
        loop {
            // The clock is read rarely: reading it costs as much as many looks at the word.
            for _ in 0..64 {
                let region = self.region.0.load(Ordering::Relaxed);
                if new(region) {
                    return Some(region);
                }
                std::hint::spin_loop();
            }
            if self.quit.load(Ordering::Relaxed) {
                return None;
            }
            if start.elapsed() > SPIN {
                break;
            }
        }
        let mut bed = lock(&self.bed);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let found = loop {
            let region = self.region.0.load(Ordering::SeqCst);
            if new(region) {
                break Some(region);
            }
            if self.quit.load(Ordering::SeqCst) {
                break None;
            }
            bed = self.wake.wait(bed).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        found
    }

    fn wake_all(&self) {
        // A sleeper holds the lock from its last look until it sleeps: with the lock taken once, it
        // has either seen what we wrote or hears the call.
        drop(lock(&self.bed));
        self.wake.notify_all();
    }
}

/// Nothing that is locked here can be left half-written, so a poisoned lock is as good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    static SCRATCH: RefCell<Buffer> = RefCell::default();
}

/// Lends memory of the calling thread's own, at least `len` values that start on a cache line and
/// hold anything. It is kept for the next task, so that it stays in the core's cache; only a
/// longer one than ever before is allocated.
pub(crate) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut buffer) => {
            if buffer.len() < len {
                *buffer = Buffer::default();
                *buffer = Buffer::zeroed(len);
            }
            work(&mut buffer[..len])
        }
        // A task inside a task.
        Err(_) => work(&mut Buffer::zeroed(len)[..len]),
    })
}

/// A slice that the tasks of a region write to, each its own part.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a> {
    start: *mut f32,
    len: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: the methods are unsafe: their callers promise that no two threads use the same part.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub(crate) fn new(slice: &'a mut [f32]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), borrow: PhantomData }
    }

    /// Pointer to the values from `start` on, to read and to write.
    ///
    /// # Safety
    /// `start` lies in the slice (or at its end). Through the pointer, at most the slice's values
    /// are used, and none that another task writes while this one uses it.
    #[inline(always)]
    pub(crate) unsafe fn at(&self, start: usize) -> *mut f32 {
        debug_assert!(start <= self.len);
        // SAFETY: inside the slice by the caller's promise.
        unsafe { self.start.add(start) }
    }

    /// The `len` values from `start` on. Panics where they are not in the slice.
    ///
    /// # Safety
    /// Nobody else uses one of them while this task does.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn slice(&self, start: usize, len: usize) -> &'a mut [f32] {
        assert!(start <= self.len && len <= self.len - start, "a task's part lies in the slice");
        // SAFETY: in bounds, as just checked; exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    impl Team {
        fn for_each(&self, tasks: usize, work: &(impl Fn(usize) + Sync)) {
            self.share(tasks, &|claims: &mut Claims| claims.for_each(work));
        }
    }

    fn counts(team: &Team, tasks: usize) -> Vec<u32> {
        let counts: Vec<AtomicU32> = (0..tasks).map(|_| AtomicU32::new(0)).collect();
        team.for_each(tasks, &|task: usize| {
            counts[task].fetch_add(1, Ordering::Relaxed);
        });
        counts.into_iter().map(AtomicU32::into_inner).collect()
    }

    #[test]
    fn every_task_runs_once() {
        for threads in [1, 2, 3, 8] {
            let team = Team::new(threads).unwrap();
            assert_eq!(team.threads(), threads);
            for tasks in (0..40).chain([1000]) {
                assert_eq!(counts(&team, tasks), vec![1; tasks]);
            }
        }
    }

    /// Gaps around the time after which workers sleep, so that regions open at every moment of
    /// their falling asleep.
    #[test]
    fn sleepers_are_woken() {
        let team = Team::new(3).unwrap();
        for i in 0..300 {
            std::thread::sleep(Duration::from_micros(i % 60));
            // Ends only if both workers come: each task waits until all three have begun.
            let begun = AtomicUsize::new(0);
            team.for_each(3, &|_: usize| {
                begun.fetch_add(1, Ordering::SeqCst);
                while begun.load(Ordering::SeqCst) < 3 {
                    std::thread::yield_now();
                }
            });
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_lives_on() {
        let team = Team::new(4).unwrap();
        for bad in [0, 7, 99] {
            let result = catch_unwind(AssertUnwindSafe(|| {
                team.for_each(100, &|task: usize| assert_ne!(task, bad, "the bad task"));
            }));
            let panic = result.expect_err("the panic is passed on");
            assert!(panic.downcast_ref::<String>().unwrap().contains("the bad task"));
            assert_eq!(counts(&team, 50), vec![1; 50]);
        }
    }

    #[test]
    fn regions_inside_regions_and_beside_each_other() {
        let team = Team::new(3).unwrap();
        let sum = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        team.for_each(5, &|i: usize| {
                            team.for_each(7, &|j: usize| {
                                sum.fetch_add(i * 7 + j, Ordering::Relaxed);
                            });
                        });
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 4 * 50 * (0..35).sum::<usize>());
    }

    #[test]
    fn disjoint_parts_are_written() {
        let team = Team::new(2).unwrap();
        let mut data = vec![0.0; 1000];
        let shared = Shared::new(&mut data);
        // SAFETY: the tasks' parts are disjoint.
        team.for_each(100, &|i: usize| unsafe { shared.slice(i * 10, 10) }.fill(i as f32));
        assert!(data.iter().enumerate().all(|(i, &x)| x == (i / 10) as f32));
    }
}
