//! Batches of pictures, decoded and augmented on threads of their own while the network computes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::thread::{self, JoinHandle};

use crate::augment::Augmentation;
use crate::dataset::{Sample, Source};
use crate::decode::PictureError;
use crate::error::DataError;
use crate::picture::Picture;
use crate::preprocess::Preprocessor;
use crate::random::{Purpose, Random};

/// Samples and how they become tensors; shared by all passes over them.
pub struct Pipeline {
    samples: Vec<Sample>,
    preprocessor: Preprocessor,
    augmentation: Option<Augmentation>,
    cache: Cache,
}

/// How a pass over the samples is cut into batches and who prepares them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Batching {
    /// Pictures in a batch.
    pub batch: usize,
    /// Whether a last batch with fewer pictures is left out (batch norm suffers from very small
    /// ones). Never where it is the only one.
    pub drop_ragged: bool,
    /// Threads that prepare batches, at least one. The batches do not depend on it.
    pub workers: usize,
}

/// Some pictures, ready for the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// `[picture][channel][row][column]`; in evaluation with several [`Crops`](crate::Crops)
    /// `[picture][view][channel][row][column]`.
    pub pictures: Vec<f32>,
    /// Each picture's class.
    pub labels: Vec<usize>,
    /// Each picture's place among the pipeline's samples.
    pub indices: Vec<usize>,
}

/// One pass over a pipeline's samples, batch by batch.
///
/// A few batches are prepared ahead, no more. A picture that cannot be read is left out of its
/// batch and listed in [`Loader::skipped`]; a batch that loses all is passed over. Dropping the
/// loader early stops its threads and waits for them.
pub struct Loader {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    batches: usize,
    skipped: Vec<(usize, PictureError)>,
}

impl Pipeline {
    /// The samples with what is done to each; `augmentation` is for training passes.
    ///
    /// Decoded pictures are kept for the next pass as long as they take no more than
    /// `cache_bytes` together; the batches do not depend on it.
    pub fn new(
        samples: Vec<Sample>,
        preprocessor: Preprocessor,
        augmentation: Option<Augmentation>,
        cache_bytes: usize,
    ) -> Result<Arc<Self>, DataError> {
        if let Some(augmentation) = &augmentation {
            augmentation.check().map_err(DataError::Augmentation)?;
        }
        let cache = Cache::new(samples.len(), cache_bytes);
        Ok(Arc::new(Self { samples, preprocessor, augmentation, cache }))
    }

    /// The samples, in the order given.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// A pass in random order with augmentation, without its first batches, `first` of them. The
    /// same seed and epoch give the same batches, wherever the pass begins.
    ///
    /// # Panics
    /// If the batch size is 0.
    pub fn train(
        self: &Arc<Self>,
        seed: u64,
        epoch: u64,
        first: usize,
        batching: Batching,
    ) -> Loader {
        let mut order: Vec<usize> = (0..self.samples.len()).collect();
        Random::new(Purpose::Shuffle, [seed, epoch, 0]).shuffle(&mut order);
        Loader::new(self.clone(), order, Some((seed, epoch)), first, batching)
    }

    /// A pass in the samples' order without augmentation.
    ///
    /// # Panics
    /// If the batch size is 0.
    pub fn evaluate(self: &Arc<Self>, batching: Batching) -> Loader {
        Loader::new(self.clone(), (0..self.samples.len()).collect(), None, 0, batching)
    }

    fn picture(&self, index: usize) -> Result<Arc<Picture>, PictureError> {
        let sample = &self.samples[index];
        match sample.source {
            Source::Memory { .. } => sample.picture(),
            Source::File(_) => self.cache.get_or(index, || sample.picture()),
        }
    }

