//! Safetensors files, whose tensors are read when they are asked for.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use inception_net::graph::{Graph, Parameter};
use safetensors::SafeTensorError;
use safetensors::tensor::Metadata;

use crate::bytes::Bytes;
use crate::weights::matched;
use crate::{ModelError, Precision, WeightSource, Weights};

/// The one entry of the safetensors header's own text, a JSON object that holds all of ours: that
/// header is written in random order, and the same model has to be the same bytes.
pub(crate) const HEADER: &str = "inception";

/// Bytes that say how long the header is.
const LENGTH: u64 = 8;

/// More than this a header may not have; the `safetensors` crate's own limit.
const LONGEST_HEADER: u64 = 100_000_000;

/// Name, shape and values.
pub type NamedValues = (String, Vec<usize>, Vec<f32>);

/// A safetensors file of floating-point tensors. What is in memory is its header.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    bytes: Bytes,
    header: BTreeMap<String, String>,
    /// In the order of the file.
    tensors: Vec<(String, Vec<usize>, Stored)>,
}

/// Where a tensor's values are in the file, and how.
#[derive(Clone, Debug)]
struct Stored {
    precision: Precision,
    range: Range<u64>,
}

impl TensorFile {
    /// Opens and checks the file: header, names, offsets, sizes.
    ///
    /// # Errors
    ///
    /// If it cannot be read, is no safetensors file, is cut off, or holds other numbers.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let bytes =
            Bytes::of(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
        Self::of_bytes(bytes, path)
    }

    pub(crate) fn of_bytes(bytes: Bytes, path: &Path) -> Result<Self, ModelError> {
        let malformed = |reason: String| ModelError::malformed(path, reason);
        let text = header(&bytes, path)?;
        let metadata: Metadata =
            serde_json::from_str(&text).map_err(|e| malformed(format!("its header: {e}")))?;
        let start = LENGTH + text.len() as u64;
        if start + metadata.data_len() as u64 != bytes.len() {
            return Err(malformed(SafeTensorError::MetadataIncompleteBuffer.to_string()));
        }
        let mut tensors = Vec::new();
        for name in metadata.offset_keys() {
            let Some(info) = metadata.info(&name) else { continue };
            let precision = Precision::of(info.dtype).ok_or_else(|| {
                malformed(format!("{name} is {:?}, expected F32, F16 or BF16", info.dtype))
            })?;
            let (from, to) = info.data_offsets;
            let range = start + from as u64..start + to as u64;
            tensors.push((name, info.shape.clone(), Stored { precision, range }));
        }
        let header = match metadata.metadata().as_ref().and_then(|texts| texts.get(HEADER)) {
            Some(text) => serde_json::from_str(text)
                .map_err(|e| malformed(format!("the `{HEADER}` entry of its header: {e}")))?,
            None => BTreeMap::new(),
        };
        Ok(Self { path: path.to_owned(), bytes, header, tensors })
    }

    /// The file's name.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Keys of the header.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.header.keys().map(String::as_str)
    }

    /// Text under this key of the header.
    pub fn header(&self, key: &'static str) -> Result<&str, ModelError> {
        self.header
            .get(key)
            .map(String::as_str)
            .ok_or_else(|| ModelError::Foreign { path: self.path.clone(), key })
    }

    /// JSON under this key of the header.
    pub fn header_json<T: serde::de::DeserializeOwned>(
        &self,
        key: &'static str,
    ) -> Result<T, ModelError> {
        serde_json::from_str(self.header(key)?)
            .map_err(|e| ModelError::malformed(&self.path, format!("its `{key}`: {e}")))
    }

    /// Reads every tensor.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn into_tensors(mut self) -> Result<Vec<NamedValues>, ModelError> {
        let tensors = std::mem::take(&mut self.tensors);
        let read = |(name, shape, stored)| {
            let mut values = Vec::new();
            self.read(&stored, &mut values)?;
            Ok((name, shape, values))
        };
        tensors.into_iter().map(read).collect()
    }

    /// Its tensors as a network's weights.
    ///
    /// # Errors
    ///
    /// If one is missing, left over, or of another shape; all of them are named.
    pub(crate) fn into_weights(mut self, graph: &Graph) -> Result<StoredWeights, ModelError> {
        let parameters = matched(graph, std::mem::take(&mut self.tensors))
            .map_err(|fault| ModelError::malformed(&self.path, fault))?;
        Ok(StoredWeights { file: self, parameters })
    }

    /// A tensor's values in the place of what `values` holds.
    fn read(&self, stored: &Stored, values: &mut Vec<f32>) -> Result<(), ModelError> {
        let Stored { precision, range } = stored;
        values.clear();
        values.reserve_exact((range.end - range.start) as usize / precision.size());
        self.bytes
            .read(range.clone(), |bytes| precision.extend(values, bytes))
            .map_err(|source| ModelError::Read { path: self.path.clone(), source })
    }
}

/// The safetensors header's JSON.
fn header(bytes: &Bytes, path: &Path) -> Result<String, ModelError> {
    let malformed = |error: SafeTensorError| ModelError::malformed(path, error);
    let read = |range: Range<u64>| {
        let mut found = Vec::new();
        let each = |piece: &[u8]| found.extend_from_slice(piece);
        match bytes.read(range, each) {
            Ok(()) => Ok(found),
            Err(source) => Err(ModelError::Read { path: path.to_owned(), source }),
        }
    };
    if bytes.len() < LENGTH {
        return Err(malformed(SafeTensorError::HeaderTooSmall));
    }
    let length = read(0..LENGTH)?;
    let length = u64::from_le_bytes(length.try_into().expect("as many as asked for"));
    if length > LONGEST_HEADER {
        return Err(malformed(SafeTensorError::HeaderTooLarge));
    }
    if LENGTH + length > bytes.len() {
        return Err(malformed(SafeTensorError::InvalidHeaderLength));
    }
    String::from_utf8(read(LENGTH..LENGTH + length)?)
        .map_err(|e| malformed(SafeTensorError::InvalidHeader(e.utf8_error())))
}

/// The weights of a model file that is open. They stay in the file: each tensor is read when it
/// is asked for.
#[derive(Debug)]
pub struct StoredWeights {
    file: TensorFile,
    parameters: Vec<(Parameter, Stored)>,
}

impl StoredWeights {
    /// Reads all of them.
    pub(crate) fn load(self) -> Result<Weights, ModelError> {
        let read = |(parameter, stored)| {
            let mut values = Vec::new();
            self.file.read(&stored, &mut values)?;
            Ok((parameter, values))
        };
        let tensors: Result<Vec<_>, ModelError> = self.parameters.into_iter().map(read).collect();
        Ok(Weights::of(tensors?))
    }
}

impl WeightSource for StoredWeights {
    fn parameters(&self) -> Vec<&Parameter> {
        self.parameters.iter().map(|(parameter, _)| parameter).collect()
    }

    fn values<'a>(&'a self, place: usize, room: &'a mut Vec<f32>) -> Result<&'a [f32], ModelError> {
        self.file.read(&self.parameters[place].1, room)?;
        Ok(room)
    }
}
