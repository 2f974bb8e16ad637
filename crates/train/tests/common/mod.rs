//! A network and pictures small enough to train in a moment.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use inception_engine::Cpu;
use inception_image::dataset::Source;
use inception_image::{Dataset, Picture, PictureError, Sample};
use inception_model::Model;
use inception_net::Net;
use inception_train::{
    Checkpoint, Ended, EpochReport, ModeGap, Observer, Preset, Recipe, RunOptions, StepReport,
    TrainError, Trainer, untrained,
};

/// Batch norm, branches, dropout, two heads: all that has state or randomness.
const NET: &str = r#"
name = "tiny"
classes = 3
input = { channels = 1, height = 8, width = 8 }

[preprocessing]
resize = "none"
crop = [8, 8]
order = "grey"
mean = [0.5]
std = [0.25]

[defaults]
batch_norm = { epsilon = 1e-3, decay = 0.9, scale = true }

[[layer]]
type = "conv"
name = "stem"
kernel = 3
channels = 8

[[layer]]
type = "branches"
name = "mixed"
branches = [
    [{ type = "conv", name = "left", kernel = 1, channels = 5 }],
    [{ type = "max-pool", name = "right", kernel = 3 }],
]

[[layer]]
type = "auxiliary"
name = "aux"
loss_weight = 0.4
layers = [
    { type = "global-avg-pool", name = "pool" },
    { type = "classifier", name = "fc" },
]

[[layer]]
type = "global-avg-pool"
name = "pool"

[[layer]]
type = "dropout"
name = "dropout"
rate = 0.2

[[layer]]
type = "classifier"
name = "fc"
"#;

pub fn net() -> Net {
    Net::from_toml(NET).unwrap()
}

pub fn labels() -> Vec<String> {
    ["rows", "columns", "plain"].map(String::from).to_vec()
}

pub fn model() -> Model {
    untrained(net(), labels(), 1).unwrap()
}

pub fn recipe(epochs: usize) -> Recipe {
    let settings = [
        "batch=16",
        "seed=7",
        "weight_decay=1e-4",
        "average.decay=0.9",
        "schedule.learning_rate=0.2",
        "schedule.warmup_epochs=0.5",
    ];
    let recipe = Preset::named("small-pictures").unwrap().recipe();
    Recipe { epochs, ..recipe.with_settings(&settings).unwrap() }
}

/// Noisy stripes along rows or columns, or none; `count` pictures of each class.
pub fn samples(count: usize, seed: u32) -> Vec<Sample> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    let mut noise = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 25) as u8
    };
    let pictures = (0..3 * count).map(|number| {
        let label = number % 3;
        let value = |i: usize| {
            let bright = [(i / 8) % 2, i % 2, 1][label];
            64 * bright as u8 + noise()
        };
        let picture = Arc::new(Picture::grey(8, 8, (0..64).map(value).collect()));
        Sample { source: Source::Memory { picture, number }, label }
    });
    pictures.collect()
}

pub fn data() -> Dataset {
    Dataset { classes: labels(), train: samples(34, 1), test: samples(11, 2), skipped: Vec::new() }
}

/// Remembers what it is told, and stops the run after an epoch or a step.
#[derive(Default)]
pub struct Witness {
    pub stop_after_epoch: usize,
    pub stop_at: Option<(usize, usize)>,
    pub checkpoint_every: Option<Duration>,
    pub steps: Vec<StepReport>,
    pub epochs: Vec<EpochReport>,
    pub skipped: Vec<String>,
    pub gaps: Vec<ModeGap>,
}

/// The half of [`Witness`] that a run borrows for writing, with the flag it sets.
struct Notes<'a> {
    stop: &'a AtomicBool,
    witness: &'a mut Witness,
}

impl Observer for Notes<'_> {
    fn step(&mut self, report: &StepReport) {
        if self.witness.stop_at == Some((report.epoch, report.step)) {
            self.stop.store(true, Ordering::Relaxed);
        }
        self.witness.steps.push(report.clone());
    }

    fn epoch(&mut self, report: &EpochReport) {
        if self.witness.stop_after_epoch == report.epoch {
            self.stop.store(true, Ordering::Relaxed);
        }
        self.witness.epochs.push(report.clone());
    }

    fn mode_gap(&mut self, gap: &ModeGap) {
        self.witness.gaps.push(gap.clone());
    }

    fn skipped(&mut self, picture: &PictureError) {
        self.witness.skipped.push(picture.to_string());
    }
}

pub fn cpu(threads: usize) -> Arc<Cpu> {
    Arc::new(Cpu::new(threads).unwrap())
}

pub fn train(
    trainer: Trainer,
    data: &Dataset,
    folder: &Path,
    workers: usize,
    witness: &mut Witness,
) -> Result<Ended, TrainError> {
    let stop = AtomicBool::new(false);
    let mut notes = Notes { stop: &stop, witness };
    let checkpoint_every = notes.witness.checkpoint_every.unwrap_or(Duration::MAX);
    let options = RunOptions { folder, workers, checkpoint_every, stop: &stop };
    trainer.train(data, options, &mut notes)
}

/// All that a checkpoint holds except times.
pub fn essence(checkpoint: &Checkpoint) -> impl PartialEq + std::fmt::Debug + use<> {
    let Checkpoint { run, weights, average, optimizer } = checkpoint.clone();
    let mut history = run.history;
    for report in &mut history {
        report.seconds = 0.0;
        report.pictures_per_second = 0.0;
    }
    let average = average.map(|average| average.weights().clone());
    (run.recipe, run.steps, history, weights, average, optimizer.slots().to_vec())
}
