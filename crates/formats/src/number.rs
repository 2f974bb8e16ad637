//! Types of numbers in files, and how they become `f32`.

use half::{bf16, f16};

/// A type of number, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    U64,
    I32,
    U32,
    I16,
    U16,
    I8,
    /// Or a truth value.
    U8,
}

impl Number {
    /// Bytes of one.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 => 1,
        }
    }

    /// As many as fit into `data`; doubles and large integers are rounded.
    pub fn widen(self, data: &[u8]) -> Vec<f32> {
        match self {
            Self::F64 => each(data, |b| f64::from_le_bytes(b) as f32),
            Self::F32 => each(data, f32::from_le_bytes),
            Self::F16 => each(data, |b| f16::from_le_bytes(b).to_f32()),
            Self::Bf16 => each(data, |b| bf16::from_le_bytes(b).to_f32()),
            Self::I64 => each(data, |b| i64::from_le_bytes(b) as f32),
            Self::U64 => each(data, |b| u64::from_le_bytes(b) as f32),
            Self::I32 => each(data, |b| i32::from_le_bytes(b) as f32),
            Self::U32 => each(data, |b| u32::from_le_bytes(b) as f32),
            Self::I16 => each(data, |b| i16::from_le_bytes(b).into()),
            Self::U16 => each(data, |b| u16::from_le_bytes(b).into()),
            Self::I8 => each(data, |b| i8::from_le_bytes(b).into()),
            Self::U8 => each(data, |b| u8::from_le_bytes(b).into()),
        }
    }
}

fn each<const N: usize>(data: &[u8], number: fn([u8; N]) -> f32) -> Vec<f32> {
    data.as_chunks::<N>().0.iter().map(|&bytes| number(bytes)).collect()
}
