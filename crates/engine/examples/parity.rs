//! Computes the case in a folder that `peers/parity` wrote, and writes there, to
//! `ours.safetensors`, what it is to compare: logits, gradients, running statistics, and on which
//! side of every kink the training pass fell.

mod case;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use case::Case;
use inception_engine::{Cpu, Inference, NormMode, Training};
use inception_model::write_tensors;
use inception_net::graph::Op;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: parity FOLDER")?;
    let folder = Path::new(&folder);
    let case = Case::read(folder)?;
    let cpu = Arc::new(Cpu::new(Cpu::default_threads())?);
    let mut results = infer(&case, cpu.clone())?;
    results.extend(train(&case, cpu)?);
    let shapes: Vec<[usize; 1]> = results.iter().map(|(_, values)| [values.len()]).collect();
    let tensors = results.iter().zip(&shapes);
    let tensors = tensors.map(|((name, values), shape)| (name.as_str(), &shape[..], &values[..]));
    write_tensors(&folder.join("ours.safetensors"), Default::default(), tensors)?;
    Ok(())
}

/// A tensor's name and values.
type Named = (String, Vec<f32>);

fn infer(case: &Case, cpu: Arc<Cpu>) -> Result<Vec<Named>, Box<dyn Error>> {
    let mut inference = Inference::new(&case.graph, &case.weights, cpu)?;
    Ok(vec![("logits.inference".to_owned(), inference.run(&case.pictures)?)])
}

fn train(case: &Case, cpu: Arc<Cpu>) -> Result<Vec<Named>, Box<dyn Error>> {
    let graph = &case.graph;
    let mut training = Training::new(graph, case.weights.clone(), cpu, NormMode::Batch)?;
    let logits = training.forward(&case.pictures, 0)?;
    let mut results = sides(case, &training);
    let (_, logit_gradients) = case.loss(&logits);
    for (head, logits) in graph.heads.iter().zip(logits) {
        results.push((format!("logits.{}", head.name), logits));
    }
    training.backward(&logit_gradients)?;
    for (tensor, gradient) in training.weights().tensors().iter().zip(training.gradients()) {
        let name = &tensor.parameter.name;
        results.push(match tensor.parameter.role.is_trained() {
            true => (format!("gradient.{name}"), gradient.clone()),
            false => (format!("running.{name}"), tensor.values.clone()),
        });
    }
    Ok(results)
}

/// Outputs of all layers that end with a ReLU, inputs of all max pools.
fn sides(case: &Case, training: &Training) -> Vec<Named> {
    let mut sides = Vec::new();
    let mut pools = 0;
    for (id, layer) in case.graph.layers.iter().enumerate() {
        match &layer.op {
            Op::Conv(_) | Op::Linear(_) => {
                sides.push((format!("active.{}", layer.name), training.output(id)));
            }
            Op::MaxPool(_) => {
                sides.push((format!("pooled.{pools}"), training.output(layer.inputs[0])));
                pools += 1;
            }
            _ => {}
        }
    }
    sides
}
