//! The network unrolled: every layer with its inputs, its shape and explicit numbers.
//!
//! A [`Net`](crate::Net) is what a person writes; the [`Graph`] is the one reading of it that all
//! others start from: parameters, cost, summary, drawing, the engine's plan. Nothing in it is
//! left to be worked out: paddings are numbers, pooling windows are lists, a global pool is a
//! pool over its grid.

use serde::{Deserialize, Serialize};

use crate::notation::WrittenInit;

/// Channels, height and width of one picture's tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Feature maps.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Shape {
    /// Values of one picture.
    pub fn len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether the tensor holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A layer's place in [`Graph::layers`].
pub type LayerId = usize;

/// A network's layers in an order in which every layer comes after its inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// Layer 0 is [`Op::Input`].
    pub layers: Vec<Layer>,
    /// Where the logits come out: the main head last, auxiliary heads before it.
    pub heads: Vec<Head>,
}

impl Graph {
    /// The layer whose output are the main head's logits; the last layer without heads.
    pub fn main_logits(&self) -> LayerId {
        self.heads.last().map_or(self.layers.len() - 1, |head| head.logits)
    }
}

/// One operation with its inputs and its output's shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Unique; the module's name and the layer's own, as in `Mixed_6b.branch7x7_2`.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// The layers it reads; [`Op::Concat`] has several, [`Op::Input`] none, all others one.
    pub inputs: Vec<LayerId>,
    /// Shape of the output.
    pub shape: Shape,
}

/// A classifier's end.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// `main`, or the auxiliary classifier's name.
    pub name: String,
    /// The layer whose output are the logits (before softmax).
    pub logits: LayerId,
    /// Factor of this head's loss in training: 1 for the main head.
    pub loss_weight: f32,
}

/// What a layer computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The picture, preprocessed.
    Input,
    /// Convolution, with what follows it at once.
    Conv(Conv),
    /// Convolution of each channel by `multiplier` filters of its own; output channel
    /// `c * multiplier + m` reads input channel `c`. No bias, no normalisation, no activation.
    Depthwise {
        /// Filters per input channel.
        multiplier: usize,
        /// Where the filters are applied.
        window: Window,
        /// Standard deviation of the initial weights.
        init: Init,
    },
    /// Maximum over windows; padding never wins.
    MaxPool(PoolWindows),
    /// Mean over windows: the sum of the values inside the picture by the windows' divisors.
    AvgPool(PoolWindows),
    /// Local response normalisation across channels (v1 §5; Krizhevsky 2012 §3.3):
    /// `y = x / (k + alpha / size * sum of squares over size channels around it) ^ beta`.
    LocalResponseNorm {
        /// Channels in the window, odd.
        size: usize,
        /// Factor, divided by `size` as in Caffe.
        alpha: f32,
        /// Exponent.
        beta: f32,
        /// Constant.
        k: f32,
    },
    /// Channels of all inputs, one after the other.
    Concat,
    /// In training zeroes each value with probability `rate` and scales the others by
    /// `1 / (1 - rate)`; does nothing in inference.
    Dropout {
        /// Share of values zeroed.
        rate: f32,
    },
    /// Fully connected over the flattened (channel, row, column) input; output is `features`×1×1.
    Linear(Linear),
}

/// Convolution, then batch norm or bias, then activation.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Where the filters are applied.
    pub window: Window,
    /// Whether the convolution adds a bias itself (not together with batch norm).
    pub bias: bool,
    /// Normalisation of the output, before the activation.
    pub batch_norm: Option<BatchNorm>,
    /// Whether `max(0, x)` ends the layer.
    pub relu: bool,
    /// Initial weights.
    pub init: Init,
}

/// Fully connected layer, then batch norm or bias, then activation.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Whether a bias is added (not together with batch norm).
    pub bias: bool,
    /// Normalisation of the output, before the activation.
    pub batch_norm: Option<BatchNorm>,
    /// Whether `max(0, x)` ends the layer.
    pub relu: bool,
    /// Initial weights.
    pub init: Init,
}

/// Batch normalisation (1502.03167, algorithms 1 and 2) per channel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNorm {
    /// Added to the variance.
    pub epsilon: f32,
    /// Share of the old running statistic kept at each step (TF-slim's decay; PyTorch's
    /// `momentum` is one minus it).
    pub decay: f32,
    /// Whether the scale γ is learned; the shift β always is.
    pub scale: bool,
}

/// Distribution of a layer's initial weights: a normal cut at ±2 standard deviations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "WrittenInit", into = "WrittenInit")]
pub enum Init {
    /// With this standard deviation, as TF-slim and torchvision do.
    Truncated(f32),
    /// With standard deviation √(2 / fan-in) (He et al. 2015).
    He,
}

/// Kernel, stride and the rows and columns of zeros around the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Height and width.
    pub kernel: (usize, usize),
    /// Down and across.
    pub stride: (usize, usize),
    /// Zeros around the input. `bottom` and `right` are what the last window reaches, so TF's
    /// `SAME` is asymmetric here.
    pub padding: Padding,
}

/// Rows and columns added around a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Padding {
    pub top: usize,
    pub bottom: usize,
    pub left: usize,
    pub right: usize,
}

/// The windows of a pooling layer along both axes: output (i, j) pools `rows[i]` × `columns[j]`.
/// Padding conventions, ceil mode, global and adaptive pooling are all just other lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolWindows {
    /// One for each output row.
    pub rows: Vec<Span>,
    /// One for each output column.
    pub columns: Vec<Span>,
}

/// Input positions `start..end` (inside the picture, never empty) that one output reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// First position.
    pub start: usize,
    /// One past the last.
    pub end: usize,
    /// What this axis contributes to an average's divisor: `end - start`, or more where padding
    /// counts.
    pub count: usize,
}

/// One named tensor of a network's weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The layer's name and the tensor's own: `Mixed_5b.branch1x1.conv.weight`,
    /// `….bn.running_var`, `fc.bias`.
    pub name: String,
    /// `[out, in, kernel height, kernel width]` for convolutions,
    /// `[in * multiplier, 1, height, width]` for depthwise ones, `[out, in]` for linear layers,
    /// `[channels]` for everything else.
    pub shape: Vec<usize>,
    /// Whose it is.
    pub layer: LayerId,
    /// What it is.
    pub role: Role,
}

/// What a parameter is to its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Filters of a convolution or matrix of a linear layer (`.conv.weight`,
    /// `.depthwise.weight`; `.weight` of a linear layer).
    Weight,
    /// Bias (`.conv.bias`; `.bias` of a linear layer).
    Bias,
    /// Batch norm's γ (`.bn.weight`); absent where it is not learned.
    Scale,
    /// Batch norm's β (`.bn.bias`).
    Shift,
    /// Batch norm's running mean (`.bn.running_mean`), not trained.
    RunningMean,
    /// Batch norm's running variance (`.bn.running_var`, unbiased as in PyTorch), not trained.
    RunningVariance,
}

impl Role {
    /// Whether gradients reach it; the figures called "parameters" in papers count these only.
    pub fn is_trained(self) -> bool {
        !matches!(self, Role::RunningMean | Role::RunningVariance)
    }
}
