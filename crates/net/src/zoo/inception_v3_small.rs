//! Inception v3 scaled to 28×28 grey pictures: the network of the embedded default job.
//!
//! The parts of Szegedy et al. 2015 (arXiv 1512.00567) in their order: a stem of plain
//! convolutions, modules A, reduction D, modules B, the batch-normalised auxiliary head on their
//! grid, reduction E, a module C. Grids are 28 → 14 → 7 → 3 instead of 299 → 35 → 17 → 8, so the
//! first reduction is padded. All widths are multiples of 16.

use super::dialect::{Conventions, Dialect};
use super::{Architecture, Plan};
use crate::graph::{BatchNorm, Init};
use crate::layers::{Classifier, Dropout, GlobalAvgPool, conv};
use crate::modules::{A, AuxiliaryV3, B, C, D, E, Pooling};
use crate::notation::Pad;
use crate::preprocessing::{ChannelOrder, Filter, Preprocessing, Protocol, Resize, Rounding};
use crate::step::{Series, Step};

/// Widths of the stem's two convolutions.
const STEM: (usize, usize) = (16, 32);
/// Modules A: 1×1, (reduction, 3×3), (reduction, double 3×3), pool.
const MODULE_A: (usize, (usize, usize), (usize, usize), usize) = (16, (16, 16), (16, 16), 16);
/// Number of modules A.
const MODULES_A: usize = 2;
/// Reduction D: 3×3, (reduction, double 3×3).
const REDUCTION_D: (usize, (usize, usize)) = (48, (16, 32));
/// Modules B: 1×1, (inner, n×n), (inner, double n×n), pool.
const MODULE_B: (usize, (usize, usize), (usize, usize), usize) = (32, (32, 32), (16, 32), 32);
/// Number of modules B.
const MODULES_B: usize = 2;
/// Length of their asymmetric filters.
const N: usize = 5;
/// Auxiliary head: 1×1, fully connected.
const AUXILIARY: (usize, usize) = (32, 96);
/// Reduction E: (1×1, 3×3), (inner, 3×3).
const REDUCTION_E: ((usize, usize), (usize, usize)) = ((32, 64), (32, 48));
/// Module C: 1×1, (1×1, each bank), (1×1, each bank), pool.
const MODULE_C: (usize, (usize, usize), (usize, usize), usize) = (96, (96, 96), (128, 96), 48);

pub(super) const INCEPTION_V3_SMALL: Architecture = Architecture {
    name: "inception-v3-small",
    input: (28, 28, 1),
    dialects: &[Dialect::Paper],
    conventions,
    layers,
};

fn conventions(_: Dialect) -> Conventions {
    Conventions {
        classes: 10,
        // Some thousand steps in all: running statistics have to follow quickly.
        batch_norm: Some(BatchNorm { epsilon: 1e-3, decay: 0.9, scale: true }),
        init: Init::He,
        classifier_init: Some(Init::Truncated(0.01)),
        count_padding: false,
        auxiliary: Some(0.4),
        dropout: 0.2,
        preprocessing,
    }
}

/// The whole picture at the input's size; mean and deviation of Fashion-MNIST's training pictures.
fn preprocessing((height, width): (usize, usize)) -> Preprocessing {
    Preprocessing {
        central: None,
        resize: Resize::Exact { height, width },
        filter: Filter::Bilinear,
        protocol: Protocol::default(),
        crop: None,
        rounding: Rounding::default(),
        order: ChannelOrder::Grey,
        mean: vec![0.286],
        std: vec![0.353],
    }
}

fn layers(plan: &Plan) -> Series {
    let w = |width| plan.width(width);
    let mut layers: Series = vec![
        //                                                                           28×28×1
        conv("conv1", 3, w(STEM.0)).into(), //                                       28×28×16
        conv("conv2", 3, w(STEM.1)).stride(2).into(), //                             14×14×32
    ];
    layers.extend((1..=MODULES_A).map(|i| a(plan, &format!("inception_a{i}")))); //  14×14×64
    layers.push(Step::D(D {
        name: "reduction_d".into(),
        conv3x3: w(REDUCTION_D.0),
        double3x3: plan.pair(REDUCTION_D.1),
        padding: Pad::Same,
    })); //                                                                          7×7×144
    layers.extend((1..=MODULES_B).map(|i| b(plan, &format!("inception_b{i}")))); //  7×7×128
    layers.extend(plan.conventions.auxiliary.map(|loss_weight| {
        Step::AuxiliaryV3(AuxiliaryV3 {
            name: "aux".into(),
            loss_weight,
            conv: w(AUXILIARY.0),
            features: w(AUXILIARY.1),
            batch_norm: true,
        })
    }));
    layers.extend([
        Step::E(E {
            name: "reduction_e".into(),
            conv3x3: plan.pair(REDUCTION_E.0),
            nxn3x3: plan.pair(REDUCTION_E.1),
            n: N,
            padding: Pad::Valid,
        }), //                                                                       3×3×240
        Step::C(C {
            name: "inception_c".into(),
            conv1x1: w(MODULE_C.0),
            conv3x3: plan.pair(MODULE_C.1),
            double3x3: plan.pair(MODULE_C.2),
            pool: w(MODULE_C.3),
            pooling: Pooling::Average,
        }), //                                                                       3×3×528
        Step::GlobalAvgPool(GlobalAvgPool { name: "pool".into() }), //               1×1×528
        Step::Dropout(Dropout { name: "dropout".into(), rate: plan.conventions.dropout }),
        Step::Classifier(Classifier { name: "fc".into(), init: plan.conventions.classifier_init }),
    ]);
    layers
}

fn a(plan: &Plan, name: &str) -> Step {
    Step::A(A {
        name: name.into(),
        conv1x1: plan.width(MODULE_A.0),
        conv3x3: Some(plan.pair(MODULE_A.1)),
        conv5x5: None,
        double3x3: plan.pair(MODULE_A.2),
        pool: plan.width(MODULE_A.3),
    })
}

fn b(plan: &Plan, name: &str) -> Step {
    Step::B(B {
        name: name.into(),
        conv1x1: plan.width(MODULE_B.0),
        nxn: plan.pair(MODULE_B.1),
        nxndbl: plan.pair(MODULE_B.2),
        pool: plan.width(MODULE_B.3),
        n: N,
    })
}
