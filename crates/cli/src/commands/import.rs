//! `inception import`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use inception_convert::{Options, Range, from_graph};
use inception_net::Net;
use sha2::{Digest, Sha256};

use crate::fail::usage;
use crate::hub::hexadecimal;
use crate::options::NetworkOptions;
use crate::output;
use crate::text::count;

/// Makes a model file of another program's weights
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A file of weights; a folder of TensorFlow.js; the prefix of a TensorFlow checkpoint's files
    file: PathBuf,
    /// Its format or the library whose names it has; recognised unless given
    #[arg(long, value_name = "NAME",
        value_parser = clap::builder::PossibleValuesParser::new(inception_convert::sources()))]
    from: Option<String>,
    /// The network: a built-in one, a TOML file, a model file; recognised unless given
    #[arg(long, value_name = "NETWORK")]
    network: Option<String>,
    #[command(flatten)]
    options: NetworkOptions,
    /// Number of classes: of --network, or of the new classifier that a file without one gets
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    classes: Option<usize>,
    /// The numbers that the network wants for pixels, for files that hold a graph: [0, 1],
    /// [-1, 1], [0, 255], ImageNet's mean and deviation, or Caffe's [default: those of the
    /// built-in network it is like]
    #[arg(long, value_name = "NAME", value_parser = range())]
    range: Option<Range>,
    /// The classes' names: a text file with one a line, in the order of the network's outputs;
    /// ImageNet's thousand also serve networks of 1001 outputs; or the label map (.pbtxt) of the
    /// graph of 2015
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// The model file to write
    #[arg(short, long, value_name = "FILE", default_value = "model.safetensors")]
    out: PathBuf,
    /// Writes over a file that is there
    #[arg(long)]
    force: bool,
}

const EXAMPLES: &str = "\
Examples:
  inception import inception_v3_google-0cc3c7bd.pth -o v3.safetensors
  inception import bvlc_googlenet.caffemodel --labels synset_words.txt
  inception import inception_v3_weights_tf_dim_ordering_tf_kernels.h5
  inception import tfjs/model.json
  inception import weights.safetensors --network mine.toml --from inception

What a file says about arithmetic, preprocessing and labels goes into the model file; nothing in a
file is ever run.";

/// Reads, converts, writes.
pub fn run(args: &Args) -> Result<ExitCode> {
    output::check_target(&args.out, &args.file, args.force)?;
    let options = Options {
        from: args.from.clone(),
        network: network(args)?,
        dialect: args.options.dialect,
        labels: args.labels.as_deref().map(lines).transpose()?,
        graph: from_graph::Options {
            name: args.file.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            size: args.options.size.map(|pixels| (pixels.0, pixels.1)),
            range: args.range,
            new_classes: args.classes,
        },
    };
    let contents = inception_formats::read(&args.file)?;
    let mut model = inception_convert::import(contents, &options)
        .with_context(|| format!("cannot import {}", args.file.display()))?;
    model.provenance.extend(origin(&args.file)?);
    model.save(&args.out)?;
    output::note(&summary(&model.net, &args.out));
    Ok(ExitCode::SUCCESS)
}

/// A file's own name and its SHA-256, for the model's provenance; nothing of a folder.
fn origin(path: &Path) -> Result<Vec<(String, String)>> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let sum = hexadecimal(&Sha256::digest(&bytes));
    Ok(vec![("file".to_owned(), name), ("sha256".to_owned(), sum)])
}

/// Names the ranges in help and completions.
fn range() -> impl clap::builder::TypedValueParser<Value = Range> {
    use clap::builder::TypedValueParser;
    clap::builder::PossibleValuesParser::new(Range::ALL.map(Range::name))
        .try_map(|name| name.parse::<Range>())
}

/// The network asked for. Without --network the file's own is taken, so its options make no sense,
/// but for the size, which some graphs leave open.
fn network(args: &Args) -> Result<Option<Net>> {
    let given = NetworkOptions { dialect: None, size: None, ..args.options.clone() }.given();
    match (&args.network, given) {
        (Some(spec), _) => crate::network::find(spec, &args.options, args.classes).map(Some),
        (None, Some(option)) => Err(usage(format!("{option} goes together with --network"))),
        (None, None) => Ok(None),
    }
}

/// The labels in a text file or a label map.
pub fn lines(path: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the labels in {}", path.display()))?;
    Ok(inception_convert::labels(&text))
}

pub fn summary(net: &Net, out: &Path) -> String {
    let input = net.input;
    format!(
        "{}, {}×{}×{} to {}, is now in {}",
        net.name,
        input.channels,
        input.height,
        input.width,
        count(net.classes as u64, "output"),
        output::quoted(out),
    )
}