    /// Writes a sample's tensor, augmented by (seed, epoch) where they are given.
    fn write(
        &self,
        index: usize,
        augmented: Option<(u64, u64)>,
        out: &mut [f32],
    ) -> Result<(), PictureError> {
        let picture = self.picture(index)?;
        let written = match (augmented, &self.augmentation) {
            (Some((seed, epoch)), Some(augmentation)) => {
                let mut random = Random::new(Purpose::Augment, [seed, epoch, index as u64]);
                self.preprocessor.apply_augmented(&picture, augmentation, &mut random, out)
            }
            (Some(_), None) => self.preprocessor.apply_once(&picture, out),
            (None, _) => self.preprocessor.apply(&picture, out),
        };
        written.map_err(|problem| PictureError { name: self.samples[index].name().into(), problem })
    }

    fn batch(&self, indices: &[usize], augmented: Option<(u64, u64)>) -> Prepared {
        // Training shows each picture once.
        let views = if augmented.is_some() { 1 } else { self.preprocessor.views() };
        let length = self.preprocessor.len() * views;
        let mut batch = Batch {
            pictures: Vec::with_capacity(indices.len() * length),
            labels: Vec::with_capacity(indices.len()),
            indices: Vec::with_capacity(indices.len()),
        };
        let mut skipped = Vec::new();
        for &index in indices {
            let start = batch.pictures.len();
            batch.pictures.resize(start + length, 0.0);
            match self.write(index, augmented, &mut batch.pictures[start..]) {
                Ok(()) => {
                    batch.labels.push(self.samples[index].label);
                    batch.indices.push(index);
                }
                Err(error) => {
                    batch.pictures.truncate(start);
                    skipped.push((index, error));
                }
            }
        }
        Prepared { batch, skipped }
    }
}

impl Batch {
    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no pictures; a loader gives no such batch.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// Decoded pictures, up to a number of bytes.
struct Cache {
    pictures: Vec<OnceLock<Arc<Picture>>>,
    room: AtomicUsize,
}

impl Cache {
    fn new(count: usize, bytes: usize) -> Self {
        let pictures = (0..count).map(|_| OnceLock::new()).collect();
        Self { pictures, room: AtomicUsize::new(bytes) }
    }

    fn get_or(
        &self,
        index: usize,
        decode: impl FnOnce() -> Result<Arc<Picture>, PictureError>,
    ) -> Result<Arc<Picture>, PictureError> {
        if let Some(picture) = self.pictures[index].get() {
            return Ok(picture.clone());
        }
        let picture = decode()?;
        let take = |room: usize| room.checked_sub(picture.bytes());
        if self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
            && self.pictures[index].set(picture.clone()).is_err()
        {
            // Another pass over the same samples was faster.
            self.room.fetch_add(picture.bytes(), Ordering::Relaxed);
        }
        Ok(picture)
    }
}

/// What a worker hands over.
struct Prepared {
    batch: Batch,
    skipped: Vec<(usize, PictureError)>,
}

/// What the loader and its workers share.
struct Shared {
    state: Mutex<State>,
    /// Told to workers: a batch was taken, or they are to stop.
    taken: Condvar,
    /// Told to the loader: a batch is ready, or a worker is gone.
    ready: Condvar,
}

struct State {
    /// The next batch that a worker begins.
    next_begun: usize,
    /// The next batch that the loader gives.
    next_given: usize,
    /// Batches that are done before their turn.
    done: BTreeMap<usize, Prepared>,
    stop: bool,
    failed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the state")
    }
}

/// Batches of one pass, as the workers see them.
struct Pass {
    pipeline: Arc<Pipeline>,
    order: Vec<usize>,
    augmented: Option<(u64, u64)>,
    batch: usize,
    batches: usize,
    /// Batches begun and not yet given: one in each worker's hands and two in store.
    ahead: usize,
}

impl Pass {
    fn work(&self, shared: &Shared) {
        let _guard = TellFailure(shared);
        while let Some(n) = self.claim(shared) {
            let end = self.order.len().min((n + 1) * self.batch);
            let prepared = self.pipeline.batch(&self.order[n * self.batch..end], self.augmented);
            shared.state().done.insert(n, prepared);
            shared.ready.notify_one();
        }
    }

