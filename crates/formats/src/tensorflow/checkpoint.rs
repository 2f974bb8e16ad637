//! Checkpoints: named variables, without the graph that uses them.
//!
//! Version 2 is an index (`model.ckpt.index`) beside files of raw values
//! (`model.ckpt.data-00000-of-00001`); version 1 is a single file (`model.ckpt`). Both are sorted
//! tables. TensorFlow: `core/util/tensor_bundle`, `core/util/saved_tensor_slice.proto`.

use std::collections::BTreeMap;

use prost::Message;

use super::messages::{
    BundleEntryProto, BundleHeaderProto, SavedSliceMeta, SavedTensorSlices, TensorSliceProto,
};
use super::slices::{self, Part};
use super::table;
use super::tensor::{Type, shape};
use crate::{Array, Fault};

/// Whether the bytes are a checkpoint's table: a V2 index or a whole V1 checkpoint.
pub fn is_checkpoint(bytes: &[u8]) -> bool {
    table::is_table(bytes)
}

/// A checkpoint's table, read.
#[derive(Clone, Debug, PartialEq)]
pub enum Checkpoint {
    /// Version 1: all of it.
    Whole(Vec<Array>),
    /// Version 2: where the values lie in the files beside the index.
    Index(Index),
}

/// Reads a V2 checkpoint's index or a V1 checkpoint.
///
/// Strings are left out; nothing else but plain numbers is in a checkpoint of variables.
///
/// # Errors
///
/// If the bytes are no such table, are damaged, or hold types that are no numbers.
pub fn read(bytes: &[u8]) -> Result<Checkpoint, Fault> {
    let mut start = Vec::new();
    // Under the empty key, V1 has a message, V2 a number: the first byte tells them apart.
    table::read(bytes, |key, value| {
        if key.is_empty() {
            start = value.get(..1).unwrap_or_default().to_vec();
        }
        Ok(())
    })?;
    match start[..] {
        [0x0a] => whole(bytes).map(Checkpoint::Whole),
        [0x08] => Index::read(bytes).map(Checkpoint::Index),
        _ => Err(Fault::new("the table is no checkpoint: it does not begin with its own contents")),
    }
}

/// The index of a V2 checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    shards: usize,
    /// Tensors by name, parts of tensors by their keys, which start with a zero byte.
    entries: BTreeMap<Vec<u8>, BundleEntryProto>,
}

impl Index {
    fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let mut header = BundleHeaderProto::default();
        let mut entries = BTreeMap::new();
        table::read(bytes, |key, value| {
            if key.is_empty() {
                header = decode(value, "the checkpoint's header")?;
            } else {
                let entry = decode(value, "an entry of the checkpoint")?;
                entries.insert(key.to_vec(), entry);
            }
            Ok(())
        })?;
        if header.endianness != 0 {
            return Err(Fault::new(
                "the checkpoint was written on a machine that stores the big end first; \
                 save it again on another",
            ));
        }
        match usize::try_from(header.num_shards) {
            Ok(shards @ 1..=99_999) => Ok(Self { shards, entries }),
            _ => Err(Fault::new("the checkpoint's number of data files makes no sense")),
        }
    }

    /// How many files of values belong to it: `….data-00000-of-00002` is the first of two.
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// All tensors of numbers, with their values out of those files, in their order.
    ///
    /// # Errors
    ///
    /// If a file is missing or cut short, values are damaged (each tensor has a checksum), two
    /// tensors share bytes, or a tensor lacks parts.
    pub fn arrays<F: AsRef<[u8]>>(&self, files: &[F]) -> Result<Vec<Array>, Fault> {
        if files.len() != self.shards {
            return Err(Fault::new(format!(
                "the checkpoint has {} data files, {} were given",
                self.shards,
                files.len()
            )));
        }
        self.check_overlaps()?;
        let mut arrays = Vec::new();
        for (key, entry) in &self.entries {
            if key[0] == 0 {
                continue; // a part, reached through its tensor
            }
            let name = std::str::from_utf8(key)
                .map_err(|_| Fault::new("a tensor's name is no UTF-8"))?
                .to_owned();
            let Some(number) = number_type(entry.dtype, &name)? else { continue };
            let place = |what: Fault| Fault::new(format!("the tensor `{name}`: {what}"));
            let (axes, count) = shape(entry.shape.as_ref()).map_err(place)?;
            let parts = if entry.slices.is_empty() {
                let values = values(entry, number, files).map_err(place)?;
                vec![Part { slice: TensorSliceProto::default(), values }]
            } else {
                self.parts(&name, entry, number, files).map_err(place)?
            };
            arrays.push(slices::assemble(name, axes, count, parts)?);
        }
        Ok(arrays)
    }

    /// The parts of a tensor that is kept in parts.
    fn parts<F: AsRef<[u8]>>(
        &self,
        name: &str,
        entry: &BundleEntryProto,
        number: Type,
        files: &[F],
    ) -> Result<Vec<Part>, Fault> {
        let mut seen = std::collections::HashSet::new();
        let part = |slice: &TensorSliceProto| {
            let key = slices::key(name, slice);
            let part = self.entries.get(&key).ok_or_else(|| Fault::new("a part is missing"))?;
            if part.dtype != entry.dtype || !seen.insert(key) {
                return Err(Fault::new("its parts are of different types, or the same twice"));
            }
            Ok(Part { slice: slice.clone(), values: values(part, number, files)? })
        };
        entry.slices.iter().map(part).collect()
    }

    /// Entries that share bytes would let a small file fill the memory.
    fn check_overlaps(&self) -> Result<(), Fault> {
        let mut spans: Vec<_> = self
            .entries
            .values()
            .filter(|entry| entry.size > 0)
            .map(|entry| (entry.shard_id, entry.offset, entry.offset.saturating_add(entry.size)))
            .collect();
        spans.sort_unstable();
        if spans.windows(2).any(|pair| pair[0].0 == pair[1].0 && pair[0].2 > pair[1].1) {
            return Err(Fault::new("two tensors of the checkpoint share bytes"));
        }
        Ok(())
    }
}

