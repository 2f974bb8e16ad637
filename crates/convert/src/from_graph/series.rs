//! From who reads whom to layers in series and branches side by side.
//!
//! A concatenation's branches begin where the paths to all its inputs part: at its immediate
//! dominator. Inputs next to each other whose paths stay together longer are a module inside the
//! module (Inception v3's 1×3 beside 3×1, which some files concatenate at once with the rest).

use std::collections::HashSet;

use inception_formats::graph::{Padding, Pool};
use inception_net::layers::{
    AvgPool, Branches, Conv, Dropout, GlobalAvgPool, Linear, LocalResponseNorm, MaxPool,
    SeparableConv,
};
use inception_net::{Pad, Series, Size, Step};

use super::filter::{Filter, Kind};
use super::units::{Unit, Units};
use super::{GraphError, MOST_LAYERS, limit};

/// Most modules inside one another; v3 has two.
const DEEPEST: usize = 16;
/// Longest part of a file's name that becomes part of a layer's.
const LONGEST_NAME: usize = 120;

/// A layer, or branches and their concatenation.
pub(super) enum Item {
    Unit(usize),
    Branches { concat: Option<usize>, branches: Vec<Vec<Item>> },
}

/// The series of layers from the input to the end.
pub(super) fn recover(units: &Units) -> Result<Vec<Item>, GraphError> {
    let edges = units.units.iter().map(|placed| placed.inputs.len()).sum();
    limit("connections", edges, 4 * MOST_LAYERS)?;
    let n = units.units.len();
    let mut recovery =
        Recovery { units, dominators: vec![0; n], depths: vec![0; n], emitted: vec![false; n] };
    for unit in 1..n {
        let inputs = &units.units[unit].inputs;
        let dominator = recovery.common(inputs);
        recovery.dominators[unit] = dominator;
        recovery.depths[unit] = recovery.depths[dominator] + 1;
    }
    recovery.path(0, n - 1, 0)
}

struct Recovery<'a> {
    units: &'a Units,
    /// The last unit through which every path from the input to this one leads.
    dominators: Vec<usize>,
    /// How many such units there are on the way.
    depths: Vec<usize>,
    emitted: Vec<bool>,
}

impl Recovery<'_> {
    /// The last unit through which the paths to all of these lead, themselves included.
    fn common(&self, units: &[usize]) -> usize {
        let meet = |mut a: usize, mut b: usize| {
            while a != b {
                if self.depths[a] < self.depths[b] {
                    std::mem::swap(&mut a, &mut b);
                }
                a = self.dominators[a];
            }
            a
        };
        units.iter().copied().reduce(meet).unwrap_or(0)
    }

    /// What lies after `from`, up to and including `to`, which it dominates.
    fn path(&mut self, from: usize, to: usize, level: usize) -> Result<Vec<Item>, GraphError> {
        let mut items = Vec::new();
        let mut at = to;
        while at != from {
            let placed = &self.units.units[at];
            if std::mem::replace(&mut self.emitted[at], true) {
                let problem = "its value is read in two places that are no branches of one module";
                return Err(GraphError::node(&placed.name, problem));
            }
            if matches!(placed.unit, Unit::Concat) {
                let fork = self.dominators[at];
                let branches = self.branches(fork, &placed.inputs, at, level + 1)?;
                items.push(Item::Branches { concat: Some(at), branches });
                at = fork;
            } else {
                items.push(Item::Unit(at));
                at = placed.inputs[0];
            }
        }
        items.reverse();
        Ok(items)
    }

    /// The branches from `fork` to each of a concatenation's inputs.
    fn branches(
        &mut self,
        fork: usize,
        inputs: &[usize],
        concat: usize,
        level: usize,
    ) -> Result<Vec<Vec<Item>>, GraphError> {
        let problem = |text: &str| Err(GraphError::node(&self.units.units[concat].name, text));
        if level > DEEPEST {
            return problem("modules lie inside one another too deeply");
        }
        let mut groups: Vec<(Option<usize>, Vec<usize>)> = Vec::new();
        for &input in inputs {
            let after_fork = self.first_after(fork, input);
            let last = groups.len();
            match groups.iter().position(|(same, _)| after_fork.is_some() && *same == after_fork) {
                None => groups.push((after_fork, vec![input])),
                Some(place) if place + 1 == last => groups[place].1.push(input),
                Some(_) => return problem("it mixes the channels of branches that share layers"),
            }
        }
        let mut branches = Vec::new();
        for (_, group) in groups {
            if let &[input] = group.as_slice() {
                branches.push(self.path(fork, input, level)?);
                continue;
            }
            let inner = self.common(&group);
            let mut branch = self.path(fork, inner, level)?;
            let nested = self.branches(inner, &group, concat, level + 1)?;
            branch.push(Item::Branches { concat: None, branches: nested });
            branches.push(branch);
        }
        Ok(branches)
    }

    /// The first unit after `fork` through which all paths to `unit` lead; `None` for the fork.
    fn first_after(&self, fork: usize, unit: usize) -> Option<usize> {
        if unit == fork {
            return None;
        }
        let mut at = unit;
        while self.dominators[at] != fork {
            at = self.dominators[at];
        }
        Some(at)
    }
}

