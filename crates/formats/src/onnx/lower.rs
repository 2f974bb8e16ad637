//! From named values and nodes to a graph: which nodes are needed, what each value is.

use std::collections::HashMap;

use prost::Message;
use prost::bytes::Bytes;

use super::attributes::Attributes;
use super::messages::{self, ValueInfo};
use super::ops;
use super::tensor::{Constant, Store};
use crate::Fault;
use crate::graph::{Graph, Node, Op};

/// Most nodes of a file.
const MOST_NODES: usize = 100_000;

/// What stands under a name.
#[derive(Clone)]
pub(super) enum Value {
    Flow(Flow),
    Constant(Constant),
    /// Numbers worked out from the shape of a value: which they are is not known here.
    Sizes,
    /// One channel of a value, scaled: how exporters write a change of the input's scale.
    Channel {
        node: usize,
        channel: usize,
        factor: f32,
        offset: f32,
    },
    /// A value with zeros around it (top, bottom, left, right) that wait for the convolution or
    /// pool that reads them.
    Padded {
        flow: Flow,
        zeros: [usize; 4],
    },
}

/// A node's value and how its axes lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Flow {
    /// Place in the graph.
    pub node: usize,
    /// Whether it has only pictures and channels as axes.
    pub flat: bool,
    /// Whether its channels are the last axis of four.
    pub channels_last: bool,
    /// Whether its grid is known to be one pixel.
    pub single: bool,
}

/// The graph under construction.
pub(super) struct Lowering<'a, 's> {
    pub version: i64,
    pub store: &'a Store<'s>,
    pub nodes: Vec<Node>,
    values: HashMap<String, Value>,
    initializers: HashMap<String, Bytes>,
}

/// One file's node with all that it reads.
pub(super) struct Call<'n> {
    pub op: &'n str,
    pub attributes: Attributes,
    /// `None` for inputs left out.
    pub inputs: Vec<Option<Value>>,
    /// What a layer made of it would be called.
    pub name: String,
}

impl Call<'_> {
    pub fn input(&self, place: usize) -> Option<&Value> {
        self.inputs.get(place)?.as_ref()
    }

    pub fn flow(&self, place: usize) -> Result<Flow, Fault> {
        match self.input(place) {
            Some(Value::Flow(flow)) => Ok(*flow),
            Some(Value::Padded { .. }) => Err(Fault::new("it reads a padded value")),
            _ => Err(Fault::new(format!("its input {place} is no value of the network"))),
        }
    }

    pub fn constant(&self, place: usize) -> Option<&Constant> {
        match self.input(place) {
            Some(Value::Constant(constant)) => Some(constant),
            _ => None,
        }
    }

    pub fn floats(&self, place: usize) -> Result<Vec<f32>, Fault> {
        let floats = self.constant(place).and_then(Constant::as_floats);
        floats.map(<[f32]>::to_vec).ok_or_else(|| {
            Fault::new(format!("its input {place} is no constant of floating-point numbers"))
        })
    }
}

pub(super) fn graph(graph: messages::Graph, version: i64, store: &Store) -> Result<Graph, Fault> {
    let damaged = |what: &str, error| Fault::new(format!("a damaged {what}: {error}"));
    if graph.nodes.len() > MOST_NODES {
        let found = graph.nodes.len();
        return Err(Fault::new(format!("it has {found} nodes; {MOST_NODES} can be read")));
    }
    let mut nodes = Vec::with_capacity(graph.nodes.len());
    for bytes in graph.nodes {
        nodes.push(messages::Node::decode(bytes).map_err(|error| damaged("node", error))?);
    }
    let mut initializers = HashMap::new();
    for bytes in graph.initializers {
        initializers.insert(name_of(&bytes).map_err(|e| damaged("tensor", e))?, bytes);
    }
    let infos = |list: Vec<Bytes>| -> Result<Vec<ValueInfo>, Fault> {
        let decoded = list.into_iter().map(ValueInfo::decode);
        decoded.collect::<Result<_, _>>().map_err(|error| damaged("input or output", error))
    };
    let outputs = infos(graph.outputs)?;
    let needed = needed(&nodes, &outputs)?;
    let mut lowering =
        Lowering { version, store, nodes: Vec::new(), values: HashMap::new(), initializers };
    for info in infos(graph.inputs)? {
        // Before version 4 of the format constants were inputs as well.
        if !lowering.initializers.contains_key(&info.name) {
            lowering.input(info)?;
        }
    }
    for (node, needed) in nodes.into_iter().zip(needed) {
        if needed {
            lowering.node(node)?;
        }
    }
    let ends = outputs.iter().map(|info| match lowering.values.get(&info.name) {
        Some(Value::Flow(flow)) => Ok(flow.node),
        _ => Err(Fault::new(format!("its output `{}` is no value of the network", info.name))),
    });
    let outputs = ends.collect::<Result<_, _>>()?;
    Ok(Graph { nodes: lowering.nodes, outputs })
}

/// An initializer's name, its values left alone.
fn name_of(tensor: &Bytes) -> Result<String, prost::DecodeError> {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Name {
        #[prost(string, tag = "8")]
        name: String,
    }
    Ok(Name::decode(tensor.clone())?.name)
}

