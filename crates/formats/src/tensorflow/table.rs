//! The sorted table that both kinds of checkpoint are kept in: LevelDB's file format (its
//! `doc/table_format.md`), which TensorFlow's `core/lib/io` shares.

use crate::Fault;

/// The last eight bytes of a table.
const MAGIC: u64 = 0xdb47_7524_8b80_fb57;

/// Two handles, padding, the magic number.
const FOOTER: usize = 48;

/// Behind each block: how it is compressed, and a checksum.
const TRAILER: usize = 5;

/// Whether the bytes end as a table does.
pub(super) fn is_table(bytes: &[u8]) -> bool {
    bytes.len() >= FOOTER && bytes.ends_with(&MAGIC.to_le_bytes())
}

/// Calls `each` with all keys and values, in the keys' order.
pub(super) fn read(
    bytes: &[u8],
    mut each: impl FnMut(&[u8], &[u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    if !is_table(bytes) {
        return Err(Fault::new("the file does not end as a table does; it may be cut short"));
    }
    let body = &bytes[..bytes.len() - FOOTER];
    let mut footer = &bytes[bytes.len() - FOOTER..];
    let about = Handle::read(&mut footer)?;
    block(body, about)?; // checkpoints have nothing there; damage shows all the same
    let index = Handle::read(&mut footer)?;

    // A key repeats the start of the one before it at no cost to the file. Real names are short;
    // this keeps what a caller may store of them in proportion.
    let mut keys_left = 16 * bytes.len() + (1 << 20);
    let mut end = 0;
    entries(&block(body, index)?, |_, mut value| {
        let handle = Handle::read(&mut value)?;
        if handle.offset < end {
            return Err(Fault::new("two blocks of the table overlap"));
        }
        end = handle.offset.saturating_add(handle.size);
        entries(&block(body, handle)?, |key, value| {
            keys_left = keys_left
                .checked_sub(key.len())
                .ok_or_else(|| Fault::new("the table's keys are longer than any names"))?;
            each(key, value)
        })
    })
}

/// Where a block lies.
#[derive(Clone, Copy)]
struct Handle {
    offset: usize,
    size: usize,
}

impl Handle {
    fn read(bytes: &mut &[u8]) -> Result<Self, Fault> {
        Ok(Self { offset: varint(bytes)?, size: varint(bytes)? })
    }
}

/// A block's bytes, checked and decompressed.
fn block(body: &[u8], handle: Handle) -> Result<Vec<u8>, Fault> {
    let fault = |what: &str| Fault::new(format!("the table's block at {}: {what}", handle.offset));
    let whole = handle
        .size
        .checked_add(TRAILER)
        .and_then(|size| handle.offset.checked_add(size))
        .and_then(|end| body.get(handle.offset..end))
        .ok_or_else(|| fault("it reaches beyond the file"))?;
    let (checked, stored) = whole.split_at(handle.size + 1);
    let stored = u32::from_le_bytes([stored[0], stored[1], stored[2], stored[3]]);
    if !checksum_holds(checked, stored) {
        return Err(fault("its checksum is wrong; the file is damaged"));
    }
    let (contents, compression) = checked.split_at(handle.size);
    match compression[0] {
        0 => Ok(contents.to_vec()),
        1 => {
            // Three bytes of Snappy make 64 at most, so a longer claim is a lie.
            let claimed = snap::raw::decompress_len(contents).map_err(|e| fault(&e.to_string()))?;
            if claimed > contents.len().saturating_mul(32) {
                return Err(fault("it claims to hold more than it can"));
            }
            let mut decoder = snap::raw::Decoder::new();
            decoder.decompress_vec(contents).map_err(|e| fault(&e.to_string()))
        }
        other => Err(fault(&format!("compression {other} is unknown"))),
    }
}

/// Calls `each` with a block's keys and values.
fn entries(
    block: &[u8],
    mut each: impl FnMut(&[u8], &[u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let cut = || Fault::new("a block of the table is cut short");
    // Behind the entries: the places of those with a whole key, and their number.
    let (rest, count) = block.split_last_chunk::<4>().ok_or_else(cut)?;
    let restarts = (u32::from_le_bytes(*count) as usize).checked_mul(4).ok_or_else(cut)?;
    let mut rest = rest.get(..rest.len().checked_sub(restarts).ok_or_else(cut)?).ok_or_else(cut)?;
    let mut key = Vec::new();
    let mut first = true;
    while !rest.is_empty() {
        let shared = varint(&mut rest)?;
        let unshared = varint(&mut rest)?;
        let length = varint(&mut rest)?;
        let suffix = take(&mut rest, unshared)?;
        let value = take(&mut rest, length)?;
        let before = key.get(shared..).ok_or_else(cut)?;
        if !first && suffix <= before {
            return Err(Fault::new("the table's keys are not in order"));
        }
        first = false;
        key.truncate(shared);
        key.extend_from_slice(suffix);
        each(&key, value)?;
    }
    Ok(())
}

/// Takes `length` bytes from the front.
fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Fault> {
    let (front, rest) = bytes
        .split_at_checked(length)
        .ok_or_else(|| Fault::new("an entry of the table reaches beyond its block"))?;
    *bytes = rest;
    Ok(front)
}

/// Takes a number of seven bits a byte from the front.
fn varint(bytes: &mut &[u8]) -> Result<usize, Fault> {
    prost::encoding::decode_varint(bytes)
        .ok()
        .and_then(|number| usize::try_from(number).ok())
        .ok_or_else(|| Fault::new("a number in the table is cut short or too large"))
}

/// Whether this is the bytes' CRC-32C, changed as LevelDB does so that checksums of checksums
/// stay good. A fuzzer, which cannot guess checksums, is let through to what lies behind.
pub(super) fn checksum_holds(bytes: &[u8], stored: u32) -> bool {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8) == stored || cfg!(fuzzing)
}
