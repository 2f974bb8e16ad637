//! `inception summary`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use inception_net::Net;

use crate::fail::usage;
use crate::options::NetworkOptions;
use crate::{network, output};

/// Shows a network: every layer with its shape, parameters, cost and receptive field
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A built-in network (`inception networks` lists them), a TOML file, or a model file
    #[arg(value_name = "NAME|FILE")]
    network: String,
    /// Writes the summary as JSON
    #[arg(long, conflicts_with = "toml")]
    json: bool,
    /// Writes the network as the TOML file that describes it, to edit and pass back
    #[arg(long)]
    toml: bool,
    /// Draws the network, modules as the papers draw them, into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Number of classes [default: the network's own]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Network")]
    classes: Option<usize>,
    #[command(flatten)]
    options: NetworkOptions,
}

const EXAMPLES: &str = "\
Examples:
  inception summary inception-v3
  inception summary googlenet --dialect torchvision --json
  inception summary inception-v3 --size 128 --width 0.5 --classes 5
  inception summary inception-v3 --svg v3.svg
  inception summary inception-v3-small --toml > mine.toml
  inception summary mine.toml
  inception summary runs/inception-v3-small-1/model.safetensors

In the table an output is channels × height × width, `sees` is the receptive field and
`jump` the distance between neighbouring values, both in pixels of the picture.";

/// Prints or writes what was asked for; the table if nothing was.
pub fn run(args: &Args) -> Result<ExitCode> {
    let net = network::find(&args.network, &args.options, args.classes)?;
    if args.classes.is_some() && network::is_model_file(Path::new(&args.network)) {
        return Err(usage(format!(
            "--classes is not for model files; {} was trained for {}",
            args.network, net.classes
        )));
    }
    if let Some(path) = &args.svg {
        let svg = net.to_svg()?;
        fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if args.toml {
        output::print(&net.to_toml())?;
    } else if args.json {
        output::print_json(&net.graph()?.summary())?;
    } else if args.svg.is_none() {
        output::print(&table(&net)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(net: &Net) -> Result<String> {
    let input = net.input;
    Ok(format!(
        "{}: {}×{}×{} input, {} classes\n\n{}\n",
        net.name,
        input.channels,
        input.height,
        input.width,
        net.classes,
        net.graph()?.summary()
    ))
}
