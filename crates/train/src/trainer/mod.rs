//! The run: epochs of steps, each followed by an evaluation and a checkpoint.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use inception_engine::{Cpu, Training};
use inception_image::Dataset;
use inception_model::{Model, Weights};
use inception_net::Net;
use inception_net::graph::Graph;

use crate::average::Average;
use crate::checkpoint::{self, Checkpoint, Run};
use crate::fine_tuning::Parts;
use crate::optimizer::Optimizer;
use crate::report::Observer;
use crate::teacher::Teacher;
use crate::{Origin, Recipe, TrainError, diagnosis};

mod epoch;
mod find;
mod norm;
mod session;
mod statistics;
mod step;

use session::Session;
pub use statistics::LayerStatistics;

/// The run's state, in its folder.
pub const CHECKPOINT_FILE: &str = "checkpoint.safetensors";
/// The model as of the last whole epoch, in the run's folder; with early stopping as of the best.
pub const MODEL_FILE: &str = "model.safetensors";

/// What a run needs besides network, recipe and data, and what its result does not depend on.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions<'a> {
    /// An existing folder for [`CHECKPOINT_FILE`] and [`MODEL_FILE`].
    pub folder: &'a Path,
    /// Threads that read and augment pictures.
    pub workers: usize,
    /// Time between two checkpoints within an epoch; there always is one at its end.
    pub checkpoint_every: Duration,
    /// Set it, and the run ends after the step it is at, with a checkpoint.
    pub stop: &'a AtomicBool,
}

/// A run that ended without an error.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// Whether all epochs are done; if not, [`RunOptions::stop`] was set.
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
    parts: Parts,
    training: Training,
    /// Sums of gradients over the batches of a step, where it has several.
    accumulated: Vec<Vec<f32>>,
    average: Option<Average>,
    optimizer: Optimizer,
    /// Answers every batch before the network does, where the recipe has a distillation.
    teacher: Option<Teacher>,
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
        let run = Run { net, labels, recipe, steps: 0, history: Vec::new(), epoch: None };
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
        let parts = Parts::new(&graph, run.recipe.fine_tuning.as_ref())?;
        let (modes, inputs) = (&parts.modes, &parts.inputs);
        let training = Training::partial(&graph, weights, Arc::clone(&cpu), modes, inputs)?;
        Ok(Self {
            cpu,
            graph,
            run,
            parts,
            training,
            accumulated: Vec::new(),
            average,
            optimizer,
            teacher: None,
        })
    }

    /// The same with a teacher, whose answers count as the recipe's distillation says. It is not
    /// part of a checkpoint: who resumes the run brings it again.
    ///
    /// # Errors
    /// If the recipe has no distillation, or the teacher does not fit the network.
    pub fn with_teacher(self, teacher: &Model) -> Result<Self, TrainError> {
        if self.run.recipe.distillation.is_none() {
            let missing = "a teacher without `distillation`: temperature and weight are missing";
            return Err(TrainError::Recipe(missing.to_owned()));
        }
        if self.parts.inputs != [0] {
            let both = "a teacher has to see the pictures, of which cached_views keeps only what \
                        becomes of them; leave out one of the two";
            return Err(TrainError::Recipe(both.to_owned()));
        }
        let Run { net, labels, .. } = &self.run;
        let teacher = Teacher::new(teacher, net, labels, Arc::clone(&self.cpu))?;
        Ok(Self { teacher: Some(teacher), ..self })
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
        let Run { net, labels, recipe, steps, history, .. } = &self.run;
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

    /// Trains until the recipe's last epoch is done, it stops the run early, or the run is stopped.
    /// After each epoch the
    /// network is evaluated on the test pictures, if there are any, and model and checkpoint are
    /// written, each whole or not at all. A run that was stopped goes on from its checkpoint, at
    /// the very step; the trainer is used up.
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
        while !self.run.is_over() {
            if !self.train_epoch(&mut session)? {
                self.save_checkpoint(&session.checkpoint())?;
                return Ok(Ended { finished: false, run: self.run });
            }
            self.finish_epoch(&mut session)?;
            // The checkpoint comes last: it never claims an epoch whose model is not there.
            if self.run.is_best() {
                self.model().save(&session.options.folder.join(MODEL_FILE))?;
            }
            self.save_checkpoint(&session.checkpoint())?;
            session.observer.weights(self.training.weights(), self.training.gradients());
            session.observer.epoch(&self.run.history[self.run.history.len() - 1]);
        }
        Ok(Ended { finished: true, run: self.run })
    }

    /// Evaluates the network and adds the epoch to the history.
    fn finish_epoch(&mut self, session: &mut Session) -> Result<(), TrainError> {
        let start = Instant::now();
        let mut tally = self.run.epoch.take().expect("the epoch's steps are done");
        self.reestimate(session)?;
        // None of them readable is as good as none.
        let test = self.evaluate(session, &mut tally)?.filter(|t| t.pictures() > 0);
        let epoch = self.run.history.len() + 1;
        self.compare_modes(session, epoch)?;
        let seconds = tally.seconds + start.elapsed().as_secs_f64();
        let report = tally.epoch_report(epoch, test.as_ref(), seconds);
        // Finite weights can still be too large to compute with, and the last step's have not
        // been through a training loss.
        if report.test_loss.is_some_and(|loss| !loss.is_finite()) {
            let origin = diagnosis::in_weights(self.weights()).unwrap_or(Origin::TestLoss);
            return Err(session.not_finite(epoch, report.learning_rate, tally.steps, origin));
        }
        self.run.history.push(report);
        Ok(())
    }

    fn save_checkpoint(&self, path: &Path) -> Result<(), TrainError> {
        let weights = self.training.weights();
        checkpoint::write(path, &self.run, weights, self.average.as_ref(), &self.optimizer)
    }
}
