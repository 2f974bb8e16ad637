//! Writes a model as an ONNX file.
//!
//! The computation from the preprocessed picture to the logits, layer by layer: auxiliary heads
//! and dropout, which are for training, are left out; batch norms stay nodes of their own, so that
//! nothing of the weights is lost. Paddings are explicit numbers, pools are in floor mode, and
//! averages count padding exactly where the network does, so no convention of a runtime matters.
//! How pictures are prepared, and the labels, go into the file's metadata; [`crate::import`] finds
//! them there again.

mod windows;

use std::collections::{BTreeMap, HashSet};

use inception_formats::onnx::messages::{
    Attribute, Dimension, Entry, FLOAT, Graph, Model as OnnxModel, Node, OperatorSet, Shape,
    Tensor, TensorType, Type, ValueInfo,
};
use inception_model::Model;
use inception_net::graph::{self, BatchNorm, Layer, Op, Padding, PoolWindows, Window};
use inception_net::{NetError, Preprocessing};
use prost::Message;
use prost::bytes::Bytes;

use windows::Fit;

/// Key in the metadata of the preprocessing, as JSON.
pub const PREPROCESSING: &str = "inception.preprocessing";
/// Key in the metadata of the labels, as a JSON list.
pub const LABELS: &str = "inception.labels";
/// Key in the metadata of the network's name.
pub const NETWORK: &str = "inception.network";

/// Version of the operations: known to every runtime since 2021.
const OPSET: i64 = 13;
/// Version of the file format that goes with it.
const IR_VERSION: i64 = 7;
/// What the name of the input and that of the output are in the file.
const NAMES: (&str, &str) = ("input", "logits");

/// Why a model cannot be written as ONNX.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// The network is none.
    #[error(transparent)]
    Net(#[from] NetError),
    /// A max pool over windows that no kernel, stride and padding give.
    #[error("the windows of the pool `{0}` cannot be expressed in ONNX")]
    Windows(String),
    /// Protocol buffers end at two gigabytes.
    #[error("the file would have {0} bytes; ONNX files of one piece end at 2³¹")]
    TooLarge(usize),
}

/// The ONNX file of a model: input `input` of `N`×channels×height×width preprocessed pictures,
/// output `logits` of `N`×classes.
///
/// # Errors
///
/// If a pool cannot be expressed, or the file would be too large.
pub fn onnx(model: &Model) -> Result<Vec<u8>, OnnxError> {
    let graph = model.net.graph()?;
    let logits = graph.main_logits();
    let mut needed = vec![false; graph.layers.len()];
    needed[logits] = true;
    for id in (0..=logits).rev() {
        if needed[id] {
            graph.layers[id].inputs.iter().for_each(|&input| needed[input] = true);
        }
    }
    let mut writer = Writer::new(model, &graph);
    for (id, layer) in graph.layers.iter().enumerate().filter(|&(id, _)| needed[id]) {
        let value = match layer.inputs.as_slice() {
            [] => NAMES.0.to_owned(),
            _ => writer.layer(layer)?,
        };
        writer.values[id] = value;
    }
    let last = writer.values[logits].clone();
    writer.node("Identity", "logits.out", &[&last], NAMES.1, Vec::new());

    let input = graph.layers[0].shape;
    let file = OnnxModel {
        ir_version: IR_VERSION,
        producer_name: "inception".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(Graph {
            nodes: writer.nodes,
            name: model.net.name.clone(),
            initializers: writer.initializers,
            inputs: vec![info(NAMES.0, &[input.channels, input.height, input.width])],
            outputs: vec![info(NAMES.1, &[model.net.classes])],
        }),
        opset_import: vec![OperatorSet { domain: String::new(), version: OPSET }],
        metadata: metadata(model),
    };
    let len = file.encoded_len();
    if len >= 1 << 31 {
        return Err(OnnxError::TooLarge(len));
    }
    Ok(file.encode_to_vec())
}

/// The preprocessing that a file written by [`onnx`] carries.
pub(crate) fn preprocessing(metadata: &BTreeMap<String, String>) -> Option<Preprocessing> {
    serde_json::from_str(metadata.get(PREPROCESSING)?).ok()
}

/// The labels that a file written by [`onnx`] carries.
pub(crate) fn labels(metadata: &BTreeMap<String, String>) -> Option<Vec<String>> {
    serde_json::from_str(metadata.get(LABELS)?).ok()
}

fn metadata(model: &Model) -> Vec<Entry> {
    let json = |value: serde_json::Result<String>| value.expect("plain data is always JSON");
    let entries = [
        (NETWORK, model.net.name.clone()),
        (PREPROCESSING, json(serde_json::to_string(&model.net.preprocessing))),
        (LABELS, json(serde_json::to_string(&model.labels))),
    ];
    entries.into_iter().map(|(key, value)| Entry { key: key.to_owned(), value }).collect()
}

