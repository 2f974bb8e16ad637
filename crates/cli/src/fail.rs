//! What went wrong, as one message and an exit code.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Error;

/// A command line that parses but cannot be meant so: exit code 2 instead of 1.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// A [`Usage`] error.
pub fn usage(message: impl Into<String>) -> Error {
    Usage(message.into()).into()
}

/// Says on standard error what went wrong; the exit code that goes with it.
pub fn report(error: &Error) -> ExitCode {
    // Whoever read our output has seen enough, as in `inception summary … | head`.
    if error.chain().any(is_broken_pipe) {
        return ExitCode::SUCCESS;
    }
    // Nothing is left to be done if standard error is closed.
    let _ = writeln!(io::stderr(), "error: {}", chain(error));
    match error.is::<Usage>() {
        true => ExitCode::from(2),
        false => ExitCode::FAILURE,
    }
}

fn is_broken_pipe(cause: &(dyn std::error::Error + 'static)) -> bool {
    let io = cause.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The message and its causes. A cause that the message before it already told is left out:
/// many errors quote theirs.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text += &format!(": {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    #[test]
    fn a_cause_is_told_once() {
        let quoting = Err::<(), _>(anyhow!("disk full")).context("cannot write: disk full");
        assert_eq!(chain(&quoting.unwrap_err()), "cannot write: disk full");
        let plain = Err::<(), _>(anyhow!("disk full")).context("cannot write");
        assert_eq!(chain(&plain.unwrap_err()), "cannot write: disk full");
    }
}
