//! Our engine as `benches/peers` times it: `inference_server MODEL PICTURES THREADS [PLAN]`.
//!
//! MODEL is a model file, PICTURES a file of preprocessed pictures, plain little-endian `f32`s in
//! (picture, channel, row, column) order; PLAN is `--lean` for the plan for little memory,
//! `--throughput` for that for many pictures at a time. Reads commands, one a line, and answers
//! each with a line:
//!
//! - `infer`: computes the logits of all pictures; the seconds that it took.
//! - `logits FILE`: computes them and writes them to FILE, plain little-endian `f32`s; `written`.

use std::error::Error;
use std::fs;
use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use inception_engine::{Algorithms, Cpu, Inference};
use inception_model::Model;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (model, pictures, threads, algorithms) = match &arguments[..] {
        [model, pictures, threads] => (model, pictures, threads, Algorithms::default()),
        [model, pictures, threads, plan] if plan == "--lean" => {
            (model, pictures, threads, Algorithms::Lean)
        }
        [model, pictures, threads, plan] if plan == "--throughput" => {
            (model, pictures, threads, Algorithms::Throughput)
        }
        _ => {
            let usage = "usage: inference_server MODEL PICTURES THREADS [--lean|--throughput]";
            return Err(usage.into());
        }
    };
    let mut inference = prepare(Path::new(model), threads.parse()?, &algorithms)?;
    let pictures = read(Path::new(pictures))?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let answer = match line.split_once(' ') {
            None if line == "infer" => {
                let start = Instant::now();
                inference.run(&pictures)?;
                start.elapsed().as_secs_f64().to_string()
            }
            Some(("logits", file)) => {
                let logits = inference.run(&pictures)?;
                let bytes: Vec<u8> = logits.iter().flat_map(|v| v.to_le_bytes()).collect();
                fs::write(file, bytes)?;
                "written".to_owned()
            }
            _ => return Err(format!("unknown command `{line}`").into()),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

/// Packs the weights as they come from the file: a copy of the model is never in memory.
fn prepare(
    model: &Path,
    threads: usize,
    algorithms: &Algorithms,
) -> Result<Inference, Box<dyn Error>> {
    let Model { net, weights, .. } = Model::open(model)?;
    let (graph, cpu) = (net.graph()?, Arc::new(Cpu::new(threads)?));
    let main = [graph.main_logits()];
    Ok(Inference::with_algorithms(&graph, &weights, cpu, &main, algorithms)?)
}

fn read(pictures: &Path) -> Result<Vec<f32>, Box<dyn Error>> {
    let bytes = fs::read(pictures)?;
    let (values, _) = bytes.as_chunks::<4>();
    Ok(values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
}