/// A value of `N` pictures.
fn info(name: &str, shape: &[usize]) -> Bytes {
    let batch = Dimension { value: None, name: Some("N".to_owned()) };
    let sizes = shape.iter().map(|&n| Dimension { value: Some(n as i64), name: None });
    let dims = std::iter::once(batch).chain(sizes).collect();
    let tensor = TensorType { elem_type: FLOAT, shape: Some(Shape { dims }) };
    let kind = Some(Type { tensor: Some(tensor) });
    ValueInfo { name: name.to_owned(), kind }.encode_to_vec().into()
}

struct Writer<'a> {
    model: &'a Model,
    graph: &'a graph::Graph,
    /// The value that each layer's output is.
    values: Vec<String>,
    nodes: Vec<Bytes>,
    initializers: Vec<Bytes>,
    taken: HashSet<String>,
}

impl<'a> Writer<'a> {
    fn new(model: &'a Model, graph: &'a graph::Graph) -> Self {
        Self {
            model,
            graph,
            values: vec![String::new(); graph.layers.len()],
            nodes: Vec::new(),
            initializers: Vec::new(),
            taken: HashSet::from([NAMES.0.to_owned(), NAMES.1.to_owned()]),
        }
    }

    /// Adds a layer; returns the name of its value.
    fn layer(&mut self, layer: &Layer) -> Result<String, OnnxError> {
        let name = layer.name.as_str();
        let inputs: Vec<String> =
            layer.inputs.iter().map(|&input| self.values[input].clone()).collect();
        let x = inputs[0].as_str();
        Ok(match &layer.op {
            Op::Input => unreachable!("the input reads no layer"),
            Op::Conv(conv) => {
                let bias = conv.bias.then(|| format!("{name}.conv.bias"));
                let attributes = window(&conv.window, 1);
                let y = self.filter(layer, "Conv", x, "conv.weight", bias, attributes);
                self.finish(layer, y, conv.batch_norm, conv.relu)
            }
            Op::Depthwise { window: at, .. } => {
                let groups = self.graph.layers[layer.inputs[0]].shape.channels;
                self.filter(layer, "Conv", x, "weight", None, window(at, groups))
            }
            Op::Linear(linear) => {
                let flat = self.add("Flatten", &format!("{name}.flat"), &[x], vec![int("axis", 1)]);
                let bias = linear.bias.then(|| format!("{name}.bias"));
                let turned = vec![int("transB", 1)];
                let y = self.filter(layer, "Gemm", &flat, "weight", bias, turned);
                self.finish(layer, y, linear.batch_norm, linear.relu)
            }
            Op::MaxPool(windows) => {
                let input = self.graph.layers[layer.inputs[0]].shape;
                let rows = windows::fit(&windows.rows, input.height, None);
                let columns = windows::fit(&windows.columns, input.width, None);
                let fits = rows.zip(columns);
                let (rows, columns) = fits.ok_or_else(|| OnnxError::Windows(name.to_owned()))?;
                self.add("MaxPool", name, &[x], pool(rows, columns))
            }
            Op::AvgPool(windows) => self.average(layer, x, windows),
            &Op::LocalResponseNorm { size, alpha, beta, k } => {
                let attributes = vec![
                    int("size", size as i64),
                    float("alpha", alpha),
                    float("beta", beta),
                    float("bias", k),
                ];
                self.add("LRN", name, &[x], attributes)
            }
            Op::Concat => {
                let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
                self.add("Concat", name, &inputs, vec![int("axis", 1)])
            }
            Op::Dropout { .. } => x.to_owned(),
        })
    }

    /// A node with weights.
    fn filter(
        &mut self,
        layer: &Layer,
        op: &str,
        x: &str,
        weight: &str,
        bias: Option<String>,
        attributes: Vec<Attribute>,
    ) -> String {
        let weight = self.parameter(&format!("{}.{weight}", layer.name));
        let bias = bias.map(|bias| self.parameter(&bias));
        let inputs: Vec<&str> = [x, &weight].into_iter().chain(bias.as_deref()).collect();
        self.add(op, &layer.name, &inputs, attributes)
    }

    /// Batch norm and ReLU of a layer that has them.
    fn finish(&mut self, layer: &Layer, y: String, norm: Option<BatchNorm>, relu: bool) -> String {
        let name = &layer.name;
        let mut y = y;
        if let Some(norm) = norm {
            let scale = match norm.scale {
                true => self.parameter(&format!("{name}.bn.weight")),
                // ONNX' batch norm always has a scale.
                false => {
                    let ones = vec![1.0; layer.shape.channels];
                    self.constant(&format!("{name}.bn.ones"), &[ones.len()], &ones)
                }
            };
            let rest = ["bias", "running_mean", "running_var"]
                .map(|part| self.parameter(&format!("{name}.bn.{part}")));
            let [shift, mean, variance] = &rest;
            let attributes = vec![float("epsilon", norm.epsilon)];
            let inputs = [&y, &scale, shift, mean, variance].map(String::as_str);
            y = self.add("BatchNormalization", &format!("{name}.bn"), &inputs, attributes);
        }
        match relu {
            true => self.add("Relu", &format!("{name}.relu"), &[&y], Vec::new()),
            false => y,
        }
    }

