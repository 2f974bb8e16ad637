//! One file for each subcommand.

pub mod completions;
pub mod eval;
pub mod networks;
pub mod predict;
pub mod summary;
pub mod train;
