//! A model's weights under another library's names.

use std::collections::HashSet;

use inception_formats::Array;
use inception_model::Model;
use inception_net::Graph;
use inception_net::graph::{Op, Parameter};
use inception_net::zoo::Dialect;

use crate::names::{self, Source};

/// Why a model cannot be written for another program.
#[derive(Debug, thiserror::Error)]
pub enum StateDictError {
    /// No library has this name.
    #[error("`{0}` is no library that state dicts are written for")]
    Library(String),
    /// The library has no network that computes the same.
    #[error(
        "{library} has no network that computes what `{network}` ({dialect}) does; it has \
         {known}. ONNX files hold any network"
    )]
    Network {
        /// The library.
        library: String,
        /// The network.
        network: String,
        /// Its dialect.
        dialect: String,
        /// What the library has.
        known: &'static str,
    },
    /// The library's network wants a number of its own where the model has another.
    #[error(
        "`{parameter}` has values of its own, but {library} has no place for them; import it into a dialect that fits"
    )]
    NoPlace {
        /// The library.
        library: String,
        /// The parameter.
        parameter: String,
    },
    /// The network cannot be built.
    #[error("{0}")]
    Net(#[from] inception_net::NetError),
}

/// What a library can load and compute as we do.
struct Destination {
    library: &'static str,
    /// Dialects with its arithmetic. The same names with another one's weights would load and
    /// give other logits.
    dialects: &'static [Dialect],
    /// In words.
    known: &'static str,
    /// Whether it has the auxiliary heads too.
    auxiliary: bool,
}

const DESTINATIONS: [Destination; 2] = [
    Destination {
        library: "torchvision",
        // The graph of 2015 is pytorch-fid's, a network of torchvision's names.
        dialects: &[Dialect::Torchvision, Dialect::Fid2015],
        known: "googlenet and inception-v3 of the dialect torchvision, inception-v3 of fid-2015",
        auxiliary: true,
    },
    Destination {
        library: "keras",
        dialects: &[Dialect::Keras, Dialect::TfSlim],
        known: "inception-v3 of the dialects keras and tf-slim",
        auxiliary: false,
    },
];

/// The weights as `library` ("torchvision", "keras") names and lays them out, in the network's
/// order. Left out is what training alone needs: PyTorch's counters of batches (`load_state_dict`
/// with `strict=False` does without), and for Keras the auxiliary heads.
///
/// # Errors
///
/// If the library has no network that computes the same, or no place for a parameter.
pub fn state_dict(model: &Model, library: &str) -> Result<Vec<Array>, StateDictError> {
    let unknown = || StateDictError::Library(library.to_owned());
    let destination = DESTINATIONS.iter().find(|d| d.library == library).ok_or_else(unknown)?;
    let table = names::library(library).ok_or_else(unknown)?;
    let mut net = model.net.clone();
    if !destination.auxiliary {
        names::without_auxiliary(&mut net);
    }
    let graph = net.graph()?;
    let sources = net
        .dialect
        .is_none_or(|dialect| destination.dialects.contains(&dialect))
        .then(|| (table.sources)(&net.name, &graph))
        .flatten()
        .ok_or_else(|| StateDictError::Network {
            library: library.to_owned(),
            network: net.name.clone(),
            dialect: net.dialect.map_or("no dialect", Dialect::name).to_owned(),
            known: destination.known,
        })?;
    let mut arrays = Vec::new();
    for (parameter, source) in graph.parameters().iter().zip(sources) {
        // Taking heads away takes parameters away, and adds none.
        let Some(tensor) = model.weights.get(&parameter.name) else { continue };
        match source {
            Source::Array { name, layout } => {
                let multiplier = multiplier(&graph, parameter);
                let (shape, values) =
                    layout.from_ours(&parameter.shape, &tensor.values, multiplier);
                arrays.push(Array { name, shape, values });
            }
            Source::Difference { name, minus } => {
                let shape = parameter.shape.clone();
                let zeros = vec![0.0; tensor.values.len()];
                arrays.push(Array { name: minus, shape: shape.clone(), values: zeros });
                arrays.push(Array { name, shape, values: tensor.values.clone() });
            }
            Source::Constant(value) if tensor.values.iter().all(|&v| v == value) => {}
            Source::Constant(_) => {
                return Err(StateDictError::NoPlace {
                    library: library.to_owned(),
                    parameter: parameter.name.clone(),
                });
            }
        }
    }
    if library == "torchvision" {
        add_scales(&mut arrays);
    }
    Ok(arrays)
}

/// Filters per channel of a depthwise layer.
fn multiplier(graph: &Graph, parameter: &Parameter) -> usize {
    match graph.layers[parameter.layer].op {
        Op::Depthwise { multiplier, .. } => multiplier,
        _ => 1,
    }
}

/// γ of ones for the batch norms that have none: torchvision's always have one.
fn add_scales(arrays: &mut Vec<Array>) {
    let names: HashSet<String> = arrays.iter().map(|array| array.name.clone()).collect();
    let missing = |array: &Array| {
        let norm = array.name.strip_suffix("running_mean")?;
        let name = format!("{norm}weight");
        let values = vec![1.0; array.values.len()];
        (!names.contains(&name)).then(|| Array { name, shape: array.shape.clone(), values })
    };
    let scales: Vec<Array> = arrays.iter().filter_map(missing).collect();
    arrays.extend(scales);
}
