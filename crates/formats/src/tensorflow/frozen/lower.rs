//! Operations lowered, one after the other.

use super::super::messages::NodeDef;
use super::super::tensor::STRING;
use super::attributes::{self, Axes, fault};
use super::constant::{Budget, Constant};
use super::{Frozen, Picture, Read};
use crate::Fault;
use crate::graph::{Graph, Node, Op};

/// What an operation's first output is.
#[derive(Clone)]
pub(super) enum Value {
    /// Known now.
    Constant(Constant),
    /// Depends on the picture.
    Flow(Flow),
    /// The bytes of a picture file.
    File,
    /// The shape of something, or what is worked out of one.
    Shape,
    /// Uniform random numbers plus this.
    Noise(f32),
    /// Ones and zeros, the share of zeros being this.
    Mask(f32),
    /// Nothing that the network's outputs could need.
    Other,
}

/// A tensor that depends on the picture.
#[derive(Clone, Copy)]
pub(super) struct Flow {
    /// The node that makes it.
    pub(super) node: usize,
    /// Channels, where known.
    pub(super) channels: Option<usize>,
    /// Whether its grid has become one axis with the channels.
    pub(super) flat: bool,
    /// Whether the grid is known to be 1×1.
    pub(super) single: bool,
}

/// Operations that pass on what they read.
const SAME: [&str; 8] = [
    "Identity",
    "CheckNumerics",
    "StopGradient",
    "PreventGradient",
    "Snapshot",
    "Cast",
    "PlaceholderWithDefault",
    "Print",
];

/// What may read the network's values without being part of it.
const ASIDE: [&str; 9] = [
    "ArgMax",
    "TopK",
    "TopKV2",
    "NoOp",
    "HistogramSummary",
    "ScalarSummary",
    "ImageSummary",
    "TensorSummary",
    "Assert",
];

/// A graph while it is lowered.
pub(super) struct Lowering {
    pub(super) nodes: Vec<Node>,
    values: Vec<Value>,
    pub(super) budget: Budget,
    pub(super) axes: Axes,
    pub(super) picture: Option<Picture>,
}

impl Lowering {
    /// For a file of this many bytes with these nodes.
    pub fn new(nodes: &[NodeDef], bytes: usize) -> Self {
        let nchw = nodes.iter().any(|node| matches!(attributes::axes(node), Ok(Axes::Nchw)));
        Self {
            nodes: Vec::new(),
            values: vec![Value::Other; nodes.len()],
            budget: Budget::for_file(bytes),
            axes: if nchw { Axes::Nchw } else { Axes::Nhwc },
            picture: None,
        }
    }

    /// Lowers one operation, after all that it reads.
    pub fn lower(&mut self, place: usize, node: NodeDef, reads: &[Read]) -> Result<(), Fault> {
        let value = |&(from, output): &Read| match output {
            0 => self.values[from].clone(),
            _ => Value::Other,
        };
        let inputs: Vec<Value> = reads.iter().map(value).collect();
        self.values[place] = self.value(&node, &inputs)?;
        Ok(())
    }

    /// What is left after all: the nodes that lead to the outputs.
    pub fn finish(self) -> Result<Frozen, Fault> {
        let mut read = vec![false; self.nodes.len()];
        for &input in self.nodes.iter().flat_map(|node| &node.inputs) {
            read[input] = true;
        }
        let output =
            |&place: &usize| !read[place] && !matches!(self.nodes[place].op, Op::Input { .. });
        let outputs: Vec<usize> = (0..self.nodes.len()).filter(output).collect();
        if outputs.is_empty() {
            return Err(Fault::new("the graph computes nothing from a picture"));
        }
        let mut wanted = vec![false; self.nodes.len()];
        outputs.iter().for_each(|&output| wanted[output] = true);
        for place in (0..self.nodes.len()).rev() {
            if wanted[place] {
                self.nodes[place].inputs.iter().for_each(|&input| wanted[input] = true);
            }
        }
        let mut places = vec![0; self.nodes.len()];
        let mut nodes = Vec::new();
        for (place, mut node) in self.nodes.into_iter().enumerate().filter(|(i, _)| wanted[*i]) {
            node.inputs.iter_mut().for_each(|input| *input = places[*input]);
            places[place] = nodes.len();
            nodes.push(node);
        }
        if nodes.iter().filter(|node| matches!(node.op, Op::Input { .. })).count() > 1 {
            return Err(Fault::new("the graph reads more than one picture"));
        }
        let outputs = outputs.into_iter().map(|output| places[output]).collect();
        Ok(Frozen { graph: Graph { nodes, outputs }, picture: self.picture })
    }

