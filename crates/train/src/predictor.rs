//! A network's answers to pictures: what prediction and evaluation share.

use std::borrow::Cow;
use std::sync::Arc;

use inception_engine::{Algorithms, Cpu, Inference};
use inception_image::{Batching, Crops, PictureError, Pipeline, Preprocessor, Sample};
use inception_metrics::{Evaluation, softmax};
use inception_model::WeightSource;
use inception_net::Net;
use inception_net::graph::Graph;

use crate::TrainError;

/// Pictures prepared and answered at a time; a picture's logits do not depend on it.
const BATCH: usize = 32;

/// A network ready to be asked.
pub struct Predictor {
    inference: Inference,
    preprocessor: Preprocessor,
    classes: usize,
}

/// Logarithms of the mean of the views' probabilities; a single view's logits as they are.
fn averaged(logits: &[f32], views: usize, classes: usize) -> Cow<'_, [f32]> {
    if views == 1 {
        return Cow::Borrowed(logits);
    }
    let mut mean = vec![0.0; classes];
    for view in logits.chunks_exact(classes) {
        mean.iter_mut().zip(softmax(view)).for_each(|(mean, p)| *mean += p / views as f64);
    }
    mean.iter().map(|mean| mean.ln() as f32).collect()
}

/// What a network says to one picture: its logits, or why the picture could not be read.
pub type Answer<'a> = Result<&'a [f32], &'a PictureError>;

/// The preprocessing of a network, fitted to its input.
pub(crate) fn preprocessor(net: &Net) -> Result<Preprocessor, TrainError> {
    let input = net.input;
    let shape = (input.channels, input.height, input.width);
    Ok(Preprocessor::new(net.preprocessing.clone(), shape)?)
}

impl Predictor {
    /// A network with its weights. Pictures are preprocessed as the network's description says.
    /// Convolutions' algorithms are as estimated, never as measured.
    ///
    /// # Errors
    /// If the description is no network or the weights or preprocessing do not fit it.
    pub fn new(net: &Net, weights: &dyn WeightSource, cpu: Arc<Cpu>) -> Result<Self, TrainError> {
        Self::with_algorithms(net, weights, cpu, &Algorithms::Estimated)
    }

    /// The same with a choice of the convolutions' algorithms.
    ///
    /// # Errors
    /// As [`Predictor::new`], or if an algorithm does not apply to its layer.
    pub fn with_algorithms(
        net: &Net,
        weights: &dyn WeightSource,
        cpu: Arc<Cpu>,
        algorithms: &Algorithms,
    ) -> Result<Self, TrainError> {
        Self::for_graph(net, &net.graph()?, weights, cpu, algorithms)
    }

    pub(crate) fn for_graph(
        net: &Net,
        graph: &Graph,
        weights: &dyn WeightSource,
        cpu: Arc<Cpu>,
        algorithms: &Algorithms,
    ) -> Result<Self, TrainError> {
        let main = [graph.main_logits()];
        let inference = Inference::with_algorithms(graph, weights, cpu, &main, algorithms)?;
        Ok(Self { inference, preprocessor: preprocessor(net)?, classes: net.classes })
    }

    /// The same asked about several views of each picture, whose probabilities it averages.
    ///
    /// # Errors
    /// If the network's input is not square.
    pub fn with_crops(self, crops: Crops) -> Result<Self, TrainError> {
        Ok(Self { preprocessor: self.preprocessor.with_crops(crops)?, ..self })
    }

    /// The samples as this network sees them. Decoded pictures are kept for further passes as
    /// long as they take no more than `cache_bytes`.
    ///
    /// # Errors
    /// None that this use of it can cause.
    pub fn pipeline(
        &self,
        samples: Vec<Sample>,
        cache_bytes: usize,
    ) -> Result<Arc<Pipeline>, TrainError> {
        Ok(Pipeline::new(samples, self.preprocessor.clone(), None, cache_bytes)?)
    }

    /// Asks about all samples and gives `each` the place of every sample, in order, with the
    /// answer. `workers` threads read the pictures; the answers do not depend on them.
    ///
    /// # Errors
    /// If the pipeline makes pictures of another size than the network takes.
    pub fn answer(
        &mut self,
        pipeline: &Arc<Pipeline>,
        workers: usize,
        mut each: impl FnMut(usize, Answer),
    ) -> Result<(), TrainError> {
        let views = self.preprocessor.views();
        let batch = BATCH.div_ceil(views);
        let mut loader = pipeline.evaluate(Batching { batch, drop_ragged: false, workers });
        let mut told = 0;
        while let Some(batch) = loader.next() {
            let logits = self.inference.run(&batch.pictures)?;
            let answers = logits.chunks_exact(views * self.classes);
            let logits: Vec<_> = answers.map(|z| averaged(z, views, self.classes)).collect();
            let answered = batch.indices.iter().copied().zip(&logits);
            let skipped = &loader.skipped()[told..];
            told += skipped.len();
            let mut answers: Vec<(usize, Answer)> = answered.map(|(i, z)| (i, Ok(&**z))).collect();
            answers.extend(skipped.iter().map(|(i, error)| (*i, Err(error))));
            answers.sort_by_key(|(i, _)| *i);
            answers.into_iter().for_each(|(i, answer)| each(i, answer));
        }
        loader.skipped()[told..].iter().for_each(|(i, error)| each(*i, Err(error)));
        Ok(())
    }

    /// How well the network does on the samples that can be read; `each` is told every answer on
    /// the way.
    ///
    /// # Errors
    /// As [`Predictor::answer`].
    pub fn evaluate(
        &mut self,
        pipeline: &Arc<Pipeline>,
        workers: usize,
        mut each: impl FnMut(usize, Answer),
    ) -> Result<Evaluation, TrainError> {
        let mut evaluation = Evaluation::new(self.classes);
        self.answer(pipeline, workers, |i, answer| {
            if let Ok(logits) = answer {
                evaluation.add(logits, pipeline.samples()[i].label);
            }
            each(i, answer);
        })?;
        Ok(evaluation)
    }
}
