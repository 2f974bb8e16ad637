//! All of a run's state in one file, so that it can go on as if never interrupted.

use std::collections::BTreeMap;
use std::path::Path;

use inception_model::{ModelError, NamedValues, TensorFile, Weights, write_tensors};
use inception_net::Net;
use inception_net::graph::Graph;
use serde::{Deserialize, Serialize};

use crate::average::Average;
use crate::optimizer::Optimizer;
use crate::report::{EpochReport, Tally};
use crate::{Recipe, TrainError};

/// What the header's `format` entry says in files this version writes.
const FORMAT: &str = "inception-checkpoint/2";

/// A run between two steps.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// What is not tensors.
    pub run: Run,
    /// The weights being trained, not their average.
    pub weights: Weights,
    /// Their running average, if the recipe keeps one.
    pub average: Option<Average>,
    /// The optimiser with its memory.
    pub optimizer: Optimizer,
}

/// A run's description and how far it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The network.
    pub net: Net,
    /// A name for each class.
    pub labels: Vec<String>,
    /// The method. Random numbers come from its seed and the position in the run alone, so they
    /// have no state of their own.
    pub recipe: Recipe,
    /// Steps done since the start.
    pub steps: u64,
    /// One report for each epoch done.
    pub history: Vec<EpochReport>,
    /// How far the next epoch is; none if it has not begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Tally>,
}

impl Run {
    /// Whether all epochs are done, or the recipe ends the run before.
    pub fn is_over(&self) -> bool {
        let stopping = self.recipe.early_stopping;
        self.history.len() >= self.recipe.epochs
            || stopping.is_some_and(|stopping| stopping.is_over(&self.history))
    }

    /// Whether the model is that of the last epoch: without early stopping always.
    pub fn is_best(&self) -> bool {
        self.model_epoch() == self.history.len()
    }

    /// The epoch, from 1, that the model is of; 0 before the first.
    pub fn model_epoch(&self) -> usize {
        let best = self.recipe.early_stopping.and_then(|stopping| stopping.best(&self.history));
        best.map_or(self.history.len(), |best| best + 1)
    }
}

/// The tensors' names are the group and the parameter's name.
const WEIGHTS: &str = "weights/";
const AVERAGE: &str = "average/";
/// Header entry with the number of steps that have moved the average.
const AVERAGED: &str = "averaged";

fn optimizer_group(slot: &str) -> String {
    format!("optimizer.{slot}/")
}

impl Checkpoint {
    /// Writes the file, which appears whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written; the one that stood there before then still does.
    pub fn save(&self, path: &Path) -> Result<(), TrainError> {
        write(path, &self.run, &self.weights, self.average.as_ref(), &self.optimizer)
    }

    /// Reads a file that [`Checkpoint::save`] wrote.
    ///
    /// # Errors
    /// If it cannot be read, is something else or damaged.
    pub fn load(path: &Path) -> Result<Self, TrainError> {
        let fault = |reason: String| TrainError::Checkpoint { path: path.to_owned(), reason };
        let unreadable = |error| match error {
            ModelError::Read { .. } => TrainError::Model(error),
            ModelError::Malformed { reason, .. } => fault(reason),
            other => fault(other.to_string()),
        };
        let file = TensorFile::open(path).map_err(unreadable)?;
        let format = file.header("format").map_err(|_| fault("its header has no format".into()))?;
        if format != FORMAT {
            return Err(fault(format!("it says it is {format}, this program reads {FORMAT}")));
        }
        let run: Run = file.header_json("run").map_err(unreadable)?;
        run.recipe.check().map_err(|error| fault(error.to_string()))?;
        let graph = run.net.graph().map_err(|error| fault(error.to_string()))?;
        let averaged = file.header(AVERAGED).ok().and_then(|count| count.parse().ok());
        let tensors = file.into_tensors().map_err(unreadable)?;
        Groups::new(tensors).checkpoint(run, averaged, &graph).map_err(fault)
    }
}

/// [`Checkpoint::save`] of parts that live elsewhere.
pub(crate) fn write(
    path: &Path,
    run: &Run,
    weights: &Weights,
    average: Option<&Average>,
    optimizer: &Optimizer,
) -> Result<(), TrainError> {
    let run = serde_json::to_string(run).expect("a run is plain data");
    let mut header =
        BTreeMap::from([("format".to_owned(), FORMAT.to_owned()), ("run".to_owned(), run)]);
    if let Some(average) = average {
        header.insert(AVERAGED.to_owned(), average.count().to_string());
    }
    let mut tensors: Vec<(String, &[usize], &[f32])> = Vec::new();
    let mut add = |group: &str, place: usize, values| {
        let parameter = &weights.tensors()[place].parameter;
        tensors.push((format!("{group}{}", parameter.name), &parameter.shape, values));
    };
    for (place, tensor) in weights.tensors().iter().enumerate() {
        add(WEIGHTS, place, &tensor.values);
        if let Some(average) = average {
            add(AVERAGE, place, &average.weights().tensors()[place].values);
        }
        for slot in optimizer.slots().iter().filter(|_| tensor.parameter.role.is_trained()) {
            add(&optimizer_group(slot.name), place, &slot.tensors[place]);
        }
    }
    let tensors = tensors.iter().map(|(name, shape, values)| (name.as_str(), *shape, *values));
    Ok(write_tensors(path, header, tensors)?)
}

/// A file's tensors by what stands before the name's first slash, slash included.
struct Groups(BTreeMap<String, Vec<NamedValues>>);

impl Groups {
    fn new(tensors: Vec<NamedValues>) -> Self {
        let mut groups: BTreeMap<String, Vec<NamedValues>> = BTreeMap::new();
        for (name, shape, values) in tensors {
            let split = name.find('/').map_or(0, |slash| slash + 1);
            let (group, name) = name.split_at(split);
            groups.entry(group.to_owned()).or_default().push((name.to_owned(), shape, values));
        }
        Self(groups)
    }

    /// Fails with what does not fit.
    fn checkpoint(
        mut self,
        run: Run,
        averaged: Option<u64>,
        graph: &Graph,
    ) -> Result<Checkpoint, String> {
        let weights = self.weights(WEIGHTS, graph)?;
        let average = match run.recipe.average {
            Some(how) => {
                let weights = self.weights(AVERAGE, graph)?;
                let count = averaged.ok_or("its header does not count the average's steps")?;
                Some(Average::restored(how, weights, count))
            }
            None => None,
        };
        let mut optimizer = Optimizer::new(run.recipe.optimizer.clone(), &weights);
        for slot in optimizer.slots_mut() {
            let group = optimizer_group(slot.name);
            let mut named: BTreeMap<String, Vec<f32>> =
                self.take(&group).into_iter().map(|(name, _, values)| (name, values)).collect();
            for (memory, tensor) in slot.tensors.iter_mut().zip(weights.tensors()) {
                let name = &tensor.parameter.name;
                if !tensor.parameter.role.is_trained() {
                    continue;
                }
                match named.remove(name) {
                    Some(values) if values.len() == memory.len() => *memory = values,
                    Some(_) => return Err(format!("{group}{name} has another size")),
                    None => return Err(format!("{group}{name} is missing")),
                }
            }
        }
        Ok(Checkpoint { run, weights, average, optimizer })
    }

    fn weights(&mut self, group: &str, graph: &Graph) -> Result<Weights, String> {
        Weights::from_named(graph, self.take(group)).map_err(|e| format!("its {group}: {e}"))
    }

    fn take(&mut self, group: &str) -> Vec<NamedValues> {
        self.0.remove(group).unwrap_or_default()
    }
}
