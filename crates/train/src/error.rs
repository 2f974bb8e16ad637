use std::path::PathBuf;

use inception_engine::EngineError;
use inception_image::DataError;
use inception_model::ModelError;
use inception_net::NetError;

use crate::Origin;

/// What can end a run.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A recipe that cannot be followed.
    #[error("the recipe cannot be followed: {0}")]
    Recipe(String),
    /// Pictures of other classes than the network's.
    #[error(
        "the data's classes are {found}, the network's are {wanted}; give each class a folder of its name, or train a new network"
    )]
    Classes {
        /// Classes of the data.
        found: String,
        /// Classes of the network.
        wanted: String,
    },
    /// Networks of an ensemble that answer with different classes.
    #[error(
        "model {number} of the ensemble has no class `{class}`, which the first has; average models of the same classes"
    )]
    Ensemble {
        /// The model's place, from 1.
        number: usize,
        /// The class.
        class: String,
    },
    /// A teacher that cannot teach this network.
    #[error("the teacher does not fit: {0}")]
    Teacher(String),
    /// No training picture could be read.
    #[error("no training picture can be read; the first: {0}")]
    NoPictures(String),
    /// A loss, on training or test pictures, a gradient or a weight became infinite or NaN.
    #[error(
        "training broke down in epoch {epoch}, step {step}: the numbers are no longer finite, \
         first {origin}; the checkpoint of the last good epoch, {}, is kept; lower the learning rate \
         (it was {learning_rate}): start a new run with a smaller --learning-rate",
        checkpoint.display()
    )]
    NotFinite {
        /// Epoch, from 1.
        epoch: usize,
        /// Step of the epoch, from 1.
        step: usize,
        /// Where it began.
        origin: Origin,
        /// Learning rate of that step.
        learning_rate: f64,
        /// The checkpoint of the last whole epoch.
        checkpoint: PathBuf,
    },
    /// A file that is no checkpoint, or a damaged one.
    #[error("{} is not a readable checkpoint: {reason}; use the checkpoint.safetensors of a run", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What the reader found.
        reason: String,
    },
    /// The data or its preprocessing.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network's description.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Reading or writing a file of weights.
    #[error(transparent)]
    Model(#[from] ModelError),
}
