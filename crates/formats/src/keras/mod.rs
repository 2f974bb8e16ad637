//! Keras' files: HDF5 (`.h5`, whole models and weights) and archives (`.keras`).
//!
//! A file with the model's description becomes a graph; one with weights alone becomes arrays,
//! in the order in which the file lists them.

mod config;
mod layer;
mod lower;
mod weights;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::archive::Archive;
use crate::graph::Graph;
use crate::hdf5::File;
use crate::{Array, Contents, Fault, Format};
pub(crate) use weights::Weights;

/// Reads a Keras HDF5 file.
///
/// # Errors
///
/// If it is damaged, is of something else than Keras, or has layers that the Inception family
/// does not have.
pub fn read_hdf5(bytes: &[u8]) -> Result<Contents, Fault> {
    let file = File::open(bytes)?;
    let model = file.texts("", "model_config")?.and_then(|texts| texts.into_iter().next());
    let root = if file.has_group("model_weights") { "model_weights" } else { "" };
    let arrays = match listed(&file, root, "layer_names")? {
        Some(layers) => of_layers(&file, root, &layers)?,
        None => of_paths(&file)?,
    };
    let mut contents = match model {
        Some(model) => Contents::graph(
            Format::KerasHdf5,
            graph(&json(model.as_bytes())?, Weights::named(arrays)?)?,
        ),
        None if arrays.is_empty() => return Err(Fault::new("it holds no arrays of a Keras model")),
        None => Contents::arrays(Format::KerasHdf5, arrays),
    };
    for key in ["keras_version", "backend"] {
        if let Ok(Some([text])) = file.texts(root, key).as_ref().map(|texts| texts.as_deref()) {
            contents.notes.insert(key.to_owned(), text.clone());
        }
    }
    Ok(contents)
}

/// Reads a Keras archive.
///
/// # Errors
///
/// As [`read_hdf5`].
pub fn read_archive(bytes: &[u8]) -> Result<Contents, Fault> {
    let mut archive = Archive::open(bytes)?;
    let model = json(&archive.entry("config.json")?)?;
    let file = File::open(&archive.entry("model.weights.h5")?)?;
    let weights = Weights::placed(of_paths(&file)?);
    let mut contents = Contents::graph(Format::KerasArchive, graph(&model, weights)?);
    if let Ok(text) = archive.entry("metadata.json")
        && let Some(version) = json(&text)?.get("keras_version").and_then(Value::as_str)
    {
        contents.notes = BTreeMap::from([("keras_version".to_owned(), version.to_owned())]);
    }
    Ok(contents)
}

/// The graph of a model's description, `{"class_name": …, "config": {…}}`.
pub(crate) fn graph(model: &Value, weights: Weights) -> Result<Graph, Fault> {
    lower::graph(&config::network(model)?, weights)
}

/// The arrays of these layers, with Keras' names of variables.
fn of_layers(file: &File, root: &str, layers: &[String]) -> Result<Vec<Array>, Fault> {
    let mut arrays = Vec::new();
    for layer in layers {
        let group = if root.is_empty() { layer.clone() } else { format!("{root}/{layer}") };
        let names = listed(file, &group, "weight_names")?
            .ok_or_else(|| Fault::new(format!("layer {layer} has no list of its weights")))?;
        for name in names {
            let Some(array) = file.array(&format!("{group}/{name}"))? else { continue };
            // Keras 3.0 names variables without their layer.
            let name = if name.contains('/') { name } else { format!("{layer}/{name}") };
            arrays.push(Array { name, ..array });
        }
    }
    Ok(arrays)
}

/// The arrays of a file of Keras 3's kind, but for the optimiser's.
fn of_paths(file: &File) -> Result<Vec<Array>, Fault> {
    let paths = file.paths()?;
    let ours = paths.into_iter().filter(|path| path.contains("vars/"));
    ours.filter(|path| !path.starts_with("optimizer/"))
        .filter_map(|path| file.array(&path).transpose())
        .collect()
}

/// A list of names; Keras splits those too long for one attribute into `NAME0`, `NAME1`, ….
fn listed(file: &File, group: &str, name: &str) -> Result<Option<Vec<String>>, Fault> {
    if let Some(names) = file.texts(group, name)? {
        return Ok(Some(names));
    }
    let mut all: Option<Vec<String>> = None;
    for part in 0.. {
        let Some(names) = file.texts(group, &format!("{name}{part}"))? else { break };
        all.get_or_insert_default().extend(names);
    }
    Ok(all)
}

fn json(text: &[u8]) -> Result<Value, Fault> {
    serde_json::from_slice(text)
        .map_err(|error| Fault::new(format!("its model's description: {error}")))
}
