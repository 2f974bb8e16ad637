//! A run on the terminal while it goes on: a line for each epoch, and below them a few lines that
//! change: how far it is, its figures, its curves. Where there is no terminal, plain lines only.
//!
//! It is text that `indicatif` draws over. A library of terminal windows would ask the terminal
//! where its cursor is, which stops a run in the background, and lose lines on a resize.

use std::time::{Duration, Instant};

use console::{Term, style, truncate_str};
use inception_train::{EpochReport, StepReport};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;
use crate::plot::sparkline;
use crate::text::{duration, grouped, percent, short};

/// How often an epoch in progress is told of where there is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(30);
/// How often the changing lines are formed anew.
const LIVE_INTERVAL: Duration = Duration::from_millis(100);
/// Epochs shown again when a run goes on.
const REPEATED: usize = 5;
/// Rows of a terminal too low for curves.
const LOW: usize = 16;
/// Columns of a terminal too narrow for the whole line of an epoch.
const NARROW: usize = 80;

/// Shows steps and epochs on standard error.
pub struct Live {
    bar: ProgressBar,
    terminal: bool,
    last_line: Instant,
    last_drawn: Option<Instant>,
    pace: Option<Pace>,
    view: View,
}

/// When this session and its epoch began, and at which step of the whole run.
struct Pace {
    start: Instant,
    first: usize,
    epoch: usize,
    epoch_start: Instant,
    epoch_first: usize,
}

impl Live {
    /// For a run with these epochs behind it.
    pub fn new(history: &[EpochReport]) -> Self {
        let terminal =
            Term::stderr().is_term() && std::env::var_os("TERM").is_none_or(|t| t != "dumb");
        let target = match terminal {
            true => ProgressDrawTarget::stderr_with_hz(10),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::with_template("{msg}").expect("the template is right"));
        let view = View { history: history.to_vec(), ..View::default() };
        let (last_line, last_drawn, pace) = (Instant::now(), None, None);
        let mut live = Self { bar, terminal, last_line, last_drawn, pace, view };
        live.line(&heading(live.columns()));
        if terminal {
            let repeated = &history[history.len().saturating_sub(REPEATED)..];
            repeated.iter().for_each(|report| live.line(&epoch_line(report, live.columns())));
        }
        live
    }

    /// Tells something from another thread, above the changing lines.
    pub fn teller(&self) -> impl Fn(&str) + Send + 'static {
        let (bar, terminal) = (self.bar.clone(), self.terminal);
        move |text| match terminal {
            // An empty line would be miscounted as none.
            true => bar.println(text.trim_start()),
            false => output::note(text),
        }
    }

    fn columns(&self) -> usize {
        if self.terminal { size().1 } else { usize::MAX }
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
        let left = self.left(report);
        self.view.add(report, left);
        if !self.terminal {
            if self.last_line.elapsed() >= PLAIN_INTERVAL {
                self.line(&plain(report, left.map(|left| left.1)));
            }
            return;
        }
        self.draw(report.step == report.steps);
    }

    /// Seconds to the end of the epoch's steps and of the run, at this session's pace, evaluations
    /// included in the run's; known from the second step on.
    fn left(&mut self, report: &StepReport) -> Option<(f64, f64)> {
        let done = (report.epoch - 1) * report.steps + report.step;
        let all = report.epochs * report.steps;
        let now = Instant::now();
        let pace = self.pace.get_or_insert(Pace {
            start: now,
            first: done,
            epoch: report.epoch,
            epoch_start: now,
            epoch_first: done,
        });
        if pace.epoch != report.epoch {
            (pace.epoch, pace.epoch_start, pace.epoch_first) = (report.epoch, now, done);
        }
        let each =
            |start: Instant, first: usize| (now - start).as_secs_f64() / (done - first) as f64;
        let run = each(pace.start, pace.first) * all.saturating_sub(done) as f64;
        let here = each(pace.epoch_start, pace.epoch_first);
        let epoch = here * report.steps.saturating_sub(report.step) as f64;
        // The first step of a later epoch has none before it to measure.
        run.is_finite().then_some((if epoch.is_finite() { epoch } else { f64::NAN }, run))
    }

    /// While what frozen layers make of the pictures is computed.
    pub fn caching(&mut self, done: usize, of: usize) {
        let text = format!("features  {done} of {of} pictures");
        match self.terminal {
            true => self.bar.set_message(text),
            false if self.last_line.elapsed() >= PLAIN_INTERVAL => self.line(&text),
            false => {}
        }
    }

    /// While test pictures are evaluated.
    pub fn evaluating(&mut self, done: usize, of: usize) {
        self.view.tested = Some((done, of));
        self.draw(done == of);
    }

    /// After an epoch.
    pub fn epoch(&mut self, report: &EpochReport) {
        self.view.tested = None;
        self.view.history.push(report.clone());
        self.line(&epoch_line(report, self.columns()));
    }

    fn draw(&mut self, now: bool) {
        let lately = self.last_drawn.is_some_and(|last| last.elapsed() < LIVE_INTERVAL);
        if self.terminal && (now || !lately) {
            let (rows, columns) = size();
            self.bar.set_message(self.view.text(rows, columns));
            self.last_drawn = Some(Instant::now());
        }
    }

    /// Removes the changing lines.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// Rows and columns of the terminal.
