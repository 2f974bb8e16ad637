//! What a file holds, whatever its format.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::graph::Graph;
use crate::{
    Array, Fault, Format, caffe, keras, mxnet, onnx, safetensors, tensorflow, tfjs, torch,
};

/// What a file holds.
#[derive(Clone, Debug)]
pub struct Contents {
    /// Its format.
    pub format: Format,
    /// Its arrays, by names that are those of the library that wrote it. Empty where the graph
    /// holds all values.
    pub arrays: Vec<Array>,
    /// The computation, where the format stores one.
    pub graph: Option<Graph>,
    /// Text that the file, or a file of settings beside it, says about itself.
    pub notes: BTreeMap<String, String>,
}

impl Contents {
    /// Named arrays and nothing else.
    pub fn arrays(format: Format, arrays: Vec<Array>) -> Self {
        Self { format, arrays, graph: None, notes: BTreeMap::new() }
    }

    /// A graph that holds its values itself.
    pub fn graph(format: Format, graph: Graph) -> Self {
        Self { format, arrays: Vec::new(), graph: Some(graph), notes: BTreeMap::new() }
    }
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its content is of no format known here.
    #[error(
        "{} is of none of the formats that can be imported ({}); it may be damaged",
        .0.display(), names()
    )]
    Unknown(PathBuf),
    /// It claims to be of this format, but something is wrong with it.
    #[error("{} is no readable {format} file: {fault}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: Format,
        /// What is wrong.
        fault: Fault,
    },
}

fn names() -> String {
    Format::ALL.map(Format::name).join(", ")
}

/// Reads the file, folder or checkpoint at `path`, whatever its format.
///
/// # Errors
///
/// If it cannot be read, is of no known format, or is damaged.
pub fn read(path: &Path) -> Result<Contents, FileError> {
    let unreadable = |source| FileError::Read { path: path.to_owned(), source };
    let Some(format) = Format::recognise(path).map_err(unreadable)? else {
        return Err(FileError::Unknown(path.to_owned()));
    };
    let bytes = |path: &Path| {
        fs::read(path).map_err(|source| FileError::Read { path: path.to_owned(), source })
    };
    let contents = match format {
        Format::Torch => torch::read(&bytes(path)?).map(|arrays| Contents::arrays(format, arrays)),
        Format::Safetensors => safetensors::read(&bytes(path)?).map(|file| Contents {
            notes: with_settings(file.notes, path),
            ..Contents::arrays(format, file.arrays)
        }),
        Format::Mxnet => mxnet::read(&bytes(path)?).map(|arrays| Contents::arrays(format, arrays)),
        Format::Caffe => caffe::read(&bytes(path)?).map(|arrays| Contents::arrays(format, arrays)),
        Format::Onnx => onnx(&bytes(path)?, path),
        Format::KerasHdf5 => keras::read_hdf5(&bytes(path)?),
        Format::KerasArchive => keras::read_archive(&bytes(path)?),
        Format::TfJs => tfjs::open(path),
        Format::TfCheckpoint => {
            return Ok(Contents::arrays(format, tensorflow::read_checkpoint(path)?));
        }
        Format::TfGraph => tensorflow::frozen::read(&bytes(path)?).map(|frozen| Contents {
            notes: frozen.notes(),
            ..Contents::graph(format, frozen.graph)
        }),
    };
    contents.map_err(|fault| FileError::Malformed { path: path.to_owned(), format, fault })
}

/// ONNX files may leave large tensors in files beside them.
fn onnx(bytes: &[u8], path: &Path) -> Result<Contents, Fault> {
    let file = onnx::read_with(bytes, &|name| {
        fs::read(path.with_file_name(name)).map_err(|error| {
            Fault::new(format!(
                "its values lie in `{name}` beside it, which is unreadable: {error}"
            ))
        })
    })?;
    Ok(Contents { notes: file.metadata, ..Contents::graph(Format::Onnx, file.graph) })
}

/// The key under which [`Contents::notes`] has the text of the `config.json` beside the file.
pub const SETTINGS: &str = "config.json";

/// Repositories of weights keep what the weights' own format cannot say in a `config.json`
/// beside them; timm's says how pictures are prepared.
fn with_settings(mut notes: BTreeMap<String, String>, path: &Path) -> BTreeMap<String, String> {
    const LIMIT: u64 = 1 << 20;
    let settings = path.with_file_name(SETTINGS);
    if fs::metadata(&settings).is_ok_and(|data| data.is_file() && data.len() <= LIMIT)
        && let Ok(text) = fs::read_to_string(&settings)
    {
        notes.insert(SETTINGS.to_owned(), text);
    }
    notes
}
