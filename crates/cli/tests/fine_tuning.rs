//! `inception train` from a model file.

mod common;

use common::Place;

/// A trained model of three classes, and pictures of two others.
fn place() -> Place {
    let place = Place::new();
    place.train("out", &["--epochs", "2"]).succeeds();
    for (class, colour) in [("grass", "green"), ("sky", "blue")] {
        (0..10).for_each(|n| place.photo(&format!("two/{class}/{n}.png"), colour, n));
    }
    place
}

const MODEL: &str = "out/model.safetensors";

#[test]
fn a_model_learns_other_classes() {
    let place = place();
    let train = |out: &str, more: &[&str]| {
        let start = ["train", "two", "--model", MODEL, "--recipe", "recipe.toml", "--out", out];
        place.run(&[&start, more].concat())
    };
    train("a", &[]).succeeds().says(&["head replaced: 3 → 2 classes"]);
    let same = ["train", "photos", "--model", MODEL, "--recipe", "recipe.toml", "--out", "b"];
    place.run(&same).succeeds().says(&["head kept"]);

    train("c", &["--head-only"]).succeeds().says(&["frozen    all but "]);
    let recipe = place.text("c/recipe.toml");
    assert!(recipe.contains("head_only = true") && recipe.contains("cached_views = 5"), "{recipe}");
    train("d", &["--size", "16", "--freeze", "stem,module.*"])
        .succeeds()
        .says(&["3×16×16 to 2 classes", "frozen    all but "]);
    place.run(&["predict", "d/model.safetensors", "two/sky/0.png"]).succeeds();
    train("e", &["--freeze-until", "module"]).succeeds();
    let resumed = ["train", "--resume", "e", "--epochs", "8"];
    place.run(&resumed).succeeds().says(&["frozen    all but "]);
}

#[test]
fn what_cannot_be_frozen_or_resized_is_said() {
    let place = place();
    let train = |more: &[&str]| {
        let start = ["train", "two", "--model", MODEL, "--out", "none"];
        place.run(&[&start, more].concat())
    };
    train(&["--freeze", "modul"]).fails().says(&["`modul`", "`module`"]);
    train(&["--freeze", "*"]).fails().says(&["nothing is left to train"]);
    train(&["--width", "0.5"]).misused().says(&["--width is for built-in networks"]);
    assert!(!place.path("none").exists());
}
