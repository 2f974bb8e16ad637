//! `inception recipe`.

use std::process::ExitCode;

use anyhow::Result;
use inception_train::Preset;

use crate::job::recipe_text;
use crate::output;
use crate::text::{Align, Table};

/// Lists the recipes that training can follow, or prints one
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The recipe to print: a name or a TOML file, which is checked [default: lists the names]
    #[arg(value_name = "NAME|FILE")]
    recipe: Option<String>,
    /// Replaces any entry, as `train --set` does, and prints all of what comes out, without
    /// comments
    #[arg(long, value_name = "KEY=VALUE", requires = "recipe")]
    set: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  inception recipe
  inception recipe paper > mine.toml
  inception train photos/ --recipe mine.toml
  inception recipe paper --set label_smoothing=0 --set average=none";

/// Prints the list or the recipe.
pub fn run(args: &Args) -> Result<ExitCode> {
    match &args.recipe {
        None => output::print(&list())?,
        Some(spec) => output::print(&text(spec, &args.set)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list() -> String {
    let mut table = Table::new(&[("", Align::Left), ("", Align::Left)]);
    for preset in Preset::ALL {
        table.row(vec![preset.name.to_owned(), preset.summary().to_owned()]);
    }
    table.text()
}

fn text(spec: &str, settings: &[String]) -> Result<String> {
    let recipe = recipe_text(spec)?;
    let parsed = recipe.parse()?;
    if settings.is_empty() {
        return Ok(recipe.text);
    }
    let misused = |error: inception_train::TrainError| crate::fail::usage(error.to_string());
    let recipe = parsed.with_settings(settings).map_err(misused)?;
    Ok(recipe.to_toml().trim_end().to_owned() + "\n")
}
