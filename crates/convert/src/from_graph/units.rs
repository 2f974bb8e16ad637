//! Nodes folded into layers: a convolution or fully connected layer with the batch norm, bias and
//! ReLU that follow it.

use std::collections::HashMap;

use inception_formats::graph::{Graph, Node, Op, Pool};

use super::filter::{Filter, Kind, Norm};
use super::{GraphError, MOST_NODES, limit};

/// The layers of a graph, in an order in which each comes after those it reads.
pub(super) struct Units {
    /// The first is the input, the last what the graph computes.
    pub units: Vec<Placed>,
    /// Channels, height and width of the input where the file says.
    pub input: [Option<usize>; 3],
    /// What the graph does with its input first: the node, factors, offsets.
    pub scaling: Option<(String, Vec<f32>, Vec<f32>)>,
}

/// A layer and what it reads.
pub(super) struct Placed {
    /// As the file calls its first node.
    pub name: String,
    /// The file's node whose value it ends with.
    pub node: String,
    pub unit: Unit,
    pub inputs: Vec<usize>,
}

/// A layer.
pub(super) enum Unit {
    Input,
    Filter(Box<Filter>),
    MaxPool(Pool),
    AvgPool { pool: Pool, count_padding: bool },
    GlobalAvgPool,
    LocalResponseNorm { size: usize, alpha: f32, beta: f32, k: f32 },
    Dropout(f32),
    Concat,
}

impl Units {
    pub fn filter(&self, unit: usize) -> Option<&Filter> {
        match &self.units[unit].unit {
            Unit::Filter(filter) => Some(filter),
            _ => None,
        }
    }

    pub fn filter_mut(&mut self, unit: usize) -> Option<&mut Filter> {
        match &mut self.units[unit].unit {
            Unit::Filter(filter) => Some(filter),
            _ => None,
        }
    }

    pub fn filters(&self) -> impl Iterator<Item = &Filter> {
        (0..self.units.len()).filter_map(|unit| self.filter(unit))
    }

    /// Channels that the first convolution reads.
    pub fn first_channels(&self) -> Option<usize> {
        self.filters().next().map(|filter| match (&filter.depthwise, filter.kind) {
            (Some(depthwise), _) => depthwise.shape[0] / depthwise.multiplier.max(1),
            (None, Kind::Depthwise { groups, .. }) => groups,
            (None, _) => filter.shape[1],
        })
    }
}

/// The layers that the graph's output needs.
pub(super) fn fold(graph: Graph) -> Result<Units, GraphError> {
    limit("nodes", graph.nodes.len(), MOST_NODES)?;
    check(&graph)?;
    let output = main_output(&graph)?;
    let roots = roots(&graph);
    let needed = needed(&graph, roots[output], |node| roots[node]);
    let mut readers = vec![0_usize; graph.nodes.len()];
    readers[roots[output]] = 1;
    for (i, node) in graph.nodes.iter().enumerate() {
        if needed[i] && roots[i] == i {
            node.inputs.iter().for_each(|&input| readers[roots[input]] += 1);
        }
    }
    let mut folding = Folding {
        roots,
        readers,
        places: vec![usize::MAX; graph.nodes.len()],
        units: Units { units: Vec::new(), input: [None; 3], scaling: None },
    };
    for (i, node) in graph.nodes.into_iter().enumerate() {
        if needed[i] && folding.roots[i] == i {
            folding.places[i] = folding.add(node)?;
        }
    }
    let units = folding.units;
    for placed in &units.units {
        if let Unit::Filter(filter) = &placed.unit
            && matches!(filter.kind, Kind::Depthwise { .. })
        {
            let problem = "no 1×1 convolution follows this depthwise one";
            return Err(GraphError::node(&placed.name, problem));
        }
    }
    match units.units.first() {
        Some(Placed { unit: Unit::Input, .. }) if units.units.len() > 1 => Ok(units),
        _ => Err(GraphError::NoOutput),
    }
}