/// The network's steps, and for each layer they unroll to (but the input) its unit.
pub(super) struct Written {
    pub steps: Series,
    pub order: Vec<Option<usize>>,
}

/// Writes recovered items as steps.
pub(super) struct Writer<'a> {
    units: &'a Units,
    /// Whether convolutions have batch norm unless they say otherwise.
    normed: bool,
    /// What the names of all layers begin with.
    prefix: String,
    order: Vec<Option<usize>>,
}

impl<'a> Writer<'a> {
    pub fn new(units: &'a Units, normed: bool) -> Self {
        let all = (0..units.units.len()).filter(|&unit| units.filter(unit).is_some());
        let prefix = common_prefix(all.map(|unit| units.units[unit].name.as_str()));
        Self { units, normed, prefix, order: Vec::new() }
    }

    pub fn write(mut self, items: Vec<Item>) -> Result<Written, GraphError> {
        let mut names = HashSet::from(["input".to_owned()]);
        let prefix = self.prefix.clone();
        let steps = self.series(&items, &prefix, &mut names, true)?;
        Ok(Written { steps, order: self.order })
    }

    fn series(
        &mut self,
        items: &[Item],
        prefix: &str,
        names: &mut HashSet<String>,
        outermost: bool,
    ) -> Result<Series, GraphError> {
        let mut steps = Series::new();
        for item in items {
            steps.push(match item {
                Item::Unit(unit) => self.leaf(*unit, prefix, names)?,
                Item::Branches { concat, branches } => {
                    let named = concat.map_or("join", |unit| &self.units.units[unit].name);
                    let mut within = Vec::new();
                    filters(branches, self.units, &mut within);
                    let inner = common_prefix(within.into_iter());
                    let own = match inner.strip_prefix(prefix) {
                        Some(own) if outermost && !own.is_empty() => own,
                        _ => named.strip_prefix(prefix).unwrap_or(named),
                    };
                    let name = take_name(own, "module", names);
                    let (mut own_names, module_prefix) = (HashSet::new(), inner.as_str());
                    // Names inside modules inside modules belong to the outermost one.
                    let (names, prefix) = if outermost {
                        (&mut own_names, module_prefix)
                    } else {
                        (&mut *names, prefix)
                    };
                    let branches = branches
                        .iter()
                        .map(|branch| self.series(branch, prefix, names, false))
                        .collect::<Result<_, _>>()?;
                    self.order.push(*concat);
                    Step::Branches(Branches { name, branches })
                }
            });
        }
        Ok(steps)
    }

    fn leaf(
        &mut self,
        unit: usize,
        prefix: &str,
        names: &mut HashSet<String>,
    ) -> Result<Step, GraphError> {
        let placed = &self.units.units[unit];
        let own = placed.name.strip_prefix(prefix);
        // Pools, of which files give fewer names, are called by what they are.
        let own = match &placed.unit {
            Unit::Filter(_) => own.unwrap_or(&placed.name),
            _ => own.unwrap_or(""),
        };
        let mut named = |kind: &str| take_name(own, kind, names);
        self.order.push(Some(unit));
        Ok(match &placed.unit {
            Unit::Filter(filter) => {
                let name = named("conv");
                if filter.depthwise.is_some() {
                    self.order.push(Some(unit));
                }
                return self.filter(filter, name, &placed.name);
            }
            Unit::MaxPool(pool) => Step::MaxPool(MaxPool {
                name: named("pool"),
                kernel: pool.kernel.into(),
                stride: pool.stride.into(),
                padding: pool_pad(pool),
                ceil: pool.ceil,
            }),
            Unit::AvgPool { pool, count_padding } => Step::AvgPool(AvgPool {
                name: named("pool"),
                kernel: pool.kernel.into(),
                stride: pool.stride.into(),
                padding: pool_pad(pool),
                ceil: pool.ceil,
                count_padding: Some(*count_padding),
                shrink: false,
            }),
            Unit::GlobalAvgPool => Step::GlobalAvgPool(GlobalAvgPool { name: named("pool") }),
            &Unit::LocalResponseNorm { size, alpha, beta, k } => {
                let name = named("norm");
                Step::LocalResponseNorm(LocalResponseNorm { name, size, alpha, beta, k })
            }
            &Unit::Dropout(rate) => Step::Dropout(Dropout { name: named("dropout"), rate }),
            Unit::Input | Unit::Concat => unreachable!("neither is on a path by itself"),
        })
    }

