//! The attributes of operations.

use super::super::messages::{AttrValue, NodeDef, TensorShapeProto};
use crate::Fault;
use crate::graph::{Padding, Pool};

/// Where rows and columns stand among a tensor's four axes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Axes {
    /// Picture, row, column, channel: TensorFlow's own order.
    Nhwc,
    /// Picture, channel, row, column.
    Nchw,
}

impl Axes {
    /// The axis of rows; that of columns follows.
    pub fn rows(self) -> usize {
        match self {
            Self::Nhwc => 1,
            Self::Nchw => 2,
        }
    }

    /// The axis of channels.
    pub fn channels(self) -> usize {
        match self {
            Self::Nhwc => 3,
            Self::Nchw => 1,
        }
    }
}

/// A fault of an operation.
pub(super) fn fault(node: &NodeDef, what: &str) -> Fault {
    Fault::new(format!("`{}` ({}): {what}", node.name, node.op))
}

fn attribute<'a>(node: &'a NodeDef, key: &str) -> Option<&'a AttrValue> {
    node.attr.get(key)
}

pub(super) fn float(node: &NodeDef, key: &str, default: f32) -> f32 {
    attribute(node, key).and_then(|value| value.f).unwrap_or(default)
}

pub(super) fn int(node: &NodeDef, key: &str, default: i64) -> i64 {
    attribute(node, key).and_then(|value| value.i).unwrap_or(default)
}

pub(super) fn flag(node: &NodeDef, key: &str, default: bool) -> bool {
    attribute(node, key).and_then(|value| value.b).unwrap_or(default)
}

pub(super) fn kind(node: &NodeDef, key: &str) -> Option<i32> {
    attribute(node, key)?.r#type
}

pub(super) fn shape<'a>(node: &'a NodeDef, key: &str) -> Option<&'a TensorShapeProto> {
    let shape = attribute(node, key)?.shape.as_deref()?;
    (!shape.unknown_rank).then_some(shape)
}

fn text<'a>(node: &'a NodeDef, key: &str) -> Option<&'a [u8]> {
    attribute(node, key)?.s.as_deref()
}

fn ints<'a>(node: &'a NodeDef, key: &str) -> &'a [i64] {
    attribute(node, key).and_then(|value| value.list.as_deref()).map_or(&[], |list| &list.i)
}

/// The order of an operation's axes.
pub(super) fn axes(node: &NodeDef) -> Result<Axes, Fault> {
    match text(node, "data_format") {
        None | Some(b"NHWC") => Ok(Axes::Nhwc),
        Some(b"NCHW") => Ok(Axes::Nchw),
        Some(_) => Err(fault(node, "its data format is neither NHWC nor NCHW")),
    }
}

/// Two numbers, down and across, of a list for all four axes that leaves the others at 1.
fn down_and_across(node: &NodeDef, key: &str, axes: Axes) -> Result<(usize, usize), Fault> {
    let list = ints(node, key);
    let size = |axis: usize| {
        let number = usize::try_from(*list.get(axis)?).ok()?;
        (1..=1 << 15).contains(&number).then_some(number)
    };
    let rows = axes.rows();
    let others = list.len() == 4 && list[0] == 1 && list[axes.channels()] == 1;
    others
        .then(|| Some((size(rows)?, size(rows + 1)?)))
        .flatten()
        .ok_or_else(|| fault(node, &format!("its {key} {list:?} make no sense")))
}

/// The steps of an operation's windows.
pub(super) fn strides(node: &NodeDef, axes: Axes) -> Result<(usize, usize), Fault> {
    down_and_across(node, "strides", axes)
}

/// Zeros around its input.
pub(super) fn padding(node: &NodeDef, axes: Axes) -> Result<Padding, Fault> {
    match text(node, "padding") {
        Some(b"SAME") => Ok(Padding::Same),
        Some(b"VALID") => Ok(Padding::Explicit([0; 4])),
        Some(b"EXPLICIT") => {
            // Before and after, for each axis.
            let list = ints(node, "explicit_paddings");
            let rows = 2 * axes.rows();
            let sides = list.get(rows..rows + 4).unwrap_or_default();
            let sides: Option<Vec<usize>> =
                sides.iter().map(|&side| usize::try_from(side).ok()).collect();
            match sides.as_deref() {
                Some(&[top, bottom, left, right])
                    if top.max(bottom).max(left).max(right) < 1 << 15 =>
                {
                    Ok(Padding::Explicit([top, bottom, left, right]))
                }
                _ => Err(fault(node, "its explicit paddings make no sense")),
            }
        }
        _ => Err(fault(node, "its padding is neither SAME, VALID nor EXPLICIT")),
    }
}

/// That its filters are not spread out.
pub(super) fn check_dilations(node: &NodeDef) -> Result<(), Fault> {
    if ints(node, "dilations").iter().all(|&dilation| dilation == 1) {
        return Ok(());
    }
    Err(fault(node, "it is dilated, which no Inception is"))
}

/// A pool's windows.
pub(super) fn pool(node: &NodeDef) -> Result<Pool, Fault> {
    let axes = axes(node)?;
    Ok(Pool {
        kernel: down_and_across(node, "ksize", axes)?,
        stride: strides(node, axes)?,
        padding: padding(node, axes)?,
        ceil: false,
    })
}
