//! The paper's claims in small: which networks and methods are compared, and what came of it.

pub mod arms;
mod nets;
pub mod outcome;
pub mod picture;
pub mod plan;
