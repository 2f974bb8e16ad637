//! Standard output and error. Nothing here panics when they are closed or full.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};

/// Writes to standard output at once, so that a full disk or a closed pipe is noticed.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("cannot write to standard output")
}

/// Writes a JSON value to standard output, indented.
pub fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print(&(serde_json::to_string_pretty(value)? + "\n"))
}

/// Tells something on standard error that is no failure; lost if that is closed.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Columns of the terminal, or of a page where output goes elsewhere.
pub fn columns() -> usize {
    console::Term::stdout().size_checked().map_or(80, |(_, columns)| usize::from(columns))
}

/// How this program was called, to tell a command that can be typed.
pub fn invocation() -> String {
    // Cargo sets this for what `cargo run` starts.
    if std::env::var_os("CARGO").is_some() {
        return "cargo run --release --".to_owned();
    }
    std::env::args().next().map_or("inception".to_owned(), |name| quoted(Path::new(&name)))
}

/// A path as a shell takes it: in quotes where it has to be.
pub fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let separators = if cfg!(windows) { r"\/-_.,:=+@%" } else { "/-_.,:=+@%" };
    if !path.is_empty() && path.chars().all(|c| c.is_alphanumeric() || separators.contains(c)) {
        return path;
    }
    match cfg!(windows) {
        true => format!("\"{path}\""),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_where_a_shell_would_split_or_change_them() {
        for (path, shown) in [
            ("runs/a-1/model.safetensors", "runs/a-1/model.safetensors"),
            ("my runs/é", "'my runs/é'"),
            ("it's", r"'it'\''s'"),
            ("a$b", "'a$b'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(Path::new(path)), shown);
        }
    }
}
