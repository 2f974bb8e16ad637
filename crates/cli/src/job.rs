//! What a training run is made of, from what the command line says and what the pictures are.

use std::fs;
use std::mem::discriminant;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use inception_engine::Cpu;
use inception_image::{Dataset, Preprocessor};
use inception_model::Model;
use inception_net::Net;
use inception_net::zoo;
use inception_train::{
    CHECKPOINT_FILE, Checkpoint, MODEL_FILE, Preset, Recipe, Rule, Start, TrainError, Trainer,
    start_from, untrained,
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

/// Versions of each picture that are kept under `--head-only` where the recipe does not say.
const HEAD_VIEWS: usize = 5;

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
    /// Largest learning rate, of a step as it is: it is not scaled to the batch
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub learning_rate: Option<f64>,
    /// How gradients change weights: rmsprop as the paper does, sgd with momentum, or adamw;
    /// where the recipe has another one, the learning rate becomes 0.045, 0.1 or 0.001
    #[arg(long, value_enum, value_name = "NAME")]
    pub optimizer: Option<Optimizer>,
    /// Decides all that is random; the same seed gives the same model, bit by bit
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<u32>,
    /// How to train: a recipe by name (`inception recipe` lists them) or a TOML file, such as the
    /// recipe.toml of a run; options given beside it replace what it says [default: one that
    /// suits the pictures]
    #[arg(long, value_name = "NAME|FILE")]
    pub recipe: Option<String>,
    /// Replaces any entry of the recipe, as in label_smoothing=0, average.decay=0.99 or
    /// clip_norm=none, which leaves it out; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Layers or modules whose weights stay as they are, by name; `*` stands for anything, as in
    /// conv*,inception_3*
    #[arg(long, value_name = "NAME", value_delimiter = ',', help_heading = "Fine-tuning")]
    pub freeze: Vec<String>,
    /// A layer or module that stays as it is, with all that comes before it
    #[arg(long, value_name = "NAME", help_heading = "Fine-tuning")]
    pub freeze_until: Option<String>,
    /// Trains the last layer alone; what the others make of a few versions of each picture is
    /// computed once
    #[arg(long, help_heading = "Fine-tuning")]
    pub head_only: bool,
}

/// Optimisers by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs)]
pub enum Optimizer {
    Rmsprop,
    Sgd,
    Adamw,
}

impl Optimizer {
    /// The usual constants and a learning rate that suits them: the paper's, momentum's for
    /// networks with batch norm, PyTorch's.
    fn usual(self) -> (Rule, f64) {
        match self {
            Self::Rmsprop => (Rule::RmsProp { decay: 0.9, momentum: 0.9, epsilon: 1.0 }, 0.045),
            Self::Sgd => (Rule::Sgd { momentum: 0.9, nesterov: true }, 0.1),
            Self::Adamw => (Rule::adamw(), 0.001),
        }
    }

    /// Changes a recipe of another kind to this one.
    pub fn put_into(self, recipe: &mut Recipe) {
        let (rule, learning_rate) = self.usual();
        if discriminant(&recipe.optimizer) != discriminant(&rule) {
            recipe.optimizer = rule;
            recipe.schedule.learning_rate = learning_rate;
        }
    }
}

impl RecipeOptions {
    /// The recipe asked for, if one was.
    pub fn named(&self) -> Result<Option<Recipe>> {
        self.recipe.as_deref().map(|spec| recipe_text(spec)?.parse()).transpose()
    }

    /// The recipe that results: the one `named` or, without one, the `usual`.
    pub fn recipe(&self, named: Option<Recipe>, usual: &'static Preset) -> Result<Recipe> {
        self.change(named.unwrap_or_else(|| usual.recipe()))
    }

    /// The recipe with what the options say instead.
    pub fn change(&self, recipe: Recipe) -> Result<Recipe> {
        let misused = |error: TrainError| usage(error.to_string());
        let mut recipe = recipe.with_settings(&self.set).map_err(misused)?;
        recipe.epochs = self.epochs.unwrap_or(recipe.epochs);
        recipe.batch = self.batch.unwrap_or(recipe.batch);
        recipe.seed = self.seed.unwrap_or(recipe.seed);
        if let Some(optimizer) = self.optimizer {
            optimizer.put_into(&mut recipe);
        }
        if let Some(rate) = self.learning_rate {
            (recipe.schedule.learning_rate, recipe.schedule.reference_batch) = (rate, None);
        }
        self.freeze_in(&mut recipe);
        recipe.check().map_err(misused)?;
        Ok(recipe)
    }

    /// Adds what is to be frozen; with `--head-only` what the frozen layers make of pictures is
    /// kept, whether the recipe says so or not.
    fn freeze_in(&self, recipe: &mut Recipe) {
        if self.freeze.is_empty() && self.freeze_until.is_none() && !self.head_only {
            return;
        }
        let fine_tuning = recipe.fine_tuning.get_or_insert_default();
        fine_tuning.freeze.extend(self.freeze.iter().cloned());
        fine_tuning.freeze_until = self.freeze_until.clone().or(fine_tuning.freeze_until.take());
        if self.head_only {
            fine_tuning.head_only = true;
            fine_tuning.cached_views.get_or_insert(HEAD_VIEWS);
        }
    }
}

/// The recipe for a network (a built-in one's name, a file, or none asked for), pictures (the
/// built-in ones without a folder) and an input's height and width.
pub fn usual_recipe(
    spec: Option<&str>,
    data: Option<&Path>,
    input: (usize, usize),
) -> &'static Preset {
    let from_model = spec.is_some_and(|spec| network::is_model_file(Path::new(spec)));
    let name = match data {
        _ if from_model => "finetune",
        None => "embedded",
        Some(_) if input.0.min(input.1) < PHOTOGRAPH => "small-pictures",
        Some(_) => "small-data",
    };
    Preset::named(name).expect("a recipe that comes with the program")
}