    fn filter(&self, filter: &Filter, name: String, node: &str) -> Result<Step, GraphError> {
        let normed = filter.norm.is_some();
        let bias = (!normed && filter.bias.is_none()).then_some(false);
        if let Some(depthwise) = &filter.depthwise {
            if !filter.relu {
                let problem = "a separable convolution without a ReLU at its end";
                return Err(GraphError::node(node, problem));
            }
            return Ok(Step::SeparableConv(SeparableConv {
                name,
                kernel: (depthwise.shape[2], depthwise.shape[3]).into(),
                stride: depthwise.stride.into(),
                padding: pad(depthwise.padding),
                multiplier: depthwise.multiplier,
                channels: filter.shape[0],
                batch_norm: (!normed && self.normed).then_some(false),
                init: None,
            }));
        }
        Ok(match filter.kind {
            Kind::Linear => Step::Linear(Linear {
                name,
                features: filter.shape[0],
                batch_norm: normed,
                bias,
                relu: filter.relu,
                init: None,
            }),
            Kind::Conv { stride, padding } | Kind::Depthwise { stride, padding, .. } => {
                let kernel = (filter.shape[2], filter.shape[3]);
                Step::Conv(Conv {
                    name,
                    kernel: kernel.into(),
                    stride: stride.into(),
                    padding: same_or(kernel, stride, pad(padding)),
                    channels: filter.shape[0],
                    batch_norm: (!normed && self.normed).then_some(false),
                    bias,
                    relu: filter.relu,
                    init: None,
                    shrink: false,
                })
            }
        })
    }
}

fn pool_pad(pool: &Pool) -> Pad {
    same_or(pool.kernel, pool.stride, pad(pool.padding))
}

fn pad(padding: Padding) -> Pad {
    match padding {
        Padding::Same => Pad::Same,
        Padding::Explicit([0, 0, 0, 0]) => Pad::Valid,
        Padding::Explicit([top, bottom, left, right]) => Pad::Explicit { top, bottom, left, right },
    }
}

/// Padding that keeps every grid has that name.
fn same_or(kernel: (usize, usize), stride: (usize, usize), padding: Pad) -> Pad {
    let halves = |n: usize| ((n - 1) / 2, (n - 1) - (n - 1) / 2);
    match padding {
        Pad::Explicit { top, bottom, left, right }
            if stride == (1, 1)
                && kernel.0 > 0
                && kernel.1 > 0
                && (top, bottom) == halves(kernel.0)
                && (left, right) == halves(kernel.1) =>
        {
            Pad::Same
        }
        Pad::Valid if stride == (1, 1) && Size::from(kernel) == Size::from(1) => Pad::Same,
        other => other,
    }
}

/// Names of the filters in these branches.
fn filters<'u>(branches: &[Vec<Item>], units: &'u Units, names: &mut Vec<&'u str>) {
    for item in branches.iter().flatten() {
        match item {
            Item::Unit(unit) if units.filter(*unit).is_some() => {
                names.push(&units.units[*unit].name);
            }
            Item::Unit(_) => {}
            Item::Branches { branches, .. } => filters(branches, units, names),
        }
    }
}

/// What all names begin with, up to and including a `/` or `.`.
fn common_prefix<'n>(mut names: impl Iterator<Item = &'n str>) -> String {
    let Some(first) = names.next() else { return String::new() };
    let mut end = separator(first);
    for name in names {
        let same = first.bytes().zip(name.bytes()).take(end).take_while(|(a, b)| a == b).count();
        // Cut at a separator, which is one byte of text in any case.
        end = first.as_bytes()[..same]
            .iter()
            .rposition(|b| SEPARATORS.contains(b))
            .map_or(0, |i| i + 1);
    }
    first[..end].to_owned()
}

const SEPARATORS: &[u8] = b"/.";

fn separator(name: &str) -> usize {
    name.bytes().rposition(|b| SEPARATORS.contains(&b)).map_or(0, |i| i + 1)
}

/// The file's name as a layer's: visible, of bearable length, without the dot that stands between
/// a module's name and a layer's, and not taken yet.
fn take_name(name: &str, otherwise: &str, taken: &mut HashSet<String>) -> String {
    let cut: String = name
        .trim_matches(|c: char| c.is_whitespace() || SEPARATORS.contains(&(c as u8)))
        .chars()
        .take(LONGEST_NAME)
        .map(|c| if c.is_control() || c == '.' { '_' } else { c })
        .collect();
    let name = if cut.trim().is_empty() { otherwise.to_owned() } else { cut };
    let free = free_name(&name, |name| taken.contains(name));
    taken.insert(free.clone());
    free
}

/// `name`, or with the first number after it that makes it a new one.
pub(crate) fn free_name(name: &str, taken: impl Fn(&str) -> bool) -> String {
    if !taken(name) {
        return name.to_owned();
    }
    (2..).map(|i| format!("{name}_{i}")).find(|name| !taken(name)).expect("numbers do not end")
}
