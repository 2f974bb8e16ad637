//! `inception train`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Error, Result, bail};
use inception_engine::Cpu;
use inception_image::dataset::OpenOptions;
use inception_image::{Dataset, PictureError};
use inception_model::Weights;
use inception_net::graph::{Graph, Parameter};
use inception_train::{
    EpochReport, MODEL_FILE, ModeGap, Observer, Recipe, Run, RunOptions, Start, StepReport, Trainer,
};

use crate::events::Events;
use crate::job::{self, RecipeOptions};
use crate::live::Live;
use crate::options::{self, MachineOptions, NetworkOptions};
use crate::output::{self, invocation, quoted};
use crate::results::Results;
use crate::run_folder::{self, Log, Settings};
use crate::teacher::{self, TeacherOptions};
use crate::text::{count, grouped, scaled};
use crate::{data, method, network};

/// Trains a network on a folder of pictures, or on the built-in Fashion-MNIST
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A folder with a folder of pictures for each class, or with train/ and val/ of such
    /// folders, or with MNIST's IDX files [default: the built-in Fashion-MNIST pictures]
    data: Option<PathBuf>,
    /// A built-in network (`inception networks` lists them), a TOML file, or a model file whose
    /// weights to start from, with a new last layer where its classes are others [default: one
    /// that suits the pictures]
    #[arg(short, long, value_name = "NAME|FILE")]
    model: Option<String>,
    /// Folder for the results, new or empty [default: runs/NETWORK-N]
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Goes on with the run in this folder, where its checkpoint is
    #[arg(long, value_name = "DIR", conflicts_with_all = ["model", "out", "dialect", "size",
        "channels", "width", "batch", "learning_rate", "optimizer", "seed", "recipe",
        "set", "teacher", "test_fraction", "strict", "freeze", "freeze_until", "head_only"])]
    resume: Option<PathBuf>,
    /// Share of each class set aside for testing, where the folder has no split [default: 0.2]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true,
        value_parser = options::test_fraction, help_heading = "Pictures")]
    test_fraction: Option<f64>,
    /// Stops at a picture that cannot be read, before training, instead of skipping it
    #[arg(long, help_heading = "Pictures")]
    strict: bool,
    /// Longest time between two checkpoints, in seconds; there always is one after an epoch
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = options::seconds,
        allow_negative_numbers = true, help_heading = "Machine")]
    checkpoint_every: Duration,
    #[command(flatten)]
    network: NetworkOptions,
    #[command(flatten)]
    recipe: RecipeOptions,
    #[command(flatten)]
    teacher: TeacherOptions,
    #[command(flatten)]
    machine: MachineOptions,
}

const EXAMPLES: &str = "\
Examples:
  inception train
      An Inception v3 scaled to 28×28 learns 10,000 pictures of clothes.
  inception train photos/
      Yours: photos/cat/…, photos/dog/…; a fifth of them is kept for testing.
  inception train photos/ --model inception-v3 --epochs 100 --batch 16
      The whole network at 299×299; give it thousands of pictures and a night.
  inception train photos/ --recipe paper --epochs 30 --set label_smoothing=0
      The v3 paper's method in fewer epochs, with one ingredient left out.
  inception train photos/ --model mine.toml --recipe recipe.toml --out runs/mine
  inception train --resume runs/mine
      Goes on where Ctrl-C or a power cut ended it, to the same bits.

Without --model, small pictures (shorter side below 75 pixels) are learned by
inception-v3-small at their own size, larger ones by inception-v3 at half its width and at
most 128×128, which is 1/30 of the whole network's cost; --size and --width change that.

The run's folder gets model.safetensors (network, weights, labels and preprocessing in one
file), report.html, log.jsonl, TensorBoard's events, recipe.toml, run.toml (for --resume) and a
checkpoint. Results depend on the seed, not on the number of threads.";

/// What is trained, on what, where to.
struct Job {
    trainer: Trainer,
    /// What is said about the weights it starts from.
    start: Vec<String>,
    data: Dataset,
    settings: Settings,
    folder: PathBuf,
}

