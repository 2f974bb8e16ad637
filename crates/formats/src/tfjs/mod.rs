//! TensorFlow.js' layers-models: a description in JSON and shards of weights beside it.
//!
//! Packages for browsers carry the same as scripts, minified modules that export the description
//! and the shards in base64 (`nsfwjs` does); they are read as text, never run.

mod literal;

use std::collections::HashSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use crate::keras::{self, Weights};
use crate::number::Number;
use crate::{Array, Contents, Fault, Format};

/// Names that the description has, and where packages keep it.
const MODELS: [&str; 3] = ["model.json", "model.min.js", "model.js"];

/// The description of the layers-model at `path`: itself, or the file in the folder `path`.
pub(crate) fn model_file(path: &Path) -> Option<PathBuf> {
    if path.is_dir() {
        return MODELS.iter().map(|name| path.join(name)).find(|path| path.is_file());
    }
    path.is_file().then(|| path.to_owned())
}

/// Whether a text starts like a script that carries a module.
pub(crate) fn is_script(head: &[u8]) -> bool {
    let start = head.get(..512).unwrap_or(head);
    head.starts_with(b"!function") && start.windows(8).any(|word| word == b".exports")
}

/// Reads the layers-model at `path`, its shards beside it, and notes the npm package it lies in.
///
/// # Errors
///
/// As [`read`], or if a shard cannot be read.
pub fn open(path: &Path) -> Result<Contents, Fault> {
    let file = model_file(path).ok_or_else(|| Fault::new("the folder holds no model.json"))?;
    let bytes = fs::read(&file).map_err(|error| Fault::new(error.to_string()))?;
    let mut contents = read(&bytes, |name| shard(&file, name))?;
    if let Some((name, version)) = package(&file) {
        contents.notes.insert("package".to_owned(), name);
        contents.notes.insert("package version".to_owned(), version);
    }
    Ok(contents)
}

/// Reads a layers-model from the bytes of its description; `shard` gives the bytes of the file
/// that the description calls so.
///
/// # Errors
///
/// If it is damaged, the shards are too short or too long, or a layer is none of the Inception
/// family's.
pub fn read(
    model: &[u8],
    mut shard: impl FnMut(&str) -> Result<Vec<u8>, Fault>,
) -> Result<Contents, Fault> {
    let model = description(model)?;
    let topology = model.get("modelTopology").ok_or_else(|| {
        Fault::new("it has no modelTopology; graph-models are not read, only layers-models")
    })?;
    let groups = model.get("weightsManifest").ok_or_else(|| Fault::new("it lists no weights"))?;
    let groups: Vec<Group> = Vec::deserialize(groups)
        .map_err(|error| Fault::new(format!("its list of weights: {error}")))?;
    let mut arrays = Vec::new();
    let mut seen = HashSet::new();
    for group in groups {
        let mut bytes = Vec::new();
        for path in &group.paths {
            if !seen.insert(path.clone()) {
                return Err(Fault::new(format!("it names the shard {path} twice")));
            }
            bytes.extend(shard_bytes(shard(path)?, path)?);
        }
        group.arrays(&bytes, &mut arrays)?;
    }
    // The converter writes Keras' file attributes, newer ones the model alone.
    let network = topology.get("model_config").unwrap_or(topology);
    let graph = keras::graph(network, Weights::named(arrays)?)?;
    let mut contents = Contents::graph(Format::TfJs, graph);
    for key in ["keras_version", "backend"] {
        if let Some(text) = topology.get(key).and_then(Value::as_str) {
            contents.notes.insert(key.to_owned(), text.to_owned());
        }
    }
    Ok(contents)
}

/// JSON, or a script that exports the same.
fn description(bytes: &[u8]) -> Result<Value, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|_| Fault::new("it is no text"))?;
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| Fault::new(error.to_string()));
    }
    literal::exported(text)
}