fn size() -> (usize, usize) {
    let (rows, columns) = Term::stderr().size();
    (rows.into(), columns.into())
}

/// Above the epochs' lines.
fn heading(columns: usize) -> String {
    match columns < NARROW {
        true => "epoch    loss   top-1    test   top-1".to_owned(),
        false => "epoch  train loss  train top-1  test loss  test top-1  pictures/s         time"
            .to_owned(),
    }
}

fn epoch_line(report: &EpochReport, columns: usize) -> String {
    let number = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.4}"));
    let share = |value: Option<f64>| value.map_or("–".to_owned(), percent);
    let EpochReport { epoch, train_loss, train_top1, test_loss, test_top1, .. } = *report;
    if columns < NARROW {
        let (train, test) = (share(Some(train_top1)), share(test_top1));
        let (train_loss, test_loss) = (number(Some(train_loss)), number(test_loss));
        return format!("{epoch:>5} {train_loss:>7} {train:>7} {test_loss:>7} {test:>7}");
    }
    format!(
        "{epoch:>5}  {:>10}  {:>11}  {:>9}  {:>10}  {:>10}  {:>11}",
        number(Some(train_loss)),
        percent(train_top1),
        number(test_loss),
        share(test_top1),
        grouped(report.pictures_per_second.round() as u64),
        duration(report.seconds),
    )
}

/// A step where there is no terminal.
fn plain(report: &StepReport, left: Option<f64>) -> String {
    format!(
        "epoch {}/{}  step {}/{}  loss {:.3}  accuracy {}  {} pictures/s{}",
        report.epoch,
        report.epochs,
        report.step,
        report.steps,
        report.loss,
        percent(report.top1),
        grouped(report.pictures_per_second.round() as u64),
        left.map(|left| format!("  {} left", duration(left))).unwrap_or_default(),
    )
}

/// All that the changing lines are made of.
#[derive(Default)]
struct View {
    history: Vec<EpochReport>,
    step: Option<StepReport>,
    /// Seconds to the end of the epoch's steps and of the run.
    left: Option<(f64, f64)>,
    /// Test pictures done, of how many, while there is an evaluation.
    tested: Option<(usize, usize)>,
    objective: Trace,
}

impl View {
    fn add(&mut self, report: &StepReport, left: Option<(f64, f64)>) {
        if self.step.is_none() {
            // What came before this session, as if each of its steps had been like the others.
            for epoch in &self.history {
                (0..report.steps).for_each(|_| self.objective.push(epoch.objective));
            }
            (1..report.step).for_each(|_| self.objective.push(report.objective));
        }
        self.objective.push(report.objective);
        (self.left, self.step) = (left, Some(report.clone()));
    }

    /// The lines, none as wide as the terminal and no more than half of its rows.
    fn text(&self, rows: usize, columns: usize) -> String {
        let Some(step) = &self.step else { return String::new() };
        let width = columns.saturating_sub(1).max(1);
        let mut lines = vec![self.epoch_bar(step, width)];
        if rows >= 8 {
            lines.push(self.run_bar(step, width));
            lines.extend(wrapped(figures(step), width, if rows < LOW { 2 } else { 4 }));
        }
        if rows >= LOW {
            lines.extend(self.curves(step, width));
        }
        let cut = lines.iter().map(|line| truncate_str(line, width, "…").into_owned());
        cut.collect::<Vec<_>>().join("\n")
    }

