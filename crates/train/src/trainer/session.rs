//! What one call of [`Trainer::train`] works with.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use inception_image::{Batching, Dataset, Loader, PictureError, Pipeline};

use super::{CHECKPOINT_FILE, RunOptions, Trainer};
use crate::loss::Criterion;
use crate::report::Observer;
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
    /// What answers are judged by.
    pub criterion: Criterion,
    pub options: RunOptions<'a>,
    pub observer: &'a mut dyn Observer,
    /// Pictures that the observer knows to be unreadable.
    told: HashSet<(Part, usize)>,
}

/// Which pictures a place counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
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
        let preprocessor = predictor::preprocessor(&run.net)?;
        let pipeline = |samples, augmentation, cache| {
            Pipeline::new(samples, preprocessor.clone(), augmentation, cache)
        };
        let train = pipeline(data.train.clone(), run.recipe.augmentation, TRAIN_CACHE)?;
        let test = match data.test.is_empty() {
            true => None,
            false => Some(pipeline(data.test.clone(), None, TEST_CACHE)?),
        };
        let criterion = criterion(&run.recipe, data)?;
        let session = Self { train, test, criterion, options, observer, told: HashSet::new() };
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

    /// The epoch's batches without the first ones.
    pub fn train_loader(&self, recipe: &Recipe, epoch: usize, first: usize) -> Loader {
        let batching =
            Batching { batch: recipe.batch, drop_ragged: true, workers: self.options.workers };
        self.train.train(recipe.seed.into(), epoch as u64, first, batching)
    }

    /// Passes on that a picture cannot be read, once.
    pub fn tell(&mut self, part: Part, index: usize, error: &PictureError) {
        if self.told.insert((part, index)) {
            self.observer.skipped(error);
        }
    }

    /// Passes on the pictures that the loader has skipped since it had skipped `known`.
    pub fn tell_skipped(&mut self, part: Part, loader: &Loader, known: &mut usize) {
        for (index, error) in &loader.skipped()[*known..] {
            self.tell(part, *index, error);
        }
        *known = loader.skipped().len();
    }
}

/// The recipe's criterion with the class weights that the training pictures ask for.
fn criterion(recipe: &Recipe, data: &Dataset) -> Result<Criterion, TrainError> {
    let Some(weights) = &recipe.class_weights else { return Ok(recipe.criterion(Vec::new())) };
    let labels = data.train.iter().map(|sample| sample.label);
    let weights = weights.of(labels, data.classes.len()).map_err(TrainError::Recipe)?;
    Ok(recipe.criterion(weights))
}
