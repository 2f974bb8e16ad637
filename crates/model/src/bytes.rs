//! A file's bytes, by memory map.

use std::io;
use std::path::Path;

use mmap_io::MemoryMappedFile;

/// A file's bytes.
///
/// A map is only as good as the file under it: who cuts a mapped file shorter kills its readers,
/// and who writes into it changes what they see. Nobody does so to model files: they are written
/// beside and renamed into place ([`crate::write_atomically`]), so a file once there never
/// changes. What cannot be mapped (an empty file, a pipe) is read.
pub(crate) enum Bytes {
    Mapped(MemoryMappedFile),
    Read(Vec<u8>),
}

impl Bytes {
    /// Those of the file at `path`.
    pub fn of(path: &Path) -> io::Result<Self> {
        if path.metadata()?.is_file()
            && let Ok(map) = MemoryMappedFile::open_ro(path)
            && map.as_slice_bytes(0, map.len()).is_ok()
        {
            return Ok(Self::Mapped(map));
        }
        std::fs::read(path).map(Self::Read)
    }

    pub fn get(&self) -> &[u8] {
        match self {
            // Asked for once before; a read-only map always has it.
            Self::Mapped(map) => map.as_slice_bytes(0, map.len()).unwrap_or_default(),
            Self::Read(bytes) => bytes,
        }
    }
}
