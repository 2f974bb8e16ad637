//! `inception ablate`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, bail};
use inception_engine::Cpu;
use inception_image::Dataset;
use inception_image::dataset::OpenOptions;
use inception_model::Model;
use inception_net::zoo::{self, Options};
use inception_train::{
    CHECKPOINT_FILE, Checkpoint, EpochReport, MODEL_FILE, Observer, Preset, Recipe, RunOptions,
    StepReport, Trainer, untrained,
};
use serde_json::json;

use super::train::stop_on_interrupt;
use crate::ablation::arms::{self, Arm, DISTILLATION, NAMES, PAPER};
use crate::ablation::outcome::{self, Outcome, Runs};
use crate::ablation::picture;
use crate::ablation::plan::Plan;
use crate::data;
use crate::fail::usage;
use crate::job::RecipeOptions;
use crate::options::MachineOptions;
use crate::output::{self, invocation, quoted};
use crate::progress::Progress;
use crate::run_folder::{self, Log, Settings, TeacherFile};
use crate::teacher;
use crate::text::{count, duration, percent};

/// Tries the v3 paper's claims on your pictures: its ladder from v2 to v3, and one change at a time
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A folder with a folder of pictures for each class, or what else `inception train` takes
    /// [default: the built-in Fashion-MNIST pictures]
    data: Option<PathBuf>,
    /// How often each arm is trained, with seeds 0, 1, …
    #[arg(long, value_name = "N", default_value = "3", allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..=100))]
    seeds: u32,
    /// Which arms, and those they are compared with or learn from [default: the paper's]
    #[arg(long, value_name = "NAMES", value_delimiter = ',',
        value_parser = clap::builder::PossibleValuesParser::new(NAMES.iter().chain([&DISTILLATION])))]
    arms: Vec<String>,
    /// How often every training picture is seen in a run [default: the recipe's, or 3]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true)]
    epochs: Option<usize>,
    /// The recipe of the reference, by name or a TOML file; the ladder's are made of it
    #[arg(long, value_name = "NAME|FILE")]
    recipe: Option<String>,
    /// Factor of the widths of inception-v3-small
    #[arg(long, value_name = "FACTOR", default_value = "1", allow_negative_numbers = true)]
    width: f64,
    /// Side of the pictures that the networks see [default: the pictures' own, at most 64]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u16).range(1..))]
    size: Option<u16>,
    /// Folder for the runs and the results; one with the same ablation in it goes on
    #[arg(short, long, value_name = "DIR", default_value = "runs/ablation")]
    out: PathBuf,
    /// Goes on with the ablation in this folder, with its own settings
    #[arg(long, value_name = "DIR", conflicts_with_all = ["data", "seeds", "arms", "epochs",
        "recipe", "width", "size", "out"])]
    resume: Option<PathBuf>,
    /// Writes the results as JSON instead of the table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: MachineOptions,
}

const EXAMPLES: &str = "\
Examples:
  inception ablate
      12 arms, three seeds each, 3 epochs of the built-in pictures: some 15 minutes on two cores.
  inception ablate photos/ --arms linear,5x5 --seeds 5 --epochs 20
      Two questions and the reference, on your pictures.
  inception ablate --arms distillation --out runs/distillation
      Does a teacher trained with label smoothing teach worse?
  inception ablate --resume runs/ablation
      Goes on where Ctrl-C or a power cut ended it; runs that are done are not repeated.

Arms, each adding to the one before: v2, rmsprop, smoothing, factorised, v3. Arms that differ
from `reference` in one thing: linear, 5x5, nxn, pool-before, pool-after, no-auxiliary. All are
inception-v3-small with one thing changed; each run is a folder as `inception train` makes it.
Asked for by `distillation`: teacher, smoothed (a teacher with label smoothing), student (half as
wide, alone), taught (by teacher), taught-2 (by smoothed, which Müller et al. 2019 find worse).

`spread` is the standard deviation over the seeds, `difference` that of the means with its 95 %
interval, in per cent of the test pictures. Of ten such intervals one may well miss.";

/// The longest side where none is asked for: networks for small pictures.
const MOST_PIXELS: usize = 64;
/// Epochs where neither option nor recipe says: so that all arms with three seeds take 15 minutes.
const EPOCHS: usize = 3;
/// Time between two checkpoints within an epoch.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(300);

