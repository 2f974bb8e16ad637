//! `inception diff`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use inception_engine::{Cpu, Inference};
use inception_image::{Preprocessor, open, pictures};
use inception_model::{Model, Weights};
use inception_net::Net;
use inception_net::compare::{self, Difference, Pair};
use inception_net::graph::{Graph, LayerId};
use serde_json::{Value, json};

use crate::fail::usage;
use crate::options::{MachineOptions, NetworkOptions};
use crate::text::{Align, Table, count, grouped};
use crate::{network, output};

/// Compares two models or networks: layers, preprocessing, weights and, on pictures, outputs
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A model file, a network's TOML file, or a built-in network as NAME or NAME:DIALECT
    a: String,
    /// What to compare it with, likewise
    b: String,
    /// Pictures, or folders of pictures, on which the outputs of all layers are compared; both
    /// have to be model files
    #[arg(value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Prepares the pictures for both as for the first
    #[arg(long)]
    same_input: bool,
    /// Largest relative difference that counts as none
    #[arg(long, value_name = "SHARE", default_value_t = 1e-4)]
    tolerance: f64,
    /// Writes JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: MachineOptions,
}

const EXAMPLES: &str = "\
Examples:
  inception diff keras.safetensors torchvision.safetensors cat.jpg
  inception diff inception-v3:tf-slim inception-v3:fid-2015
  inception diff before.safetensors after.safetensors --json

Layers are paired by name, the others by kind, shape and order. A tensor's difference is the
largest of two values by the largest magnitude in the first.";

/// One side.
struct Side {
    net: Net,
    graph: Graph,
    weights: Option<Weights>,
    labels: Vec<String>,
}

/// What a tensor, or a layer's output, differs by.
struct Distance {
    name: String,
    /// `None` where the shapes are not the same.
    share: Option<f64>,
}

/// All that was found.
struct Report {
    layers: usize,
    only_a: Vec<String>,
    only_b: Vec<String>,
    structure: Vec<(String, Vec<Difference>)>,
    nets: Vec<Difference>,
    labels: usize,
    weights: Option<Vec<Distance>>,
    outputs: Option<Vec<Distance>>,
}

/// Compares and prints.
pub fn run(args: &Args) -> Result<ExitCode> {
    let (a, b) = (Side::open(&args.a)?, Side::open(&args.b)?);
    let pairs = compare::pairs(&a.graph, &b.graph);
    let both: Vec<(LayerId, LayerId)> = pairs.iter().filter_map(|&(x, y)| Some((x?, y?))).collect();
    let name = |(x, y): (LayerId, LayerId)| {
        let (x, y) = (&a.graph.layers[x].name, &b.graph.layers[y].name);
        if x == y { x.clone() } else { format!("{x} | {y}") }
    };
    let alone = |graph: &Graph, of: fn(&Pair) -> Option<LayerId>| {
        pairs.iter().filter_map(of).map(|id| graph.layers[id].name.clone()).collect()
    };
    let structure = both.iter().filter_map(|&(x, y)| {
        let differences = compare::layers(&a.graph.layers[x], &b.graph.layers[y]);
        (!differences.is_empty()).then(|| (name((x, y)), differences))
    });
    let outputs = match args.images.as_slice() {
        [] => None,
        images => Some(outputs(args, images, (&a, &b), &both, &name)?),
    };
    let same = |(x, y): &(&String, &String)| x != y;
    let report = Report {
        layers: both.len(),
        only_a: alone(&a.graph, |pair| pair.0.filter(|_| pair.1.is_none())),
        only_b: alone(&b.graph, |pair| pair.1.filter(|_| pair.0.is_none())),
        structure: structure.collect(),
        nets: compare::nets(&a.net, &b.net),
        labels: a.labels.iter().zip(&b.labels).filter(same).count(),
        weights: weights((&a, &b), &both),
        outputs,
    };
    match args.json {
        true => output::print_json(&report.json(args.tolerance))?,
        false => output::print(&report.text(args.tolerance))?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Side {
    fn open(spec: &str) -> Result<Self> {
        let path = Path::new(spec);
        if path.exists() && network::is_model_file(path) {
            let Model { net, weights, labels, .. } = Model::load(path)?;
            let graph = net.graph()?;
            return Ok(Self { net, graph, weights: Some(weights), labels });
        }
        let options = |dialect| -> Result<NetworkOptions> {
            let dialect = Some(str::parse(dialect).map_err(|e| usage(format!("{spec}: {e}")))?);
            Ok(NetworkOptions { dialect, ..NetworkOptions::default() })
        };
        let net = match spec.split_once(':').filter(|_| !path.exists()) {
            Some((name, dialect)) => network::find(name, &options(dialect)?, None)?,
            None => network::find(spec, &NetworkOptions::default(), None)?,
        };
        Ok(Self { graph: net.graph()?, net, weights: None, labels: Vec::new() })
    }
}

/// The largest difference by the largest magnitude in `a`; infinite where one is no number.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let largest = a.iter().fold(0f64, |largest, &v| largest.max(f64::from(v).abs()));
    let off = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs());
    // A NaN is never the larger of two: it has to be looked for.
    let off = off.fold(0f64, |most, off| if off.is_nan() { f64::INFINITY } else { most.max(off) });
    if off == 0.0 { 0.0 } else { off / largest.max(f64::MIN_POSITIVE) }
}

