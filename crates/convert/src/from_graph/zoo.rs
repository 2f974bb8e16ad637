//! Which built-in network a graph is, or whose modules it has.
//!
//! Both are compared unrolled, step by step: a step of the graph is a step of the zoo if the same
//! layers with the same windows and shapes read each other in the same way. Names, batch norm and
//! initial weights do not count. What both have in the same order takes the zoo's form.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::ops::Range;

use inception_net::graph::{Layer, Op};
use inception_net::zoo::{self, Dialect};
use inception_net::{Graph, Net, Preprocessing, Step};

use super::Likeness;
use super::series::free_name;

/// The built-in network most like a graph.
pub(super) struct Found {
    network: &'static str,
    dialect: Dialect,
    /// It, without auxiliary heads, for the graph's pictures and classes.
    net: Net,
    /// For each step of the graph the step of `net` that it is.
    steps: Vec<Option<usize>>,
    complete: bool,
}

impl Found {
    pub fn public(&self) -> Likeness {
        let network = self.network.to_owned();
        Likeness { network, dialect: self.dialect, complete: self.complete }
    }

    pub fn preprocessing(&self) -> Preprocessing {
        self.dialect.published(self.net.preprocessing.clone())
    }
}

/// The most similar network, if it shares a module.
pub(super) fn likeness(net: &Net, graph: &Graph) -> Option<Found> {
    let candidates = zoo::names().flat_map(|name| {
        zoo::dialects(name).into_iter().flatten().map(move |&dialect| (name, dialect))
    });
    let mut best: Option<(_, Found)> = None;
    for (network, dialect) in candidates {
        let options = zoo::Options {
            size: Some((net.input.height, net.input.width)),
            channels: Some(net.input.channels),
            dialect: Some(dialect),
            ..zoo::Options::default()
        };
        let Ok(mut candidate) = zoo::build(network, &options) else { continue };
        let own_classes = candidate.classes;
        candidate.classes = net.classes;
        candidate.layers.retain(|step| step.auxiliary().is_none());
        let Ok(candidate_graph) = candidate.graph() else { continue };
        let sides = (Side::new(&candidate, &candidate_graph), Side::new(net, graph));
        let steps = align(&sides.0, &sides.1);
        let pairs = || steps.iter().enumerate().filter_map(|(i, step)| Some((i, (*step)?)));
        if !pairs().any(|(i, _)| net.layers[i].branches().is_some()) {
            continue;
        }
        let layers: usize = pairs().map(|(i, _)| sides.1.ranges[i].len()).sum();
        let matched: HashSet<usize> = pairs().map(|(_, step)| step).collect();
        let missed = (0..candidate.layers.len()).filter(|i| !matched.contains(i));
        let dropout = |step: &Step| matches!(step, Step::Dropout(_));
        let complete = missed.clone().all(|i| dropout(&candidate.layers[i]))
            && (0..net.layers.len()).all(|i| steps[i].is_some() || dropout(&net.layers[i]));
        let (norm, own) = (net.defaults.batch_norm, candidate.defaults.batch_norm);
        let score = (
            layers,
            Reverse(missed.clone().filter(|&i| !dropout(&candidate.layers[i])).count()),
            own_classes == net.classes,
            norm.is_some() == own.is_some(),
            norm.zip(own).is_some_and(|(a, b)| a.epsilon == b.epsilon),
            norm.zip(own).is_some_and(|(a, b)| a.scale == b.scale),
            // Graphs for inference have no dropout left, so its lack says least.
            Reverse(missed.count()),
        );
        if best.as_ref().is_none_or(|(found, _)| score > *found) {
            best = Some((score, Found { network, dialect, net: candidate, steps, complete }));
        }
    }
    best.map(|(_, found)| found)
}

/// Puts the zoo's steps and settings in the place of the network's own.
pub(super) fn apply(found: &Found, net: &mut Net) {
    let zoo = &found.net;
    if found.complete {
        net.name = found.network.to_owned();
        net.dialect = Some(found.dialect);
        net.dialect = Some(found.dialect);
    }
    net.defaults.init = zoo.defaults.init;
    net.defaults.count_padding = zoo.defaults.count_padding;
    if let (Some(norm), Some(own)) = (&mut net.defaults.batch_norm, zoo.defaults.batch_norm) {
        norm.decay = own.decay;
        // A file whose γ are all 1, or left out, says nothing about whether they are learned.
        norm.scale |= own.scale;
    }
    let mut names: HashSet<String> =
        found.steps.iter().flatten().map(|&i| zoo.layers[i].name().to_owned()).collect();
    for (step, twin) in net.layers.iter_mut().zip(&found.steps) {
        match twin {
            Some(twin) => *step = zoo.layers[*twin].clone(),
            None => {
                let name = free_name(step.name(), |name| names.contains(name));
                names.insert(name.clone());
                step.rename(name);
            }
        }
    }
}

