//! `inception completions`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Command;
use clap_complete::Shell;

use crate::output;

/// Writes the script that completes the command in a shell
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The shell
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  inception completions bash > ~/.local/share/bash-completion/completions/inception
  inception completions fish > ~/.config/fish/completions/inception.fish
  inception completions zsh > ~/.zfunc/_inception      (with ~/.zfunc in $fpath)";

/// Prints the script.
pub fn run(args: &Args, command: &mut Command) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "inception", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
