//! A network's weights, and the one file that holds everything needed to use them.
//!
//! A model file is a safetensors file whose header carries the network's description, its
//! preprocessing and its labels, so nothing about how to use the weights lives elsewhere. This
//! crate computes nothing.

mod bytes;
mod error;
mod file;
mod precision;
mod tensor_file;
mod weights;

pub use error::ModelError;
pub use file::{FORMAT, Model, Named, write_atomically, write_plain, write_tensors};
pub use precision::Precision;
pub use tensor_file::{NamedValues, StoredWeights, TensorFile};
pub use weights::{Tensor, WeightSource, Weights, listing};
