//! The pictures a command works on.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, bail};
use inception_image::Dataset;
use inception_image::dataset::{self, OpenOptions, Sample};
use sha2::{Digest, Sha256};

/// Name of the pictures that come with the program.
pub const BUILT_IN: &str = "Fashion-MNIST (built in)";

/// The pictures to train on: a folder's, or the built-in ones.
pub fn open(path: Option<&Path>, options: &OpenOptions) -> Result<Dataset> {
    match path {
        Some(path) => Ok(Dataset::open(path, options)?),
        None => Ok(dataset::fashion_mnist()),
    }
}

/// Which pictures these are and how they are divided: a run goes on to the same bits only with the
/// same. Of files it is the paths below the folder, so that the folder may have moved.
pub fn fingerprint(data: &Dataset, path: Option<&Path>) -> String {
    let mut hash = Sha256::new();
    for (part, samples) in [("train", &data.train), ("test", &data.test)] {
        hash.update(format!("{part} {}\n", samples.len()));
        for sample in samples {
            let name = sample.name();
            let below = path.and_then(|path| Path::new(&*name).strip_prefix(path).ok());
            let name = below.map_or(name.clone(), |below| below.to_string_lossy());
            hash.update(format!("{} {name}\n", sample.label));
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What to call them.
pub fn name(path: Option<&Path>) -> String {
    path.map_or(BUILT_IN.to_owned(), |path| path.display().to_string())
}

/// What to call them in a heading: the folder's own name.
pub fn title(path: Option<&Path>) -> String {
    let folder = path.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    folder.unwrap_or_else(|| if path.is_some() { name(path) } else { "Fashion-MNIST".to_owned() })
}

/// Which of the pictures to judge a model by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Those that training does not see
    Test,
    /// Those that training learns from
    Train,
}

/// The pictures to judge a model by, labelled by the model's classes, whatever the order of the
/// data's. Without a `part`: a folder's test part if it has one, else all of it.
pub fn open_to_judge(
    path: Option<&Path>,
    part: Option<Part>,
    labels: &[String],
    options: &OpenOptions,
) -> Result<Dataset> {
    if let (Some(path), None) = (path, part) {
        let folders = wordnet(path, labels);
        let folders = folders.as_deref().unwrap_or(labels);
        return Ok(Dataset::open_for_test(path, folders, options.strict)?);
    }
    let mut data = open(path, options)?;
    if part == Some(Part::Train) {
        data.test = std::mem::take(&mut data.train);
    }
    let places: HashMap<&String, usize> = labels.iter().zip(0..).collect();
    let unknown: Vec<&str> =
        data.classes.iter().filter(|c| !places.contains_key(c)).map(String::as_str).collect();
    if !unknown.is_empty() {
        bail!(
            "{}: the model does not know the class {}; it knows {}",
            name(path),
            unknown.join(", "),
            labels.join(", ")
        );
    }
    for sample in &mut data.test {
        sample.label = places[&data.classes[sample.label]];
    }
    data.classes = labels.to_vec();
    Ok(data)
}

/// The WordNet numbers that labels begin with (`n01440764 tench, Tinca tinca`), where the folder's
/// classes go by these alone, as ImageNet's do.
fn wordnet(path: &Path, labels: &[String]) -> Option<Vec<String>> {
    let number = |label: &String| {
        let first = label.split_whitespace().next().unwrap_or_default();
        let digits = first.strip_prefix('n').unwrap_or_default();
        let is_one = digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit());
        if is_one { first.to_owned() } else { label.clone() }
    };
    let numbers: Vec<String> = labels.iter().map(number).collect();
    let holds = |name: &String| {
        ["", "val", "valid", "validation", "test"]
            .iter()
            .any(|part| path.join(part).join(name).is_dir())
    };
    let used = |(number, label): (&String, &String)| number != label && holds(number);
    numbers.iter().zip(labels).any(used).then_some(numbers)
}

/// What a glance at some of the pictures shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Median of the shorter sides, in pixels.
    pub side: usize,
    /// Whether none has colour.
    pub grey: bool,
}

/// Looks at up to 32 pictures, evenly spaced; `None` if none of them can be read.
pub fn look(samples: &[Sample]) -> Option<Look> {
    const LOOKED_AT: usize = 32;
    let count = samples.len().min(LOOKED_AT);
    let pictures: Vec<_> =
        (0..count).filter_map(|i| samples[i * samples.len() / count].picture().ok()).collect();
    let mut sides: Vec<usize> = pictures.iter().map(|p| p.width().min(p.height())).collect();
    sides.sort_unstable();
    let side = *sides.get(sides.len() / 2)?;
    let grey = pictures.iter().all(|picture| {
        picture.channels() == 1
            || picture.values().as_chunks::<3>().0.iter().all(|[r, g, b]| r == g && g == b)
    });
    Some(Look { side, grey })
}