/// Every parameter that both sides of a pair have, by what it is to its layer.
fn weights((a, b): (&Side, &Side), pairs: &[(LayerId, LayerId)]) -> Option<Vec<Distance>> {
    let (of_a, of_b) = (a.weights.as_ref()?, b.weights.as_ref()?);
    let tensor = |p: &inception_net::graph::Parameter, w: &'_ Weights| w.place(&p.name);
    let mut found = Vec::new();
    for &(x, y) in pairs {
        let others = b.graph.layer_parameters(y);
        for own in a.graph.layer_parameters(x) {
            let Some(other) = others.iter().find(|other| other.role == own.role) else { continue };
            let (Some(i), Some(j)) = (tensor(&own, of_a), tensor(other, of_b)) else { continue };
            let (i, j) = (&of_a.tensors()[i].values, &of_b.tensors()[j].values);
            let share = (own.shape == other.shape).then(|| distance(i, j));
            found.push(Distance { name: own.name, share });
        }
    }
    Some(found)
}

/// The outputs of all paired layers on the pictures: the largest distance of any picture's.
fn outputs(
    args: &Args,
    images: &[PathBuf],
    (a, b): (&Side, &Side),
    pairs: &[(LayerId, LayerId)],
    name: &dyn Fn((LayerId, LayerId)) -> String,
) -> Result<Vec<Distance>> {
    let (Some(of_a), Some(of_b)) = (&a.weights, &b.weights) else {
        return Err(usage("pictures are for two model files; a network alone has no weights"));
    };
    let cpu = Arc::new(Cpu::new(args.machine.threads())?);
    let (ids_a, ids_b): (Vec<LayerId>, Vec<LayerId>) = pairs.iter().copied().unzip();
    let mut run_a = Inference::with_outputs(&a.graph, of_a, Arc::clone(&cpu), &ids_a)?;
    let mut run_b = Inference::with_outputs(&b.graph, of_b, cpu, &ids_b)?;
    let prepare = |net: &Net, of: &Net| {
        let input = net.input;
        let shape = (input.channels, input.height, input.width);
        Preprocessor::new(of.preprocessing.clone(), shape)
    };
    let for_a = prepare(&a.net, &a.net)?;
    let for_b = prepare(&b.net, if args.same_input { &a.net } else { &b.net })?;
    let same = |&(x, y): &(LayerId, LayerId)| a.graph.layers[x].shape == b.graph.layers[y].shape;
    let mut found: Vec<Distance> = pairs
        .iter()
        .map(|pair| Distance { name: name(*pair), share: same(pair).then_some(0.0) })
        .collect();
    let mut paths = Vec::new();
    for image in images {
        match image.is_dir() {
            true => paths.extend(pictures(image)?),
            false => paths.push(image.clone()),
        }
    }
    if paths.is_empty() {
        bail!("no pictures in the folders given");
    }
    for path in &paths {
        let picture = open(path)?;
        let answer = |preprocessor: &Preprocessor, run: &mut Inference| -> Result<_> {
            let mut values = vec![0.0; preprocessor.len()];
            let prepared = preprocessor.apply(&picture, &mut values);
            prepared.with_context(|| path.display().to_string())?;
            Ok(run.run_all(&values)?)
        };
        let (x, y) = (answer(&for_a, &mut run_a)?, answer(&for_b, &mut run_b)?);
        for (found, (x, y)) in found.iter_mut().zip(x.iter().zip(&y)) {
            found.share = found.share.map(|most| most.max(distance(x, y)));
        }
    }
    Ok(found)
}

