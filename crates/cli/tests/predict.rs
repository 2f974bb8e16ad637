//! `inception predict` and `inception eval`.

mod common;

use std::fs;
use std::io::Write;
use std::process::Stdio;

use common::{CLASSES, Place, Ran};

#[test]
fn json_has_file_label_index_and_probability() {
    let place = Place::new();
    let model = place.model();
    let files = ["photos/red/0.png", "photos/blue/3.png"];
    let json = place.run(&["predict", model, files[0], files[1], "--json"]).succeeds().json();
    let list = json.as_array().unwrap();
    assert_eq!(list.len(), 2);
    for (object, (file, label)) in list.iter().zip([(files[0], "red"), (files[1], "blue")]) {
        assert_eq!(object["file"], file);
        assert!(object.get("logits").is_none());
        let predictions = object["predictions"].as_array().unwrap();
        assert_eq!(predictions.len(), 3);
        assert_eq!(predictions[0]["label"], label);
        let sum: f64 = predictions.iter().map(|p| p["probability"].as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        for prediction in predictions {
            let index = prediction["index"].as_u64().unwrap() as usize;
            assert_eq!(prediction["label"], CLASSES[index]);
        }
    }
}

#[test]
fn logits_and_top_are_as_asked_for() {
    let place = Place::new();
    let model = place.model();
    let arguments = ["predict", model, "photos/red/0.png", "--json", "--logits", "--top", "1"];
    let json = place.run(&arguments).succeeds().json();
    let logits: Vec<f64> =
        json[0]["logits"].as_array().unwrap().iter().map(|z| z.as_f64().unwrap()).collect();
    assert_eq!(logits.len(), 3);
    let guess = &json[0]["predictions"].as_array().unwrap()[..];
    assert_eq!(guess.len(), 1);
    let index = guess[0]["index"].as_u64().unwrap() as usize;
    let probability = logits[index].exp() / logits.iter().map(|z| z.exp()).sum::<f64>();
    assert!((guess[0]["probability"].as_f64().unwrap() - probability).abs() < 1e-5);
    place.run(&["predict", model, "photos/red/0.png", "--top", "0"]).misused();
}

#[test]
fn the_terminal_gets_bars_for_one_and_a_table_for_several() {
    let place = Place::new();
    let model = place.model();
    let one = place.run(&["predict", model, "photos/red/0.png"]).succeeds().out;
    assert!(one.starts_with("photos/red/0.png\nred ") && one.contains('━'), "{one}");
    let all = place.run(&["predict", model, "photos"]).succeeds().out;
    assert_eq!(all.lines().count(), 2 + 30, "{all}");
    assert!(all.contains("photos/green/9.png"));
}

#[test]
fn a_picture_can_come_from_standard_input() {
    let place = Place::new();
    let model = place.model();
    let from_input = |bytes: &[u8]| {
        let mut child = place
            .command(&["predict", model, "-", "--json", "--logits"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        Ran::of(&["predict", "-"], child.wait_with_output().unwrap())
    };
    let piped = from_input(&place.read("photos/red/0.png")).succeeds().json();
    let file = place.run(&["predict", model, "photos/red/0.png", "--json", "--logits"]);
    assert_eq!(piped[0]["logits"], file.json()[0]["logits"]);
    assert_eq!(piped[0]["file"], "-");
    from_input(b"no picture").fails().says(&["standard input", "not a picture"]);
    from_input(b"").fails().says(&["standard input", "empty"]);
}

#[test]
fn broken_pictures_are_named_and_the_others_answered() {
    let place = Place::new();
    let model = place.model();
    common::truncate(&place.path("photos/red/1.png"), 0.6);
    place.write("photos/red/2.png", "not a picture at all");
    let ran = place.run(&["predict", model, "photos", "missing.png", "--json"]).fails();
    assert_eq!(ran.json().as_array().unwrap().len(), 28);
    ran.says(&["photos/red/1.png: the file is cut off", "photos/red/2.png", "missing.png"])
        .says(&["3 pictures could not be read; 28 answered"]);
    fs::create_dir(place.path("nothing")).unwrap();
    place.run(&["predict", model, "nothing"]).fails().says(&["nothing: no pictures"]);
}

#[test]
fn preprocessing_can_be_another() {
    let place = Place::new();
    let model = place.model();
    let logits = |more: &[&str]| {
        let arguments = ["predict", model, "photos/red/0.png", "--json", "--logits"];
        place.run(&[&arguments[..], more].concat()).succeeds().json()[0]["logits"].clone()
    };
    let usual = logits(&[]);
    assert_eq!(usual, logits(&["--resize", "12x12"]));
    assert_ne!(usual, logits(&["--resize", "14", "--crop", "12"]));
    assert_ne!(usual, logits(&["--resize", "none", "--crop", "12"]));
    let predict =
        |more: &[&str]| place.run(&[&["predict", model, "photos/red/0.png"], more].concat());
    predict(&["--resize", "13x13"]).fails().says(&["13×13", "12×12"]);
    predict(&["--resize", "none"]).fails().says(&["photos/red/0.png", "16×20", "12×12"]);
    predict(&["--resize", "big"]).misused();
}

#[test]
fn a_file_that_is_no_model_is_refused() {
    let place = Place::new();
    let model = place.path(place.model());
    let predict = |file: &str| place.run(&["predict", file, "photos/red/0.png"]).fails();
    predict("missing.safetensors").says(&["missing.safetensors", "No such file"]);
    predict("photos/red/0.png").says(&["photos/red/0.png", "model.safetensors"]);
    predict("tiny.toml").says(&["tiny.toml", "inception train"]);
    predict("run/checkpoint.safetensors").says(&["checkpoint.safetensors"]);
    let whole = fs::read(&model).unwrap();
    for share in [0.0, 0.001, 0.1, 0.5, 0.999] {
        fs::write(&model, &whole).unwrap();
        common::truncate(&model, share);
        predict("run/model.safetensors").says(&["run/model.safetensors", "truncated"]);
    }
}

#[test]
fn a_number_of_threads_changes_nothing() {
    let place = Place::new();
    let model = place.model();
    let logits = |threads: &str| {
        let arguments = ["predict", model, "photos", "--json", "--logits", "--threads", threads];
        place.run(&arguments).succeeds().out
    };
    assert_eq!(logits("1"), logits("2"));
    place.run(&["predict", model, "photos", "--threads", "0"]).misused();
}

#[test]
fn eval_tells_accuracy_classes_and_confusion() {
    let place = Place::new();
    let model = place.model();
    let scores = place.run(&["eval", model, "photos", "--json"]).succeeds().json();
    assert_eq!((&scores["pictures"], &scores["skipped"]), (&30.into(), &0.into()));
    assert!(scores["top5"].is_null(), "five of three classes say nothing");
    assert!(scores["loss"].is_number());
    let confusion: Vec<Vec<u64>> = serde_json::from_value(scores["confusion"].clone()).unwrap();
    let correct: u64 = (0..3).map(|class| confusion[class][class]).sum();
    assert_eq!(scores["top1"].as_f64().unwrap(), correct as f64 / 30.0);
    for (class, label) in scores["classes"].as_array().unwrap().iter().zip(CLASSES) {
        assert_eq!((&class["label"], &class["pictures"]), (&label.into(), &10.into()));
        assert!(class["recall"].is_number());
    }
    let text = place.run(&["eval", model, "photos"]).succeeds().out;
    for word in ["top-1 accuracy", "loss", "recall", "green", "taken for"] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
}

#[test]
fn classes_are_matched_by_name() {
    let place = Place::new();
    let model = place.model();
    // Red alone, and first: its number in the data is not its number in the model.
    fs::create_dir(place.path("some")).unwrap();
    fs::rename(place.path("photos/red"), place.path("some/red")).unwrap();
    let scores = place.run(&["eval", model, "some", "--json"]).succeeds().json();
    assert_eq!(scores["pictures"], 10);
    assert!(scores["confusion"][2][2].as_u64().unwrap() >= 8, "{}", scores["confusion"]);
    place.photo("some/pink/0.png", "red", 0);
    place.photo("some/violet/0.png", "red", 0);
    place.run(&["eval", model, "some"]).fails().says(&["pink", "violet", "blue, green, red"]);
    place.run(&["eval", model]).fails().says(&["Trouser", "blue, green, red"]);
}

#[test]
fn eval_leaves_out_broken_pictures_unless_strict() {
    let place = Place::new();
    let model = place.model();
    common::truncate(&place.path("photos/green/4.png"), 0.7);
    let ran = place.run(&["eval", model, "photos", "--json"]).succeeds();
    assert_eq!(ran.json()["pictures"], 29);
    assert_eq!(ran.json()["skipped"], 1);
    ran.says(&["1 picture could not be read", "photos/green/4.png"]);
    place.run(&["eval", model, "photos", "--strict"]).fails().says(&["photos/green/4.png"]);
    for bad in ["nan", "-3", "1.5"] {
        let arguments = ["eval", model, "photos", "--split", "test", "--test-fraction", bad];
        place.run(&arguments).misused().says(&["between 0 and 1"]);
    }
    place.run(&["eval", model, "photos", "--seed", "1"]).misused().says(&["--split"]);
    place.run(&["eval", model, "photos", "--test-fraction", "0.5"]).misused().says(&["--split"]);
    place.run(&["eval", model, "nowhere"]).fails().says(&["nowhere", "no such folder"]);
}
