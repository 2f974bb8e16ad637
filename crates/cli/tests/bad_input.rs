//! What may be wrong with the data, a recipe, the numbers or the disk: each is one clear message.

mod common;

use std::fs;
use std::process::Command;

use common::{Place, RECIPE, Ran};

#[test]
fn folders_that_are_no_data() {
    let place = Place::new();
    let train = |data: &str| {
        let ran = place.run(&["train", data, "--model", "tiny.toml"]).fails();
        assert!(!place.path("runs").exists(), "{data} left a run's folder behind");
        ran
    };
    train("nowhere").says(&["nowhere: no such folder", "folder per class"]);
    train("tiny.toml").says(&["tiny.toml: a file, not a folder"]);
    fs::create_dir(place.path("empty")).unwrap();
    train("empty").says(&["empty: the folder is empty", "folder per class"]);
    place.photo("flat/0.png", "red", 0);
    train("flat").says(&["flat: no class folders"]);
    place.photo("one/cat/0.png", "red", 0);
    train("one").says(&["one: only one class, `cat`"]);
    place.write("one/dog/notes.txt", "no picture");
    train("one").says(&["no pictures in class `dog`"]);
    place.write("one/dog/0.png", "no picture");
    train("one").says(&["class `dog`: none of its 1 pictures can be read", "dog/0.png"]);
}

#[test]
fn a_split_with_different_classes_names_them() {
    let place = Place::new();
    for name in ["train/cat", "train/dog", "val/cat", "val/cow"] {
        place.photo(&format!("data/{name}/0.png"), "red", 0);
    }
    place.run(&["train", "data", "--model", "tiny.toml"]).fails().says(&["`dog`", "`cow`"]);
}

#[test]
fn broken_pictures_are_skipped_counted_and_named() {
    let place = Place::new();
    place.photos();
    // Found when the folder is read, and only when it is decoded.
    place.write("photos/red/3.png", "a text that is called a picture");
    common::truncate(&place.path("photos/green/5.png"), 0.5);
    common::truncate(&place.path("photos/blue/7.png"), 0.8);
    let arguments = ["train", "photos", "--model", "tiny.toml", "--recipe", "recipe.toml"];
    let ran = place.run(&[&arguments[..], &["--out", "run"]].concat()).succeeds();
    ran.says(&["3 pictures could not be read and were skipped"]).says(&[
        "photos/red/3.png",
        "photos/green/5.png",
        "photos/blue/7.png",
        "cut off",
    ]);
    let strict = [&arguments[..], &["--strict"]].concat();
    place.run(&strict).fails().says(&["photos/red/3.png: not a picture"]);
    fs::remove_file(place.path("photos/red/3.png")).unwrap();
    place.run(&strict).fails().says(&["cut off"]);
    assert!(!place.path("runs").exists());
    for broken in ["green/5.png", "blue/7.png"] {
        fs::remove_file(place.path("photos").join(broken)).unwrap();
    }
    place.run(&strict).succeeds();
}

#[test]
fn a_recipe_that_cannot_be_followed() {
    let place = Place::new();
    place.photos();
    let train =
        |more: &[&str]| place.run(&[&["train", "photos", "--model", "tiny.toml"], more].concat());
    let wrong = |from: &str, to: &str| {
        place.write("wrong.toml", RECIPE.replace(from, to));
        train(&["--recipe", "wrong.toml"]).fails().says(&["wrong.toml"])
    };
    wrong("batch = 8", "bacth = 8").says(&["line 2", "`bacth`", "`batch`"]);
    wrong("batch = 8", "batch = 0").says(&["batch is 0"]);
    wrong("batch = 8", "batch = 'all'").says(&["line 2"]);
    wrong("'sgd'", "'magic'").says(&["line 4", "magic", "rmsprop"]);
    train(&["--recipe", "nowhere.toml"]).fails().says(&["nowhere.toml", "No such file"]);
    train(&["--epochs", "0"]).misused().says(&["epochs is 0"]);
    train(&["--learning-rate", "-1"]).misused().says(&["learning_rate is -1"]);
    train(&["--seed", "-1"]).misused().says(&["-1 is not in"]);
    train(&["--test-fraction", "1"]).misused().says(&["between 0 and 1"]);
    train(&["--test-fraction", "-3"]).misused().says(&["between 0 and 1"]);
    train(&["--size", "64"]).misused().says(&["--size"]);
    assert!(!place.path("runs").exists());
}