/// Each node reads earlier ones, as many as its kind wants, and its arrays have their sizes.
fn check(graph: &Graph) -> Result<(), GraphError> {
    if graph.outputs.iter().any(|&output| output >= graph.nodes.len()) {
        return Err(GraphError::NoOutput);
    }
    for (i, node) in graph.nodes.iter().enumerate() {
        let wrong = |problem: &str| Err(GraphError::node(&node.name, problem));
        if node.inputs.iter().any(|&input| input >= i) {
            return wrong("it reads a node that comes after it: the graph has a cycle");
        }
        let arity = match node.op {
            Op::Input { .. } => node.inputs.is_empty(),
            Op::Concat => !node.inputs.is_empty(),
            _ => node.inputs.len() == 1,
        };
        if !arity {
            return wrong("it reads the wrong number of values");
        }
        let optional = |values: &Option<Vec<f32>>, n| values.as_ref().is_none_or(|v| v.len() == n);
        let fits = match &node.op {
            Op::Conv { filters, shape, bias, groups, .. } => {
                product(shape) == Some(filters.len())
                    && !filters.is_empty()
                    && *groups > 0
                    && optional(bias, shape[0])
            }
            Op::Linear { matrix, shape, bias } => {
                product(shape) == Some(matrix.len())
                    && !matrix.is_empty()
                    && optional(bias, shape[0])
            }
            Op::BatchNorm { scale, shift, mean, variance, .. } => {
                let n = shift.len();
                n > 0 && mean.len() == n && variance.len() == n && optional(scale, n)
            }
            Op::Affine { factor, offset } => !factor.is_empty() && !offset.is_empty(),
            _ => true,
        };
        if !fits {
            return wrong("its arrays do not have the sizes of its shape");
        }
    }
    Ok(())
}

fn product(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d))
}

/// The output that most of the graph leads to, without the softmax at its end.
fn main_output(graph: &Graph) -> Result<usize, GraphError> {
    let strip = |mut node: usize| {
        while matches!(graph.nodes[node].op, Op::Softmax | Op::Identity) {
            node = graph.nodes[node].inputs[0];
        }
        node
    };
    let depth = |&output: &usize| {
        needed(graph, output, |node| node).iter().filter(|&&needed| needed).count()
    };
    // Many outputs are taps; counting each one's ancestors is work in proportion to their number.
    limit("outputs", graph.outputs.len(), 64)?;
    let outputs = graph.outputs.iter().map(|&output| strip(output));
    outputs.max_by_key(depth).ok_or(GraphError::NoOutput)
}

/// The nodes that lead to the output, where `root` stands for each node.
fn needed(graph: &Graph, output: usize, root: impl Fn(usize) -> usize) -> Vec<bool> {
    let mut needed = vec![false; graph.nodes.len()];
    needed[output] = true;
    for i in (0..=output).rev() {
        if needed[i] {
            graph.nodes[i].inputs.iter().for_each(|&input| needed[root(input)] = true);
        }
    }
    needed
}

/// For each node the first one with the same value: identities are what they read, and of
/// several ReLUs of one value (some exporters write one for each reader) the first counts.
fn roots(graph: &Graph) -> Vec<usize> {
    let mut roots: Vec<usize> = Vec::with_capacity(graph.nodes.len());
    let mut relus = HashMap::new();
    for (i, node) in graph.nodes.iter().enumerate() {
        let of = |node: &Node| roots[node.inputs[0]];
        let root = match &node.op {
            Op::Identity => of(node),
            Op::Dropout { rate } if !(*rate > 0.0 && *rate < 1.0) => of(node),
            Op::Concat if node.inputs.len() == 1 => of(node),
            Op::Relu => *relus.entry(of(node)).or_insert(i),
            _ => i,
        };
        roots.push(root);
    }
    roots
}

