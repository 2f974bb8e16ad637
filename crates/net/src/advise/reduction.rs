//! A widening step and a pool of stride 2 made one: the paper's grid-size reduction.

use super::places::Shapes;
use super::rewrite::{grid_after, refused, rounded};
use super::rules::{MOST_DROP, is_medium};
use crate::error::NetError;
use crate::graph::Shape;
use crate::layers::{Branches, Conv, max_pool};
use crate::modules::{D, E};
use crate::net::Net;
use crate::notation::Pad;
use crate::step::Step;

/// The network with `wide` and the max pool `pool` beside it in the main series replaced by a
/// module with the same input and output shape. A module becomes D or, on grids of 12 to 20, E; a
/// convolution becomes one of stride 2 beside the pool, as in Inception-v4's stem (1602.07261,
/// figure 3). The pool passes all channels through; the convolutions make those that are missing.
pub(super) fn merge(net: &Net, shapes: &Shapes, wide: &str, pool: &str) -> Result<Net, NetError> {
    let place = |name: &str| net.layers.iter().position(|step| step.name() == name);
    let (Some(w), Some(p)) = (place(wide), place(pool)) else { return Err(refused(wide)) };
    if w.abs_diff(p) != 1 {
        return Err(refused(wide));
    }
    let (first, last) = (w.min(p), w.max(p));
    let read = net.layers[..first].iter().rev().find_map(|step| shapes.output(step.name()));
    let read = read.unwrap_or(shapes.input());
    let made = shapes.output(net.layers[last].name()).ok_or_else(|| refused(pool))?;
    let module = module(shapes, &net.layers[w], &net.layers[p], read, made);
    let module = module.ok_or_else(|| refused(wide))?;
    let layers = [&net.layers[..first], &[module], &net.layers[last + 1..]].concat();
    Ok(Net { layers, ..net.clone() })
}

fn module(shapes: &Shapes, wide: &Step, pool: &Step, read: Shape, made: Shape) -> Option<Step> {
    let Step::MaxPool(pool) = pool else { return None };
    if pool.stride != 2.into() {
        return None;
    }
    let halves = |pad: &Pad| {
        grid_after((read.height, read.width), 2.into(), *pad) == Some((made.height, made.width))
    };
    let padding = [Pad::Valid, Pad::Same, Pad::all(1)].into_iter().find(halves)?;
    let new = made.channels.checked_sub(read.channels).filter(|&new| new >= 2)?;
    if read.len() as f64 > MOST_DROP * made.len() as f64 {
        return None;
    }
    let name = shapes.fresh("", &format!("reduction_{}", pool.name));
    Some(match wide {
        Step::Conv(conv) if !conv.shrink => {
            let conv =
                Conv { kernel: 3.into(), stride: 2.into(), padding, channels: new, ..conv.clone() };
            let pool = max_pool(pool.name.clone(), 3).stride(2).padding(padding);
            Branches { name, branches: vec![vec![conv.into()], vec![pool.into()]] }.into()
        }
        _ if wide.branches().is_some() => {
            let (single, double) = shares(new);
            let inner = |end: usize| rounded(end as f64 * 2.0 / 3.0, end);
            if is_medium((read.height, read.width)) {
                let (conv3x3, nxn3x3) = ((inner(single), single), (inner(double), double));
                E { name, conv3x3, nxn3x3, n: 7, padding }.into()
            } else {
                let double3x3 = (inner(double), double);
                D { name, conv3x3: single, double3x3, padding }.into()
            }
        }
        _ => return None,
    })
}

/// Channels of a reduction's two branches of convolutions: 5 to 3, as those of the released
/// network's second reduction (320 and 192).
fn shares(new: usize) -> (usize, usize) {
    let single = rounded(new as f64 * 5.0 / 8.0, new).clamp(1, new - 1);
    (single, new - single)
}