const JSON_FILE: &str = "ablation.json";
const PICTURE_FILE: &str = "ablation.svg";

/// Trains what is left to train and shows what came of it.
pub fn run(args: &Args) -> Result<ExitCode> {
    let cpu = Arc::new(Cpu::new(args.machine.threads())?);
    let folder = args.resume.as_ref().unwrap_or(&args.out);
    let plan = match &args.resume {
        Some(folder) => Plan::load(folder)?,
        None => plan(args)?,
    };
    let data = data::open(plan.data.as_deref(), &OpenOptions::default())?;
    if data.test.is_empty() {
        bail!("{}: no test pictures to compare arms by", data::name(plan.data.as_deref()));
    }
    let arms = arms(&plan, &data)?;
    plan.settle(folder)?;
    let stop = stop_on_interrupt(output::note)?;
    let mut driver = Driver::new(&plan, &arms, &data, folder, &cpu, stop);
    let runs = driver.all();
    driver.progress.end();
    let Some(runs) = runs? else {
        output::note(&format!(
            "\nstopped. To go on:\n  {} ablate --resume {}",
            invocation(),
            quoted(folder)
        ));
        return Ok(ExitCode::FAILURE);
    };
    show(args, &plan, folder, &outcome::outcomes(&arms, &runs))?;
    Ok(ExitCode::SUCCESS)
}

/// What the command line asks for.
fn plan(args: &Args) -> Result<Plan> {
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let data = args.data.as_ref().map(absolute);
    let options = RecipeOptions {
        epochs: args.epochs.or(args.recipe.is_none().then_some(EPOCHS)),
        recipe: args.recipe.clone(),
        ..RecipeOptions::default()
    };
    // Few epochs of small pictures, as in the embedded job.
    let usual = Preset::named("embedded").expect("a recipe that comes with the program");
    let recipe = options.recipe(options.named()?, usual)?;
    let size = match args.size {
        Some(size) => size.into(),
        None => {
            let data = data::open(data.as_deref(), &OpenOptions::default())?;
            let look = data::look(&data.train);
            look.context("none of the pictures looked at can be read")?.side.min(MOST_PIXELS)
        }
    };
    let asked = |(place, name): &(usize, &str)| match args.arms.is_empty() {
        true => *place < PAPER,
        false => args
            .arms
            .iter()
            .any(|asked| asked == name || (asked == DISTILLATION && *place >= PAPER)),
    };
    let arms = NAMES.into_iter().enumerate().filter(asked).map(|(_, name)| name.to_owned());
    let arms = arms.collect();
    let recipe = Recipe { seed: 0, ..recipe };
    Ok(Plan { data, size, width: args.width, seeds: args.seeds, arms, recipe })
}

/// The plan's arms and those they are compared with.
fn arms(plan: &Plan, data: &Dataset) -> Result<Vec<Arm>> {
    let look = data::look(&data.train).context("none of the pictures looked at can be read")?;
    let options = Options {
        classes: Some(data.classes.len()),
        size: Some((plan.size, plan.size)),
        channels: Some(if look.grey { 1 } else { 3 }),
        width: plan.width,
        dialect: None,
    };
    let small = Options { width: plan.width / 2.0, ..options.clone() };
    let net = |options| {
        zoo::build("inception-v3-small", options).map_err(|error| usage(error.to_string()))
    };
    let all = arms::all(&net(&options)?, &net(&small)?, &plan.recipe);
    let asked = |name: &str| plan.arms.iter().any(|asked| asked == name);
    let compared = |name: &str| {
        all.iter().filter(|arm| asked(arm.name)).any(|arm| {
            arm.against.is_some_and(|(from, _)| from == name) || arm.teacher == Some(name)
        })
    };
    let wanted: Vec<Arm> =
        all.iter().filter(|arm| asked(arm.name) || compared(arm.name)).cloned().collect();
    for arm in &wanted {
        arm.net.graph().with_context(|| format!("the arm {} at this size", arm.name))?;
    }
    Ok(wanted)
}

/// Goes through all runs.
struct Driver<'a> {
    plan: &'a Plan,
    arms: &'a [Arm],
    data: &'a Dataset,
    folder: &'a Path,
    cpu: &'a Arc<Cpu>,
    stop: &'static AtomicBool,
    progress: Progress,
    clock: Clock,
}

