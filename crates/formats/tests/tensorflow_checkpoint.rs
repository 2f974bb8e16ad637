//! Checkpoints that TensorFlow wrote (`peers/tensorflow_fixtures.py`), and hostile ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use inception_formats::Array;
use inception_formats::tensorflow::checkpoint::{self, Checkpoint};

fn data(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tensorflow").join(name)
}

/// The values of the script's `counted`.
fn counted(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i % 1000) as f32 / 8.0 - 2.0).collect()
}

fn check(arrays: &[Array], halves: bool) {
    let arrays: BTreeMap<&str, &Array> = arrays.iter().map(|a| (a.name.as_str(), a)).collect();
    let mut wanted = vec![
        ("double", vec![7], counted(7)),
        ("global_step", vec![], vec![123_456.0]),
        ("parts/columns", vec![3, 10], counted(30)),
        ("parts/long", vec![16_400], counted(16_400).iter().map(|v| v.trunc()).collect()),
        ("parts/rows", vec![200, 3], counted(600)),
        ("scalar", vec![], vec![0.5]),
        ("scope/weights", vec![2, 3, 4, 5], counted(120)),
        ("scope/zeros", vec![40, 50], vec![0.0; 2000]),
    ];
    if halves {
        wanted.push(("half", vec![9], counted(9)));
        wanted.push(("bfloat16", vec![9], counted(9)));
    }
    assert_eq!(arrays.len(), wanted.len(), "{:?}", arrays.keys());
    for (name, shape, values) in wanted {
        let array = arrays[name];
        assert_eq!(array.shape, shape, "{name}");
        assert!(array.values == values, "{name}");
    }
}

fn v2(index: &[u8], files: &[Vec<u8>]) -> Result<Vec<Array>, String> {
    match checkpoint::read(index).map_err(|fault| fault.to_string())? {
        Checkpoint::Index(index) => index.arrays(files).map_err(|fault| fault.to_string()),
        Checkpoint::Whole(_) => panic!("taken for a V1 checkpoint"),
    }
}

fn files() -> [Vec<u8>; 2] {
    [data("v2.ckpt.data-00000-of-00002"), data("v2.ckpt.data-00001-of-00002")]
}

#[test]
fn version_2_with_parts_and_shards() {
    check(&v2(&data("v2.ckpt.index"), &files()).unwrap(), true);
}

#[test]
fn version_1() {
    let bytes = data("v1.ckpt");
    assert!(checkpoint::is_checkpoint(&bytes));
    match checkpoint::read(&bytes).unwrap() {
        Checkpoint::Whole(arrays) => check(&arrays, false),
        Checkpoint::Index(_) => panic!("taken for a V2 index"),
    }
}

#[test]
fn by_any_of_its_files_or_their_prefix() {
    for (name, halves) in [
        ("v2.ckpt", true),
        ("v2.ckpt.index", true),
        ("v2.ckpt.data-00001-of-00002", true),
        ("v1.ckpt", false),
    ] {
        check(&inception_formats::read(&path(name)).unwrap().arrays, halves);
    }
}

#[test]
fn damaged_bytes_are_noticed() {
    let (index, files) = (data("v2.ckpt.index"), files());
    for cut in 0..index.len() {
        assert!(v2(&index[..cut], &files).is_err(), "cut to {cut}");
    }
    // Behind this, a handle's padding does not count.
    for place in 0..index.len() - 48 {
        let mut index = index.clone();
        index[place] ^= 0x10;
        assert!(v2(&index, &files).is_err(), "byte {place}");
    }
    for place in [0, 100, files[0].len() - 1] {
        let mut files = files.clone();
        files[0][place] ^= 1;
        let error = v2(&index, &files).unwrap_err();
        assert!(error.contains("checksum"), "{error}");
    }
    let cut = [files[0][..1000].to_vec(), files[1].clone()];
    assert!(v2(&index, &cut).unwrap_err().contains("cut short"));
    assert!(v2(&index, &files[..1]).unwrap_err().contains("2 data files, 1 were given"));

    let whole = data("v1.ckpt");
    for cut in (0..whole.len()).step_by(97) {
        assert!(checkpoint::read(&whole[..cut]).is_err(), "cut to {cut}");
    }
    for place in (0..whole.len() - 48).step_by(89) {
        let mut whole = whole.clone();
        whole[place] ^= 0x10;
        assert!(checkpoint::read(&whole).is_err(), "byte {place}");
    }
}

