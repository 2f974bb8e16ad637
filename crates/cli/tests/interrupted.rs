//! Runs that are ended early and go on.
#![cfg(unix)]

mod common;

use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Place, Ran};

/// A run that would take for ever, after its second epoch.
fn started(place: &Place) -> Child {
    place.photos();
    let arguments = ["train", "photos", "--model", "tiny.toml", "--recipe", "recipe.toml"];
    let mut child = place
        .command(&[&arguments[..], &["--epochs", "1000000", "--out", "run"]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let log = place.path("run/log.jsonl");
    while std::fs::read_to_string(&log).map_or(0, |text| text.lines().count()) < 2 {
        assert!(start.elapsed() < Duration::from_secs(60), "no two epochs within a minute");
        assert!(child.try_wait().unwrap().is_none(), "the run ended by itself");
        sleep(Duration::from_millis(5));
    }
    child
}

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
}

#[test]
fn ctrl_c_saves_and_says_how_to_go_on() {
    let place = Place::new();
    let child = started(&place);
    signal(&child, "-INT");
    let ran = Ran::of(&["train"], child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let ran = ran.says(&["ending after this step", "train --resume run"]);
    let done = place.text("run/log.jsonl").lines().count();
    ran.says(&[&format!("stopped after {done} epoch"), "of 1,000,000; all of it is in the"]);
    place.run(&["predict", "run/model.safetensors", "photos/red/0.png"]).succeeds();
    let epochs = (done + 1).to_string();
    place.run(&["train", "--resume", "run", "--epochs", &epochs]).succeeds();
    assert_eq!(place.text("run/log.jsonl").lines().count(), done + 1);
    place.run(&["train", "--resume", "run"]).misused().says(&["--epochs N"]);
}

#[test]
fn a_killed_run_goes_on() {
    let place = Place::new();
    let mut child = started(&place);
    child.kill().unwrap();
    child.wait().unwrap();
    // The log may be an epoch behind the checkpoint, never ahead of it.
    let logged = place.text("run/log.jsonl").lines().count();
    let epochs = (logged + 3).to_string();
    place.run(&["train", "--resume", "run", "--epochs", &epochs]).succeeds();
    assert_eq!(place.text("run/log.jsonl").lines().count(), logged + 3);
}

#[test]
fn pictures_may_have_moved() {
    let place = Place::new();
    place.train("run", &["--epochs", "1"]).succeeds();
    std::fs::rename(place.path("photos"), place.path("moved")).unwrap();
    let resume = ["train", "--resume", "run", "--epochs", "2"];
    place.run(&resume).fails().says(&["photos: no such folder"]);
    place.photo("moved/red/more.png", "red", 11);
    let resumed = [&["train", "moved"], &resume[1..]].concat();
    place.run(&resumed).fails().says(&["moved: these are not the pictures"]);
    std::fs::remove_file(place.path("moved/red/more.png")).unwrap();
    place.run(&resumed).succeeds();
}

#[test]
fn a_run_that_could_not_begin_leaves_nothing() {
    let place = Place::new();
    place.train("run", &["--set", "class_weights=[1, 2]"]).fails().says(&["2 numbers for 3"]);
    assert!(!place.path("run").exists());
    place.train("run", &["--set", "augmentation.flip=2"]).misused().says(&["flip"]);
    place.train("run", &["--epochs", "1"]).succeeds();
}

#[test]
fn a_run_that_stops_early_says_so() {
    let place = Place::new();
    let early = ["--set", "early_stopping.patience=1", "--learning-rate", "1", "--epochs", "60"];
    place.train("run", &early).succeeds().says(&["stopped early: no better since epoch"]);
    place.run(&["train", "--resume", "run"]).misused().says(&["stopped early after"]);
}

#[test]
fn a_run_that_died_after_its_last_checkpoint_is_completed() {
    let place = Place::new();
    place.train("run", &[]).succeeds();
    let model = place.read("run/model.safetensors");
    let resume = ["train", "--resume", "run"];
    for lost in
        [&["model.safetensors", "report.html"][..], &["model.safetensors"], &["report.html"]]
    {
        for name in lost {
            std::fs::remove_file(place.path("run").join(name)).unwrap();
        }
        place.run(&resume).succeeds().says(&["all epochs are done"]);
        assert!(model == place.read("run/model.safetensors"), "another model without {lost:?}");
        assert!(place.text("run/report.html").contains("</html>"));
        assert_eq!(place.text("run/log.jsonl").lines().count(), 6);
    }
    place.run(&resume).misused().says(&["6 epochs behind it", "--epochs N"]);
    std::fs::remove_file(place.path("run/report.html")).unwrap();
    place.run(&[&resume[..], &["--epochs", "3"]].concat()).misused();
}

#[test]
fn what_is_no_run_is_refused() {
    let place = Place::new();
    place.photos();
    place.run(&["train", "--resume", "photos"]).fails().says(&["photos is no run's folder"]);
    place.run(&["train", "--resume", "nowhere"]).fails().says(&["nowhere is no run's folder"]);
    place.train("run", &["--epochs", "1"]).succeeds();
    common::truncate(&place.path("run/checkpoint.safetensors"), 0.5);
    let resume = ["train", "--resume", "run", "--epochs", "2"];
    place.run(&resume).fails().says(&["run/checkpoint.safetensors", "not a readable checkpoint"]);
    place.run(&[&resume[..], &["--batch", "4"]].concat()).misused();
    std::fs::remove_file(place.path("run/checkpoint.safetensors")).unwrap();
    place.run(&resume).fails().says(&["run was ended before it began; remove it"]);
}
