//! What frozen layers make of the pictures, computed once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use inception_engine::{Cpu, Inference};
use inception_image::{Batch, Batching, Loader, Pipeline};
use inception_metrics::Evaluation;
use inception_model::Weights;
use inception_net::graph::{Graph, LayerId};

use crate::TrainError;

/// Bytes that the features of all views may take together.
const MEMORY: usize = 1 << 30;
/// Pictures whose features are computed at a time; they do not depend on it.
const BATCH: usize = 32;

/// The layers whose outputs are kept, of training and test pictures.
pub(crate) struct Features {
    train: Inference,
    /// Training pictures.
    pictures: usize,
    views: Vec<Option<Arc<View>>>,
    test: Inference,
    test_view: Option<Arc<View>>,
    /// From the layers kept of test pictures on to the main logits.
    test_layers: Vec<LayerId>,
}

/// One version of each picture, by the picture's place in its pipeline.
pub(crate) struct View {
    values: Vec<f32>,
    /// Of one picture.
    len: usize,
    readable: Vec<bool>,
}

impl Features {
    /// Prepares to compute these layers' outputs: `layers` of training pictures, in `views`
    /// versions, `test_layers` of test pictures.
    ///
    /// # Errors
    /// If they would take too much memory.
    pub fn new(
        graph: &Graph,
        weights: &Weights,
        cpu: &Arc<Cpu>,
        (layers, test_layers): (&[LayerId], &[LayerId]),
        (pictures, views): (usize, usize),
    ) -> Result<Self, TrainError> {
        let values: usize = layers.iter().map(|&id| graph.layers[id].shape.len()).sum();
        let bytes = values.saturating_mul(size_of::<f32>() * pictures).saturating_mul(views);
        if bytes > MEMORY {
            let mebibytes = bytes >> 20;
            return Err(TrainError::Features { pictures, views, mebibytes });
        }
        let inference = |layers| Inference::with_outputs(graph, weights, Arc::clone(cpu), layers);
        Ok(Self {
            train: inference(layers)?,
            pictures,
            views: vec![None; views],
            test: inference(test_layers)?,
            test_view: None,
            test_layers: test_layers.to_vec(),
        })
    }

    /// The version of the training pictures that an epoch (from 0) uses, computed at its first
    /// use: the epochs take turns, and an epoch's version is augmented as its number says. `None`
    /// if `stop` was set meanwhile.
    pub fn view(
        &mut self,
        epoch: usize,
        pass: impl FnOnce(u64) -> Loader,
        stop: &AtomicBool,
        each: &mut dyn FnMut(&Loader, usize),
    ) -> Result<Option<Arc<View>>, TrainError> {
        let turn = epoch % self.views.len();
        if self.views[turn].is_none() {
            let view = View::new(&self.train, self.pictures);
            self.views[turn] = view.filled(&mut self.train, pass(turn as u64), stop, each)?;
        }
        Ok(self.views[turn].clone())
    }

    /// How well the network does on the test pictures with these weights, which are others than at
    /// the last call only behind the layers kept; and how many pictures cannot be read.
    pub fn evaluate(
        &mut self,
        (graph, weights, cpu): (&Graph, &Weights, &Arc<Cpu>),
        test: &Arc<Pipeline>,
        workers: usize,
        each: &mut dyn FnMut(&Loader, usize),
    ) -> Result<(Evaluation, usize), TrainError> {
        let view = match &self.test_view {
            Some(view) => view.clone(),
            None => {
                let batching = Batching { batch: BATCH, drop_ragged: false, workers };
                let view = View::new(&self.test, test.samples().len());
                // An epoch that is done is evaluated, whatever comes meanwhile.
                let never = AtomicBool::new(false);
                let view = view.filled(&mut self.test, test.evaluate(batching), &never, each)?;
                self.test_view.insert(view.expect("nothing stops it")).clone()
            }
        };
        let main = graph.main_logits();
        let cpu = Arc::clone(cpu);
        let mut top = Inference::begun_at(graph, weights, cpu, &self.test_layers, &[main])?;
        let mut evaluation = Evaluation::new(graph.layers[main].shape.channels);
        for (i, sample) in test.samples().iter().enumerate() {
            if let Some(features) = view.of(i) {
                evaluation.add(&top.run(features)?, sample.label);
            }
        }
        Ok((evaluation, view.unreadable()))
    }
}

impl View {
    fn new(inference: &Inference, pictures: usize) -> Self {
        let len = inference.output_shapes().map(|shape| shape.len()).sum();
        Self { values: vec![0.0; pictures * len], len, readable: vec![false; pictures] }
    }

