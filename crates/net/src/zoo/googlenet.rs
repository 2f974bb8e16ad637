//! GoogLeNet, Inception v1.
//!
//! Szegedy et al. 2014, *Going deeper with convolutions* (arXiv 1409.4842), table 1. The default
//! dialect is the paper's, as trained by BVLC in Caffe (`bvlc_googlenet`): local response
//! normalisation, biases, pools in ceil mode, two auxiliary heads of weight 0.3. TF-slim and
//! torchvision have batch norm instead, and 3×3 filters in the "5×5" branches (a slip that their
//! weights have kept: tensorflow#7130, vision#906).

use super::dialect::{self, Conventions, Dialect};
use super::{Architecture, Plan};
use crate::graph::Init;
use crate::layers::{
    Classifier, Dropout, GlobalAvgPool, LocalResponseNorm, MaxPool, conv, max_pool,
};
use crate::modules::{AuxiliaryV1, V1};
use crate::notation::Pad;
use crate::step::{Series, Step};

pub(super) const GOOGLENET: Architecture = Architecture {
    name: "googlenet",
    input: (224, 224, 3),
    dialects: &[Dialect::Paper, Dialect::Torchvision, Dialect::TfSlim],
    conventions,
    layers,
};

fn conventions(dialect: Dialect) -> Conventions {
    let paper = Conventions {
        classes: 1000,
        batch_norm: None,
        init: Init::He,
        classifier_init: Some(Init::Truncated(0.01)),
        count_padding: false,
        auxiliary: Some(0.3),
        dropout: 0.4,
        preprocessing: dialect::caffe,
    };
    match dialect {
        Dialect::Torchvision => Conventions {
            batch_norm: Some(dialect::TORCHVISION),
            init: Init::Truncated(0.01),
            classifier_init: None,
            dropout: 0.2,
            preprocessing: dialect::torchvision_v1,
            ..paper
        },
        Dialect::TfSlim => Conventions {
            classes: 1001,
            batch_norm: Some(dialect::SLIM),
            auxiliary: None,
            dropout: 0.2,
            preprocessing: dialect::slim,
            ..paper
        },
        Dialect::Paper | Dialect::Keras | Dialect::Fid2015 => paper,
    }
}

fn layers(plan: &Plan) -> Series {
    let conv1 = conv("conv1", 7, plan.width(64)).stride(2);
    let pool4 = if plan.dialect == Dialect::Paper { 3 } else { 2 };
    //                                                                               224×224×3
    let mut layers: Series = match plan.dialect {
        Dialect::TfSlim => vec![conv1.into()],
        _ => vec![conv1.padding(Pad::all(3)).into()], //                               112×112×64
    };
    layers.push(pool(plan, "pool1", 3)); //                                           56×56×64
    layers.extend(norm(plan, "norm1"));
    layers.push(conv("conv2_reduce", 1, plan.width(64)).into()); //                   56×56×64
    layers.push(conv("conv2", 3, plan.width(192)).into()); //                         56×56×192
    layers.extend(norm(plan, "norm2"));
    layers.extend([
        pool(plan, "pool2", 3), //                                                    28×28×192
        module(plan, "inception_3a", 64, (96, 128), (16, 32), 32), //                 28×28×256
        module(plan, "inception_3b", 128, (128, 192), (32, 96), 64), //               28×28×480
        pool(plan, "pool3", 3), //                                                    14×14×480
        module(plan, "inception_4a", 192, (96, 208), (16, 48), 64), //                14×14×512
    ]);
    layers.extend(auxiliary(plan, "aux1"));
    layers.extend([
        module(plan, "inception_4b", 160, (112, 224), (24, 64), 64), //               14×14×512
        module(plan, "inception_4c", 128, (128, 256), (24, 64), 64), //               14×14×512
        module(plan, "inception_4d", 112, (144, 288), (32, 64), 64), //               14×14×528
    ]);
    layers.extend(auxiliary(plan, "aux2"));
    layers.extend([
        module(plan, "inception_4e", 256, (160, 320), (32, 128), 128), //             14×14×832
        pool(plan, "pool4", pool4), //                                                  7×7×832
        module(plan, "inception_5a", 256, (160, 320), (32, 128), 128), //               7×7×832
        module(plan, "inception_5b", 384, (192, 384), (48, 128), 128), //               7×7×1024
        Step::GlobalAvgPool(GlobalAvgPool { name: "pool5".into() }), //                 1×1×1024
        Step::Dropout(Dropout { name: "dropout".into(), rate: plan.conventions.dropout }),
        Step::Classifier(Classifier { name: "fc".into(), init: plan.conventions.classifier_init }),
    ]);
    layers
}

/// A row of the table: #1×1, (#3×3 reduce, #3×3), (#5×5 reduce, #5×5), pool proj.
fn module(
    plan: &Plan,
    name: &str,
    conv1x1: usize,
    conv3x3: (usize, usize),
    conv5x5: (usize, usize),
    pool_proj: usize,
) -> Step {
    Step::V1(V1 {
        name: name.into(),
        conv1x1: plan.width(conv1x1),
        conv3x3: plan.pair(conv3x3),
        conv5x5: plan.pair(conv5x5),
        pool_proj: plan.width(pool_proj),
        kernel5x5: if plan.dialect == Dialect::Paper { 5 } else { 3 },
    })
}

/// A max pool with stride 2: "same" in TF-slim, ceil mode elsewhere.
fn pool(plan: &Plan, name: &str, kernel: usize) -> Step {
    let pool: MaxPool = max_pool(name, kernel).stride(2);
    if plan.dialect == Dialect::TfSlim { pool.into() } else { pool.ceil().into() }
}

/// Local response normalisation where there is no batch norm.
fn norm(plan: &Plan, name: &str) -> Option<Step> {
    plan.conventions.batch_norm.is_none().then(|| {
        Step::LocalResponseNorm(LocalResponseNorm {
            name: name.into(),
            size: 5,
            alpha: 1e-4,
            beta: 0.75,
            k: 1.0,
        })
    })
}

/// An auxiliary head where the dialect has them.
fn auxiliary(plan: &Plan, name: &str) -> Option<Step> {
    plan.conventions.auxiliary.map(|loss_weight| {
        Step::AuxiliaryV1(AuxiliaryV1 {
            name: name.into(),
            loss_weight,
            conv: plan.width(128),
            features: plan.width(1024),
            dropout: 0.7,
            adaptive: plan.dialect == Dialect::Torchvision,
        })
    })
}
