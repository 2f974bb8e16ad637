//! Shapes and values as TensorFlow's messages hold them.

use half::{bf16, f16};

use super::messages::{TensorProto, TensorShapeProto};
use crate::Fault;

/// A number type, by its number in TensorFlow's `types.proto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    F32,
    F64,
    I32,
    U8,
    I16,
    I8,
    I64,
    Bool,
    Bf16,
    U16,
    F16,
}

/// Most axes of a tensor. Shapes are passed on by value, so none may be a list of millions.
const MOST_AXES: usize = 16;

/// The number of strings in `types.proto`.
pub(super) const STRING: i32 = 7;

impl Type {
    /// `None` for what is no plain number.
    pub fn of(number: i32) -> Option<Self> {
        Some(match number {
            1 => Self::F32,
            2 => Self::F64,
            3 => Self::I32,
            4 => Self::U8,
            5 => Self::I16,
            6 => Self::I8,
            9 => Self::I64,
            10 => Self::Bool,
            14 => Self::Bf16,
            17 => Self::U16,
            19 => Self::F16,
            _ => return None,
        })
    }

    /// Bytes of one value.
    pub fn width(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::I16 | Self::U16 | Self::F16 | Self::Bf16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    /// Values from bytes, little end first; the last few where they make no whole value are
    /// dropped.
    pub fn values(self, bytes: &[u8]) -> Vec<f32> {
        fn each<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
            bytes.as_chunks::<N>().0.iter().map(|&chunk| value(chunk)).collect()
        }
        match self {
            Self::F32 => each(bytes, f32::from_le_bytes),
            Self::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
            Self::I32 => each(bytes, |b| i32::from_le_bytes(b) as f32),
            Self::I64 => each(bytes, |b| i64::from_le_bytes(b) as f32),
            Self::I16 => each(bytes, |b| i16::from_le_bytes(b).into()),
            Self::U16 => each(bytes, |b| u16::from_le_bytes(b).into()),
            Self::I8 => each(bytes, |b| i8::from_le_bytes(b).into()),
            Self::U8 | Self::Bool => each(bytes, |[b]| b.into()),
            Self::F16 => each(bytes, |b| f16::from_le_bytes(b).into()),
            Self::Bf16 => each(bytes, |b| bf16::from_le_bytes(b).into()),
        }
    }

    /// Values from the list that belongs to the type.
    pub fn listed(self, proto: &TensorProto) -> Vec<f32> {
        let bits = || proto.half_val.iter().map(|&bits| bits as u16);
        match self {
            Self::F32 => proto.float_val.clone(),
            Self::F64 => proto.double_val.iter().map(|&v| v as f32).collect(),
            Self::I64 => proto.int64_val.iter().map(|&v| v as f32).collect(),
            Self::Bool => proto.bool_val.iter().map(|&v| v.into()).collect(),
            Self::F16 => bits().map(|v| f16::from_bits(v).into()).collect(),
            Self::Bf16 => bits().map(|v| bf16::from_bits(v).into()).collect(),
            Self::I32 | Self::U8 | Self::I16 | Self::I8 | Self::U16 => {
                proto.int_val.iter().map(|&v| v as f32).collect()
            }
        }
    }
}

/// A shape's axes and the number of its values, where all is known.
pub(super) fn shape(proto: Option<&TensorShapeProto>) -> Result<(Vec<usize>, usize), Fault> {
    let axes = proto.map_or(&[][..], |proto| &proto.dim);
    if axes.len() > MOST_AXES {
        return Err(Fault::new(format!("it has {} axes, more than any tensor here", axes.len())));
    }
    let axes = axes.iter().map(|dim| usize::try_from(dim.size)).collect::<Result<Vec<_>, _>>();
    let axes = axes.ok().filter(|_| !proto.is_some_and(|proto| proto.unknown_rank));
    let axes = axes.ok_or_else(|| Fault::new("its shape is not known"))?;
    let count = axes.iter().try_fold(1usize, |count, &axis| count.checked_mul(axis));
    Ok((axes, count.ok_or_else(|| Fault::new("its shape is impossibly large"))?))
}