/// How much is done, in multiply–adds of training.
struct Clock {
    start: Instant,
    /// Done before this session.
    before: f64,
    done: f64,
    all: f64,
}

impl Clock {
    /// Time to the end at this session's pace, `more` being what the run at hand has done.
    fn left(&self, more: f64) -> Option<String> {
        let done = self.done + more - self.before;
        let seconds = self.start.elapsed().as_secs_f64() / done * (self.all - self.done - more);
        (done > 0.0).then(|| format!("{} left", duration(seconds)))
    }
}

impl<'a> Driver<'a> {
    fn new(
        plan: &'a Plan,
        arms: &'a [Arm],
        data: &'a Dataset,
        folder: &'a Path,
        cpu: &'a Arc<Cpu>,
        stop: &'static AtomicBool,
    ) -> Self {
        let all = arms.iter().map(work).sum::<f64>() * f64::from(plan.seeds);
        let clock = Clock { start: Instant::now(), before: 0.0, done: 0.0, all };
        let progress = Progress::new();
        Self { plan, arms, data, folder, cpu, stop, progress, clock }
    }

    /// The figures of all runs, arm by arm; `None` if it was stopped. Seed by seed, so that an
    /// early look at the folder shows all arms.
    fn all(&mut self) -> Result<Option<Vec<Runs>>> {
        let (arms, seeds) = (self.arms, self.plan.seeds);
        output::note(&format!(
            "{} of {}, {} each, on {}\n",
            count(u64::from(seeds) * arms.len() as u64, "run"),
            count(arms.len() as u64, "arm"),
            count(self.plan.recipe.epochs as u64, "epoch"),
            data::name(self.plan.data.as_deref()),
        ));
        let mut runs = vec![Runs::default(); arms.len()];
        for seed in 0..seeds {
            for (arm, runs) in arms.iter().zip(&mut runs) {
                let Some(report) = self.one(arm, seed)? else { return Ok(None) };
                let (Some(top1), Some(loss)) = (report.test_top1, report.test_loss) else {
                    bail!("none of the test pictures can be read");
                };
                runs.top1.push(top1);
                runs.loss.push(loss);
            }
        }
        Ok(Some(runs))
    }

    /// The last epoch of one run, trained as far as it is not; `None` if it was stopped.
    fn one(&mut self, arm: &Arm, seed: u32) -> Result<Option<EpochReport>> {
        let folder = self.run_folder(arm.name, seed);
        let name = format!("{} seed {seed}", arm.name);
        let recipe = Recipe { seed, ..arm.recipe.clone() };
        let trainer = match folder.join(CHECKPOINT_FILE).exists() {
            true => {
                let checkpoint = Checkpoint::load(&folder.join(CHECKPOINT_FILE))?;
                let run = &checkpoint.run;
                if run.net != arm.net || run.recipe != recipe {
                    return Err(usage(format!(
                        "the run in {} is not this ablation's; choose another --out",
                        folder.display()
                    )));
                }
                if let Some(report) = last(&run.history, &recipe, &folder) {
                    self.clock.before += work(arm);
                    self.clock.done += work(arm);
                    return Ok(Some(report));
                }
                Trainer::resume(checkpoint, Arc::clone(self.cpu))?
            }
            false => self.begin(arm, &recipe, &folder)?,
        };
        let trainer = teacher::bring(trainer, self.teacher(arm, seed)?.as_ref())?;
        let log = Log::start(&folder, &trainer.run().history)?;
        let options = RunOptions {
            folder: &folder,
            workers: self.cpu.threads(),
            checkpoint_every: CHECKPOINT_EVERY,
            stop: self.stop,
        };
        let (clock, progress) = (&self.clock, &mut self.progress);
        let mut watch = Watch { progress, clock, log, name: &name, work: work(arm), failure: None };
        let ended = trainer.train(self.data, options, &mut watch);
        if let Some(error) = watch.failure {
            return Err(error);
        }
        let ended = ended.with_context(|| format!("arm {name}"))?;
        if !ended.finished {
            return Ok(None);
        }
        self.clock.done += work(arm);
        let report = ended.run.history.last().cloned();
        let top1 = report.as_ref().and_then(|report| report.test_top1).map(percent);
        let left = self.clock.left(0.0).unwrap_or_default();
        self.progress.line(&format!("{name:<20}  {:>8}  {left}", top1.unwrap_or_default()));
        Ok(report)
    }