impl Report {
    /// The first layer of the network whose outputs are further apart than this.
    fn parting(&self, tolerance: f64) -> Option<&str> {
        let beyond = |d: &&Distance| d.share.is_none_or(|share| share > tolerance);
        self.outputs.as_ref()?.iter().find(beyond).map(|d| d.name.as_str())
    }

    fn text(&self, tolerance: f64) -> String {
        let mut text = format!("{} in both", count(self.layers as u64, "layer"));
        text += &format!(", {} only in A, {} only in B\n", self.only_a.len(), self.only_b.len());
        for (side, names) in [("A", &self.only_a), ("B", &self.only_b)] {
            if !names.is_empty() {
                text += &format!("  only in {side}: {}\n", few(names));
            }
        }
        let mut rows = Table::new(&[
            ("layer", Align::Left),
            ("what", Align::Left),
            ("A", Align::Left),
            ("B", Align::Left),
        ]);
        let all = self.structure.iter().map(|(name, differences)| (name.as_str(), differences));
        let mut some = false;
        for (name, differences) in all.chain([("(network)", &self.nets)]) {
            for (what, a, b) in differences {
                rows.row(vec![name.to_owned(), (*what).to_owned(), a.clone(), b.clone()]);
                some = true;
            }
        }
        text +=
            &if some { format!("\n{}", rows.text()) } else { "the same arithmetic\n".to_owned() };
        if self.labels > 0 {
            text += &format!("\nlabels: {} differ\n", grouped(self.labels as u64));
        }
        if let Some(weights) = &self.weights {
            let beyond: Vec<&Distance> =
                weights.iter().filter(|d| d.share.is_none_or(|share| share > 0.0)).collect();
            let equal = weights.len() - beyond.len();
            text += &format!("\nweights: {equal} of {} tensors are equal\n", weights.len());
            if !beyond.is_empty() {
                text += &distances("tensor", beyond.iter().copied().take(SHOWN));
            }
            if beyond.len() > SHOWN {
                text += &format!("and {} more (--json has all)\n", beyond.len() - SHOWN);
            }
        }
        if let Some(outputs) = &self.outputs {
            text += &format!("\n{}", distances("output of", outputs.iter()));
            text += &match self.parting(tolerance) {
                Some(layer) => format!("\nthey part (by more than {tolerance}) at {layer}\n"),
                None => format!("\nno output differs by more than {tolerance}\n"),
            };
        }
        text
    }

    fn json(&self, tolerance: f64) -> Value {
        let difference = |(what, a, b): &Difference| json!({ "what": what, "a": a, "b": b });
        let list = |list: &[Difference]| list.iter().map(difference).collect::<Vec<_>>();
        let structure: Vec<Value> = self
            .structure
            .iter()
            .map(|(layer, differences)| json!({ "layer": layer, "differences": list(differences) }))
            .collect();
        let distances = |found: &Option<Vec<Distance>>| {
            let found = found.as_ref()?.iter();
            Some(
                found.map(|d| json!({ "name": d.name, "difference": d.share })).collect::<Vec<_>>(),
            )
        };
        json!({
            "layers": self.layers,
            "only_a": self.only_a,
            "only_b": self.only_b,
            "structure": structure,
            "network": list(&self.nets),
            "labels": self.labels,
            "weights": distances(&self.weights),
            "outputs": distances(&self.outputs),
            "parts_at": self.parting(tolerance),
        })
    }
}

/// Tensors told of in the text.
const SHOWN: usize = 20;

fn few(names: &[String]) -> String {
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown}, …") } else { shown }
}

fn distances<'a>(what: &str, found: impl Iterator<Item = &'a Distance>) -> String {
    let mut table = Table::new(&[(what, Align::Left), ("differs by", Align::Right)]);
    for Distance { name, share } in found {
        let share = match share {
            Some(0.0) => "0".to_owned(),
            Some(share) => format!("{share:.1e}"),
            None => "another shape".to_owned(),
        };
        table.row(vec![name.clone(), share]);
    }
    table.text()
}
