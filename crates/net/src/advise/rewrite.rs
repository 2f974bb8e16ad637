//! Rewritings of a network that keep the grids and channels around them.

use super::places::{Shapes, prefix};
use super::reduction;
use crate::error::NetError;
use crate::graph::Shape;
use crate::layers::{Branches, Conv, conv};
use crate::net::Net;
use crate::notation::{Pad, Size};
use crate::step::{Series, Step};
use crate::windows::{Axis, AxisPad};

/// A rewriting, by the full names of the layers it is about. What it makes of the zoo's modules
/// are `branches` with the same layers in them, or other modules of the zoo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// An n×n convolution, n odd, as (n − 1) / 2 convolutions 3×3 in series (§3.1), ReLU after
    /// each (figure 2).
    Threes {
        /// The convolution.
        layer: String,
    },
    /// An h×w convolution as 1×w, then h×1 (§3.2), ReLU after each.
    Asymmetric {
        /// The convolution.
        layer: String,
    },
    /// A 1×1 convolution to half of the output's channels before a convolution (principle 3).
    Reduce {
        /// The convolution.
        layer: String,
    },
    /// A widening step of the main series and the pool of stride 2 beside it as one module whose
    /// convolutions and pool, all of stride 2, stand side by side (§5, figure 10).
    Reduction {
        /// The convolution or module.
        wide: String,
        /// The max pool before or after it.
        pool: String,
    },
}

impl Rewrite {
    /// The rewritten network. It follows nobody's dialect any more.
    ///
    /// # Errors
    /// If the network has no such layers, they cannot be rewritten so without changing the grids
    /// and channels around them, or the result is no network.
    pub fn apply(&self, net: &Net) -> Result<Net, NetError> {
        let shapes = Shapes::new(net)?;
        let rewritten = match self {
            Rewrite::Reduction { wide, pool } => reduction::merge(net, &shapes, wide, pool)?,
            Rewrite::Threes { layer } => replace(net, layer, |conv| {
                let (from, to) = ends(&shapes, layer)?;
                threes(&shapes, layer, conv, from, to)
            })?,
            Rewrite::Asymmetric { layer } => replace(net, layer, |conv| {
                let (from, to) = ends(&shapes, layer)?;
                Some(asymmetric(&shapes, layer, conv, from, to))
            })?,
            Rewrite::Reduce { layer } => replace(net, layer, |before| {
                let width = rounded(before.channels as f64 / 2.0, before.channels);
                let name =
                    shapes.fresh(prefix(layer, &before.name), &format!("{}_reduce", before.name));
                let reduce = Conv {
                    batch_norm: before.batch_norm,
                    bias: before.bias,
                    init: before.init,
                    ..conv(name, 1, width)
                };
                Some(vec![reduce.into(), before.clone().into()])
            })?,
        };
        let rewritten = Net { dialect: None, ..rewritten };
        rewritten.graph()?;
        Ok(rewritten)
    }
}

/// The network with other steps in the place of one convolution, `full` being its name with its
/// module's; `steps` returns `None` where it cannot be replaced. A module of the zoo that holds it
/// becomes `branches` of the same name.
///
/// # Errors
/// If there is no such convolution on the main path, or it cannot be replaced.
fn replace(
    net: &Net,
    full: &str,
    mut steps: impl FnMut(&Conv) -> Option<Series>,
) -> Result<Net, NetError> {
    let layers = in_series(&net.layers, "", full, &mut steps).ok_or_else(|| refused(full))?;
    Ok(Net { layers, ..net.clone() })
}

fn in_series(
    series: &[Step],
    prefix: &str,
    full: &str,
    steps: &mut dyn FnMut(&Conv) -> Option<Series>,
) -> Option<Series> {
    series.iter().enumerate().find_map(|(i, step)| {
        let new = match (step, step.branches()) {
            (Step::Conv(conv), _) if step.full_name(prefix) == full => steps(conv)?,
            (_, Some(branches)) => {
                let inner = step.inner_prefix(prefix);
                let found = branches.iter().enumerate().find_map(|(b, branch)| {
                    in_series(branch, &inner, full, steps).map(|branch| (b, branch))
                });
                let (b, branch) = found?;
                let mut branches = branches;
                branches[b] = branch;
                vec![Branches { name: step.name().to_owned(), branches }.into()]
            }
            _ => return None,
        };
        Some([&series[..i], &new, &series[i + 1..]].concat())
    })
}

/// What cannot be rewritten.
pub(super) fn refused(layer: &str) -> NetError {
    NetError::Layer {
        layer: layer.to_owned(),
        problem: "there is no such layer that could be rewritten without changing the grids \
                  around it"
            .into(),
    }
}

fn ends(shapes: &Shapes, layer: &str) -> Option<(Shape, Shape)> {
    shapes.read(layer).zip(shapes.output(layer))
}