/// Trains and shows what came of it.
pub fn run(args: &Args) -> Result<ExitCode> {
    let cpu = Arc::new(Cpu::new(args.machine.threads())?);
    let job = match &args.resume {
        Some(folder) => go_on(args, folder, &cpu)?,
        None => begin(args, &cpu)?,
    };
    introduce(&job, &cpu);
    let live = Live::new(&job.trainer.run().history);
    let stop = stop_on_interrupt(live.teller())?;
    let mut watch = Watch::new(&job, live, stop)?;
    let checkpoint_every = args.checkpoint_every;
    let folder = &job.folder;
    let options = RunOptions { folder, workers: cpu.threads(), checkpoint_every, stop };
    let ended = job.trainer.train(&job.data, options, &mut watch);
    watch.live.end();
    if ended.is_err() && args.resume.is_none() {
        run_folder::undo(&job.folder);
    }
    let ended = ended.map_err(|error| with_remedy(error, &job.folder));
    watch.tell_skipped();
    if let Some(error) = watch.failure {
        return Err(error);
    }
    let ended = ended?;
    if !ended.finished {
        stopped(&ended.run, &job.folder);
        return Ok(ExitCode::FAILURE);
    }
    stopped_early(&ended.run);
    let path = job.settings.data.as_deref();
    Results::new(&ended.run, &job.data, &job.folder, path, &cpu)
        .and_then(|results| results.show())
        .with_context(|| {
            let model = job.folder.join(MODEL_FILE);
            format!("{} is trained, but not all results could be written", model.display())
        })?;
    Ok(ExitCode::SUCCESS)
}

/// A new run. Its folder is made last, when all else is known to be in order.
fn begin(args: &Args, cpu: &Arc<Cpu>) -> Result<Job> {
    // The split hangs on the seed too, which a recipe's file may say.
    let recipe = args.recipe.named()?;
    let seed = args.recipe.seed.or(recipe.as_ref().map(|recipe| recipe.seed)).unwrap_or(0);
    let test_fraction = args.test_fraction.unwrap_or(OpenOptions::default().test_share);
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let data = args.data.as_ref().map(absolute);
    let (teacher, seed, strict) = (args.teacher.file()?, seed.into(), args.strict);
    let mut settings = Settings { data, test_fraction, seed, strict, pictures: None, teacher };
    let data = open(&settings, args.data.as_deref(), cpu.threads())?;
    settings.pictures = Some(data::fingerprint(&data, args.data.as_deref()));
    let look = data::look(&data.train).context("none of the pictures looked at can be read")?;
    let spec = args.model.as_deref();
    let net = job::network(spec, &args.network, data.classes.len(), look)?;
    let input = (net.input.height, net.input.width);
    let usual = job::usual_recipe(spec, args.data.as_deref(), input);
    let recipe = args.recipe.recipe(recipe, usual)?;
    let recipe = args.teacher.change(recipe)?;
    let name = net.name.clone();
    let start = job::start(spec, net, &data, recipe.seed)?;
    let notes = spec.map_or_else(Vec::new, |spec| notes(spec, &start));
    let toml = recipe.to_toml();
    let trainer = Trainer::new(start.model, recipe, Arc::clone(cpu))?;
    let trainer = teacher::bring(trainer, settings.teacher.as_ref())?;
    let folder = run_folder::create(args.out.as_deref(), &name)?;
    settings.save(&folder)?;
    run_folder::write(&folder, run_folder::RECIPE_FILE, &toml)?;
    Ok(Job { trainer, start: notes, data, settings, folder })
}

/// What of a model file's weights is kept.
fn notes(spec: &str, start: &Start) -> Vec<String> {
    if !network::is_model_file(Path::new(spec)) {
        return Vec::new();
    }
    let classes = start.model.net.classes;
    let head = match start.replaced {
        Some(before) if before == classes => format!("head replaced: {classes} other classes"),
        Some(before) => format!("head replaced: {before} → {classes} classes"),
        None => "head kept: it has these classes".to_owned(),
    };
    let mut notes = vec![format!("{spec}; {head}")];
    if !start.renewed.is_empty() {
        let layers = start.renewed.join(", ");
        notes.push(format!("of another shape at this size, so they begin anew: {layers}"));
    }
    notes
}

