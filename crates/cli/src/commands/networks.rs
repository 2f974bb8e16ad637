//! `inception networks`.

use std::process::ExitCode;

use anyhow::Result;
use inception_net::zoo::{self, Options};

use crate::output;
use crate::text::{Align, Table, scaled};

/// Lists the built-in networks
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

const EXAMPLES: &str = "\
Examples:
  inception networks
  inception summary googlenet                      one of them, layer by layer
  inception summary googlenet --dialect tf-slim    as TF-slim computes it

Parameters and multiply-adds are those of the first dialect at its usual input, without
auxiliary heads. `smallest` is the shortest side the network takes.";

/// Prints the table.
pub fn run(_: &Args) -> Result<ExitCode> {
    let mut table = Table::new(&[
        ("network", Align::Left),
        ("input", Align::Right),
        ("smallest", Align::Right),
        ("parameters", Align::Right),
        ("mult-adds", Align::Right),
        ("dialects", Align::Left),
    ]);
    let mut about = Table::new(&[("", Align::Left), ("", Align::Left)]);
    for name in zoo::names() {
        let net = zoo::build(name, &Options::default())?;
        let summary = net.graph()?.summary();
        let dialects: Vec<&str> = zoo::dialects(name)?.iter().map(|d| d.name()).collect();
        let input = net.input;
        table.row(vec![
            name.to_owned(),
            format!("{}×{}×{}", input.channels, input.height, input.width),
            net.smallest_input()?.to_string(),
            scaled(summary.parameters_without_auxiliary as u64),
            scaled(summary.multiply_adds as u64),
            dialects.join(", "),
        ]);
        about.row(vec![name.to_owned(), description(name).to_owned()]);
    }
    output::print(&format!("{}\n{}", table.text(), about.text()))?;
    Ok(ExitCode::SUCCESS)
}

/// What a network is, in a line.
fn description(name: &str) -> &'static str {
    match name {
        "googlenet" => "Inception v1, winner of ImageNet 2014 (arXiv 1409.4842)",
        "bn-inception" => "v1 with batch norm and two 3×3 for each 5×5 (arXiv 1502.03167)",
        "inception-v2" => "the first of arXiv 1512.00567: table 1 with a 7×7 stem",
        "inception-v3-paper" => "v3 as that paper's table 1 prints it",
        "inception-v3" => "v3 as its authors released it, which is what others call Inception v3",
        "inception-v3-small" => "v3 scaled to small pictures; the default for the built-in data",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_is_described() {
        for name in zoo::names() {
            assert_ne!(description(name), "", "{name}");
        }
    }
}
