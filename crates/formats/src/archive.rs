//! Zip archives, without their bombs.

use std::borrow::Cow;
use std::io::{Cursor, Read};

use zip::ZipArchive;

use crate::Fault;

/// How many bytes an archive may unpack to for each byte of its own. Weights hardly shrink;
/// settings and zeros may.
const RATIO: u64 = 64;

/// An archive in memory.
pub(crate) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// Bytes that may still be unpacked.
    left: u64,
}

impl<'a> Archive<'a> {
    /// Opens an archive.
    pub fn open(bytes: &'a [u8]) -> Result<Self, Fault> {
        let zip = ZipArchive::new(Cursor::new(bytes))
            .map_err(|e| Fault::new(format!("the zip archive is damaged: {e}")))?;
        Ok(Self { zip, left: (bytes.len() as u64).saturating_mul(RATIO) })
    }

    /// Names of all entries.
    pub fn names(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.zip.file_names().filter_map(Result::ok)
    }

    /// An entry's content, its checksum verified. All that is ever read of an archive together
    /// is bounded.
    pub fn entry(&mut self, name: &str) -> Result<Vec<u8>, Fault> {
        let fault = |e: &dyn std::fmt::Display| Fault::new(format!("archive entry `{name}`: {e}"));
        let entry = self.zip.by_name(name).map_err(|e| fault(&e))?;
        let mut content = Vec::new();
        entry.take(self.left + 1).read_to_end(&mut content).map_err(|e| fault(&e))?;
        self.left = self
            .left
            .checked_sub(content.len() as u64)
            .ok_or_else(|| fault(&"it unpacks to more than any file of weights would"))?;
        Ok(content)
    }
}
