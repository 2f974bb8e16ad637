//! `taps MODEL PICTURES OUT`: what a model computes inside, for comparisons with other programs.
//!
//! PICTURES is a safetensors file with one tensor, preprocessed pictures in (picture, channel,
//! row, column) order; OUT gets the outputs of all concatenations and of all heads, by name.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use inception_engine::{Cpu, Inference};
use inception_model::{Model, TensorFile, write_tensors};
use inception_net::graph::Op;

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [model, pictures, out] = &paths[..] else { return Err("taps MODEL PICTURES OUT".into()) };
    let model = Model::open(model)?;
    let graph = model.net.graph()?;
    let pictures = TensorFile::open(pictures)?.into_tensors()?.pop();
    let (_, _, pictures) = pictures.ok_or("there are no pictures")?;

    let mut taps: Vec<_> = (0..graph.layers.len())
        .filter(|&id| graph.layers[id].op == Op::Concat)
        .map(|id| (graph.layers[id].name.clone(), id))
        .collect();
    taps.extend(graph.heads.iter().map(|head| (format!("{} logits", head.name), head.logits)));
    let places: Vec<_> = taps.iter().map(|(_, id)| *id).collect();
    let cpu = Arc::new(Cpu::new(Cpu::default_threads())?);
    let mut inference = Inference::with_outputs(&graph, &model.weights, cpu, &places)?;
    let shapes: Vec<_> = inference.output_shapes().collect();
    let outputs = inference.run_all(&pictures)?;
    let count = pictures.len() / graph.layers[0].shape.len();
    let shapes: Vec<_> =
        shapes.iter().map(|shape| [count, shape.channels, shape.height, shape.width]).collect();
    let tensors = taps.iter().zip(&shapes).zip(&outputs);
    let tensors =
        tensors.map(|(((name, _), shape), values)| (name.as_str(), &shape[..], &values[..]));
    write_tensors(out, BTreeMap::new(), tensors)?;
    Ok(())
}
