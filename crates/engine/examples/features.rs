//! Our engine as `benches/precision` judges it: `features MODEL PLAN THREADS`.
//!
//! MODEL is a model file. PLAN says how convolutions are computed: `default` as estimated,
//! `largest` by the largest tiles that the error budget allows, `precise` directly.
//!
//! Writes a line with the instruction set, the number of features and that of logits. Then reads
//! preprocessed pictures, plain little-endian `f32`s in (channel, row, column) order, until there
//! are no more, and answers each with its features and its logits, in the same form. Features are
//! what the last layer reads.

use std::error::Error;
use std::io::{ErrorKind, Read, Write, stdin, stdout};
use std::path::Path;
use std::sync::Arc;

use inception_engine::{Algorithms, Cpu, Inference, candidate_plan};
use inception_model::Model;
use inception_net::graph::{Graph, LayerId, Op};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, plan, threads] = &arguments[..] else {
        return Err("usage: features MODEL PLAN THREADS".into());
    };
    let cpu = Arc::new(Cpu::new(threads.parse()?)?);
    let model = Model::load(Path::new(model))?;
    let mut inference = prepare(&model, plan, &cpu)?;

    let mut out = stdout().lock();
    let lengths: Vec<usize> = inference.output_shapes().map(|shape| shape.len()).collect();
    writeln!(out, "{} {} {}", cpu.isa(), lengths[0], lengths[1])?;
    out.flush()?;
    let size = model.net.graph()?.layers[0].shape.len();
    while let Some(picture) = read(size)? {
        let outputs = inference.run_all(&picture)?;
        let bytes: Vec<u8> = outputs.iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
        out.write_all(&bytes)?;
        out.flush()?;
    }
    Ok(())
}

fn prepare(model: &Model, plan: &str, cpu: &Arc<Cpu>) -> Result<Inference, Box<dyn Error>> {
    let graph = model.net.graph()?;
    let outputs = [features(&graph), graph.main_logits()];
    let with = |algorithms| {
        let weights = &model.weights;
        Inference::with_algorithms(&graph, weights, Arc::clone(cpu), &outputs, &algorithms)
    };
    Ok(match plan {
        "default" => with(Algorithms::Estimated)?,
        "precise" => with(Algorithms::Precise)?,
        "largest" => {
            let precise = with(Algorithms::Precise)?;
            with(Algorithms::Planned(candidate_plan(precise.steps(), usize::MAX)))?
        }
        other => return Err(format!("{other} is none of default, largest, precise").into()),
    })
}

/// The layer whose output the last one with weights reads.
fn features(graph: &Graph) -> LayerId {
    let mut id = graph.main_logits();
    while !matches!(graph.layers[id].op, Op::Conv(_) | Op::Linear(_)) {
        id = graph.layers[id].inputs[0];
    }
    graph.layers[id].inputs[0]
}

/// The next picture of so many values; `None` where there are no more.
fn read(size: usize) -> Result<Option<Vec<f32>>, Box<dyn Error>> {
    let mut bytes = vec![0; 4 * size];
    match stdin().lock().read_exact(&mut bytes) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let (values, _) = bytes.as_chunks::<4>();
    Ok(Some(values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()))
}
