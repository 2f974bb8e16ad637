//! The run: epochs of steps, each followed by an evaluation and a checkpoint.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use inception_engine::{Algorithms, Cpu, NormMode, Training};
use inception_image::{Batch, Batching, Dataset, Loader, Pipeline};
use inception_metrics::Evaluation;
use inception_model::{Model, Weights};
use inception_net::Net;
use inception_net::graph::Graph;

use crate::average::Average;
use crate::checkpoint::{self, Checkpoint, Run};
use crate::loss::{Answers, Criterion, HeadLoss, Targets};
use crate::optimizer::{Optimizer, Step};
use crate::predictor::{self, Predictor};
use crate::report::{Observer, StepFigures, Tally};
use crate::{Origin, Recipe, TrainError, diagnosis, gradient};

/// The run's state, in its folder.
pub const CHECKPOINT_FILE: &str = "checkpoint.safetensors";
/// The model as of the last whole epoch, in the run's folder.
pub const MODEL_FILE: &str = "model.safetensors";

/// Decoded training pictures kept in memory, in bytes; beyond it pictures are decoded again in
/// each epoch.
const TRAIN_CACHE: usize = 1 << 30;
/// The same for test pictures.
const TEST_CACHE: usize = 1 << 28;

/// What a run needs besides network, recipe and data, and what its result does not depend on.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions<'a> {
    /// An existing folder for [`CHECKPOINT_FILE`] and [`MODEL_FILE`].
    pub folder: &'a Path,
    /// Threads that read and augment pictures.
    pub workers: usize,
    /// Set it, and the run ends after the step it is at.
    pub stop: &'a AtomicBool,
}

/// A run that ended without an error.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// Whether all epochs are done; if not, [`RunOptions::stop`] was set, and the checkpoint is
    /// that of the last whole epoch.
    pub finished: bool,
    /// What was trained, how, and what came of it, as in the checkpoint.
    pub run: Run,
}

/// A network that has not learned anything: its weights are random, from the seed.
///
/// # Errors
/// If the description is no network.
pub fn untrained(net: Net, labels: Vec<String>, seed: u32) -> Result<Model, TrainError> {
    let weights = Weights::initial(&net.graph()?, seed.into());
    Ok(Model { net, weights, labels, provenance: BTreeMap::new() })
}

/// A network, how it is trained, and how far it is.
pub struct Trainer {
    cpu: Arc<Cpu>,
    graph: Graph,
    run: Run,
    training: Training,
    average: Option<Average>,
    optimizer: Optimizer,
}

/// A step that did not work out.
enum Broken {
    /// Something is not finite any more.
    NotFinite(Origin),
    Error(TrainError),
}

impl<E: Into<TrainError>> From<E> for Broken {
    fn from(error: E) -> Self {
        Broken::Error(error.into())
    }
}

impl Trainer {
    /// Starts from a model's weights, those of [`untrained`] or of a model file.
    ///
    /// # Errors
    /// If the recipe cannot be followed, or the model is not one.
    pub fn new(model: Model, recipe: Recipe, cpu: Arc<Cpu>) -> Result<Self, TrainError> {
        recipe.check()?;
        let Model { net, weights, labels, .. } = model;
        let average = recipe.average.map(|how| Average::new(how, weights.clone()));
        let optimizer = Optimizer::new(recipe.optimizer.clone(), &weights);
        let run = Run { net, labels, recipe, steps: 0, history: Vec::new() };
        Self::resume(Checkpoint { run, weights, average, optimizer }, cpu)
    }

    /// Goes on where a checkpoint was made. To train longer than planned, raise the epochs of its
    /// recipe first.
    ///
    /// # Errors
    /// If the recipe cannot be followed, or the network is not one.
    pub fn resume(checkpoint: Checkpoint, cpu: Arc<Cpu>) -> Result<Self, TrainError> {
        let Checkpoint { run, weights, average, optimizer } = checkpoint;
        run.recipe.check()?;
        let mut graph = run.net.graph()?;
        run.recipe.adjust(&mut graph);
        let training = Training::new(&graph, weights, Arc::clone(&cpu), NormMode::Batch)?;
        Ok(Self { cpu, graph, run, training, average, optimizer })
    }

    /// What is trained, how, and what came of it so far.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// The weights that are evaluated and saved: the average where the recipe keeps one.
    pub fn weights(&self) -> &Weights {
        self.average.as_ref().map_or(self.training.weights(), Average::weights)
    }

    /// The network as it is now. Its provenance says how it came about and nothing that another
    /// run of the same kind would not say too.
    pub fn model(&self) -> Model {
        let Run { net, labels, recipe, steps, history } = &self.run;
        let provenance = BTreeMap::from([
            ("recipe".to_owned(), recipe.to_toml()),
            ("epochs".to_owned(), history.len().to_string()),
            ("steps".to_owned(), steps.to_string()),
        ]);
        Model {
            net: net.clone(),
            weights: self.weights().clone(),
            labels: labels.clone(),
            provenance,
        }
    }