    /// The next batch to prepare, as soon as there is room for it.
    fn claim(&self, shared: &Shared) -> Option<usize> {
        let full = |state: &mut State| {
            !state.stop
                && state.next_begun < self.batches
                && state.next_begun >= state.next_given + self.ahead
        };
        let mut state = shared.taken.wait_while(shared.state(), full).expect("as in state()");
        let n = state.next_begun;
        if state.stop || n >= self.batches {
            return None;
        }
        state.next_begun += 1;
        Some(n)
    }
}

/// Tells the loader when a worker panics, so that it does not wait for ever.
struct TellFailure<'a>(&'a Shared);

impl Drop for TellFailure<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.state().failed = true;
            self.0.ready.notify_one();
        }
    }
}

impl Loader {
    fn new(
        pipeline: Arc<Pipeline>,
        mut order: Vec<usize>,
        augmented: Option<(u64, u64)>,
        first: usize,
        Batching { batch, drop_ragged, workers }: Batching,
    ) -> Self {
        assert!(batch > 0, "a batch has pictures");
        if drop_ragged && order.len() > batch {
            order.truncate(order.len() / batch * batch);
        }
        let batches = order.len().div_ceil(batch);
        let first = first.min(batches);
        let workers = workers.clamp(1, batches.max(1));
        let pass = Pass { pipeline, order, augmented, batch, batches, ahead: workers + 2 };
        let pass = Arc::new(pass);
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                next_begun: first,
                next_given: first,
                done: BTreeMap::new(),
                stop: false,
                failed: false,
            }),
            taken: Condvar::new(),
            ready: Condvar::new(),
        });
        let spawn = |_| {
            let (pass, shared) = (pass.clone(), shared.clone());
            thread::spawn(move || pass.work(&shared))
        };
        let workers = (0..workers).map(spawn).collect();
        Self { shared, workers, batches, skipped: Vec::new() }
    }

    /// Batches of the whole pass, those already given or left out at its beginning included.
    pub fn batches(&self) -> usize {
        self.batches
    }

    /// Batches of the pass that were given so far, those left out at its beginning and those none
    /// of whose pictures could be read included.
    pub fn given(&self) -> usize {
        self.shared.state().next_given
    }

    /// Pictures left out of the batches given so far: their places among the pipeline's samples,
    /// and why.
    pub fn skipped(&self) -> &[(usize, PictureError)] {
        &self.skipped
    }

    /// Stops the workers and waits for them.
    fn join(&mut self) -> thread::Result<()> {
        self.shared.state().stop = true;
        self.shared.taken.notify_all();
        // All of them, whatever one ended with.
        let ends: Vec<_> = self.workers.drain(..).map(JoinHandle::join).collect();
        ends.into_iter().collect()
    }
}

impl Iterator for Loader {
    type Item = Batch;

    /// The next batch; waits for it if need be.
    ///
    /// # Panics
    /// If a worker panicked, with what it panicked with.
    fn next(&mut self) -> Option<Batch> {
        loop {
            let mut state = self.shared.state();
            let given = state.next_given;
            if given == self.batches {
                return None;
            }
            let waits = |state: &mut State| !state.failed && !state.done.contains_key(&given);
            state = self.shared.ready.wait_while(state, waits).expect("as in state()");
            let Some(prepared) = state.done.remove(&given) else {
                drop(state);
                let Err(panic) = self.join() else { unreachable!("a worker failed") };
                std::panic::resume_unwind(panic);
            };
            state.next_given += 1;
            drop(state);
            self.shared.taken.notify_all();
            self.skipped.extend(prepared.skipped);
            if !prepared.batch.is_empty() {
                return Some(prepared.batch);
            }
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // A worker's panic has been passed on by `next`, or nobody wanted its batch.
        let _ = self.join();
    }
}
