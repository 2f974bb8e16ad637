//! The `inception` command: parses, runs, and turns what went wrong into one message and an exit
//! code. It is the only crate that prints.

mod ablation;
mod blacklist;
mod commands;
mod data;
mod effects;
mod engine;
mod events;
mod fail;
mod hub;
mod job;
mod judge;
mod live;
mod method;
mod network;
mod onnx_runtime;
mod options;
mod output;
mod plot;
mod progress;
mod rate_chart;
mod report;
mod results;
mod run_folder;
mod sheet;
mod showcase;
mod teacher;
mod text;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use commands::{
    ablate, advise, bench, completions, diff, eval, explain_plan, export, import, lr_find,
    networks, predict, pull, recipe, summary, train, tune,
};

/// Trains, uses and shows networks of the Inception family, on the CPU.
#[derive(Parser)]
#[command(name = "inception", version, after_help = EXAMPLES, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  inception train                             learn the built-in Fashion-MNIST pictures
  inception train photos/                     learn your own: a folder of pictures per class
  inception predict runs/inception-v3-1/model.safetensors cat.jpg
  inception eval runs/inception-v3-1/model.safetensors photos/
  inception summary inception-v3              every layer with its shape and cost

`inception COMMAND --help` has more of each.

Exit codes: 0 done, 1 something failed, 2 the command line is wrong.";

#[derive(Subcommand)]
enum Command {
    Train(Box<train::Args>),
    Recipe(recipe::Args),
    LrFind(Box<lr_find::Args>),
    Predict(predict::Args),
    Eval(eval::Args),
    Import(import::Args),
    Export(export::Args),
    Pull(pull::Args),
    Data(commands::data::Args),
    Summary(summary::Args),
    Advise(advise::Args),
    Ablate(ablate::Args),
    Diff(diff::Args),
    Networks(networks::Args),
    Bench(bench::Args),
    ExplainPlan(explain_plan::Args),
    Tune(tune::Args),
    Completions(completions::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Train(args) => train::run(&args),
        Command::LrFind(args) => lr_find::run(&args),
        Command::Recipe(args) => recipe::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Pull(args) => pull::run(&args),
        Command::Data(args) => commands::data::run(&args),
        Command::Summary(args) => summary::run(&args),
        Command::Advise(args) => advise::run(&args),
        Command::Ablate(args) => ablate::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Networks(args) => networks::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::ExplainPlan(args) => explain_plan::run(&args),
        Command::Tune(args) => tune::run(&args),
        Command::Completions(args) => completions::run(&args, &mut Cli::command()),
    };
    result.unwrap_or_else(|error| fail::report(&error))
}
