//! The model that a command asks about pictures, alone or with others.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use inception_engine::Cpu;
use inception_image::Crops;
use inception_model::Model;
use inception_train::{Ensemble, Predictor};

use crate::engine::EngineOptions;
use crate::fail::usage;
use crate::options::PreprocessingOptions;

/// Asks more than once about a picture.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Views and models")]
pub struct JudgingOptions {
    /// Views of each picture whose probabilities are averaged: 1, 10, 12 or 144, as the papers
    /// define them; more than 1 takes the place of the model's own resizing and cropping
    #[arg(long, value_name = "N", default_value = "1", hide_default_value = true,
        value_parser = crops(), allow_negative_numbers = true)]
    pub crops: Crops,
    /// Another model to average with, as often as wanted; classes are matched by name
    #[arg(long, value_name = "MODEL")]
    pub ensemble: Vec<PathBuf>,
}

/// Names the numbers in help and completions.
fn crops() -> impl clap::builder::TypedValueParser<Value = Crops> {
    use clap::builder::TypedValueParser;
    clap::builder::PossibleValuesParser::new(["1", "10", "12", "144"])
        .try_map(|text| text.parse::<Crops>())
}

/// Models ready to be asked, and the classes they answer with.
pub struct Judge {
    /// The models.
    pub ensemble: Ensemble,
    /// Names of the classes: the first model's.
    pub labels: Vec<String>,
}

impl Judge {
    /// Loads the model and those beside it; each prepares pictures in its own way, changed by
    /// the same options.
    pub fn load(
        model: &Path,
        options: &JudgingOptions,
        preprocessing: &PreprocessingOptions,
        engine: &EngineOptions,
        cpu: &Arc<Cpu>,
    ) -> Result<Self> {
        if options.crops != Crops::One
            && (preprocessing.resize.is_some() || preprocessing.crop.is_some())
        {
            return Err(usage(
                "--crops says itself how pictures are resized and cropped; leave out --resize and --crop",
            ));
        }
        let algorithms = engine.algorithms(cpu)?.algorithms;
        let paths: Vec<&Path> =
            [model].into_iter().chain(options.ensemble.iter().map(PathBuf::as_path)).collect();
        let mut members = Vec::new();
        for path in &paths {
            let mut model = Model::open(path)?;
            preprocessing.apply(&mut model.net.preprocessing);
            let Model { net, weights, .. } = &model;
            let predictor = Predictor::with_algorithms(net, weights, Arc::clone(cpu), &algorithms)
                .and_then(|predictor| predictor.with_crops(options.crops));
            let predictor = match paths.as_slice() {
                [_] => predictor?,
                _ => predictor.with_context(|| path.display().to_string())?,
            };
            members.push((predictor, model.labels));
        }
        let labels = members[0].1.clone();
        let lent = members.iter().map(|(_, labels)| labels.clone()).collect::<Vec<_>>();
        let members = members.into_iter().zip(&lent).map(|((p, _), l)| (p, l.as_slice())).collect();
        Ok(Self { ensemble: Ensemble::new(members)?, labels })
    }
}