struct Folding {
    roots: Vec<usize>,
    /// How many read each node's value.
    readers: Vec<usize>,
    /// The unit that each node's value comes from.
    places: Vec<usize>,
    units: Units,
}

impl Folding {
    /// The unit that computes the node.
    fn add(&mut self, node: Node) -> Result<usize, GraphError> {
        let inputs: Vec<usize> =
            node.inputs.iter().map(|&input| self.places[self.roots[input]]).collect();
        let alone = node.inputs.first().is_some_and(|&i| self.readers[self.roots[i]] == 1);
        let name = node.name;
        let unit = match node.op {
            Op::Input { shape } => {
                if !self.units.units.is_empty() {
                    let problem = "the graph has a second input, or computes before its first";
                    return Err(GraphError::node(&name, problem));
                }
                self.units.input = shape;
                Unit::Input
            }
            Op::Conv { filters, shape, bias, stride, padding, groups } => {
                return self.convolution(
                    name,
                    inputs[0],
                    alone,
                    groups,
                    Filter {
                        kind: Kind::Conv { stride, padding },
                        shape: shape.to_vec(),
                        weight: filters,
                        bias,
                        norm: None,
                        relu: false,
                        depthwise: None,
                    },
                );
            }
            Op::Linear { matrix, shape, bias } => Unit::Filter(Box::new(Filter {
                kind: Kind::Linear,
                shape: shape.to_vec(),
                weight: matrix,
                bias,
                norm: None,
                relu: false,
                depthwise: None,
            })),
            Op::BatchNorm { scale, shift, mean, variance, epsilon } => {
                let norm = Norm { scale, shift, mean, variance, epsilon };
                return self.batch_norm(&name, inputs[0], alone, norm);
            }
            Op::Affine { factor, offset } => {
                return self.affine(&name, inputs[0], alone, factor, offset);
            }
            Op::Relu => return self.relu(&name, inputs[0], alone),
            Op::MaxPool(pool) => Unit::MaxPool(pool),
            Op::AvgPool { pool, count_padding } => Unit::AvgPool { pool, count_padding },
            Op::GlobalAvgPool => Unit::GlobalAvgPool,
            Op::LocalResponseNorm { size, alpha, beta, k } => {
                Unit::LocalResponseNorm { size, alpha, beta, k }
            }
            Op::Concat => Unit::Concat,
            Op::Dropout { rate } => Unit::Dropout(rate),
            Op::Softmax => {
                let problem = "a softmax inside the network, not at its end";
                return Err(GraphError::node(&name, problem));
            }
            Op::Identity => unreachable!("identities have the place of what they read"),
        };
        Ok(self.push(name, unit, inputs))
    }

    fn push(&mut self, name: String, unit: Unit, inputs: Vec<usize>) -> usize {
        self.units.units.push(Placed { node: name.clone(), name, unit, inputs });
        self.units.units.len() - 1
    }

    fn convolution(
        &mut self,
        name: String,
        input: usize,
        alone: bool,
        groups: usize,
        mut filter: Filter,
    ) -> Result<usize, GraphError> {
        if groups > 1 {
            let Kind::Conv { stride, padding } = filter.kind else { unreachable!("a convolution") };
            if filter.shape[1] != 1 || !filter.shape[0].is_multiple_of(groups) {
                let problem = format!("a convolution in {groups} groups");
                return Err(GraphError::node(&name, problem));
            }
            filter.kind = Kind::Depthwise { stride, padding, groups };
            return Ok(self.push(name, Unit::Filter(Box::new(filter)), vec![input]));
        }
        let before = &mut self.units.units[input];
        if let Unit::Filter(depthwise) = &before.unit
            && let Kind::Depthwise { stride, padding, groups } = depthwise.kind
            && alone
            && !depthwise.relu
            && filter.is_pointwise()
            && depthwise.shape[0] == filter.shape[1]
        {
            let unit = std::mem::replace(&mut before.unit, Unit::Concat);
            let Unit::Filter(depthwise) = unit else { unreachable!("seen above") };
            filter.absorb(*depthwise, (stride, padding, groups));
            before.unit = Unit::Filter(Box::new(filter));
            before.node = name.clone();
            before.name = name;
            return Ok(input);
        }
        Ok(self.push(name, Unit::Filter(Box::new(filter)), vec![input]))
    }

