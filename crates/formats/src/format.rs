//! Which kind of file it is, from its content.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::pickle::Pickle;
use crate::{tfjs, wire};

/// A container of weights, told apart by content; a file's name says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// PyTorch's `.pth`, `.pt`: a pickle with tensors, as a zip archive or in the form before 1.6.
    Torch,
    /// Hugging Face's safetensors.
    Safetensors,
    /// MXNet's `.params`.
    Mxnet,
    /// Caffe's `.caffemodel`.
    Caffe,
    /// ONNX.
    Onnx,
    /// Keras' HDF5 file (`.h5`), whole model or weights.
    KerasHdf5,
    /// Keras' archive (`.keras`).
    KerasArchive,
    /// TensorFlow.js' layers-model: `model.json`, or the folder it lies in.
    TfJs,
    /// TensorFlow's checkpoint: the prefix, the `.index` file, or the single file before 1.0.
    TfCheckpoint,
    /// TensorFlow's frozen graph (`.pb`).
    TfGraph,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 10] = [
        Format::Torch,
        Format::Safetensors,
        Format::Mxnet,
        Format::Caffe,
        Format::Onnx,
        Format::KerasHdf5,
        Format::KerasArchive,
        Format::TfJs,
        Format::TfCheckpoint,
        Format::TfGraph,
    ];

    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Torch => "torch",
            Format::Safetensors => "safetensors",
            Format::Mxnet => "mxnet",
            Format::Caffe => "caffe",
            Format::Onnx => "onnx",
            Format::KerasHdf5 => "hdf5",
            Format::KerasArchive => "keras",
            Format::TfJs => "tfjs",
            Format::TfCheckpoint => "tf-checkpoint",
            Format::TfGraph => "tf-graph",
        }
    }

    /// Such a file in a sentence: `an ONNX file`.
    pub fn described(self) -> &'static str {
        match self {
            Format::Torch => "a PyTorch file",
            Format::Safetensors => "a safetensors file",
            Format::Mxnet => "an MXNet file",
            Format::Caffe => "a Caffe file",
            Format::Onnx => "an ONNX file",
            Format::KerasHdf5 => "an HDF5 file",
            Format::KerasArchive => "a Keras archive",
            Format::TfJs => "a TensorFlow.js model",
            Format::TfCheckpoint => "a TensorFlow checkpoint",
            Format::TfGraph => "a frozen TensorFlow graph",
        }
    }

    /// The format of what lies at `path`: a file, a folder, or the prefix of a checkpoint's
    /// files. `None` for anything else.
    ///
    /// # Errors
    ///
    /// If a file is there that cannot be read.
    pub fn recognise(path: &Path) -> std::io::Result<Option<Format>> {
        if path.is_dir() {
            return Ok(tfjs::model_file(path).map(|_| Format::TfJs));
        }
        if crate::tensorflow::index_beside(path).is_some() {
            return Ok(Some(Format::TfCheckpoint));
        }
        let mut file = File::open(path)?;
        let len = fs::metadata(path)?.len();
        let mut head = Vec::new();
        file.by_ref().take(HEAD).read_to_end(&mut head)?;
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(len.saturating_sub(TAIL)))?;
        file.take(TAIL).read_to_end(&mut tail)?;
        Ok(Self::of_bytes(&head, &tail, len))
    }

    /// The same from a file's first bytes, its last ones, and its length.
    fn of_bytes(head: &[u8], tail: &[u8], len: u64) -> Option<Format> {
        const HDF5: &[u8] = b"\x89HDF\r\n\x1a\n";
        let starts = |magic: &[u8]| head.starts_with(magic);
        // HDF5 may follow a user block of 512 bytes or a power of two times that.
        let user_block =
            || (9..20).any(|bits| head.get(1 << bits..).is_some_and(|b| b.starts_with(HDF5)));
        if starts(b"PK\x03\x04") {
            // An archive's table of contents stands at its end; Keras always stores this name.
            let keras = contains(tail, b"model.weights.h5") || contains(head, b"model.weights.h5");
            return Some(if keras { Format::KerasArchive } else { Format::Torch });
        }
        if starts(HDF5) || user_block() {
            return Some(Format::KerasHdf5);
        }
        if tail.ends_with(&0xdb47_7524_8b80_fb57_u64.to_le_bytes()) {
            return Some(Format::TfCheckpoint);
        }
        if starts(&0x112_u64.to_le_bytes()) {
            return Some(Format::Mxnet);
        }
        if let Some((size, rest)) = head.split_first_chunk::<8>() {
            let size = u64::from_le_bytes(*size);
            if rest.first() == Some(&b'{') && size >= 2 && size <= len - 8 {
                return Some(Format::Safetensors);
            }
        }
        if head.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{') {
            let word = |word: &str| contains(head, word.as_bytes());
            let tfjs = word("modelTopology") || word("weightsManifest") || word("layers-model");
            return tfjs.then_some(Format::TfJs);
        }
        if tfjs::is_script(head) {
            return Some(Format::TfJs);
        }
        // A pickle says its protocol first; none of the messages below can start so.
        if head.first() == Some(&0x80) && head.get(1).is_some_and(|&protocol| protocol <= 5) {
            return Some(Format::Torch);
        }
        // Before protocol 2 nothing says that it is a pickle; one that calls something is told by
        // reading it, so that the function can be named.
        let calls = || Pickle::read(head).is_ok_and(|pickle| pickle.calls().next().is_some());
        if matches!(head.first(), Some(b'c' | b'(')) && calls() {
            return Some(Format::Torch);
        }
        Self::of_message(head, len)
    }

    /// Protocol buffers have no magic numbers: the first fields' numbers and types tell.
    fn of_message(head: &[u8], len: u64) -> Option<Format> {
        let fields: Vec<wire::Head> = wire::heads(head, len).take(64).collect();
        let first = fields.first()?;
        let has = |number, kind| fields.iter().any(|f| f.number == number && f.kind == kind);
        let bytes = wire::Kind::Bytes;
        let count =
            |number| fields.iter().filter(|f| f.number == number && f.kind == bytes).count();
        match (first.number, first.kind) {
            // ModelProto.ir_version, usually first; .graph or .producer_name follow.
            (1, wire::Kind::Varint) => (has(7, bytes) || has(2, bytes)).then_some(Format::Onnx),
            (_, _) if has(7, bytes) && has(8, bytes) && has(1, wire::Kind::Varint) => {
                Some(Format::Onnx)
            }
            // NetParameter.layer (100) or .layers (2); its .name is text.
            (_, _) if count(100) > 0 || (count(1) <= 1 && count(2) > 1) => Some(Format::Caffe),
            // GraphDef.node: messages that start with their own name.
            (1, wire::Kind::Bytes) if first.starts_with_text => Some(Format::TfGraph),
            // NetParameter.name alone in sight, before one layer beyond it.
            (1 | 2, wire::Kind::Bytes) => Some(Format::Caffe),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Bytes looked at from the start and from the end: enough for HDF5's user blocks, and for the
/// table of contents of an archive with a few entries.
const HEAD: u64 = 1 << 20;
const TAIL: u64 = 1 << 16;

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}
