//! Tensors that a checkpoint keeps in parts: "partitioned variables".

use super::messages::{Extent, TensorSliceProto};
use crate::{Array, Fault};

/// A box within a tensor with its values.
pub(super) struct Part {
    pub slice: TensorSliceProto,
    pub values: Vec<f32>,
}

/// Puts a tensor together. Every value has to come from exactly one part.
pub(super) fn assemble(
    name: String,
    shape: Vec<usize>,
    count: usize,
    mut parts: Vec<Part>,
) -> Result<Array, Fault> {
    let fault = |what: String| Fault::new(format!("the tensor `{name}`: {what}"));
    let given: usize = parts.iter().map(|part| part.values.len()).sum();
    if given != count {
        return Err(fault(format!("its parts hold {given} values, its shape {shape:?} {count}")));
    }
    if let [part] = &mut parts[..]
        && region(&part.slice, &shape).is_some_and(|(_, sizes)| sizes == shape)
    {
        let values = std::mem::take(&mut part.values);
        return Ok(Array { name, shape, values });
    }
    let mut values = vec![None; count];
    for part in parts {
        let (starts, sizes) = region(&part.slice, &shape)
            .filter(|(_, sizes)| sizes.iter().product::<usize>() == part.values.len())
            .ok_or_else(|| fault("a part does not fit into it".into()))?;
        // Without values there is nothing to place, and perhaps no last axis.
        let Some(&row) = sizes.last().filter(|_| !part.values.is_empty()) else { continue };
        let outer = &sizes[..sizes.len() - 1];
        for (nth, row) in part.values.chunks(row).enumerate() {
            let (mut rest, mut stride, mut place) = (nth, shape[outer.len()], starts[outer.len()]);
            for axis in (0..outer.len()).rev() {
                place += (starts[axis] + rest % outer[axis]) * stride;
                rest /= outer[axis];
                stride *= shape[axis];
            }
            for (value, &given) in values[place..].iter_mut().zip(row) {
                if value.replace(given).is_some() {
                    return Err(fault("two of its parts overlap".into()));
                }
            }
        }
    }
    let values = values.into_iter().collect::<Option<Vec<_>>>();
    let values = values.ok_or_else(|| fault("its parts leave gaps".into()))?;
    Ok(Array { name, shape, values })
}

/// First place and length along each axis, where the slice lies within the shape. A slice
/// without extents is the whole tensor.
fn region(slice: &TensorSliceProto, shape: &[usize]) -> Option<(Vec<usize>, Vec<usize>)> {
    if slice.extent.is_empty() {
        return Some((vec![0; shape.len()], shape.to_vec()));
    }
    if slice.extent.len() != shape.len() {
        return None;
    }
    let axes = slice.extent.iter().zip(shape).map(|(extent, &axis)| {
        let start = usize::try_from(extent.start).ok()?;
        let length = match extent.length {
            Some(length) => usize::try_from(length).ok()?,
            None => axis.checked_sub(start)?,
        };
        (start.checked_add(length)? <= axis).then_some((start, length))
    });
    axes.collect::<Option<Vec<_>>>().map(|axes| axes.into_iter().unzip())
}

/// The key under which a V2 checkpoint keeps a slice of a tensor: `EncodeTensorNameSlice` in
/// TensorFlow's `saved_tensor_slice_util.cc`, in its order-keeping code (`ordered_code.cc`).
pub(super) fn key(name: &str, slice: &TensorSliceProto) -> Vec<u8> {
    let mut key = vec![0]; // the number 0: no bytes
    for byte in name.bytes() {
        match byte {
            0x00 => key.extend([0x00, 0xff]),
            0xff => key.extend([0xff, 0x00]),
            other => key.push(other),
        }
    }
    key.extend([0x00, 0x01]);
    number(&mut key, slice.extent.len() as u64);
    for &Extent { start, length } in &slice.extent {
        signed(&mut key, start);
        signed(&mut key, length.unwrap_or(-1));
    }
    key
}

/// How many bytes, then those.
fn number(key: &mut Vec<u8>, value: u64) {
    let skipped = value.leading_zeros() as usize / 8;
    key.push(8 - skipped as u8);
    key.extend(&value.to_be_bytes()[skipped..]);
}

/// As many leading ones (zeros for negative numbers) as bytes, then the number.
fn signed(key: &mut Vec<u8>, value: i64) {
    let bits = 64 - (if value < 0 { !value } else { value }).leading_zeros() as usize;
    let length = bits / 7 + 1;
    let header = !(u128::MAX >> length) >> (128 - 8 * length);
    let encoded = (value as i128 as u128) ^ header;
    key.extend(&encoded.to_be_bytes()[16 - length..]);
}
