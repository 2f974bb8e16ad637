//! How a network learns: loss, optimisers, schedules, averages, checkpoints.
//!
//! A [`Trainer`] follows a [`Recipe`], which is plain data, and tells an [`Observer`] what happens;
//! a [`Predictor`] asks a network about pictures, for prediction and evaluation alike. Everything
//! a run does is decided by its seed and its data: the weights come out the same to the bit for
//! any number of threads, interrupted or not. This crate reads no pictures itself, writes nothing
//! but the run's checkpoint and model, and prints nothing.

mod average;
mod checkpoint;
mod class_weights;
mod diagnosis;
mod early_stopping;
mod ensemble;
mod error;
mod features;
mod finder;
mod fine_tuning;
mod gradient;
mod loss;
mod optimizer;
mod parallel;
mod predictor;
mod preset;
mod recipe;
mod report;
mod running_statistics;
mod schedule;
mod setting;
mod teacher;
mod trainer;
mod transfer;

#[cfg(test)]
mod tiny;

pub use average::{Average, Averaging};
pub use checkpoint::{Checkpoint, Run};
pub use class_weights::{ClassWeights, WeightRule};
pub use diagnosis::Origin;
pub use early_stopping::{EarlyStopping, Metric};
pub use ensemble::Ensemble;
pub use error::TrainError;
pub use finder::{RateCurve, RatePoint};
pub use fine_tuning::{FineTuning, FrozenBatchNorm};
pub use gradient::{add_weight_decay, clip_norm, clip_value, global_norm};
pub use loss::{Answers, Criterion, Distillation, HeadLoss, SmoothingOver, Targets};
pub use optimizer::{Optimizer, Rule, Slot, Step};
pub use predictor::{Answer, Predictor};
pub use preset::Preset;
pub use recipe::Recipe;
pub use report::{EpochReport, Observer, StepReport, Tally};
pub use running_statistics::{GapCause, ModeGap};
pub use schedule::{Decay, Schedule};
pub use teacher::Teacher;
pub use trainer::{
    CHECKPOINT_FILE, Ended, LayerStatistics, MODEL_FILE, RunOptions, Trainer, untrained,
};
pub use transfer::{Start, start_from};