/// An entry's values, checked.
fn values<F: AsRef<[u8]>>(
    entry: &BundleEntryProto,
    number: Type,
    files: &[F],
) -> Result<Vec<f32>, Fault> {
    let (axes, count) = shape(entry.shape.as_ref())?;
    let bytes = usize::try_from(entry.shard_id)
        .ok()
        .and_then(|shard| files.get(shard))
        .and_then(|file| {
            let start = usize::try_from(entry.offset).ok()?;
            let end = start.checked_add(usize::try_from(entry.size).ok()?)?;
            file.as_ref().get(start..end)
        })
        .ok_or_else(|| Fault::new("it lies beyond its data file; the file is cut short"))?;
    if count.checked_mul(number.width()) != Some(bytes.len()) {
        let size = bytes.len();
        return Err(Fault::new(format!("{size} bytes do not make the shape {axes:?}")));
    }
    if !table::checksum_holds(bytes, entry.crc32c) {
        return Err(Fault::new("its checksum is wrong; the data file is damaged"));
    }
    Ok(number.values(bytes))
}

/// All tensors of a V1 checkpoint.
fn whole(bytes: &[u8]) -> Result<Vec<Array>, Fault> {
    let mut tensors: Vec<SavedSliceMeta> = Vec::new();
    let mut types = BTreeMap::new();
    let mut parts: BTreeMap<String, Vec<Part>> = BTreeMap::new();
    table::read(bytes, |key, value| {
        let saved: SavedTensorSlices = decode(value, "an entry of the checkpoint")?;
        if key.is_empty() {
            tensors = saved.meta.unwrap_or_default().tensor;
            for tensor in &tensors {
                let number = number_type(tensor.r#type, &tensor.name)?;
                if types.insert(tensor.name.clone(), number).is_some() {
                    return Err(Fault::new(format!("the tensor `{}` is there twice", tensor.name)));
                }
            }
            return Ok(());
        }
        let data = saved.data.unwrap_or_default();
        let unlisted = || Fault::new(format!("the tensor `{}` is not in the list", data.name));
        // Strings keep their place in the list, without values.
        let Some(number) = *types.get(&data.name).ok_or_else(unlisted)? else { return Ok(()) };
        let proto = data.data.unwrap_or_default();
        let values = if proto.tensor_content.is_empty() {
            number.listed(&proto)
        } else {
            number.values(&proto.tensor_content)
        };
        let part = Part { slice: data.slice.unwrap_or_default(), values };
        parts.entry(data.name).or_default().push(part);
        Ok(())
    })?;
    let tensors = tensors.into_iter().filter(|t| types.get(&t.name).is_some_and(Option::is_some));
    let tensors = tensors.map(|tensor| {
        let (axes, count) = shape(tensor.shape.as_ref())
            .map_err(|what| Fault::new(format!("the tensor `{}`: {what}", tensor.name)))?;
        let parts = parts.remove(&tensor.name).unwrap_or_default();
        slices::assemble(tensor.name, axes, count, parts)
    });
    tensors.collect()
}

/// A tensor's type; `None` for strings.
fn number_type(dtype: i32, name: &str) -> Result<Option<Type>, Fault> {
    let number = Type::of(dtype);
    if number.is_none() && dtype != super::tensor::STRING {
        let what = format!("the tensor `{name}` is of type {dtype}, which are no plain numbers");
        return Err(Fault::new(what));
    }
    Ok(number)
}

fn decode<M: Message + Default>(bytes: &[u8], what: &str) -> Result<M, Fault> {
    M::decode(bytes).map_err(|error| Fault::new(format!("{what} cannot be read: {error}")))
}
