//! One file for each subcommand.

pub mod bench;
pub mod completions;
pub mod eval;
pub mod explain_plan;
pub mod networks;
pub mod predict;
pub mod summary;
pub mod train;
pub mod tune;
