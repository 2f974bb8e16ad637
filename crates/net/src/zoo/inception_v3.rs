//! Inception v3 as released by Google and carried by TF-slim, torchvision and Keras.
//!
//! Szegedy, Vanhoucke, Ioffe, Shlens, Wojna 2015, *Rethinking the Inception architecture for
//! computer vision* (arXiv 1512.00567); layer names and widths: torchvision's
//! `models/inception.py`, TF-slim's `inception_v3.py`. It is not the paper's table 1 (that is
//! `inception-v3-paper`): the stem goes 64 → 80 → 192 and pools, the 35×35 modules keep a true
//! 5×5, there are four 17×17 modules with widths from 128 to 192.
//!
//! Dialects: torchvision counts padding in average pools and learns γ; TF-slim and Keras do
//! neither; the FID graph of 2015 has a max pool in its last module. Keras and FID have no
//! auxiliary head and no dropout.

use super::dialect::{self, Conventions, Dialect};
use super::{Architecture, Plan};
use crate::graph::Init;
use crate::layers::{Classifier, Dropout, GlobalAvgPool, conv, max_pool};
use crate::modules::{A, AuxiliaryV3, B, C, D, E, Pooling};
use crate::notation::Pad;
use crate::step::{Series, Step};

pub(super) const INCEPTION_V3: Architecture = Architecture {
    name: "inception-v3",
    input: (299, 299, 3),
    dialects: &[Dialect::Torchvision, Dialect::TfSlim, Dialect::Keras, Dialect::Fid2015],
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
        auxiliary: Some(0.4),
        dropout: 0.2,
        preprocessing: dialect::slim,
    };
    let bare = Conventions { auxiliary: None, dropout: 0.0, ..slim };
    match dialect {
        Dialect::Keras => Conventions { classes: 1000, preprocessing: dialect::keras, ..bare },
        Dialect::Fid2015 => Conventions {
            classes: 1008,
            // Published conversions of the graph carry γ, all ones.
            batch_norm: Some(dialect::TORCHVISION),
            preprocessing: dialect::fid,
            ..bare
        },
        Dialect::Torchvision => Conventions {
            classes: 1000,
            batch_norm: Some(dialect::TORCHVISION),
            init: Init::Truncated(0.1),
            classifier_init: None,
            count_padding: true,
            dropout: 0.5,
            preprocessing: dialect::torchvision_v3,
            ..slim
        },
        Dialect::TfSlim | Dialect::Paper => slim,
    }
}

fn layers(plan: &Plan) -> Series {
    let w = |width| plan.width(width);
    let mut layers: Series = vec![
        //                                                                       299×299×3
        conv("Conv2d_1a_3x3", 3, w(32)).stride(2).valid().into(), //             149×149×32
        conv("Conv2d_2a_3x3", 3, w(32)).valid().into(),           //             147×147×32
        conv("Conv2d_2b_3x3", 3, w(64)).into(),                   //             147×147×64
        max_pool("maxpool1", 3).stride(2).valid().into(),         //              73×73×64
        conv("Conv2d_3b_1x1", 1, w(80)).valid().into(),           //              73×73×80
        conv("Conv2d_4a_3x3", 3, w(192)).valid().into(),          //              71×71×192
        max_pool("maxpool2", 3).stride(2).valid().into(),         //              35×35×192
        a(plan, "Mixed_5b", 32),                                  //              35×35×256
        a(plan, "Mixed_5c", 64),                                  //              35×35×288
        a(plan, "Mixed_5d", 64),                                  //              35×35×288
        Step::D(D {
            name: "Mixed_6a".into(),
            conv3x3: w(384),
            double3x3: plan.pair((64, 96)),
            padding: Pad::Valid,
        }), //                                                                    17×17×768
        b(plan, "Mixed_6b", 128),                                 //              17×17×768
        b(plan, "Mixed_6c", 160),                                 //              17×17×768
        b(plan, "Mixed_6d", 160),                                 //              17×17×768
        b(plan, "Mixed_6e", 192),                                 //              17×17×768
    ];
    if let Some(loss_weight) = plan.conventions.auxiliary {
        layers.push(Step::AuxiliaryV3(AuxiliaryV3 {
            name: "AuxLogits".into(),
            loss_weight,
            conv: w(128),
            features: w(768),
            batch_norm: true,
        }));
    }
    let last_pool = if plan.dialect == Dialect::Fid2015 { Pooling::Max } else { Pooling::Average };
    layers.extend([
        Step::E(E {
            name: "Mixed_7a".into(),
            conv3x3: plan.pair((192, 320)),
            nxn3x3: plan.pair((192, 192)),
            n: 7,
            padding: Pad::Valid,
        }), //                                                                      8×8×1280
        c(plan, "Mixed_7b", Pooling::Average), //                                   8×8×2048
        c(plan, "Mixed_7c", last_pool),        //                                   8×8×2048
        Step::GlobalAvgPool(GlobalAvgPool { name: "avgpool".into() }), //           1×1×2048
    ]);
    if plan.conventions.dropout > 0.0 {
        let rate = plan.conventions.dropout;
        layers.push(Step::Dropout(Dropout { name: "dropout".into(), rate }));
    }
    let init = plan.conventions.classifier_init;
    layers.push(Step::Classifier(Classifier { name: "fc".into(), init }));
    layers
}

/// A module of the 35×35 grid: 64 + 64 + 96 + `pool` channels.
fn a(plan: &Plan, name: &str, pool: usize) -> Step {
    Step::A(A {
        name: name.into(),
        conv1x1: plan.width(64),
        conv3x3: None,
        conv5x5: Some(plan.pair((48, 64))),
        double3x3: plan.pair((64, 96)),
        pool: plan.width(pool),
    })
}

/// A module of the 17×17 grid: 4 · 192 channels, `inner` within the branches.
fn b(plan: &Plan, name: &str, inner: usize) -> Step {
    Step::B(B {
        name: name.into(),
        conv1x1: plan.width(192),
        nxn: plan.pair((inner, 192)),
        nxndbl: plan.pair((inner, 192)),
        pool: plan.width(192),
        n: 7,
    })
}

/// A module of the 8×8 grid: 320 + 2 · 384 + 2 · 384 + 192 channels.
fn c(plan: &Plan, name: &str, pooling: Pooling) -> Step {
    Step::C(C {
        name: name.into(),
        conv1x1: plan.width(320),
        conv3x3: plan.pair((384, 384)),
        double3x3: plan.pair((448, 384)),
        pool: plan.width(192),
        pooling,
    })
}
