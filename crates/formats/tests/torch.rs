//! PyTorch's files: small ones that PyTorch wrote, and hostile ones.

use std::io::Write;

use inception_formats::{Array, torch};

/// Written by PyTorch 2.15; see `peers/torch_fixtures.py`. The fuzz targets start from the same.
fn file(name: &str) -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/torch");
    std::fs::read(format!("{path}/{name}")).unwrap()
}

fn shapes(arrays: &[Array]) -> Vec<(&str, &[usize])> {
    arrays.iter().map(|array| (array.name.as_str(), array.shape.as_slice())).collect()
}

/// A convolution of 1×1 from one to two channels and its batch norm.
const LAYERS: [(&str, &[usize]); 7] = [
    ("0.bias", &[2]),
    ("0.weight", &[2, 1, 1, 1]),
    ("1.bias", &[2]),
    ("1.num_batches_tracked", &[]),
    ("1.running_mean", &[2]),
    ("1.running_var", &[2]),
    ("1.weight", &[2]),
];

#[test]
fn state_dicts_checkpoints_and_modules_hold_the_same() {
    let mut all = Vec::new();
    for name in ["zip", "legacy", "module"] {
        let mut arrays = torch::read(&file(name)).unwrap();
        arrays.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(shapes(&arrays), LAYERS, "{name}");
        all.push(arrays);
    }
    assert_eq!(all[0], all[1]);
    let running_var = &all[0][5];
    assert_eq!(running_var.values, [1.0, 1.0]);
    // The half-precision copy inside a training checkpoint, rounded.
    let mut half = torch::read(&file("checkpoint")).unwrap();
    half.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(shapes(&half), LAYERS);
    for (a, b) in all[0][1].values.iter().zip(&half[1].values) {
        assert!(a != b && (a - b).abs() < 1e-3, "{a} {b}");
    }
}

#[test]
fn views_and_parameters_are_gathered() {
    let arrays = torch::read(&file("strided")).unwrap();
    assert_eq!(shapes(&arrays), [("a", &[3, 2][..]), ("b", &[1])]);
    assert_eq!(arrays[0].values, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(arrays[1].values, [1.0]);
}

#[test]
fn every_truncation_is_a_fault() {
    for (name, step) in [("zip", 1), ("legacy", 1), ("module", 13), ("strided", 1)] {
        let bytes = file(name);
        for len in (0..bytes.len()).step_by(step) {
            assert!(torch::read(&bytes[..len]).is_err(), "{name}, {len} bytes");
        }
    }
}

#[test]
fn every_damaged_byte_is_an_answer() {
    for name in ["zip", "legacy", "strided"] {
        let whole = file(name);
        for place in 0..whole.len() {
            for bits in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[place] ^= bits;
                let _ = torch::read(&bytes);
            }
        }
    }
}

