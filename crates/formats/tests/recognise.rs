//! Formats are told apart by content, whatever a file is called.

use std::fs;

use inception_formats::{FileError, Format, read};

/// A small file of the fuzz targets' corpora, or of the tests.
fn seed(name: &str) -> Vec<u8> {
    fs::read(format!("{}/../../fuzz/corpus/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// A folder of the test's own.
fn place(name: &str) -> std::path::PathBuf {
    let folder =
        std::env::temp_dir().join(format!("inception-recognise-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_files_name_says_nothing() {
    let folder = place("names");
    for (name, format) in [
        ("torch/zip", Format::Torch),
        ("torch/legacy", Format::Torch),
        ("safetensors/mixed", Format::Safetensors),
        ("mxnet/v2", Format::Mxnet),
        ("caffe/layer", Format::Caffe),
        ("tf_graph/of-2015", Format::TfGraph),
        ("../../crates/formats/tests/data/tensorflow/v1.ckpt", Format::TfCheckpoint),
    ] {
        let path = folder.join("file.txt");
        fs::write(&path, seed(name)).unwrap();
        assert_eq!(Format::recognise(&path).unwrap(), Some(format), "{name}");
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_is_none_of_them_is_said_so() {
    let folder = place("none");
    for (name, content) in [
        ("empty", &b""[..]),
        ("text", b"learning rate = 0.1\n"),
        ("json", b"{\"a\": 1}"),
        ("zeros", &[0; 100]),
        ("header", &[0xff; 9]),
    ] {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(error, FileError::Unknown(_)), "{name}: {error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    assert!(matches!(read(&folder).unwrap_err(), FileError::Unknown(_)));
    assert!(matches!(read(&folder.join("missing")).unwrap_err(), FileError::Read { .. }));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_damaged_file_names_itself_its_format_and_the_fault() {
    let folder = place("damaged");
    for name in ["torch/legacy", "mxnet/v2", "safetensors/mixed"] {
        let bytes = seed(name);
        let path = folder.join("damaged.bin");
        fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(error, FileError::Malformed { .. }), "{name}: {error}");
        assert!(error.to_string().contains("damaged.bin"), "{error}");
    }
    fs::remove_dir_all(folder).unwrap();
}
