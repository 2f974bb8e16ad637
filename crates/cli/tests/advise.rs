//! `inception advise`.

mod common;

use common::Place;

#[test]
fn the_table_names_layer_number_and_change() {
    let place = Place::new();
    let table = place.run(&["advise", "googlenet"]).succeeds().out;
    for words in [
        "inception_3a.5x5",
        "two 3×3 in series",
        "480×28×28 → 480×14×14, ÷ 4.0",
        "principle 1 (§2)",
    ] {
        assert!(table.contains(words), "{words} is not in\n{table}");
    }
    let clean = place.run(&["advise", "tiny.toml"]).succeeds().out;
    assert!(clean.contains("module.5x5"), "{clean}");
}

#[test]
fn json_has_the_findings() {
    let place = Place::new();
    let json = place.run(&["advise", "googlenet", "--json"]).succeeds().json();
    let findings = json["findings"].as_array().unwrap();
    let kernel = findings.iter().find(|f| f["layers"][0] == "inception_3b.5x5").unwrap();
    assert_eq!(kernel["kind"], "large-kernel");
    assert!(kernel["change"]["multiply_adds"].as_i64().unwrap() < 0);
    assert!(kernel["principle"].as_str().unwrap().contains("§3.1"));
}

#[test]
fn the_mended_network_is_one_to_go_on_with() {
    let place = Place::new();
    let apply = ["advise", "googlenet", "--apply", "-o", "better.toml"];
    let told = place.run(&apply).succeeds().out;
    assert!(told.contains("mended") && told.contains("better.toml"), "{told}");
    let left = place.run(&["advise", "better.toml", "--json"]).succeeds().json();
    assert!(left["findings"].as_array().unwrap().iter().all(|f| f["change"].is_null()));
    let before = place.run(&["advise", "googlenet", "--json"]).succeeds().json();
    let after = place.run(&[&apply[..], &["--json", "--force"]].concat()).succeeds().json();
    assert!(
        after["findings"].as_array().unwrap().len() < before["findings"].as_array().unwrap().len()
    );
    place.run(&["summary", "better.toml"]).succeeds();
    place.run(&apply).misused().says(&["better.toml is there already", "--force"]);
    place.run(&["advise", "better.toml", "--apply", "-o", "better.toml", "--force"]).misused();
    place.run(&["advise", "googlenet", "--apply"]).misused().says(&["--output"]);
}

#[test]
fn a_model_file_is_advised_too() {
    let place = Place::new();
    let model = place.model();
    let of_model = place.run(&["advise", model, "--json"]).succeeds().json();
    assert_eq!(of_model, place.run(&["advise", "tiny.toml", "--json"]).succeeds().json());
    place.run(&["advise", model, "--classes", "7"]).misused().says(&["--classes"]);
    place.run(&["advise", "nothing"]).misused().says(&["`nothing`"]);
}
