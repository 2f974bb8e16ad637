//! Several views, several models, blacklists; `inception diff`.

mod common;

use common::Place;
use serde_json::Value;

fn logits(json: &Value) -> Vec<f64> {
    json[0]["logits"].as_array().unwrap().iter().map(|z| z.as_f64().unwrap()).collect()
}

fn probabilities(logits: &[f64]) -> Vec<f64> {
    let sum: f64 = logits.iter().map(|z| z.exp()).sum();
    logits.iter().map(|z| z.exp() / sum).collect()
}

#[test]
fn an_ensemble_averages_probabilities() {
    let place = Place::new();
    let a = place.model();
    place.train("other", &["--seed", "7"]).succeeds();
    let b = "other/model.safetensors";
    let ask = |arguments: &[&str]| {
        let common = ["photos/red/0.png", "--json", "--logits"];
        let all: Vec<&str> = ["predict"].iter().chain(arguments).chain(&common).copied().collect();
        probabilities(&logits(&place.run(&all).succeeds().json()))
    };
    let (of_a, of_b, of_both) = (ask(&[a]), ask(&[b]), ask(&[a, "--ensemble", b]));
    assert_ne!(of_a, of_b);
    for ((a, b), both) in of_a.iter().zip(&of_b).zip(&of_both) {
        assert!(((a + b) / 2.0 - both).abs() < 1e-6, "{a} {b} {both}");
    }
    let json = place.run(&["eval", a, "photos", "--ensemble", b, "--json"]).succeeds().json();
    assert_eq!(json["pictures"], 30);
    // A model that has other classes is no company.
    place.write("labels.txt", "red\ngreen\nviolet\n");
    let ran = place.run(&["eval", a, "photos", "--ensemble", "nowhere.safetensors"]).fails();
    ran.says(&["nowhere.safetensors"]);
}

#[test]
fn views_are_averaged_and_ten_are_not_one() {
    let place = Place::new();
    let model = place.model();
    let ask = |crops: &str| {
        let picture = "photos/green/4.png";
        place
            .run(&["predict", model, picture, "--json", "--logits", "--crops", crops])
            .succeeds()
            .json()
    };
    let one = logits(&ask("1"));
    let several: Vec<Vec<f64>> = ["10", "12", "144"].map(|n| logits(&ask(n))).to_vec();
    for averaged in &several {
        let sum: f64 = averaged.iter().map(|z| z.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "logarithms of probabilities: {averaged:?}");
    }
    assert!((one.iter().map(|z| z.exp()).sum::<f64>() - 1.0).abs() > 1e-3, "plain logits: {one:?}");
    assert!(several[0] != several[1] && several[1] != several[2]);
    let json = place.run(&["eval", model, "photos", "--crops", "12", "--json"]).succeeds().json();
    assert_eq!(json["pictures"], 30);
    place.run(&["eval", model, "photos", "--crops", "11"]).misused();
}

#[test]
fn a_blacklist_leaves_pictures_out() {
    let place = Place::new();
    let model = place.model();
    place.write("list.txt", "# mislabelled\n3\nnothing.png\n");
    let arguments = ["eval", model, "photos", "--json", "--blacklist", "list.txt"];
    let ran = place.run(&arguments).succeeds().says(&["3 pictures left out by list.txt"]);
    let json = ran.json();
    assert_eq!((&json["pictures"], &json["excluded"]), (&27.into(), &3.into()));
    place.write("list.txt", "\n");
    place.run(&arguments).fails().says(&["list.txt lists no pictures"]);
    let all: String = (0..10).map(|n| format!("{n}\n")).collect();
    place.write("list.txt", all);
    place.run(&arguments).fails().says(&["leaves no pictures"]);
}

#[test]
fn folders_named_by_wordnet_number_meet_labels_that_begin_with_it() {
    let place = Place::new();
    for (class, colour) in [("n00000001 red", "red"), ("n00000002 blue", "blue")] {
        for n in 0..6 {
            place.photo(&format!("long/{class}/{n}.png"), colour, n);
            let number = &class[..9];
            place.photo(&format!("short/{number}/{n}.png"), colour, n);
        }
    }
    let arguments = ["train", "long", "--model", "tiny.toml", "--recipe", "recipe.toml"];
    place.run(&[&arguments[..], &["--out", "run"]].concat()).succeeds();
    let model = "run/model.safetensors";
    let json = place.run(&["eval", model, "short", "--json"]).succeeds().json();
    assert_eq!(json["pictures"], 12);
    assert_eq!(json["classes"][0]["label"], "n00000001 red");
}

#[test]
fn a_model_does_not_differ_from_itself_and_two_part_where_they_part() {
    let place = Place::new();
    let a = place.model();
    let same = place.run(&["diff", a, a, "photos/red/0.png"]).succeeds().out;
    assert!(same.contains("the same arithmetic"), "{same}");
    assert!(same.contains("no output differs"), "{same}");
    place.train("other", &["--seed", "7"]).succeeds();
    let b = "other/model.safetensors";
    let json = place.run(&["diff", a, b, "photos/red/0.png", "--json"]).succeeds().json();
    assert_eq!(json["structure"].as_array().unwrap().len(), 0);
    assert_eq!(json["parts_at"], "stem");
    let outputs = json["outputs"].as_array().unwrap();
    assert_eq!((&outputs[0]["name"], &outputs[0]["difference"]), (&"input".into(), &0.0.into()));
    assert!(outputs.iter().any(|o| o["name"] == "fc" && o["difference"].as_f64() > Some(0.0)));
    assert!(json["weights"].as_array().unwrap().iter().any(|w| w["name"] == "stem.conv.weight"));
}

#[test]
fn dialects_differ_in_what_makes_them() {
    let place = Place::new();
    let out = |b: &str| place.run(&["diff", "inception-v3:keras", b, "--json"]).succeeds().json();
    let torchvision = out("inception-v3:torchvision");
    let counts = torchvision["structure"].as_array().unwrap().iter().filter(|layer| {
        let differences = layer["differences"].as_array().unwrap();
        differences.iter().any(|d| d["what"] == "padding counts")
    });
    assert_eq!(counts.count(), 9);
    let fid = out("inception-v3:fid-2015");
    assert_eq!(fid["only_b"].as_array().unwrap().len(), 1, "the max pool of the last module");
    assert!(fid["network"].to_string().contains("1008"));
    place.run(&["diff", "inception-v3:caffe", "inception-v3"]).misused().says(&["caffe"]);
    place.run(&["diff", "inception-v3", "googlenet", "cat.png"]).misused().says(&["no weights"]);
}