/// A recipe's TOML and where it is from.
pub struct RecipeText {
    /// A name or a path.
    pub source: String,
    /// The TOML, with its comments.
    pub text: String,
}

impl RecipeText {
    /// What it says.
    pub fn parse(&self) -> Result<Recipe> {
        Recipe::from_toml(&self.text).with_context(|| self.source.clone())
    }
}

/// The recipe of this name or in this file.
pub fn recipe_text(spec: &str) -> Result<RecipeText> {
    let source = spec.to_owned();
    if let Some(preset) = Preset::named(spec) {
        return Ok(RecipeText { source, text: preset.text.to_owned() });
    }
    if !Path::new(spec).exists() && !spec.contains(['.', '/', '\\']) {
        let known: Vec<&str> = Preset::ALL.iter().map(|preset| preset.name).collect();
        let known = known.join(", ");
        return Err(usage(format!("`{spec}` is neither a recipe nor a file; there are {known}")));
    }
    let text =
        fs::read_to_string(spec).with_context(|| format!("cannot read the recipe {spec}"))?;
    Ok(RecipeText { source, text })
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
    let over = run.is_over();
    if over && run.history.len() < run.recipe.epochs && complete {
        return Err(usage(format!(
            "the run in {} stopped early after {done} epochs, as its recipe asks",
            folder.display()
        )));
    }
    if run.recipe.epochs < done || (over && complete) {
        return Err(usage(format!(
            "the run in {} has {done} epochs behind it already; give more with --epochs N",
            folder.display()
        )));
    }
    let model = folder.join(MODEL_FILE);
    let lost = over && !model.exists();
    if lost && !run.is_best() {
        bail!(
            "{} is gone, and the checkpoint has the last epoch's weights, not the best one's that \
             it held; train again, or without early stopping",
            model.display()
        );
    }
    let trainer = Trainer::resume(checkpoint, cpu)?;
    if lost {
        trainer.model().save(&model)?;
    }
    Ok(trainer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preset(name: &str) -> &'static Preset {
        Preset::named(name).unwrap()
    }

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
        let recipe = options.recipe(None, preset("small-data")).unwrap();
        assert_eq!((recipe.epochs, recipe.schedule.learning_rate), (3, 0.01));
        assert!(matches!(recipe.optimizer, Rule::Sgd { .. }));
        assert_eq!(recipe.batch, preset("small-data").recipe().batch);
        let zero = RecipeOptions { epochs: Some(0), ..RecipeOptions::default() };
        assert!(zero.recipe(None, preset("embedded")).unwrap_err().to_string().contains("epochs"));
    }

    #[test]
    fn an_optimizer_brings_its_learning_rate_and_leaves_its_own_kind_alone() {
        let with = |optimizer, recipe| {
            let options = RecipeOptions { optimizer: Some(optimizer), ..RecipeOptions::default() };
            let recipe = options.recipe(Some(recipe), preset("small-data")).unwrap();
            (recipe.optimizer, recipe.schedule.learning_rate)
        };
        let (small, default) = (preset("embedded").recipe(), preset("small-data").recipe());
        assert!(matches!(small.optimizer, Rule::Sgd { nesterov: true, .. }));
        assert!(matches!(default.optimizer, Rule::RmsProp { .. }));
        assert_eq!(with(Optimizer::Sgd, default.clone()), (small.optimizer.clone(), 0.1));
        assert_eq!(with(Optimizer::Rmsprop, small.clone()), (default.optimizer, 0.045));
        let mut mine = small;
        mine.optimizer = Rule::Sgd { momentum: 0.5, nesterov: false };
        mine.schedule.learning_rate = 0.02;
        assert_eq!(with(Optimizer::Sgd, mine.clone()), (mine.optimizer, 0.02));
    }

    #[test]
    fn recipes_suit_the_pictures() {
        let folder = Some(Path::new("photos"));
        let suits = |data, side| usual_recipe(None, data, (side, side)).name;
        assert_eq!(suits(None, 28), "embedded");
        assert_eq!(suits(folder, 28), "small-pictures");
        assert_eq!(suits(folder, 128), "small-data");
    }

    #[test]
    fn a_rate_asked_for_is_the_rate() {
        let options = RecipeOptions {
            recipe: Some("paper".into()),
            batch: Some(64),
            ..RecipeOptions::default()
        };
        let rate = |options: &RecipeOptions| {
            let named = options.named().unwrap();
            options.recipe(named, preset("embedded")).unwrap().learning_rate(0.0)
        };
        assert_eq!(rate(&options), 0.09);
        assert_eq!(rate(&RecipeOptions { learning_rate: Some(0.02), ..options }), 0.02);
    }

    #[test]
    fn entries_are_replaced_and_faults_name_the_known_ones() {
        let set = |settings: &[&str]| {
            let set = settings.iter().map(|&setting| setting.to_owned()).collect();
            let options = RecipeOptions { set, ..RecipeOptions::default() };
            options.recipe(None, preset("embedded"))
        };
        let recipe = set(&["label_smoothing=0", "average=none"]).unwrap();
        assert_eq!((recipe.label_smoothing, recipe.average), (0.0, None));
        assert!(set(&["smoothing=0"]).unwrap_err().to_string().contains("`label_smoothing`"));
        let unknown = RecipeOptions { recipe: Some("papre".into()), ..RecipeOptions::default() };
        assert!(unknown.named().unwrap_err().to_string().contains("paper, tf-slim"));
    }
}
