//! Networks as the command line names them: built-in ones, TOML files, model files.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use inception_model::Model;
use inception_net::zoo::{self, Options};
use inception_net::{Net, NetError};

use crate::fail::usage;
use crate::options::NetworkOptions;

/// The network that `spec` names: a built-in one with these options, or what a file describes. A
/// file says everything itself, so options beside it are refused; only the number of classes of
/// a TOML file can be another.
pub fn find(spec: &str, options: &NetworkOptions, classes: Option<usize>) -> Result<Net> {
    if zoo::names().any(|name| name == spec) {
        return built_in(spec, options, classes);
    }
    let path = Path::new(spec);
    if !path.exists() {
        let known: Vec<&str> = zoo::names().collect();
        let known = known.join(", ");
        return Err(usage(format!(
            "`{spec}` is neither a built-in network nor a file; the built-in ones are {known}"
        )));
    }
    if let Some(option) = options.given() {
        return Err(usage(format!(
            "{option} is for built-in networks; {spec} says itself what it is: change it there \
             (`inception summary NAME {option} … --toml` writes a built-in network as such a file)"
        )));
    }
    match is_model_file(path) {
        true => Ok(Model::open(path)?.net),
        false => from_toml(path, classes),
    }
}

/// Whether a file is taken for a model rather than a network's TOML.
pub fn is_model_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "safetensors")
}

fn built_in(name: &str, options: &NetworkOptions, classes: Option<usize>) -> Result<Net> {
    let options = Options {
        classes,
        size: options.size.map(|pixels| (pixels.0, pixels.1)),
        channels: options.channels,
        width: options.width.unwrap_or(1.0),
        dialect: options.dialect,
    };
    zoo::build(name, &options).map_err(|error| match error {
        NetError::UnknownDialect { .. } | NetError::Option(_) | NetError::TooSmall { .. } => {
            usage(error.to_string())
        }
        other => other.into(),
    })
}

fn from_toml(path: &Path, classes: Option<usize>) -> Result<Net> {
    let text = fs::read_to_string(path).with_context(|| {
        format!("cannot read {} as text; a network's file is TOML", path.display())
    })?;
    let context = || format!("{} is no usable network", path.display());
    let mut net = Net::from_toml(&text).with_context(context)?;
    net.classes = classes.unwrap_or(net.classes);
    net.graph().with_context(context)?;
    Ok(net)
}
