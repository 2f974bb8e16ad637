//! How convolutions are computed: the options, and the plan kept for this machine.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use inception_engine::{Algorithms, Cpu, Plan, StepInfo};

use crate::fail::usage;
use crate::output;

/// Chooses convolutions' algorithms.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Machine")]
pub struct EngineOptions {
    /// Computes every convolution directly, without minimal filtering and Strassen's product:
    /// slower, and closer by one or two digits in the sixth place to exact arithmetic
    #[arg(long)]
    precise: bool,
    /// For those who have little memory: chooses convolutions' algorithms so that the weights, as
    /// packed for them, take at most a quarter more room than for direct convolution; some slower
    #[arg(long, conflicts_with_all = ["precise", "plan"])]
    lean: bool,
    /// For many pictures, eight or more at a time: 5 to 10 % faster then, slower for a single one; the
    /// weights take up to 2.2 times the room. Goes before what `tune` has kept
    #[arg(long, conflicts_with_all = ["precise", "plan", "lean"])]
    throughput: bool,
    /// Takes convolutions' algorithms from this file, as `inception tune` writes it [default: that
    /// which `tune` has made for this machine, if any; else as estimated]
    #[arg(long, value_name = "FILE", conflicts_with = "precise")]
    plan: Option<PathBuf>,
}

/// Where a choice of algorithms comes from.
pub struct Choice {
    /// The choice.
    pub algorithms: Algorithms,
    /// To be told.
    pub origin: String,
}

impl EngineOptions {
    /// What was asked for; else this machine's plan; else the estimate.
    pub fn algorithms(&self, cpu: &Cpu) -> Result<Choice> {
        if self.precise {
            let origin = "direct only".to_owned();
            return Ok(Choice { algorithms: Algorithms::Precise, origin });
        }
        if self.lean {
            let origin = "for little memory".to_owned();
            return Ok(Choice { algorithms: Algorithms::Lean, origin });
        }
        if self.throughput {
            let origin = "as estimated for many pictures at a time".to_owned();
            return Ok(Choice { algorithms: Algorithms::Throughput, origin });
        }
        if let Some(path) = &self.plan {
            let origin = format!("as planned in {}", path.display());
            return Ok(Choice { algorithms: Algorithms::Planned(read(path)?), origin });
        }
        if let Some(path) = kept_plan(cpu).filter(|path| path.exists()) {
            match read(&path) {
                Ok(plan) => {
                    let origin = format!("as planned in {}", path.display());
                    return Ok(Choice { algorithms: Algorithms::Tuned(plan), origin });
                }
                // It only makes things faster, so nothing fails for it.
                Err(error) => output::note(&format!(
                    "this machine's plan is left out: {error:#}; `inception tune NETWORK --forget` \
                     removes it"
                )),
            }
        }
        let origin = "as estimated; `inception tune` measures".to_owned();
        Ok(Choice { algorithms: Algorithms::Estimated, origin })
    }
}

/// Where this machine's plan is kept: a file for each processor and instruction set, in the
/// user's folder for such things. `None` where there is no such folder.
pub fn kept_plan(cpu: &Cpu) -> Option<PathBuf> {
    let name: String = format!("{}-{}", processor(), cpu.isa())
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect();
    Some(cache_folder()?.join("plans").join(format!("{name}.json")))
}

/// `INCEPTION_CACHE`, or `inception` in the folder where the system keeps such things.
fn cache_folder() -> Option<PathBuf> {
    let folder = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    folder("INCEPTION_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("inception")))
        .or_else(|| folder("LOCALAPPDATA").map(|data| data.join("inception")))
        .or_else(|| env::home_dir().map(|home| home.join(".cache").join("inception")))
}

/// The processor's name, as far as the system tells.
pub fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// Reads a plan.
pub fn read(path: &Path) -> Result<Plan> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let context = || {
        let file = path.display();
        format!(
            "{file} is no plan (JSON from kinds of layers to algorithms, see explain-plan --help)"
        )
    };
    let written: BTreeMap<String, String> = serde_json::from_str(&text).with_context(context)?;
    let parsed = written.into_iter().map(|(kind, algorithm)| {
        let algorithm = algorithm.parse().with_context(|| format!("{}: {kind}", context()))?;
        Ok((kind, algorithm))
    });
    parsed.collect()
}

/// Tells of the kinds of layers in a plan file that a network does not have.
pub fn tell_unused(options: &EngineOptions, steps: &[StepInfo]) -> Result<()> {
    let Some(path) = &options.plan else { return Ok(()) };
    let unused = |kind: &&String| steps.iter().all(|step| step.layer_kind != **kind);
    for kind in read(path)?.keys().filter(unused) {
        output::note(&format!("{}: the network has no layer `{kind}`", path.display()));
    }
    Ok(())
}

/// Writes a plan, as JSON from kind of layer to algorithm.
pub fn write(path: &Path, plan: &Plan) -> Result<()> {
    let named: BTreeMap<&String, String> =
        plan.iter().map(|(kind, algorithm)| (kind, algorithm.to_string())).collect();
    let text = serde_json::to_string_pretty(&named)? + "\n";
    inception_model::write_atomically(path, text.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The path of this machine's plan, its folder made; or why there is none.
pub fn place_for_plan(cpu: &Cpu) -> Result<PathBuf> {
    let path = kept_plan(cpu).ok_or_else(|| {
        usage("there is no home folder to keep the plan in; name a file with --output")
    })?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    Ok(path)
}
