//! A network and its weights as a plan that runs on this CPU, forward and backward.
//!
//! [`Inference`] computes logits (or any layer's output) with batch norm folded into the
//! convolutions; [`Training`] computes the logits of all heads in training mode and the gradient
//! of every parameter. Both work the same way: `placement` decides in which buffer each layer's
//! output lies (branches write straight into the concatenation they end in), `memory` gives
//! every buffer a place in one arena by its time of life, and running is a walk over a list of
//! kernel calls. This crate knows no files and no losses.

mod algorithms;
mod cost;
mod error;
mod inference;
mod lean;
mod memory;
mod placement;
mod space_to_depth;
mod steps;
mod training;
mod tuning;

pub mod reference;

pub use algorithms::{Algorithms, Plan};
pub use error::EngineError;
pub use inception_kernels::conv::Algorithm;
pub use inception_kernels::{Cpu, Isa};
pub use inference::{BATCH, Inference, StepInfo};
pub use training::{LayerMode, NormMode, Training};
pub use tuning::{candidate_plan, tune};