    /// A mean over windows: as a pool, or where no pool has these windows (PyTorch's adaptive
    /// ones), as a product with a matrix for the rows and one for the columns.
    fn average(&mut self, layer: &Layer, x: &str, windows: &PoolWindows) -> String {
        let name = layer.name.as_str();
        let input = self.graph.layers[layer.inputs[0]].shape;
        let whole = |spans: &[graph::Span], n| {
            spans.len() == 1 && (spans[0].start, spans[0].end, spans[0].count) == (0, n, n)
        };
        if whole(&windows.rows, input.height) && whole(&windows.columns, input.width) {
            return self.add("GlobalAveragePool", name, &[x], Vec::new());
        }
        for counted in [false, true] {
            let rows = windows::fit(&windows.rows, input.height, Some(counted));
            let columns = windows::fit(&windows.columns, input.width, Some(counted));
            if let Some((rows, columns)) = rows.zip(columns) {
                let mut attributes = pool(rows, columns);
                attributes.push(int("count_include_pad", i64::from(counted)));
                return self.add("AveragePool", name, &[x], attributes);
            }
        }
        let matrix = |spans: &[graph::Span], n: usize| {
            let row = |span: &graph::Span| {
                let (start, end, share) = (span.start, span.end, 1.0 / span.count as f32);
                (0..n).map(move |i| if (start..end).contains(&i) { share } else { 0.0 })
            };
            spans.iter().flat_map(row).collect::<Vec<f32>>()
        };
        let rows = matrix(&windows.rows, input.height);
        let columns = matrix(&windows.columns, input.width);
        let (height, width) = (windows.rows.len(), windows.columns.len());
        // The columns' matrix is read across: [input, output].
        let across: Vec<f32> = (0..input.width)
            .flat_map(|i| (0..width).map(move |o| o * input.width + i))
            .map(|at| columns[at])
            .collect();
        let rows = self.constant(&format!("{name}.rows"), &[height, input.height], &rows);
        let across = self.constant(&format!("{name}.columns"), &[input.width, width], &across);
        let down = self.add("MatMul", &format!("{name}.down"), &[&rows, x], Vec::new());
        self.add("MatMul", name, &[&down, &across], Vec::new())
    }

    /// Adds a node; returns the name of its value.
    fn add(&mut self, op: &str, name: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        let output = self.free(name);
        self.node(op, name, inputs, &output, attributes);
        output
    }

    fn node(
        &mut self,
        op: &str,
        name: &str,
        inputs: &[&str],
        output: &str,
        attributes: Vec<Attribute>,
    ) {
        let node = Node {
            inputs: inputs.iter().map(|&input| input.to_owned()).collect(),
            outputs: vec![output.to_owned()],
            name: name.to_owned(),
            op_type: op.to_owned(),
            attributes: attributes.iter().map(|a| a.encode_to_vec().into()).collect(),
            domain: String::new(),
        };
        self.nodes.push(node.encode_to_vec().into());
    }

    /// One of the model's parameters; returns its name in the file.
    fn parameter(&mut self, name: &str) -> String {
        let tensor = self.model.weights.get(name).expect("weights have all parameters");
        self.constant(name, &tensor.parameter.shape, &tensor.values)
    }

    fn constant(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        let name = self.free(name);
        let tensor = Tensor {
            dims: shape.iter().map(|&n| n as i64).collect(),
            data_type: FLOAT,
            name: name.clone(),
            raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>().into(),
            ..Tensor::default()
        };
        self.initializers.push(tensor.encode_to_vec().into());
        name
    }

    /// The name, or one like it that no other value has.
    fn free(&mut self, name: &str) -> String {
        let name = crate::from_graph::free_name(name, |name| self.taken.contains(name));
        self.taken.insert(name.clone());
        name
    }
}

fn window(window: &Window, groups: usize) -> Vec<Attribute> {
    let Padding { top, bottom, left, right } = window.padding;
    let pair = |(down, across): (usize, usize)| [down, across];
    vec![
        ints("kernel_shape", &pair(window.kernel)),
        ints("strides", &pair(window.stride)),
        ints("pads", &[top, left, bottom, right]),
        int("group", groups as i64),
    ]
}

fn pool(rows: Fit, columns: Fit) -> Vec<Attribute> {
    vec![
        ints("kernel_shape", &[rows.kernel, columns.kernel]),
        ints("strides", &[rows.stride, columns.stride]),
        ints("pads", &[rows.before, columns.before, rows.after, columns.after]),
    ]
}

/// `AttributeProto.AttributeType`.
mod kind {
    pub const FLOAT: i32 = 1;
    pub const INT: i32 = 2;
    pub const INTS: i32 = 7;
}

fn int(name: &str, i: i64) -> Attribute {
    Attribute { name: name.to_owned(), i: Some(i), kind: kind::INT, ..Attribute::default() }
}

fn float(name: &str, f: f32) -> Attribute {
    Attribute { name: name.to_owned(), f: Some(f), kind: kind::FLOAT, ..Attribute::default() }
}

fn ints(name: &str, values: &[usize]) -> Attribute {
    let ints = values.iter().map(|&n| n as i64).collect();
    Attribute { name: name.to_owned(), ints, kind: kind::INTS, ..Attribute::default() }
}
