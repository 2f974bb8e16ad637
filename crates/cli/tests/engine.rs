//! `inception bench`, `explain-plan`, `tune`, and the plans they go by.

mod common;

use common::{Place, Ran};

/// A network with every kind of minimal filtering, on small grids.
const NETWORK: [&str; 3] = ["inception-v3", "--size", "75"];

#[test]
fn bench_tells_time_and_speed() {
    let place = Place::new();
    let bench = place.run(&["bench", "tiny.toml", "--rounds", "3", "--batch", "9", "--json"]);
    let bench = bench.succeeds().json();
    assert_eq!(
        (&bench["network"], &bench["batch"], &bench["rounds"]),
        (&"tiny".into(), &9.into(), &3.into())
    );
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    let (low, high) = (number(&bench["quartiles_ms"][0]), number(&bench["quartiles_ms"][1]));
    let median = number(&bench["median_ms"]);
    assert!(0.0 < low && low <= median && median <= high, "{low} {median} {high}");
    assert!(number(&bench["peak_gflops"]) > 0.1);
    let steps = bench["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| number(&step["effective_gflops"]) > 0.0));
    let table = place.run(&["bench", "tiny.toml", "--rounds", "1"]).succeeds().out;
    for word in ["stem", "3×3/2 3→8 @6×6", "median", "of the peak", "planning"] {
        assert!(table.contains(word), "{word} is not in\n{table}");
    }
}

#[test]
fn the_plan_can_be_printed_and_overridden() {
    let place = Place::new();
    let explain = |options: &[&str]| {
        place.run(&[&["explain-plan"], &NETWORK[..], options].concat()).succeeds().out
    };
    let table = explain(&[]);
    for word in ["Mixed_5b: branch1x1 + branch5x5_1", "F(1×", "F(7×7)", "estimated", "are done"] {
        assert!(table.contains(word), "{word} is not in\n{table}");
    }
    let precise: serde_json::Value =
        serde_json::from_str(&explain(&["--precise", "--json"])).unwrap();
    let algorithms = precise["steps"].as_array().unwrap().iter().map(|step| &step["algorithm"]);
    assert!(algorithms.clone().count() > 60);
    assert!(algorithms.filter(|a| !a.is_null()).all(|algorithm| algorithm == "direct"));
    let kind = "1×7 192→192 @3×3";
    place.write("plan.json", format!("{{ \"{kind}\": \"F(1x4)\" }}"));
    let steps: serde_json::Value =
        serde_json::from_str(&explain(&["--plan", "plan.json", "--json"])).unwrap();
    let step = steps["steps"].as_array().unwrap().iter().find(|step| step["kind"] == kind).unwrap();
    assert_eq!(step["algorithm"], "F(1×4)");
    assert!(step["candidates"].as_array().unwrap().len() > 2);
}

#[test]
fn the_lean_plan_takes_little_memory() {
    let place = Place::new();
    let explain = |options: &[&str]| {
        place.run(&[&["explain-plan", "--json"], &NETWORK[..], options].concat()).succeeds().json()
    };
    let bytes = |plan: &serde_json::Value| -> u64 {
        let steps = plan["steps"].as_array().unwrap().iter();
        steps.map(|step| step["weight_bytes"].as_u64().unwrap()).sum()
    };
    let lean = explain(&["--lean"]);
    assert_eq!(lean["algorithms"], "for little memory");
    let [direct, usual] = [explain(&["--precise"]), explain(&[])].map(|plan| bytes(&plan));
    assert!(direct < bytes(&lean) && bytes(&lean) * 4 <= direct * 5 && bytes(&lean) <= usual);
    let bench = [&["bench", "--rounds", "1", "--lean", "--json"], &NETWORK[..]].concat();
    let bench = place.run(&bench).succeeds().json();
    assert_eq!(bench["weight_bytes"], bytes(&lean));
    assert_eq!(bench["steps"].as_array().unwrap().len(), lean["steps"].as_array().unwrap().len());
    for other in [&["--precise"][..], &["--plan", "plan.json"]] {
        place.run(&[&["explain-plan", "tiny.toml", "--lean"], other].concat()).misused();
    }
    let model = place.model();
    let predict = |options: &[&str]| {
        let arguments = [&["predict", model, "photos/red/0.png", "--json"], options].concat();
        place.run(&arguments).succeeds().json()[0]["predictions"][0].clone()
    };
    let probability = |guess: &serde_json::Value| guess["probability"].as_f64().unwrap();
    let (usual, lean) = (predict(&[]), predict(&["--lean"]));
    assert_eq!(usual["label"], lean["label"]);
    assert!((probability(&usual) - probability(&lean)).abs() < 1e-4);
}

#[test]
fn the_plan_for_many_pictures_is_another() {
    let place = Place::new();
    let network = ["googlenet", "--size", "64", "--width", "0.25", "--json"];
    let explain = |options: &[&str]| {
        let arguments = [&["explain-plan"], &network[..], options].concat();
        place.run(&arguments).succeeds().json()
    };
    let (usual, many) = (explain(&[]), explain(&["--throughput"]));
    assert_eq!(many["algorithms"], "as estimated for many pictures at a time");
    assert_ne!(usual["steps"], many["steps"]);
    let bench = ["bench", "--rounds", "1", "--batch", "3", "--throughput"];
    let bench = place.run(&[&bench, &network[..]].concat()).succeeds().json();
    let algorithms = |plan: &serde_json::Value| -> Vec<serde_json::Value> {
        plan["steps"].as_array().unwrap().iter().map(|step| step["algorithm"].clone()).collect()
    };
    assert_eq!(algorithms(&bench), algorithms(&many));
    for other in [&["--precise"][..], &["--lean"], &["--plan", "plan.json"]] {
        place.run(&[&["explain-plan", "tiny.toml", "--throughput"], other].concat()).misused();
    }
}

#[test]
fn what_is_tuned_is_kept_until_forgotten() {
    let place = Place::new();
    let with_cache = |args: &[&str]| {
        let mut command = place.command(args);
        Ran::of(args, command.env("INCEPTION_CACHE", place.path("cache")).output().unwrap())
    };
    let network = ["tiny.toml", "--rounds", "1"];
    let tuned = with_cache(&[&["tune"], &network[..]].concat()).succeeds().out;
    assert!(tuned.contains("5×5 4→4 @6×6") && tuned.contains("kinds of layers in"), "{tuned}");
    let explained = with_cache(&["explain-plan", "tiny.toml"]).succeeds().out;
    assert!(explained.contains("algorithms as planned in"), "{explained}");
    with_cache(&["tune", "tiny.toml", "--forget"]).succeeds();
    let explained = with_cache(&["explain-plan", "tiny.toml"]).succeeds().out;
    assert!(explained.contains("estimated"), "{explained}");
    let told = with_cache(&["tune", "tiny.toml", "--forget"]).succeeds().err;
    assert!(told.contains("no plan is kept"), "{told}");
    // A damaged plan stops nobody.
    with_cache(&[&["tune"], &network[..]].concat()).succeeds();
    let plans = std::fs::read_dir(place.path("cache/plans")).unwrap();
    std::fs::write(plans.last().unwrap().unwrap().path(), "{").unwrap();
    let ran = with_cache(&["explain-plan", "tiny.toml"]).succeeds();
    assert!(ran.err.contains("is left out") && ran.out.contains("estimated"), "{}", ran.err);
    // Nor does one that has what another version could compute.
    let plans = std::fs::read_dir(place.path("cache/plans")).unwrap();
    let plan = r#"{ "5×5 4→4 @6×6": "F(7×7)" }"#;
    std::fs::write(plans.last().unwrap().unwrap().path(), plan).unwrap();
    with_cache(&["explain-plan", "tiny.toml"]).succeeds();
    with_cache(&[&["tune"], &network[..]].concat()).succeeds();
    with_cache(&["explain-plan", "tiny.toml"]).succeeds().says(&[]);
}

#[test]
fn bad_plans_are_told() {
    let place = Place::new();
    for (text, word) in [
        ("not json", "is no plan"),
        ("{ \"1×1 3→8 @6×6\": \"fast\" }", "\"fast\" is no algorithm"),
        ("{ \"5×5 4→4 @6×6\": \"F(99×99)\" }", "cannot be computed by F(99×99)"),
        ("{ \"5×5 4→4 @6×6\": \"F(18446744073709551615×4)\" }", "cannot be computed by"),
        // Beyond the error budget.
        ("{ \"5×5 4→4 @6×6\": \"F(7×7)\" }", "cannot be computed by F(7×7)"),
    ] {
        place.write("plan.json", text);
        let error = place.run(&["explain-plan", "tiny.toml", "--plan", "plan.json"]).fails().err;
        assert!(error.contains(word), "{word} is not in {error}");
    }
    place.write("plan.json", "{ \"3x3 1->1 @1x1\": \"direct\" }");
    let ran = place.run(&["explain-plan", "tiny.toml", "--plan", "plan.json"]).succeeds();
    ran.says(&["the network has no layer `3x3 1->1 @1x1`"]);
    let error = place.run(&["bench", "tiny.toml", "--plan", "absent.json"]).fails().err;
    assert!(error.contains("absent.json"), "{error}");
}