/// A zip archive as `torch.save` makes them, around this pickle.
fn archive(pickle: &[u8], storages: &[(&str, Vec<u8>)], deflated: bool) -> Vec<u8> {
    let method = match deflated {
        true => zip::CompressionMethod::Deflated,
        false => zip::CompressionMethod::Stored,
    };
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive.start_file("archive/data.pkl", options).unwrap();
    archive.write_all(pickle).unwrap();
    for (key, content) in storages {
        archive.start_file(format!("archive/data/{key}"), options).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// `{'x': _rebuild_tensor_v2(storage 0 of `count` floats, offset, size, stride, …)}`.
fn tensor(offset: i32, size: &[i32], stride: &[i32]) -> Vec<u8> {
    let mut pickle = b"\x80\x02}X\x01\0\0\0xctorch._utils\n_rebuild_tensor_v2\n(".to_vec();
    pickle.extend(b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQ");
    let int = |n: i32| [&b"J"[..], &n.to_le_bytes()].concat();
    pickle.extend(int(offset));
    for list in [size, stride] {
        pickle.push(b'(');
        list.iter().for_each(|&n| pickle.extend(int(n)));
        pickle.push(b't');
    }
    pickle.extend(b"\x89Ntrs.".map(|b| if b == b'r' { b'R' } else { b }));
    pickle
}

fn floats(count: usize) -> Vec<(&'static str, Vec<u8>)> {
    vec![("0", vec![0; 4 * count])]
}

#[track_caller]
fn faults(pickle: &[u8], storages: &[(&str, Vec<u8>)], words: &[&str]) {
    let fault = torch::read(&archive(pickle, storages, false)).unwrap_err().to_string();
    for word in words {
        assert!(fault.contains(word), "`{word}` is not in: {fault}");
    }
}

#[test]
fn the_test_pickle_is_sound() {
    let bytes = archive(&tensor(1, &[3], &[1]), &floats(4), false);
    assert_eq!(shapes(&torch::read(&bytes).unwrap()), [("x", &[3][..])]);
}

#[test]
fn nothing_is_called() {
    let system = b"\x80\x02cposix\nsystem\nX\x07\0\0\0echo hi\x85R.";
    faults(system, &[], &["`posix.system`", "nothing was run"]);
    let eval = b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.";
    faults(eval, &[], &["`builtins.eval`"]);
    // Protocol 0's way, and one hidden beside sound tensors.
    faults(b"(S'id'\nios\nsystem\n.", &[], &["`os.system`"]);
    let mut hidden = tensor(0, &[1], &[1]);
    hidden.pop();
    hidden.extend(b"X\x01\0\0\0ycos\npopen\n)Rs.");
    faults(&hidden, &floats(4), &["`os.popen`"]);
    // A function looked up by a function.
    let found = b"\x80\x02cbuiltins\ngetattr\ncos\npath\nX\x06\0\0\0system\x86R)R.";
    faults(found, &[], &["`builtins.getattr`"]);
}

#[test]
fn tensors_beyond_their_storage_are_faults() {
    for (offset, size, stride) in [
        (0, &[5][..], &[1][..]),
        (4, &[1], &[1]),
        (i32::MAX, &[1], &[1]),
        (0, &[2], &[4]),
        (0, &[2, 2], &[2, 3]),
        (0, &[i32::MAX, i32::MAX, i32::MAX, 2], &[1, 1, 1, 1]),
    ] {
        faults(&tensor(offset, size, stride), &floats(4), &["`x`", "beyond its storage"]);
    }
    faults(&tensor(-1, &[1], &[1]), &floats(4), &["`x`", "damaged"]);
    faults(&tensor(0, &[1, 1], &[1]), &floats(4), &["`x`", "damaged"]);
}

#[test]
fn a_storage_is_not_expanded_a_thousandfold() {
    // A stride of 0 repeats one value 2 billion times.
    faults(&tensor(0, &[1 << 10, 1 << 20], &[0, 0]), &floats(4), &["more values"]);
}

#[test]
fn archives_that_unpack_to_too_much_are_faults() {
    let bytes = archive(&tensor(0, &[1], &[1]), &[("0", vec![0; 50 << 20])], true);
    assert!(bytes.len() < 1 << 20);
    let fault = torch::read(&bytes).unwrap_err().to_string();
    assert!(fault.contains("unpacks to more"), "{fault}");
}

#[test]
fn values_that_contain_themselves_end() {
    // d = {}; d['d'] = d; the pickle is d.
    faults(b"\x80\x02}q\0X\x01\0\0\0dh\0s.", &[], &["no tensors"]);
    // l = []; l.append(l) as a state dict.
    faults(b"\x80\x02]q\0h\0a.", &[], &["no tensors"]);
}

#[test]
fn what_is_no_pickle_is_a_fault() {
    for bytes in [&b""[..], b"\x80", b"\x80\x02", b"\x80\x02.", b"PK\x03\x04", b"\x80\x02}."] {
        assert!(torch::read(bytes).is_err(), "{bytes:?}");
    }
}
