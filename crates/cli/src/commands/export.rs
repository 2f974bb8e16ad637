//! `inception export`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use inception_model::{Model, Named, Precision, write_atomically, write_plain};

use crate::fail::usage;
use crate::onnx_runtime;
use crate::options::MachineOptions;
use crate::output;

/// Writes a model file for another program
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A model file
    model: PathBuf,
    /// What to write
    #[arg(long, value_name = "FORMAT", default_value = "onnx")]
    to: Target,
    /// The file to write [default: beside the model, with the format's ending]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Precision of the filters in a state dict, or in a model file: f32, f16 or bf16; all else
    /// stays f32
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    precision: Precision,
    /// Writes over a file that is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    machine: MachineOptions,
}

/// What can be written.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Target {
    /// The network and its weights as an ONNX file, from the preprocessed picture to the logits
    Onnx,
    /// A state dict in a safetensors file under torchvision's names
    Torchvision,
    /// The weights in a safetensors file under Keras' names, axes in its order
    Keras,
    /// A model file again, in another precision
    Model,
}

impl Target {
    fn ending(self) -> &'static str {
        match self {
            Target::Onnx => "onnx",
            Target::Torchvision => "torchvision.safetensors",
            Target::Keras => "keras.safetensors",
            Target::Model => "packed.safetensors",
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  inception export model.safetensors                write model.onnx
  inception export model.safetensors -o flowers.onnx
  inception export model.safetensors --to torchvision
  inception export model.safetensors --to model --precision f16

Auxiliary heads and dropout, which only training needs, are left out of ONNX files. Where python3
has the package onnxruntime, the file is run there once and has to give this program's logits.";

/// Reads, converts, writes, checks.
pub fn run(args: &Args) -> Result<ExitCode> {
    let out = args.out.clone().unwrap_or_else(|| args.model.with_extension(args.to.ending()));
    output::check_target(&out, &args.model, args.force)?;
    let model = Model::load(&args.model)?;
    match args.to {
        Target::Onnx if args.precision != Precision::F32 => {
            Err(usage("ONNX files are written in f32; --precision is for the other formats"))
        }
        Target::Onnx => onnx(&model, &out, args.machine.threads()),
        Target::Torchvision => state_dict(&model, "torchvision", &out, args.precision),
        Target::Keras => state_dict(&model, "keras", &out, args.precision),
        Target::Model => {
            model.save_as(&out, args.precision)?;
            output::note(&format!("{} is now in {}", model.net.name, output::quoted(&out)));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn state_dict(model: &Model, library: &str, out: &Path, narrow: Precision) -> Result<ExitCode> {
    let arrays = inception_convert::state_dict(model, library)?;
    let tensors = arrays.iter().map(|array| {
        // One axis: biases, and all of batch norm.
        let precision = if array.shape.len() > 1 { narrow } else { Precision::F32 };
        Named { name: &array.name, shape: &array.shape, values: &array.values, precision }
    });
    // What PyTorch's tools look for.
    write_plain(out, Some(("format", if library == "keras" { "tf" } else { "pt" })), tensors)?;
    output::note(&format!(
        "{} tensors under the names of {library} are now in {}",
        arrays.len(),
        output::quoted(out)
    ));
    Ok(ExitCode::SUCCESS)
}

fn onnx(model: &Model, out: &Path, threads: usize) -> Result<ExitCode> {
    let bytes = inception_convert::onnx::onnx(model)?;
    write_atomically(out, &bytes).with_context(|| format!("cannot write {}", out.display()))?;
    let checked = onnx_runtime::check(model, out, threads)?;
    output::note(&format!("{} is now in {}; {checked}", model.net.name, output::quoted(out)));
    Ok(ExitCode::SUCCESS)
}
