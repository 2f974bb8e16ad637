//! What torchvision, Pillow and TensorFlow make of a small picture, written by `peers/augment`.

use serde::Deserialize;

/// `tests/data/augment.json`.
#[derive(Deserialize)]
pub struct Recorded {
    pub operations: Vec<OperationCase>,
    pub colours: Vec<ColourCase>,
}

/// One of RandAugment's operations on a picture.
#[derive(Deserialize)]
pub struct OperationCase {
    pub name: String,
    pub magnitude: usize,
    pub negative: bool,
    pub channels: usize,
    /// `[row][column][channel]`, in hexadecimal.
    pub values: String,
}

/// TensorFlow's adjustments, one after the other.
#[derive(Deserialize)]
pub struct ColourCase {
    pub steps: Vec<(String, f32)>,
    #[serde(default)]
    pub grey: bool,
    /// `[row][column][channel]`.
    pub values: Vec<f32>,
}

pub fn recorded() -> Recorded {
    serde_json::from_str(include_str!("../../tests/data/augment.json")).unwrap()
}

/// `count` bytes, the same as `noise` of `peers/augment.py`.
pub fn noise(count: usize) -> Vec<u8> {
    let mut state: u64 = 1;
    let mut next = || {
        state = (state * 1103515245 + 12345) % (1 << 31);
        (state >> 23) as u8
    };
    (0..count).map(|_| next()).collect()
}
