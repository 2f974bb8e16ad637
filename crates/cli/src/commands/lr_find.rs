//! `inception lr-find`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use inception_engine::Cpu;
use inception_image::dataset::OpenOptions;
use inception_model::write_atomically;
use inception_train::{RateCurve, RunOptions, Trainer};
use serde_json::json;

use super::train::stop_on_interrupt;
use crate::fail::usage;
use crate::job::{self, RecipeOptions};
use crate::options::{MachineOptions, NetworkOptions};
use crate::plot::{Axis, Curve, plot_along};
use crate::rate_chart::rate_chart;
use crate::{data, output};

/// Finds a learning rate: trains some steps with a rate that rises until the loss blows up
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The pictures, as `train` takes them [default: the built-in Fashion-MNIST pictures]
    data: Option<PathBuf>,
    /// The network, as `train` takes it [default: one that suits the pictures]
    #[arg(short, long, value_name = "NAME|FILE")]
    model: Option<String>,
    /// Steps from the lowest to the highest rate
    #[arg(long, value_name = "N", default_value_t = 150,
        value_parser = clap::value_parser!(u32).range(20..=100_000))]
    steps: u32,
    /// The lowest rate
    #[arg(long, value_name = "RATE", default_value_t = 1e-5, allow_negative_numbers = true)]
    from: f64,
    /// The highest rate
    #[arg(long, value_name = "RATE", default_value_t = 10.0, allow_negative_numbers = true)]
    to: f64,
    /// Draws the curve into this SVG file; one that is there is replaced
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Writes curve and suggestion as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkOptions,
    #[command(flatten)]
    recipe: RecipeOptions,
    #[command(flatten)]
    machine: MachineOptions,
}

const EXAMPLES: &str = "\
Examples:
  inception lr-find
  inception lr-find photos/ --recipe small-data --out rates.svg
  inception lr-find photos/ --optimizer adamw --from 1e-7 --to 1

The suggestion is a tenth of the rate with the smallest loss, as far as the curve falls at all;
where it falls most steeply is told too. The recipe's schedule plays no part, and nothing is
left behind of what was trained.";

/// Finds and shows.
pub fn run(args: &Args) -> Result<ExitCode> {
    if !(args.from > 0.0 && args.from < args.to && args.to.is_finite()) {
        return Err(usage("--from has to be above 0 and below --to"));
    }
    let folder = args.out.as_deref().and_then(Path::parent);
    if let Some(folder) = folder.filter(|f| !f.as_os_str().is_empty() && !f.is_dir()) {
        return Err(usage(format!("--out: there is no folder {}", folder.display())));
    }
    let curve = find(args)?;
    match args.json {
        true => output::print_json(&json!({
            "suggestion": curve.suggestion(),
            "steepest": curve.steepest(),
            "smallest": curve.smallest(),
            "points": curve.points.iter().map(|point| json!({
                "learning_rate": point.learning_rate,
                "loss": point.loss,
                "smoothed": point.smoothed,
            })).collect::<Vec<_>>(),
        }))?,
        false => output::print(&text(&curve))?,
    }
    if let Some(path) = &args.out {
        write_atomically(path, rate_chart(&curve).as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn find(args: &Args) -> Result<RateCurve> {
    let cpu = Arc::new(Cpu::new(args.machine.threads())?);
    let recipe = args.recipe.named()?;
    let data = data::open(args.data.as_deref(), &OpenOptions::default())?;
    let look = data::look(&data.train).context("none of the pictures looked at can be read")?;
    let spec = args.model.as_deref();
    let net = job::network(spec, &args.network, data.classes.len(), look)?;
    let input = (net.input.height, net.input.width);
    let usual = job::usual_recipe(spec, args.data.as_deref(), input);
    let recipe = args.recipe.recipe(recipe, usual)?;
    let start = job::start(spec, net, &data, recipe.seed)?;
    let trainer = Trainer::new(start.model, recipe, Arc::clone(&cpu))?;
    // For the checkpoint that every run begins with.
    let folder = tempfile::tempdir().context("cannot make a folder for temporary files")?;
    let (stop, checkpoint_every) = (stop_on_interrupt(output::note)?, Duration::MAX);
    let (folder, workers) = (folder.path(), cpu.threads());
    let options = RunOptions { folder, workers, checkpoint_every, stop };
    let steps = args.steps as usize;
    output::note(&format!("up to {steps} steps, rates from {} to {}", args.from, args.to));
    Ok(trainer.find_rate(&data, options, (steps, (args.from, args.to)), &mut ())?)
}

/// A rate with three digits.
fn rate(value: f64) -> String {
    let places = (2 - value.log10().floor() as i32).clamp(0, 12) as usize;
    format!("{value:.places$}")
}

fn text(curve: &RateCurve) -> String {
    // What blew up would press all else flat.
    let start = curve.points.first().map_or(0.0, |point| point.smoothed);
    let shown = |value: f64| if value <= 1.5 * start { value } else { f64::NAN };
    let values: Vec<f64> = curve.points.iter().map(|point| shown(point.smoothed)).collect();
    let curves = [Curve { name: "smoothed over some steps", mark: '●', values }];
    let end = |point: Option<&inception_train::RatePoint>| {
        point.map_or(String::new(), |point| rate(point.learning_rate))
    };
    let (first, last) = (end(curve.points.first()), end(curve.points.last()));
    let axis = Axis { first, last, name: "learning rate" };
    let width = output::columns().saturating_sub(12).min(72);
    let plot = plot_along("loss", &curves, &axis, width, |v| format!("{v:.3}"));
    let found = match (curve.suggestion(), curve.steepest(), curve.smallest()) {
        (Some(suggestion), Some(steepest), Some(smallest)) => format!(
            "falls most steeply at {}, smallest at {}\nsuggested: --learning-rate {}\n",
            rate(steepest),
            rate(smallest),
            rate(suggestion)
        ),
        _ => "the loss never falls: try a lower --from, or more --steps\n".to_owned(),
    };
    format!("{plot}\n{found}")
}
