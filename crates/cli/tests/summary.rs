//! `inception summary`, `networks`, `completions`, and the command line as a whole.

mod common;

use std::io::Read;
use std::process::Stdio;

use common::Place;

#[test]
fn json_has_the_published_figures() {
    let place = Place::new();
    let v3 = place.run(&["summary", "inception-v3", "--json"]).succeeds().json();
    assert_eq!(v3["parameters"], 27_161_264);
    assert_eq!(v3["parameters_without_auxiliary"], 23_834_568);
    assert_eq!(v3["multiply_adds"].as_u64().unwrap() / 1_000_000, 5713);
    assert!(v3["layers"].as_array().unwrap().len() > 100);
    let v1 = place
        .run(&["summary", "googlenet", "--dialect", "torchvision", "--json"])
        .succeeds()
        .json();
    assert_eq!(v1["parameters"], 13_004_888);
    assert_eq!(v1["parameters_without_auxiliary"], 6_624_904);
    assert_eq!(v1["multiply_adds"].as_u64().unwrap() / 1_000_000, 1498);
}

#[test]
fn the_table_shows_every_layer() {
    let place = Place::new();
    let table = place.run(&["summary", "tiny.toml"]).succeeds().out;
    for word in ["tiny", "stem", "conv 3×3/2", "8×6×6", "module.", "aux.fc", "parameters"] {
        assert!(table.contains(word), "{word} is not in\n{table}");
    }
}

#[test]
fn toml_is_read_back_to_the_same_network() {
    let place = Place::new();
    for (name, options) in [
        ("inception-v3", &["--size", "128x96", "--width", "0.5", "--classes", "5"][..]),
        ("googlenet", &["--dialect", "tf-slim", "--channels", "1"]),
        ("inception-v3-small", &[]),
    ] {
        let summary = |name: &str, options: &[&str]| {
            place.run(&[&["summary", name], options].concat()).succeeds().out
        };
        let toml = summary(name, &[options, &["--toml"]].concat());
        place.write("copy.toml", &toml);
        assert_eq!(summary("copy.toml", &["--toml"]), toml);
        let json = [options, &["--json"]].concat();
        assert_eq!(summary("copy.toml", &["--json"]), summary(name, &json));
    }
}

#[test]
fn the_drawing_goes_into_a_file() {
    let place = Place::new();
    let ran = place.run(&["summary", "inception-v3", "--svg", "v3.svg"]).succeeds();
    assert_eq!(ran.out, "");
    let svg = place.text("v3.svg");
    assert!(svg.starts_with("<svg") && svg.contains("Mixed_6b"));
    place
        .run(&["summary", "tiny.toml", "--svg", "no/such/folder.svg"])
        .fails()
        .says(&["folder.svg"]);
}

#[test]
fn a_model_file_has_a_summary_too() {
    let place = Place::new();
    let model = place.model();
    let of_model = place.run(&["summary", model, "--json"]).succeeds().json();
    assert_eq!(of_model, place.run(&["summary", "tiny.toml", "--json"]).succeeds().json());
    place.run(&["summary", model, "--classes", "7"]).misused().says(&["--classes", model]);
}

#[test]
fn what_cannot_be_meant_is_misuse() {
    let place = Place::new();
    place.run(&["summary", "nothing"]).misused().says(&["`nothing`", "inception-v3, "]);
    place.run(&["summary", "googlenet", "--dialect", "keras"]).misused().says(&["torchvision"]);
    place.run(&["summary", "googlenet", "--dialect", "x"]).misused().says(&["fid-2015"]);
    place.run(&["summary", "googlenet", "--size", "0"]).misused().says(&["HEIGHTxWIDTH"]);
    place.run(&["summary", "googlenet", "--width", "-1"]).misused().says(&["width", "-1"]);
    place.run(&["summary", "tiny.toml", "--size", "32"]).misused().says(&["--size", "tiny.toml"]);
    place.run(&["summary", "tiny.toml", "--json", "--toml"]).misused();
    place.run(&["nonsense"]).misused();
}

#[test]
fn a_grid_below_one_names_the_layer_and_a_size_that_works() {
    let place = Place::new();
    place
        .run(&["summary", "inception-v3", "--size", "60"])
        .misused()
        .says(&["layer `", "smallest picture this network takes is 75×75"]);
    place.run(&["summary", "inception-v3", "--size", "75"]).succeeds();
    place.run(&["summary", "inception-v3", "--size", "74"]).misused();
    let kernel = common::TINY.replacen("kernel = 3", "kernel = 13\npadding = \"valid\"", 1);
    place.write("deep.toml", kernel);
    place.run(&["summary", "deep.toml"]).fails().says(&["deep.toml", "`stem`", "12×12"]);
}

#[test]
fn a_toml_error_names_file_line_and_what_was_expected() {
    let place = Place::new();
    let line = |text: &str, word: &str| {
        let line = text.lines().position(|line| line.contains(word)).unwrap() + 1;
        format!("line {line}:")
    };
    for (from, to, words) in [
        ("channels = 8", "chanels = 8", &["`chanels`", "`channels`"][..]),
        ("channels = 8", "channels = \"8\"", &["a whole number"]),
        ("type = \"v1\"", "type = \"v9\"", &["`v9`", "`v1`"]),
        ("loss_weight = 0.3", "loss_weight = 0.3.3", &[]),
    ] {
        let text = common::TINY.replacen(from, to, 1);
        place.write("wrong.toml", &text);
        let place_in_file = line(&text, to);
        let ran = place.run(&["summary", "wrong.toml"]).fails();
        ran.says(&[&["wrong.toml", &place_in_file], words].concat());
    }
    place.write("binary.toml", [0xff, 0xfe, 0, 1]);
    place.run(&["summary", "binary.toml"]).fails().says(&["binary.toml", "TOML"]);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let place = Place::new();
    let mut child = place
        .command(&["summary", "inception-v3", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut start = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut start).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_standard_output_is_an_error() {
    let place = Place::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = place.command(&["summary", "tiny.toml"]).stdout(full).output().unwrap();
    let ran = common::Ran::of(&["summary"], output).fails();
    ran.says(&["standard output", "No space left"]);
}

#[test]
fn networks_lists_them_all() {
    let list = Place::new().run(&["networks"]).succeeds().out;
    for name in ["googlenet", "bn-inception", "inception-v2", "inception-v3-paper", "inception-v3"]
    {
        assert!(list.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}");
    }
}

#[test]
fn help_teaches_by_example() {
    let place = Place::new();
    for command in ["train", "predict", "eval", "summary", "networks", "completions"] {
        let help = place.run(&[command, "--help"]).succeeds().out;
        assert!(help.contains("Examples:\n  inception"), "{help}");
        let longest = help.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(100), "{command}: {longest:?}");
    }
    let help = place.run(&["--help"]).succeeds().out;
    assert!(help.contains("inception train") && help.contains("Exit codes"));
    let ran = place.run(&[]);
    assert_eq!(ran.code, Some(2));
}

#[test]
fn completions_know_the_options() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.run(&["completions", shell]).succeeds().out;
        assert!(script.contains("test-fraction") && script.contains("networks"), "{shell}");
    }
    place.run(&["completions", "dos"]).misused().says(&["fish"]);
}
