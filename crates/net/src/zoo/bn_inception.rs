//! BN-Inception: GoogLeNet with batch normalisation and two 3×3 instead of each 5×5.
//!
//! Ioffe, Szegedy 2015, *Batch normalization* (arXiv 1502.03167), figure 5 and appendix; TF-slim's
//! `inception_v2.py` is the same network. The first layer is separable with depth multiplier 8.
//!
//! - The table prints a pool projection of 128 for 4c and 4d, but then their outputs are 608 and
//!   not the printed 576. As in TF-slim's network it is 96 here.
//! - Its 13.6·10⁶ parameters are met with one auxiliary head of TF-slim's form on the last 14×14
//!   grid; without it there are 11.2·10⁶. The paper does not describe its heads. TF-slim's network
//!   has none.
//! - Multiply–adds come to 1.93·10⁹; with a plain instead of the separable 7×7 they would be the
//!   2.0·10⁹ that the v3 paper gives for this network.
//! - The paper removes dropout; TF-slim keeps 0.8.
//! - TF-slim's first layer has a bias and no batch norm.

use super::dialect::{self, Conventions, Dialect};
use super::{Architecture, Plan};
use crate::graph::{BatchNorm, Init};
use crate::layers::{Classifier, Dropout, GlobalAvgPool, SeparableConv, conv, max_pool};
use crate::modules::{AuxiliaryV3, Bn, BnReduction, Pooling};
use crate::notation::Pad;
use crate::step::{Series, Step};

pub(super) const BN_INCEPTION: Architecture = Architecture {
    name: "bn-inception",
    input: (224, 224, 3),
    dialects: &[Dialect::Paper, Dialect::TfSlim],
    conventions,
    layers,
};

fn conventions(dialect: Dialect) -> Conventions {
    let slim = Conventions {
        classes: 1001,
        batch_norm: Some(dialect::SLIM),
        init: Init::He,
        classifier_init: Some(Init::Truncated(0.01)),
        count_padding: false,
        auxiliary: None,
        dropout: 0.2,
        preprocessing: dialect::slim,
    };
    if dialect == Dialect::TfSlim {
        return slim;
    }
    Conventions {
        classes: 1000,
        batch_norm: Some(BatchNorm { scale: true, ..dialect::SLIM }),
        auxiliary: Some(0.4),
        dropout: 0.0,
        ..slim
    }
}

fn layers(plan: &Plan) -> Series {
    let mut layers = vec![
        //                                                                       224×224×3
        Step::SeparableConv(SeparableConv {
            name: "conv1".into(),
            kernel: 7.into(),
            stride: 2.into(),
            padding: Pad::Same,
            multiplier: 8,
            channels: plan.width(64),
            // TF-slim's argument scopes leave separable convolutions out.
            batch_norm: (plan.dialect == Dialect::TfSlim).then_some(false),
            init: Some(Init::Truncated(1.0)),
        }), //                                                                   112×112×64
        max_pool("pool1", 3).stride(2).into(), //                                 56×56×64
        conv("conv2_reduce", 1, plan.width(64)).into(), //                        56×56×64
        conv("conv2", 3, plan.width(192)).into(), //                              56×56×192
        max_pool("pool2", 3).stride(2).into(), //                                 28×28×192
        module(plan, "inception_3a", 64, (64, 64), (64, 96), 32), //              28×28×256
        module(plan, "inception_3b", 64, (64, 96), (64, 96), 64), //              28×28×320
        reduction(plan, "inception_3c", (128, 160), (64, 96)), //                 14×14×576
        module(plan, "inception_4a", 224, (64, 96), (96, 128), 128), //           14×14×576
        module(plan, "inception_4b", 192, (96, 128), (96, 128), 128), //          14×14×576
        module(plan, "inception_4c", 160, (128, 160), (128, 160), 96), //         14×14×576
        module(plan, "inception_4d", 96, (128, 192), (160, 192), 96), //          14×14×576
    ];
    if let Some(loss_weight) = plan.conventions.auxiliary {
        layers.push(Step::AuxiliaryV3(AuxiliaryV3 {
            name: "aux".into(),
            loss_weight,
            conv: plan.width(128),
            features: plan.width(768),
            batch_norm: true,
        }));
    }
    layers.extend([
        reduction(plan, "inception_4e", (128, 192), (192, 256)), //               7×7×1024
        module(plan, "inception_5a", 352, (192, 320), (160, 224), 128), //        7×7×1024
        Step::Bn(Bn {
            name: "inception_5b".into(),
            conv1x1: plan.width(352),
            conv3x3: plan.pair((192, 320)),
            double3x3: plan.pair((192, 224)),
            pool_proj: plan.width(128),
            pooling: Pooling::Max,
        }), //                                                                    7×7×1024
        Step::GlobalAvgPool(GlobalAvgPool { name: "pool5".into() }), //           1×1×1024
    ]);
    if plan.conventions.dropout > 0.0 {
        let rate = plan.conventions.dropout;
        layers.push(Step::Dropout(Dropout { name: "dropout".into(), rate }));
    }
    let init = plan.conventions.classifier_init;
    layers.push(Step::Classifier(Classifier { name: "fc".into(), init }));
    layers
}

/// A row of the table: #1×1, (#3×3 reduce, #3×3), (double #3×3 reduce, double #3×3), avg + proj.
fn module(
    plan: &Plan,
    name: &str,
    conv1x1: usize,
    conv3x3: (usize, usize),
    double3x3: (usize, usize),
    pool_proj: usize,
) -> Step {
    Step::Bn(Bn {
        name: name.into(),
        conv1x1: plan.width(conv1x1),
        conv3x3: plan.pair(conv3x3),
        double3x3: plan.pair(double3x3),
        pool_proj: plan.width(pool_proj),
        pooling: Pooling::Average,
    })
}

/// A row with stride 2, max pool + pass through.
fn reduction(plan: &Plan, name: &str, conv3x3: (usize, usize), double3x3: (usize, usize)) -> Step {
    Step::BnReduction(BnReduction {
        name: name.into(),
        conv3x3: plan.pair(conv3x3),
        double3x3: plan.pair(double3x3),
    })
}
