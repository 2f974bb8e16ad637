//! A teacher on the command line.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use inception_model::Model;
use inception_train::{Distillation, Recipe, Trainer};
use sha2::{Digest, Sha256};

use crate::run_folder::TeacherFile;

/// Where neither options nor recipe say it: a temperature at which wrong classes count too, and
/// mostly the teacher's word (the middle of what 1503.02531 tries).
pub const USUAL: Distillation = Distillation { temperature: 4.0, weight: 0.9 };

/// Learning from another network's answers.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Distillation")]
pub struct TeacherOptions {
    /// A model file of the same classes and input size whose answers to the same pictures are
    /// learned from
    #[arg(long, value_name = "MODEL")]
    pub teacher: Option<PathBuf>,
    /// What both networks' logits are divided by, so that small probabilities count too
    /// [default: the recipe's, else 4]
    #[arg(long, value_name = "T", allow_negative_numbers = true, requires = "teacher")]
    pub temperature: Option<f64>,
    /// The teacher's share of the loss; the labels have the rest [default: the recipe's, else 0.9]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, requires = "teacher")]
    pub teacher_weight: Option<f64>,
}

impl TeacherOptions {
    /// The recipe with what the options say of the teacher.
    pub fn change(&self, mut recipe: Recipe) -> Result<Recipe> {
        if self.teacher.is_some() {
            let distillation = recipe.distillation.get_or_insert(USUAL);
            distillation.temperature = self.temperature.unwrap_or(distillation.temperature);
            distillation.weight = self.teacher_weight.unwrap_or(distillation.weight);
            recipe.check().map_err(|error| crate::fail::usage(error.to_string()))?;
        }
        Ok(recipe)
    }

    /// The file, to be found again.
    pub fn file(&self) -> Result<Option<TeacherFile>> {
        self.teacher.as_deref().map(TeacherFile::of).transpose()
    }
}

impl TeacherFile {
    /// The file as it is now.
    pub fn of(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let sha256 = sha256(&path)?;
        Ok(Self { path, sha256 })
    }
}

/// The trainer with the teacher that its run began with.
pub fn bring(trainer: Trainer, teacher: Option<&TeacherFile>) -> Result<Trainer> {
    let Some(TeacherFile { path, sha256: expected }) = teacher else { return Ok(trainer) };
    if sha256(path)? != *expected {
        bail!(
            "the teacher {} is another file than the run began with; put that one back",
            path.display()
        );
    }
    let model = Model::load(path)?;
    trainer.with_teacher(&model).with_context(|| path.display().to_string())
}

fn sha256(path: &Path) -> Result<String> {
    let bytes =
        fs::read(path).with_context(|| format!("cannot read the teacher {}", path.display()))?;
    Ok(Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}
