//! Model files: what is written is read back to the bit, and nothing else is read at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use inception_model::{
    Model, ModelError, Named, Precision, TensorFile, WeightSource, Weights, write_atomically,
    write_plain, write_tensors,
};
use inception_net::graph::Role;
use inception_net::zoo::{self, Options};

fn model() -> Model {
    let options = Options { classes: Some(3), width: 0.1, ..Options::default() };
    let net = zoo::build("inception-v3-small", &options).expect("a network");
    let weights = Weights::initial(&net.graph().expect("a graph"), 7);
    let labels = ["a", "b", "c/ü"].map(String::from).to_vec();
    let provenance = BTreeMap::from([("seed".to_owned(), "7".to_owned())]);
    Model { net, weights, labels, provenance }
}

/// What loading a file says, after this change to a sound file's bytes.
fn fault(change: impl FnOnce(&mut Vec<u8>)) -> ModelError {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    model().save(&path).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(&path, bytes).unwrap();
    Model::load(&path).expect_err("a fault")
}

/// Replaces text in the header by other text of the same length.
fn replace(bytes: &mut [u8], from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).expect("the text");
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
}

#[test]
fn a_model_comes_back_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let model = model();
    model.save(&path).unwrap();
    let read = Model::load(&path).unwrap();
    assert_eq!(read.net, model.net);
    assert_eq!(read.weights, model.weights);
    assert_eq!(read.labels, model.labels);
    assert_eq!(read.provenance, model.provenance);
    let first = fs::read(&path).unwrap();
    read.save(&path).unwrap();
    assert!(first == fs::read(&path).unwrap(), "the same model is the same bytes");
}

#[test]
fn initial_weights_follow_the_description() {
    let net = zoo::build("inception-v3", &Options::default()).unwrap();
    let weights = Weights::initial(&net.graph().unwrap(), 1);
    let weight = weights.get("Mixed_6b.branch7x7_2.conv.weight").unwrap();
    let std = (weight.values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>()
        / weight.values.len() as f64)
        .sqrt();
    // A normal cut at ±2σ has 0.88 of its standard deviation; torchvision's σ is 0.1.
    assert!((std - 0.088).abs() < 0.001, "{std}");
    assert!(weight.values.iter().all(|v| v.abs() <= 0.2));
    for tensor in weights.tensors() {
        let expected = match tensor.parameter.role {
            Role::Weight => continue,
            Role::Scale | Role::RunningVariance => 1.0,
            Role::Bias | Role::Shift | Role::RunningMean => 0.0,
        };
        assert!(tensor.values.iter().all(|&v| v == expected), "{}", tensor.parameter.name);
    }
}

#[test]
fn every_truncation_is_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    model().save(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let cut = folder.path().join("cut.safetensors");
    for len in (0..bytes.len()).step_by(997).chain([1, 7, 8, 9, bytes.len() - 1]) {
        fs::write(&cut, &bytes[..len]).unwrap();
        let message = Model::load(&cut).expect_err("a truncated file").to_string();
        assert!(message.contains("cut.safetensors") && message.contains("truncated"), "{message}");
    }
}

#[test]
fn damaged_headers_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    model().save(&path).unwrap();
    let sound = fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(sound[..8].try_into().unwrap()) as usize;
    for i in (0..8).chain((8..header).step_by(61)) {
        let mut bytes = sound.clone();
        bytes[i] ^= 1 << (i % 8);
        fs::write(&path, bytes).unwrap();
        // Some flips only change a label; whatever comes, it is an answer.
        let _ = Model::load(&path);
    }
}

#[test]
fn a_header_that_claims_too_much_is_an_error() {
    let error = fault(|bytes| bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes()));
    assert!(matches!(error, ModelError::Malformed { .. }), "{error}");
}

#[test]
fn another_version_says_which() {
    let error = fault(|bytes| replace(bytes, "inception-model/2", "inception-model/9"));
    assert!(error.to_string().contains("inception-model/9"), "{error}");
}

