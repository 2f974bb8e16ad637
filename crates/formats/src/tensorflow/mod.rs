//! TensorFlow's files: checkpoints of both versions and frozen graphs.

pub mod checkpoint;
mod files;
pub mod frozen;
mod messages;
mod slices;
mod table;
mod tensor;

pub(crate) use files::{index_beside, read_checkpoint};
