//! State dicts with the names and shapes that torchvision gives its networks.

use std::collections::BTreeMap;

use inception_convert::{ImportError, Options, import, state_dict};
use inception_formats::{Array, Contents, Format};
use inception_model::Model;
use inception_net::preprocessing::{Filter, Protocol, Resize};
use inception_net::zoo::Dialect;

/// All tensors of a network as torchvision names them, each filled with its own number.
fn arrays(network: &str) -> Vec<Array> {
    let path = format!("{}/tests/data/torchvision/{network}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let line = |(place, line): (usize, &str)| {
        let mut words = line.split(' ');
        let name = words.next().unwrap().to_owned();
        let shape: Vec<usize> = words.map(|n| n.parse().unwrap()).collect();
        let values = vec![place as f32; shape.iter().product()];
        Array { name, shape, values }
    };
    text.lines().enumerate().map(line).collect()
}

fn imported(arrays: Vec<Array>) -> Result<Model, ImportError> {
    import(Contents::arrays(Format::Torch, arrays), &Options::default())
}

/// The number that the named parameter was filled with.
fn number(model: &Model, name: &str) -> f32 {
    model.weights.get(name).unwrap_or_else(|| panic!("no {name}")).values[0]
}

#[test]
fn every_tensor_of_torchvisions_networks_has_its_place() {
    for (network, ours, pairs) in [
        (
            "inception_v3",
            "inception-v3",
            &[
                ("Mixed_6b.branch7x7dbl_3.conv.weight", "Mixed_6b.branch7x7dbl_3.conv.weight"),
                ("AuxLogits.conv1.bn.running_var", "AuxLogits.conv1.bn.running_var"),
            ][..],
        ),
        (
            "googlenet",
            "googlenet",
            &[
                ("conv2.conv.weight", "conv2_reduce.conv.weight"),
                ("conv3.bn.weight", "conv2.bn.weight"),
                ("inception3a.branch1.conv.weight", "inception_3a.1x1.conv.weight"),
                (
                    "inception4e.branch2.0.bn.running_mean",
                    "inception_4e.3x3_reduce.bn.running_mean",
                ),
                ("inception4e.branch3.1.bn.bias", "inception_4e.5x5.bn.bias"),
                ("inception5b.branch4.1.conv.weight", "inception_5b.pool_proj.conv.weight"),
                ("aux2.conv.conv.weight", "aux2.conv.conv.weight"),
                ("aux1.fc2.bias", "aux1.fc2.bias"),
                ("fc.weight", "fc.weight"),
            ],
        ),
    ] {
        let arrays = arrays(network);
        let model = imported(arrays.clone()).unwrap();
        assert_eq!((&*model.net.name, model.net.dialect), (ours, Some(Dialect::Torchvision)));
        assert_eq!((model.net.classes, model.labels.len()), (1000, 1000));
        for (theirs, ours) in pairs {
            let place = arrays.iter().position(|array| array.name == *theirs).unwrap();
            assert_eq!(number(&model, ours), place as f32, "{theirs}");
        }
        // And the way back: all but the counters, to the bit.
        let mut wanted = arrays;
        wanted.retain(|array| !array.name.ends_with("num_batches_tracked"));
        let mut written = state_dict(&model, "torchvision").unwrap();
        wanted.sort_by(|a, b| a.name.cmp(&b.name));
        written.sort_by(|a, b| a.name.cmp(&b.name));
        assert!(written == wanted, "{network} comes back changed");
    }
}

#[test]
fn auxiliary_heads_may_be_missing() {
    let mut arrays = arrays("googlenet");
    arrays.retain(|array| !array.name.starts_with("aux"));
    let model = imported(arrays).unwrap();
    assert_eq!(model.net.graph().unwrap().heads.len(), 1);
}

#[test]
fn what_is_missing_left_over_or_misshapen_is_listed() {
    let mut arrays = arrays("googlenet");
    let missing = arrays.remove(40).name;
    arrays[7].shape.push(2);
    let misshapen = arrays[7].name.clone();
    arrays.push(Array { name: "stranger".into(), shape: vec![1], values: vec![0.0] });
    arrays.push(arrays[3].clone());
    let twice = arrays[3].name.clone();
    let error = imported(arrays).unwrap_err().to_string();
    for part in [
        "googlenet".to_owned(),
        format!("{missing} is missing"),
        format!("{misshapen} has shape"),
        "stranger is left over".to_owned(),
        format!("{twice} is there twice"),
    ] {
        assert!(error.contains(&part), "`{part}` is not in: {error}");
    }
}

#[test]
fn nobodys_names_are_shown() {
    let array = Array { name: "layer4.1.bn2.weight".into(), shape: vec![1], values: vec![0.0] };
    let error = imported(vec![array]).unwrap_err().to_string();
    for part in ["layer4.1.bn2.weight", "torchvision", "caffe", "--from"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn pytorch_fids_1008_outputs_make_it_the_network_of_2015() {
    let mut arrays = arrays("inception_v3");
    arrays.retain(|array| !array.name.starts_with("AuxLogits"));
    for array in arrays.iter_mut().filter(|array| array.name.starts_with("fc.")) {
        array.shape[0] = 1008;
        array.values = vec![0.0; array.shape.iter().product()];
    }
    let model = imported(arrays).unwrap();
    assert_eq!(model.net.dialect, Some(Dialect::Fid2015));
    assert_eq!(model.net.preprocessing.protocol, Protocol::TorchvisionAliased);
    assert_eq!((model.net.preprocessing.mean[0], model.net.classes), (0.5, 1008));
}

#[test]
fn timms_settings_beside_the_file_are_used() {
    let mut contents = Contents::arrays(Format::Safetensors, arrays("inception_v3"));
    let settings = r#"{"pretrained_cfg": {"input_size": [3, 299, 299], "crop_pct": 0.875,
        "interpolation": "bicubic", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}}"#;
    contents.notes = BTreeMap::from([("config.json".to_owned(), settings.to_owned())]);
    let preprocessing = import(contents, &Options::default()).unwrap().net.preprocessing;
    assert_eq!(
        (preprocessing.resize, preprocessing.filter),
        (Resize::Shorter(341), Filter::Bicubic)
    );
    assert_eq!(preprocessing.std, [0.229, 0.224, 0.225]);
}

#[test]
fn a_network_that_the_library_computes_otherwise_is_not_written() {
    let mut model = imported(arrays("googlenet")).unwrap();
    let error = state_dict(&model, "keras").unwrap_err().to_string();
    assert!(error.contains("googlenet") && error.contains("inception-v3 of"), "{error}");
    model.net.dialect = Some(Dialect::TfSlim);
    let error = state_dict(&model, "torchvision").unwrap_err().to_string();
    assert!(error.contains("tf-slim") && error.contains("ONNX"), "{error}");
    model.net.dialect = None;
    model.net.name = "mine".to_owned();
    let error = state_dict(&model, "torchvision").unwrap_err().to_string();
    assert!(error.contains("`mine`"), "{error}");
    assert!(state_dict(&model, "fastai").is_err());
}
