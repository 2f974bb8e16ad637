//! A graph of another program, read as a network of ours.
//!
//! Four readings, one after the other: `units` folds what belongs together (convolution, batch
//! norm, ReLU) into layers as this project has them; `series` recovers layers in series and
//! branches side by side from who reads whom; `zoo` gives the steps that a built-in network also
//! has their own names and forms; `values` hands every parameter its numbers.

mod filter;
mod series;
mod units;
mod values;
mod zoo;

use std::collections::HashSet;

use inception_formats::graph::Graph;
use inception_model::{ModelError, Weights};
use inception_net::graph::BatchNorm;
use inception_net::layers::{Classifier, GlobalAvgPool};
use inception_net::preprocessing::{ChannelOrder, Filter, Resize};
use inception_net::zoo::Dialect;
use inception_net::{Defaults, Input, Net, NetError, Preprocessing, Step};

use crate::Range;
pub(crate) use series::free_name;
use units::{Unit, Units};

/// Most nodes of a graph; an Inception has some thousands at worst.
const MOST_NODES: usize = 100_000;
/// Most layers after folding; an Inception has some hundreds.
const MOST_LAYERS: usize = 2_000;
/// Largest side of its pictures.
const LARGEST_SIDE: usize = 4_096;

/// What a graph does not say itself.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Name of the network, where it is none of the built-in ones.
    pub name: String,
    /// Height and width of its pictures, where the graph leaves them open or others are wanted.
    pub size: Option<(usize, usize)>,
    /// The numbers that the graph's own input wants; scaling inside the graph comes on top.
    /// Without it the network gets the preprocessing of the dialect it is like, or, where it is
    /// like none, values in [0, 1].
    pub range: Option<Range>,
    /// Number of classes of a new classifier with random weights, for graphs that end before
    /// one (Keras' `include_top=False`).
    pub new_classes: Option<usize>,
}

/// A graph as a network of ours.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The network.
    pub net: Net,
    /// Its weights.
    pub weights: Weights,
    /// Which built-in network it is or resembles, if any.
    pub likeness: Option<Likeness>,
    /// What of the file was done with its preprocessing.
    pub scaling: Scaling,
    /// For every layer of the network's graph but the input, in its order: the layer's name and
    /// that of the file's node whose value it computes.
    pub sources: Vec<(String, String)>,
}

/// A built-in network that shares modules with the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Likeness {
    /// The network.
    pub network: String,
    /// Whose arithmetic it follows.
    pub dialect: Dialect,
    /// Whether every layer is that network's (auxiliary heads and dropout aside), or only some
    /// modules are.
    pub complete: bool,
}

/// Where the network's preprocessing comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaling {
    /// [`Options::range`] and what the graph does itself.
    Given,
    /// The dialect it is like.
    Dialect,
    /// Nothing says it: values are in [0, 1] where the graph does not scale them itself.
    Unknown,
}

/// Why a graph is no network of this family.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// More than any Inception has.
    #[error("the graph has {found} {what}, more than the {limit} that can be imported")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A node that contradicts itself or the rest of the graph.
    #[error("node `{node}`: {problem}")]
    Node {
        /// The node.
        node: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The graph has no output, or none that depends on its input.
    #[error("the graph has no output that depends on its input")]
    NoOutput,
    /// It ends in something else than class scores.
    #[error(
        "the graph ends with `{0}`, not with a fully connected layer: it has no classifier; to put \
         a new, untrained one on top, say how many classes it has (--classes)"
    )]
    NoClassifier(String),
    /// The size of the pictures is not known.
    #[error("the graph does not say how large its pictures are; give their size (--size)")]
    NoSize,
    /// What was recovered is no network.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The values do not fit.
    #[error(transparent)]
    Weights(#[from] ModelError),
}

impl GraphError {
    fn node(node: &str, problem: impl Into<String>) -> Self {
        Self::Node { node: node.to_owned(), problem: problem.into() }
    }
}

/// Reads a graph as a network.
///
/// Of several outputs the one that most of the graph leads to is taken; a softmax at its end is
/// left out, so that the network's outputs are logits. Average pools keep their divisors, paddings
/// become explicit, batch norms keep their statistics (what cannot stay as it is, such as a bias
/// before a batch norm, is folded into them), and scaling of the input becomes preprocessing.
///
/// # Errors
///
/// If the graph does something that no network of this crate's does; the message names the node.
pub fn from_graph(graph: Graph, options: &Options) -> Result<Reading, GraphError> {
    let mut units = units::fold(graph)?;
    limit("layers", units.units.len(), MOST_LAYERS)?;
    let input = input(&units, options)?;
    let tree = series::recover(&units)?;
    let batch_norm = batch_norm(&units);
    let mut series = series::Writer::new(&units, batch_norm.is_some()).write(tree)?;
    let classes = end(&mut units, &mut series, options)?;
    let mut net = Net {
        name: options.name.clone(),
        dialect: None,
        classes,
        input,
        preprocessing: plain(&input),
        defaults: Defaults { batch_norm, ..Defaults::default() },
        layers: series.steps,
    };
    let recovered = net.graph()?;
    let likeness = zoo::likeness(&net, &recovered);
    if let Some(likeness) = &likeness {
        zoo::apply(likeness, &mut net);
    }
    let scaling = preprocessing(&mut net, &units, options, likeness.as_ref())?;
    let graph = net.graph()?;
    let sources = sources(&graph, &series.order, &units);
    let weights = values::weights(&graph, &net, &series.order, units)?;
    Ok(Reading { net, weights, likeness: likeness.map(|found| found.public()), scaling, sources })
}

