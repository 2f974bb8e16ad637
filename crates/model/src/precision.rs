//! How numbers are stored.

use std::fmt;
use std::str::FromStr;

use half::{bf16, f16};
use safetensors::Dtype;

/// A type of floating-point number in a file. In memory all are `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits: nothing is lost.
    #[default]
    F32,
    /// 16 bits, 11 of them significant, up to 65504.
    F16,
    /// 16 bits, 8 of them significant, with the range of `f32`.
    Bf16,
}

impl Precision {
    /// All precisions.
    pub const ALL: [Precision; 3] = [Precision::F32, Precision::F16, Precision::Bf16];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    pub(crate) fn size(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }

    pub(crate) fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
        }
    }

    pub(crate) fn of(dtype: Dtype) -> Option<Self> {
        Self::ALL.into_iter().find(|precision| precision.dtype() == dtype)
    }

    /// Little-endian, rounded to the nearest.
    pub(crate) fn bytes(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::F16 => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
            Self::Bf16 => values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
        }
    }

    /// The way back, behind the values that are there.
    pub(crate) fn extend(self, values: &mut Vec<f32>, bytes: &[u8]) {
        let pairs = || bytes.as_chunks::<2>().0.iter();
        match self {
            Self::F32 => {
                values.extend(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)));
            }
            Self::F16 => values.extend(pairs().map(|&b| f16::from_le_bytes(b).to_f32())),
            Self::Bf16 => values.extend(pairs().map(|&b| bf16::from_le_bytes(b).to_f32())),
        }
    }

    /// The first finite value that would become infinite.
    pub(crate) fn beyond(self, values: &[f32]) -> Option<f32> {
        let lost = |v: f32| match self {
            Self::F32 => false,
            Self::F16 => f16::from_f32(v).is_infinite(),
            Self::Bf16 => bf16::from_f32(v).is_infinite(),
        };
        values.iter().copied().find(|&v| v.is_finite() && lost(v))
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|precision| precision.name() == name)
            .ok_or_else(|| format!("no precision is called `{name}`; there are f32, f16 and bf16"))
    }
}
