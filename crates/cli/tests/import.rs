//! `inception import`: other programs' files, and the numbers that come out.
//!
//! Real weights and pictures lie beside the repository and are no part of it; where they are
//! absent, the tests that need them say so and pass.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{Place, Ran};
use inception_model::{Weights, write_tensors};
use inception_net::zoo;
use serde_json::Value;

/// What lies beside the repository, if it does.
fn shared(name: &str) -> Option<String> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")).join(name);
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path.to_str().unwrap().to_owned())
}

/// BVLC's GoogLeNet with its reference logits.
struct Bvlc {
    weights: String,
    labels: String,
    photos: String,
    reference: Value,
}

impl Bvlc {
    fn find() -> Option<Self> {
        let reference = shared("reference/bvlc_googlenet.reference.json")?;
        Some(Self {
            weights: shared("weights/bvlc_googlenet.safetensors")?,
            labels: shared("weights/imagenet_synset_words.txt")?,
            photos: shared("data/photos")?,
            reference: serde_json::from_slice(&std::fs::read(reference).unwrap()).unwrap(),
        })
    }

    fn import(&self, place: &Place, more: &[&str]) -> Ran {
        let arguments = [
            "import",
            &self.weights,
            "--from",
            "caffe",
            "--labels",
            &self.labels,
            "-o",
            "m.safetensors",
        ];
        place.run(&[&arguments[..], more].concat())
    }

    /// The largest difference of a logit from the reference on these photos.
    fn difference(&self, place: &Place, photos: &[&str]) -> f64 {
        let photos: Vec<String> =
            photos.iter().map(|name| format!("{}/{name}", self.photos)).collect();
        let mut arguments = vec!["predict", "m.safetensors"];
        arguments.extend(photos.iter().map(String::as_str));
        arguments.extend(["--json", "--logits", "--resize", "none", "--crop", "224"]);
        let answers = place.run(&arguments).succeeds().json();
        let mut worst = 0.0_f64;
        for answer in answers.as_array().unwrap() {
            let photo = Path::new(answer["file"].as_str().unwrap()).file_name().unwrap();
            let wanted = numbers(&self.reference["images"][photo.to_str().unwrap()]["logits"]);
            let found = numbers(&answer["logits"]);
            assert_eq!((wanted.len(), found.len()), (1000, 1000));
            let differences = wanted.iter().zip(&found).map(|(a, b)| (a - b).abs());
            worst = differences.fold(worst, f64::max);
        }
        worst
    }
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect()
}

const PHOTOS: [&str; 8] = [
    "astronaut.png",
    "chelsea.png",
    "china.png",
    "coffee.png",
    "flower.png",
    "hubble_deep_field.png",
    "retina.png",
    "rocket.png",
];

#[test]
fn bvlc_googlenet_gives_the_reference_logits() {
    let Some(bvlc) = Bvlc::find() else { return };
    let place = Place::new();
    bvlc.import(&place, &[]).succeeds().says(&["googlenet", "1,000 outputs", "m.safetensors"]);
    let worst = bvlc.difference(&place, &PHOTOS);
    assert!(worst < 1e-4, "a logit is off by {worst}");
    let photo = format!("{}/flower.png", bvlc.photos);
    let arguments =
        ["predict", "m.safetensors", &photo, "--json", "--resize", "none", "--crop", "224"];
    let best = place.run(&arguments).succeeds().json()[0]["predictions"][0].clone();
    assert_eq!(best["label"], bvlc.reference["images"]["flower.png"]["top5"][0][1]);
    // Recognised as well as told.
    let arguments = ["import", &bvlc.weights, "-o", "recognised.safetensors"];
    place.run(&arguments).succeeds();
}

/// Imports into the network with its text changed. Logits have to move by as much as the
/// reference's own table of mistakes says: far from rounding, and that mistake and no other.
#[track_caller]
fn is_caught(mistake: &str, change: impl Fn(&str) -> String) {
    let Some(bvlc) = Bvlc::find() else { return };
    let place = Place::new();
    let right = place.run(&["summary", "googlenet", "--toml"]).succeeds().out;
    let right = without(&right, "auxiliary-v1");
    let wrong = change(&right);
    assert_ne!(wrong, right, "nothing was changed");
    place.write("wrong.toml", &wrong);
    bvlc.import(&place, &["--network", "wrong.toml"]).succeeds();
    let off = bvlc.difference(&place, &PHOTOS);
    let table = &bvlc.reference["mistakes (max abs logit change, argmax changes of 11)"];
    let wanted = table[mistake][0].as_f64().unwrap();
    assert!(wanted > 3.0 && (off / wanted - 1.0).abs() < 1e-3, "{mistake}: {off}, not {wanted}");
}