/// A run that was interrupted, with the pictures it began with, or where they are now.
fn go_on(args: &Args, folder: &Path, cpu: &Arc<Cpu>) -> Result<Job> {
    let settings = Settings::load(folder)?;
    let path = args.data.as_deref().or(settings.data.as_deref());
    let data = open(&settings, path, cpu.threads())?;
    if settings.pictures.as_ref().is_some_and(|own| *own != data::fingerprint(&data, path)) {
        bail!(
            "{}: these are not the pictures that the run began with, so it cannot go on as if \
             nothing had happened; put those back, or start a new run with --model {}",
            data::name(path),
            quoted(&folder.join(MODEL_FILE))
        );
    }
    let trainer = job::resume(folder, args.recipe.epochs, Arc::clone(cpu))?;
    let trainer = teacher::bring(trainer, settings.teacher.as_ref())?;
    Ok(Job { trainer, start: Vec::new(), data, settings, folder: folder.to_owned() })
}

fn open(settings: &Settings, path: Option<&Path>, workers: usize) -> Result<Dataset> {
    let Settings { test_fraction: test_share, seed, strict, .. } = *settings;
    let mut data = data::open(path, &OpenOptions { test_share, seed, strict })?;
    if strict && path.is_some() {
        data.check(strict, workers)?;
    }
    Ok(data)
}

/// What is about to happen.
fn introduce(job: &Job, cpu: &Cpu) {
    let Run { net, recipe, history, epoch, .. } = job.trainer.run();
    let input = net.input;
    if let Ok(graph) = net.graph() {
        let summary = graph.summary();
        output::note(&format!(
            "network   {}, {}×{}×{} to {} classes\n          \
             {} parameters, {} multiply-adds a picture",
            net.name,
            input.channels,
            input.height,
            input.width,
            net.classes,
            grouped(summary.parameters as u64),
            scaled(summary.multiply_adds as u64),
        ));
        for (i, note) in job.start.iter().enumerate() {
            output::note(&format!("{:10}{note}", if i == 0 { "weights" } else { "" }));
        }
        introduce_frozen(recipe, &graph);
    }
    output::note(&format!(
        "pictures  {}: {} to learn from, {} to test on",
        data::name(job.settings.data.as_deref()),
        grouped(job.data.train.len() as u64),
        grouped(job.data.test.len() as u64),
    ));
    output::note(&format!(
        "training  {} of batches of {}, learning rate {}, seed {}",
        count(recipe.epochs as u64, "epoch"),
        recipe.batch,
        recipe.schedule.largest(recipe.step_pictures()),
        recipe.seed,
    ));
    output::note(&format!("          {}", method::optimizer(recipe)));
    if let (Some(teacher), Some(distillation)) = (&job.settings.teacher, recipe.distillation) {
        output::note(&format!(
            "teacher   {}, temperature {}, its share of the loss {}",
            teacher.path.display(),
            distillation.temperature,
            distillation.weight
        ));
    }
    output::note(&format!("machine   {}, {}", count(cpu.threads() as u64, "thread"), cpu.isa()));
    output::note(&format!("folder    {}", job.folder.display()));
    match history.len() {
        0 if epoch.is_none() => output::note(""),
        _ if job.trainer.run().is_over() => {
            output::note("all epochs are done; model and report are written again\n");
        }
        _ => output::note(&format!("goes on after {}\n", position(job.trainer.run()))),
    }
}

/// How far a run is: `2 epochs`, `2 epochs and 30 steps`.
fn position(run: &Run) -> String {
    let epochs = count(run.history.len() as u64, "epoch");
    match &run.epoch {
        Some(tally) => format!("{epochs} and {}", count(tally.steps as u64, "step")),
        None => epochs,
    }
}

/// How much of the network is trained, where it is not all.
fn introduce_frozen(recipe: &Recipe, graph: &Graph) {
    let Some(fine_tuning) = &recipe.fine_tuning else { return };
    let Ok(modes) = fine_tuning.modes(graph) else { return };
    let parameters = graph.parameters();
    let size = |p: &Parameter| p.shape.iter().product::<usize>() as u64;
    let all: u64 = parameters.iter().filter(|p| p.role.is_trained()).map(size).sum();
    let trained = parameters.iter().filter(|p| p.role.is_trained() && modes[p.layer].trained);
    let trained: u64 = trained.map(size).sum();
    if trained < all {
        output::note(&format!(
            "frozen    all but {} of {} parameters",
            grouped(trained),
            grouped(all)
        ));
    }
}

