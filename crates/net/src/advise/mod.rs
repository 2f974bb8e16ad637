//! The design principles of 1512.00567 as advice: what in a network goes against them, the number
//! that says so, and the rewriting that mends it.
//!
//! The paper's §2 states four principles; §3 to §5 say how its network follows them. Thresholds
//! that the paper does not give are chosen so that its own reductions pass and the plain pools
//! that they replace do not; each is a constant with its reason in `rules.rs`.

mod places;
mod reduction;
mod rewrite;
mod rules;

pub use rewrite::Rewrite;

use std::collections::HashSet;

use serde::Serialize;

use crate::error::NetError;
use crate::net::Net;
use places::Shapes;

/// What is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The representation shrinks too fast from one step to the next.
    Bottleneck,
    /// A step widens the representation just before a pool quarters it: all its work is done on
    /// the larger grid.
    CostlyReduction,
    /// A kernel larger than 3×3 in both directions.
    LargeKernel,
    /// A 1×n or n×1 kernel on a grid outside 12 to 20.
    AsymmetricKernel,
    /// A large kernel reads a wide representation without a 1×1 reduction before it.
    WideAggregation,
    /// A coarser grid with fewer channels than the grid before it.
    Narrowing,
    /// One grid does most of the work.
    Imbalance,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 7] = [
        Kind::Bottleneck,
        Kind::CostlyReduction,
        Kind::LargeKernel,
        Kind::AsymmetricKernel,
        Kind::WideAggregation,
        Kind::Narrowing,
        Kind::Imbalance,
    ];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Bottleneck => "bottleneck",
            Kind::CostlyReduction => "costly reduction",
            Kind::LargeKernel => "large kernel",
            Kind::AsymmetricKernel => "asymmetric kernel",
            Kind::WideAggregation => "wide aggregation",
            Kind::Narrowing => "narrowing",
            Kind::Imbalance => "imbalance",
        }
    }

    /// The principle, with its place in 1512.00567.
    pub fn principle(self) -> &'static str {
        match self {
            Kind::Bottleneck => {
                "principle 1 (§2): avoid representational bottlenecks, above all early; the \
                 representation's size should shrink gently"
            }
            Kind::CostlyReduction => {
                "§5, figure 9: widening before a pool costs several times what convolutions of \
                 stride 2 beside the pool cost"
            }
            Kind::LargeKernel => {
                "§3.1: two 3×3 see what a 5×5 sees for 28 % less at equal widths; §3.2: on grids \
                 of 12 to 20, 1×n and n×1 for an n×n"
            }
            Kind::AsymmetricKernel => {
                "§3.2: asymmetric kernels do not work well on early layers, and very well on \
                 grids of 12 to 20"
            }
            Kind::WideAggregation => {
                "principle 3 (§2): spatial aggregation can be done over lower-dimensional \
                 embeddings without much loss"
            }
            Kind::Narrowing => {
                "principle 2 (§2): higher-dimensional representations are easier to process \
                 locally; more activations per tile train faster"
            }
            Kind::Imbalance => {
                "principle 4 (§2): balance the width and depth of the network; spread the \
                 computation over its stages"
            }
        }
    }
}

/// One place where a network goes against a principle.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// The layers or modules, by their full names.
    pub layers: Vec<String>,
    /// The principle, with its place in 1512.00567.
    pub principle: &'static str,
    /// The number behind it, in words.
    pub number: String,
    /// The change it would make, in words.
    pub advice: String,
    /// The same as a rewriting, where there is one that keeps the shapes around it.
    pub change: Option<Change>,
}

/// A rewriting and what it does to the network's cost, as [`crate::summary::Summary`] counts it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Multiply–adds on the main path: after minus before.
    pub multiply_adds: i64,
    /// Parameters without auxiliary heads: after minus before.
    pub parameters: i64,
    /// What to do.
    #[serde(skip)]
    pub rewrite: Rewrite,
}

/// A network with all advice taken that can be.
#[derive(Clone, Debug, PartialEq)]
pub struct Advised {
    /// The rewritten network, called `NAME-advised`.
    pub net: Net,
    /// What was mended, in this order; each change's figures are those at its turn, so that they
    /// add up.
    pub mended: Vec<Finding>,
}

/// What of a network goes against the principles, in the order of its layers; what concerns the
/// network as a whole comes last.
///
/// # Errors
/// If the description is no network.
pub fn advise(net: &Net) -> Result<Vec<Finding>, NetError> {
    let shapes = Shapes::new(net)?;
    let mut findings = rules::findings(net, &shapes);
    let before = Cost::of(net)?;
    for finding in &mut findings {
        let Some(change) = &mut finding.change else { continue };
        match change.rewrite.apply(net).and_then(|net| Cost::of(&net)) {
            Ok(after) => {
                change.multiply_adds = after.multiply_adds - before.multiply_adds;
                change.parameters = after.parameters - before.parameters;
            }
            // Such as grids that no padding brings together.
            Err(_) => {
                finding.change = None;
                finding.advice += ", by hand";
            }
        }
    }
    findings.iter_mut().for_each(|finding| rules::spare_what_costs(&shapes, finding));
    Ok(findings)
}

/// Takes the advice, one finding after the other, until nothing is left that can be mended.
/// Reductions come first: they replace modules whose kernels need no mending then.
///
/// # Errors
/// If the description is no network.
pub fn apply(net: &Net) -> Result<Advised, NetError> {
    let mut advised = net.clone();
    let mut mended: Vec<Finding> = Vec::new();
    let mut seen = HashSet::new();
    loop {
        let findings = advise(&advised)?;
        let next = findings.into_iter().filter(|finding| finding.change.is_some());
        // Every rewriting leaves names behind that it does not rewrite again.
        let next = next.filter(|f| !seen.contains(&(f.kind, f.layers.clone())));
        let Some(next) = next.min_by_key(|finding| order(finding.kind)) else { break };
        seen.insert((next.kind, next.layers.clone()));
        if let Some(change) = &next.change {
            advised = change.rewrite.apply(&advised)?;
        }
        mended.push(next);
    }
    if !mended.is_empty() {
        advised.name = format!("{}-advised", net.name);
    }
    Ok(Advised { net: advised, mended })
}

/// Which kind is mended before which.
fn order(kind: Kind) -> usize {
    match kind {
        Kind::CostlyReduction => 0,
        Kind::Bottleneck => 1,
        Kind::WideAggregation => 2,
        _ => 3,
    }
}

/// What a summary counts, signed.
struct Cost {
    multiply_adds: i64,
    parameters: i64,
}

impl Cost {
    fn of(net: &Net) -> Result<Self, NetError> {
        let summary = net.graph()?.summary();
        let signed = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        Ok(Self {
            multiply_adds: signed(summary.multiply_adds),
            parameters: signed(summary.parameters_without_auxiliary),
        })
    }
}