    fn epoch_bar(&self, step: &StepReport, width: usize) -> String {
        if let Some((done, of)) = self.tested {
            let text = format!("{}/{} test pictures", grouped(done as u64), grouped(of as u64));
            return bar("testing", done as f64 / of as f64, &text, width);
        }
        let left = self.left.map(|left| left.0).filter(|left| left.is_finite());
        let left = left.map(|left| format!(", {} left", duration(left))).unwrap_or_default();
        let name = format!("epoch {}/{}", step.epoch, step.epochs);
        let text = format!("step {}/{}{left}", step.step, step.steps);
        bar(&name, step.step as f64 / step.steps as f64, &text, width)
    }

    fn run_bar(&self, step: &StepReport, width: usize) -> String {
        let share = progress(step);
        let left = self.left.map(|left| format!(", {} left", duration(left.1))).unwrap_or_default();
        bar("run", share, &format!("{:.0} %{left}", (100.0 * share).floor()), width)
    }

    /// Loss and test accuracy from the run's beginning to, at the right, its end.
    fn curves(&self, step: &StepReport, width: usize) -> Vec<String> {
        let columns = (width.saturating_sub(36)).clamp(10, 60);
        let curve = |name: &str, values: &[f64], share: f64, text: String| {
            let drawn = (share * columns as f64).ceil() as usize;
            let line = sparkline(values, drawn.min(columns));
            format!(
                "{} {}  {text}",
                style(format!("{name:9}")).for_stderr().dim(),
                style(line).for_stderr().cyan()
            )
        };
        let trace = self.objective.values();
        let from_to = trace.first().zip(trace.last());
        let from_to = from_to.map(|(first, last)| format!("{first:.3} → {last:.3}"));
        let mut lines =
            vec![curve("objective", &trace, progress(step), from_to.unwrap_or_default())];
        let tested: Vec<f64> = self.history.iter().filter_map(|epoch| epoch.test_top1).collect();
        let best = self.history.iter().filter_map(|e| Some((e.test_top1?, e.epoch)));
        // The first of equal ones.
        let best = best.reduce(|best, next| if next.0 > best.0 { next } else { best });
        if let Some((top1, epoch)) = best {
            let text = format!("best {} in epoch {epoch}", percent(top1));
            let share = self.history.len() as f64 / step.epochs as f64;
            lines.push(curve("test", &tested, share, text));
        }
        lines
    }
}

/// Share of the run's steps that are done.
fn progress(step: &StepReport) -> f64 {
    let done = (step.epoch - 1) as f64 + step.step as f64 / step.steps as f64;
    (done / step.epochs as f64).min(1.0)
}

/// Names and numbers, in order of their weight.
fn figures(step: &StepReport) -> Vec<(&'static str, String)> {
    let mut figures = vec![
        ("loss", format!("{:.3}", step.loss)),
        ("accuracy", percent(step.top1)),
        ("pictures/s", grouped(step.pictures_per_second.round() as u64)),
        ("rate", short(step.learning_rate)),
        ("gradient", short(step.gradient_norm)),
    ];
    if step.clipped > 0.0 {
        figures.push(("clipped", format!("{:.0} %", 100.0 * step.clipped)));
    }
    figures
}

/// Figures in lines as wide as they fit, at most so many.
fn wrapped(figures: Vec<(&str, String)>, width: usize, most: usize) -> Vec<String> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (name, value) in figures {
        let taken = name.chars().count() + 1 + value.chars().count();
        let text =
            format!("{} {}", style(name).for_stderr().dim(), style(value).for_stderr().bold());
        match lines.last_mut() {
            Some((filled, line)) if *filled + 3 + taken <= width => {
                *filled += 3 + taken;
                *line += &format!("   {text}");
            }
            _ => lines.push((taken, text)),
        }
    }
    lines.into_iter().take(most).map(|(_, line)| line).collect()
}

/// A name, a bar that is full at 1, and words behind it; the bar takes what room there is.
fn bar(name: &str, share: f64, text: &str, width: usize) -> String {
    let room = width.saturating_sub(11 + text.chars().count() + 2).clamp(4, 30);
    let done = (share.clamp(0.0, 1.0) * room as f64).floor() as usize;
    let (full, empty) = ("━".repeat(done), "─".repeat(room - done));
    format!(
        "{name:10} {}{}  {text}",
        style(full).for_stderr().green(),
        style(empty).for_stderr().dim()
    )
}

