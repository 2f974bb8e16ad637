//! Inception v3 as printed: table 1 of the paper with the BN-auxiliary head.
//!
//! Szegedy, Vanhoucke, Ioffe, Shlens, Wojna 2015, *Rethinking the Inception architecture for
//! computer vision* (arXiv 1512.00567), table 1, figures 5 to 8 and 10. The released network is
//! another one: `inception-v3`.
//!
//! The table gives each stage's output but no widths within the modules. Those here are the
//! released network's wherever it has the same module: figure 5 with the widths of `Mixed_5c`
//! (its single 3×3 in the place of the 5×5), figure 6 five times with inner widths rising from
//! 128 to 192, figure 7 as `Mixed_7c`, and figure 10 between the stages.
//!
//! With them the network has 6.35·10⁹ multiply–adds (`inception-v2` 5.94·10⁹), where the paper's
//! table 3 says 4.8 and 3.8. The difference is not in those free widths alone: rows the table does
//! fix differ too (factorising the 7×7 adds 0.41·10⁹ and not the 1.0·10⁹ of table 3), and the
//! released network, narrower than the table, has 5.71·10⁹.

use super::dialect::{self, Conventions, Dialect};
use super::{Architecture, Plan};
use crate::graph::{BatchNorm, Init};
use crate::layers::{Classifier, GlobalAvgPool, conv, max_pool};
use crate::modules::{A, AuxiliaryV3, B, C, D, E, Pooling};
use crate::notation::Pad;
use crate::step::{Series, Step};

pub(super) const INCEPTION_V3_PAPER: Architecture = Architecture {
    name: "inception-v3-paper",
    input: (299, 299, 3),
    dialects: &[Dialect::Paper],
    conventions,
    layers,
};

pub(super) fn conventions(_: Dialect) -> Conventions {
    Conventions {
        classes: 1000,
        batch_norm: Some(BatchNorm { scale: true, ..dialect::SLIM }),
        init: Init::He,
        classifier_init: Some(Init::Truncated(0.01)),
        count_padding: false,
        auxiliary: Some(0.4),
        dropout: 0.0,
        preprocessing: dialect::slim,
    }
}

fn layers(plan: &Plan) -> Series {
    let w = |width| plan.width(width);
    let stem = vec![
        //                                                                  299×299×3
        conv("conv1", 3, w(32)).stride(2).valid().into(), //                149×149×32
        conv("conv2", 3, w(32)).valid().into(),           //                          147×147×32
        conv("conv3", 3, w(64)).into(), //                                  147×147×64
    ];
    after_stem(plan, stem, true)
}

/// Table 1 below its first three rows, which `stem` holds; whether the auxiliary head's fully
/// connected layer is batch normalised.
pub(super) fn after_stem(plan: &Plan, stem: Series, auxiliary_norm: bool) -> Series {
    let w = |width| plan.width(width);
    let mut layers = stem;
    layers.extend([
        //                                                                  147×147×64
        max_pool("pool", 3).stride(2).valid().into(), //                     73×73×64
        conv("conv4", 3, w(80)).valid().into(),       //                           71×71×80
        conv("conv5", 3, w(192)).stride(2).valid().into(), //                35×35×192
        conv("conv6", 3, w(288)).into(),              //                                  35×35×288
        a(plan, "inception_5a"), //                                          35×35×288
        a(plan, "inception_5b"), //                                          35×35×288
        a(plan, "inception_5c"), //                                          35×35×288
        Step::D(D {
            name: "reduction_5".into(),
            conv3x3: w(384),
            double3x3: plan.pair((64, 96)),
            padding: Pad::Valid,
        }), //                                                               17×17×768
        b(plan, "inception_6a", 128), //                                     17×17×768
        b(plan, "inception_6b", 160), //                                     17×17×768
        b(plan, "inception_6c", 160), //                                     17×17×768
        b(plan, "inception_6d", 160), //                                     17×17×768
        b(plan, "inception_6e", 192), //                                     17×17×768
    ]);
    layers.extend(plan.conventions.auxiliary.map(|loss_weight| {
        Step::AuxiliaryV3(AuxiliaryV3 {
            name: "aux".into(),
            loss_weight,
            conv: w(128),
            features: w(1024), // figure 8
            batch_norm: auxiliary_norm,
        })
    }));
    layers.extend([
        Step::E(E {
            name: "reduction_6".into(),
            conv3x3: plan.pair((192, 320)),
            nxn3x3: plan.pair((192, 192)),
            n: 7,
            padding: Pad::Valid,
        }), //                                                                8×8×1280
        c(plan, "inception_7a"), //                                           8×8×2048
        c(plan, "inception_7b"), //                                           8×8×2048
        Step::GlobalAvgPool(GlobalAvgPool { name: "pool8".into() }), //       1×1×2048
        Step::Classifier(Classifier { name: "fc".into(), init: plan.conventions.classifier_init }),
    ]);
    layers
}

fn a(plan: &Plan, name: &str) -> Step {
    Step::A(A {
        name: name.into(),
        conv1x1: plan.width(64),
        conv3x3: Some(plan.pair((48, 64))),
        conv5x5: None,
        double3x3: plan.pair((64, 96)),
        pool: plan.width(64),
    })
}

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

fn c(plan: &Plan, name: &str) -> Step {
    Step::C(C {
        name: name.into(),
        conv1x1: plan.width(320),
        conv3x3: plan.pair((384, 384)),
        double3x3: plan.pair((448, 384)),
        pool: plan.width(192),
        pooling: Pooling::Average,
    })
}
