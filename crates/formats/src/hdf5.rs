//! HDF5, as far as Keras uses it: groups, attributes of text, arrays of numbers.
//!
//! The container itself is read by `hdf5-reader`, which bounds every size by the file's; here a
//! budget for all arrays together is added.

use std::cell::Cell;

use hdf5_reader::error::Error;
use hdf5_reader::group::Group;
use hdf5_reader::{ByteOrder, Dataset, Datatype, Hdf5File, OpenOptions};

use crate::number::Number;
use crate::{Array, Fault};

/// Values decoded from a file are at most this many times its bytes: far more than weights
/// shrink, far less than deflate's 1032.
const MOST: usize = 64;
/// And this many bytes in any case, so that small files of zeros may be.
const LEAST: usize = 1 << 20;
/// Groups in groups.
const DEPTH: usize = 64;
/// Groups and arrays of one file.
const OBJECTS: usize = 100_000;

/// An HDF5 file in memory.
pub(crate) struct File {
    file: Hdf5File,
    /// Bytes that may still be decoded.
    budget: Cell<usize>,
}

/// All arrays of numbers in the file, named by their paths without the leading slash. What is no
/// array of numbers is passed over.
///
/// # Errors
///
/// If the file is damaged or would decode to far more than it holds.
pub fn read(bytes: &[u8]) -> Result<Vec<Array>, Fault> {
    let file = File::open(bytes)?;
    let paths = file.paths()?;
    paths.into_iter().filter_map(|path| file.array(&path).transpose()).collect()
}

fn fault(error: Error) -> Fault {
    Fault::new(error.to_string())
}

impl File {
    /// Opens the file and reads its superblock.
    pub(crate) fn open(bytes: &[u8]) -> Result<Self, Fault> {
        let most = bytes.len().saturating_mul(MOST).max(LEAST);
        let options = OpenOptions::default()
            .with_chunk_cache_bytes(0)
            .with_max_chunk_bytes(most)
            .with_max_read_bytes(most)
            .with_max_object_header_bytes(bytes.len());
        let file = Hdf5File::from_bytes_with_options(bytes, options).map_err(fault)?;
        let superblock = file.superblock();
        // The end is counted from the base by some writers and from the start by others.
        let length = superblock.eof_address.saturating_sub(superblock.base_address);
        if length > bytes.len() as u64 {
            return Err(Fault::new(format!(
                "it is truncated: {} bytes of at least {length} are there",
                bytes.len()
            )));
        }
        Ok(Self { file, budget: Cell::new(most) })
    }

    /// Paths of all arrays, of numbers or not, without the leading slash.
    pub(crate) fn paths(&self) -> Result<Vec<String>, Fault> {
        let mut paths = Vec::new();
        let mut seen = 0;
        // Links may lead back: the depth ends such a walk.
        let mut open = vec![(String::new(), self.file.root_group().map_err(fault)?, 0)];
        while let Some((path, group, depth)) = open.pop() {
            let (groups, arrays) = group.members().map_err(fault)?;
            seen += groups.len() + arrays.len();
            if depth == DEPTH || seen > OBJECTS {
                return Err(Fault::new("its groups are nested too deeply or are too many"));
            }
            paths.extend(arrays.iter().map(|array| format!("{path}{}", array.name())));
            open.extend(groups.into_iter().rev().map(|inner| {
                let path = format!("{path}{}/", inner.name());
                (path, inner, depth + 1)
            }));
        }
        Ok(paths)
    }

    /// The array of numbers at this path; `None` where it holds something else.
    pub(crate) fn array(&self, path: &str) -> Result<Option<Array>, Fault> {
        let about = |error: Error| Fault::new(format!("{path}: {error}"));
        let dataset = self.file.dataset(path).map_err(about)?;
        let Some((number, big)) = number(dataset.dtype()) else { return Ok(None) };
        let bytes = dataset.raw_byte_len().map_err(about)?;
        let budget = self.budget.get();
        let Some(rest) = budget.checked_sub(bytes) else {
            return Err(Fault::new(format!("{path} holds far more than the file has bytes for")));
        };
        self.budget.set(rest);
        let mut bytes = dataset.read_raw_bytes().map_err(about)?;
        if big {
            bytes.chunks_exact_mut(number.size()).for_each(<[u8]>::reverse);
        }
        let values = number.widen(&bytes);
        let shape = shape(&dataset)
            .filter(|shape| shape.iter().product::<usize>() == values.len())
            .ok_or_else(|| Fault::new(format!("{path}: its shape does not fit its size")))?;
        Ok(Some(Array { name: path.to_owned(), shape, values }))
    }

    /// Whether there is a group at this path.
    pub(crate) fn has_group(&self, path: &str) -> bool {
        self.file.group(path).is_ok()
    }

    /// The texts of an attribute; `None` where the group has none of this name. An empty list
    /// has no type of text in h5py, so anything of length 0 is one.
    pub(crate) fn texts(&self, group: &str, name: &str) -> Result<Option<Vec<String>>, Fault> {
        let about = |error: Error| Fault::new(format!("{group}: its attribute {name}: {error}"));
        let group = self.group(group).map_err(about)?;
        let Ok(attribute) = group.attribute(name) else { return Ok(None) };
        if attribute.num_elements().map_err(about)? == 0 {
            return Ok(Some(Vec::new()));
        }
        attribute.read_strings().map(Some).map_err(about)
    }

    fn group(&self, path: &str) -> Result<Group, Error> {
        if path.is_empty() { self.file.root_group() } else { self.file.group(path) }
    }
}

fn shape(dataset: &Dataset) -> Option<Vec<usize>> {
    dataset.shape().iter().map(|&n| usize::try_from(n).ok()).collect()
}

/// The type of its numbers, and whether they are big-endian.
fn number(kind: &Datatype) -> Option<(Number, bool)> {
    Some(match *kind {
        Datatype::FloatingPoint { size, byte_order } => {
            let number = match size {
                2 => Number::F16,
                4 => Number::F32,
                8 => Number::F64,
                _ => return None,
            };
            (number, byte_order == ByteOrder::BigEndian)
        }
        Datatype::FixedPoint { size, signed, byte_order } => {
            let number = match (size, signed) {
                (1, false) => Number::U8,
                (4, true) => Number::I32,
                (8, true) => Number::I64,
                _ => return None,
            };
            (number, byte_order == ByteOrder::BigEndian)
        }
        _ => return None,
    })
}
