//! `inception train` where all goes well.

mod common;

use std::fs;

use common::Place;
use serde_json::Value;

#[test]
fn a_run_leaves_model_log_report_and_recipe() {
    let place = Place::new();
    let ran = place.train("out/run", &[]).succeeds();
    for word in ["test accuracy", "out/run/model.safetensors", "predict out/run/model.safetensors"]
    {
        assert!(ran.out.contains(word), "{word} is not in\n{}", ran.out);
    }
    let log = place.text("out/run/log.jsonl");
    let epochs: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(epochs.len(), 6);
    for (i, epoch) in epochs.iter().enumerate() {
        assert_eq!(epoch["epoch"], i + 1);
        for key in ["train_loss", "test_loss", "test_top1", "pictures_per_second", "seconds"] {
            assert!(epoch[key].is_number(), "{key} in {epoch}");
        }
    }
    let last = epochs[5]["test_top1"].as_f64().unwrap();
    assert!(last > 0.8, "three colours were not learned: {last}");
    let report = place.text("out/run/report.html");
    for word in [
        "<svg",
        "Confusion matrix",
        "data:image/png;base64,",
        "green",
        "Objective, step by step",
        "with the weights as the last step left them",
        "Gap between logits",
        "All 9 layers",
        "module.3x3",
        "</html>",
    ] {
        assert!(report.contains(word), "{word} is not in the report");
    }
    for outside in ["http://", "https://", "src=\"/", "<script", "<link"] {
        assert!(!report.contains(outside), "the report needs {outside}");
    }
    for words in ["accuracy, last weights", "logit gap, test", "out/run/model.safetensors"] {
        assert!(ran.out.contains(words), "{words} is not in\n{}", ran.out);
    }
    assert!(place.read("out/run/events.out.tfevents").len() > 1000);
    // Everything said above the curves goes to standard error, where progress belongs.
    ran.says(&["network   tiny, 3×12×12 to 3 classes", "24 to learn from, 6 to test on"]);
    assert!(place.text("out/run/recipe.toml").contains("epochs = 6"));
}

#[test]
fn the_same_seed_gives_the_same_bits_on_any_number_of_threads() {
    let place = Place::new();
    let model = |out: &str, more: &[&str]| {
        place.train(out, more).succeeds();
        place.read(&format!("{out}/model.safetensors"))
    };
    let first = model("a", &["--threads", "1"]);
    assert!(first == model("b", &["--threads", "1"]), "a second run differs");
    assert!(first == model("c", &["--threads", "2"]), "two threads differ from one");
    assert!(first == model("d", &["--threads", "3"]), "three threads differ from one");
    assert!(first != model("e", &["--seed", "1"]), "the seed changes nothing");
}

#[test]
fn the_recipe_of_a_run_gives_its_model_again() {
    let place = Place::new();
    let ran = place.train("a", &["--seed", "5"]).succeeds();
    ran.says(&["seed 5"]);
    let arguments = ["train", "photos", "--model", "tiny.toml", "--recipe", "a/recipe.toml"];
    place.run(&[&arguments[..], &["--out", "b"]].concat()).succeeds();
    assert_eq!(place.text("a/run.toml"), place.text("b/run.toml"));
    assert!(place.read("a/model.safetensors") == place.read("b/model.safetensors"));
    place.run(&[&arguments[..], &["--out", "c", "--seed", "6"]].concat()).succeeds();
    assert!(place.text("c/run.toml").contains("seed = 6"));
    assert!(place.read("a/model.safetensors") != place.read("c/model.safetensors"));
}

#[test]
fn without_out_each_run_gets_a_folder_of_its_own() {
    let place = Place::new();
    place.photos();
    let arguments = ["train", "photos", "--model", "tiny.toml", "--epochs", "1", "--batch", "8"];
    for n in [1, 2] {
        let folder = format!("runs/tiny-{n}");
        let ran = place.run(&arguments).succeeds().says(&[&folder]);
        assert!(ran.out.contains(&folder));
        assert!(place.path(&folder).join("model.safetensors").exists());
    }
}

#[test]
fn what_is_there_is_never_overwritten() {
    let place = Place::new();
    place.train("run", &["--epochs", "1"]).succeeds();
    let before = place.read("run/model.safetensors");
    place.train("run", &["--epochs", "2"]).fails().says(&["not empty", "--resume run"]);
    assert!(before == place.read("run/model.safetensors"));
}

#[test]
fn the_built_in_pictures_need_no_data() {
    let place = Place::new();
    let grey = common::TINY
        .replace("channels = 3", "channels = 1")
        .replace("\"rgb\"", "\"grey\"")
        .replace("[0.5, 0.5, 0.5]", "[0.5]")
        .replace("[0.25, 0.25, 0.25]", "[0.25]");
    place.write("grey.toml", grey);
    let ran = place.run(&["train", "--model", "grey.toml", "--epochs", "1", "--out", "run"]);
    ran.succeeds().says(&["to 10 classes", "10,000 to learn from, 2,000 to test on"]);
    let example = place.run(&["predict", "run/model.safetensors", "run/example.png", "--json"]);
    assert_eq!(example.succeeds().json()[0]["predictions"].as_array().unwrap().len(), 5);
    let scores = place.run(&["eval", "run/model.safetensors", "--json"]).succeeds().json();
    assert_eq!(scores["pictures"], 2000);
    let log: Value = serde_json::from_str(place.text("run/log.jsonl").trim()).unwrap();
    assert_eq!(log["test_top1"], scores["top1"]);
    assert_eq!(log["test_loss"], scores["loss"]);
    assert!(scores["top1"].as_f64().unwrap() > 0.3, "nothing was learned");
}

#[test]
fn built_in_networks_train_too() {
    let place = Place::new();
    place.photos();
    let ran = place.run(&["train", "photos", "--epochs", "1", "--batch", "12", "--out", "run"]);
    // Pictures of 20×16 are small ones.
    ran.succeeds().says(&["inception-v3-small, 3×16×16 to 3 classes"]);
}

#[test]
fn a_model_file_can_be_started_from() {
    let place = Place::new();
    let model = place.model();
    let arguments = ["train", "photos", "--model", model, "--recipe", "recipe.toml", "--out", "b"];
    place.run(&[&arguments[..], &["--learning-rate", "1e-6", "--epochs", "1"]].concat()).succeeds();
    let log: Value = serde_json::from_str(place.text("b/log.jsonl").trim()).unwrap();
    assert!(log["train_top1"].as_f64().unwrap() > 0.8, "it began from nothing: {log}");
    fs::rename(place.path("photos/red"), place.path("photos/pink")).unwrap();
    let again = [&arguments[..7], &["c"]].concat();
    place.run(&again).succeeds().says(&["head replaced: 3 other classes"]);
}

#[test]
fn a_split_of_ones_own_is_used() {
    let place = Place::new();
    for (part, count) in [("train", 6), ("val", 3)] {
        for class in common::CLASSES {
            for n in 0..count {
                place.photo(&format!("data/{part}/{class}/{n}.png"), class, n);
            }
        }
    }
    let ran =
        place.run(&["train", "data", "--model", "tiny.toml", "--epochs", "1", "--out", "run"]);
    ran.succeeds().says(&["18 to learn from, 9 to test on"]);
    let judged = |more: &[&str]| {
        let arguments = [&["eval", "run/model.safetensors", "data", "--json"], more].concat();
        place.run(&arguments).succeeds().json()["pictures"].as_u64().unwrap()
    };
    assert_eq!(
        (judged(&[]), judged(&["--split", "test"]), judged(&["--split", "train"])),
        (9, 9, 18)
    );
}
