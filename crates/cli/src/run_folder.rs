//! A run's folder and what stands in it besides checkpoint and model.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use inception_model::write_atomically;
use inception_train::{CHECKPOINT_FILE, EpochReport};
use serde::{Deserialize, Serialize};

use crate::events::EVENTS_FILE;
use crate::output::quoted;

/// One JSON object for each epoch.
pub const LOG_FILE: &str = "log.jsonl";
/// The page with curves, confusion matrix and pictures.
pub const REPORT_FILE: &str = "report.html";
/// The recipe, to be edited and passed back.
pub const RECIPE_FILE: &str = "recipe.toml";
/// One of the test pictures, where they are in no files of their own.
pub const EXAMPLE_FILE: &str = "example.png";
/// What `--resume` has to know that is not in the checkpoint.
const SETTINGS_FILE: &str = "run.toml";
/// Where runs go that nobody chose a folder for.
const RUNS: &str = "runs";

/// Where a run's pictures are from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The folder; the built-in pictures without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// Share of the pictures set aside for testing where the folder has no split of its own.
    pub test_fraction: f64,
    /// Decides which ones.
    pub seed: u64,
    /// Whether a picture that cannot be read stops everything.
    pub strict: bool,
    /// [`data::fingerprint`](crate::data::fingerprint) of the pictures, for a run that goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pictures: Option<String>,
    /// The network whose answers are learned from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<TeacherFile>,
}

/// A teacher's model file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherFile {
    /// Where it is.
    pub path: PathBuf,
    /// SHA-256 of what was in it when the run began, in hexadecimal digits.
    pub sha256: String,
}

/// A new folder: the one asked for, which must not hold anything yet, or the next free
/// `runs/NAME-N`.
pub fn create(out: Option<&Path>, network: &str) -> Result<PathBuf> {
    let cannot = |path: &Path| format!("cannot create the run's folder {}", path.display());
    let Some(out) = out else { return create_next(Path::new(RUNS), network) };
    fs::create_dir_all(out).with_context(|| cannot(out))?;
    let mut entries = fs::read_dir(out).with_context(|| cannot(out))?;
    match entries.next() {
        None => Ok(out.to_owned()),
        Some(_) => {
            let go_on = match out.join(CHECKPOINT_FILE).exists() {
                true => format!(", or go on with the run in it: --resume {}", quoted(out)),
                false => String::new(),
            };
            Err(anyhow!(
                "{} is not empty and nothing is overwritten; choose another --out{go_on}",
                out.display()
            ))
        }
    }
}

fn create_next(runs: &Path, network: &str) -> Result<PathBuf> {
    let cannot = |path: &Path| {
        format!("cannot create the run's folder {}; choose one with --out", path.display())
    };
    fs::create_dir_all(runs).with_context(|| cannot(runs))?;
    let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = network.chars().map(plain).collect();
    for n in 1.. {
        let folder = runs.join(format!("{name}-{n}"));
        // Creating it is the test whether it is free, so that two runs never share one.
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| cannot(&folder)),
        }
    }
    unreachable!("numbers do not end")
}

/// Removes the folder of a run that failed before its first checkpoint, so that the same command,
/// mended, finds it free. What else lies there stays.
pub fn undo(folder: &Path) {
    if !folder.join(CHECKPOINT_FILE).exists() {
        for name in [SETTINGS_FILE, RECIPE_FILE, LOG_FILE, EVENTS_FILE] {
            // Whatever cannot be removed is told by the next run that finds it.
            let _ = fs::remove_file(folder.join(name));
        }
        let _ = fs::remove_dir(folder);
    }
}

/// Writes a text file of the run.
pub fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    write_atomically(&path, text.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))
}

impl Settings {
    /// Puts them into the folder.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let text = toml::to_string(self)?;
        write(folder, SETTINGS_FILE, &format!("# Where this run's pictures are from.\n{text}"))
    }

    /// Those of the run in this folder.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(SETTINGS_FILE);
        let text = fs::read_to_string(&path).with_context(|| {
            format!(
                "{} is no run's folder; --resume takes one that `inception train` made, with {} \
                 and {CHECKPOINT_FILE} in it",
                folder.display(),
                SETTINGS_FILE
            )
        })?;
        toml::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
    }
}

/// The log, one line for each epoch.
pub struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// A log that holds these epochs and no others: what stands there may be of an epoch whose
    /// checkpoint was never written.
    pub fn start(folder: &Path, history: &[EpochReport]) -> Result<Self> {
        let mut text = String::new();
        for report in history {
            text += &(serde_json::to_string(report)? + "\n");
        }
        write(folder, LOG_FILE, &text)?;
        let path = folder.join(LOG_FILE);
        let file = OpenOptions::new().append(true).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path, file })
    }

    /// Adds an epoch, as one write.
    pub fn add(&mut self, report: &EpochReport) -> Result<()> {
        let line = serde_json::to_string(report)? + "\n";
        let written: io::Result<()> =
            self.file.write_all(line.as_bytes()).and_then(|()| self.file.flush());
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_numbered_and_never_shared() {
        let root = tempfile::tempdir().unwrap();
        let next = |name| create_next(&root.path().join("runs"), name).unwrap();
        assert!(next("inception-v3").ends_with("runs/inception-v3-1"));
        assert!(next("inception-v3").ends_with("runs/inception-v3-2"));
        assert!(next("../my net").ends_with("runs/..-my-net-1"));
    }

    #[test]
    fn a_folder_with_something_in_it_is_refused() {
        let root = tempfile::tempdir().unwrap();
        assert!(create(Some(root.path()), "x").is_ok());
        fs::write(root.path().join("mine"), "").unwrap();
        let error = create(Some(root.path()), "x").unwrap_err().to_string();
        assert!(error.contains("not empty") && !error.contains("--resume"), "{error}");
        fs::write(root.path().join(CHECKPOINT_FILE), "").unwrap();
        let error = create(Some(root.path()), "x").unwrap_err().to_string();
        assert!(error.contains("not empty") && error.contains("--resume"), "{error}");
    }

    #[test]
    fn settings_are_read_back() {
        let root = tempfile::tempdir().unwrap();
        for data in [None, Some(PathBuf::from("a folder/with \"quotes\""))] {
            let teacher = Some(TeacherFile { path: "a teacher".into(), sha256: "0f".into() });
            let (seed, strict) = (7, true);
            let (test_fraction, pictures) = (0.1, Some("ab".to_owned()));
            let settings = Settings { data, test_fraction, seed, strict, pictures, teacher };
            settings.save(root.path()).unwrap();
            assert_eq!(Settings::load(root.path()).unwrap(), settings);
        }
    }
}
