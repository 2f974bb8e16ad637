//! `inception data`.

mod info;
mod show;

use std::process::ExitCode;

use anyhow::Result;

/// Looks at pictures as training sees them
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Show(Box<show::Args>),
    Info(info::Args),
}

/// Does what was asked for.
pub fn run(args: &Args) -> Result<ExitCode> {
    match &args.command {
        Command::Show(args) => show::run(args),
        Command::Info(args) => info::run(args),
    }
}
