//! Frozen graphs: TensorFlow 1's `GraphDef` (`core/framework/graph.proto`) with all variables
//! turned into constants.
//!
//! Nothing is run. Every operation either is a constant, worked out of constants (batch norm
//! spelled out as additions and multiplications has some), or is lowered to a node of
//! [`graph::Graph`]; a picture's way from JPEG to tensor is kept apart as [`Picture`].

mod attributes;
mod constant;
mod lower;
mod ops;

use std::collections::{BTreeMap, HashMap};

use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint, skip_field};

use super::messages::NodeDef;
use crate::{Fault, graph};
use lower::Lowering;

/// A frozen graph, lowered.
#[derive(Clone, Debug, PartialEq)]
pub struct Frozen {
    /// What it computes.
    pub graph: graph::Graph,
    /// What it does before that where it starts from a picture file; its input's values are
    /// then 0–255, red, green, blue. `None` where it starts from a tensor of whatever its makers
    /// meant.
    pub picture: Option<Picture>,
}

impl Frozen {
    /// What [`Picture`] says, as text: `input` is `picture` where the graph decodes one; `resize`
    /// is then interpolation, [`Grid`], height and width, as in `bilinear corner 299 299`.
    pub fn notes(&self) -> BTreeMap<String, String> {
        let Some(picture) = self.picture else { return BTreeMap::new() };
        let mut notes = BTreeMap::from([("input".to_owned(), "picture".to_owned())]);
        if let Some(Resize { kind, size: (height, width), grid }) = picture.resize {
            let kind = match kind {
                Interpolation::Nearest => "nearest",
                Interpolation::Bilinear => "bilinear",
                Interpolation::Bicubic => "bicubic",
                Interpolation::Area => "area",
            };
            let grid = match grid {
                Grid::Corner => "corner",
                Grid::AlignCorners => "align-corners",
                Grid::HalfPixel => "half-pixel",
            };
            notes.insert("resize".to_owned(), format!("{kind} {grid} {height} {width}"));
        }
        notes
    }
}

/// How a graph that decodes pictures itself brings them to its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Its resize, if it has one.
    pub resize: Option<Resize>,
}

/// TensorFlow's resizes, none of which smooths before it samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resize {
    /// Interpolation.
    pub kind: Interpolation,
    /// Height and width of the result.
    pub size: (usize, usize),
    /// Which pixels of both pictures lie on each other.
    pub grid: Grid,
}

/// How values between pixels come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Interpolation {
    Nearest,
    Bilinear,
    Bicubic,
    /// The mean of what a pixel covers.
    Area,
}

/// Which place of the source a pixel of the result takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grid {
    /// TensorFlow 1's: `place * scale`.
    Corner,
    /// `place * scale` with the scale between the corner pixels: `(in - 1) / (out - 1)`.
    AlignCorners,
    /// TensorFlow 2's: `(place + 0.5) * scale - 0.5`.
    HalfPixel,
}

/// Most operations of a graph.
const MOST_NODES: usize = 1 << 17;

/// Reads a frozen graph.
///
/// # Errors
///
/// If the bytes are no graph, it is not frozen (its weights are variables), has loops, or does
/// something that no Inception does in inference; the message names the operation.
pub fn read(bytes: &[u8]) -> Result<Frozen, Fault> {
    let mut nodes = nodes(bytes)?;
    let inputs = inputs(&nodes)?;
    let mut lowering = Lowering::new(&nodes, bytes.len());
    for place in order(&inputs, &nodes)? {
        // Constants are taken out of the message, so that they are in memory once.
        let node = std::mem::take(&mut nodes[place]);
        lowering.lower(place, node, &inputs[place])?;
    }
    lowering.finish()
}

/// The graph's nodes. One after the other, because a list of empty messages would take sixty
/// times its bytes.
fn nodes(mut bytes: &[u8]) -> Result<Vec<NodeDef>, Fault> {
    let damaged = |error: prost::DecodeError| Fault::new(format!("the graph is damaged: {error}"));
    let mut nodes = Vec::new();
    while !bytes.is_empty() {
        let (number, kind) = decode_key(&mut bytes).map_err(damaged)?;
        if (number, kind) == (1, WireType::Varint) {
            return Err(Fault::new(
                "this is a SavedModel; freeze it into one graph \
                 (convert_variables_to_constants_v2) and import that",
            ));
        }
        if (number, kind) != (1, WireType::LengthDelimited) {
            skip_field(kind, number, &mut bytes, Default::default()).map_err(damaged)?;
            continue;
        }
        let length = decode_varint(&mut bytes).map_err(damaged)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (node, rest) = bytes
            .split_at_checked(length)
            .ok_or_else(|| Fault::new("the graph is cut short within an operation"))?;
        bytes = rest;
        let node = NodeDef::decode(node).map_err(damaged)?;
        if node.name.is_empty() || node.op.is_empty() {
            return Err(Fault::new("an operation of the graph has no name or no kind"));
        }
        if nodes.len() == MOST_NODES {
            return Err(Fault::new("the graph has far more operations than any Inception"));
        }
        nodes.push(node);
    }
    Ok(nodes)
}

/// A value that an operation reads: whose, and which of its outputs.
type Read = (usize, usize);

/// What each node reads; what only has to run before it is left out.
fn inputs(nodes: &[NodeDef]) -> Result<Vec<Vec<Read>>, Fault> {
    let mut places = HashMap::with_capacity(nodes.len());
    for (place, node) in nodes.iter().enumerate() {
        if places.insert(node.name.as_str(), place).is_some() {
            return Err(Fault::new(format!("two operations are called `{}`", node.name)));
        }
    }
    let read = |node: &NodeDef, input: &str| {
        let (name, output) = match input.rsplit_once(':') {
            Some((name, output)) => (name, output.parse().unwrap_or(usize::MAX)),
            None => (input, 0),
        };
        let place = places.get(name).copied().ok_or_else(|| {
            Fault::new(format!("`{}` reads `{name}`, which is not in the graph", node.name))
        })?;
        Ok((place, output))
    };
    let each = |node: &NodeDef| {
        let values = node.input.iter().filter(|input| !input.starts_with('^'));
        values.map(|input| read(node, input)).collect()
    };
    nodes.iter().map(each).collect()
}

/// All nodes, each after those it reads.
fn order(inputs: &[Vec<Read>], nodes: &[NodeDef]) -> Result<Vec<usize>, Fault> {
    let mut waiting: Vec<usize> = inputs.iter().map(Vec::len).collect();
    let mut readers = vec![Vec::new(); inputs.len()];
    for (place, reads) in inputs.iter().enumerate() {
        for &(from, _) in reads {
            readers[from].push(place);
        }
    }
    let mut order: Vec<usize> = (0..inputs.len()).filter(|&place| waiting[place] == 0).collect();
    let mut next = 0;
    while let Some(&place) = order.get(next) {
        next += 1;
        for &reader in &readers[place] {
            waiting[reader] -= 1;
            if waiting[reader] == 0 {
                order.push(reader);
            }
        }
    }
    match waiting.iter().position(|&waiting| waiting > 0) {
        Some(place) => {
            let name = &nodes[place].name;
            Err(Fault::new(format!("the graph has a loop that leads to `{name}`")))
        }
        None => Ok(order),
    }
}
