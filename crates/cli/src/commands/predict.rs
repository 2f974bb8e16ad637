//! `inception predict`.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use inception_engine::Cpu;
use inception_image::dataset::{Sample, Source};
use inception_image::{MAX_FILE, decode, pictures};
use inception_metrics::{softmax, top_k};
use serde::Serialize;

use crate::engine::EngineOptions;
use crate::fail::usage;
use crate::judge::{Judge, JudgingOptions};
use crate::options::{MachineOptions, PreprocessingOptions};
use crate::output;
use crate::text::{Align, Table, count, percent};

/// Says what pictures show
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A model file, as `inception train` writes it
    model: PathBuf,
    /// Pictures, folders of pictures, or - for a picture from standard input
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// How many classes to tell of each picture, the most probable first [default: 5;
    /// 3 in the table of several pictures]
    #[arg(short = 'k', long, value_name = "K", allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..))]
    top: Option<u32>,
    /// Writes JSON: a list of objects with `file` and `predictions` (`label`, `index`,
    /// `probability`)
    #[arg(long)]
    json: bool,
    /// Adds the logits of all classes, before softmax; of several views or models the logarithms
    /// of their mean probabilities
    #[arg(long)]
    logits: bool,
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
  inception predict model.safetensors cat.jpg
  inception predict model.safetensors holiday/ --top 1
  curl -s https://example.org/cat.png | inception predict model.safetensors -
  inception predict model.safetensors *.jpg --json | jq -r '.[] | [.file, .predictions[0].label] | @tsv'

JPEG, PNG, WebP, BMP, GIF and TIFF are read. A picture that cannot be read is named; the
others are answered, and the exit code is 1.";

/// Classes told of a single picture, and of each of several, unless asked for.
const TOP: usize = 5;
const TOP_OF_SEVERAL: usize = 3;

/// What the model says of a picture.
#[derive(Serialize)]
struct Prediction {
    file: String,
    predictions: Vec<Guess>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logits: Option<Vec<f32>>,
}

#[derive(Serialize)]
struct Guess {
    label: String,
    index: usize,
    probability: f64,
}

/// Predicts and prints.
pub fn run(args: &Args) -> Result<ExitCode> {
    let cpu = Arc::new(Cpu::new(args.machine.threads())?);
    let mut judge =
        Judge::load(&args.model, &args.judging, &args.preprocessing, &args.engine, &cpu)?;
    let mut broken = 0;
    let mut tell_broken = |error: &dyn std::fmt::Display| {
        output::note(&format!("error: {error}"));
        broken += 1;
    };
    let samples = samples(&args.images, &mut tell_broken)?;
    let names: Vec<String> = samples.iter().map(name).collect();
    let mut predictions = Vec::new();
    let usual = if args.json || names.len() == 1 { TOP } else { TOP_OF_SEVERAL };
    let top = args.top.map_or(usual, |top| top as usize);
    judge.ensemble.answer(&samples, cpu.threads(), |place, answer| match answer {
        Ok(logits) => {
            let mut prediction = predict(&names[place], logits, &judge.labels, top);
            prediction.logits = args.logits.then(|| logits.to_vec());
            predictions.push(prediction);
        }
        Err(error) => tell_broken(error),
    })?;
    match (args.json, predictions.as_slice()) {
        (true, all) => output::print_json(&all)?,
        (false, []) => {}
        (false, [one]) => output::print(&one.details())?,
        (false, several) => output::print(&overview(several))?,
    }
    if broken > 0 {
        let pictures = count(broken, "picture");
        output::note(&format!(
            "error: {pictures} could not be read; {} answered",
            predictions.len()
        ));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// The pictures meant: files as they are, those in folders, that on standard input.
fn samples(
    images: &[PathBuf],
    tell_broken: &mut dyn FnMut(&dyn std::fmt::Display),
) -> Result<Vec<Sample>> {
    let sample = |source| Sample { source, label: 0 };
    let mut samples = Vec::new();
    let mut input_used = false;
    for image in images {
        if image == Path::new("-") {
            if std::mem::replace(&mut input_used, true) {
                return Err(usage("- (standard input) can be given only once"));
            }
            match standard_input()? {
                Ok(source) => samples.push(sample(source)),
                Err(error) => tell_broken(&error),
            }
        } else if image.is_dir() {
            let found = pictures(image)?;
            if found.is_empty() {
                tell_broken(&format!("{}: no pictures in this folder", image.display()));
            }
            samples.extend(found.into_iter().map(|path| sample(Source::File(path))));
        } else {
            samples.push(sample(Source::File(image.clone())));
        }
    }
    Ok(samples)
}

const STANDARD_INPUT: &str = "standard input";

fn standard_input() -> Result<Result<Source, inception_image::PictureError>> {
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(MAX_FILE)
        .read_to_end(&mut bytes)
        .context("cannot read standard input")?;
    Ok(decode(&bytes, STANDARD_INPUT)
        .map(|picture| Source::Memory { picture: Arc::new(picture), number: 0 }))
}

/// What the picture is called in the output.
fn name(sample: &Sample) -> String {
    match &sample.source {
        Source::File(path) => path.display().to_string(),
        Source::Memory { .. } => "-".to_owned(),
    }
}

fn predict(name: &str, logits: &[f32], labels: &[String], top: usize) -> Prediction {
    let probabilities = softmax(logits);
    let guess = |index: usize| Guess {
        label: labels[index].clone(),
        index,
        probability: probabilities[index],
    };
    let predictions = top_k(logits, top).into_iter().map(guess).collect();
    Prediction { file: name.to_owned(), predictions, logits: None }
}

impl Prediction {
    /// A bar for each class.
    fn details(&self) -> String {
        const BAR: usize = 30;
        let bar = |share: f64| "━".repeat((share * BAR as f64).round() as usize);
        let mut table = Table::new(&[("", Align::Left), ("", Align::Right), ("", Align::Left)]);
        for guess in &self.predictions {
            let probability = percent(guess.probability);
            table.row(vec![guess.label.clone(), probability, bar(guess.probability)]);
        }
        format!("{}\n{}{}", self.file, table.text(), self.logits_line())
    }

    fn logits_line(&self) -> String {
        let Some(logits) = &self.logits else { return String::new() };
        let logits: Vec<String> = logits.iter().map(f32::to_string).collect();
        format!("logits  {}\n", logits.join(" "))
    }
}

/// A line for each picture.
fn overview(predictions: &[Prediction]) -> String {
    let mut table = Table::new(&[
        ("picture", Align::Left),
        ("shows", Align::Left),
        ("", Align::Right),
        ("or", Align::Left),
    ]);
    for prediction in predictions {
        let [best, others @ ..] = prediction.predictions.as_slice() else { continue };
        let others: Vec<String> =
            others.iter().map(|g| format!("{} {}", g.label, percent(g.probability))).collect();
        table.row(vec![
            prediction.file.clone(),
            best.label.clone(),
            percent(best.probability),
            others.join(", "),
        ]);
    }
    let logits: String = predictions
        .iter()
        .filter(|prediction| prediction.logits.is_some())
        .map(|prediction| format!("{}  {}", prediction.file, prediction.logits_line()))
        .collect();
    table.text() + &logits
}
