//! The papers' modules: for each figure its numbers and one function.
//!
//! The function takes the module's numbers and returns its branches, in the order in which their
//! outputs are concatenated. Layers that keep the grid are padded "same", as the papers' are.

mod v1;
mod v3;

pub use v1::{
    AuxiliaryV1, Bn, BnReduction, V1, V1Naive, auxiliary_v1, bn, bn_reduction, v1, v1_naive,
};
pub use v3::{A, AuxiliaryV3, B, C, D, E, a, auxiliary_v3, b, c, d, e};

use serde::{Deserialize, Serialize};

use crate::layers::{AvgPool, max_pool};
use crate::notation::Pad;
use crate::step::Step;

/// Which pool a module's pool branch has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Average.
    #[default]
    Average,
    /// Maximum.
    Max,
}

/// The 3×3 pool of a module's pool branch.
fn pool(name: &str, pooling: Pooling) -> Step {
    match pooling {
        Pooling::Max => max_pool(name, 3).into(),
        Pooling::Average => Step::AvgPool(AvgPool {
            name: name.into(),
            kernel: 3.into(),
            stride: 1.into(),
            padding: Pad::Same,
            ceil: false,
            count_padding: None,
            shrink: false,
        }),
    }
}

/// The average pool that starts an auxiliary head.
fn side_pool(ceil: bool) -> Step {
    Step::AvgPool(AvgPool {
        name: "pool".into(),
        kernel: 5.into(),
        stride: 3.into(),
        padding: Pad::Valid,
        ceil,
        count_padding: None,
        shrink: true,
    })
}

fn is_average(value: &Pooling) -> bool {
    *value == Pooling::Average
}

fn is_no(value: &bool) -> bool {
    !*value
}
