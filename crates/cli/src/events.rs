//! TensorBoard's event file: the run's figures and the distributions of its weights, for
//! `tensorboard --logdir`.
//!
//! Records are framed as in TensorFlow's `lib/io/record_writer.cc`, each an `Event` of
//! `core/util/event.proto`. Of the crates that write them, one needs protoc, one stands still since
//! 2022 on old dependencies, one has no histograms; over `prost` and `crc32c` it is this page.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use inception_model::Weights;
use inception_net::graph::Role;
use inception_train::{EpochReport, StepReport};
use prost::Message;
use serde::Serialize;

/// The file in the run's folder; TensorBoard looks for `tfevents` in names.
pub const EVENTS_FILE: &str = "events.out.tfevents";

/// Steps of an epoch that are written, evenly spaced; TensorBoard shows a thousand in all.
const STEPS_WRITTEN: usize = 100;
/// Bars of a histogram; TensorBoard draws thirty.
const BUCKETS: usize = 30;
/// What says where in the run a figure is from, which is the event's step, and is no figure itself.
const PLACES: [&str; 5] = ["epoch", "epochs", "step", "steps", "run_step"];

#[derive(Clone, PartialEq, prost::Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
    #[prost(message, optional, tag = "5")]
    histo: Option<Histogram>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Histogram {
    #[prost(double, tag = "1")]
    min: f64,
    #[prost(double, tag = "2")]
    max: f64,
    #[prost(double, tag = "3")]
    num: f64,
    #[prost(double, tag = "4")]
    sum: f64,
    #[prost(double, tag = "5")]
    sum_squares: f64,
    /// Upper ends of the buckets.
    #[prost(double, repeated, tag = "6")]
    bucket_limit: Vec<f64>,
    #[prost(double, repeated, tag = "7")]
    bucket: Vec<f64>,
}

impl Histogram {
    /// Of finite values.
    fn of(values: &[f32]) -> Self {
        let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
        let (mut sum, mut sum_squares) = (0.0, 0.0);
        for value in values.iter().map(|&value| f64::from(value)) {
            (min, max) = (min.min(value), max.max(value));
            (sum, sum_squares) = (sum + value, sum_squares + value * value);
        }
        let count = if max > min { BUCKETS } else { 1 };
        let width = (max - min) / count as f64;
        let mut bucket = vec![0.0; count];
        for &value in values {
            let place = if width > 0.0 { (f64::from(value) - min) / width } else { 0.0 };
            bucket[(place as usize).min(count - 1)] += 1.0;
        }
        // The last one ends at the largest value itself, whatever rounding says.
        let limit = |i: usize| if i + 1 == count { max } else { min + (i + 1) as f64 * width };
        let bucket_limit = (0..count).map(limit).collect();
        Self { min, max, num: values.len() as f64, sum, sum_squares, bucket_limit, bucket }
    }
}

/// The file being written.
pub struct Events {
    path: PathBuf,
    file: File,
    /// The run's last step.
    step: u64,
}

