//! A checkpoint's files on disk.

use std::fs;
use std::path::{Path, PathBuf};

use super::checkpoint::{self, Checkpoint};
use crate::{Array, Fault, FileError, Format};

/// The index of the V2 checkpoint that `path` is the prefix, the graph (`.meta`) or a file of
/// values (`.data-…`) of.
pub(crate) fn index_beside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let prefix = match name.rsplit_once('.') {
        Some((prefix, last)) if last == "meta" || last.starts_with("data-") => prefix,
        _ if !path.exists() => name,
        _ => return None,
    };
    Some(path.with_file_name(format!("{prefix}.index"))).filter(|index| index.is_file())
}

/// The arrays of the checkpoint at `path`: one of its files, their prefix, or the one file of a
/// V1 checkpoint.
pub(crate) fn read_checkpoint(path: &Path) -> Result<Vec<Array>, FileError> {
    let path = index_beside(path).unwrap_or_else(|| path.to_owned());
    let malformed =
        |fault| FileError::Malformed { path: path.clone(), format: Format::TfCheckpoint, fault };
    let index = match checkpoint::read(&bytes(&path)?).map_err(malformed)? {
        Checkpoint::Whole(arrays) => return Ok(arrays),
        Checkpoint::Index(index) => index,
    };
    if path.extension().is_none_or(|extension| extension != "index") {
        return Err(malformed(Fault::new(
            "this is a checkpoint's index, whose name has to end in `.index`; \
             beside it the files of values are looked for",
        )));
    }
    let prefix = path.with_extension("");
    let files = (0..index.shards()).map(|shard| bytes(&data_file(&prefix, shard, index.shards())));
    let files = files.collect::<Result<Vec<_>, _>>()?;
    index.arrays(&files).map_err(malformed)
}

/// `PREFIX.data-00000-of-00001`.
fn data_file(prefix: &Path, shard: usize, shards: usize) -> PathBuf {
    let mut name = prefix.as_os_str().to_owned();
    name.push(format!(".data-{shard:05}-of-{shards:05}"));
    PathBuf::from(name)
}

fn bytes(path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(|source| FileError::Read { path: path.to_owned(), source })
}