/// A network's text less its layers of a kind.
fn without(toml: &str, kind: &str) -> String {
    toml.split_inclusive("\n\n").filter(|section| !section.contains(kind)).collect()
}

#[test]
fn leaving_out_response_normalisation_is_caught() {
    is_caught("without LRN", |net| without(net, "local-response-norm"));
}

#[test]
fn response_normalisation_with_undivided_alpha_is_caught() {
    // Ours divides by the size, 5.
    is_caught("LRN alpha not divided by size", |net| {
        net.replace("alpha = 0.0001", "alpha = 0.0005")
    });
}

#[test]
fn pools_padded_on_both_sides_instead_of_ceil_mode_are_caught() {
    is_caught("max pool padded by 1 both sides instead of ceil mode", |net| {
        net.replace("padding = \"valid\"\nceil = true", "padding = 1")
    });
}

#[test]
fn red_first_instead_of_blue_is_caught() {
    is_caught("RGB instead of BGR", |net| {
        let mean = "mean = [0.40784314, 0.45882353, 0.48235294]";
        assert!(net.contains(mean));
        let net = net.replace(mean, "mean = [0.48235294, 0.45882353, 0.40784314]");
        net.replace("\"bgr\"", "\"rgb\"")
    });
}

/// A file of weights alone, under this program's names, and the number of its classes.
fn weights_alone(place: &Place) {
    let net = zoo::build("inception-v3-small", &zoo::Options::default()).unwrap();
    let weights = Weights::initial(&net.graph().unwrap(), 3);
    let tensors = weights
        .tensors()
        .iter()
        .map(|t| (t.parameter.name.as_str(), t.parameter.shape.as_slice(), t.values.as_slice()));
    write_tensors(&place.path("weights"), BTreeMap::new(), tensors).unwrap();
}

#[test]
fn options_without_effect_on_weights_alone_are_refused() {
    let place = Place::new();
    weights_alone(&place);
    for option in [["--classes", "3"], ["--size", "96"], ["--range", "unit"]] {
        let arguments = [&["import", "weights", "-o", "m.safetensors"][..], &option].concat();
        place.run(&arguments).fails().says(&[option[0], "no effect"]);
    }
    assert!(!place.path("m.safetensors").exists());
    // With the network named they are the network's.
    let named = ["import", "weights", "--from", "inception", "--network", "inception-v3-small"];
    place.run(&[&named[..], &["--size", "26", "-o", "m.safetensors"]].concat()).succeeds();
    assert!(place.run(&["summary", "m.safetensors", "--toml"]).out.contains("height = 26"));
}

#[test]
fn own_model_files_are_refused() {
    let place = Place::new();
    weights_alone(&place);
    place.run(&["import", "weights", "-o", "m.safetensors"]).succeeds();
    let again = ["import", "m.safetensors", "-o", "n.safetensors", "--from", "inception"];
    for arguments in [&again[..4], &again] {
        place.run(arguments).fails().says(&["is a model file of this program already"]);
    }
    place.run(&[&again[..], &["--network", "m.safetensors"]].concat()).succeeds();
    place.run(&["import", "weights", "--from", "onnx"]).fails().says(&["file, not an ONNX file"]);
}

#[test]
fn functions_that_bare_pickles_call_are_named() {
    let place = Place::new();
    let pickles: [&[u8]; 3] = [
        b"\x80\x02cposix\nsystem\nX\x07\0\0\0echo hi\x85R.",
        b"cposix\nsystem\n(S'echo hi'\ntR.",
        b"(S'echo hi'\niposix\nsystem\n.",
    ];
    for pickle in pickles {
        place.write("weights.pth", pickle);
        let ran = place.run(&["import", "weights.pth"]).fails();
        ran.says(&["`posix.system`", "nothing was run"]);
    }
}
