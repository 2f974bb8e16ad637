//! Model files and, underneath, safetensors files written so that nothing is ever lost.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use inception_net::Net;
use inception_net::graph::{Graph, Role};
use safetensors::tensor::{Dtype, View};

use crate::bytes::Bytes;
use crate::tensor_file::{HEADER, StoredWeights, TensorFile};
use crate::{ModelError, Precision, Weights};

/// What the header's `format` entry says in files this version writes. Version 2 added the
/// network's dialect, numbers of 16 bits and the rule about fields that a reader does not know.
pub const FORMAT: &str = "inception-model/2";

/// Versions that are read.
const READABLE: [&str; 2] = ["inception-model/1", FORMAT];

/// Fields of the header that a reader has to know. Any other makes a file unreadable, since it
/// may change what the weights mean; what may be passed over goes into `provenance`.
const FIELDS: [&str; 4] = ["format", "network", "labels", "provenance"];

/// A trained network with all that is needed to use it. Its weights are in memory, or still in the
/// file ([`Model::open`]).
#[derive(Clone, Debug)]
pub struct Model<W = Weights> {
    /// The network, its preprocessing included.
    pub net: Net,
    /// Its weights.
    pub weights: W,
    /// A name for each class, in the order of the logits.
    pub labels: Vec<String>,
    /// Where the weights came from, as free key–value text.
    pub provenance: BTreeMap<String, String>,
}

impl Model {
    /// Writes the model to one file, which appears whole or not at all.
    pub fn save(&self, path: &Path) -> Result<(), ModelError> {
        self.save_as(path, Precision::F32)
    }

    /// The same with the filters and matrices in this precision. Everything else (biases, batch
    /// norm's scale, shift and statistics) stays as it is: it is a hundredth of the file, and
    /// variances may lie outside what 16 bits hold.
    ///
    /// # Errors
    ///
    /// If the file cannot be written, or a weight is too large for the precision.
    pub fn save_as(&self, path: &Path, precision: Precision) -> Result<(), ModelError> {
        let header = BTreeMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("network".to_owned(), json(&self.net)),
            ("labels".to_owned(), json(&self.labels)),
            ("provenance".to_owned(), json(&self.provenance)),
        ]);
        let header = HashMap::from([(HEADER.to_owned(), json(&header))]);
        let tensors = self.weights.tensors().iter().map(|tensor| {
            let parameter = &tensor.parameter;
            let narrow = parameter.role == Role::Weight;
            let precision = if narrow { precision } else { Precision::F32 };
            Named {
                name: &parameter.name,
                shape: &parameter.shape,
                values: &tensor.values,
                precision,
            }
        });
        write(path, Some(header), tensors)
    }

    /// Opens a model file and checks it, strictly: every tensor the network wants, of its shape, and
    /// no others. The weights stay in the file, for those who need each only once.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is damaged, of another kind or version, or does not fit together.
    pub fn open(path: &Path) -> Result<Model<StoredWeights>, ModelError> {
        if path.is_dir() {
            return Err(ModelError::Folder(path.to_owned()));
        }
        Self::of_file(TensorFile::open(path)?)
    }

    /// The same with the weights in memory.
    ///
    /// # Errors
    ///
    /// As [`Model::open`].
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        Self::open(path)?.loaded()
    }

    /// The same from a file's bytes; `path` is only what errors call it.
    ///
    /// # Errors
    ///
    /// As [`Model::open`].
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, ModelError> {
        let bytes = Bytes::Memory(bytes.to_vec());
        Self::of_file(TensorFile::of_bytes(bytes, path)?)?.loaded()
    }

    fn of_file(file: TensorFile) -> Result<Model<StoredWeights>, ModelError> {
        let path = file.path();
        let format = file.header("format")?;
        if !READABLE.contains(&format) {
            return Err(ModelError::Version { path: path.to_owned(), found: format.to_owned() });
        }
        if let Some(field) = file.keys().find(|key| !FIELDS.contains(key)) {
            let reason = format!("its header has `{field}`, which this program does not know");
            return Err(ModelError::malformed(path, reason));
        }
        let net: Net = file.header_json("network")?;
        let graph = graph_of(&net, path)?;
        let labels: Vec<String> = file.header_json("labels")?;
        if labels.len() != net.classes {
            let (found, wanted) = (labels.len(), net.classes);
            let reason = format!("{found} labels for {wanted} classes");
            return Err(ModelError::malformed(path, reason));
        }
        let provenance = file.header_json("provenance")?;
        Ok(Model { net, weights: file.into_weights(&graph)?, labels, provenance })
    }
}

