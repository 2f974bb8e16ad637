//! `inception pull`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use inception_convert::Options;

use crate::fail::usage;
use crate::hub::{Cached, Remote};
use crate::output;
use crate::progress::Download;

/// Fetches published weights from the Hugging Face hub and makes a model file of them
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Published weights by name, or a file of the hub as OWNER/REPOSITORY or
    /// OWNER/REPOSITORY/FILE
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// Lists the names
    #[arg(long)]
    list: bool,
    /// The model file to write [default: NAME.safetensors]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Writes over a file that is there
    #[arg(long)]
    force: bool,
    /// The classes' names: a text file with one a line, in the order of the network's outputs
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Branch, tag or commit of the repository
    #[arg(long, value_name = "NAME", default_value = "main")]
    revision: String,
}

const EXAMPLES: &str = "\
Examples:
  inception pull --list
  inception pull inception_v3.tv_in1k
  inception pull timm/inception_v3.gluon_in1k --labels imagenet.txt -o gluon.safetensors

What was fetched is checked by its SHA-256 and kept in the hub's own cache (HF_HOME; by default
~/.cache/huggingface), which works without a network afterwards.";

/// Weights known by name: timm's, which say in their config.json how pictures are prepared.
const PUBLISHED: [(&str, &str); 4] = [
    ("inception_v3.tv_in1k", "torchvision's Inception v3, top-1 77.472 %"),
    ("inception_v3.tf_in1k", "TF-slim's Inception v3 of 2016, top-1 77.866 %"),
    ("inception_v3.tf_adv_in1k", "the same, trained adversarially, top-1 77.598 %"),
    ("inception_v3.gluon_in1k", "MXNet Gluon's Inception v3, top-1 78.806 %"),
];

/// File of a repository that holds the weights, unless another is named.
const WEIGHTS: &str = "model.safetensors";

/// Fetches, converts, writes.
pub fn run(args: &Args) -> Result<ExitCode> {
    if args.list {
        let lines = PUBLISHED.map(|(name, what)| format!("{name:26}{what}\n"));
        output::print(&lines.concat())?;
        return Ok(ExitCode::SUCCESS);
    }
    let name = args.name.as_deref().unwrap_or_default();
    let weights = remote(name, &args.revision)?;
    let stem = weights.repository.rsplit('/').next().unwrap_or(name);
    let out = args.out.clone().unwrap_or_else(|| format!("{stem}.safetensors").into());
    if out.exists() && !args.force {
        return Err(usage(format!(
            "{} is there already; name another file with -o, or --force to write over it",
            out.display()
        )));
    }
    writable(&out)?;
    let file = fetch(&weights)?;
    // timm's config says how pictures are prepared; importing looks for it beside the weights.
    if weights.repository.starts_with("timm/") {
        fetch(&Remote { file: "config.json".to_owned(), ..weights.clone() })?;
    }
    let options = Options {
        labels: args.labels.as_deref().map(super::import::lines).transpose()?,
        ..Options::default()
    };
    let contents = inception_formats::read(&file.path)?;
    let mut model = inception_convert::import(contents, &options)
        .with_context(|| format!("cannot import {}", file.path.display()))?;
    let source = format!("{}@{}/{}", weights.repository, file.commit, weights.file);
    model.provenance.insert("hub".to_owned(), source);
    model.provenance.insert("sha256".to_owned(), file.sha256);
    model.save(&out)?;
    output::note(&super::import::summary(&model.net, &out));
    Ok(ExitCode::SUCCESS)
}

/// Whether a file can be made at `out`, asked before anything is downloaded for it.
fn writable(out: &Path) -> Result<()> {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if !folder.is_dir() {
        bail!("cannot write {}: there is no folder {}", out.display(), folder.display());
    }
    tempfile::NamedTempFile::new_in(folder)
        .with_context(|| format!("cannot write {}", out.display()))?;
    Ok(())
}

/// The file of weights that a name stands for.
fn remote(name: &str, revision: &str) -> Result<Remote> {
    let parts: Vec<&str> = name.splitn(3, '/').collect();
    let found = match parts.as_slice() {
        [name] if PUBLISHED.iter().any(|(known, _)| known == name) => {
            Remote::new(&format!("timm/{name}"), WEIGHTS, revision)
        }
        [_] => {
            let known = PUBLISHED.map(|(name, _)| name).join(", ");
            return Err(usage(format!(
                "no published weights are called `{name}`; there are {known}, and files of the \
                 hub as OWNER/REPOSITORY"
            )));
        }
        [owner, repository] => Remote::new(&format!("{owner}/{repository}"), WEIGHTS, revision),
        [owner, repository, file] => Remote::new(&format!("{owner}/{repository}"), file, revision),
        _ => unreachable!("a split has at least one part"),
    };
    found.map_err(|error| usage(error.to_string()))
}

fn fetch(remote: &Remote) -> Result<Cached> {
    let mut download = Download::new(&remote.file);
    let cached = remote.fetch(&mut |done, of| download.show(done, of));
    download.end();
    let cached = cached.with_context(|| format!("{}/{}", remote.repository, remote.file))?;
    let from = if cached.kept { "from the cache" } else { "downloaded" };
    output::note(&format!("{}: {from}, SHA-256 {}", remote.file, cached.sha256));
    Ok(cached)
}
