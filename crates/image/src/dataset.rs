//! Labelled pictures for training and testing, and where they come from.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::decode::{self, PictureError};
use crate::error::DataError;
use crate::picture::Picture;
use crate::random::{Purpose, Random};
use crate::{folders, idx, threads};

pub use crate::idx::fashion_mnist;

/// Labelled pictures, split into those to learn from and those to judge by.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Names of the classes; a label is a place in this list.
    pub classes: Vec<String>,
    /// Pictures to learn from, class by class in order of their paths.
    pub train: Vec<Sample>,
    /// Pictures to judge by, likewise.
    pub test: Vec<Sample>,
    /// Pictures left out because they cannot be read.
    pub skipped: Vec<Skipped>,
}

/// A picture and its class.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Where the picture is.
    pub source: Source,
    /// Its class, a place in [`Dataset::classes`].
    pub label: usize,
}

/// Where a picture is.
#[derive(Clone, Debug)]
pub enum Source {
    /// In a file of its own.
    File(PathBuf),
    /// In memory.
    Memory {
        /// The picture.
        picture: Arc<Picture>,
        /// Its number in the file that it came from, counted from 0.
        number: usize,
    },
}

/// A picture that was left out.
#[derive(Clone, Debug)]
pub struct Skipped {
    /// Why; names the file.
    pub error: Arc<PictureError>,
    /// Its class, a place in [`Dataset::classes`].
    pub label: usize,
}

/// How [`Dataset::open`] reads a folder.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpenOptions {
    /// Share of each class's pictures that become test pictures where the folder has no split of
    /// its own: rounded, but at least one and not all (a class of one picture is trained on).
    pub test_share: f64,
    /// Which pictures those are.
    pub seed: u64,
    /// Whether a picture that cannot be read is an error rather than skipped.
    pub strict: bool,
}

impl Default for OpenOptions {
    /// A fifth for testing, seed 0, pictures skipped.
    fn default() -> Self {
        Self { test_share: 0.2, seed: 0, strict: false }
    }
}

impl Sample {
    /// The picture, decoded now if it is in a file.
    pub fn picture(&self) -> Result<Arc<Picture>, PictureError> {
        match &self.source {
            Source::File(path) => decode::open(path).map(Arc::new),
            Source::Memory { picture, .. } => Ok(picture.clone()),
        }
    }

    /// Whether the picture's file is what it claims to be, by its first bytes.
    fn glance(&self) -> Result<(), PictureError> {
        match &self.source {
            Source::File(path) => decode::sniff(path)
                .map_err(|problem| PictureError { name: self.name().into(), problem }),
            Source::Memory { .. } => Ok(()),
        }
    }

    /// What to call the picture: its path, or its number.
    pub fn name(&self) -> Cow<'_, str> {
        match &self.source {
            Source::File(path) => path.to_string_lossy(),
            Source::Memory { number, .. } => format!("picture {number}").into(),
        }
    }
}