    /// The filter that ends in the value read, if nobody else reads that value.
    fn open_filter(&mut self, unit: usize, alone: bool, node: &str) -> Option<&mut Filter> {
        let placed = &mut self.units.units[unit];
        match &mut placed.unit {
            Unit::Filter(filter) if alone && !filter.relu => {
                placed.node = node.to_owned();
                Some(filter)
            }
            _ => None,
        }
    }

    fn batch_norm(
        &mut self,
        name: &str,
        unit: usize,
        alone: bool,
        norm: Norm,
    ) -> Result<usize, GraphError> {
        let Some(filter) = self.open_filter(unit, alone, name) else {
            let problem = "a batch norm that follows no convolution of its own";
            return Err(GraphError::node(name, problem));
        };
        if norm.shift.len() != filter.outputs() {
            return Err(GraphError::node(name, "it has another number of channels than it reads"));
        }
        if filter.norm.is_some() {
            return Err(GraphError::node(name, "a second batch norm after the same convolution"));
        }
        filter.normalise(norm);
        Ok(unit)
    }

    fn affine(
        &mut self,
        name: &str,
        unit: usize,
        alone: bool,
        factor: Vec<f32>,
        offset: Vec<f32>,
    ) -> Result<usize, GraphError> {
        if alone && matches!(self.units.units[unit].unit, Unit::Input) {
            let before = self.units.scaling.take();
            self.units.scaling = Some(match before {
                None => (name.to_owned(), factor, offset),
                Some((_, first, moved)) => compose(&first, &moved, &factor, &offset).map_or_else(
                    || Err(GraphError::node(name, "it scales another number of channels")),
                    |(factor, offset)| Ok((name.to_owned(), factor, offset)),
                )?,
            });
            return Ok(unit);
        }
        let Some(filter) = self.open_filter(unit, alone, name) else {
            let problem = "a scaling that follows neither the input nor a convolution of its own";
            return Err(GraphError::node(name, problem));
        };
        let fits = |values: &[f32]| values.len() == 1 || values.len() == filter.outputs();
        if !fits(&factor) || !fits(&offset) {
            return Err(GraphError::node(name, "it has another number of channels than it reads"));
        }
        filter.scale(&factor, &offset);
        Ok(unit)
    }

    fn relu(&mut self, name: &str, unit: usize, alone: bool) -> Result<usize, GraphError> {
        if self.units.filter(unit).is_some_and(|filter| filter.relu) {
            return Ok(unit);
        }
        let Some(filter) = self.open_filter(unit, alone, name) else {
            let problem = "a ReLU that follows no convolution of its own";
            return Err(GraphError::node(name, problem));
        };
        filter.relu = true;
        Ok(unit)
    }
}

/// The second scaling after the first, as one.
fn compose(
    factor: &[f32],
    offset: &[f32],
    then: &[f32],
    moved: &[f32],
) -> Option<(Vec<f32>, Vec<f32>)> {
    let all = [factor, offset, then, moved];
    let n = all.iter().map(|values| values.len()).max()?;
    if all.iter().any(|values| values.len() != 1 && values.len() != n) {
        return None;
    }
    let at = |values: &[f32], c: usize| f64::from(values[c % values.len()]);
    Some((
        (0..n).map(|c| (at(factor, c) * at(then, c)) as f32).collect(),
        (0..n).map(|c| (at(offset, c) * at(then, c) + at(moved, c)) as f32).collect(),
    ))
}