/// A value for each step, thinned so that there are never many: means of as many steps each.
struct Trace {
    means: Vec<f64>,
    /// Steps in a mean.
    stride: usize,
    sum: f64,
    count: usize,
}

impl Default for Trace {
    fn default() -> Self {
        Self { means: Vec::new(), stride: 1, sum: 0.0, count: 0 }
    }
}

impl Trace {
    const MOST: usize = 240;

    fn push(&mut self, value: f64) {
        (self.sum, self.count) = (self.sum + value, self.count + 1);
        if self.count == self.stride {
            self.means.push(self.sum / self.count as f64);
            (self.sum, self.count) = (0.0, 0);
        }
        if self.means.len() == Self::MOST {
            self.means = self.means.chunks(2).map(|pair| pair.iter().sum::<f64>() / 2.0).collect();
            self.stride *= 2;
        }
    }

    /// The steps that do not fill a mean yet have one too.
    fn values(&self) -> Vec<f64> {
        let rest = (self.count > 0).then(|| self.sum / self.count as f64);
        self.means.iter().copied().chain(rest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use console::measure_text_width;

    fn view(epoch: usize) -> View {
        let step = |epoch, step| StepReport {
            epoch,
            epochs: 100,
            step,
            steps: 1563,
            run_step: ((epoch - 1) * 1563 + step) as u64,
            objective: 2.3 / step as f64,
            loss: 0.4321,
            top1: 0.8512,
            learning_rate: 0.0923,
            gradient_norm: 1.2345,
            clipped: 0.04,
            pictures_per_second: 1234.4,
        };
        let report = |epoch: usize| EpochReport {
            epoch,
            train_loss: 1.0,
            train_top1: 0.5,
            test_loss: Some(1.0),
            test_top1: Some(0.5 + epoch as f64 / 1000.0),
            test_top5: None,
            objective: 1.0,
            gradient_norm: 1.0,
            clipped: 0.0,
            learning_rate: 0.1,
            pictures_per_second: 100.0,
            seconds: 100.0,
            skipped: 0,
        };
        let history = (1..epoch).map(report).collect();
        let mut view = View { history, ..View::default() };
        (1..=400).for_each(|n| view.add(&step(epoch, n), Some((12.3, 8000.0))));
        view
    }

    #[test]
    fn no_terminal_is_too_small() {
        for epoch in [1, 2, 57, 100] {
            let mut view = view(epoch);
            for tested in [None, Some((512, 10_000))] {
                view.tested = tested;
                for (rows, columns) in [(24, 80), (10, 40), (50, 200), (8, 20), (3, 10), (1, 1)] {
                    let text = view.text(rows, columns);
                    let lines = text.lines().count();
                    assert!(lines <= (rows / 2).max(1), "{rows}×{columns}:\n{text}");
                    let fits = |line: &str| measure_text_width(line) < columns.max(2);
                    assert!(text.lines().all(fits), "{rows}×{columns}:\n{text}");
                }
            }
        }
        assert!(heading(40).chars().count() < 40);
        let report = &view(2).history[0];
        for columns in [40, 80] {
            assert!(epoch_line(report, columns).chars().count() < columns);
        }
    }

    #[test]
    fn a_wide_terminal_shows_all() {
        let text = console::strip_ansi_codes(&view(57).text(24, 80)).into_owned();
        for word in [
            "epoch 57/100 ━━━━━━━",
            "step 400/1563, 12.3 s left",
            "56 %, 2 h 13 min left",
            "loss 0.432   accuracy 85.12 %   pictures/s 1,234   rate 0.0923",
            "gradient 1.23",
            "clipped 4 %",
            "best 55.60 % in epoch 56",
        ] {
            assert!(text.contains(word), "`{word}` is not in\n{text}");
        }
    }

    #[test]
    fn a_trace_stays_short_and_keeps_its_mean() {
        let mut trace = Trace::default();
        (0..10_000).for_each(|i| trace.push(f64::from(i)));
        let values = trace.values();
        assert!((120..=241).contains(&values.len()), "{}", values.len());
        assert!(values.is_sorted() && values[0] < 100.0 && values[values.len() - 1] > 9900.0);
    }
}
