//! `inception tune`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use inception_engine::Cpu;

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
    if args.forget {
        return forget(&cpu);
    }
    let path = match &args.output {
        Some(path) => path.clone(),
        None => engine::place_for_plan(&cpu)?,
    };
    // What is kept of other networks' layers stays; a damaged plan is replaced.
    let kept = args.output.is_none().then(|| engine::read(&path).ok()).flatten();
    let mut progress = Progress::new();
    let plan = inception_engine::tune(&net.graph()?, &cpu, args.rounds.into(), |done, of| {
        progress.doing("measuring", "runs", done, of);
    })?;
    progress.end();
    let mut all = kept.unwrap_or_default();
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

fn forget(cpu: &Cpu) -> Result<ExitCode> {
    match engine::kept_plan(cpu).filter(|path| path.exists()) {
        Some(path) => {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            output::note(&format!("{} is forgotten", path.display()));
        }
        None => output::note("no plan is kept for this machine"),
    }
    Ok(ExitCode::SUCCESS)
}
