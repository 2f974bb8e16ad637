//! ONNX files (`.onnx`).
//!
//! A protocol buffer: named tensors, and nodes that read and make named values. Operations of
//! ONNX' own domain, of any version, are lowered to those of [`crate::graph`]; constants that
//! exporters compute inside the graph (shapes, transposed matrices, tensors of one value) are
//! computed here, within bounds.

mod attributes;
mod constants;
mod lower;
pub mod messages;
mod ops;
mod tensor;

use std::collections::BTreeMap;

use prost::Message;
use prost::bytes::Bytes;

use crate::Fault;
use crate::graph::Graph;

pub use tensor::Load;

/// What an ONNX file holds.
#[derive(Clone, Debug)]
pub struct Onnx {
    /// The computation.
    pub graph: Graph,
    /// The text that the file carries, by key.
    pub metadata: BTreeMap<String, String>,
    /// Name and version of the program that wrote it.
    pub producer: String,
}

/// Reads an ONNX file.
///
/// # Errors
///
/// If the bytes are no ONNX model, some tensors lie in other files, or the model does what no
/// network here does; the message names the node.
pub fn read(bytes: &[u8]) -> Result<Onnx, Fault> {
    read_with(bytes, &|name| {
        Err(Fault::new(format!("its values lie in another file, `{name}`, which is not at hand")))
    })
}

/// Reads an ONNX file whose tensors may lie in other files: `load` reads one by its name, which
/// has been checked to be a plain file name.
///
/// # Errors
///
/// As [`read`].
pub fn read_with(bytes: &[u8], load: Load) -> Result<Onnx, Fault> {
    let model = messages::Model::decode(Bytes::copy_from_slice(bytes))
        .map_err(|error| Fault::new(format!("it is no ONNX model: {error}")))?;
    let Some(graph) = model.graph else { return Err(Fault::new("it holds no graph")) };
    let version = model.opset_import.iter().find(|set| matches!(&*set.domain, "" | "ai.onnx"));
    let version = version.map_or(1, |set| set.version);
    let load = |name: &str| match name.contains(['/', '\\', ':']) || name.starts_with('.') {
        true => Err(Fault::new(format!("its values lie in `{name}`, which is no file beside it"))),
        false => load(name),
    };
    let store = tensor::Store::new(bytes.len(), &load);
    let graph = lower::graph(graph, version, &store)?;
    let metadata = model.metadata.into_iter().map(|entry| (entry.key, entry.value)).collect();
    let producer = format!("{} {}", model.producer_name, model.producer_version);
    Ok(Onnx { graph, metadata, producer: producer.trim().to_owned() })
}
