//! `inception tune`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use inception_engine::{Cpu, Plan};

use crate::fail::usage;
use crate::options::{MachineOptions, NetworkOptions};
use crate::progress::Progress;
use crate::text::{Align, Table, count};
use crate::{engine, network, output};

/// Measures which algorithms are the fastest on this machine and keeps the answer
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A built-in network (`inception networks` lists them), a TOML file, or a model file
    #[arg(value_name = "NAME|FILE")]
    network: String,
    /// Writes the plan to this file instead of keeping it for this machine
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Forgets this machine's plan instead
    #[arg(long, conflicts_with = "output")]
    forget: bool,
    /// How often everything is measured; the least time counts
    #[arg(long, value_name = "N", default_value_t = 3, allow_negative_numbers = true,
        value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    #[command(flatten)]
    options: NetworkOptions,
    #[command(flatten)]
    machine: MachineOptions,
}

const EXAMPLES: &str = "\
Examples:
  inception tune inception-v3
  inception tune model.safetensors --output plan.json
  inception tune inception-v3 --forget

The whole network runs by each algorithm in turn, with one picture and with several; what is the
fastest for a kind of layer is kept for the next time, for any network with such layers. Run it
while the machine has nothing else to do. Results change in the last digits where another
algorithm is chosen. INCEPTION_CACHE names the folder where plans are kept.";

/// Measures and writes.
pub fn run(args: &Args) -> Result<ExitCode> {
    let net = network::find(&args.network, &args.options, None)?;
    let cpu = Arc::new(Cpu::new(args.machine.threads())?);
    let path = match &args.output {
        Some(path) => path.clone(),
        None => engine::kept_plan_or_error(&cpu)?,
    };
    if args.forget {
        std::fs::remove_file(&path)
            .map_err(|error| usage(format!("cannot forget {}: {error}", path.display())))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut progress = Progress::new();
    let plan = inception_engine::tune(&net.graph()?, &cpu, args.rounds.into(), |done, of| {
        progress.doing("measuring", "runs", done, of);
    })?;
    progress.end();
    // What is known of other networks' layers stays.
    let mut all = match path.exists() {
        true => engine::read(&path)?,
        false => Plan::new(),
    };
    all.extend(plan.clone());
    engine::write(&path, &all)?;
    let mut table = Table::new(&[("kind of layer", Align::Left), ("fastest", Align::Left)]);
    for (kind, algorithm) in &plan {
        table.row(vec![kind.clone(), algorithm.to_string()]);
    }
    let kinds = count(all.len() as u64, "kind");
    output::print(&format!("{}\n{kinds} of layers in {}\n", table.text(), path.display()))?;
    Ok(ExitCode::SUCCESS)
}
