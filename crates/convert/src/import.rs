//! A file's content as a model.

use std::collections::{BTreeMap, HashMap};

use inception_formats::{Array, Contents, Format};
use inception_model::{Model, Weights};
use inception_net::zoo::{self, Dialect};
use inception_net::{Graph, Net};

use crate::ImportError;
use crate::from_graph;
use crate::labels;
use crate::layout::Layout;
use crate::names::{self, Arrays, Found, LIBRARIES, Library, Source};
use crate::onnx;
use crate::packages;
use crate::picture;

/// What is known about a file beside its content.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The format, or the library whose names it has; recognised unless given.
    pub from: Option<String>,
    /// The network; recognised unless given.
    pub network: Option<Net>,
    /// Whose arithmetic; recognised unless given. Not together with `network`.
    pub dialect: Option<Dialect>,
    /// The classes' names: as many as classes, or as many as a label map knows to extend.
    pub labels: Option<Vec<String>>,
    /// What a graph does not say itself.
    pub graph: from_graph::Options,
}

/// The model that a file holds.
///
/// # Errors
///
/// If the names are nobody's, arrays are missing, left over or of another shape (all of them are
/// named), the graph cannot be expressed, or the labels do not fit.
pub fn import(contents: Contents, options: &Options) -> Result<Model, ImportError> {
    let taken_over = options.from.as_deref() == Some("inception") && options.network.is_some();
    if is_own_model(&contents) && !taken_over {
        return Err(ImportError::OwnModel);
    }
    let mut contents = names::keras::renumbered(contents, options.graph.new_classes)?;
    let library = asked_for(options.from.as_deref(), contents.format)?;
    let mut provenance = BTreeMap::from([("format".to_owned(), contents.format.to_string())]);
    let (net, weights) = match contents.graph.take() {
        Some(graph) => from_graph(graph, &contents.notes, options, &mut provenance)?,
        None => from_arrays(&contents, library, options, &mut provenance)?,
    };
    let own = onnx::labels(&contents.notes)
        .or_else(|| packages::known(&contents.notes, &net).map(|package| package.labels))
        .filter(|labels| labels.len() == net.classes);
    let labels = options.labels.as_deref().or(own.as_deref());
    let labels = labels::fitting(labels, net.classes)?;
    Ok(Model { net, weights, labels, provenance })
}

/// Whether it is a model file of this program, which says so in its header.
fn is_own_model(contents: &Contents) -> bool {
    let header = contents.notes.get("inception").filter(|_| contents.format == Format::Safetensors);
    let header = header.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    let format = header.as_ref().and_then(|header| header.get("format")?.as_str());
    format.is_some_and(|format| format.starts_with("inception-model/"))
}

/// Names that `--from` takes.
pub fn sources() -> Vec<&'static str> {
    let mut names: Vec<_> = LIBRARIES.iter().map(|library| library.name).collect();
    names.extend(
        Format::ALL.map(Format::name).into_iter().filter(|name| names::library(name).is_none()),
    );
    names
}

/// The library named by `from`; a format's name only has to be right.
fn asked_for(from: Option<&str>, found: Format) -> Result<Option<&'static Library>, ImportError> {
    let Some(from) = from else { return Ok(None) };
    if let Some(library) = names::library(from) {
        return Ok(Some(library));
    }
    match Format::ALL.into_iter().find(|format| format.name() == from) {
        Some(format) if format == found => Ok(None),
        Some(wanted) => Err(ImportError::Format { found, wanted }),
        None => {
            Err(ImportError::UnknownFrom { name: from.to_owned(), known: sources().join(", ") })
        }
    }
}

fn from_graph(
    graph: inception_formats::graph::Graph,
    notes: &BTreeMap<String, String>,
    options: &Options,
    provenance: &mut BTreeMap<String, String>,
) -> Result<(Net, Weights), ImportError> {
    let range = options.graph.range.or_else(|| picture::range(notes));
    let graph_options = from_graph::Options { range, ..options.graph.clone() };
    let read = from_graph::from_graph(graph, &graph_options)?;
    if let Some(likeness) = read.likeness {
        let text = format!("{} ({})", likeness.network, likeness.dialect);
        provenance.insert("network".to_owned(), text);
    }
    let mut net = read.net;
    picture::resize(notes, &mut net.preprocessing);
    if options.graph.range.is_none()
        && let Some(preprocessing) = onnx::preprocessing(notes)
        && preprocessing.mean.len() == net.input.channels
        && preprocessing.std.len() == net.input.channels
    {
        net.preprocessing = preprocessing;
    }
    if options.graph.range.is_none()
        && let Some(package) = packages::known(notes, &net)
    {
        net.preprocessing = package.preprocessing;
    }
    net.graph()?;
    Ok((net, read.weights))
}

fn from_arrays(
    contents: &Contents,
    library: Option<&'static Library>,
    options: &Options,
    provenance: &mut BTreeMap<String, String>,
) -> Result<(Net, Weights), ImportError> {
    let arrays = Arrays::new(&contents.arrays, &contents.notes);
    let (library, found) = recognised(&arrays, library, options, &contents.arrays)?;
    let net = match (&options.network, found) {
        (Some(net), _) => net.clone(),
        (None, Some(found)) => {
            let mut net = network(&found, options.dialect)?;
            (library.adapt)(&mut net);
            net
        }
        (None, None) => return Err(nobodys(&contents.arrays)),
    };
    heeded(&options.graph, &net)?;
    provenance.insert("names".to_owned(), library.name.to_owned());
    let graph = net.graph()?;
    let weights = weights(&net, &graph, library, &contents.arrays)?;
    Ok((net, weights))
}

