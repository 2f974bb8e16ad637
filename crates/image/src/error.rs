//! What can be wrong with a data set or its settings.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::decode::PictureError;

/// Why a data set cannot be used: what is wrong, where, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The folder does not exist.
    #[error("{}: no such folder; give the folder that holds a folder per class", .0.display())]
    Missing(PathBuf),
    /// The path is a file.
    #[error("{}: a file, not a folder; give the folder that holds a folder per class", .0.display())]
    NotAFolder(PathBuf),
    /// A folder or file cannot be read.
    #[error("{}: cannot be read ({error}); check that you may read it", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The folder holds nothing.
    #[error("{}: the folder is empty; put a folder per class into it", .0.display())]
    Empty(PathBuf),
    /// The folder holds no folders.
    #[error(
        "{}: no class folders; put the pictures of each class into a folder of its own, named \
         like the class",
        .0.display()
    )]
    NoClasses(PathBuf),
    /// One class, which leaves nothing to tell apart.
    #[error(
        "{}: only one class, `{class}`; two at least are needed{}",
        path.display(),
        if *.nested { ", or are its sub-folders the classes? Then give that folder" } else { "" }
    )]
    OneClass {
        /// The data set.
        path: PathBuf,
        /// The class.
        class: String,
        /// Whether there are two or more folders in the class's.
        nested: bool,
    },
    /// A class without pictures.
    #[error(
        "{}: no pictures in class `{class}`; put some there or remove the folder",
        path.display()
    )]
    NoPictures {
        /// The class's folder.
        path: PathBuf,
        /// The class.
        class: String,
    },
    /// A class all of whose pictures were skipped.
    #[error("class `{class}`: none of its {skipped} pictures can be read; the first is {first}")]
    NoReadablePictures {
        /// The class.
        class: String,
        /// How many there are.
        skipped: usize,
        /// The first one's name and problem.
        first: String,
    },
    /// The training and the test folder do not have the same classes.
    #[error(
        "{} and {} have different classes: {}; the same folders must be in both",
        train.display(),
        test.display(),
        difference(only_train, only_test)
    )]
    ClassesDiffer {
        /// The training pictures' folder.
        train: PathBuf,
        /// The test pictures' folder.
        test: PathBuf,
        /// Classes that only `train` has.
        only_train: Vec<String>,
        /// Classes that only `test` has.
        only_test: Vec<String>,
    },
    /// Classes that a model does not know.
    #[error(
        "{}: {} `{}` {} none of the model's ({}); name each folder like one of them or remove it",
        path.display(),
        if classes.len() == 1 { "class" } else { "classes" },
        classes.join("`, `"),
        if classes.len() == 1 { "is" } else { "are" },
        known.join(", ")
    )]
    UnknownClasses {
        /// The data set.
        path: PathBuf,
        /// The classes.
        classes: Vec<String>,
        /// The model's classes, the first of them if there are many.
        known: Vec<String>,
    },
    /// A picture that cannot be read, where that is to stop everything.
    #[error("{0}")]
    Picture(#[from] Arc<PictureError>),
    /// An IDX file that contradicts itself or its partner.
    #[error("{}: no usable IDX file ({what}); download it again", path.display())]
    Idx {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The preprocessing does not fit the network.
    #[error("the preprocessing does not fit: {0}; change it or the network's input")]
    Preprocessing(String),
    /// The augmentation's numbers make no sense.
    #[error("the augmentation cannot be done: {0}")]
    Augmentation(String),
}

fn difference(only_train: &[String], only_test: &[String]) -> String {
    let part = |classes: &[String], place: &str| match classes {
        [] => None,
        [class] => Some(format!("`{class}` is only in the {place}")),
        classes => Some(format!("`{}` are only in the {place}", classes.join("`, `"))),
    };
    let parts = [part(only_train, "first"), part(only_test, "second")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
