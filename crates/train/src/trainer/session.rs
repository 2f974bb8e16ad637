//! What one call of [`Trainer::train`] works with.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use inception_engine::Cpu;
use inception_image::{Batching, Dataset, Loader, PictureError, Pipeline};
use inception_metrics::Evaluation;
use inception_model::Weights;
use inception_net::graph::Graph;

use super::{CHECKPOINT_FILE, RunOptions, Trainer};
use crate::features::{Batches, FeatureBatches, Features};
use crate::loss::Criterion;
use crate::report::{Observer, Tally};
use crate::{Origin, Recipe, TrainError, predictor};

/// Decoded training pictures kept in memory, in bytes; beyond it pictures are decoded again in
/// each epoch.
const TRAIN_CACHE: usize = 1 << 30;
/// The same for test pictures.
const TEST_CACHE: usize = 1 << 28;

/// The pictures, the options and whom to tell.
pub(super) struct Session<'a> {
    train: Arc<Pipeline>,
    pub test: Option<Arc<Pipeline>>,
    pub features: Option<Features>,
    /// What answers are judged by.
    pub criterion: Criterion,
    pub options: RunOptions<'a>,
    pub observer: &'a mut dyn Observer,
    /// Pictures that the observer knows to be unreadable.
    told: HashSet<(Part, usize)>,
    /// Whether the observer knows that training and inference disagree.
    pub gap_told: bool,
}

/// Which pictures a place counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Train,
    Test,
}

impl<'a> Session<'a> {
    /// Checks the data and writes a first checkpoint, so that there always is one and a folder
    /// that cannot be written shows now, not after an epoch.
    pub fn new(
        trainer: &Trainer,
        data: &Dataset,
        options: RunOptions<'a>,
        observer: &'a mut dyn Observer,
    ) -> Result<Self, TrainError> {
        let run = &trainer.run;
        if data.classes != run.labels {
            let (found, wanted) = (data.classes.join(", "), run.labels.join(", "));
            return Err(TrainError::Classes { found, wanted });
        }
        if run.recipe.distillation.is_some() && trainer.teacher.is_none() {
            let missing = "`distillation` needs a teacher (--teacher MODEL)";
            return Err(TrainError::Recipe(missing.to_owned()));
        }
        let preprocessor = predictor::preprocessor(&run.net)?;
        let pipeline = |samples, augmentation, cache| {
            Pipeline::new(samples, preprocessor.clone(), augmentation, cache)
        };
        let train = pipeline(data.train.clone(), run.recipe.augmentation, TRAIN_CACHE)?;
        let test = match data.test.is_empty() {
            true => None,
            false => Some(pipeline(data.test.clone(), None, TEST_CACHE)?),
        };
        let views = run.recipe.fine_tuning.as_ref().and_then(|f| f.cached_views);
        let features = match views {
            Some(views) if trainer.parts.inputs != [0] => {
                let layers = (&*trainer.parts.inputs, &*trainer.parts.main_inputs);
                let (weights, cpu) = (trainer.weights(), &trainer.cpu);
                let counts = (train.samples().len(), views);
                Some(Features::new(&trainer.graph, weights, cpu, layers, counts)?)
            }
            _ => None,
        };
        let told = HashSet::new();
        let criterion = criterion(&run.recipe, data)?;
        let session =
            Self { train, test, features, criterion, options, observer, told, gap_told: false };
        trainer.save_checkpoint(&session.checkpoint())?;
        Ok(session)
    }

    /// Where the run's state is kept.
    pub fn checkpoint(&self) -> PathBuf {
        self.options.folder.join(CHECKPOINT_FILE)
    }

    /// The error about numbers that broke down in or after this step of this epoch, from 1.
    pub fn not_finite(
        &self,
        epoch: usize,
        learning_rate: f64,
        step: usize,
        origin: Origin,
    ) -> TrainError {
        let checkpoint = self.checkpoint();
        TrainError::NotFinite { epoch, step, origin, learning_rate, checkpoint }
    }

    /// A pass over an epoch's training pictures (epochs from 0) without its first batches.
    pub fn pass(&self, recipe: &Recipe, epoch: u64, first: usize) -> Loader {
        let batching =
            Batching { batch: recipe.batch, drop_ragged: true, workers: self.options.workers };
        self.train.train(recipe.seed.into(), epoch, first, batching)
    }

    /// An epoch's batches without its first ones; `None` if the run was stopped while features
    /// were computed.
    pub fn batches(
        &mut self,
        recipe: &Recipe,
        epoch: usize,
        first: usize,
    ) -> Result<Option<Batches>, TrainError> {
        let Self { features, train, observer, told, options, .. } = self;
        let Some(features) = features else {
            return Ok(Some(Batches::Pictures(self.pass(recipe, epoch as u64, first))));
        };
        let seed = recipe.seed.into();
        let all = Batching { batch: recipe.batch, drop_ragged: false, workers: options.workers };
        let pass = |turn| train.train(seed, turn, 0, all);
        let of = train.samples().len();
        let view = features.view(epoch, pass, options.stop, &mut |loader, done| {
            observer.caching(done, of);
            tell(*observer, told, Part::Train, loader.skipped());
        })?;
        Ok(view.map(|view| {
            let turn = (seed, epoch as u64);
            Batches::Features(FeatureBatches::new(view, train.clone(), turn, first, recipe.batch))
        }))
    }

    /// The evaluation of the network from the features of the test pictures.
    pub fn evaluate_features(
        &mut self,
        network: (&Graph, &Weights, &Arc<Cpu>),
        test: &Arc<Pipeline>,
        tally: &mut Tally,
    ) -> Result<Option<Evaluation>, TrainError> {
        let Self { features, observer, told, options, .. } = self;
        let Some(features) = features else { return Ok(None) };
        let of = test.samples().len();
        let mut each = |loader: &Loader, done| {
            observer.evaluating(done, of);
            tell(*observer, told, Part::Test, loader.skipped());
        };
        let (evaluation, skipped) = features.evaluate(network, test, options.workers, &mut each)?;
        tally.skipped += skipped;
        Ok(Some(evaluation))
    }

    /// Passes on that a test picture cannot be read, once.
    pub fn tell_test(&mut self, index: usize, error: &PictureError) {
        if self.told.insert((Part::Test, index)) {
            self.observer.skipped(error);
        }
    }

    /// Passes on the training pictures skipped since `known` were; returns how many there are now.
    pub fn tell_skipped(&mut self, batches: &Batches, known: usize) -> usize {
        match batches {
            Batches::Pictures(loader) => {
                let new = &loader.skipped()[known..];
                tell(self.observer, &mut self.told, Part::Train, new);
                loader.skipped().len()
            }
            Batches::Features(features) => features.skipped(),
        }
    }
}

/// Tells of pictures that cannot be read, once of each.
fn tell(
    observer: &mut dyn Observer,
    told: &mut HashSet<(Part, usize)>,
    part: Part,
    skipped: &[(usize, PictureError)],
) {
    for (index, error) in skipped {
        if told.insert((part, *index)) {
            observer.skipped(error);
        }
    }
}

/// The recipe's criterion with the class weights that the training pictures ask for.
pub(super) fn criterion(recipe: &Recipe, data: &Dataset) -> Result<Criterion, TrainError> {
    let Some(weights) = &recipe.class_weights else { return Ok(recipe.criterion(Vec::new())) };
    let labels = data.train.iter().map(|sample| sample.label);
    let weights = weights.of(labels, data.classes.len()).map_err(TrainError::Recipe)?;
    Ok(recipe.criterion(weights))
}
