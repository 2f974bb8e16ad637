//! Data sets as folders: which are classes, which files are pictures.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::dataset::{Dataset, Sample, Source};
use crate::decode::looks_like_picture;
use crate::error::DataError;

/// Names of the folder with the pictures to learn from, and of those with the pictures to judge
/// by, the first that exists.
const TRAIN: &str = "train";
const TEST: [&str; 4] = ["val", "valid", "validation", "test"];

/// An error unless the path is a folder with something visible in it.
pub(crate) fn check_folder(path: &Path) -> Result<(), DataError> {
    match fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(DataError::Missing(path.into())),
        Err(error) => Err(DataError::Read { path: path.into(), error }),
        Ok(data) if !data.is_dir() => Err(DataError::NotAFolder(path.into())),
        Ok(_) if entries(path)?.is_empty() => Err(DataError::Empty(path.into())),
        Ok(_) => Ok(()),
    }
}

/// The folders with training and test pictures, if the folder is split that way.
pub(crate) fn split_folders(path: &Path) -> Result<Option<(PathBuf, PathBuf)>, DataError> {
    let train = path.join(TRAIN);
    let test = TEST.iter().map(|name| path.join(name)).find(|test| test.is_dir());
    match test {
        Some(test) if train.is_dir() && !folders(&train)?.is_empty() => Ok(Some((train, test))),
        _ => Ok(None),
    }
}

/// A data set of two folders with the same classes.
pub(crate) fn read_split(train: &Path, test: &Path) -> Result<Dataset, DataError> {
    let (classes, train_samples) = read_classes(train)?;
    let test_classes = folders(test)?.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    if test_classes != classes {
        let only = |these: &[String], those: &[String]| {
            these.iter().filter(|class| !those.contains(class)).cloned().collect()
        };
        return Err(DataError::ClassesDiffer {
            only_train: only(&classes, &test_classes),
            only_test: only(&test_classes, &classes),
            train: train.into(),
            test: test.into(),
        });
    }
    let (_, test_samples) = read_classes(test)?;
    let skipped = Vec::new();
    Ok(Dataset { classes, train: train_samples, test: test_samples, skipped })
}

/// The classes of a folder and their pictures.
pub(crate) fn read_classes(path: &Path) -> Result<(Vec<String>, Vec<Sample>), DataError> {
    let folders = folders(path)?;
    if folders.is_empty() {
        return Err(DataError::NoClasses(path.into()));
    }
    let (mut classes, mut samples) = (Vec::new(), Vec::new());
    for (label, (class, folder)) in folders.into_iter().enumerate() {
        let pictures = pictures(&folder)?;
        if pictures.is_empty() {
            return Err(DataError::NoPictures { path: folder, class });
        }
        samples.extend(pictures.into_iter().map(|p| Sample { source: Source::File(p), label }));
        classes.push(class);
    }
    Ok((classes, samples))
}

/// The pictures of a folder whose classes are among `known`, labelled by their place there.
pub(crate) fn read_known_classes(path: &Path, known: &[String]) -> Result<Vec<Sample>, DataError> {
    let folders = folders(path)?;
    if folders.is_empty() {
        return Err(DataError::NoClasses(path.into()));
    }
    let (mut samples, mut unknown) = (Vec::new(), Vec::new());
    for (class, folder) in folders {
        let Some(label) = known.iter().position(|k| *k == class) else {
            unknown.push(class);
            continue;
        };
        let pictures = pictures(&folder)?.into_iter();
        samples.extend(pictures.map(|p| Sample { source: Source::File(p), label }));
    }
    if !unknown.is_empty() {
        return Err(unknown_classes(path, unknown, known));
    }
    if samples.is_empty() {
        let class = known.join(", ");
        return Err(DataError::NoPictures { path: path.into(), class });
    }
    Ok(samples)
}

/// The error about classes that are not among `known`.
pub(crate) fn unknown_classes(path: &Path, classes: Vec<String>, known: &[String]) -> DataError {
    let mut shown: Vec<String> = known.iter().take(10).cloned().collect();
    if known.len() > shown.len() {
        shown.push(format!("and {} more", known.len() - shown.len()));
    }
    DataError::UnknownClasses { path: path.into(), classes, known: shown }
}

/// The error about a data set of one class.
pub(crate) fn one_class(path: &Path, class: &str) -> Result<DataError, DataError> {
    let folder = [path.join(class), path.join(TRAIN).join(class)].into_iter().find(|f| f.is_dir());
    let nested = folder.map(|f| folders(&f)).transpose()?.is_some_and(|inner| inner.len() > 1);
    Ok(DataError::OneClass { path: path.into(), class: class.into(), nested })
}

/// Visible entries of a folder, sorted by name. What macOS adds to archives counts as hidden.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, DataError> {
    let error = |error| DataError::Read { path: folder.into(), error };
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && name != "__MACOSX" {
            entries.push((name, entry.path()));
        }
    }
    entries.sort();
    Ok(entries)
}

/// Visible folders in a folder (links to folders too), sorted by name.
fn folders(folder: &Path) -> Result<Vec<(String, PathBuf)>, DataError> {
    Ok(entries(folder)?.into_iter().filter(|(_, path)| path.is_dir()).collect())
}

/// Whether it is there but no file with content: to open a pipe or a device may take forever. A
/// link that leads nowhere is not special; that it cannot be read is told like of any picture.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| !data.is_file())
}

/// Pictures in a folder and all folders below it, sorted by path: the visible files that are
/// pictures by extension or content. Whether they can be read shows when they are.
///
/// Fails if a folder cannot be read.
pub fn pictures(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut pictures = Vec::new();
    let error = |error| DataError::Read { path: folder.into(), error };
    // Each real folder is entered once, and none that this one lies in: links may lead back up,
    // where the pictures of other classes are.
    let real = folder.canonicalize().map_err(error)?;
    let mut seen: HashSet<PathBuf> = real.ancestors().skip(1).map(PathBuf::from).collect();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        let error = |error| DataError::Read { path: folder.clone(), error };
        if !seen.insert(folder.canonicalize().map_err(error)?) {
            continue;
        }
        for (_, path) in entries(&folder)? {
            if path.is_dir() {
                open.push(path);
            } else if !is_special(&path) && looks_like_picture(&path) {
                pictures.push(path);
            }
        }
    }
    pictures.sort();
    Ok(pictures)
}
