//! `inception advise`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use inception_model::write_atomically;
use inception_net::Net;
use inception_net::advise::{self, Advised, Finding, Kind};
use serde_json::json;

use crate::fail::usage;
use crate::options::NetworkOptions;
use crate::output::{check_target, quoted};
use crate::text::{Align, Table, count, grouped, scaled};
use crate::{network, output};

/// Holds a network against the design principles of the v3 paper, layer by layer
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A built-in network (`inception networks` lists them), a TOML file, or a model file
    #[arg(value_name = "NAME|FILE")]
    network: String,
    /// Takes the advice that comes with a rewriting and writes the network that results
    #[arg(long, requires = "output")]
    apply: bool,
    /// File for the rewritten network's TOML
    #[arg(short, long, value_name = "FILE", requires = "apply")]
    output: Option<PathBuf>,
    /// Writes over the file if it is there
    #[arg(long, requires = "apply")]
    force: bool,
    /// Writes the findings as JSON
    #[arg(long)]
    json: bool,
    /// Number of classes [default: the network's own]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Network")]
    classes: Option<usize>,
    #[command(flatten)]
    options: NetworkOptions,
}

const EXAMPLES: &str = "\
Examples:
  inception advise googlenet
  inception advise mine.toml --json
  inception advise googlenet --apply -o better.toml
      5×5 become two 3×3, pools between modules the reductions D and E.
  inception summary better.toml

Each finding has the number behind it and the change it would make. The columns on the right
are what that change alone does to multiply-adds and parameters, auxiliary heads left out; a
finding without them is for you to weigh. `inception ablate` measures some of the changes.";

/// Prints the findings, or mends what can be mended.
pub fn run(args: &Args) -> Result<ExitCode> {
    let net = network::find(&args.network, &args.options, args.classes)?;
    if args.classes.is_some() && network::is_model_file(Path::new(&args.network)) {
        return Err(usage(format!(
            "--classes is not for model files; {} was trained for {}",
            args.network, net.classes
        )));
    }
    match &args.output {
        Some(file) => mend(args, &net, file),
        None => {
            let findings = advise::advise(&net)?;
            match args.json {
                true => output::print_json(&json!({ "network": net.name, "findings": findings }))?,
                false => output::print(&report(&net, &findings)?)?,
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn mend(args: &Args, net: &Net, file: &Path) -> Result<ExitCode> {
    check_target(file, Path::new(&args.network), args.force)?;
    let Advised { net: better, mended } = advise::apply(net)?;
    let left = advise::advise(&better)?;
    write_atomically(file, better.to_toml().as_bytes())
        .with_context(|| format!("cannot write {}", file.display()))?;
    if args.json {
        let value = json!({ "network": better.name, "mended": mended, "findings": left });
        output::print_json(&value)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = match mended.len() {
        0 => format!("{}: nothing that could be rewritten\n", net.name),
        n => format!("{}: {} mended\n\n{}", net.name, count(n as u64, "finding"), table(&mended)),
    };
    text += &format!(
        "\nbefore    {}\nafter     {}\nwritten   {}, {} left: inception advise {}\n",
        cost(net)?,
        cost(&better)?,
        file.display(),
        count(left.len() as u64, "finding"),
        quoted(file),
    );
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn report(net: &Net, findings: &[Finding]) -> Result<String> {
    let head = format!("{}: {}\n", net.name, cost(net)?);
    if findings.is_empty() {
        return Ok(head + "\nnothing goes against the principles of arXiv 1512.00567\n");
    }
    let mut principles = Table::new(&[("", Align::Left), ("", Align::Left)]);
    for kind in Kind::ALL {
        if findings.iter().any(|finding| finding.kind == kind) {
            principles.row(vec![kind.name().to_owned(), kind.principle().to_owned()]);
        }
    }
    let found = count(findings.len() as u64, "finding");
    Ok(format!(
        "{head}\n{}\n{found}; from arXiv 1512.00567:\n{}",
        table(findings),
        principles.text()
    ))
}

fn table(findings: &[Finding]) -> String {
    let mut table = Table::new(&[
        ("layer", Align::Left),
        ("finding", Align::Left),
        ("number", Align::Left),
        ("change", Align::Left),
        ("mult-adds", Align::Right),
        ("parameters", Align::Right),
    ]);
    for finding in findings {
        let mut cells = vec![
            layers(&finding.layers),
            finding.kind.name().to_owned(),
            finding.number.clone(),
            finding.advice.clone(),
        ];
        if let Some(change) = &finding.change {
            cells
                .extend([signed(change.multiply_adds, scaled), signed(change.parameters, grouped)]);
        }
        table.row(cells);
    }
    table.text()
}

/// One or two names; of more, the first and how many follow.
fn layers(names: &[String]) -> String {
    match names {
        [] => "(all)".to_owned(),
        [one] => one.clone(),
        [one, two] => format!("{one}, {two}"),
        [first, others @ ..] => format!("{first} and {}", count(others.len() as u64, "other")),
    }
}

/// `+1.25 M`, `−300`.
fn signed(change: i64, text: fn(u64) -> String) -> String {
    let sign = if change < 0 { '−' } else { '+' };
    format!("{sign}{}", text(change.unsigned_abs()))
}

fn cost(net: &Net) -> Result<String> {
    let summary = net.graph()?.summary();
    Ok(format!(
        "{} multiply-adds a picture, {} parameters without auxiliary heads",
        scaled(summary.multiply_adds as u64),
        grouped(summary.parameters_without_auxiliary as u64)
    ))
}
