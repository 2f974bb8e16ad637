//! Other programs' files of weights, read as data: nothing in them is ever run.
//!
//! A file is bytes of one [`Format`] and becomes [`Contents`]: named arrays and, where the format
//! holds one, the graph that uses them. This crate knows no networks and no dialects; what the
//! names mean is the business of `convert`. Every reader takes hostile bytes: a fault is an
//! error, never a panic, and memory stays in proportion to the file.

mod archive;
mod array;
pub mod caffe;
mod contents;
mod fault;
mod format;
pub mod graph;
pub mod hdf5;
pub mod keras;
mod layout;
pub mod mxnet;
mod number;
pub mod onnx;
pub mod pickle;
pub mod safetensors;
pub mod tensorflow;
pub mod tfjs;
pub mod torch;
mod wire;

pub use array::Array;
pub use contents::{Contents, FileError, SETTINGS, read};
pub use fault::Fault;
pub use format::Format;
