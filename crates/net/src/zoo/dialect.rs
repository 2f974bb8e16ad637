//! The same network as different code bases compute it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::NetError;
use crate::graph::{BatchNorm, Init};
use crate::preprocessing::{ChannelOrder, Filter, Preprocessing, Protocol, Resize, Rounding};

/// Whose arithmetic a network follows. Same layers, different numbers: what differs is in
/// [`Conventions`] and, where it is a matter of layers, in the network's own file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Dialect {
    /// The paper's table; for GoogLeNet that is BVLC's Caffe model: true 5×5 filters, local
    /// response normalisation, biases, pools in ceil mode, BGR.
    Paper,
    /// TF-slim: batch norm without scale γ, 1001 classes with a background class 0.
    TfSlim,
    /// torchvision: batch norm with γ, average pools count padding.
    Torchvision,
    /// Keras' applications: as TF-slim, 1000 classes, no auxiliary head, no dropout.
    Keras,
    /// The graph of 2015-12-05 that the Fréchet Inception distance is defined with: 1008
    /// outputs, a max pool in the last module.
    Fid2015,
}

impl Dialect {
    /// All dialects.
    pub const ALL: [Dialect; 5] =
        [Dialect::Paper, Dialect::TfSlim, Dialect::Torchvision, Dialect::Keras, Dialect::Fid2015];

    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Paper => "paper",
            Dialect::TfSlim => "tf-slim",
            Dialect::Torchvision => "torchvision",
            Dialect::Keras => "keras",
            Dialect::Fid2015 => "fid-2015",
        }
    }
}

impl Dialect {
    /// How pictures were prepared for the dialect's published figures, made of a built-in
    /// network's own preprocessing: that antialiases, which is best for training, where TensorFlow
    /// 1 did not, and torchvision resized 8-bit pictures with PIL.
    pub fn published(self, own: Preprocessing) -> Preprocessing {
        match self {
            // `inception_preprocessing.preprocess_for_eval`.
            Dialect::TfSlim => {
                let resize = own.crop.map(|(height, width)| Resize::Exact { height, width });
                Preprocessing {
                    central: Some(0.875),
                    resize: resize.unwrap_or(own.resize),
                    protocol: Protocol::Tensorflow1,
                    crop: None,
                    ..own
                }
            }
            Dialect::Fid2015 => Preprocessing { protocol: Protocol::Tensorflow1, ..own },
            Dialect::Torchvision => Preprocessing { protocol: Protocol::Pil, ..own },
            Dialect::Paper | Dialect::Keras => own,
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TryFrom<String> for Dialect {
    type Error = NetError;

    fn try_from(name: String) -> Result<Self, NetError> {
        name.parse()
    }
}

impl From<Dialect> for &'static str {
    fn from(dialect: Dialect) -> Self {
        dialect.name()
    }
}

impl FromStr for Dialect {
    type Err = NetError;

    fn from_str(name: &str) -> Result<Self, NetError> {
        Dialect::ALL.into_iter().find(|d| d.name() == name).ok_or_else(|| {
            let known = Dialect::ALL.map(Dialect::name).join(", ");
            NetError::Option(format!("no dialect is called `{name}`; there are {known}"))
        })
    }
}

/// The numbers in which dialects of one network differ.
#[derive(Clone, Copy, Debug)]
pub struct Conventions {
    /// Outputs unless others are asked for.
    pub classes: usize,
    /// Batch norm after each convolution; without it a bias.
    pub batch_norm: Option<BatchNorm>,
    /// Initial weights of convolutions and linear layers.
    pub init: Init,
    /// Initial weights of the main classifier, where they differ.
    pub classifier_init: Option<Init>,
    /// Whether average pools count padding.
    pub count_padding: bool,
    /// Factor of the auxiliary heads' losses; `None` without such heads.
    pub auxiliary: Option<f32>,
    /// Share of values zeroed before the main classifier; 0 without dropout.
    pub dropout: f32,
    /// How pictures are prepared for an input of this height and width.
    pub preprocessing: fn((usize, usize)) -> Preprocessing,
}

/// TF-slim's batch norm: no γ.
pub(super) const SLIM: BatchNorm = BatchNorm { epsilon: 1e-3, decay: 0.9997, scale: false };

/// torchvision's batch norm (its momentum .1 is a decay of .9).
pub(super) const TORCHVISION: BatchNorm = BatchNorm { epsilon: 1e-3, decay: 0.9, scale: true };

/// TF-slim's evaluation: the central 0.875 of each side, resized to the input whatever the
/// proportion, to [-1, 1]. Resizing first and cropping after samples the same area.
pub(super) fn slim(size: (usize, usize)) -> Preprocessing {
    let before = |side: usize| (side as f64 / 0.875).round() as usize;
    let resize = Resize::Exact { height: before(size.0), width: before(size.1) };
    Preprocessing { resize, ..Preprocessing::symmetric(0, size) }
}

/// Keras' examples: the whole picture resized to the input, to [-1, 1].
pub(super) fn keras(size: (usize, usize)) -> Preprocessing {
    let resize = Resize::Exact { height: size.0, width: size.1 };
    Preprocessing { resize, crop: None, ..Preprocessing::symmetric(0, size) }
}

/// The 2015 graph: the whole picture, (v - 128) / 128. Scores additionally need TensorFlow 1's
/// resize (no half-pixel centres, no antialiasing) done before.
pub(super) fn fid(size: (usize, usize)) -> Preprocessing {
    Preprocessing { mean: vec![128.0 / 255.0; 3], std: vec![128.0 / 255.0; 3], ..keras(size) }
}

/// torchvision's v3 preset: shorter side 342 for an input of 299. Its ImageNet mean and deviation
/// followed by the network's `transform_input` amount to [-1, 1].
pub(super) fn torchvision_v3(size: (usize, usize)) -> Preprocessing {
    Preprocessing::symmetric(shorter(size, 342, 299), size)
}

/// torchvision's GoogLeNet preset: shorter side 256 for an input of 224; [-1, 1] as in
/// [`torchvision_v3`].
pub(super) fn torchvision_v1(size: (usize, usize)) -> Preprocessing {
    Preprocessing::symmetric(shorter(size, 256, 224), size)
}

/// Caffe's: shorter side 256 for an input of 224, BGR, 0–255 minus (104, 117, 123).
pub(super) fn caffe(size: (usize, usize)) -> Preprocessing {
    Preprocessing {
        central: None,
        resize: Resize::Shorter(shorter(size, 256, 224)),
        filter: Filter::Bilinear,
        protocol: Protocol::default(),
        crop: Some(size),
        rounding: Rounding::Down,
        order: ChannelOrder::Bgr,
        mean: [104.0, 117.0, 123.0].map(|m| m / 255.0).to_vec(),
        std: vec![1.0 / 255.0; 3],
    }
}

/// The shorter side before a crop of `size`, in the proportion `side` to `crop`.
fn shorter(size: (usize, usize), side: usize, crop: usize) -> usize {
    (size.0.max(size.1) * side).div_ceil(crop)
}