/// Whether weights alone of this network are what was asked for: there is no graph whose classes,
/// size or range could be another.
fn heeded(options: &from_graph::Options, net: &Net) -> Result<(), ImportError> {
    let network = || net.name.clone();
    if let Some(asked) = options.new_classes.filter(|&asked| asked != net.classes) {
        return Err(ImportError::Classes { network: network(), asked, found: net.classes });
    }
    if options.size.is_some_and(|size| size != (net.input.height, net.input.width)) {
        return Err(ImportError::NoEffect { option: "--size", network: network() });
    }
    if options.range.is_some() {
        return Err(ImportError::NoEffect { option: "--range", network: network() });
    }
    Ok(())
}

/// The library whose names these are and what it takes them for. With a network given nothing has
/// to be recognised but the library.
fn recognised(
    arrays: &Arrays,
    library: Option<&'static Library>,
    options: &Options,
    all: &[Array],
) -> Result<(&'static Library, Option<Found>), ImportError> {
    if let Some(library) = library {
        let found = (library.recognise)(arrays);
        if found.is_none() && options.network.is_none() {
            return Err(ImportError::NotFrom {
                library: library.name.to_owned(),
                names: some(all),
            });
        }
        return Ok((library, found));
    }
    LIBRARIES
        .into_iter()
        .find_map(|library| Some((library, Some((library.recognise)(arrays)?))))
        .ok_or_else(|| nobodys(all))
}

fn nobodys(all: &[Array]) -> ImportError {
    let known = LIBRARIES.map(|library| library.name).join(", ");
    ImportError::Names { names: some(all), known }
}

/// A few names, to show what is there.
fn some(all: &[Array]) -> String {
    const SHOWN: usize = 3;
    let mut names: Vec<&str> = all.iter().take(SHOWN).map(|array| array.name.as_str()).collect();
    if all.len() > SHOWN {
        names.push("…");
    }
    if names.is_empty() { "none at all".to_owned() } else { names.join(", ") }
}

/// The network of the zoo that was found.
fn network(found: &Found, dialect: Option<Dialect>) -> Result<Net, ImportError> {
    let options = zoo::Options {
        classes: Some(found.classes),
        dialect: Some(dialect.unwrap_or(found.dialect)),
        ..zoo::Options::default()
    };
    let mut net = zoo::build(found.network, &options)?;
    if !found.auxiliary {
        names::without_auxiliary(&mut net);
    }
    net.preprocessing = match (&found.preprocessing, options.dialect) {
        (Some(preprocessing), _) => preprocessing.clone(),
        (None, Some(dialect)) => dialect.published(net.preprocessing),
        (None, None) => net.preprocessing,
    };
    Ok(net)
}

/// The values of all parameters; every array has to be used or known to be no part of a network.
fn weights(
    net: &Net,
    graph: &Graph,
    library: &Library,
    arrays: &[Array],
) -> Result<Weights, ImportError> {
    let Some(sources) = (library.sources)(&net.name, graph) else {
        return Err(ImportError::NoNames {
            library: library.name.to_owned(),
            network: net.name.clone(),
        });
    };
    let mut faults = Vec::new();
    let mut rest: HashMap<&str, &Array> = HashMap::new();
    for array in arrays {
        if rest.insert(&array.name, array).is_some() {
            faults.push(format!("{} is there twice", array.name));
        }
    }
    let mut named = Vec::new();
    for (parameter, source) in graph.parameters().into_iter().zip(sources) {
        let (name, layout, minus) = match source {
            Source::Array { name, layout } => (name, layout, None),
            Source::Difference { name, minus } => (name, Layout::Same, Some(minus)),
            Source::Constant(value) => {
                let len = parameter.shape.iter().product();
                named.push((parameter.name, parameter.shape, vec![value; len]));
                continue;
            }
        };
        let Some(array) = rest.remove(name.as_str()) else {
            faults.push(format!("{name} is missing"));
            continue;
        };
        let (shape, mut values) = layout.to_ours(&array.shape, array.values.clone());
        if !same_but_ones(&shape, &parameter.shape) {
            let (found, wanted) = (&array.shape, &parameter.shape);
            faults.push(format!("{name} has shape {found:?}, the network wants {wanted:?}"));
            continue;
        }
        if let Some(minus) = minus {
            match rest.remove(minus.as_str()) {
                Some(array) if array.values.len() == values.len() => {
                    values.iter_mut().zip(&array.values).for_each(|(v, less)| *v -= less);
                }
                Some(_) => faults.push(format!("{minus} has another shape than {name}")),
                None => faults.push(format!("{minus} is missing")),
            }
        }
        named.push((parameter.name, parameter.shape, values));
    }
    let mut left_over: Vec<&str> =
        rest.into_keys().filter(|name| !(library.ignores)(name)).collect();
    left_over.sort_unstable();
    faults.extend(left_over.into_iter().map(|name| format!("{name} is left over")));
    if !faults.is_empty() {
        return Err(ImportError::Arrays {
            network: net.name.clone(),
            library: library.name.to_owned(),
            faults: inception_model::listing(&faults),
        });
    }
    Ok(Weights::from_named(graph, named)?)
}

/// Whether the shapes are the same but for axes of length 1 at their ends.
fn same_but_ones(a: &[usize], b: &[usize]) -> bool {
    let trimmed = |shape: &[usize]| -> Vec<usize> {
        let mut shape: Vec<usize> = shape.to_vec();
        while shape.len() > 1 && shape.last() == Some(&1) {
            shape.pop();
        }
        let ones = shape.iter().take_while(|&&n| n == 1).count().min(shape.len().saturating_sub(1));
        shape.split_off(ones)
    };
    trimmed(a) == trimmed(b)
}
