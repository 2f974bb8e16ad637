//! Bars on a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;
use crate::text::grouped;

/// Shows how much of something is done on standard error, where that is a terminal.
pub struct Progress(ProgressBar);

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

impl Progress {
    /// Nothing is shown before the first report.
    pub fn new() -> Self {
        let target = match console::Term::stderr().is_term() {
            true => ProgressDrawTarget::stderr_with_hz(8),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let style = ProgressStyle::with_template("{prefix} {bar:24} {msg}");
        let style = style.expect("the template is right").progress_chars("━╸─");
        bar.set_style(style);
        Self(bar)
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

    /// A line that stays.
    pub fn line(&self, text: &str) {
        match self.0.is_hidden() {
            true => output::note(text),
            false => self.0.println(text),
        }
    }

    fn show(&self, prefix: String, message: String, done: usize, of: usize) {
        self.0.set_length(of as u64);
        self.0.set_position(done as u64);
        self.0.set_prefix(prefix);
        self.0.set_message(message);
    }

    /// Removes the bar.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }
}
