use std::path::{Path, PathBuf};

use inception_net::NetError;

/// What can be wrong with a model file or with weights.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A folder where a model file is wanted.
    #[error("{} is a folder; name the model.safetensors in it", .0.display())]
    Folder(PathBuf),
    /// The file cannot be written; what stood there before is untouched.
    #[error("cannot write {}: {source}; the previous file, if any, is unchanged", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not a safetensors file, or a damaged one.
    #[error(
        "{} is not a readable model file: {reason}; it may be truncated or of another kind \
         (a model file is the model.safetensors that `inception train` writes)", path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the reader found.
        reason: String,
    },
    /// A safetensors file of something else.
    #[error(
        "{} holds tensors but no `{key}` in its header, so it is not a model file; \
         use one that `inception train` wrote", path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The header entry that a model file has.
        key: &'static str,
    },
    /// Written by another version of the format.
    #[error(
        "{} has format {found}, this program reads {}{}",
        path.display(), crate::FORMAT, checkpoint_hint(found)
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Format it claims.
        found: String,
    },
    /// The description inside the file is not a network.
    #[error("{} describes no usable network: {source}", path.display())]
    Net {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: NetError,
    },
    /// Weights that do not fit the network.
    #[error("the weights do not fit the network: {0}")]
    Mismatch(String),
}

/// Checkpoints lie beside the model and are easily taken for it.
fn checkpoint_hint(found: &str) -> &'static str {
    match found.starts_with("inception-checkpoint/") {
        true => "; use the model.safetensors beside it",
        false => "",
    }
}

impl ModelError {
    pub(crate) fn malformed(path: &Path, reason: impl ToString) -> Self {
        Self::Malformed { path: path.to_owned(), reason: reason.to_string() }
    }
}
