//! Modules of Inception v3 (1512.00567). Layer names follow torchvision's network.

use serde::{Deserialize, Serialize};

use super::{Pooling, is_average, pool, side_pool};
use crate::graph::Init;
use crate::layers::{Branches, Classifier, Conv, GlobalAvgPool, conv, max_pool};
use crate::notation::Pad;
use crate::step::{Series, Step};

/// v3's module A. Fields are output channels; pairs are (reduction, then convolutions). It has
/// either a 3×3 branch (the paper's figure 5) or a 5×5 branch (the released networks).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct A {
    /// Name.
    pub name: String,
    /// 1×1 branch.
    #[serde(rename = "1x1")]
    pub conv1x1: usize,
    /// 3×3 branch.
    #[serde(rename = "3x3", default, skip_serializing_if = "Option::is_none")]
    pub conv3x3: Option<(usize, usize)>,
    /// 5×5 branch.
    #[serde(rename = "5x5", default, skip_serializing_if = "Option::is_none")]
    pub conv5x5: Option<(usize, usize)>,
    /// Branch of two 3×3 in series, which stands for v1's 5×5.
    #[serde(rename = "3x3dbl")]
    pub double3x3: (usize, usize),
    /// Channels after the pool.
    pub pool: usize,
}

/// 1512.00567, figure 5: v1's module with the 5×5 replaced by two 3×3. The networks released
/// under the name Inception v3 have a true 5×5 in place of the single 3×3.
pub fn a(m: &A) -> Vec<Series> {
    let mut branches = vec![vec![conv("branch1x1", 1, m.conv1x1).into()]];
    branches.extend(m.conv3x3.map(|(reduce, width)| {
        vec![conv("branch3x3_1", 1, reduce).into(), conv("branch3x3_2", 3, width).into()]
    }));
    branches.extend(m.conv5x5.map(|(reduce, width)| {
        vec![conv("branch5x5_1", 1, reduce).into(), conv("branch5x5_2", 5, width).into()]
    }));
    branches.push(vec![
        conv("branch3x3dbl_1", 1, m.double3x3.0).into(),
        conv("branch3x3dbl_2", 3, m.double3x3.1).into(),
        conv("branch3x3dbl_3", 3, m.double3x3.1).into(),
    ]);
    branches.push(vec![pool("pool", Pooling::Average), conv("branch_pool", 1, m.pool).into()]);
    branches
}

/// v3's module B. Fields are output channels; pairs are (within the branch, its end).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct B {
    /// Name.
    pub name: String,
    /// 1×1 branch.
    #[serde(rename = "1x1")]
    pub conv1x1: usize,
    /// Branch with one n×n convolution, as 1×n and n×1.
    pub nxn: (usize, usize),
    /// Branch with two of them.
    pub nxndbl: (usize, usize),
    /// Channels after the pool.
    pub pool: usize,
    /// Length of the asymmetric filters.
    #[serde(default = "seven", skip_serializing_if = "is_seven")]
    pub n: usize,
}

/// 1512.00567, figure 6: n×n convolutions as 1×n and n×1 in series; n = 7 on the 17×17 grid.
pub fn b(m: &B) -> Vec<Series> {
    let (n, (inner, end)) = (m.n, m.nxn);
    let (inner_double, end_double) = m.nxndbl;
    let one = |i: usize| format!("branch{n}x{n}_{i}");
    let double = |i: usize| format!("branch{n}x{n}dbl_{i}");
    vec![
        vec![conv("branch1x1", 1, m.conv1x1).into()],
        vec![
            conv(one(1), 1, inner).into(),
            conv(one(2), (1, n), inner).into(),
            conv(one(3), (n, 1), end).into(),
        ],
        vec![
            conv(double(1), 1, inner_double).into(),
            conv(double(2), (n, 1), inner_double).into(),
            conv(double(3), (1, n), inner_double).into(),
            conv(double(4), (n, 1), inner_double).into(),
            conv(double(5), (1, n), end_double).into(),
        ],
        vec![pool("pool", Pooling::Average), conv("branch_pool", 1, m.pool).into()],
    ]
}

/// v3's module C. Fields are output channels; pairs are (within the branch, each of the two
/// filter banks at its end).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct C {
    /// Name.
    pub name: String,
    /// 1×1 branch.
    #[serde(rename = "1x1")]
    pub conv1x1: usize,
    /// Branch of 1×1, then 1×3 beside 3×1.
    #[serde(rename = "3x3")]
    pub conv3x3: (usize, usize),
    /// Branch of 1×1, 3×3, then 1×3 beside 3×1.
    #[serde(rename = "3x3dbl")]
    pub double3x3: (usize, usize),
    /// Channels after the pool.
    pub pool: usize,
    /// Kind of pool.
    #[serde(default, skip_serializing_if = "is_average")]
    pub pooling: Pooling,
}

