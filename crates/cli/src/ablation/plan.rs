//! What one ablation consists of, as it stands in its folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use inception_train::Recipe;
use serde::{Deserialize, Serialize};

use crate::fail::usage;
use crate::output::quoted;
use crate::run_folder;

/// The plan's file.
pub const PLAN_FILE: &str = "ablation.toml";

/// All that decides what comes out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Folder of the pictures; the built-in ones without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// Side of the pictures that the networks see.
    pub size: usize,
    /// Factor of all widths of `inception-v3-small`.
    pub width: f64,
    /// Seeds from 0 that each arm is trained with.
    pub seeds: u32,
    /// Names of the arms.
    pub arms: Vec<String>,
    /// How the reference is trained.
    pub recipe: Recipe,
}

impl Plan {
    /// Puts the plan into a folder, which is made if need be. A folder that has one already must
    /// have the same: then its runs go on.
    pub fn settle(&self, folder: &Path) -> Result<()> {
        if folder.join(PLAN_FILE).exists() {
            return match Plan::load(folder)? == *self {
                true => Ok(()),
                false => Err(usage(format!(
                    "{0} holds an ablation with other settings; choose another --out, or go on \
                     with it: --resume {1}",
                    folder.display(),
                    quoted(folder)
                ))),
            };
        }
        run_folder::create(Some(folder), "ablation")?;
        let text = toml::to_string(self)?;
        run_folder::write(folder, PLAN_FILE, &format!("# What this ablation compares.\n{text}"))
    }

    /// The plan in a folder.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(PLAN_FILE);
        let text = fs::read_to_string(&path).with_context(|| {
            format!(
                "{} is no ablation's folder; --resume takes one that `inception ablate` made, \
                 with {PLAN_FILE} in it",
                folder.display()
            )
        })?;
        toml::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
    }
}
