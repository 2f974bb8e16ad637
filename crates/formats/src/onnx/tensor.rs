//! Constants: decoding them, and the few operations that exporters leave between a constant and
//! the node that reads it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use half::{bf16, f16};
use prost::bytes::Bytes;

use super::messages::{self, Entry};
use crate::Fault;

/// A constant.
#[derive(Clone, Debug)]
pub(super) struct Constant {
    pub shape: Vec<usize>,
    pub data: Rc<Data>,
}

#[derive(Clone, Debug)]
pub(super) enum Data {
    Float(Vec<f32>),
    Int(Vec<i64>),
}

impl Constant {
    pub fn ints(values: Vec<i64>) -> Self {
        Self { shape: vec![values.len()], data: Rc::new(Data::Int(values)) }
    }

    pub fn len(&self) -> usize {
        match &*self.data {
            Data::Float(values) => values.len(),
            Data::Int(values) => values.len(),
        }
    }

    pub fn as_ints(&self) -> Option<&[i64]> {
        match &*self.data {
            Data::Int(values) => Some(values),
            Data::Float(_) => None,
        }
    }

    pub fn as_floats(&self) -> Option<&[f32]> {
        match &*self.data {
            Data::Float(values) => Some(values),
            Data::Int(_) => None,
        }
    }

    /// The same values in another shape, with ONNX' -1 (the rest) and 0 (as it was).
    pub fn reshaped(&self, to: &[i64]) -> Result<Self, Fault> {
        check_rank(to.len())?;
        let wrong = || Fault::new(format!("{:?} cannot be reshaped to {to:?}", self.shape));
        let mut shape = Vec::with_capacity(to.len());
        for (axis, &n) in to.iter().enumerate() {
            shape.push(match n {
                -1 => usize::MAX,
                0 => *self.shape.get(axis).ok_or_else(wrong)?,
                n => usize::try_from(n).map_err(|_| wrong())?,
            });
        }
        let known = shape.iter().filter(|&&n| n != usize::MAX).copied();
        let known = { known }.try_fold(1_usize, usize::checked_mul).ok_or_else(wrong)?;
        let open = shape.iter().filter(|&&n| n == usize::MAX).count();
        if open == 1 && known > 0 {
            let rest = self.len() / known;
            shape.iter_mut().filter(|n| **n == usize::MAX).for_each(|n| *n = rest);
        }
        if open > 1 || product(&shape) != Some(self.len()) {
            return Err(wrong());
        }
        Ok(Self { shape, data: Rc::clone(&self.data) })
    }

    /// Axes in another order.
    pub fn transposed(&self, permutation: &[usize], store: &Store) -> Result<Self, Fault> {
        let rank = self.shape.len();
        let mut seen = vec![false; rank];
        for &axis in permutation {
            match seen.get_mut(axis) {
                Some(seen) if !*seen => *seen = true,
                _ => return Err(Fault::new("its `perm` is no permutation of the axes")),
            }
        }
        if permutation.len() != rank {
            return Err(Fault::new("its `perm` is no permutation of the axes"));
        }
        store.take(self.len())?;
        let mut strides = vec![1; rank];
        for axis in (1..rank).rev() {
            strides[axis - 1] = strides[axis] * self.shape[axis];
        }
        let shape: Vec<usize> = permutation.iter().map(|&axis| self.shape[axis]).collect();
        let steps: Vec<usize> = permutation.iter().map(|&axis| strides[axis]).collect();
        // The source of each value in turn, counted up like an odometer.
        let mut at = vec![0; rank];
        let mut source = 0;
        let order = (0..self.len()).map(|_| {
            let now = source;
            for axis in (0..rank).rev() {
                at[axis] += 1;
                source += steps[axis];
                if at[axis] < shape[axis] {
                    break;
                }
                source -= steps[axis] * shape[axis];
                at[axis] = 0;
            }
            now
        });
        let data = match &*self.data {
            Data::Float(values) => Data::Float(order.map(|i| values[i]).collect()),
            Data::Int(values) => Data::Int(order.map(|i| values[i]).collect()),
        };
        Ok(Self { shape, data: Rc::new(data) })
    }
}

/// Refuses shapes with more axes than any layer's.
pub(super) fn check_rank(axes: usize) -> Result<(), Fault> {
    match axes {
        0..=8 => Ok(()),
        _ => Err(Fault::new(format!("an array with {axes} axes"))),
    }
}

pub(super) fn product(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d))
}

/// Reads other files that tensors point to, by the name that stands in the model.
pub type Load<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, Fault>;

/// Where values come from, and how many may still be made.
///
/// A node can ask for millions of values in a few bytes (`ConstantOfShape`), and many nodes can
/// read one tensor, so the number of values is bounded by the size of the file, plus what an
/// Inception made of constants alone needs.
pub(super) struct Store<'a> {
    budget: Cell<usize>,
    load: Load<'a>,
    files: RefCell<HashMap<String, Bytes>>,
}

/// Values beyond those that are in the file: more than any Inception has.
const ALLOWANCE: usize = 1 << 26;

impl<'a> Store<'a> {
    pub fn new(file_len: usize, load: Load<'a>) -> Self {
        Self { budget: Cell::new(file_len + ALLOWANCE), load, files: RefCell::default() }
    }