impl Events {
    /// Goes on in a folder's file after so many steps of the run; what is there of later ones,
    /// which the run's checkpoint does not know, is cut off, and so is what a crash left unfinished.
    pub fn start(folder: &Path, steps: u64) -> Result<Self> {
        let path = folder.join(EVENTS_FILE);
        let cannot = || format!("cannot write {}", path.display());
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            read => read.with_context(cannot)?,
        };
        let known = |event: &Event| u64::try_from(event.step).is_ok_and(|step| step <= steps);
        let kept = records(&bytes).take_while(|(event, _)| known(event)).last();
        let kept = kept.map_or(0, |(_, end)| end);
        let file = OpenOptions::new().create(true).append(true).open(&path).with_context(cannot)?;
        file.set_len(kept as u64).with_context(cannot)?;
        let mut events = Self { path: path.clone(), file, step: steps };
        if kept == 0 {
            let file_version = Some("brain.Event:2".to_owned());
            events.write(Event { file_version, ..events.event(0) })?;
        }
        Ok(events)
    }

    /// Adds a step's figures, as `step/NAME`; not those of every step of a long epoch.
    pub fn step(&mut self, report: &StepReport) -> Result<()> {
        self.step = report.run_step;
        match report.step % report.steps.div_ceil(STEPS_WRITTEN) {
            0 => self.scalars("step", report),
            _ => Ok(()),
        }
    }

    /// Adds an epoch's figures, as `epoch/NAME` with the names in the log.
    pub fn epoch(&mut self, report: &EpochReport) -> Result<()> {
        self.scalars("epoch", report)
    }

    /// Adds histograms of all filters and matrices and of their gradients.
    pub fn weights(&mut self, weights: &Weights, gradients: &[Vec<f32>]) -> Result<()> {
        let mut value = Vec::new();
        for (tensor, gradient) in weights.tensors().iter().zip(gradients) {
            let parameter = &tensor.parameter;
            let mut add = |group: &str, values: &[f32]| {
                let tag = format!("{group}/{}", parameter.name);
                let histo = Some(Histogram::of(values));
                value.push(Value { tag, simple_value: None, histo });
            };
            if parameter.role == Role::Weight {
                add("weights", &tensor.values);
                // None of a frozen layer's, nor where a resumed run had no step left.
                if gradient.iter().any(|&value| value != 0.0) {
                    add("gradients", gradient);
                }
            }
        }
        let event = self.event(self.step);
        self.write(Event { summary: Some(Summary { value }), ..event })
    }

    /// All numbers of a report.
    fn scalars(&mut self, group: &str, report: &impl Serialize) -> Result<()> {
        let report = serde_json::to_value(report)?;
        let fields = report.as_object().into_iter().flatten();
        let figures = fields.filter(|(name, _)| !PLACES.contains(&name.as_str()));
        let value = figures.filter_map(|(name, value)| {
            let simple_value = Some(value.as_f64()? as f32);
            Some(Value { tag: format!("{group}/{name}"), simple_value, histo: None })
        });
        let summary = Some(Summary { value: value.collect() });
        self.write(Event { summary, ..self.event(self.step) })
    }

    fn event(&self, step: u64) -> Event {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        Event { wall_time: now.as_secs_f64(), step, file_version: None, summary: None }
    }

    fn write(&mut self, event: Event) -> Result<()> {
        let data = event.encode_to_vec();
        let length = (data.len() as u64).to_le_bytes();
        let sums = [masked_sum(&length).to_le_bytes(), masked_sum(&data).to_le_bytes()];
        let record = [&length[..], &sums[0], &data, &sums[1]].concat();
        let written = self.file.write_all(&record);
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// A scalar's steps and values, from the folder's file as far as it can be read.
pub fn scalar(folder: &Path, tag: &str) -> Vec<(u64, f64)> {
    let bytes = fs::read(folder.join(EVENTS_FILE)).unwrap_or_default();
    let values = records(&bytes).filter_map(|(event, _)| {
        let value = event.summary?.value.into_iter().find(|value| value.tag == tag)?;
        Some((u64::try_from(event.step).ok()?, f64::from(value.simple_value?)))
    });
    values.collect()
}

/// The events of a file, each with the place it ends at, up to the first that is not whole.
fn records(bytes: &[u8]) -> impl Iterator<Item = (Event, usize)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let (length, rest) = bytes[start..].split_first_chunk::<8>()?;
        let (length_sum, rest) = rest.split_first_chunk::<4>()?;
        let data = rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        let (data_sum, _) = rest[data.len()..].split_first_chunk::<4>()?;
        let whole = u32::from_le_bytes(*length_sum) == masked_sum(length)
            && u32::from_le_bytes(*data_sum) == masked_sum(data);
        start += 16 + data.len();
        Some((Event::decode(data).ok().filter(|_| whole)?, start))
    })
}

/// The checksum, changed so that a file within a file keeps sums of its own
/// (TensorFlow, `lib/hash/crc32c.h`).
fn masked_sum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(run_step: u64) -> StepReport {
        StepReport {
            epoch: 1,
            epochs: 1,
            step: run_step as usize,
            steps: 1000,
            run_step,
            objective: 1.0 / run_step as f64,
            loss: 0.5,
            top1: 0.25,
            learning_rate: 0.1,
            gradient_norm: 3.0,
            clipped: 1.0,
            pictures_per_second: 10.0,
        }
    }

    #[test]
    fn a_run_that_goes_on_cuts_off_what_its_checkpoint_does_not_know() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = Events::start(folder.path(), 0).unwrap();
        (1..=50).for_each(|step| events.step(&report(step)).unwrap());
        let written = |folder: &Path| scalar(folder, "step/objective");
        // Every tenth of a thousand.
        let all = written(folder.path());
        assert_eq!(all.iter().map(|point| point.0).collect::<Vec<_>>(), [10, 20, 30, 40, 50]);
        assert!((all[1].1 - 0.05).abs() < 1e-8);
        let path = folder.path().join(EVENTS_FILE);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        assert_eq!(written(folder.path()), all[..4]);
        let mut events = Events::start(folder.path(), 25).unwrap();
        events.step(&report(30)).unwrap();
        assert_eq!(written(folder.path()), all[..3]);
        assert_eq!(scalar(folder.path(), "step/run_step"), []);
        assert_eq!(
            records(&fs::read(&path).unwrap()).next().unwrap().0.file_version.as_deref(),
            Some("brain.Event:2")
        );
    }

    #[test]
    fn histograms_hold_every_value_once() {
        let values: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.37).sin()).collect();
        let histogram = Histogram::of(&values);
        assert_eq!(histogram.bucket.iter().sum::<f64>(), 1000.0);
        assert_eq!((histogram.bucket.len(), histogram.bucket_limit.len()), (BUCKETS, BUCKETS));
        assert_eq!(histogram.bucket_limit[BUCKETS - 1], histogram.max);
        let low = values.iter().filter(|&&v| f64::from(v) < histogram.bucket_limit[0]).count();
        assert_eq!(histogram.bucket[0], low as f64);
        let flat = Histogram::of(&[2.0; 7]);
        assert_eq!((flat.bucket, flat.bucket_limit), (vec![7.0], vec![2.0]));
    }

    /// The first record of TensorFlow's own files has 24 bytes.
    #[test]
    fn masked_sums_are_tensorflows() {
        assert_eq!(masked_sum(&24u64.to_le_bytes()).to_le_bytes(), [0xa3, 0x7f, 0x4b, 0x22]);
    }
}