    /// With what the network makes of the pictures; `each` is told the loader and how many are
    /// done. `None` if `stop` was set meanwhile.
    fn filled(
        mut self,
        inference: &mut Inference,
        mut loader: Loader,
        stop: &AtomicBool,
        each: &mut dyn FnMut(&Loader, usize),
    ) -> Result<Option<Arc<Self>>, TrainError> {
        let mut done = 0;
        while let Some(batch) = loader.next() {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            self.add(&batch, &inference.run_all(&batch.pictures)?);
            done += batch.len();
            each(&loader, done);
        }
        each(&loader, done);
        Ok(Some(Arc::new(self)))
    }

    /// Puts the outputs of a batch in their pictures' places.
    fn add(&mut self, batch: &Batch, outputs: &[Vec<f32>]) {
        for (place, &index) in batch.indices.iter().enumerate() {
            let mut start = index * self.len;
            for output in outputs {
                let len = output.len() / batch.len();
                self.values[start..start + len]
                    .copy_from_slice(&output[place * len..(place + 1) * len]);
                start += len;
            }
            self.readable[index] = true;
        }
    }

    /// A picture's features, if it can be read.
    fn of(&self, index: usize) -> Option<&[f32]> {
        self.readable[index].then(|| &self.values[index * self.len..(index + 1) * self.len])
    }

    /// Pictures that cannot be read.
    fn unreadable(&self) -> usize {
        self.readable.iter().filter(|&&readable| !readable).count()
    }
}

/// One pass over the features in an epoch's order, in batches as a [`Loader`] cuts them.
pub(crate) struct FeatureBatches {
    view: Arc<View>,
    pipeline: Arc<Pipeline>,
    order: Vec<usize>,
    batch: usize,
    next: usize,
    skipped: usize,
}

impl FeatureBatches {
    pub fn new(
        view: Arc<View>,
        pipeline: Arc<Pipeline>,
        (seed, epoch): (u64, u64),
        first: usize,
        batch: usize,
    ) -> Self {
        let mut order = pipeline.order(seed, epoch);
        if order.len() > batch {
            order.truncate(order.len() / batch * batch);
        }
        Self { view, pipeline, order, batch, next: first, skipped: 0 }
    }

    /// Batches of the whole pass.
    pub fn batches(&self) -> usize {
        self.order.len().div_ceil(self.batch)
    }

    /// Batches given so far, those left out at the beginning included.
    pub fn given(&self) -> usize {
        self.next
    }

    /// Pictures of the batches given so far that could not be read.
    pub fn skipped(&self) -> usize {
        self.skipped
    }
}

impl Iterator for FeatureBatches {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        while self.next < self.batches() {
            let start = self.next * self.batch;
            let indices = &self.order[start..self.order.len().min(start + self.batch)];
            self.next += 1;
            let readable = indices.iter().copied().filter(|&i| self.view.of(i).is_some());
            let indices: Vec<usize> = readable.collect();
            self.skipped += self.batch.min(self.order.len() - start) - indices.len();
            if !indices.is_empty() {
                let samples = self.pipeline.samples();
                let pictures = indices.iter().filter_map(|&i| self.view.of(i)).flatten().copied();
                return Some(Batch {
                    pictures: pictures.collect(),
                    labels: indices.iter().map(|&i| samples[i].label).collect(),
                    indices,
                    blend: None,
                });
            }
        }
        None
    }
}

/// Where an epoch's batches come from.
pub(crate) enum Batches {
    /// Pictures.
    Pictures(Loader),
    /// What frozen layers made of them.
    Features(FeatureBatches),
}

impl Batches {
    /// Batches of the whole pass.
    pub fn batches(&self) -> usize {
        match self {
            Batches::Pictures(loader) => loader.batches(),
            Batches::Features(features) => features.batches(),
        }
    }

    /// Batches given so far, those left out at the beginning included.
    pub fn given(&self) -> usize {
        match self {
            Batches::Pictures(loader) => loader.given(),
            Batches::Features(features) => features.given(),
        }
    }

    /// Why the first picture that could not be read could not, where that is known.
    pub fn first_skipped(&self) -> Option<String> {
        match self {
            Batches::Pictures(loader) => loader.skipped().first().map(|(_, e)| e.to_string()),
            Batches::Features(_) => None,
        }
    }
}

impl Iterator for Batches {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        match self {
            Batches::Pictures(loader) => loader.next(),
            Batches::Features(features) => features.next(),
        }
    }
}