    /// Trains until the recipe's last epoch is done or the run is stopped. After each epoch the
    /// network is evaluated on the test pictures, if there are any, and model and checkpoint are
    /// written, each whole or not at all. What was done of an epoch when the run was stopped is
    /// lost, which is why the trainer is used up: the checkpoint is what a run goes on from.
    ///
    /// # Errors
    /// If the data is not of the network's classes or size, nothing of it can be read, numbers
    /// are no longer finite, or a file cannot be written. The last checkpoint stays.
    pub fn train(
        mut self,
        data: &Dataset,
        options: RunOptions,
        observer: &mut dyn Observer,
    ) -> Result<Ended, TrainError> {
        let mut session = Session::new(&self, data, options, observer)?;
        while self.run.history.len() < self.run.recipe.epochs {
            let steps = self.run.steps;
            let Some(mut tally) = self.train_epoch(&mut session)? else {
                return Ok(Ended { finished: false, run: Run { steps, ..self.run } });
            };
            // None of them readable is as good as none.
            let test = self.evaluate(&mut session, &mut tally)?.filter(|t| t.pictures() > 0);
            let epoch = self.run.history.len() + 1;
            let report = tally.epoch_report(epoch, test.as_ref());
            // Finite weights can still be too large to compute with, and the last step's have
            // not been through a training loss.
            if report.test_loss.is_some_and(|loss| !loss.is_finite()) {
                let origin = diagnosis::in_weights(self.weights()).unwrap_or(Origin::TestLoss);
                return Err(session.not_finite(epoch, report.learning_rate, tally.steps, origin));
            }
            self.run.history.push(report);
            // The checkpoint comes last: it never claims an epoch whose model is not there.
            self.model().save(&session.options.folder.join(MODEL_FILE))?;
            self.save_checkpoint(&session.checkpoint())?;
            session.observer.epoch(&self.run.history[self.run.history.len() - 1]);
        }
        Ok(Ended { finished: true, run: self.run })
    }

    fn save_checkpoint(&self, path: &Path) -> Result<(), TrainError> {
        let weights = self.training.weights();
        checkpoint::write(path, &self.run, weights, self.average.as_ref(), &self.optimizer)
    }

    /// `None` if it was stopped.
    fn train_epoch(&mut self, session: &mut Session) -> Result<Option<Tally>, TrainError> {
        let (epoch, epochs) = (self.run.history.len(), self.run.recipe.epochs);
        let mut tally = Tally::new(self.run.net.classes);
        let mut loader = session.train_loader(&self.run.recipe, epoch);
        let steps = loader.batches();
        let mut told = 0;
        let mut rate = 0.0;
        loop {
            if session.options.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let Some(batch) = loader.next() else { break };
            let done = epoch as f64 + tally.steps as f64 / steps as f64;
            rate = self.run.recipe.learning_rate(done);
            let share = done / epochs as f64;
            let figures =
                match self.step(&batch, &session.criterion, (rate, share), &mut tally.evaluation) {
                    Ok(figures) => figures,
                    Err(Broken::Error(error)) => return Err(error),
                    Err(Broken::NotFinite(origin)) => {
                        return Err(session.not_finite(epoch + 1, rate, tally.steps + 1, origin));
                    }
                };
            tally.add(&figures);
            session.tell_skipped(Part::Train, &loader, &mut told);
            let report = tally.step_report(&figures, (epoch + 1, epochs), steps);
            session.observer.step(&report);
        }
        session.tell_skipped(Part::Train, &loader, &mut told);
        tally.skipped = told;
        if tally.steps == 0 {
            let first = loader.skipped().first().map(|(_, error)| error.to_string());
            return Err(TrainError::NoPictures(first.unwrap_or_default()));
        }
        // The last step's own effect has not been through a loss yet, and what is not finite
        // must never replace a good checkpoint.
        match diagnosis::in_weights(self.training.weights()) {
            Some(origin) => Err(session.not_finite(epoch + 1, rate, tally.steps, origin)),
            None => Ok(Some(tally)),
        }
    }

    /// One batch forward and back, and the weights moved. The step begins after this share of the
    /// run.
    fn step(
        &mut self,
        batch: &Batch,
        criterion: &Criterion,
        (learning_rate, share): (f64, f64),
        evaluation: &mut Evaluation,
    ) -> Result<StepFigures, Broken> {
        let recipe = &self.run.recipe;
        let seed = dropout_seed(recipe.seed, self.run.steps);
        let logits = self.training.forward(&batch.pictures, seed)?;
        let heads = self.losses(criterion, &logits, &batch.labels);
        let weights = self.graph.heads.iter().map(|head| f64::from(head.loss_weight));
        let objective: f64 = weights.zip(&heads).map(|(weight, head)| weight * head.loss).sum();
        if !objective.is_finite() {
            let weights = self.training.weights();
            let pictures = &batch.pictures;
            let origin = diagnosis::in_forward(&self.graph, weights, &self.cpu, pictures)?;
            return Err(Broken::NotFinite(origin));
        }
        let gradients: Vec<Vec<f32>> = heads.into_iter().map(|head| head.gradient).collect();
        self.training.backward(&gradients)?;
        let (weights, gradients) = self.training.weights_and_gradients();
        let cpu = &*self.cpu;
        if !recipe.optimizer.decouples_weight_decay() {
            gradient::add_weight_decay(cpu, weights, gradients, recipe.weight_decay);
        }
        if let Some(limit) = recipe.clip_value {
            gradient::clip_value(cpu, gradients, limit);
        }
        let gradient_norm = gradient::global_norm(cpu, gradients);
        if !gradient_norm.is_finite() {
            return Err(Broken::NotFinite(diagnosis::in_gradients(weights, gradients)));
        }
        if let Some(limit) = recipe.clip_norm {
            gradient::clip_norm(cpu, gradients, gradient_norm, limit);
        }
        let (weight_decay, before) = (recipe.weight_decay, self.run.steps);
        let step = Step { rate: learning_rate, weight_decay, before };
        self.optimizer.step(cpu, weights, gradients, step);
        if let Some(average) = &mut self.average {
            average.update(cpu, weights, share);
        }
        self.run.steps += 1;
        let main = logits.last().expect("a network has a main head");
        let rows = main.chunks_exact(self.run.net.classes).zip(&batch.labels);
        rows.for_each(|(logits, &label)| evaluation.add(logits, label));
        Ok(StepFigures { objective, gradient_norm, learning_rate })
    }