#[test]
fn numbers_that_break_down_say_where_and_keep_the_checkpoint() {
    let place = Place::new();
    let ran = place.train("run", &["--learning-rate", "1e37"]).fails();
    ran.says(&["epoch 1, step", "lower the learning rate", "run/checkpoint.safetensors"]);
    // What is kept is whole: the run goes on from it (and breaks down again).
    place.run(&["train", "--resume", "run"]).fails().says(&["lower the learning rate"]);
}

#[test]
fn an_instruction_set_that_is_none() {
    let place = Place::new();
    place.photos();
    let arguments = ["train", "photos", "--model", "tiny.toml"];
    let output = place.command(&arguments).env("INCEPTION_ISA", "sse9").output().unwrap();
    Ran::of(&arguments, output).fails().says(&["sse9", "portable"]);
}

/// Runs the command where no file may grow beyond a number of 512-byte blocks, which is how a
/// full disk looks to a program: a write fails half-way.
fn with_room(place: &Place, blocks: u64, arguments: &[&str]) -> Ran {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let command = place.command(arguments);
    let output = Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_inception")])
        .args(arguments)
        .current_dir(command.get_current_dir().unwrap())
        .output()
        .unwrap();
    Ran::of(arguments, output)
}

fn leftovers(place: &Place, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(place.path(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.')).collect()
}

#[cfg(unix)]
#[test]
fn a_full_disk_at_the_start() {
    let place = Place::new();
    place.photos();
    let arguments = ["train", "photos", "--model", "tiny.toml", "--out", "run"];
    let ran = with_room(&place, 4, &arguments).fails();
    ran.says(&["run/checkpoint.safetensors", "too large", "make room"]);
    assert!(!place.path("run").exists());
}

#[cfg(unix)]
#[test]
fn a_full_disk_in_the_middle_loses_no_epoch_and_no_bit() {
    let place = Place::new();
    place.train("whole", &[]).succeeds();
    // The checkpoint grows by a few hundred bytes with each epoch's report: it fits at the start
    // and does not after the fifth of six.
    let size = fs::metadata(place.path("whole/checkpoint.safetensors")).unwrap().len();
    let arguments = ["train", "photos", "--model", "tiny.toml", "--recipe", "recipe.toml"];
    let arguments = [&arguments[..], &["--out", "run"]].concat();
    let ran = with_room(&place, (size - 800) / 512, &arguments).fails();
    ran.says(&["run/checkpoint.safetensors", "unchanged", "train --resume run"]);
    assert_eq!(leftovers(&place, "run"), [""; 0]);
    let done = place.text("run/log.jsonl").lines().count();
    assert!((1..6).contains(&done), "{done} epochs fitted");
    place.run(&["train", "--resume", "run"]).succeeds();
    assert!(place.read("run/model.safetensors") == place.read("whole/model.safetensors"));
    assert_eq!(place.text("run/log.jsonl").lines().count(), 6);
}

#[cfg(unix)]
#[test]
fn a_run_does_not_end_for_want_of_room_for_its_events() {
    let place = Place::new();
    place.train("whole", &["--epochs", "30"]).succeeds();
    let size = |name: &str| fs::metadata(place.path("whole").join(name)).unwrap().len();
    let room = size("report.html").max(size("checkpoint.safetensors")) / 512 + 4;
    assert!(room * 512 < size("events.out.tfevents"), "the events are not the largest");
    let arguments = ["train", "photos", "--model", "tiny.toml", "--recipe", "recipe.toml"];
    let arguments = [&arguments[..], &["--epochs", "30", "--out", "run"]].concat();
    let ran = with_room(&place, room, &arguments).succeeds();
    ran.says(&["cannot write run/events.out.tfevents", "goes on without"]);
    assert!(place.read("run/model.safetensors") == place.read("whole/model.safetensors"));
}

#[cfg(unix)]
#[test]
fn a_full_disk_at_the_end_keeps_the_model() {
    let place = Place::new();
    // Half of the pictures in the report make it the largest file.
    let half = ["--test-fraction", "0.5"];
    place.train("whole", &half).succeeds();
    let size = |name: &str| fs::metadata(place.path("whole").join(name)).unwrap().len();
    let (checkpoint, report) = (size("checkpoint.safetensors"), size("report.html"));
    assert!(checkpoint + 1024 < report, "checkpoint {checkpoint}, report {report}");
    let arguments = ["train", "photos", "--model", "tiny.toml", "--recipe", "recipe.toml"];
    let arguments = [&arguments[..], &half, &["--out", "run"]].concat();
    let ran = with_room(&place, checkpoint / 512 + 1, &arguments).fails();
    ran.says(&["run/report.html", "run/model.safetensors"]);
    assert!(place.read("run/model.safetensors") == place.read("whole/model.safetensors"));
}