    fn value(&mut self, node: &NodeDef, inputs: &[Value]) -> Result<Value, Fault> {
        use Value::{Constant as Known, File, Flow as Image, Mask, Noise, Shape};
        let op = node.op.as_str();
        if let Some(first) = inputs.first()
            && SAME.contains(&op)
        {
            return Ok(first.clone());
        }
        Ok(match (op, inputs) {
            ("Const", _) => self.constant(node)?,
            ("Placeholder", _) => self.placeholder(node),
            (
                "DecodeJpeg" | "DecodePng" | "DecodeBmp" | "DecodeImage",
                [File | Value::Other, ..],
            ) => {
                self.picture = Some(Picture { resize: None });
                let channels = usize::try_from(attributes::int(node, "channels", 0)).ok();
                self.input(node, [channels.filter(|&channels| channels > 0), None, None])
            }
            ("Shape", _) => Shape,
            ("Pack" | "StridedSlice" | "Slice" | "Prod" | "GatherV2" | "ConcatV2", _)
                if inputs.iter().any(|input| matches!(input, Shape)) =>
            {
                Shape
            }
            ("RandomUniform", _) => Noise(0.0),
            ("Mul", [Noise(_), Known(_)]) => inputs[0].clone(),
            ("Add" | "AddV2", [Noise(noise), Known(by)] | [Known(by), Noise(noise)]) => {
                by.number().map_or(Value::Other, |by| Noise(noise + by))
            }
            ("Floor", [Noise(noise)]) => Mask(1.0 - noise),
            ("GreaterEqual", [Noise(0.0), Known(rate)]) => rate.number().map_or(Value::Other, Mask),
            ("Mul", [Image(flow), Mask(rate)] | [Mask(rate), Image(flow)]) => {
                self.dropout(node, *flow, *rate)
            }
            ("SelectV2", [Mask(rate), Image(flow), Known(_)]) => self.dropout(node, *flow, *rate),

            ("Rsqrt" | "Sqrt" | "Neg" | "Square", [Known(a)]) => {
                a.unary(op, &mut self.budget)?.map_or(Value::Other, Known)
            }
            ("Add" | "AddV2" | "Sub" | "Mul" | "Div" | "RealDiv", [Known(a), Known(b)]) => {
                a.binary(op, b, &mut self.budget)?.map_or(Value::Other, Known)
            }
            ("Reshape" | "ExpandDims" | "Squeeze", [Known(a), ..]) => reshaped(a, op, inputs),

            ("ExpandDims", [Image(_), ..]) => inputs[0].clone(),
            ("Squeeze", [Image(flow)]) => Image(Flow { flat: true, single: true, ..*flow }),
            ("Reshape", [Image(flow), shape @ (Known(_) | Shape)]) => {
                self.reshape(node, *flow, shape)?
            }
            (
                "ResizeBilinear" | "ResizeBicubic" | "ResizeNearestNeighbor" | "ResizeArea",
                [Image(flow), Known(size)],
            ) => self.resize(node, *flow, size)?,

            ("Conv2D", [Image(flow), Known(filters)]) => self.conv(node, *flow, filters)?,
            ("DepthwiseConv2dNative", [Image(flow), Known(filters)]) => {
                self.depthwise(node, *flow, filters)?
            }
            ("MatMul", [Image(flow), Known(matrix)]) => self.linear(node, *flow, matrix)?,
            (
                "FusedBatchNorm" | "FusedBatchNormV2" | "FusedBatchNormV3",
                [Image(flow), Known(scale), Known(shift), Known(mean), Known(variance)],
            ) => {
                if attributes::flag(node, "is_training", true) {
                    return Err(fault(
                        node,
                        "the graph was frozen for training, not for inference",
                    ));
                }
                // TF-slim and Keras write ones where no scale is learned.
                let scale = Some(scale).filter(|scale| scale.values.iter().any(|&v| v != 1.0));
                let epsilon = attributes::float(node, "epsilon", 1e-4);
                self.batch_norm(
                    node,
                    *flow,
                    [scale, Some(shift), Some(mean), Some(variance)],
                    epsilon,
                )?
            }
            (
                "BatchNormWithGlobalNormalization",
                [Image(flow), Known(mean), Known(variance), Known(shift), Known(scale)],
            ) => {
                let scaled = attributes::flag(node, "scale_after_normalization", false);
                let scale = Some(scale).filter(|_| scaled);
                let epsilon = attributes::float(node, "variance_epsilon", 0.0);
                self.batch_norm(
                    node,
                    *flow,
                    [scale, Some(shift), Some(mean), Some(variance)],
                    epsilon,
                )?
            }
            ("BiasAdd" | "Add" | "AddV2", [Image(flow), Known(by)])
            | ("Add" | "AddV2", [Known(by), Image(flow)]) => {
                self.affine(node, *flow, by, |by| (1.0, by))?
            }
            ("Sub", [Image(flow), Known(by)]) => self.affine(node, *flow, by, |by| (1.0, -by))?,
            ("Sub", [Known(by), Image(flow)]) => self.affine(node, *flow, by, |by| (-1.0, by))?,
            ("Mul", [Image(flow), Known(by)] | [Known(by), Image(flow)]) => {
                self.affine(node, *flow, by, |by| (by, 0.0))?
            }
            ("Div" | "RealDiv", [Image(flow), Known(by)]) => {
                self.affine(node, *flow, by, |by| (1.0 / by, 0.0))?
            }
            ("Relu", [Image(flow)]) => self.push(node, Op::Relu, *flow),
            ("Softmax", [Image(flow)]) => self.push(node, Op::Softmax, *flow),
            ("LRN", [Image(flow)]) => self.local_response_norm(node, *flow)?,
            ("MaxPool", [Image(flow)]) => {
                self.push(node, Op::MaxPool(attributes::pool(node)?), *flow)
            }
            ("AvgPool", [Image(flow)]) => {
                let pool = attributes::pool(node)?;
                self.push(node, Op::AvgPool { pool, count_padding: false }, *flow)
            }
            ("Mean", [Image(flow), Known(axes)]) => self.mean(node, *flow, axes)?,
            ("Concat", [Known(axis), parts @ ..]) | ("ConcatV2", [parts @ .., Known(axis)]) => {
                self.concat(node, axis, parts)?
            }
            _ => return self.unknown(node, inputs),
        })
    }

