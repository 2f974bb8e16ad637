//! `inception ablate`, on a handful of pictures.

mod common;

use common::Place;
use serde_json::Value;

const ABLATE: [&str; 13] = [
    "ablate",
    "photos",
    "--seeds",
    "2",
    "--epochs",
    "1",
    "--width",
    "0.3",
    "--recipe",
    "recipe.toml",
    "--threads",
    "1",
    "--out",
];

fn results(place: &Place, out: &str) -> Value {
    serde_json::from_str(&place.text(&format!("{out}/ablation.json"))).unwrap()
}

#[test]
fn an_ablation_and_going_on_with_it() {
    let place = Place::new();
    place.photos();
    let arguments = [&ABLATE[..], &["ab", "--arms", "5x5,smoothing"]].concat();
    let ran = place.run(&arguments).succeeds();
    for words in ["reference", "smoothing", "rmsprop", "5×5 for two 3×3", "ablation.svg"] {
        assert!(ran.out.contains(words), "{words} is not in\n{}", ran.out);
    }
    let first = results(&place, "ab");
    let arms = first["arms"].as_array().unwrap();
    let names: Vec<&str> = arms.iter().map(|arm| arm["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["rmsprop", "smoothing", "reference", "5x5"]);
    assert!(arms.iter().all(|arm| arm["top1"].as_array().unwrap().len() == 2));
    assert_eq!(arms[3]["difference"]["from"], "reference");
    let svg = place.text("ab/ablation.svg");
    assert!(svg.starts_with("<svg") && svg.contains("no ") | svg.contains("5x5"));
    // A run is one like any other; its network can be trained alone.
    place.run(&["summary", "ab/5x5/seed-1/network.toml"]).succeeds();
    place.run(&["eval", "ab/5x5/seed-1/model.safetensors", "photos"]).succeeds();
    // What is lost is made again to the same bits, what is there is left alone.
    let model = place.read("ab/5x5/seed-1/model.safetensors");
    std::fs::remove_dir_all(place.path("ab/5x5/seed-1")).unwrap();
    let kept = place.path("ab/reference/seed-0/checkpoint.safetensors");
    let written = std::fs::metadata(&kept).unwrap().modified().unwrap();
    let again = place.run(&["ablate", "--resume", "ab", "--json"]).succeeds();
    assert_eq!(again.json(), first);
    assert!(model == place.read("ab/5x5/seed-1/model.safetensors"));
    assert_eq!(std::fs::metadata(&kept).unwrap().modified().unwrap(), written);
    place.run(&arguments).succeeds();
    assert_eq!(results(&place, "ab"), first);
    // Another ablation has no place in this folder.
    let other = [&arguments[..], &["--size", "15"]].concat();
    place.run(&other).misused().says(&["other settings", "--resume ab"]);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let place = Place::new();
    place.photos();
    place.run(&["ablate", "photos", "--arms", "7x7"]).misused().says(&["pool-before"]);
    place.run(&["ablate", "photos", "--width", "0"]).misused().says(&["width"]);
    place.run(&["ablate", "photos", "--seeds", "0"]).misused();
    place.run(&["ablate", "--resume", "photos"]).fails().says(&["photos is no ablation's folder"]);
    place.run(&[&ABLATE[..], &["photos"]].concat()).fails().says(&["not empty"]);
    place.run(&["ablate", "nowhere"]).fails().says(&["nowhere"]);
}
