//! What a training run is made of, from what the command line says and what the pictures are.

use std::fs;
use std::mem::discriminant;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use inception_engine::Cpu;
use inception_image::{Augmentation, Dataset, Preprocessor};
use inception_model::Model;
use inception_net::Net;
use inception_net::zoo;
use inception_train::{
    CHECKPOINT_FILE, Checkpoint, MODEL_FILE, Recipe, Start, Trainer, start_from, untrained,
};

use crate::data::Look;
use crate::fail::usage;
use crate::network;
use crate::options::{NetworkOptions, Pixels};
use crate::run_folder::REPORT_FILE;

/// Side from which on pictures are photographs to be shrunk and cropped, not small pictures of
/// which every pixel counts: the smallest input of Inception v3.
const PHOTOGRAPH: usize = 75;

/// The network for photographs where none is asked for: Inception v3 at half its width and at
/// most 128×128 costs 193 M multiply–adds a picture, 1/30 of the whole at 299×299, so that two
/// cores train it on some hundreds of pictures in minutes instead of hours; and so few pictures
/// cannot fill a larger one anyway.
const DEFAULT_SIDE: usize = 128;
const DEFAULT_WIDTH: f64 = 0.5;

/// The network to train: the one asked for, else one that suits the pictures. Channels are the
/// pictures' unless asked for.
pub fn network(
    spec: Option<&str>,
    options: &NetworkOptions,
    classes: usize,
    look: Look,
) -> Result<Net> {
    let mut options = options.clone();
    let spec = match spec {
        Some(spec) => spec,
        None if look.side < PHOTOGRAPH => {
            options.size.get_or_insert(Pixels(look.side, look.side));
            "inception-v3-small"
        }
        None => {
            let side = look.side.min(DEFAULT_SIDE);
            options.size.get_or_insert(Pixels(side, side));
            options.width.get_or_insert(DEFAULT_WIDTH);
            "inception-v3"
        }
    };
    if network::is_model_file(Path::new(spec)) {
        let size = options.size.take();
        let mut net = network::find(spec, &options, Some(classes))?;
        net.classes = classes;
        return match size {
            Some(Pixels(height, width)) => {
                net.resized(height, width).map_err(|error| usage(error.to_string()))
            }
            None => Ok(net),
        };
    }
    if zoo::names().any(|name| name == spec) {
        options.channels.get_or_insert(if look.grey { 1 } else { 3 });
    }
    network::find(spec, &options, Some(classes))
}

/// The network with the weights to start from, a model file's or random ones, and what of them is
/// new. Its preprocessing fits its input.
pub fn start(spec: Option<&str>, net: Net, data: &Dataset, seed: u32) -> Result<Start> {
    let classes = data.classes.clone();
    let start = match spec.filter(|spec| network::is_model_file(Path::new(spec))) {
        Some(spec) => start_from(Model::load(Path::new(spec))?, net, classes, seed)?,
        None => {
            let model = untrained(net, classes, seed)?;
            Start { model, replaced: None, renewed: Vec::new() }
        }
    };
    let input = start.model.net.input;
    let shape = (input.channels, input.height, input.width);
    Preprocessor::new(start.model.net.preprocessing.clone(), shape)?;
    Ok(start)
}

/// What the command line changes of a recipe.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Training")]
pub struct RecipeOptions {
    /// How often every training picture is seen
    #[arg(short, long, value_name = "N", allow_negative_numbers = true)]
    pub epochs: Option<usize>,
    /// Pictures in a step
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub batch: Option<usize>,
    /// Largest learning rate
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub learning_rate: Option<f64>,
    /// How gradients change weights: rmsprop as the paper does, or sgd with momentum; where the
    /// recipe has the other one, the learning rate becomes 0.045 or 0.1
    #[arg(long, value_enum, value_name = "NAME")]
    pub optimizer: Option<Optimizer>,
    /// Decides all that is random; the same seed gives the same model, bit by bit
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<u32>,
    /// A TOML file with the whole recipe, such as the recipe.toml of a run; options given beside
    /// it replace what it says
    #[arg(long, value_name = "FILE")]
    pub recipe: Option<std::path::PathBuf>,
    /// Layers or modules whose weights stay as they are, by name; `*` stands for anything, as in
    /// conv*,inception_3*
    #[arg(long, value_name = "NAME", value_delimiter = ',', help_heading = "Fine-tuning")]
    pub freeze: Vec<String>,
    /// A layer or module that stays as it is, with all that comes before it
    #[arg(long, value_name = "NAME", help_heading = "Fine-tuning")]
    pub freeze_until: Option<String>,
    /// Trains the last layer alone; what the others make of each picture, as it is and mirrored,
    /// is computed once
    #[arg(long, help_heading = "Fine-tuning")]
    pub head_only: bool,
}