/// A table with these entries in one block, its checksums right.
fn table(entries: &[(&[u8], Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut add = |entries: &[(&[u8], Vec<u8>)]| {
        let mut block = Vec::new();
        for (key, value) in entries {
            block.push(0);
            varint(&mut block, key.len() as u64);
            varint(&mut block, value.len() as u64);
            block.extend_from_slice(key);
            block.extend_from_slice(value);
        }
        block.extend([0, 0, 0, 0, 1, 0, 0, 0]); // one restart, at 0
        let mut handle = Vec::new();
        varint(&mut handle, bytes.len() as u64);
        varint(&mut handle, block.len() as u64);
        block.push(0);
        let sum = crc32c::crc32c(&block).rotate_right(15).wrapping_add(0xa282_ead8);
        block.extend(sum.to_le_bytes());
        bytes.extend(block);
        handle
    };
    let data = add(entries);
    let about = add(&[]);
    let index = add(&[(b"\xff", data)]);
    let mut footer = [about, index].concat();
    footer.resize(40, 0);
    footer.extend(0xdb47_7524_8b80_fb57_u64.to_le_bytes());
    bytes.extend(footer);
    bytes
}

fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// A message's fields, numbers.
fn numbers(fields: &[(u64, u64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &(field, value) in fields {
        varint(&mut bytes, field << 3);
        varint(&mut bytes, value);
    }
    bytes
}

/// A field that is a message.
fn message(field: u64, contents: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint(&mut bytes, field << 3 | 2);
    varint(&mut bytes, contents.len() as u64);
    bytes.extend_from_slice(contents);
    bytes
}

/// A `BundleEntryProto` of floats with the values' checksum.
fn entry(shape: &[u64], offset: u64, values: &[u8]) -> Vec<u8> {
    let axes: Vec<u8> = shape.iter().flat_map(|&axis| message(2, &numbers(&[(1, axis)]))).collect();
    let sum = crc32c::crc32c(values).rotate_right(15).wrapping_add(0xa282_ead8);
    let mut entry = [numbers(&[(1, 1)]), message(2, &axes)].concat();
    entry.extend(numbers(&[(4, offset), (5, values.len() as u64)]));
    entry.push(6 << 3 | 5);
    entry.extend(sum.to_le_bytes());
    entry
}

#[test]
fn what_an_index_may_not_say() {
    let header = || (&b""[..], numbers(&[(1, 1)]));
    let values: Vec<u8> = (0..16).collect();
    let file = [values.clone()];
    let good = table(&[header(), (b"a", entry(&[2, 2], 0, &values))]);
    assert_eq!(v2(&good, &file).unwrap()[0].shape, [2, 2]);

    let twice = [header(), (b"a", entry(&[4], 0, &values)), (b"b", entry(&[2], 8, &values[8..]))];
    assert!(v2(&table(&twice), &file).unwrap_err().contains("share bytes"));
    let beyond = [header(), (b"a", entry(&[4], 1, &values))];
    assert!(v2(&table(&beyond), &file).unwrap_err().contains("beyond its data file"));
    for shape in [&[5][..], &[u64::MAX, 2], &[1 << 40, 1 << 40], &[1 << 62]] {
        assert!(v2(&table(&[header(), (b"a", entry(shape, 0, &values))]), &file).is_err());
    }
    let disordered = [header(), (b"b", entry(&[4], 0, &values)), (b"a", entry(&[0], 0, &[]))];
    assert!(v2(&table(&disordered), &file).unwrap_err().contains("not in order"));
    // Parts that are not there.
    let mut parts = entry(&[4], 0, &[]);
    parts.extend(message(7, &message(1, &numbers(&[(1, 0), (2, 2)]))));
    assert!(v2(&table(&[header(), (b"a", parts)]), &file).unwrap_err().contains("part is missing"));
    // A resource instead of numbers, a big-endian machine, no shards, no header.
    let resource = [header(), (b"a", numbers(&[(1, 20)]))];
    assert!(v2(&table(&resource), &file).unwrap_err().contains("no plain numbers"));
    let big = table(&[(b"", numbers(&[(1, 1), (2, 1)]))]);
    assert!(checkpoint::read(&big).unwrap_err().to_string().contains("big end"));
    for header in [numbers(&[(1, 0)]), numbers(&[(1, 1 << 31)]), vec![]] {
        assert!(checkpoint::read(&table(&[(b"", header)])).is_err());
    }
}

#[test]
fn what_a_version_1_file_may_not_say() {
    let shape = |axis: u64| message(2, &message(2, &numbers(&[(1, axis)])));
    let listed = |axis| [message(1, b"a"), shape(axis), numbers(&[(3, 1)])].concat();
    let list = |axis| message(1, &message(1, &listed(axis)));
    let slice = |start, length| message(2, &message(1, &numbers(&[(1, start), (2, length)])));
    let floats = |count: usize| message(3, &message(5, &vec![0; 4 * count]));
    let part = |start, length, count| {
        message(2, &[message(1, b"a"), slice(start, length), floats(count)].concat())
    };
    let read = |axis, parts: &[Vec<u8>]| {
        let keys = [&b"\x01"[..], b"\x02"];
        let mut entries = vec![(&b""[..], list(axis))];
        entries.extend(keys.iter().copied().zip(parts.iter().cloned()));
        checkpoint::read(&table(&entries)).map_err(|fault| fault.to_string())
    };
    assert!(read(4, &[part(0, 2, 2), part(2, 2, 2)]).is_ok());
    assert!(read(4, &[part(0, 2, 2), part(0, 2, 2)]).unwrap_err().contains("overlap"));
    assert!(read(4, &[part(0, 2, 2)]).unwrap_err().contains("hold 2 values"));
    assert!(read(4, &[part(0, 2, 2), part(3, 2, 2)]).unwrap_err().contains("does not fit"));
    assert!(read(1 << 40, &[part(0, 1 << 40, 2)]).unwrap_err().contains("hold 2 values"));
}
