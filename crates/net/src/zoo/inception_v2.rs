//! Inception v2: table 1 of the v3 paper before two of v3's changes.
//!
//! Szegedy, Vanhoucke, Ioffe, Shlens, Wojna 2015, *Rethinking the Inception architecture for
//! computer vision* (arXiv 1512.00567), table 3: "Inception-v2" is the network of table 1 with the
//! 7×7 stem not yet factorised into three 3×3, and without batch norm on the fully connected layer
//! of its auxiliary head. (TF-slim calls BN-Inception `inception_v2`; that is `bn-inception`.)

use super::inception_v3_paper::{after_stem, conventions};
use super::{Architecture, Dialect, Plan};
use crate::layers::conv;
use crate::step::Series;

pub(super) const INCEPTION_V2: Architecture = Architecture {
    name: "inception-v2",
    input: (299, 299, 3),
    dialects: &[Dialect::Paper],
    conventions,
    layers,
};

fn layers(plan: &Plan) -> Series {
    //                                                                       299×299×3
    let stem = vec![conv("conv1", 7, plan.width(64)).stride(2).valid().into()]; // 147×147×64
    after_stem(plan, stem, false)
}