/// A flag that Ctrl-C sets; the second Ctrl-C ends the program at once.
pub fn stop_on_interrupt(tell: impl Fn(&str) + Send + 'static) -> Result<&'static AtomicBool> {
    static STOP: AtomicBool = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
        tell("\nending after this step; Ctrl-C again ends at once");
    })
    .context("cannot watch for Ctrl-C")?;
    Ok(&STOP)
}

/// Why a run has fewer epochs than asked for.
fn stopped_early(run: &Run) {
    if run.history.len() < run.recipe.epochs {
        output::note(&format!(
            "\nstopped early: no better since epoch {}, whose model {MODEL_FILE} is",
            run.model_epoch()
        ));
    }
}

/// How to go on after Ctrl-C.
fn stopped(run: &Run, folder: &Path) {
    output::note(&format!(
        "\nstopped after {} of {}; all of it is in the checkpoint. To go on:\n  {} train --resume {}",
        position(run),
        grouped(run.recipe.epochs as u64),
        invocation(),
        quoted(folder),
    ));
}

/// Adds to an error in writing that the run can go on, and how.
fn with_remedy(error: inception_train::TrainError, folder: &Path) -> Error {
    use inception_train::{CHECKPOINT_FILE, TrainError};
    let checkpoint = folder.join(CHECKPOINT_FILE);
    match error {
        TrainError::Model(source @ inception_model::ModelError::Write { .. }) => {
            let error = Error::new(source);
            if !checkpoint.exists() {
                return error.context("the run could not begin; make room or choose another --out");
            }
            error.context(format!(
                "the run ended early; make room and go on with `{} train --resume {}`",
                invocation(),
                quoted(folder)
            ))
        }
        other => other.into(),
    }
}

/// Shows and logs what the trainer reports.
struct Watch<'a> {
    live: Live,
    log: Log,
    /// None after a failure: a figure less is no reason to end a run.
    events: Option<Events>,
    skipped: Vec<String>,
    failure: Option<Error>,
    stop: &'a AtomicBool,
}

impl<'a> Watch<'a> {
    fn new(job: &Job, live: Live, stop: &'a AtomicBool) -> Result<Self> {
        let run = job.trainer.run();
        let log = Log::start(&job.folder, &run.history)?;
        let events = Some(Events::start(&job.folder, run.steps)?);
        let skipped = job.data.skipped.iter().map(|s| s.error.to_string()).collect();
        Ok(Self { live, log, events, skipped, failure: None, stop })
    }

    fn write_events(&mut self, write: impl FnOnce(&mut Events) -> Result<()>) {
        if let Some(Err(error)) = self.events.as_mut().map(write) {
            self.live.line(&format!("{error:#}; the run goes on without it"));
            self.events = None;
        }
    }

    /// Names the pictures that were left out.
    fn tell_skipped(&self) {
        const NAMED: usize = 10;
        if self.skipped.is_empty() {
            return;
        }
        let pictures = count(self.skipped.len() as u64, "picture");
        output::note(&format!("\n{pictures} could not be read and were skipped:"));
        for picture in self.skipped.iter().take(NAMED) {
            output::note(&format!("  {picture}"));
        }
        if self.skipped.len() > NAMED {
            output::note(&format!("  and {} more", self.skipped.len() - NAMED));
        }
    }
}

impl Observer for Watch<'_> {
    fn step(&mut self, report: &StepReport) {
        self.live.step(report);
        self.write_events(|events| events.step(report));
    }

    fn evaluating(&mut self, done: usize, of: usize) {
        self.live.evaluating(done, of);
    }

    fn weights(&mut self, weights: &Weights, gradients: &[Vec<f32>]) {
        self.write_events(|events| events.weights(weights, gradients));
    }

    fn caching(&mut self, done: usize, of: usize) {
        self.live.caching(done, of);
    }

    fn mode_gap(&mut self, gap: &ModeGap) {
        self.live.line(&format!("warning: {gap}"));
    }

    fn epoch(&mut self, report: &EpochReport) {
        self.live.epoch(report);
        self.write_events(|events| events.epoch(report));
        // The trainer knows no log; what went wrong with it is told when it has stopped.
        if let Err(error) = self.log.add(report) {
            self.failure = Some(error);
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn skipped(&mut self, picture: &PictureError) {
        self.skipped.push(picture.to_string());
    }
}
