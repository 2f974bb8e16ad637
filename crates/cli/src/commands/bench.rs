//! `inception bench`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use inception_engine::{BATCH, Cpu, Inference, StepInfo};
use inception_model::Weights;
use inception_net::Net;
use serde_json::{Value, json};

use super::explain_plan::{megabytes, short};
use crate::engine::EngineOptions;
use crate::options::{MachineOptions, NetworkOptions};
use crate::progress::Progress;
use crate::text::{Align, Table, count};
use crate::{engine, network, output};

/// Times a network's inference, whole and layer by layer
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A built-in network (`inception networks` lists them), a TOML file, or a model file
    #[arg(value_name = "NAME|FILE")]
    network: String,
    /// Pictures at a time
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true,
        value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: u16,
    /// How often the network runs, after a run that is not counted
    #[arg(long, value_name = "N", default_value_t = 20, allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
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
  inception bench inception-v3
  inception bench googlenet --batch 8 --threads 1
  inception bench inception-v3 --batch 32 --throughput
  inception bench inception-v3 --lean
  inception bench inception-v3 --precise --json

GFLOP/s count two operations for each multiply-add: `effective` those of the convolution's
definition, `true` those that are done, transforms not counted. The peak is that of multiply-adds
in registers, measured between the rounds. INCEPTION_ISA selects a lesser instruction set.
JSON has median_ms, the quartiles, peak_gflops, weight_bytes (as packed) and the steps.";

/// What was measured.
struct Measured {
    /// Sorted.
    runs: Vec<Duration>,
    /// The median of each step.
    steps: Vec<Duration>,
    peak: f64,
}

/// Measures and prints.
pub fn run(args: &Args) -> Result<ExitCode> {
    let net = network::find(&args.network, &args.options, None)?;
    let cpu = Arc::new(Cpu::new(args.machine.threads())?);
    let graph = net.graph()?;
    let choice = args.engine.algorithms(&cpu)?;
    let main = graph.main_logits();
    let (weights, start) = (Weights::initial(&graph, 0), Instant::now());
    let mut inference = Inference::with_algorithms(
        &graph,
        &weights,
        Arc::clone(&cpu),
        &[main],
        &choice.algorithms,
    )?;
    let planning = start.elapsed();
    engine::tell_unused(&args.engine, inference.steps())?;
    let measured = measure(args, &net, &cpu, &mut inference)?;
    let batch = usize::from(args.batch);
    let text = match args.json {
        true => {
            let mut value = as_json(&measured, inference.steps(), batch);
            value["network"] = json!(net.name);
            value["batch"] = json!(batch);
            value["height"] = json!(net.input.height);
            value["width"] = json!(net.input.width);
            value["threads"] = json!(cpu.threads());
            value["isa"] = json!(cpu.isa().to_string());
            value["processor"] = json!(engine::processor());
            value["algorithms"] = json!(choice.origin);
            value["planning_ms"] = json!(milliseconds(planning));
            serde_json::to_string_pretty(&value)? + "\n"
        }
        false => format!(
            "{} at {}×{}, batch {batch}, {}, {}; algorithms {}\n\n{}\n{}",
            net.name,
            net.input.height,
            net.input.width,
            count(cpu.threads() as u64, "thread"),
            cpu.isa(),
            choice.origin,
            table(&measured, inference.steps(), batch),
            totals(&measured, inference.steps(), batch, planning),
        ),
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn measure(args: &Args, net: &Net, cpu: &Cpu, inference: &mut Inference) -> Result<Measured> {
    let size = net.input.channels * net.input.height * net.input.width;
    let batch = usize::from(args.batch);
    let pictures: Vec<f32> = (0..batch * size).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect();
    inference.run(&pictures)?;
    let (mut runs, mut peak) = (Vec::new(), 0.0);
    let mut steps: Vec<Vec<Duration>> = vec![Vec::new(); inference.steps().len()];
    let mut progress = Progress::new();
    for round in 0..args.rounds {
        let start = Instant::now();
        inference.run(&pictures)?;
        runs.push(start.elapsed());
        peak = f64::max(peak, cpu.measure_peak());
        // As the network runs, in batches of so many.
        let mut times = vec![Duration::ZERO; steps.len()];
        for pictures in pictures.chunks(BATCH * size) {
            let part = inference.time_steps(pictures)?;
            times.iter_mut().zip(part).for_each(|(sum, time)| *sum += time);
        }
        steps.iter_mut().zip(times).for_each(|(all, time)| all.push(time));
        progress.doing("measuring", "rounds", round as usize + 1, args.rounds as usize);
    }
    progress.end();
    runs.sort();
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        quantile(times, 0.5)
    };
    Ok(Measured { runs, steps: steps.iter_mut().map(median).collect(), peak })
}

/// Of sorted times, between neighbours in proportion.
fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let at = share * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at as usize], sorted[(at.ceil()) as usize]);
    low + (high - low).mul_f64(at.fract())
}