impl Dataset {
    /// Finds the pictures in a folder. It may hold
    ///
    /// - a folder per class, named like the class, with pictures at any depth below; a share of
    ///   each class is set aside for testing;
    /// - `train` and one of `val`, `valid`, `validation` and `test`, both with the same folders
    ///   per class;
    /// - the IDX files of MNIST and its kin, as `train-images-idx3-ubyte` and so on, gzipped or
    ///   not.
    ///
    /// Classes are sorted by name, pictures by path. Hidden files and files that are no pictures
    /// by extension or content are passed over; files that claim to be pictures and are not are
    /// listed in [`Dataset::skipped`]. Only the beginning of each file is looked at here;
    /// [`Dataset::check`] decodes them.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Self, DataError> {
        folders::check_folder(path)?;
        let (mut dataset, has_split) = match (idx::open(path)?, folders::split_folders(path)?) {
            (Some(dataset), _) => (dataset, true),
            (None, Some((train, test))) => (folders::read_split(&train, &test)?, true),
            (None, None) => {
                let (classes, train) = folders::read_classes(path)?;
                (Dataset { classes, train, test: Vec::new(), skipped: Vec::new() }, false)
            }
        };
        if dataset.classes.len() == 1 {
            return Err(folders::one_class(path, &dataset.classes[0])?);
        }
        dataset.skip(|sample| sample.glance().err(), 1);
        dataset.check_skipped(options.strict, true, has_split)?;
        if !has_split {
            dataset.split(options);
        }
        Ok(dataset)
    }

    /// The pictures of a folder to judge a model with these classes by: the test part of a folder
    /// that has one, else all of it. Classes without pictures are no error here.
    pub fn open_for_test(path: &Path, classes: &[String], strict: bool) -> Result<Self, DataError> {
        folders::check_folder(path)?;
        let mut dataset = match idx::open(path)? {
            Some(mut dataset) => {
                dataset.train.clear();
                if dataset.classes.len() != classes.len() {
                    return Err(folders::unknown_classes(path, dataset.classes, classes));
                }
                dataset.classes = classes.to_vec();
                dataset
            }
            None => {
                let test = folders::split_folders(path)?.map(|(_, test)| test);
                let test = test.unwrap_or_else(|| path.into());
                let samples = folders::read_known_classes(&test, classes)?;
                let classes = classes.to_vec();
                Dataset { classes, train: Vec::new(), test: samples, skipped: Vec::new() }
            }
        };
        dataset.skip(|sample| sample.glance().err(), 1);
        dataset.check_skipped(strict, false, true)?;
        Ok(dataset)
    }

    /// Decodes every picture once, on `workers` threads, and leaves out those that cannot be
    /// read; with `strict` the first of them is the error.
    pub fn check(&mut self, strict: bool, workers: usize) -> Result<(), DataError> {
        let (learning, testing) = (!self.train.is_empty(), !self.test.is_empty());
        self.skip(|sample| sample.picture().err(), workers);
        self.check_skipped(strict, learning, testing)
    }

    /// Moves the samples with a problem to [`Dataset::skipped`].
    fn skip(&mut self, problem: impl Fn(&Sample) -> Option<PictureError> + Sync, workers: usize) {
        for samples in [&mut self.train, &mut self.test] {
            let mut problems = threads::map(samples, workers, &problem).into_iter();
            samples.retain(|sample| match problems.next().flatten() {
                Some(error) => {
                    self.skipped.push(Skipped { error: error.into(), label: sample.label });
                    false
                }
                None => true,
            });
        }
    }

    /// An error if something was skipped in strict mode, or what is left does not do: every class
    /// for `learning`, any picture for `testing`.
    fn check_skipped(&self, strict: bool, learning: bool, testing: bool) -> Result<(), DataError> {
        let Some(first) = self.skipped.first() else { return Ok(()) };
        if strict {
            return Err(first.error.clone().into());
        }
        let trained = |label: usize| self.train.iter().any(|sample| sample.label == label);
        let lost = self.skipped.iter().find(|skipped| learning && !trained(skipped.label));
        let lost = lost.or((testing && self.test.is_empty()).then_some(first));
        match lost {
            None => Ok(()),
            Some(lost) => Err(DataError::NoReadablePictures {
                class: self.classes[lost.label].clone(),
                skipped: self.skipped.iter().filter(|s| s.label == lost.label).count(),
                first: lost.error.to_string(),
            }),
        }
    }

    /// Sets a share of each class aside for testing. The samples lie class by class.
    fn split(&mut self, options: &OpenOptions) {
        let all = std::mem::take(&mut self.train);
        for of_class in all.chunk_by(|a, b| a.label == b.label) {
            let wanted = (of_class.len() as f64 * options.test_share).round() as usize;
            let count = wanted.max(1).min(of_class.len() - 1);
            let mut for_test: Vec<bool> = (0..of_class.len()).map(|i| i < count).collect();
            let label = of_class[0].label as u64;
            Random::new(Purpose::Split, [options.seed, label, 0]).shuffle(&mut for_test);
            for (sample, for_test) in of_class.iter().zip(for_test) {
                let part = if for_test { &mut self.test } else { &mut self.train };
                part.push(sample.clone());
            }
        }
    }
}
