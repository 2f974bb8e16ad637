//! How a run is shown while it goes on: one line for each epoch and, on a terminal, a bar below
//! them.

use std::time::{Duration, Instant};

use inception_train::{EpochReport, StepReport};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;
use crate::text::{duration, grouped, percent};

/// How often an epoch in progress is told of where there is no terminal to draw a bar on.
const PLAIN_INTERVAL: Duration = Duration::from_secs(30);

/// Shows steps and epochs on standard error.
pub struct Progress {
    bar: ProgressBar,
    terminal: bool,
    pace: Option<Pace>,
    last_line: Instant,
}

/// Shows a download on standard error, where that is a terminal.
pub struct Download(ProgressBar);

impl Download {
    /// Nothing is shown before the first report.
    pub fn new(name: &str) -> Self {
        let target = match console::Term::stderr().is_term() {
            true => ProgressDrawTarget::stderr_with_hz(8),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let template = "{prefix} {bar:24} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";
        let style = ProgressStyle::with_template(template).expect("the template is right");
        bar.set_style(style.progress_chars("━╸─"));
        bar.set_prefix(name.to_owned());
        Self(bar)
    }

    /// So many bytes are there, of so many where that is known.
    pub fn show(&mut self, done: u64, of: Option<u64>) {
        self.0.set_length(of.unwrap_or(done));
        self.0.set_position(done);
    }

    /// Removes the bar.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }
}

/// When this session began and at which step of the whole run.
struct Pace {
    start: Instant,
    first: usize,
}

impl Progress {
    /// Nothing is shown before the first report.
    pub fn new() -> Self {
        let terminal = console::Term::stderr().is_term();
        let target = match terminal {
            true => ProgressDrawTarget::stderr_with_hz(8),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let style = ProgressStyle::with_template("{prefix} {bar:24} {msg}");
        let style = style.expect("the template is right").progress_chars("━╸─");
        bar.set_style(style);
        Self { bar, terminal, pace: None, last_line: Instant::now() }
    }

    /// A line that stays.
    pub fn line(&mut self, text: &str) {
        match self.terminal {
            true => self.bar.println(text),
            false => output::note(text),
        }
        self.last_line = Instant::now();
    }

    /// After a step.
    pub fn step(&mut self, report: &StepReport) {
        let left = self.left(report).map(|seconds| format!("  {} left", duration(seconds)));
        let message = format!(
            "{}/{}  loss {:.3}  accuracy {}  {} pictures/s{}",
            report.step,
            report.steps,
            report.loss,
            percent(report.top1),
            grouped(report.pictures_per_second.round() as u64),
            left.unwrap_or_default(),
        );
        let prefix = format!("epoch {}/{}", report.epoch, report.epochs);
        if !self.terminal && self.last_line.elapsed() >= PLAIN_INTERVAL {
            self.line(&format!("{prefix}  step {message}"));
        }
        self.show(prefix, message, report.step, report.steps);
    }

    /// Seconds to the end of the run, at this session's pace, evaluations included; known from its
    /// second step on.
    fn left(&mut self, report: &StepReport) -> Option<f64> {
        let done = (report.epoch - 1) * report.steps + report.step;
        let all = report.epochs * report.steps;
        let pace = self.pace.get_or_insert_with(|| Pace { start: Instant::now(), first: done });
        let each = pace.start.elapsed().as_secs_f64() / (done - pace.first) as f64;
        each.is_finite().then(|| each * all.saturating_sub(done) as f64)
    }

    /// While test pictures are evaluated.
    pub fn evaluating(&mut self, done: usize, of: usize) {
        // The line is not worth forming for every one of thousands.
        if done.is_multiple_of(16) || done == of {
            let message = format!("{}/{} test pictures", grouped(done as u64), grouped(of as u64));
            self.show("evaluating".to_owned(), message, done, of);
        }
    }

    /// While so many of something are done.
    pub fn doing(&mut self, what: &str, things: &str, done: usize, of: usize) {
        self.show(what.to_owned(), format!("{done}/{of} {things}"), done, of);
    }

    fn show(&self, prefix: String, message: String, done: usize, of: usize) {
        self.bar.set_length(of as u64);
        self.bar.set_position(done as u64);
        self.bar.set_prefix(prefix);
        self.bar.set_message(message);
    }

    /// Before the first epoch's line.
    pub fn heading(&mut self) {
        self.line("epoch  train loss  train top-1  test loss  test top-1  pictures/s         time");
    }

    /// After an epoch.
    pub fn epoch(&mut self, report: &EpochReport) {
        let number = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.4}"));
        let share = |value: Option<f64>| value.map_or("–".to_owned(), percent);
        self.line(&format!(
            "{:>5}  {:>10}  {:>11}  {:>9}  {:>10}  {:>10}  {:>11}",
            report.epoch,
            number(Some(report.train_loss)),
            percent(report.train_top1),
            number(report.test_loss),
            share(report.test_top1),
            grouped(report.pictures_per_second.round() as u64),
            duration(report.seconds),
        ));
    }

    /// Removes the bar.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