/// Optimisers by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs)]
pub enum Optimizer {
    Rmsprop,
    Sgd,
}

impl Optimizer {
    /// Changes a recipe of the other kind to this one, with a learning rate that suits it.
    pub fn put_into(self, recipe: &mut Recipe) {
        let usual = match self {
            Self::Rmsprop => Recipe::default(),
            Self::Sgd => Recipe::small(),
        };
        if discriminant(&recipe.optimizer) != discriminant(&usual.optimizer) {
            recipe.optimizer = usual.optimizer;
            recipe.schedule.learning_rate = usual.schedule.learning_rate;
        }
    }
}

impl RecipeOptions {
    /// The recipe's file, if there is one.
    pub fn file(&self) -> Result<Option<Recipe>> {
        self.recipe.as_deref().map(read_recipe).transpose()
    }

    /// The recipe that results: the file's or, without one, that for the data.
    pub fn recipe(
        &self,
        file: Option<Recipe>,
        built_in: bool,
        input: (usize, usize),
    ) -> Result<Recipe> {
        let mut recipe = match file {
            Some(recipe) => recipe,
            None if built_in => Recipe::small(),
            None if input.0.min(input.1) < PHOTOGRAPH => Recipe {
                augmentation: Some(Augmentation::small_pictures()),
                batch: Recipe::small().batch,
                ..Recipe::default()
            },
            None => Recipe::default(),
        };
        recipe.epochs = self.epochs.unwrap_or(recipe.epochs);
        recipe.batch = self.batch.unwrap_or(recipe.batch);
        recipe.seed = self.seed.unwrap_or(recipe.seed);
        if let Some(optimizer) = self.optimizer {
            optimizer.put_into(&mut recipe);
        }
        if let Some(rate) = self.learning_rate {
            recipe.schedule.learning_rate = rate;
        }
        self.freeze_in(&mut recipe);
        recipe.check().map_err(|error| match &self.recipe {
            Some(path) => anyhow!(error).context(path.display().to_string()),
            None => usage(error.to_string()),
        })?;
        Ok(recipe)
    }
}

impl RecipeOptions {
    /// Adds what is to be frozen. Features of frozen layers want few versions of each picture:
    /// with `--head-only` a recipe that says nothing about them gets two, without crops.
    fn freeze_in(&self, recipe: &mut Recipe) {
        if self.freeze.is_empty() && self.freeze_until.is_none() && !self.head_only {
            return;
        }
        let fine_tuning = recipe.fine_tuning.get_or_insert_default();
        fine_tuning.freeze.extend(self.freeze.iter().cloned());
        fine_tuning.freeze_until = self.freeze_until.clone().or(fine_tuning.freeze_until.take());
        if self.head_only {
            fine_tuning.head_only = true;
            if fine_tuning.cached_views.is_none() {
                fine_tuning.cached_views = Some(2);
                recipe.augmentation = Some(Augmentation { flip: 0.5, ..Augmentation::default() });
            }
        }
    }
}

fn read_recipe(path: &Path) -> Result<Recipe> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the recipe {}", path.display()))?;
    Recipe::from_toml(&text).with_context(|| path.display().to_string())
}