/// A shard as it is, or what a script exports in base64.
fn shard_bytes(bytes: Vec<u8>, name: &str) -> Result<Vec<u8>, Fault> {
    if !is_script(&bytes) {
        return Ok(bytes);
    }
    let about = |reason: String| Fault::new(format!("shard {name}: {reason}"));
    let text = std::str::from_utf8(&bytes).map_err(|error| about(error.to_string()))?;
    let exported = literal::exported(text).map_err(|fault| about(fault.to_string()))?;
    let text = exported.as_str().ok_or_else(|| about("it exports no text".to_owned()))?;
    STANDARD.decode(text).map_err(|error| about(error.to_string()))
}

/// The bytes of a shard beside the description. A name cannot lead out of the folder.
fn shard(model: &Path, name: &str) -> Result<Vec<u8>, Fault> {
    let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if !inside || name.is_empty() {
        return Err(Fault::new(format!("its shard {name:?} lies outside its folder")));
    }
    let candidates = ["", ".min.js", ".js"].map(|end| model.with_file_name(format!("{name}{end}")));
    let path = candidates.iter().find(|path| path.is_file()).unwrap_or(&candidates[0]);
    fs::read(path).map_err(|error| {
        Fault::new(format!(
            "its shard {}: {error}; all shards have to lie beside it",
            path.display()
        ))
    })
}

/// Name and version of the npm package that a file lies in.
fn package(file: &Path) -> Option<(String, String)> {
    const LIMIT: u64 = 1 << 20;
    let file = fs::canonicalize(file).ok()?;
    file.ancestors().skip(1).take(5).find_map(|folder| {
        let path = folder.join("package.json");
        fs::metadata(&path).ok().filter(|data| data.is_file() && data.len() <= LIMIT)?;
        let json: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        let text = |key: &str| json.get(key).and_then(Value::as_str).map(str::to_owned);
        Some((text("name")?, text("version")?))
    })
}

/// Arrays stored one after the other in shards.
#[derive(Deserialize)]
struct Group {
    paths: Vec<String>,
    weights: Vec<Entry>,
}

/// One array.
#[derive(Deserialize)]
struct Entry {
    name: String,
    shape: Vec<usize>,
    dtype: String,
    #[serde(default)]
    quantization: Option<Quantization>,
}

/// How an array was made smaller.
#[derive(Deserialize)]
struct Quantization {
    dtype: String,
    #[serde(default)]
    scale: Option<f64>,
    #[serde(default)]
    min: Option<f64>,
}

impl Group {
    fn arrays(self, bytes: &[u8], arrays: &mut Vec<Array>) -> Result<(), Fault> {
        let mut rest = bytes;
        for entry in self.weights {
            let about = |reason: &str| Fault::new(format!("array {}: {reason}", entry.name));
            let count = entry.shape.iter().try_fold(1_usize, |n, &axis| n.checked_mul(axis));
            let kind = entry.quantization.as_ref().map_or(&entry.dtype, |q| &q.dtype);
            let number = match kind.as_str() {
                "float32" => Number::F32,
                "float16" => Number::F16,
                "int32" => Number::I32,
                "uint16" => Number::U16,
                "uint8" | "bool" => Number::U8,
                other => return Err(about(&format!("its type {other} is not known here"))),
            };
            let size = count.and_then(|count| count.checked_mul(number.size()));
            let taken = size.and_then(|size| rest.split_at_checked(size));
            let Some((bytes, after)) = taken else {
                return Err(about("it reaches beyond the end of its shards"));
            };
            rest = after;
            let mut values = number.widen(bytes);
            match &entry.quantization {
                Some(Quantization { scale: Some(scale), min: Some(min), .. }) => {
                    // In doubles, as TensorFlow.js does it.
                    let restored = |stored: f32| (f64::from(stored) * scale + min) as f32;
                    values.iter_mut().for_each(|value| *value = restored(*value));
                }
                Some(_) if number != Number::F16 => {
                    return Err(about("it is quantised without scale and min"));
                }
                _ => {}
            }
            arrays.push(Array { name: entry.name, shape: entry.shape, values });
        }
        if !rest.is_empty() {
            return Err(Fault::new(format!("its shards have {} bytes too many", rest.len())));
        }
        Ok(())
    }
}
