//! Two networks side by side: which layers belong together, and in what they differ.

use std::collections::HashMap;

use crate::graph::{BatchNorm, Graph, Layer, LayerId, Op, PoolWindows, Span};
use crate::net::Net;
use crate::preprocessing::Preprocessing;

/// A layer of one network and its counterpart in the other; at least one is there.
pub type Pair = (Option<LayerId>, Option<LayerId>);

/// Something in which two networks or layers differ: what, the first's, the second's.
pub type Difference = (&'static str, String, String);

/// Pairs the layers of two networks: those of the same name and kind, then, of what is left, those
/// of the same kind and shape in the same order. In the first network's order; layers that only
/// the second has follow the one that they follow there.
pub fn pairs(a: &Graph, b: &Graph) -> Vec<Pair> {
    let names: HashMap<&str, LayerId> =
        b.layers.iter().enumerate().map(|(id, layer)| (layer.name.as_str(), id)).collect();
    let mut partner: Vec<Option<LayerId>> = a
        .layers
        .iter()
        .map(|layer| names.get(layer.name.as_str()).copied())
        .zip(&a.layers)
        .map(|(id, layer)| id.filter(|&id| kind(&b.layers[id].op) == kind(&layer.op)))
        .collect();
    let mut taken = vec![false; b.layers.len()];
    partner.iter().flatten().for_each(|&id| taken[id] = true);
    let left_a: Vec<LayerId> = (0..partner.len()).filter(|&id| partner[id].is_none()).collect();
    let left_b: Vec<LayerId> = (0..taken.len()).filter(|&id| !taken[id]).collect();
    let alike = |x: LayerId, y: LayerId| {
        let (x, y) = (&a.layers[x], &b.layers[y]);
        kind(&x.op) == kind(&y.op) && x.shape == y.shape
    };
    for (x, y) in longest_common(&left_a, &left_b, alike) {
        partner[x] = Some(y);
        taken[y] = true;
    }
    let mut pairs: Vec<Pair> = (0..partner.len()).map(|x| (Some(x), partner[x])).collect();
    for y in (0..taken.len()).filter(|&y| !taken[y]) {
        let before = pairs.iter().rposition(|(_, other)| other.is_some_and(|other| other < y));
        pairs.insert(before.map_or(0, |place| place + 1), (None, Some(y)));
    }
    pairs
}

/// Longest sequences of both lists, in order, whose elements are alike.
fn longest_common(
    a: &[usize],
    b: &[usize],
    alike: impl Fn(usize, usize) -> bool,
) -> Vec<(usize, usize)> {
    // lengths[i][j]: of the longest within a[i..] and b[j..].
    let mut lengths = vec![vec![0u32; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            lengths[i][j] = match alike(a[i], b[j]) {
                true => lengths[i + 1][j + 1] + 1,
                false => lengths[i + 1][j].max(lengths[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut found) = (0, 0, Vec::new());
    while i < a.len() && j < b.len() {
        if alike(a[i], b[j]) {
            found.push((a[i], b[j]));
            (i, j) = (i + 1, j + 1);
        } else if lengths[i + 1][j] >= lengths[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    found
}

/// What kind of layer it is, in a word.
pub fn kind(op: &Op) -> &'static str {
    match op {
        Op::Input => "input",
        Op::Conv(_) => "convolution",
        Op::Depthwise { .. } => "depthwise convolution",
        Op::MaxPool(_) => "max pool",
        Op::AvgPool(_) => "average pool",
        Op::LocalResponseNorm { .. } => "local response norm",
        Op::Concat => "concatenation",
        Op::Dropout { .. } => "dropout",
        Op::Linear(_) => "linear",
    }
}

/// In what two layers of the same kind compute something else; initial weights and names do not
/// count.
pub fn layers(a: &Layer, b: &Layer) -> Vec<Difference> {
    let mut list = List(Vec::new());
    let shape = |l: &Layer| format!("{}×{}×{}", l.shape.channels, l.shape.height, l.shape.width);
    list.add("shape", shape(a), shape(b));
    match (&a.op, &b.op) {
        (Op::Conv(x), Op::Conv(y)) => {
            list.window(&x.window, &y.window);
            list.add("bias", yes(x.bias), yes(y.bias));
            list.norms(x.batch_norm, y.batch_norm);
            list.add("ReLU", yes(x.relu), yes(y.relu));
        }
        (Op::Linear(x), Op::Linear(y)) => {
            list.add("bias", yes(x.bias), yes(y.bias));
            list.norms(x.batch_norm, y.batch_norm);
            list.add("ReLU", yes(x.relu), yes(y.relu));
        }
        (
            Op::Depthwise { multiplier: x, window: wx, .. },
            Op::Depthwise { multiplier: y, window: wy, .. },
        ) => {
            list.add("multiplier", x.to_string(), y.to_string());
            list.window(wx, wy);
        }
        (Op::MaxPool(x), Op::MaxPool(y)) => list.windows(x, y, false),
        (Op::AvgPool(x), Op::AvgPool(y)) => list.windows(x, y, true),
        (
            Op::LocalResponseNorm { size, alpha, beta, k },
            Op::LocalResponseNorm { size: s, alpha: a, beta: b, k: c },
        ) => {
            list.add("size", size.to_string(), s.to_string());
            list.add("alpha", alpha.to_string(), a.to_string());
            list.add("beta", beta.to_string(), b.to_string());
            list.add("k", k.to_string(), c.to_string());
        }
        (Op::Dropout { rate: x }, Op::Dropout { rate: y }) => {
            list.add("dropout", x.to_string(), y.to_string());
        }
        (x, y) => list.add("kind", kind(x).to_owned(), kind(y).to_owned()),
    }
    list.0
}

/// In what two networks differ outside their layers: input, classes, preprocessing.
pub fn nets(a: &Net, b: &Net) -> Vec<Difference> {
    let mut list = List(Vec::new());
    let input = |n: &Net| format!("{}×{}×{}", n.input.channels, n.input.height, n.input.width);
    let dialect = |n: &Net| n.dialect.map_or("none".to_owned(), |dialect| dialect.to_string());
    list.add("dialect", dialect(a), dialect(b));
    list.add("input", input(a), input(b));
    list.add("classes", a.classes.to_string(), b.classes.to_string());
    let (a, b) = (&a.preprocessing, &b.preprocessing);
    let own = |p: &Preprocessing| p.central.map_or("all".to_owned(), |share| share.to_string());
    list.add("central part", own(a), own(b));
    list.add("resize", format!("{:?}", a.resize), format!("{:?}", b.resize));
    list.add("resize protocol", a.protocol.to_string(), b.protocol.to_string());
    list.add("resize filter", format!("{:?}", a.filter), format!("{:?}", b.filter));
    list.add("crop", format!("{:?}", a.crop), format!("{:?}", b.crop));
    list.add("crop's rounding", format!("{:?}", a.rounding), format!("{:?}", b.rounding));
    list.add("channel order", format!("{:?}", a.order), format!("{:?}", b.order));
    list.add("mean", format!("{:?}", a.mean), format!("{:?}", b.mean));
    list.add("std", format!("{:?}", a.std), format!("{:?}", b.std));
    list.0
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

struct List(Vec<Difference>);

impl List {
    fn add(&mut self, what: &'static str, a: String, b: String) {
        if a != b {
            self.0.push((what, a, b));
        }
    }

    fn window(&mut self, a: &crate::graph::Window, b: &crate::graph::Window) {
        let pair = |(height, width): (usize, usize)| format!("{height}×{width}");
        self.add("kernel", pair(a.kernel), pair(b.kernel));
        self.add("stride", pair(a.stride), pair(b.stride));
        let sides = |p: crate::graph::Padding| {
            format!("top {} bottom {} left {} right {}", p.top, p.bottom, p.left, p.right)
        };
        self.add("padding", sides(a.padding), sides(b.padding));
    }

    fn norms(&mut self, a: Option<BatchNorm>, b: Option<BatchNorm>) {
        let (Some(a), Some(b)) = (a, b) else {
            return self.add("batch norm", yes(a.is_some()), yes(b.is_some()));
        };
        self.add("batch norm's ε", a.epsilon.to_string(), b.epsilon.to_string());
        self.add("batch norm's γ", yes(a.scale), yes(b.scale));
    }

    fn windows(&mut self, a: &PoolWindows, b: &PoolWindows, average: bool) {
        let places = |spans: &[Span]| -> Vec<(usize, usize)> {
            spans.iter().map(|span| (span.start, span.end)).collect()
        };
        let all = |w: &PoolWindows| (places(&w.rows), places(&w.columns));
        if all(a) != all(b) {
            let shown = |w: &PoolWindows| {
                let ends = |s: &[Span]| match s {
                    [first, .., last] => {
                        format!("{}..{} to {}..{}", first.start, first.end, last.start, last.end)
                    }
                    spans => format!("{:?}", places(spans)),
                };
                format!("rows {}, columns {}", ends(&w.rows), ends(&w.columns))
            };
            self.0.push(("windows", shown(a), shown(b)));
        }
        let counts = |w: &PoolWindows| {
            w.rows.iter().chain(&w.columns).any(|span| span.count != span.end - span.start)
        };
        if average {
            self.add("padding counts", yes(counts(a)), yes(counts(b)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo::{self, Dialect, Options};

    fn v3(dialect: Dialect) -> Graph {
        let options = Options { dialect: Some(dialect), ..Options::default() };
        zoo::build("inception-v3", &options).unwrap().graph().unwrap()
    }

    fn differing(a: &Graph, b: &Graph) -> Vec<(String, Vec<Difference>)> {
        let both = pairs(a, b).into_iter().filter_map(|(x, y)| Some((x?, y?)));
        both.map(|(x, y)| (a.layers[x].name.clone(), layers(&a.layers[x], &b.layers[y])))
            .filter(|(_, differences)| !differences.is_empty())
            .collect()
    }

    #[test]
    fn a_network_is_itself() {
        let graph = v3(Dialect::Keras);
        assert!(differing(&graph, &graph).is_empty());
        assert!(pairs(&graph, &graph).iter().all(|(a, b)| a == b));
    }

    #[test]
    fn torchvision_counts_padding_and_has_a_scale() {
        let (keras, torchvision) = (v3(Dialect::Keras), v3(Dialect::Torchvision));
        let differing = differing(&keras, &torchvision);
        let pools = differing.iter().filter(|(_, d)| d.iter().any(|d| d.0 == "padding counts"));
        assert_eq!(pools.count(), 9);
        let scales = differing.iter().filter(|(_, d)| d.iter().any(|d| d.0 == "batch norm's γ"));
        assert_eq!(scales.count(), 94);
        // The auxiliary head is torchvision's alone.
        let alone: Vec<Pair> =
            pairs(&keras, &torchvision).into_iter().filter(|(a, _)| a.is_none()).collect();
        let name = |pair: &Pair| torchvision.layers[pair.1.unwrap()].name.clone();
        assert!(
            !alone.is_empty()
                && alone
                    .iter()
                    .all(|p| { name(p).starts_with("AuxLogits") || name(p).contains("dropout") }),
            "{:?}",
            alone.iter().map(name).collect::<Vec<_>>()
        );
    }

    #[test]
    fn other_names_are_paired_by_order() {
        let a = v3(Dialect::Keras);
        let mut b = a.clone();
        b.layers.iter_mut().enumerate().for_each(|(i, layer)| layer.name = format!("node{i}"));
        assert!(pairs(&a, &b).iter().all(|(a, b)| a == b));
        // The 2015 graph has a scale everywhere and other classes. The maximum in its last module's
        // pool branch is of another kind and so has no partner.
        let fid = v3(Dialect::Fid2015);
        let differing = differing(&b, &fid);
        let known = ["shape", "batch norm's γ"];
        assert!(
            differing.iter().all(|(_, d)| d.iter().all(|d| known.contains(&d.0))),
            "{differing:?}"
        );
        let alone = pairs(&b, &fid).into_iter().filter(|(a, _)| a.is_none());
        let alone: Vec<_> = alone.map(|(_, b)| fid.layers[b.unwrap()].name.as_str()).collect();
        // By order, layers of another shape have no partner either: here the classes.
        assert_eq!(alone, ["Mixed_7c.pool", "fc"]);
    }
}