/// Which nodes the outputs need. Others may do what they like.
fn needed(nodes: &[messages::Node], outputs: &[ValueInfo]) -> Result<Vec<bool>, Fault> {
    let mut makers = HashMap::new();
    for (i, node) in nodes.iter().enumerate() {
        for output in node.outputs.iter().filter(|name| !name.is_empty()) {
            if makers.insert(output.as_str(), i).is_some() {
                return Err(Fault::new(format!("two nodes make the value `{output}`")));
            }
        }
    }
    let mut needed = vec![false; nodes.len()];
    let mut open: Vec<&str> = outputs.iter().map(|info| info.name.as_str()).collect();
    while let Some(name) = open.pop() {
        if let Some(&maker) = makers.get(name)
            && !std::mem::replace(&mut needed[maker], true)
        {
            open.extend(nodes[maker].inputs.iter().map(String::as_str));
        }
    }
    Ok(needed)
}

impl Lowering<'_, '_> {
    /// Adds a node to the graph.
    pub fn push(&mut self, name: &str, op: Op, inputs: Vec<usize>) -> usize {
        self.nodes.push(Node { name: name.to_owned(), op, inputs });
        self.nodes.len() - 1
    }

    /// Adds a node with one input whose axes lie as the input's.
    pub fn push_like(&mut self, name: &str, op: Op, from: Flow) -> Value {
        Value::Flow(Flow { node: self.push(name, op, vec![from.node]), ..from })
    }

    fn input(&mut self, info: ValueInfo) -> Result<(), Fault> {
        let shape = info.kind.and_then(|kind| kind.tensor).and_then(|tensor| tensor.shape);
        let dims: Vec<Option<usize>> = shape.map_or_else(Vec::new, |shape| {
            let sizes = shape.dims.iter().map(|d| d.value.and_then(|n| usize::try_from(n).ok()));
            // Zero and what is absurd are left open, as some exporters mean them to be.
            sizes.map(|n| n.filter(|&n| n > 0 && n < 1 << 16)).collect()
        });
        let (shape, channels_last) = match dims[..] {
            [_, channels, height, width] => {
                let colours = |n: Option<usize>| matches!(n, Some(1 | 3));
                match colours(width) && !colours(channels) {
                    true => ([width, channels, height], true),
                    false => ([channels, height, width], false),
                }
            }
            [] => ([None; 3], false),
            _ => {
                let (name, rank) = (info.name, dims.len());
                let text = format!("its input `{name}` has {rank} axes, not the four of pictures");
                return Err(Fault::new(text));
            }
        };
        let node = self.push(&info.name, Op::Input { shape }, Vec::new());
        let flow = Flow { node, flat: false, channels_last, single: false };
        self.values.insert(info.name, Value::Flow(flow));
        Ok(())
    }

    fn node(&mut self, node: messages::Node) -> Result<(), Fault> {
        let name = layer_name(&node);
        let at = |fault: Fault| Fault::new(format!("node `{name}` ({}): {fault}", node.op_type));
        if !matches!(&*node.domain, "" | "ai.onnx") {
            return Err(at(Fault::new(format!("an operation of the domain `{}`", node.domain))));
        }
        let inputs = node.inputs.iter().map(|input| self.value(input)).collect::<Result<_, _>>();
        let call = Call {
            op: &node.op_type,
            attributes: Attributes::of(&node).map_err(at)?,
            inputs: inputs.map_err(at)?,
            name: name.clone(),
        };
        let value = ops::lower(self, &call).map_err(at)?;
        if let Some(output) = node.outputs.into_iter().next() {
            self.values.insert(output, value);
        }
        Ok(())
    }

    /// What stands under a name that a node reads.
    fn value(&mut self, name: &str) -> Result<Option<Value>, Fault> {
        if name.is_empty() {
            return Ok(None);
        }
        if let Some(value) = self.values.get(name) {
            if let Value::Constant(constant) = value {
                self.store.take(constant.len())?;
            }
            return Ok(Some(value.clone()));
        }
        let Some(bytes) = self.initializers.get(name) else {
            return Err(Fault::new(format!(
                "it reads `{name}`, which nothing before it makes: the graph has a cycle, or its \
                 nodes are out of order"
            )));
        };
        let tensor = messages::Tensor::decode(bytes.clone())
            .map_err(|error| Fault::new(format!("tensor `{name}` is damaged: {error}")))?;
        let value = Value::Constant(self.store.decode(&tensor)?);
        // Shapes are read often; of weights no second copy is kept.
        if matches!(&value, Value::Constant(constant) if constant.len() <= 16) {
            self.values.insert(name.to_owned(), value.clone());
        }
        Ok(Some(value))
    }
}

/// What a layer made of the node would be called: by its weights, whose names exporters keep, or
/// by its own name or that of its output.
fn layer_name(node: &messages::Node) -> String {
    const WEIGHTS: [&str; 8] =
        ["_w_0", ".weight", "/weights", "/weight", "/kernel", "_weight", "_kernel", "_W"];
    const TAILS: [&str; 7] = [".conv", "/conv", "/Conv", "/Conv2D", "/MatMul", "/Gemm", "/Concat"];
    let weights =
        node.inputs.get(1).filter(|_| matches!(&*node.op_type, "Conv" | "Gemm" | "MatMul"));
    let weights = weights.and_then(|name| {
        let name = name.split(':').next()?;
        WEIGHTS.iter().find_map(|tail| name.strip_suffix(tail))
    });
    let own = || match node.name.is_empty() {
        true => node.outputs.first().map_or("", String::as_str),
        false => &node.name,
    };
    let mut name = weights.unwrap_or_else(own);
    while let Some(rest) = TAILS.iter().find_map(|tail| name.strip_suffix(tail)) {
        name = rest;
    }
    name.trim_start_matches('/').to_owned()
}
