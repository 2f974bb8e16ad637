//! Work on tensors shared out to the threads.

use std::sync::{Mutex, PoisonError};

use inception_engine::Cpu;

/// Values in a task: enough to be worth a thread's while, little enough for many tasks. Sums are
/// taken over such pieces in their order, so that they do not depend on the number of threads.
pub(crate) const PIECE: usize = 1 << 14;

/// What `work` makes of each item, in the items' order, done on all threads.
pub(crate) fn map<T: Send, R: Send>(
    cpu: &Cpu,
    items: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let places: Vec<Mutex<(Option<T>, Option<R>)>> =
        items.into_iter().map(|item| Mutex::new((Some(item), None))).collect();
    // Each place is locked by the one thread that has its task: nobody waits.
    cpu.for_each(places.len(), |i| {
        let mut place = places[i].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(item) = place.0.take() {
            place.1 = Some(work(item));
        }
    });
    let results =
        places.into_iter().map(|p| p.into_inner().unwrap_or_else(PoisonError::into_inner));
    results.map(|(_, result)| result.expect("every task was done")).collect()
}
