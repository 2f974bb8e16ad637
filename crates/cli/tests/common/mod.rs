//! A folder to run the command in, pictures and a network small enough to train in no time.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use image::{Rgb, RgbImage};
use serde_json::Value;
use tempfile::TempDir;

/// Classes of [`Place::photos`], each of one colour.
pub const CLASSES: [&str; 3] = ["blue", "green", "red"];

/// A network for 12×12 pictures in three classes with all that matters in a real one: batch norm,
/// branches, dropout and an auxiliary head.
pub const TINY: &str = r#"
name = "tiny"
classes = 3

[input]
channels = 3
height = 12
width = 12

[preprocessing]
resize = { exact = { height = 12, width = 12 } }
order = "rgb"
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]

[defaults.batch_norm]
epsilon = 0.001
decay = 0.9
scale = true

[[layer]]
type = "conv"
name = "stem"
kernel = 3
stride = 2
channels = 8

[[layer]]
type = "v1"
name = "module"
1x1 = 4
3x3 = [4, 8]
5x5 = [4, 4]
pool_proj = 4

[[layer]]
type = "auxiliary"
name = "aux"
loss_weight = 0.3
layers = [
    { type = "global-avg-pool", name = "pool" },
    { type = "classifier", name = "fc" },
]

[[layer]]
type = "global-avg-pool"
name = "pool"

[[layer]]
type = "dropout"
name = "dropout"
rate = 0.2

[[layer]]
type = "classifier"
name = "fc"
"#;

/// A recipe that learns [`Place::photos`] in a few epochs.
pub const RECIPE: &str = "\
epochs = 6
batch = 8
average = { type = 'exponential', decay = 0.9 }
optimizer = { type = 'sgd', momentum = 0.9 }
schedule = { learning_rate = 0.05, decay = { type = 'cosine' } }
augmentation = { crop = { shift = { by = 1 } }, flip = 0.5 }
";

/// A folder of its own for each test.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("tiny.toml", TINY);
        place.write("recipe.toml", RECIPE);
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    /// `photos/CLASS/N.png`: ten of each class, mostly of its colour.
    pub fn photos(&self) -> &Self {
        for class in CLASSES {
            for n in 0..10 {
                self.photo(&format!("photos/{class}/{n}.png"), class, n);
            }
        }
        self
    }

    pub fn photo(&self, name: &str, class: &str, n: u32) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        photo(class, n).save(path).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.shell(env!("CARGO_BIN_EXE_inception"));
        command.args(arguments);
        command
    }

    /// A command in the folder, whatever program it is.
    pub fn shell(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.0.path()).stdin(Stdio::null());
        command.env_remove("INCEPTION_ISA");
        // Nobody's tuned plan is to decide about these tests.
        command.env("INCEPTION_CACHE", self.0.path().join("cache"));
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(arguments, self.command(arguments).output().unwrap())
    }

    /// Trains the tiny network on [`Place::photos`] into the folder `out`.
    pub fn train(&self, out: &str, more: &[&str]) -> Ran {
        self.photos();
        let mut arguments = vec!["train", "photos", "--model", "tiny.toml"];
        arguments.extend(["--recipe", "recipe.toml", "--out", out]);
        arguments.extend(more);
        self.run(&arguments)
    }

    /// A trained model.
    pub fn model(&self) -> &'static str {
        self.train("run", &[]).succeeds();
        "run/model.safetensors"
    }
}

/// A 20×16 picture mostly of the class's colour, `n` making it one of its own.
pub fn photo(class: &str, n: u32) -> RgbImage {
    let channel = match class {
        "red" => 0,
        "green" => 1,
        _ => 2,
    };
    RgbImage::from_fn(20, 16, |x, y| {
        let mut pixel = [40 + (x * 7 + y * 3 + n * 11) as u8 % 60; 3];
        pixel[channel] = 200 + (x * y + n) as u8 % 50;
        Rgb(pixel)
    })
}

/// A command that has ended.
pub struct Ran {
    what: String,
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(arguments: &[&str], output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(!err.contains("panicked"), "{arguments:?} panicked: {err}");
        Self { what: arguments.join(" "), code: output.status.code(), out, err }
    }

    fn ends_with(self, code: i32) -> Self {
        let Self { what, code: found, out, err } = &self;
        assert_eq!(*found, Some(code), "inception {what}\n{out}\n{err}");
        self
    }

    pub fn succeeds(self) -> Self {
        self.ends_with(0)
    }

    /// Exit code 1 and one error message.
    pub fn fails(self) -> Self {
        let ran = self.ends_with(1);
        assert!(ran.err.lines().any(|line| line.starts_with("error: ")), "{}", ran.err);
        ran
    }

    /// Exit code 2 and one error message.
    pub fn misused(self) -> Self {
        let ran = self.ends_with(2);
        assert!(ran.err.starts_with("error: "), "{}", ran.err);
        ran
    }

    /// All of these are in the messages.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not in: {}", self.err);
        }
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

/// A file with only the first part of its bytes.
pub fn truncate(path: &Path, share: f64) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..(bytes.len() as f64 * share) as usize]).unwrap();
}
