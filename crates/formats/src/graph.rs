//! A network as other programs store it: nodes and what each reads.
//!
//! Readers of graph formats (ONNX, Keras, TensorFlow) lower their own operations to these few;
//! what cannot be expressed in them is a fault that names the operation. Layouts are already
//! ours: channels before rows before columns, filters `[out, in, height, width]`.

/// Nodes in an order in which each comes after those it reads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// All nodes.
    pub nodes: Vec<Node>,
    /// The nodes whose values the file calls its outputs.
    pub outputs: Vec<usize>,
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// As the file spells it.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Places in [`Graph::nodes`] of what it reads, each before the node itself.
    pub inputs: Vec<usize>,
}

/// Operations of the Inception family.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The picture.
    Input {
        /// Channels, height and width where the file says.
        shape: [Option<usize>; 3],
    },
    /// Convolution.
    Conv {
        /// `[out, in / groups, height, width]`.
        filters: Vec<f32>,
        /// Their shape.
        shape: [usize; 4],
        /// One for each output channel, or none.
        bias: Option<Vec<f32>>,
        /// Down and across.
        stride: (usize, usize),
        /// Zeros around the input.
        padding: Padding,
        /// Groups of channels; 1, or as many as input channels (depthwise; output channel
        /// `c * multiplier + m` reads input channel `c`).
        groups: usize,
    },
    /// Batch normalisation with fixed statistics, one value for each channel.
    BatchNorm {
        /// γ, where there is one.
        scale: Option<Vec<f32>>,
        /// β.
        shift: Vec<f32>,
        /// Running mean.
        mean: Vec<f32>,
        /// Running variance.
        variance: Vec<f32>,
        /// Added to the variance.
        epsilon: f32,
    },
    /// `x * factor + offset` with one value for each channel, or one for all.
    Affine {
        /// Factors.
        factor: Vec<f32>,
        /// Offsets.
        offset: Vec<f32>,
    },
    /// `max(0, x)`.
    Relu,
    /// Maximum over windows.
    MaxPool(Pool),
    /// Mean over windows.
    AvgPool {
        /// The windows.
        pool: Pool,
        /// Whether padding counts in the divisor.
        count_padding: bool,
    },
    /// Mean over the whole grid.
    GlobalAvgPool,
    /// Local response normalisation: `x / (k + alpha / size * sum of squares) ^ beta`.
    LocalResponseNorm {
        /// Channels in the window.
        size: usize,
        /// Factor, divided by `size`.
        alpha: f32,
        /// Exponent.
        beta: f32,
        /// Constant.
        k: f32,
    },
    /// Concatenation along the channels.
    Concat,
    /// Dropout; nothing in inference.
    Dropout {
        /// Share of values zeroed in training.
        rate: f32,
    },
    /// Fully connected over the flattened (channel, row, column) input.
    Linear {
        /// `[out, in]`.
        matrix: Vec<f32>,
        /// Their shape.
        shape: [usize; 2],
        /// One for each output, or none.
        bias: Option<Vec<f32>>,
    },
    /// Softmax over the channels.
    Softmax,
    /// Reshapes, identities: the same values.
    Identity,
}

/// Kernel, stride and padding of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Height and width.
    pub kernel: (usize, usize),
    /// Down and across.
    pub stride: (usize, usize),
    /// Positions around the input.
    pub padding: Padding,
    /// Whether a last window that reaches beyond the edge still counts.
    pub ceil: bool,
}

/// Zeros around the input of a convolution or a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// As many as make the output `ceil(input / stride)`, the odd one below or right
    /// (TensorFlow's SAME, ONNX's SAME_UPPER).
    Same,
    /// Top, bottom, left, right.
    Explicit([usize; 4]),
}
