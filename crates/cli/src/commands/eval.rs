//! `inception eval`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, bail};
use inception_engine::Cpu;
use inception_image::Sample;
use inception_image::dataset::OpenOptions;
use inception_metrics::Evaluation;
use serde_json::{Value, json};

use crate::blacklist::Blacklist;
use crate::data::{self, Part};
use crate::engine::EngineOptions;
use crate::judge::{Judge, JudgingOptions};
use crate::options::{self, MachineOptions, PreprocessingOptions};
use crate::output;
use crate::progress::Progress;
use crate::text::{Align, Table, count, grouped, percent};

/// Judges a model by labelled pictures: accuracy, loss, each class, confusion
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A model file, as `inception train` writes it
    model: PathBuf,
    /// A folder with a folder of pictures for each class, or with train/ and val/ of such
    /// folders, or with MNIST's IDX files [default: the built-in Fashion-MNIST test pictures]
    data: Option<PathBuf>,
    /// Writes JSON
    #[arg(long)]
    json: bool,
    /// Judges by one part of the data, split as training splits it [default: the test part if
    /// the folder has one, else all pictures]
    #[arg(long, value_enum, value_name = "PART", help_heading = "Pictures")]
    split: Option<Part>,
    /// The --test-fraction of the training, for --split of a folder without parts
    /// [default: 0.2]
    #[arg(long, value_name = "SHARE", requires = "split", allow_negative_numbers = true,
        value_parser = options::test_fraction, help_heading = "Pictures")]
    test_fraction: Option<f64>,
    /// The --seed of the training, likewise [default: 0]
    #[arg(
        long,
        value_name = "N",
        requires = "split",
        allow_negative_numbers = true,
        help_heading = "Pictures"
    )]
    seed: Option<u32>,
    /// Leaves out the pictures that this file lists, one a line: file names, or numbers of
    /// ImageNet's validation pictures
    #[arg(long, value_name = "FILE", help_heading = "Pictures")]
    blacklist: Option<PathBuf>,
    /// Stops at a picture that cannot be read instead of leaving it out
    #[arg(long, help_heading = "Pictures")]
    strict: bool,
    #[command(flatten)]
    judging: JudgingOptions,
    #[command(flatten)]
    preprocessing: PreprocessingOptions,
    #[command(flatten)]
    engine: EngineOptions,
    #[command(flatten)]
    machine: MachineOptions,
}

const EXAMPLES: &str = "\
Examples:
  inception eval runs/inception-v3-small-1/model.safetensors
      by the built-in test pictures
  inception eval model.safetensors photos/
      by photos/val, or by all of photos/ if it is not divided
  inception eval model.safetensors photos/ --split test
      by the fifth of photos/ that training kept aside
  inception eval model.safetensors photos/ --json > scores.json
  inception eval v3.safetensors val/ --crops 144 --blacklist validation_blacklist.txt
      as the papers' best figures were measured
  inception eval a.safetensors photos/ --ensemble b.safetensors
      by both models' averaged probabilities

Folders are matched to the model's classes by name, or by the WordNet number that a class's
name begins with. JSON has pictures, top1, top5, loss, skipped, excluded, classes (label, pictures, recall, precision) and confusion (rows are true classes).";