    fn run_folder(&self, arm: &str, seed: u32) -> PathBuf {
        self.folder.join(arm).join(format!("seed-{seed}"))
    }

    /// The model that an arm learns from, which was trained before it.
    fn teacher(&self, arm: &Arm, seed: u32) -> Result<Option<TeacherFile>> {
        let model = |arm| TeacherFile::of(&self.run_folder(arm, seed).join(MODEL_FILE));
        arm.teacher.map(model).transpose()
    }

    /// A run from nothing, in a folder as `inception train` makes it.
    fn begin(&self, arm: &Arm, recipe: &Recipe, folder: &Path) -> Result<Trainer> {
        let model: Model = untrained(arm.net.clone(), self.data.classes.clone(), recipe.seed)?;
        let trainer = Trainer::new(model, recipe.clone(), Arc::clone(self.cpu))?;
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create the run's folder {}", folder.display()))?;
        let OpenOptions { test_share: test_fraction, seed, strict } = OpenOptions::default();
        let (data, teacher) = (self.plan.data.clone(), self.teacher(arm, recipe.seed)?);
        let pictures = Some(data::fingerprint(self.data, data.as_deref()));
        Settings { data, test_fraction, seed, strict, pictures, teacher }.save(folder)?;
        run_folder::write(folder, run_folder::RECIPE_FILE, &recipe.to_toml())?;
        run_folder::write(folder, "network.toml", &arm.net.to_toml())?;
        Ok(trainer)
    }
}

/// The last epoch's report of a run that is done.
fn last(history: &[EpochReport], recipe: &Recipe, folder: &Path) -> Option<EpochReport> {
    let done = history.len() >= recipe.epochs && folder.join(MODEL_FILE).exists();
    history.last().filter(|_| done).cloned()
}

/// What a run of an arm costs, in multiply–adds a picture.
fn work(arm: &Arm) -> f64 {
    let graph = arm.net.graph();
    graph.map_or(0.0, |graph| graph.summary().multiply_adds as f64 * arm.recipe.epochs as f64)
}

/// Shows and logs one run.
struct Watch<'a> {
    progress: &'a mut Progress,
    clock: &'a Clock,
    log: Log,
    name: &'a str,
    work: f64,
    failure: Option<Error>,
}

impl Observer for Watch<'_> {
    fn step(&mut self, report: &StepReport) {
        let (epochs, steps) = (report.epochs, report.steps);
        let done = (report.epoch - 1) * steps + report.step;
        let more = self.work * done as f64 / (epochs * steps) as f64;
        let left = self.clock.left(more).unwrap_or_default();
        self.progress.doing(self.name, &format!("steps  {left}"), done, epochs * steps);
    }

    fn epoch(&mut self, report: &EpochReport) {
        if let Err(error) = self.log.add(report) {
            self.failure.get_or_insert(error);
        }
    }
}

/// The results: files, and a table or JSON.
fn show(args: &Args, plan: &Plan, folder: &Path, outcomes: &[Outcome]) -> Result<()> {
    let title = data::title(plan.data.as_deref());
    let runs = format!(
        "{}, {} each, width {}, {}×{}; bar: standard deviation",
        count(plan.seeds.into(), "seed"),
        count(plan.recipe.epochs as u64, "epoch"),
        plan.width,
        plan.size,
        plan.size
    );
    let svg = picture::svg(&format!("The paper's claims on {title}"), &runs, outcomes);
    let value = json!({ "data": title, "plan": plan, "arms": outcomes });
    run_folder::write(folder, JSON_FILE, &(serde_json::to_string_pretty(&value)? + "\n"))?;
    run_folder::write(folder, PICTURE_FILE, &svg)?;
    if args.json {
        return output::print_json(&value);
    }
    output::print(&format!(
        "\n{}\nwritten to {}\n  {PICTURE_FILE}   a picture of it\n  {JSON_FILE}  all figures\n",
        outcome::table(outcomes),
        folder.display()
    ))
}
