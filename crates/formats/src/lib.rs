//! Other programs' files of weights, read as data: nothing in them is ever run.
//!
//! A file is bytes of one [`Format`] and becomes [`Contents`]: named arrays and, where the format
//! holds one, the graph that uses them. This crate knows no networks and no dialects; what the
//! names mean is the business of `convert`. Every reader takes hostile bytes: a fault is an
//! error, never a panic, and memory stays in proportion to the file.

mod array;
mod fault;
pub mod graph;

pub use array::Array;
pub use fault::Fault;