/// Channels to a multiple of 8 where the layer's own are one, 1 at least.
pub(super) fn rounded(channels: f64, like: usize) -> usize {
    let unit = if like.is_multiple_of(8) { 8 } else { 1 };
    (channels / unit as f64).round().max(1.0) as usize * unit
}

/// Channels after the first `i` of `of` factors: the expansion in equal steps (§3.1, √α in each of
/// two), and half of the last one's at least, as in the paper's own stem (table 1: 32, 32, 64).
fn between(from: usize, to: usize, i: usize, of: usize) -> usize {
    if i == of {
        return to;
    }
    let step = i as f64 / of as f64;
    let even = from as f64 * (to as f64 / from as f64).powf(step);
    rounded(even.max(to as f64 / 2.0), to)
}

/// The factors 3×3 in series. Stride is the first one's. Some are padded and some are not, so
/// that the grid comes out as it was.
fn threes(shapes: &Shapes, full: &str, from: &Conv, read: Shape, made: Shape) -> Option<Series> {
    let Size { height, width } = from.kernel;
    if height != width || height < 5 || height.is_multiple_of(2) || from.shrink {
        return None;
    }
    let count = (height - 1) / 2;
    let paddings = paddings(count, from.padding);
    let fits = |paddings: &Vec<Pad>| {
        let end = (0..count).try_fold((read.height, read.width), |grid, i| {
            let stride = if i == 0 { from.stride } else { Size::from(1) };
            grid_after(grid, stride, paddings[i])
        });
        end == Some((made.height, made.width))
    };
    let paddings = paddings.into_iter().find(fits)?;
    let factor = |i: usize| {
        let name = shapes.fresh(prefix(full, &from.name), &format!("{}_{}", from.name, i + 1));
        Step::Conv(Conv {
            name,
            kernel: 3.into(),
            stride: if i == 0 { from.stride } else { Size::from(1) },
            padding: paddings[i],
            channels: between(read.channels, from.channels, i + 1, count),
            relu: i + 1 < count || from.relu,
            ..from.clone()
        })
    };
    Some((0..count).map(factor).collect())
}

/// Paddings to try: as the original's first, and the unpadded ones in front, as in the paper's
/// stem.
fn paddings(count: usize, original: Pad) -> Vec<Vec<Pad>> {
    let mut all = Vec::new();
    for first in [original, Pad::Valid, Pad::Same, Pad::all(1)] {
        if matches!(first, Pad::Explicit { .. }) && first != Pad::all(1) {
            continue;
        }
        let mut unpadded: Vec<usize> = (0..count).collect();
        if original == Pad::Valid {
            unpadded.reverse();
        }
        all.extend(unpadded.into_iter().map(|n| {
            let rest = (1..count).map(|i| if i <= n { Pad::Valid } else { Pad::Same });
            [first].into_iter().chain(rest).collect()
        }));
    }
    all
}

/// Rows and columns after a 3×3 window.
pub(super) fn grid_after(grid: (usize, usize), stride: Size, pad: Pad) -> Option<(usize, usize)> {
    let (vertical, horizontal) = match pad {
        Pad::Same => (AxisPad::Same, AxisPad::Same),
        Pad::Valid => {
            let none = AxisPad::Explicit { before: 0, after: 0 };
            (none, none)
        }
        Pad::Explicit { top, bottom, left, right } => (
            AxisPad::Explicit { before: top, after: bottom },
            AxisPad::Explicit { before: left, after: right },
        ),
    };
    let rows = Axis::new(grid.0, 3, stride.height, vertical, false)?;
    let columns = Axis::new(grid.1, 3, stride.width, horizontal, false)?;
    Some((rows.output, columns.output))
}

/// 1×w, then h×1; each takes its axis' stride and padding, so the grid is the same.
fn asymmetric(shapes: &Shapes, full: &str, from: &Conv, read: Shape, made: Shape) -> Series {
    let (across, down) = match from.padding {
        Pad::Explicit { top, bottom, left, right } => (
            Pad::Explicit { top: 0, bottom: 0, left, right },
            Pad::Explicit { top, bottom, left: 0, right: 0 },
        ),
        other => (other, other),
    };
    let name = |i: usize| shapes.fresh(prefix(full, &from.name), &format!("{}_{i}", from.name));
    let first = Conv {
        name: name(1),
        kernel: (1, from.kernel.width).into(),
        stride: (1, from.stride.width).into(),
        padding: across,
        channels: between(read.channels, made.channels, 1, 2),
        relu: true,
        ..from.clone()
    };
    let second = Conv {
        name: name(2),
        kernel: (from.kernel.height, 1).into(),
        stride: (from.stride.height, 1).into(),
        padding: down,
        ..from.clone()
    };
    vec![first.into(), second.into()]
}
