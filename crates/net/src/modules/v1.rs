//! Modules of GoogLeNet (v1) and BN-Inception. Layer names follow Caffe's networks.

use serde::{Deserialize, Serialize};

use super::{Pooling, is_average, is_no, pool, side_pool};
use crate::layers::{AdaptiveAvgPool, Classifier, Dropout, Linear, conv, max_pool};
use crate::step::{Series, Step};

/// Naive v1 module: convolutions and pool side by side. Fields are output channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct V1Naive {
    /// Name.
    pub name: String,
    /// #1×1.
    #[serde(rename = "1x1")]
    pub conv1x1: usize,
    /// #3×3.
    #[serde(rename = "3x3")]
    pub conv3x3: usize,
    /// #5×5.
    #[serde(rename = "5x5")]
    pub conv5x5: usize,
}

/// 1409.4842, figure 2(a), "Inception module, naïve version": 1×1, 3×3 and 5×5 convolutions and a
/// 3×3 max pool side by side on the same input.
pub fn v1_naive(m: &V1Naive) -> Vec<Series> {
    vec![
        vec![conv("1x1", 1, m.conv1x1).into()],
        vec![conv("3x3", 3, m.conv3x3).into()],
        vec![conv("5x5", 5, m.conv5x5).into()],
        vec![max_pool("pool", 3).into()],
    ]
}

/// v1 module with dimension reduction. Fields are output channels; pairs are (reduction, then
/// convolution).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct V1 {
    /// Name.
    pub name: String,
    /// #1×1.
    #[serde(rename = "1x1")]
    pub conv1x1: usize,
    /// #3×3 reduce, #3×3.
    #[serde(rename = "3x3")]
    pub conv3x3: (usize, usize),
    /// #5×5 reduce, #5×5.
    #[serde(rename = "5x5")]
    pub conv5x5: (usize, usize),
    /// Pool proj.
    pub pool_proj: usize,
    /// Size of the "5×5" filters: TF-slim's and torchvision's are 3×3.
    #[serde(default = "five", skip_serializing_if = "is_five")]
    pub kernel5x5: usize,
}

/// 1409.4842, figure 2(b), "Inception module with dimensionality reduction": 1×1 convolutions
/// before the 3×3 and the 5×5, and after the max pool.
pub fn v1(m: &V1) -> Vec<Series> {
    vec![
        vec![conv("1x1", 1, m.conv1x1).into()],
        vec![conv("3x3_reduce", 1, m.conv3x3.0).into(), conv("3x3", 3, m.conv3x3.1).into()],
        vec![
            conv("5x5_reduce", 1, m.conv5x5.0).into(),
            conv("5x5", m.kernel5x5, m.conv5x5.1).into(),
        ],
        vec![max_pool("pool", 3).into(), conv("pool_proj", 1, m.pool_proj).into()],
    ]
}

/// BN-Inception's module. Fields are output channels; pairs are (reduction, then convolutions).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bn {
    /// Name.
    pub name: String,
    /// #1×1.
    #[serde(rename = "1x1")]
    pub conv1x1: usize,
    /// #3×3 reduce, #3×3.
    #[serde(rename = "3x3")]
    pub conv3x3: (usize, usize),
    /// Double #3×3 reduce, double #3×3.
    #[serde(rename = "3x3dbl")]
    pub double3x3: (usize, usize),
    /// Channels after the pool.
    pub pool_proj: usize,
    /// Kind of pool.
    #[serde(default, skip_serializing_if = "is_average")]
    pub pooling: Pooling,
}

/// 1502.03167, figure 5 (the table of the network) and appendix: v1's module with the 5×5
/// replaced by two 3×3, an average or max pool.
pub fn bn(m: &Bn) -> Vec<Series> {
    vec![
        vec![conv("1x1", 1, m.conv1x1).into()],
        vec![conv("3x3_reduce", 1, m.conv3x3.0).into(), conv("3x3", 3, m.conv3x3.1).into()],
        vec![
            conv("double_3x3_reduce", 1, m.double3x3.0).into(),
            conv("double_3x3_1", 3, m.double3x3.1).into(),
            conv("double_3x3_2", 3, m.double3x3.1).into(),
        ],
        vec![pool("pool", m.pooling), conv("pool_proj", 1, m.pool_proj).into()],
    ]
}

/// BN-Inception's module with stride 2: no 1×1 branch, the max pool passes through. Pairs are
/// (reduction, then convolutions).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BnReduction {
    /// Name.
    pub name: String,
    /// #3×3 reduce, #3×3.
    #[serde(rename = "3x3")]
    pub conv3x3: (usize, usize),
    /// Double #3×3 reduce, double #3×3.
    #[serde(rename = "3x3dbl")]
    pub double3x3: (usize, usize),
}

/// 1502.03167, figure 5, rows 3c and 4e: stride 2 at the end of both convolution branches, no
/// 1×1 branch, and the max pool ("pass through") without projection.
pub fn bn_reduction(m: &BnReduction) -> Vec<Series> {
    vec![
        vec![
            conv("3x3_reduce", 1, m.conv3x3.0).into(),
            conv("3x3", 3, m.conv3x3.1).stride(2).into(),
        ],
        vec![
            conv("double_3x3_reduce", 1, m.double3x3.0).into(),
            conv("double_3x3_1", 3, m.double3x3.1).into(),
            conv("double_3x3_2", 3, m.double3x3.1).stride(2).into(),
        ],
        vec![max_pool("pool", 3).stride(2).into()],
    ]
}

/// Auxiliary head of v1: pool, 1×1, two linear layers with dropout between.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuxiliaryV1 {
    /// Name of the head.
    pub name: String,
    /// Factor of its loss in training.
    pub loss_weight: f32,
    /// Channels of the 1×1 convolution: 128 in the paper.
    pub conv: usize,
    /// Outputs of the first linear layer: 1024 in the paper.
    pub features: usize,
    /// Dropout between the linear layers: 0.7 in the paper.
    pub dropout: f32,
    /// Whether the pool makes a 4×4 grid of any (torchvision), instead of windows of 5×5 at
    /// stride 3.
    #[serde(default, skip_serializing_if = "is_no")]
    pub adaptive: bool,
}

/// 1409.4842, §5: average pool 5×5 with stride 3, 1×1 convolution, linear, dropout, classifier.
/// On grids below 5×5 the pool takes the whole grid. torchvision's pool makes a 4×4 grid of any.
pub fn auxiliary_v1(head: &AuxiliaryV1) -> Series {
    let pool = if head.adaptive {
        Step::AdaptiveAvgPool(AdaptiveAvgPool { name: "pool".into(), size: 4.into() })
    } else {
        side_pool(true)
    };
    vec![
        pool,
        conv("conv", 1, head.conv).into(),
        Step::Linear(Linear {
            name: "fc1".into(),
            features: head.features,
            batch_norm: false,
            bias: None,
            relu: true,
            init: None,
        }),
        Step::Dropout(Dropout { name: "dropout".into(), rate: head.dropout }),
        Step::Classifier(Classifier { name: "fc2".into(), init: None }),
    ]
}

fn five() -> usize {
    5
}

fn is_five(value: &usize) -> bool {
    *value == 5
}