    fn losses(
        &self,
        criterion: &Criterion,
        logits: &[Vec<f32>],
        labels: &[usize],
    ) -> Vec<HeadLoss> {
        let (classes, targets) = (self.run.net.classes, Targets::Classes(labels));
        let heads = self.graph.heads.iter().zip(logits);
        heads
            .map(|(head, logits)| {
                let answers = Answers { logits, classes, targets, teacher: None };
                criterion.loss(answers, f64::from(head.loss_weight))
            })
            .collect()
    }

    /// `None` without test pictures.
    fn evaluate(
        &self,
        session: &mut Session,
        tally: &mut Tally,
    ) -> Result<Option<Evaluation>, TrainError> {
        let Some(pipeline) = session.test.clone() else { return Ok(None) };
        let cpu = Arc::clone(&self.cpu);
        let (net, algorithms) = (&self.run.net, Algorithms::Estimated);
        let mut predictor =
            Predictor::for_graph(net, &self.graph, self.weights(), cpu, &algorithms)?;
        let of = pipeline.samples().len();
        let mut done = 0;
        let evaluation = predictor.evaluate(&pipeline, session.options.workers, |i, answer| {
            done += 1;
            session.observer.evaluating(done, of);
            if let Err(error) = answer {
                tally.skipped += 1;
                if session.told.insert((Part::Test, i)) {
                    session.observer.skipped(error);
                }
            }
        })?;
        Ok(Some(evaluation))
    }
}

/// What one call of [`Trainer::train`] works with.
struct Session<'a> {
    train: Arc<Pipeline>,
    test: Option<Arc<Pipeline>>,
    /// What answers are judged by.
    criterion: Criterion,
    options: RunOptions<'a>,
    observer: &'a mut dyn Observer,
    /// Pictures that the observer knows to be unreadable.
    told: HashSet<(Part, usize)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Train,
    Test,
}

impl<'a> Session<'a> {
    /// Checks the data and writes a first checkpoint, so that there always is one and a folder
    /// that cannot be written shows now, not after an epoch.
    fn new(
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
        let labels = data.train.iter().map(|sample| sample.label);
        let class_weights = run.recipe.class_weights.as_ref();
        let class_weights = class_weights.map(|weights| weights.of(labels, run.net.classes));
        let class_weights = class_weights.transpose().map_err(TrainError::Recipe)?;
        let criterion = run.recipe.criterion(class_weights.unwrap_or_default());
        let session = Self { train, test, criterion, options, observer, told: HashSet::new() };
        trainer.save_checkpoint(&session.checkpoint())?;
        Ok(session)
    }

    fn checkpoint(&self) -> PathBuf {
        self.options.folder.join(CHECKPOINT_FILE)
    }

    /// The error about numbers that broke down in or after this step of this epoch, from 1.
    fn not_finite(
        &self,
        epoch: usize,
        learning_rate: f64,
        step: usize,
        origin: Origin,
    ) -> TrainError {
        let checkpoint = self.checkpoint();
        TrainError::NotFinite { epoch, step, origin, learning_rate, checkpoint }
    }

    fn train_loader(&self, recipe: &Recipe, epoch: usize) -> Loader {
        let batching =
            Batching { batch: recipe.batch, drop_ragged: true, workers: self.options.workers };
        self.train.train(recipe.seed.into(), epoch as u64, 0, batching)
    }

    /// Passes on the pictures that the loader has skipped since it had skipped `known`.
    fn tell_skipped(&mut self, part: Part, loader: &Loader, known: &mut usize) {
        for (index, error) in &loader.skipped()[*known..] {
            if self.told.insert((part, *index)) {
                self.observer.skipped(error);
            }
        }
        *known = loader.skipped().len();
    }
}

/// Another for each step, and for neighbouring seeds (splitmix64's finaliser).
fn dropout_seed(seed: u32, step: u64) -> u64 {
    let mut z = (u64::from(seed) << 32 ^ step).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
