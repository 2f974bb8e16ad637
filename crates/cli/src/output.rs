//! Standard output and error. Nothing here panics when they are closed or full.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};

use crate::fail::usage;

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

/// Fails where a file to write is there already, unless `force`, and always where it is the file
/// that is read.
pub fn check_target(target: &Path, source: &Path, force: bool) -> Result<()> {
    let same = |a: &Path, b: &Path| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if same(target, source) {
        let target = target.display();
        return Err(usage(format!("{target} is the file to read; name another one with -o")));
    }
    if target.exists() && !force {
        return Err(usage(format!(
            "{} is there already; name another file with -o, or --force to write over it",
            target.display()
        )));
    }
    Ok(())
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
    fn the_source_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&a, "").unwrap();
        assert!(check_target(&b, &a, false).is_ok());
        std::fs::write(&b, "").unwrap();
        assert!(check_target(&b, &a, false).is_err() && check_target(&b, &a, true).is_ok());
        let again = folder.path().join("..").join(folder.path().file_name().unwrap()).join("a");
        assert!(check_target(&again, &a, true).is_err());
    }

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