#[test]
fn a_checkpoint_or_a_folder_leads_to_the_model_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let header = BTreeMap::from([("format".to_owned(), "inception-checkpoint/1".to_owned())]);
    write_tensors(&path, header, [("x", &[1][..], &[1.0][..])]).unwrap();
    for path in [&path, folder.path()] {
        let message = Model::load(path).expect_err("not a model").to_string();
        assert!(message.contains("the model.safetensors"), "{message}");
    }
}

#[test]
fn foreign_tensors_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.safetensors");
    write_tensors(&path, BTreeMap::new(), [("x", &[2][..], &[1.0, 2.0][..])]).unwrap();
    let error = Model::load(&path).expect_err("not a model");
    assert!(matches!(error, ModelError::Foreign { .. }), "{error}");
    assert_eq!(TensorFile::open(&path).unwrap().into_tensors().unwrap()[0].2, [1.0, 2.0]);
}

#[test]
fn weights_that_do_not_fit_are_listed() {
    let model = model();
    let graph = model.net.graph().unwrap();
    let mut tensors: Vec<_> = model
        .weights
        .tensors()
        .iter()
        .map(|t| (t.parameter.name.clone(), t.parameter.shape.clone(), t.values.clone()))
        .collect();
    tensors[0].1.reverse();
    let missing = tensors.pop().unwrap().0;
    tensors.push(("stranger".to_owned(), vec![1], vec![0.0]));
    let message = Weights::from_named(&graph, tensors).expect_err("a misfit").to_string();
    for part in [&missing, " is missing", "stranger is left over", "has shape"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_failed_write_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    write_atomically(&path, b"old").unwrap();
    // A folder in the file's place cannot be renamed over.
    let taken = folder.path().join("taken");
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("inside"), b"kept").unwrap();
    assert!(write_atomically(&taken, b"new").is_err());
    assert_eq!(fs::read(taken.join("inside")).unwrap(), b"kept");
    assert!(write_atomically(Path::new("no/such/folder/file"), b"new").is_err());
    assert_eq!(fs::read(&path).unwrap(), b"old");
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 2, "no partial file is left behind");
}

#[test]
fn narrow_weights_are_rounded_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut model = model();
    for (parameter, values) in model.weights.values_mut() {
        if parameter.role == Role::RunningVariance {
            values.fill(1e-9);
        }
    }
    model.save(&path).unwrap();
    let whole = fs::metadata(&path).unwrap().len();
    for (precision, share) in [(Precision::F16, 1.0 / 2048.0), (Precision::Bf16, 1.0 / 256.0)] {
        model.save_as(&path, precision).unwrap();
        assert!(fs::metadata(&path).unwrap().len() < whole * 6 / 10);
        let read = Model::load(&path).unwrap();
        let mut changed = false;
        for (a, b) in model.weights.tensors().iter().zip(read.weights.tensors()) {
            assert_eq!(a.parameter, b.parameter);
            if a.parameter.role != Role::Weight {
                assert_eq!(a.values, b.values, "{}", a.parameter.name);
            }
            for (a, b) in a.values.iter().zip(&b.values) {
                changed |= a != b;
                assert!((a - b).abs() <= a.abs() * share + 1e-7, "{precision}: {a} became {b}");
            }
        }
        assert!(changed, "{precision} rounds nothing");
    }
}

#[test]
fn what_a_precision_cannot_hold_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut model = model();
    model.weights.at_mut(0)[0] = 70_000.0;
    let message = model.save_as(&path, Precision::F16).unwrap_err().to_string();
    assert!(message.contains("70000") && message.contains("bf16"), "{message}");
    assert!(!path.exists());
    model.save_as(&path, Precision::Bf16).unwrap();
    let read = Model::load(&path).unwrap();
    assert!((read.weights.tensors()[0].values[0] / 70_000.0 - 1.0).abs() < 0.01);
}

#[test]
fn files_of_the_first_version_are_still_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    model().save(&path).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    replace(&mut bytes, "inception-model/2", "inception-model/1");
    fs::write(&path, bytes).unwrap();
    assert_eq!(Model::load(&path).unwrap().labels, model().labels);
}