fn milliseconds(time: Duration) -> f64 {
    1e3 * time.as_secs_f64()
}

/// Operations a nanosecond of so many multiply–adds a picture.
fn gflops(multiply_adds: u64, batch: usize, time: Duration) -> f64 {
    2.0 * (multiply_adds * batch as u64) as f64 / time.as_nanos().max(1) as f64
}

fn as_json(measured: &Measured, steps: &[StepInfo], batch: usize) -> Value {
    let weights: usize = steps.iter().map(|step| step.weights).sum();
    let steps: Vec<Value> = steps
        .iter()
        .zip(&measured.steps)
        .map(|(step, &time)| {
            json!({
                "layers": step.layers,
                "kind": step.layer_kind,
                "algorithm": step.algorithm.map(|algorithm| algorithm.to_string()),
                "median_ms": milliseconds(time),
                "effective_gflops": gflops(step.multiply_adds, batch, time),
                "true_gflops": gflops(step.done, batch, time),
                "weight_bytes": step.weights,
            })
        })
        .collect();
    let at = |share| milliseconds(quantile(&measured.runs, share));
    json!({
        "median_ms": at(0.5),
        "quartiles_ms": [at(0.25), at(0.75)],
        "least_ms": at(0.0),
        "rounds": measured.runs.len(),
        "peak_gflops": measured.peak / 1e9,
        "weight_bytes": weights,
        "steps": steps,
    })
}

fn table(measured: &Measured, steps: &[StepInfo], batch: usize) -> String {
    let mut table = Table::new(&[
        ("layers", Align::Left),
        ("kind", Align::Left),
        ("algorithm", Align::Left),
        ("weights", Align::Right),
        ("ms", Align::Right),
        ("effective", Align::Right),
        ("true", Align::Right),
        ("of peak", Align::Right),
    ]);
    for (step, &time) in steps.iter().zip(&measured.steps) {
        let mut row = vec![short(&step.layers), step.layer_kind.clone()];
        row.push(step.algorithm.map_or(String::new(), |algorithm| algorithm.to_string()));
        row.push(step.algorithm.map_or(String::new(), |_| megabytes(step.weights)));
        row.push(format!("{:.3}", milliseconds(time)));
        if step.algorithm.is_some() {
            let done = gflops(step.done, batch, time);
            row.push(format!("{:.1}", gflops(step.multiply_adds, batch, time)));
            row.push(format!("{done:.1}"));
            row.push(format!("{:.0} %", 1e11 * done / measured.peak));
        }
        table.row(row);
    }
    table.text()
}

fn totals(measured: &Measured, steps: &[StepInfo], batch: usize, planning: Duration) -> String {
    let median = quantile(&measured.runs, 0.5);
    let sum = |of: fn(&StepInfo) -> u64| steps.iter().map(of).sum::<u64>();
    let (all, done) = (sum(|step| step.multiply_adds), sum(|step| step.done));
    let mut table = Table::new(&[("", Align::Left), ("", Align::Left)]);
    let mut row = |name: &str, value: String| table.row(vec![name.to_owned(), value]);
    let at = |share| milliseconds(quantile(&measured.runs, share));
    let (low, high, rounds) = (at(0.25), at(0.75), measured.runs.len());
    let half = format!("half of {rounds} rounds between {low:.2} and {high:.2}");
    row("median", format!("{:.2} ms ({half})", milliseconds(median)));
    row("pictures", format!("{:.1} a second", batch as f64 / median.as_secs_f64()));
    let effective = gflops(all, batch, median);
    let share = 1e11 * effective / measured.peak;
    row("effective", format!("{effective:.1} GFLOP/s, {share:.0} % of the peak"));
    let done = gflops(done, batch, median);
    row("true", format!("{done:.1} GFLOP/s, {:.0} %", 1e11 * done / measured.peak));
    row("peak", format!("{:.1} GFLOP/s", measured.peak / 1e9));
    row("weights", format!("{} as packed", megabytes(steps.iter().map(|step| step.weights).sum())));
    row("planning", format!("{:.0} ms, once", milliseconds(planning)));
    table.text()
}
