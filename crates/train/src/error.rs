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
    /// A model whose weights do not fit the network at another input size.
    #[error(
        "at {}×{} `{layer}` has weights of another shape than the model's, which takes {}×{}: it is \
         fully connected to its grid; take the model's own size",
        size.0, size.1, own.0, own.1
    )]
    Transfer {
        /// The layer.
        layer: String,
        /// Height and width asked for.
        size: (usize, usize),
        /// The model's.
        own: (usize, usize),
    },
    /// Features of frozen layers that take too much memory.
    #[error(
        "what the frozen layers make of {pictures} pictures in {views} versions takes {mebibytes} \
         MiB, more than the 1024 MiB that are kept; freeze up to a later layer, take fewer \
         cached_views, or leave them out of the recipe"
    )]
    Features {
        /// Training pictures.
        pictures: usize,
        /// Versions of each.
        views: usize,
        /// What they take.
        mebibytes: usize,
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
    /// The step that a run's statistics are taken from became infinite or NaN.
    #[error(
        "no statistics of the layers: in one more step the numbers are no longer finite, first {0}"
    )]
    Statistics(Origin),
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