    /// Counts values about to be made.
    pub fn take(&self, values: usize) -> Result<(), Fault> {
        let left = self.budget.get().checked_sub(values).ok_or_else(|| {
            Fault::new("its constants unfold to far more values than the file holds")
        })?;
        self.budget.set(left);
        Ok(())
    }

    /// A tensor's values.
    pub fn decode(&self, tensor: &messages::Tensor) -> Result<Constant, Fault> {
        let fault = |text: &str| Err(Fault::new(format!("tensor `{}`: {text}", tensor.name)));
        check_rank(tensor.dims.len())?;
        let shape: Option<Vec<usize>> =
            tensor.dims.iter().map(|&d| usize::try_from(d).ok()).collect();
        let Some((shape, count)) = shape.and_then(|shape| product(&shape).map(|n| (shape, n)))
        else {
            return fault("its shape is negative or too large");
        };
        let raw = match tensor.data_location {
            0 => tensor.raw_data.clone(),
            _ => self.external(&tensor.external_data)?,
        };
        let data = if raw.is_empty() {
            let stored = match tensor.data_type {
                1 => tensor.float_data.len(),
                11 => tensor.double_data.len(),
                7 => tensor.int64_data.len(),
                2..=6 | 9 | 10 | 16 => tensor.int32_data.len(),
                _ => return fault("its values are of a type that is not read here"),
            };
            if stored != count {
                return fault(&format!("it holds {stored} values and its shape wants {count}"));
            }
            self.take(count)?;
            let small = &tensor.int32_data;
            match tensor.data_type {
                1 => Data::Float(tensor.float_data.clone()),
                11 => Data::Float(tensor.double_data.iter().map(|&v| v as f32).collect()),
                10 => Data::Float(small.iter().map(|&v| f16::from_bits(v as u16).into()).collect()),
                16 => {
                    Data::Float(small.iter().map(|&v| bf16::from_bits(v as u16).into()).collect())
                }
                7 => Data::Int(tensor.int64_data.clone()),
                _ => Data::Int(small.iter().map(|&v| v.into()).collect()),
            }
        } else {
            let Some(size) = size_of(tensor.data_type) else {
                return fault("its values are of a type that is not read here");
            };
            if count.checked_mul(size) != Some(raw.len()) {
                let found = raw.len();
                return fault(&format!(
                    "it holds {found} bytes and its shape wants {count} values"
                ));
            }
            self.take(count)?;
            decode_raw(&raw, tensor.data_type)
        };
        Ok(Constant { shape, data: Rc::new(data) })
    }

    /// The part of another file that a tensor's values are.
    fn external(&self, entries: &[Entry]) -> Result<Bytes, Fault> {
        let entry = |key: &str| entries.iter().find(|e| e.key == key).map(|e| e.value.as_str());
        let number = |key: &str| match entry(key) {
            None => Ok(None),
            Some(text) => text.parse::<usize>().map(Some).map_err(|_| {
                Fault::new(format!("the {key} of a tensor in another file is no number: `{text}`"))
            }),
        };
        let Some(location) = entry("location") else {
            return Err(Fault::new("a tensor lies in another file that is not named"));
        };
        let mut files = self.files.borrow_mut();
        if !files.contains_key(location) {
            let bytes = Bytes::from((self.load)(location)?);
            self.budget.set(self.budget.get().saturating_add(bytes.len()));
            files.insert(location.to_owned(), bytes);
        }
        let bytes = &files[location];
        let start = number("offset")?.unwrap_or(0);
        let end = match number("length")? {
            Some(length) => start.checked_add(length),
            None => Some(bytes.len()),
        };
        match end {
            Some(end) if start <= end && end <= bytes.len() => Ok(bytes.slice(start..end)),
            _ => Err(Fault::new(format!("a tensor lies beyond the end of `{location}`"))),
        }
    }
}

fn size_of(data_type: i32) -> Option<usize> {
    Some(match data_type {
        2 | 3 | 9 => 1,
        4 | 5 | 10 | 16 => 2,
        1 | 6 | 12 => 4,
        7 | 11 => 8,
        _ => return None,
    })
}

fn decode_raw(raw: &[u8], data_type: i32) -> Data {
    fn all<const N: usize, T>(raw: &[u8], value: impl Fn([u8; N]) -> T) -> Vec<T> {
        raw.as_chunks::<N>().0.iter().map(|&bytes| value(bytes)).collect()
    }
    match data_type {
        1 => Data::Float(all(raw, f32::from_le_bytes)),
        10 => Data::Float(all(raw, |b| f16::from_le_bytes(b).into())),
        16 => Data::Float(all(raw, |b| bf16::from_le_bytes(b).into())),
        11 => Data::Float(all(raw, |b| f64::from_le_bytes(b) as f32)),
        2 | 9 => Data::Int(raw.iter().map(|&b| b.into()).collect()),
        3 => Data::Int(raw.iter().map(|&b| (b as i8).into()).collect()),
        4 => Data::Int(all(raw, |b| u16::from_le_bytes(b).into())),
        5 => Data::Int(all(raw, |b| i16::from_le_bytes(b).into())),
        6 => Data::Int(all(raw, |b| i32::from_le_bytes(b).into())),
        12 => Data::Int(all(raw, |b| u32::from_le_bytes(b).into())),
        _ => Data::Int(all(raw, i64::from_le_bytes)),
    }
}
