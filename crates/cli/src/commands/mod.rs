//! One file for each subcommand.

pub mod ablate;
pub mod advise;
pub mod bench;
pub mod completions;
pub mod data;
pub mod diff;
pub mod eval;
pub mod explain_plan;
pub mod export;
pub mod import;
pub mod lr_find;
pub mod networks;
pub mod predict;
pub mod pull;
pub mod recipe;
pub mod summary;
pub mod train;
pub mod tune;
