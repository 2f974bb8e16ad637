//! Networks as TOML files.

use std::fmt::Write;

use serde::Serialize;

use crate::error::NetError;
use crate::net::Net;
use crate::step::{Series, Step};

impl Net {
    /// The network as a TOML file, one `[[layer]]` table per step.
    pub fn to_toml(&self) -> String {
        let head = Net { layers: Vec::new(), ..self.clone() };
        let mut text = toml::to_string(&head).expect("a network has a TOML form");
        text = text.replacen("layer = []\n", "", 1);
        for step in &self.layers {
            text.push_str("\n[[layer]]\n");
            text.push_str(&block(step));
        }
        text
    }

    /// Reads a network from TOML and checks that it is one.
    ///
    /// # Errors
    ///
    /// [`NetError::Toml`] with the line and what was expected there, or what [`Net::graph`] says.
    pub fn from_toml(text: &str) -> Result<Net, NetError> {
        let net: Net = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start.min(text.len()));
            NetError::Toml {
                line: text.as_bytes()[..start].iter().filter(|&&b| b == b'\n').count() + 1,
                message: plain(error.message()),
            }
        })?;
        net.graph()?;
        Ok(net)
    }
}

/// A parser's message in a reader's words.
fn plain(message: &str) -> String {
    const WORDS: [(&str, &str); 9] = [
        ("expected usize", "expected a whole number"),
        ("expected u64", "expected a whole number"),
        ("expected f32", "expected a number"),
        ("expected a sequence", "expected a list"),
        ("a tuple of size 2", "a list of two numbers"),
        ("invalid length 0", "an empty list"),
        ("invalid length", "a list of length"),
        ("unknown variant", "unknown name"),
        ("invalid type: map", "invalid type: table"),
    ];
    WORDS.iter().fold(message.to_owned(), |text, (jargon, word)| text.replace(jargon, word))
}

/// A step as the lines of a `[[layer]]` table.
fn block(step: &Step) -> String {
    match nested(step) {
        None => toml::to_string(step).expect("a step has a TOML form"),
        Some((fields, key, list)) => {
            let fields: String = fields.iter().map(|f| format!("{f}\n")).collect();
            format!("{fields}{key} = {}\n", lists(&list, 0))
        }
    }
}

/// A step as an inline table that starts `depth` levels deep.
fn inline(step: &Step, depth: usize) -> String {
    match nested(step) {
        None => {
            let mut text = String::new();
            step.serialize(toml::ser::ValueSerializer::new(&mut text))
                .expect("a step has a TOML form");
            text
        }
        Some((fields, key, list)) => {
            format!("{{ {}, {key} = {} }}", fields.join(", "), lists(&list, depth))
        }
    }
}

/// Steps of a step: either one series or one per branch.
enum Lists<'a> {
    Series(&'a Series),
    Branches(&'a [Series]),
}

/// For a step that holds steps: its plain fields, and the key of the others.
fn nested(step: &Step) -> Option<(Vec<String>, &'static str, Lists<'_>)> {
    let quoted = |name: &str| toml::Value::from(name).to_string();
    match step {
        Step::Branches(s) => Some((
            vec!["type = \"branches\"".into(), format!("name = {}", quoted(&s.name))],
            "branches",
            Lists::Branches(&s.branches),
        )),
        Step::Auxiliary(s) => Some((
            vec![
                "type = \"auxiliary\"".into(),
                format!("name = {}", quoted(&s.name)),
                format!("loss_weight = {:?}", s.loss_weight),
            ],
            "layers",
            Lists::Series(&s.layers),
        )),
        _ => None,
    }
}

/// One step or branch a line, indented.
fn lists(list: &Lists, depth: usize) -> String {
    if matches!(list, Lists::Series(series) if series.is_empty()) {
        return "[]".to_owned();
    }
    let mut text = String::from("[\n");
    let indent = "    ".repeat(depth + 1);
    match list {
        Lists::Series(series) => {
            for step in series.iter() {
                let _ = writeln!(text, "{indent}{},", inline(step, depth + 1));
            }
        }
        Lists::Branches(branches) => {
            for branch in *branches {
                let _ = writeln!(text, "{indent}{},", lists(&Lists::Series(branch), depth + 1));
            }
        }
    }
    text + &"    ".repeat(depth) + "]"
}
