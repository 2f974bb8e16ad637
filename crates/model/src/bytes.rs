//! A file's bytes, read piece by piece.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Read at a time: stays in a core's cache, so that bytes are converted where they arrive.
const PIECE: usize = 1 << 16;

/// A file's bytes. Only what is asked for is ever in memory.
///
/// Reading rather than mapping: a map's pages count as the process's memory as soon as they are
/// touched, and who cuts a mapped file shorter kills its readers.
#[derive(Debug)]
pub(crate) enum Bytes {
    File {
        /// Behind a lock because place and reading belong together.
        file: Mutex<File>,
        len: u64,
    },
    /// Of what has no place to go back to (a pipe), or what is no file.
    Memory(Vec<u8>),
}

impl Bytes {
    /// Those of the file at `path`.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_file() {
            return Ok(Self::File { file: Mutex::new(file), len: metadata.len() });
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(Self::Memory(bytes))
    }

    pub fn len(&self) -> u64 {
        match self {
            Self::File { len, .. } => *len,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// Gives `each` the bytes of a range, in order, in pieces whose lengths are multiples of 8 but
    /// for the last. What lies past the end is an error.
    pub fn read(&self, range: Range<u64>, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let past_the_end = || io::Error::from(io::ErrorKind::UnexpectedEof);
        match self {
            Self::File { file, .. } => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(range.start))?;
                let mut left = range.end - range.start;
                let mut piece = vec![0; PIECE.min(left as usize)];
                while left > 0 {
                    let now = PIECE.min(left as usize);
                    file.read_exact(&mut piece[..now]).map_err(shorter)?;
                    each(&piece[..now]);
                    left -= now as u64;
                }
            }
            Self::Memory(bytes) => {
                let range = range.start as usize..range.end as usize;
                each(bytes.get(range).ok_or_else(past_the_end)?);
            }
        }
        Ok(())
    }
}

/// An error at a place that the file had when it was opened.
fn shorter(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "it became shorter meanwhile"),
        _ => error,
    }
}
