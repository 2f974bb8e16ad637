//! The single layers that a network is written in.

use serde::{Deserialize, Serialize};

use crate::graph::Init;
use crate::notation::{Pad, Size};
use crate::step::Series;

/// Convolution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv {
    /// Name.
    pub name: String,
    /// Height and width of the filters.
    pub kernel: Size,
    /// Step of the windows.
    #[serde(default, skip_serializing_if = "Size::is_one")]
    pub stride: Size,
    /// Zeros around the input.
    #[serde(default, skip_serializing_if = "Pad::is_same")]
    pub padding: Pad,
    /// Output channels.
    pub channels: usize,
    /// Whether batch norm follows; the network's default unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_norm: Option<bool>,
    /// Whether a bias is added; unless set, where no batch norm follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bias: Option<bool>,
    /// Whether ReLU ends the layer.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub relu: bool,
    /// Initial weights; the network's default unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<Init>,
    /// Whether a kernel larger than the grid is cut to it (TF-slim's "reduced kernel size").
    #[serde(default, skip_serializing_if = "is_no")]
    pub shrink: bool,
}

/// Depthwise-separable convolution: each channel by `multiplier` filters of its own, then a 1×1
/// convolution; batch norm or bias and ReLU once, at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeparableConv {
    /// Name of the 1×1 convolution; the depthwise one is called `NAME.depthwise`.
    pub name: String,
    /// Height and width of the depthwise filters.
    pub kernel: Size,
    /// Step of the windows.
    #[serde(default, skip_serializing_if = "Size::is_one")]
    pub stride: Size,
    /// Zeros around the input.
    #[serde(default, skip_serializing_if = "Pad::is_same")]
    pub padding: Pad,
    /// Filters per input channel.
    pub multiplier: usize,
    /// Output channels.
    pub channels: usize,
    /// Whether batch norm follows; the network's default unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_norm: Option<bool>,
    /// Initial weights of the depthwise filters; the network's default unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<Init>,
}

/// Max pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxPool {
    /// Name.
    pub name: String,
    /// Height and width of the windows.
    pub kernel: Size,
    /// Step of the windows.
    #[serde(default, skip_serializing_if = "Size::is_one")]
    pub stride: Size,
    /// Positions around the input; they never win.
    #[serde(default, skip_serializing_if = "Pad::is_same")]
    pub padding: Pad,
    /// Whether a last window that reaches beyond the edge still counts (Caffe's way).
    #[serde(default, skip_serializing_if = "is_no")]
    pub ceil: bool,
}

/// Average pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AvgPool {
    /// Name.
    pub name: String,
    /// Height and width of the windows.
    pub kernel: Size,
    /// Step of the windows.
    #[serde(default, skip_serializing_if = "Size::is_one")]
    pub stride: Size,
    /// Zeros around the input.
    #[serde(default, skip_serializing_if = "Pad::is_same")]
    pub padding: Pad,
    /// Whether a last window that reaches beyond the edge still counts (Caffe's way).
    #[serde(default, skip_serializing_if = "is_no")]
    pub ceil: bool,
    /// Whether padding counts in the divisor; the network's default unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count_padding: Option<bool>,
    /// Whether a kernel larger than the grid is cut to it (TF-slim's "reduced kernel size").
    #[serde(default, skip_serializing_if = "is_no")]
    pub shrink: bool,
}

/// Mean over the whole grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalAvgPool {
    /// Name.
    pub name: String,
}

/// Mean over `size` windows that cover the grid: window `i` of `n` on an axis of length `l` is
/// `floor(i l / n) .. ceil((i + 1) l / n)`, as in PyTorch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdaptiveAvgPool {
    /// Name.
    pub name: String,
    /// Height and width of the output.
    pub size: Size,
}

/// Local response normalisation; see [`crate::graph::Op::LocalResponseNorm`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalResponseNorm {
    /// Name.
    pub name: String,
    /// Channels in the window, odd.
    pub size: usize,
    /// Factor, divided by `size`.
    pub alpha: f32,
    /// Exponent.
    pub beta: f32,
    /// Constant.
    pub k: f32,
}

/// Dropout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// Name.
    pub name: String,
    /// Share of values zeroed in training, at least 0 and below 1.
    pub rate: f32,
}

/// Fully connected layer over the flattened input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Name.
    pub name: String,
    /// Outputs.
    pub features: usize,
    /// Whether batch norm follows; not unless set.
    #[serde(default, skip_serializing_if = "is_no")]
    pub batch_norm: bool,
    /// Whether a bias is added; unless set, where no batch norm follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bias: Option<bool>,
    /// Whether ReLU ends the layer.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub relu: bool,
    /// Initial weights; the network's default unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<Init>,
}

/// The linear layer that ends a head: as many outputs as classes, a bias, no activation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Classifier {
    /// Name.
    pub name: String,
    /// Initial weights; the network's default unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<Init>,
}

/// A module of one's own. All branches read the same tensor; their outputs are concatenated. An
/// empty branch passes its input through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Branches {
    /// Name.
    pub name: String,
    /// Each a series of steps.
    pub branches: Vec<Series>,
}

/// An auxiliary head of one's own: reads the current tensor, changes nothing on the main path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auxiliary {
    /// Name of the head.
    pub name: String,
    /// Factor of its loss in training.
    pub loss_weight: f32,
    /// Its steps; the last is a classifier.
    pub layers: Series,
}

/// A convolution padded "same" with stride 1; the start of all others.
pub fn conv(name: impl Into<String>, kernel: impl Into<Size>, channels: usize) -> Conv {
    Conv {
        name: name.into(),
        kernel: kernel.into(),
        stride: 1.into(),
        padding: Pad::Same,
        channels,
        batch_norm: None,
        bias: None,
        relu: true,
        init: None,
        shrink: false,
    }
}

/// A max pool padded "same" with stride 1; the start of all others.
pub fn max_pool(name: impl Into<String>, kernel: impl Into<Size>) -> MaxPool {
    MaxPool {
        name: name.into(),
        kernel: kernel.into(),
        stride: 1.into(),
        padding: Pad::Same,
        ceil: false,
    }
}

impl Conv {
    /// With this stride.
    pub fn stride(self, stride: usize) -> Self {
        Self { stride: stride.into(), ..self }
    }

    /// Without padding.
    pub fn valid(self) -> Self {
        Self { padding: Pad::Valid, ..self }
    }

    /// With this padding.
    pub fn padding(self, padding: Pad) -> Self {
        Self { padding, ..self }
    }
}

impl MaxPool {
    /// With this stride.
    pub fn stride(self, stride: usize) -> Self {
        Self { stride: stride.into(), ..self }
    }

    /// Without padding.
    pub fn valid(self) -> Self {
        Self { padding: Pad::Valid, ..self }
    }

    /// With this padding.
    pub fn padding(self, padding: Pad) -> Self {
        Self { padding, ..self }
    }

    /// Without padding, a last window beyond the edge counts.
    pub fn ceil(self) -> Self {
        Self { padding: Pad::Valid, ceil: true, ..self }
    }
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

fn is_no(value: &bool) -> bool {
    !*value
}
