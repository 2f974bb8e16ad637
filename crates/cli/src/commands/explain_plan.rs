//! `inception explain-plan`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use inception_engine::{Algorithm, Cpu, Inference, StepInfo};
use inception_model::Weights;
use serde_json::json;

use crate::engine::{self, EngineOptions};
use crate::options::{MachineOptions, NetworkOptions};
use crate::text::{Align, Table, scaled};
use crate::{network, output};

/// Shows by which steps and algorithms a network is computed
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A built-in network (`inception networks` lists them), a TOML file, or a model file
    #[arg(value_name = "NAME|FILE")]
    network: String,
    /// Writes JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: NetworkOptions,
    #[command(flatten)]
    engine: EngineOptions,
    #[command(flatten)]
    machine: MachineOptions,
}

const EXAMPLES: &str = "\
Examples:
  inception explain-plan inception-v3
  inception explain-plan inception-v3 --precise
  inception explain-plan inception-v3 --lean
  inception explain-plan inception-v3 --throughput
  inception explain-plan mine.toml --plan plan.json

F(6×6) is minimal filtering (Winograd, Toom–Cook) in tiles of 6×6 outputs, product a plain product
of matrices, of windows that are copied, Strassen his product of matrices cut in two once, Strassen²
twice; `done` is the share of the definition's multiply-adds
that is left, transforms not counted. Layers in one line are one
product. The same algorithms are used for any batch and any number of threads.
Weights are what they take as packed for the algorithm.

A plan (--plan) is JSON from kinds of layers, as this table names them, to algorithms:
  { \"3×3 64→96 @35×35\": \"F(4×4)\", \"1×1 768→704 @17×17\": \"Strassen²\" }";

/// Prints the plan.
pub fn run(args: &Args) -> Result<ExitCode> {
    let net = network::find(&args.network, &args.options, None)?;
    let cpu = Arc::new(Cpu::new(args.machine.threads())?);
    let graph = net.graph()?;
    let weights = Weights::initial(&graph, 0);
    let choice = args.engine.algorithms(&cpu)?;
    let main = graph.main_logits();
    let inference = Inference::with_algorithms(
        &graph,
        &weights,
        Arc::clone(&cpu),
        &[main],
        &choice.algorithms,
    )?;
    let steps = inference.steps();
    engine::tell_unused(&args.engine, steps)?;
    if args.json {
        let steps: Vec<_> = steps.iter().map(as_json).collect();
        let isa = cpu.isa().to_string();
        output::print_json(&json!({ "isa": isa, "algorithms": choice.origin, "steps": steps }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let activations = inference.activation_bytes();
    output::print(&format!(
        "{} on {}: algorithms {}\n\n{}\n{}",
        net.name,
        cpu.isa(),
        choice.origin,
        table(steps),
        totals(steps, activations),
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn as_json(step: &StepInfo) -> serde_json::Value {
    let candidates: Vec<String> = step.candidates.iter().map(ToString::to_string).collect();
    json!({
        "layers": step.layers,
        "kind": step.layer_kind,
        "algorithm": step.algorithm.map(|algorithm| algorithm.to_string()),
        "candidates": candidates,
        "multiply_adds": step.multiply_adds,
        "multiply_adds_done": step.done,
        "weight_bytes": step.weights,
    })
}

fn table(steps: &[StepInfo]) -> String {
    let mut table = Table::new(&[
        ("layers", Align::Left),
        ("kind", Align::Left),
        ("algorithm", Align::Left),
        ("of", Align::Left),
        ("mult-adds", Align::Right),
        ("done", Align::Right),
        ("weights", Align::Right),
    ]);
    for step in steps {
        let mut row = vec![short(&step.layers), step.layer_kind.clone()];
        if let Some(algorithm) = step.algorithm {
            row.push(algorithm.to_string());
            row.push(runs(&step.candidates));
            row.push(scaled(step.multiply_adds));
            row.push(format!("{:.0} %", 100.0 * step.done as f64 / step.multiply_adds as f64));
            row.push(megabytes(step.weights));
        }
        table.row(row);
    }
    table.text()
}

/// `direct F(2×2)…F(7×7)`: tiles that follow each other by their ends.
fn runs(candidates: &[Algorithm]) -> String {
    let is_tile = |algorithm: &&Algorithm| matches!(algorithm, Algorithm::Minimal { .. });
    let tiles: Vec<String> = candidates.iter().filter(is_tile).map(ToString::to_string).collect();
    let tiles = match &tiles[..] {
        [first, _, .., last] => vec![format!("{first}…{last}")],
        _ => tiles,
    };
    let others = candidates.iter().filter(|algorithm| !is_tile(algorithm)).map(ToString::to_string);
    others.chain(tiles).collect::<Vec<_>>().join(" ")
}

/// Of a number of bytes.
pub fn megabytes(bytes: usize) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// `Mixed_5b: branch1x1 + branch5x5_1` for layers of one module.
pub fn short(layers: &[String]) -> String {
    let module = |name: &String| name.rsplit_once('.').map(|(module, _)| module.to_owned());
    let first = layers.first().and_then(module);
    match first {
        Some(first)
            if layers.len() > 1 && layers.iter().all(|l| module(l).as_ref() == Some(&first)) =>
        {
            let own: Vec<&str> = layers.iter().map(|name| &name[first.len() + 1..]).collect();
            format!("{first}: {}", own.join(" + "))
        }
        _ => layers.join(" + "),
    }
}

fn totals(steps: &[StepInfo], activations: usize) -> String {
    let sum = |of: fn(&StepInfo) -> u64| steps.iter().map(of).sum::<u64>();
    let (all, done) = (sum(|step| step.multiply_adds), sum(|step| step.done));
    let weights: usize = steps.iter().map(|step| step.weights).sum();
    format!(
        "{} multiply-adds, of which {} are done; {} of weights as packed, {} of activations for a \
         picture\n",
        scaled(all),
        scaled(done),
        megabytes(weights),
        megabytes(activations),
    )
}