fn limit(what: &'static str, found: usize, limit: usize) -> Result<(), GraphError> {
    if found > limit { Err(GraphError::TooLarge { what, found, limit }) } else { Ok(()) }
}

fn input(units: &Units, options: &Options) -> Result<Input, GraphError> {
    let [channels, height, width] = units.input;
    let channels = channels.or_else(|| units.first_channels()).ok_or(GraphError::NoSize)?;
    let (height, width) = match (options.size, height, width) {
        (Some(size), _, _) => size,
        (None, Some(height), Some(width)) => (height, width),
        _ => return Err(GraphError::NoSize),
    };
    limit("rows or columns in its pictures", height.max(width), LARGEST_SIDE)?;
    Ok(Input { channels, height, width })
}

/// One ε has to do for all: the smallest, because what others have more can be added to their
/// variances.
fn batch_norm(units: &Units) -> Option<BatchNorm> {
    let norms: Vec<_> = units.filters().filter_map(|filter| filter.norm.as_ref()).collect();
    let epsilon = norms.iter().map(|norm| norm.epsilon).reduce(f32::min)?;
    let scale = norms.iter().any(|norm| norm.scale.iter().flatten().any(|&scale| scale != 1.0));
    Some(BatchNorm { epsilon, decay: 0.9, scale })
}

/// Makes the series end with a classifier; returns its number of classes.
fn end(
    units: &mut Units,
    series: &mut series::Written,
    options: &Options,
) -> Result<usize, GraphError> {
    // Logits averaged over the grid are logits of the average.
    if let [.., before, last] = series.order.as_slice()
        && let (Some(before), Some(last)) = (*before, *last)
        && matches!(units.units[last].unit, Unit::GlobalAvgPool)
        && units
            .filter(before)
            .is_some_and(|filter| filter.is_pointwise() && filter.may_classify() && !filter.relu)
    {
        let n = series.order.len();
        series.order.swap(n - 2, n - 1);
        let n = series.steps.len();
        series.steps.swap(n - 2, n - 1);
    }
    let last = series.order.last().copied().flatten();
    let name = last.map_or("input", |unit| &units.units[unit].name).to_owned();
    if let Some(unit) = last
        && let Some(filter) = units.filter_mut(unit)
        && !filter.relu
        && filter.may_classify()
    {
        filter.make_linear();
        let classes = filter.shape[0];
        let name = series.steps.pop().map_or(name, |step| step.name().to_owned());
        series.steps.push(Step::Classifier(Classifier { name, init: None }));
        return Ok(classes);
    }
    let Some(classes) = options.new_classes else { return Err(GraphError::NoClassifier(name)) };
    let names: HashSet<_> = series.steps.iter().map(|step| step.name().to_owned()).collect();
    let pool = series::free_name("pool", |name| names.contains(name));
    let fc = series::free_name("fc", |name| names.contains(name));
    series.steps.push(Step::GlobalAvgPool(GlobalAvgPool { name: pool }));
    series.steps.push(Step::Classifier(Classifier { name: fc, init: None }));
    series.order.extend([None, None]);
    Ok(classes)
}

/// Pictures at the input's size, values in [0, 1].
fn plain(input: &Input) -> Preprocessing {
    let mut plain = Preprocessing::symmetric(0, (input.height, input.width));
    plain.resize = Resize::Exact { height: input.height, width: input.width };
    plain.filter = Filter::Bilinear;
    plain.crop = None;
    plain.order = if input.channels == 1 { ChannelOrder::Grey } else { ChannelOrder::Rgb };
    plain.mean = vec![0.0; input.channels];
    plain.std = vec![1.0; input.channels];
    plain
}

fn preprocessing(
    net: &mut Net,
    units: &Units,
    options: &Options,
    likeness: Option<&zoo::Found>,
) -> Result<Scaling, GraphError> {
    let channels = net.input.channels;
    let mut result = match likeness {
        Some(found) => found.preprocessing().for_channels(channels),
        None => plain(&net.input),
    };
    let scaling = match (options.range, likeness) {
        (Some(range), _) => {
            range.apply(&mut result);
            Scaling::Given
        }
        // The dialect's values are those that its first convolution reads: what the graph does
        // before is a part of them.
        (None, Some(_)) => {
            net.preprocessing = result;
            return Ok(Scaling::Dialect);
        }
        (None, None) => Scaling::Unknown,
    };
    if let Some((node, factor, offset)) = &units.scaling {
        let at =
            |values: &[f32], c: usize| f64::from(values[if values.len() == 1 { 0 } else { c }]);
        let count = |values: &[f32]| values.len() == 1 || values.len() == channels;
        let statistics = [&result.mean, &result.std].iter().all(|v| v.len() == channels);
        if !count(factor) || !count(offset) || !statistics {
            return Err(GraphError::node(node, "it does not scale each channel of the input"));
        }
        for c in 0..channels {
            let (factor, offset) = (at(factor, c), at(offset, c));
            let std = f64::from(result.std[c]);
            let (mean, scaled) = (f64::from(result.mean[c]) - offset * std / factor, std / factor);
            if !(mean.is_finite() && scaled.is_finite() && scaled != 0.0) {
                return Err(GraphError::node(node, "it scales the input by zero"));
            }
            (result.mean[c], result.std[c]) = (mean as f32, scaled as f32);
        }
    }
    net.preprocessing = result;
    Ok(scaling)
}

fn sources(
    graph: &inception_net::Graph,
    order: &[Option<usize>],
    units: &Units,
) -> Vec<(String, String)> {
    let named = graph.layers.iter().skip(1).zip(order);
    named
        .filter_map(|(layer, unit)| Some((layer.name.clone(), units.units[(*unit)?].node.clone())))
        .collect()
}