/// A network's steps and the layers that each unrolls to.
struct Side<'a> {
    net: &'a Net,
    graph: &'a Graph,
    ranges: Vec<Range<usize>>,
}

impl<'a> Side<'a> {
    fn new(net: &'a Net, graph: &'a Graph) -> Self {
        let mut start = 1;
        let ranges = net.layers.iter().map(|step| {
            let range = start..start + layers(step);
            start = range.end;
            range
        });
        let ranges = ranges.collect();
        Self { net, graph, ranges }
    }
}

/// How many layers a step unrolls to.
fn layers(step: &Step) -> usize {
    match (step, step.branches()) {
        (_, Some(branches)) => 1 + branches.iter().flatten().map(layers).sum::<usize>(),
        (Step::SeparableConv(_), None) => 2,
        _ => 1,
    }
}

/// For each step of `graph` the one of `zoo` that it is: a longest common subsequence, measured in
/// layers.
fn align(zoo: &Side, graph: &Side) -> Vec<Option<usize>> {
    let (n, m) = (zoo.ranges.len(), graph.ranges.len());
    // length[j][i]: of the best alignment of what follows step j of the graph and i of the zoo.
    let mut lengths = vec![vec![0_usize; n + 1]; m + 1];
    let mut twins = vec![vec![false; n]; m];
    for j in (0..m).rev() {
        for i in (0..n).rev() {
            twins[j][i] = same_step(zoo, i, graph, j);
            let taken = if twins[j][i] { graph.ranges[j].len() + lengths[j + 1][i + 1] } else { 0 };
            lengths[j][i] = taken.max(lengths[j + 1][i]).max(lengths[j][i + 1]);
        }
    }
    let mut aligned = vec![None; m];
    let (mut i, mut j) = (0, 0);
    while i < n && j < m {
        let taken = graph.ranges[j].len() + lengths[j + 1][i + 1];
        if twins[j][i] && lengths[j][i] == taken {
            aligned[j] = Some(i);
            (i, j) = (i + 1, j + 1);
        } else if lengths[j][i] == lengths[j + 1][i] {
            j += 1;
        } else {
            i += 1;
        }
    }
    aligned
}

fn same_step(a: &Side, i: usize, b: &Side, j: usize) -> bool {
    let (first, second) = (a.ranges[i].clone(), b.ranges[j].clone());
    let classifier = |step: &Step| matches!(step, Step::Classifier(_));
    let from = |graph: &Graph, start: usize| graph.layers[start - 1].shape;
    first.len() == second.len()
        && classifier(&a.net.layers[i]) == classifier(&b.net.layers[j])
        && from(a.graph, first.start) == from(b.graph, second.start)
        && first.clone().zip(second.clone()).all(|(x, y)| {
            let (x, y) = (&a.graph.layers[x], &b.graph.layers[y]);
            // All inputs lie in the step itself or are the layer before it.
            let inputs = |layer: &Layer, start: usize| -> Vec<usize> {
                layer.inputs.iter().map(|&input| input + 1 - start).collect()
            };
            x.shape == y.shape
                && same_op(&x.op, &y.op)
                && inputs(x, first.start) == inputs(y, second.start)
        })
}

fn same_op(a: &Op, b: &Op) -> bool {
    match (a, b) {
        (Op::Conv(a), Op::Conv(b)) => a.window == b.window && a.relu == b.relu,
        (
            Op::Depthwise { multiplier, window, .. },
            Op::Depthwise { multiplier: other, window: beside, .. },
        ) => multiplier == other && window == beside,
        (Op::MaxPool(a), Op::MaxPool(b)) | (Op::AvgPool(a), Op::AvgPool(b)) => a == b,
        (Op::LocalResponseNorm { .. }, Op::LocalResponseNorm { .. }) => a == b,
        (Op::Linear(a), Op::Linear(b)) => a.relu == b.relu,
        (Op::Concat, Op::Concat) | (Op::Dropout { .. }, Op::Dropout { .. }) => true,
        _ => false,
    }
}
