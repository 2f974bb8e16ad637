//! Work on several threads whose result does not depend on how many there are.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// `f` of every item, in the items' order, on `workers` threads (at least one).
pub(crate) fn map<T: Sync, R: Send>(
    items: &[T],
    workers: usize,
    f: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = || {
        let claim = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|i| *i < items.len());
        std::iter::from_fn(claim).map(|i| (i, f(&items[i]))).collect::<Vec<_>>()
    };
    let mut results: Vec<(usize, R)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..workers.max(1)).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|t| t.join().expect("a panic is passed on"));
        joined.flatten().collect()
    });
    results.sort_unstable_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}