    /// An operation that is none of the above: a fault where the picture runs through it.
    pub(super) fn unknown(&self, node: &NodeDef, inputs: &[Value]) -> Result<Value, Fault> {
        let picture = inputs.iter().any(|input| matches!(input, Value::Flow(_)));
        if !picture || ASIDE.contains(&node.op.as_str()) {
            return Ok(Value::Other);
        }
        let weights = ["Conv2D", "DepthwiseConv2dNative", "MatMul", "BiasAdd"];
        let what = if weights.contains(&node.op.as_str()) || node.op.contains("BatchNorm") {
            "its weights are no constants; freeze the graph (convert_variables_to_constants)"
        } else {
            "no Inception does this in inference, or not with such inputs; freeze the graph for \
             inference, with the logits or the softmax as its output"
        };
        Err(fault(node, what))
    }

    fn constant(&mut self, node: &NodeDef) -> Result<Value, Fault> {
        let proto = node.attr.get("value").and_then(|value| value.tensor.as_deref());
        let proto = proto.ok_or_else(|| fault(node, "it has no value"))?;
        if proto.dtype == STRING {
            return Ok(Value::File);
        }
        let constant = Constant::read(proto, &mut self.budget);
        let constant = constant.map_err(|what| fault(node, &what.to_string()))?;
        Ok(constant.map_or(Value::Other, Value::Constant))
    }

    fn placeholder(&mut self, node: &NodeDef) -> Value {
        if attributes::kind(node, "dtype") == Some(STRING) {
            return Value::File;
        }
        let sizes: Option<Vec<Option<usize>>> = attributes::shape(node, "shape").map(|shape| {
            let known = |size| usize::try_from(size).ok().filter(|size| *size > 0);
            shape.dim.iter().map(|dim| known(dim.size)).collect()
        });
        match (sizes.as_deref(), self.axes) {
            (None, _) => self.input(node, [None; 3]),
            (Some(&[_, h, w, c] | &[h, w, c]), Axes::Nhwc) => self.input(node, [c, h, w]),
            (Some(&[_, c, h, w] | &[c, h, w]), Axes::Nchw) => self.input(node, [c, h, w]),
            // A number to be fed, such as a keep probability.
            _ => Value::Other,
        }
    }

    fn input(&mut self, node: &NodeDef, shape: [Option<usize>; 3]) -> Value {
        let (name, op) = (node.name.clone(), Op::Input { shape });
        self.nodes.push(Node { name, op, inputs: Vec::new() });
        let node = self.nodes.len() - 1;
        Value::Flow(Flow { node, channels: shape[0], flat: false, single: false })
    }

    pub(super) fn push(&mut self, node: &NodeDef, op: Op, from: Flow) -> Value {
        self.nodes.push(Node { name: node.name.clone(), op, inputs: vec![from.node] });
        Value::Flow(Flow { node: self.nodes.len() - 1, ..from })
    }
}

/// A constant whose axes are written otherwise.
fn reshaped(constant: &Constant, op: &str, inputs: &[Value]) -> Value {
    let shape = match (op, inputs) {
        ("Reshape", [_, Value::Constant(shape)]) => {
            let given = shape.integers().unwrap_or_default();
            let known: i64 =
                given.iter().filter(|&&axis| axis > 0).fold(1, |n, &axis| n.saturating_mul(axis));
            let rest = constant.values.len() / usize::try_from(known).unwrap_or(1);
            given.iter().map(|&axis| usize::try_from(axis).unwrap_or(rest)).collect()
        }
        // Axes of length 1 come and go; nothing here asks where they are.
        _ => constant.shape.clone(),
    };
    let count = shape.iter().try_fold(1usize, |n, &axis| n.checked_mul(axis));
    if count == Some(constant.values.len()) {
        Value::Constant(constant.reshaped(shape))
    } else {
        Value::Other
    }
}
