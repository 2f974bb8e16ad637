//! TensorFlow's graphs and checkpoints to logits: graphs that TensorFlow wrote and ran
//! (`peers/tensorflow_fixtures.py`), and all names and shapes of TF-slim's variables, as its
//! networks list them.

use std::path::Path;
use std::sync::Arc;

use inception_convert::{ImportError, Options, import};
use inception_engine::{Cpu, Inference};
use inception_formats::{Array, Contents, Format};
use inception_model::Model;
use inception_net::Step;
use inception_net::graph::Role;
use inception_net::preprocessing::{Protocol, Resize};

fn data(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tensorflow").join(name)
}

/// The script's picture, channels first.
fn picture(side: usize) -> Vec<f32> {
    let value = |i: usize| (7 * i % 23) as f32 / 11.0 - 1.0;
    let pixels = side * side;
    (0..3 * pixels).map(|i| value(i % pixels * 3 + i / pixels)).collect()
}

fn compare(name: &str, side: usize) -> Model {
    let contents = inception_formats::read(&data(&format!("{name}.pb"))).unwrap();
    let model = import(contents, &Options::default()).unwrap();
    let graph = model.net.graph().unwrap();
    let cpu = Arc::new(Cpu::new(1).unwrap());
    let found = Inference::new(&graph, &model.weights, cpu).unwrap().run(&picture(side)).unwrap();
    let expected = std::fs::read_to_string(data(&format!("{name}.json"))).unwrap();
    let expected: Vec<f32> = serde_json::from_str(&expected).unwrap();
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() <= 1e-5 * scale, "{name}: {found} for {expected}");
    }
    model
}

#[test]
fn the_operations_of_2015() {
    let model = compare("of-2015", 15);
    let pool = |step: &Step| match step {
        Step::Branches(branches) => {
            branches.branches.iter().flatten().any(|step| matches!(step, Step::MaxPool(_)))
        }
        _ => false,
    };
    assert_eq!(model.net.layers.iter().filter(|step| pool(step)).count(), 1);
    // Its preprocessing is all in the graph: TensorFlow 1's resize, (v - 128) / 128.
    let preprocessing = &model.net.preprocessing;
    assert_eq!(preprocessing.protocol, Protocol::Tensorflow1);
    assert_eq!(preprocessing.resize, Resize::Exact { height: 15, width: 15 });
    assert_eq!(preprocessing.crop, None);
    for (mean, std) in preprocessing.mean.iter().zip(&preprocessing.std) {
        assert!((mean - 128.0 / 255.0).abs() < 1e-6 && (std - 128.0 / 255.0).abs() < 1e-6);
    }
}

#[test]
fn batch_norm_in_single_operations() {
    compare("spelled-out", 13);
}

/// All variables of a TF-slim network in their order: weights and biases from the list, batch
/// norm's beside all weights without bias. The values of each are its number.
fn variables(scope: &str) -> Vec<Array> {
    let list = std::fs::read_to_string(data("slim-variables.txt")).unwrap();
    let mut names = Vec::new();
    for line in list.lines().filter(|line| line.starts_with(&format!("{scope}/"))) {
        let mut words = line.split(' ');
        let name = words.next().unwrap().to_owned();
        names.push((name, words.map(|axis| axis.parse().unwrap()).collect::<Vec<usize>>()));
    }
    let biased: Vec<String> = names
        .iter()
        .filter_map(|(name, _)| Some(name.strip_suffix("/biases")?.to_owned()))
        .collect();
    let mut all = Vec::new();
    for (name, shape) in names {
        let (layer, kind) = name.rsplit_once('/').unwrap();
        let norm = kind == "weights" && !biased.iter().any(|biased| biased == layer);
        all.push((name.clone(), shape.clone()));
        for kind in ["beta", "moving_mean", "moving_variance"].iter().filter(|_| norm) {
            all.push((format!("{layer}/BatchNorm/{kind}"), vec![shape[3]]));
        }
    }
    let array = |(place, (name, shape)): (usize, (String, Vec<usize>))| {
        let values = vec![place as f32; shape.iter().product()];
        Array { name, shape, values }
    };
    all.into_iter().enumerate().map(array).collect()
}

fn imported(arrays: Vec<Array>) -> Result<Model, ImportError> {
    import(Contents::arrays(Format::TfCheckpoint, arrays), &Options::default())
}

#[test]
fn every_variable_of_tf_slims_networks_has_its_place() {
    for (scope, network) in [
        ("InceptionV1", "googlenet"),
        ("InceptionV2", "bn-inception"),
        ("InceptionV3", "inception-v3"),
    ] {
        let arrays = variables(scope);
        let weights: Vec<f32> = arrays
            .iter()
            .filter(|array| array.name.ends_with("weights") && !array.name.contains("/AuxLogits/"))
            .map(|array| array.values[0])
            .collect();
        let model = imported(arrays).unwrap();
        assert_eq!((model.net.name.as_str(), model.net.classes), (network, 1001));
        // TF-slim builds layers and branches in the order in which ours stand.
        let ours: Vec<f32> = model
            .weights
            .tensors()
            .iter()
            .filter(|t| t.parameter.role == Role::Weight && !t.parameter.name.starts_with("Aux"))
            .map(|tensor| tensor.values[0])
            .collect();
        assert_eq!(ours, weights, "{scope}");
    }
}

#[test]
fn what_training_leaves_is_left_out_and_nothing_else() {
    let beside = |name: &str| Array { name: name.to_owned(), shape: vec![], values: vec![0.0] };
    let mut arrays = variables("InceptionV3");
    arrays.retain(|array| !array.name.contains("/AuxLogits/"));
    for name in [
        "global_step",
        "beta1_power",
        "InceptionV3/Conv2d_1a_3x3/weights/ExponentialMovingAverage",
        "InceptionV3/Conv2d_1a_3x3/weights/RMSProp_1",
        "InceptionV3/Conv2d_1a_3x3/weights/Momentum",
        "InceptionV3/Conv2d_1a_3x3/BatchNorm/moving_mean/biased",
    ] {
        arrays.push(beside(name));
    }
    let model = imported(arrays.clone()).unwrap();
    assert!(model.net.layers.iter().all(|step| step.auxiliary().is_none()));

    arrays.push(beside("InceptionV3/Conv2d_9z/weights"));
    arrays.retain(|array| array.name != "InceptionV3/Mixed_6a/Branch_0/Conv2d_1a_1x1/weights");
    let error = imported(arrays).unwrap_err().to_string();
    for part in
        ["Conv2d_9z/weights is left over", "Mixed_6a/Branch_0/Conv2d_1a_1x1/weights is missing"]
    {
        assert!(error.contains(part), "{error}");
    }
}