/// A trainer where the run in a folder was last saved. `epochs`, where given, is the new
/// number of them. A run that has all its epochs is one to go on with only if it ended before its
/// model or report was written; its model then is written here, as no further epoch will.
pub fn resume(folder: &Path, epochs: Option<usize>, cpu: Arc<Cpu>) -> Result<Trainer> {
    let path = folder.join(CHECKPOINT_FILE);
    if !path.exists() {
        bail!("{} was ended before it began; remove it and start again", folder.display());
    }
    let mut checkpoint = Checkpoint::load(&path)?;
    let run = &mut checkpoint.run;
    let done = run.history.len();
    run.recipe.epochs = epochs.unwrap_or(run.recipe.epochs);
    let complete = [MODEL_FILE, REPORT_FILE].iter().all(|name| folder.join(name).exists());
    let left = run.recipe.epochs.checked_sub(done);
    if left.is_none() || (left == Some(0) && complete) {
        return Err(usage(format!(
            "the run in {} has all its {done} epochs; give more with --epochs N",
            folder.display()
        )));
    }
    let trainer = Trainer::resume(checkpoint, cpu)?;
    if left == Some(0) {
        trainer.model().save(&folder.join(MODEL_FILE))?;
    }
    Ok(trainer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use inception_train::Rule;

    fn chosen(spec: Option<&str>, options: NetworkOptions, side: usize, grey: bool) -> Net {
        network(spec, &options, 5, Look { side, grey }).unwrap()
    }

    #[test]
    fn the_network_suits_the_pictures() {
        let net = chosen(None, NetworkOptions::default(), 28, true);
        assert_eq!((net.name.as_str(), net.input.channels), ("inception-v3-small", 1));
        assert_eq!((net.input.height, net.input.width, net.classes), (28, 28, 5));
        let net = chosen(None, NetworkOptions::default(), 240, false);
        assert_eq!((net.name.as_str(), net.input.channels), ("inception-v3", 3));
        assert_eq!((net.input.height, net.input.width), (128, 128));
        let net = chosen(None, NetworkOptions::default(), 96, false);
        assert_eq!((net.input.height, net.input.width), (96, 96));
    }

    #[test]
    fn what_is_asked_for_comes_first() {
        let options = NetworkOptions {
            size: Some(Pixels(96, 80)),
            channels: Some(3),
            ..NetworkOptions::default()
        };
        let net = chosen(None, options.clone(), 240, true);
        assert_eq!((net.input.height, net.input.width, net.input.channels), (96, 80, 3));
        let net = chosen(Some("googlenet"), NetworkOptions::default(), 28, false);
        assert_eq!((net.name.as_str(), net.input.height), ("googlenet", 224));
    }

    #[test]
    fn small_colour_pictures_are_seen_in_colour() {
        let net = chosen(None, NetworkOptions::default(), 32, false);
        assert_eq!(net.input.channels, 3);
        assert_eq!(net.preprocessing.order, inception_net::preprocessing::ChannelOrder::Rgb);
    }

    #[test]
    fn options_replace_parts_of_the_recipe() {
        let options = RecipeOptions {
            epochs: Some(3),
            learning_rate: Some(0.01),
            optimizer: Some(Optimizer::Sgd),
            ..RecipeOptions::default()
        };
        let recipe = options.recipe(None, false, (128, 128)).unwrap();
        assert_eq!((recipe.epochs, recipe.schedule.learning_rate), (3, 0.01));
        assert!(matches!(recipe.optimizer, inception_train::Rule::Sgd { .. }));
        assert_eq!(recipe.batch, Recipe::default().batch);
        let zero = RecipeOptions { epochs: Some(0), ..RecipeOptions::default() };
        assert!(zero.recipe(None, true, (28, 28)).unwrap_err().to_string().contains("epochs"));
    }

    #[test]
    fn an_optimizer_brings_its_learning_rate_and_leaves_its_own_kind_alone() {
        let with = |optimizer, recipe| {
            let options = RecipeOptions { optimizer: Some(optimizer), ..RecipeOptions::default() };
            let recipe = options.recipe(Some(recipe), false, (128, 128)).unwrap();
            (recipe.optimizer, recipe.schedule.learning_rate)
        };
        let (small, default) = (Recipe::small(), Recipe::default());
        assert!(matches!(small.optimizer, Rule::Sgd { nesterov: true, .. }));
        assert!(matches!(default.optimizer, Rule::RmsProp { .. }));
        assert_eq!(with(Optimizer::Sgd, default.clone()), (small.optimizer.clone(), 0.1));
        assert_eq!(with(Optimizer::Rmsprop, small.clone()), (default.optimizer, 0.045));
        let mut mine = small;
        mine.optimizer = Rule::Sgd { momentum: 0.5, nesterov: false };
        mine.schedule.learning_rate = 0.02;
        assert_eq!(with(Optimizer::Sgd, mine.clone()), (mine.optimizer, 0.02));
    }
}
