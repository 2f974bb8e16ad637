//! Nodes of constants, computed, and constants that say which axes a node means.

use std::rc::Rc;

use super::lower::{Call, Lowering};
use super::tensor::{Constant, Data, check_rank, product};
use crate::Fault;

/// A node of constants, computed; `None` if it is not one of those known here.
pub(super) fn constant(lowering: &Lowering, call: &Call) -> Result<Option<Constant>, Fault> {
    let attributes = &call.attributes;
    let fill = |shape: Vec<usize>, value: &Constant| -> Result<Constant, Fault> {
        let count = product(&shape).ok_or_else(|| Fault::new("its shape is too large"))?;
        lowering.store.take(count)?;
        let data = match &*value.data {
            Data::Float(v) => Data::Float(vec![v.first().copied().unwrap_or(0.0); count]),
            Data::Int(v) => Data::Int(vec![v.first().copied().unwrap_or(0); count]),
        };
        Ok(Constant { shape, data: Rc::new(data) })
    };
    Ok(Some(match (call.op, call.constant(0)) {
        ("Constant", _) => {
            let single = |data| Constant { shape: Vec::new(), data: Rc::new(data) };
            if let Some(tensor) = attributes.get("value").and_then(|a| a.t.as_ref()) {
                lowering.store.decode(tensor)?
            } else if let Some(value) = attributes.float("value_float") {
                single(Data::Float(vec![value]))
            } else if let Some(value) = attributes.int("value_int") {
                single(Data::Int(vec![value]))
            } else if let Some(values) = attributes.ints("value_ints") {
                Constant::ints(values.to_vec())
            } else if let Some(values) = attributes.get("value_floats") {
                let shape = vec![values.floats.len()];
                Constant { shape, data: Rc::new(Data::Float(values.floats.clone())) }
            } else {
                return Err(Fault::new("a constant without a number"));
            }
        }
        ("ConstantOfShape", Some(shape)) => {
            let sizes = shape.as_ints().unwrap_or_default();
            check_rank(sizes.len())?;
            let sizes: Option<Vec<usize>> =
                sizes.iter().map(|&n| usize::try_from(n).ok()).collect();
            let Some(sizes) = sizes else { return Err(Fault::new("its shape is negative")) };
            match attributes.get("value").and_then(|a| a.t.as_ref()) {
                Some(value) => fill(sizes, &lowering.store.decode(value)?)?,
                None => fill(sizes, &Constant::ints(vec![0]).as_float())?,
            }
        }
        ("Identity", Some(value)) => value.clone(),
        ("Cast", Some(value)) => match attributes.int("to") {
            Some(1 | 10 | 11 | 16) => value.as_float(),
            _ => value.clone(),
        },
        ("Reshape", Some(value)) => {
            let shape = call.constant(1).and_then(Constant::as_ints).or(attributes.ints("shape"));
            value.reshaped(shape.ok_or_else(|| Fault::new("it has no shape"))?)?
        }
        ("Unsqueeze", Some(value)) => {
            let axes = axes(call).ok_or_else(|| Fault::new("it has no axes"))?;
            let rank = value.shape.len() + axes.len();
            check_rank(rank)?;
            let axes = within(&axes, rank)?;
            let mut rest = value.shape.iter().copied();
            let shape =
                (0..rank).map(|i| if axes.contains(&i) { 1 } else { rest.next().unwrap_or(1) });
            Constant { shape: shape.collect(), data: Rc::clone(&value.data) }
        }
        ("Squeeze", Some(value)) => {
            let axes = axes(call).map(|axes| within(&axes, value.shape.len())).transpose()?;
            let keep =
                |i: usize, n: usize| n != 1 || axes.as_ref().is_some_and(|a| !a.contains(&i));
            let kept = value.shape.iter().enumerate().filter(|&(i, &n)| keep(i, n));
            Constant { shape: kept.map(|(_, &n)| n).collect(), data: Rc::clone(&value.data) }
        }
        ("Transpose", Some(value)) => {
            let reversed: Vec<i64> = (0..value.shape.len() as i64).rev().collect();
            let order = attributes.ints("perm").unwrap_or(&reversed);
            value.transposed(&within(order, value.shape.len())?, lowering.store)?
        }
        _ => return Ok(None),
    }))
}

impl Constant {
    fn as_float(&self) -> Constant {
        let Data::Int(values) = &*self.data else { return self.clone() };
        let data = Data::Float(values.iter().map(|&v| v as f32).collect());
        Constant { shape: self.shape.clone(), data: Rc::new(data) }
    }
}

/// Axes as an attribute, or as an input since version 13 (18 for reductions).
pub(super) fn axes(call: &Call) -> Option<Vec<i64>> {
    let given = call.constant(1).and_then(Constant::as_ints).or(call.attributes.ints("axes"));
    given.map(<[i64]>::to_vec)
}

/// Axes counted from the end made to count from the start.
pub(super) fn within(axes: &[i64], rank: usize) -> Result<Vec<usize>, Fault> {
    check_rank(axes.len())?;
    let axis = |&axis: &i64| {
        let axis = if axis < 0 { axis + rank as i64 } else { axis };
        usize::try_from(axis).ok().filter(|&axis| axis < rank)
    };
    let places: Option<Vec<usize>> = axes.iter().map(axis).collect();
    places.ok_or_else(|| Fault::new(format!("the axes {axes:?} do not exist")))
}