/// Evaluates and prints.
pub fn run(args: &Args) -> Result<ExitCode> {
    let cpu = Arc::new(Cpu::new(args.machine.threads())?);
    let mut judge =
        Judge::load(&args.model, &args.judging, &args.preprocessing, &args.engine, &cpu)?;
    let usual = OpenOptions::default();
    let options = OpenOptions {
        test_share: args.test_fraction.unwrap_or(usual.test_share),
        seed: args.seed.map_or(usual.seed, u64::from),
        strict: args.strict,
    };
    let mut set = data::open_to_judge(args.data.as_deref(), args.split, &judge.labels, &options)?;
    if args.strict {
        set.check(true, cpu.threads())?;
    }
    let excluded = exclude(args.blacklist.as_deref(), &mut set.test)?;
    let mut skipped: Vec<String> = set.skipped.iter().map(|s| s.error.to_string()).collect();
    let of = set.test.len();
    let mut progress = Progress::new();
    let mut done = 0;
    let evaluation = judge.ensemble.evaluate(&set.test, cpu.threads(), |_, answer| {
        done += 1;
        progress.evaluating(done, of);
        if let Err(error) = answer {
            skipped.push(error.to_string());
        }
    })?;
    progress.end();
    tell_skipped(&skipped);
    match args.json {
        true => output::print_json(&as_json(&evaluation, &judge.labels, skipped.len(), excluded))?,
        false => output::print(&as_text(&evaluation, &judge.labels))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes the pictures of a blacklist out; how many they were.
fn exclude(blacklist: Option<&Path>, samples: &mut Vec<Sample>) -> Result<usize> {
    let Some(path) = blacklist else { return Ok(0) };
    let excluded = Blacklist::read(path)?.exclude(samples);
    let pictures = count(excluded as u64, "picture");
    output::note(&format!("{pictures} left out by {}", output::quoted(path)));
    if samples.is_empty() {
        bail!("{} leaves no pictures to judge by", path.display());
    }
    Ok(excluded)
}

fn tell_skipped(skipped: &[String]) {
    if !skipped.is_empty() {
        let pictures = count(skipped.len() as u64, "picture");
        output::note(&format!("{pictures} could not be read and were left out:"));
        skipped.iter().for_each(|picture| output::note(&format!("  {picture}")));
    }
}

fn as_json(evaluation: &Evaluation, labels: &[String], skipped: usize, excluded: usize) -> Value {
    let scores = evaluation.per_class();
    let classes: Vec<Value> = labels
        .iter()
        .zip(&scores)
        .map(|(label, score)| {
            json!({
                "label": label,
                "pictures": score.pictures,
                "recall": score.recall(),
                "precision": score.precision(),
            })
        })
        .collect();
    json!({
        "pictures": evaluation.pictures(),
        "top1": evaluation.top1(),
        "top5": evaluation.top5(),
        "loss": evaluation.loss(),
        "skipped": skipped,
        "excluded": excluded,
        "classes": classes,
        "confusion": evaluation.confusion(),
    })
}

fn as_text(evaluation: &Evaluation, labels: &[String]) -> String {
    let mut totals = Table::new(&[("", Align::Left), ("", Align::Right)]);
    totals.row(vec!["pictures".into(), grouped(evaluation.pictures())]);
    totals.row(vec!["top-1 accuracy".into(), percent(evaluation.top1())]);
    if let Some(top5) = evaluation.top5() {
        totals.row(vec!["top-5 accuracy".into(), percent(top5)]);
    }
    totals.row(vec!["loss".into(), format!("{:.4}", evaluation.loss())]);
    format!("{}\n{}\n{}", totals.text(), classes(evaluation, labels), confusion(evaluation, labels))
}

fn classes(evaluation: &Evaluation, labels: &[String]) -> String {
    let mut table = Table::new(&[
        ("class", Align::Left),
        ("pictures", Align::Right),
        ("recall", Align::Right),
        ("precision", Align::Right),
    ]);
    let share = |share: Option<f64>| share.map_or("–".to_owned(), percent);
    for (label, score) in labels.iter().zip(evaluation.per_class()) {
        table.row(vec![
            label.clone(),
            grouped(score.pictures),
            share(score.recall()),
            share(score.precision()),
        ]);
    }
    table.text()
}

/// The matrix if the terminal is wide enough for it, else the pairs most often confused.
fn confusion(evaluation: &Evaluation, labels: &[String]) -> String {
    let most = evaluation.confusion().iter().flatten().max().copied().unwrap_or(0);
    let cell = most.to_string().len().max(labels.len().to_string().len()) + 2;
    let name = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    if name + 4 + labels.len() * cell <= output::columns() {
        return matrix(evaluation, labels);
    }
    let mut table = Table::new(&[
        ("confused: true", Align::Left),
        ("taken for", Align::Left),
        ("pictures", Align::Right),
    ]);
    for (pictures, truth, prediction) in crate::report::confused(evaluation).into_iter().take(20) {
        table.row(vec![labels[truth].clone(), labels[prediction].clone(), grouped(pictures)]);
    }
    table.text()
}

/// Columns are numbered like the rows, as names would not fit above them.
fn matrix(evaluation: &Evaluation, labels: &[String]) -> String {
    let numbers: Vec<String> = (0..labels.len()).map(|i| i.to_string()).collect();
    let mut columns = vec![("", Align::Right), ("true, down; predicted, across", Align::Left)];
    columns[1].0 = "true ↓  taken for →";
    columns.extend(numbers.iter().map(|number| (number.as_str(), Align::Right)));
    let mut table = Table::new(&columns);
    for (truth, row) in evaluation.confusion().iter().enumerate() {
        let mut cells = vec![truth.to_string(), labels[truth].clone()];
        let cell = |&n: &u64| if n == 0 { "·".to_owned() } else { n.to_string() };
        cells.extend(row.iter().map(cell));
        table.row(cells);
    }
    table.text()
}
