//! What the guide shows is what the program takes.

mod common;

use common::Place;

/// The first block of the guide in this language after a heading.
fn block(heading: &str, language: &str) -> String {
    let guide = guide();
    let section = guide.split_once(&format!("\n## {heading}\n")).expect(heading).1;
    let code = section.split_once(&format!("```{language}\n")).expect(language).1;
    code.split_once("```").unwrap().0.to_owned()
}

fn guide() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../GUIDE.md")).unwrap()
}

#[test]
fn the_network_of_ones_own_trains() {
    let place = Place::new();
    place.photos();
    place.write("mine.toml", block("Write a network of your own", "toml"));
    place.write("mine-recipe.toml", block("Recipes", "toml"));
    let table = place.run(&["summary", "mine.toml"]).succeeds().out;
    assert!(table.contains("own.3x1") && table.contains("128×8×8"), "{table}");
    let arguments = ["train", "photos", "--model", "mine.toml", "--recipe", "mine-recipe.toml"];
    place.run(&[&arguments[..], &["--epochs", "1", "--out", "run"]].concat()).succeeds();
}

#[test]
fn every_kind_of_step_is_listed() {
    let place = Place::new();
    place.write("wrong.toml", common::TINY.replacen("type = \"conv\"", "type = \"x\"", 1));
    let error = place.run(&["summary", "wrong.toml"]).fails().err;
    let known = error.split_once("expected one of").expect(&error).1;
    let names: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    assert!(names.len() > 20, "{error}");
    let guide = guide();
    for name in names {
        assert!(guide.contains(&format!("`{name}`")), "{name} is not in the guide");
    }
}
