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

#[test]
fn a_rate_is_found_and_drawn() {
    let place = Place::new();
    place.photos();
    let find = ["lr-find", "photos", "--model", "tiny.toml", "--recipe", "recipe.toml"];
    let rest = ["--steps", "40", "--from", "1e-4", "--to", "100", "--out", "rates.svg"];
    let ran = place.run(&[&find[..], &rest].concat()).succeeds();
    assert!(ran.out.contains("learning rate") && ran.out.contains("loss"), "{}", ran.out);
    assert!(place.text("rates.svg").contains("<polyline"));
    let json = place.run(&[&find[..], &rest, &["--json"]].concat()).succeeds().json();
    let points = json["points"].as_array().unwrap();
    assert!(points.len() > 10 && points[0]["learning_rate"] == 1e-4);
    assert!(!place.path("runs").exists(), "something was left behind");
    place.run(&[&find[..], &["--from", "2", "--to", "1"]].concat()).misused().says(&["--from"]);
}

#[test]
fn a_student_learns_from_a_teacher_and_goes_on_only_with_it() {
    let place = Place::new();
    let teacher = place.model();
    place.train("alone", &["--epochs", "2"]).succeeds();
    let options = ["--teacher", teacher, "--temperature", "2", "--epochs", "2"];
    place.train("taught", &options).succeeds();
    let recipe = place.text("taught/recipe.toml");
    for entry in ["[distillation]", "temperature = 2.0", "weight = 0.9"] {
        assert!(recipe.contains(entry), "{recipe}");
    }
    assert!(place.read("alone/model.safetensors") != place.read("taught/model.safetensors"));
    place.run(&["train", "--resume", "taught", "--epochs", "3"]).succeeds();
    place.train("whole", &[&options[..4], &["--epochs", "3"]].concat()).succeeds();

    std::fs::copy(place.path("alone/model.safetensors"), place.path(teacher)).unwrap();
    let other = place.run(&["train", "--resume", "taught", "--epochs", "4"]).fails();
    other.says(&["another file", "put that one back"]);
    place.train("x", &["--temperature", "2"]).misused().says(&["--teacher"]);
    place.train("x", &["--teacher", "nowhere"]).fails().says(&["cannot read the teacher"]);
    place
        .train("x", &["--set", "distillation={temperature=1, weight=1}"])
        .fails()
        .says(&["--teacher"]);
}