#[test]
fn a_field_that_may_change_everything_is_refused() {
    // The same length, so that the offsets stay right.
    let error = fault(|bytes| replace(bytes, "provenance", "perverance"));
    let message = error.to_string();
    assert!(message.contains("`perverance`"), "{message}");
}

#[test]
fn the_dialect_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let net = zoo::build("googlenet", &Options { width: 0.25, ..Options::default() }).unwrap();
    let weights = Weights::initial(&net.graph().unwrap(), 7);
    let labels = (0..1000).map(|i| i.to_string()).collect();
    Model { net, weights, labels, provenance: BTreeMap::new() }.save(&path).unwrap();
    assert_eq!(Model::load(&path).unwrap().net.dialect, Some(zoo::Dialect::Paper));
}

#[test]
fn weights_that_stay_in_the_file_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let model = model();
    model.save(&path).unwrap();
    let open = Model::open(&path).unwrap();
    assert_eq!((&open.net, &open.labels), (&model.net, &model.labels));
    assert_eq!(open.weights.parameters(), model.weights.parameters());
    // Whatever the room held; and in any order.
    let mut room = vec![1.0; 5];
    for (place, tensor) in model.weights.tensors().iter().enumerate().rev() {
        assert_eq!(open.weights.values(place, &mut room).unwrap(), tensor.values);
    }
    assert_eq!(Model::parse(&fs::read(&path).unwrap(), &path).unwrap().weights, model.weights);
}

#[test]
fn an_open_file_that_is_cut_off_is_an_error_and_one_that_is_replaced_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut model = model();
    model.save(&path).unwrap();
    let open = Model::open(&path).unwrap();
    let before = model.weights.tensors()[0].values.clone();
    model.weights.at_mut(0).fill(0.5);
    // Renamed into place: who has the old file open still reads that.
    model.save(&path).unwrap();
    let mut room = Vec::new();
    assert_eq!(open.weights.values(0, &mut room).unwrap(), before);
    let open = Model::open(&path).unwrap();
    let len = fs::metadata(&path).unwrap().len();
    fs::File::options().write(true).open(&path).unwrap().set_len(len / 10).unwrap();
    let last = model.weights.tensors().len() - 1;
    let faults = (0..=last).filter_map(|place| open.weights.values(place, &mut room).err());
    let errors: Vec<String> = faults.map(|error| error.to_string()).collect();
    assert!(!errors.is_empty());
    assert!(errors.iter().all(|e| e.contains("cannot read") && e.contains("model.safetensors")));
}

#[test]
fn tensors_larger_than_what_is_read_at_a_time_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.safetensors");
    let values: Vec<f32> = (0..99_999).map(|i| (i % 2048) as f32).collect();
    for precision in [Precision::F32, Precision::F16] {
        let tensors = [("a", &values[..]), ("b", &values[..65_536]), ("c", &[])];
        let named = tensors.iter().map(|&(name, values)| (name, [values.len()], values));
        let named: Vec<_> = named.collect();
        let named =
            named.iter().map(|(name, shape, values)| Named { name, shape, values, precision });
        write_plain(&path, None, named).unwrap();
        for (name, shape, found) in TensorFile::open(&path).unwrap().into_tensors().unwrap() {
            let (_, expected) = tensors.iter().find(|tensor| tensor.0 == name).unwrap();
            assert_eq!(shape, [expected.len()]);
            assert!(found == *expected, "{name}, {precision}");
        }
    }
}

/// A shell's `<(…)` and standard input are pipes: there is no going back in them.
#[cfg(unix)]
#[test]
fn a_pipe_is_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let [path, pipe] = ["model.safetensors", "pipe"].map(|name| folder.path().join(name));
    model().save(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::write(pipe, fs::read(path).unwrap()).unwrap()
    });
    assert_eq!(Model::load(&pipe).unwrap().weights, model().weights);
    writer.join().unwrap();
}
