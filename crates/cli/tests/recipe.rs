//! Recipes by name, printed, changed and followed.

mod common;

use common::Place;

#[test]
fn recipes_are_listed_printed_and_passed_back() {
    let place = Place::new();
    place.photos();
    let list = place.run(&["recipe"]).succeeds();
    for name in ["paper", "tf-slim", "googlenet", "finetune", "small-data"] {
        assert!(list.out.contains(name), "{}", list.out);
        let text = place.run(&["recipe", name]).succeeds().out;
        assert!(text.starts_with("# ") && text.contains("learning_rate"), "{text}");
        place.write("copy.toml", &text);
        let again = place.run(&["recipe", "copy.toml", "--set", "seed=3"]).succeeds().out;
        assert!(again.contains("seed = 3\n") && !again.contains('#'), "{again}");
    }
    place.run(&["recipe", "papre"]).misused().says(&["papre", "paper, tf-slim"]);
    place.run(&["recipe", "paper", "--set", "batch"]).misused().says(&["KEY=VALUE"]);
}

#[test]
fn a_run_follows_the_recipe_named_and_what_is_set() {
    let place = Place::new();
    place.photos();
    let train = ["train", "photos", "--model", "tiny.toml", "--recipe", "paper", "--epochs", "1"];
    let settings = ["--batch", "8", "--set", "optimizer.type=adamw", "--set", "clip_value=0.5"];
    place.run(&[&train[..], &settings, &["--out", "run"]].concat()).succeeds().says(&["AdamW"]);
    let recipe = place.text("run/recipe.toml");
    for entry in ["type = \"adamw\"", "clip_value = 0.5", "epochs = 1", "reference_batch = 32"] {
        assert!(recipe.contains(entry), "{recipe}");
    }
    let report = place.text("run/report.html");
    assert!(report.contains("AdamW") && report.contains("stretched from 100 epochs"));
    let wrong = [&train[..], &["--set", "smoothing=0"]].concat();
    place.run(&wrong).misused().says(&["smoothing=0", "`label_smoothing`"]);
    place.run(&["train", "--resume", "run", "--set", "seed=3"]).misused().says(&["--set"]);
}