impl Model<StoredWeights> {
    fn loaded(self) -> Result<Model, ModelError> {
        let Self { net, weights, labels, provenance } = self;
        Ok(Model { net, weights: weights.load()?, labels, provenance })
    }
}

fn graph_of(net: &Net, path: &Path) -> Result<Graph, ModelError> {
    net.graph().map_err(|source| ModelError::Net { path: path.to_owned(), source })
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("plain data is always JSON")
}

/// A named tensor to be written.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its shape.
    pub shape: &'a [usize],
    /// Its values.
    pub values: &'a [f32],
    /// How they are stored.
    pub precision: Precision,
}

impl View for Named<'_> {
    fn dtype(&self) -> Dtype {
        self.precision.dtype()
    }
    fn shape(&self) -> &[usize] {
        self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.precision.bytes(self.values))
    }
    fn data_len(&self) -> usize {
        self.values.len() * self.precision.size()
    }
}

/// Writes named tensors and text to a safetensors file, atomically. The same content gives the
/// same bytes.
pub fn write_tensors<'a>(
    path: &Path,
    header: BTreeMap<String, String>,
    tensors: impl IntoIterator<Item = (&'a str, &'a [usize], &'a [f32])>,
) -> Result<(), ModelError> {
    let header = HashMap::from([(HEADER.to_owned(), json(&header))]);
    let precision = Precision::F32;
    let tensors = tensors.into_iter();
    let tensors = tensors.map(|(name, shape, values)| Named { name, shape, values, precision });
    write(path, Some(header), tensors)
}

/// Writes named tensors to a safetensors file for other programs: without this project's header,
/// with at most one entry of free text, so that the same content gives the same bytes.
///
/// # Errors
///
/// If the file cannot be written, or a value is too large for its precision.
pub fn write_plain<'a>(
    path: &Path,
    note: Option<(&str, &str)>,
    tensors: impl IntoIterator<Item = Named<'a>>,
) -> Result<(), ModelError> {
    let note = note.map(|(key, text)| HashMap::from([(key.to_owned(), text.to_owned())]));
    write(path, note, tensors)
}

fn write<'a>(
    path: &Path,
    header: Option<HashMap<String, String>>,
    tensors: impl IntoIterator<Item = Named<'a>>,
) -> Result<(), ModelError> {
    let tensors: Vec<_> = tensors.into_iter().map(|tensor| (tensor.name, tensor)).collect();
    for (name, tensor) in &tensors {
        if let Some(value) = tensor.precision.beyond(tensor.values) {
            return Err(ModelError::Mismatch(format!(
                "{name} has the value {value}, which {} cannot hold; use bf16 or f32",
                tensor.precision
            )));
        }
    }
    let bytes =
        safetensors::serialize(tensors, header).map_err(|e| ModelError::Mismatch(e.to_string()))?;
    write_atomically(path, &bytes)
        .map_err(|source| ModelError::Write { path: path.to_owned(), source })
}

/// Puts the bytes at `path` so that at every moment either the old file or the new one stands
/// there whole: written beside it, synced, renamed over it, the folder synced.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // A fixed kind of name beside the target, so that what a kill leaves behind is recognisable.
    let mut builder = tempfile::Builder::new();
    builder.prefix(".partial-");
    // A temporary file is private by default; a model is for whoever the user's umask allows.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // Not every platform can open a folder; where it can, the rename itself is made durable.
    if let Ok(folder) = File::open(folder) {
        folder.sync_all()?;
    }
    Ok(())
}
