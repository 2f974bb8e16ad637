//! safetensors: a JSON header with every tensor's type, shape and place, then the values.

use std::collections::BTreeMap;

use ::safetensors::tensor::{Dtype, SafeTensors};

use crate::number::Number;
use crate::{Array, Fault};

/// What a safetensors file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    /// Its tensors, by name.
    pub arrays: Vec<Array>,
    /// The header's free text.
    pub notes: BTreeMap<String, String>,
}

/// Reads a safetensors file. Offsets have to cover the data without gap or overlap.
///
/// # Errors
///
/// If the header is damaged or a tensor has a type that is no number.
pub fn read(bytes: &[u8]) -> Result<File, Fault> {
    let fault = |e: ::safetensors::SafeTensorError| Fault::new(e.to_string());
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(fault)?;
    let notes = header.metadata().clone().unwrap_or_default().into_iter().collect();
    let tensors = SafeTensors::deserialize(bytes).map_err(fault)?;
    let mut arrays = Vec::with_capacity(tensors.len());
    for (name, view) in tensors.iter() {
        let number = number(view.dtype()).ok_or_else(|| {
            Fault::new(format!("tensor `{name}` is of type {:?}, which is not read", view.dtype()))
        })?;
        let values = number.widen(view.data());
        arrays.push(Array { name: name.to_owned(), shape: view.shape().to_vec(), values });
    }
    arrays.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(File { arrays, notes })
}

fn number(dtype: Dtype) -> Option<Number> {
    Some(match dtype {
        Dtype::F64 => Number::F64,
        Dtype::F32 => Number::F32,
        Dtype::F16 => Number::F16,
        Dtype::BF16 => Number::Bf16,
        Dtype::I64 => Number::I64,
        Dtype::U64 => Number::U64,
        Dtype::I32 => Number::I32,
        Dtype::U32 => Number::U32,
        Dtype::I16 => Number::I16,
        Dtype::U16 => Number::U16,
        Dtype::I8 => Number::I8,
        Dtype::U8 | Dtype::BOOL => Number::U8,
        _ => return None,
    })
}