/// 1512.00567, figure 7: filter banks expanded by 1×3 beside 3×1, on the coarsest grid.
pub fn c(m: &C) -> Vec<Series> {
    // 1×3 beside 3×1 on the same input.
    let expanded = |name: &str, width: usize| -> Step {
        Step::Branches(Branches {
            name: name.to_owned(),
            branches: vec![
                vec![conv(format!("{name}a"), (1, 3), width).into()],
                vec![conv(format!("{name}b"), (3, 1), width).into()],
            ],
        })
    };
    vec![
        vec![conv("branch1x1", 1, m.conv1x1).into()],
        vec![conv("branch3x3_1", 1, m.conv3x3.0).into(), expanded("branch3x3_2", m.conv3x3.1)],
        vec![
            conv("branch3x3dbl_1", 1, m.double3x3.0).into(),
            conv("branch3x3dbl_2", 3, m.double3x3.1).into(),
            expanded("branch3x3dbl_3", m.double3x3.1),
        ],
        vec![pool("pool", m.pooling), conv("branch_pool", 1, m.pool).into()],
    ]
}

/// v3's grid-size reduction after the modules A. The max pool passes through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct D {
    /// Name.
    pub name: String,
    /// Output channels of the 3×3 branch with stride 2.
    #[serde(rename = "3x3")]
    pub conv3x3: usize,
    /// The branch of two 3×3, the second with stride 2: reduction, both convolutions.
    #[serde(rename = "3x3dbl")]
    pub double3x3: (usize, usize),
    /// Padding of what has stride 2; "same" halves even grids.
    #[serde(default = "valid", skip_serializing_if = "is_valid")]
    pub padding: Pad,
}

/// 1512.00567, figure 10, between 35×35 and 17×17: convolutions with stride 2 beside a max pool
/// with stride 2 (`Mixed_6a` of the released networks).
pub fn d(m: &D) -> Vec<Series> {
    vec![
        vec![conv("branch3x3", 3, m.conv3x3).stride(2).padding(m.padding).into()],
        vec![
            conv("branch3x3dbl_1", 1, m.double3x3.0).into(),
            conv("branch3x3dbl_2", 3, m.double3x3.1).into(),
            conv("branch3x3dbl_3", 3, m.double3x3.1).stride(2).padding(m.padding).into(),
        ],
        vec![max_pool("pool", 3).stride(2).padding(m.padding).into()],
    ]
}

/// v3's grid-size reduction after the modules B. The max pool passes through. Pairs are
/// (within the branch, its end with stride 2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct E {
    /// Name.
    pub name: String,
    /// 1×1, then 3×3 with stride 2.
    #[serde(rename = "3x3")]
    pub conv3x3: (usize, usize),
    /// 1×1, 1×n, n×1, then 3×3 with stride 2.
    pub nxn3x3: (usize, usize),
    /// Length of the asymmetric filters.
    #[serde(default = "seven", skip_serializing_if = "is_seven")]
    pub n: usize,
    /// Padding of what has stride 2; "same" halves even grids.
    #[serde(default = "valid", skip_serializing_if = "is_valid")]
    pub padding: Pad,
}

/// 1512.00567, figure 10, between 17×17 and 8×8: as [`d`], with a 1×n and n×1 pair in the longer
/// branch (`Mixed_7a` of the released networks).
pub fn e(m: &E) -> Vec<Series> {
    let (n, (inner, end)) = (m.n, m.nxn3x3);
    let long = |i: usize| format!("branch{n}x{n}x3_{i}");
    vec![
        vec![
            conv("branch3x3_1", 1, m.conv3x3.0).into(),
            conv("branch3x3_2", 3, m.conv3x3.1).stride(2).padding(m.padding).into(),
        ],
        vec![
            conv(long(1), 1, inner).into(),
            conv(long(2), (1, n), inner).into(),
            conv(long(3), (n, 1), inner).into(),
            conv(long(4), 3, end).stride(2).padding(m.padding).into(),
        ],
        vec![max_pool("pool", 3).stride(2).padding(m.padding).into()],
    ]
}

/// Auxiliary head of v3: average pool, 1×1, a convolution over the 5×5 grid that is left, linear.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuxiliaryV3 {
    /// Name of the head.
    pub name: String,
    /// Factor of its loss in training.
    pub loss_weight: f32,
    /// Channels of the 1×1 convolution.
    pub conv: usize,
    /// Outputs of the convolution over the grid, the paper's fully connected layer.
    pub features: usize,
    /// Whether that layer is batch normalised too, the paper's "BN-auxiliary" (table 3); the
    /// 1×1 convolution always follows the network's default.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub batch_norm: bool,
}

/// 1512.00567, figure 8: average pool 5×5 with stride 3, 1×1 convolution, a convolution over the
/// 5×5 grid that is left (fully connected there), classifier. On smaller grids the pool and the
/// second convolution shrink to the grid; on larger ones a mean follows, as in torchvision.
pub fn auxiliary_v3(head: &AuxiliaryV3) -> Series {
    let whole = Conv {
        shrink: true,
        init: Some(Init::Truncated(0.01)),
        batch_norm: if head.batch_norm { None } else { Some(false) },
        ..conv("conv1", 5, head.features).valid()
    };
    vec![
        side_pool(false),
        conv("conv0", 1, head.conv).into(),
        whole.into(),
        Step::GlobalAvgPool(GlobalAvgPool { name: "avgpool".into() }),
        Step::Classifier(Classifier { name: "fc".into(), init: Some(Init::Truncated(0.001)) }),
    ]
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

fn seven() -> usize {
    7
}

fn is_seven(value: &usize) -> bool {
    *value == 7
}

fn valid() -> Pad {
    Pad::Valid
}

fn is_valid(value: &Pad) -> bool {
    *value == Pad::Valid
}
