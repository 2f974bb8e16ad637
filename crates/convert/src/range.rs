//! What numbers a network wants for a picture's bytes.

use std::fmt;
use std::str::FromStr;

use inception_net::preprocessing::{ChannelOrder, Preprocessing};

/// A usual way to scale pixels, which few files record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// `[0, 1]`.
    Unit,
    /// `[-1, 1]`: TF-slim's, Keras' for Inception.
    Symmetric,
    /// `[0, 255]`.
    Bytes,
    /// PyTorch's: `[0, 1]` minus ImageNet's mean (0.485, 0.456, 0.406) by its deviation
    /// (0.229, 0.224, 0.225).
    ImageNet,
    /// Caffe's: blue, green, red; `[0, 255]` minus (104, 117, 123).
    Caffe,
}

impl Range {
    /// All of them.
    pub const ALL: [Range; 5] =
        [Range::Unit, Range::Symmetric, Range::Bytes, Range::ImageNet, Range::Caffe];

    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Range::Unit => "unit",
            Range::Symmetric => "symmetric",
            Range::Bytes => "bytes",
            Range::ImageNet => "imagenet",
            Range::Caffe => "caffe",
        }
    }

    /// Makes a network's preprocessing scale so; colours' statistics are averaged for a network
    /// that sees grey.
    pub fn apply(self, preprocessing: &mut Preprocessing) {
        let channels = preprocessing.mean.len();
        let (mean, std) = match self {
            Range::Unit => ([0.0; 3], [1.0; 3]),
            Range::Symmetric => ([0.5; 3], [0.5; 3]),
            Range::Bytes => ([0.0; 3], [1.0 / 255.0; 3]),
            Range::ImageNet => ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            Range::Caffe => ([104.0, 117.0, 123.0].map(|m| m / 255.0), [1.0 / 255.0; 3]),
        };
        preprocessing.order =
            if self == Range::Caffe { ChannelOrder::Bgr } else { ChannelOrder::Rgb };
        (preprocessing.mean, preprocessing.std) = (mean.to_vec(), std.to_vec());
        *preprocessing = preprocessing.clone().for_channels(channels);
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Range::ALL.into_iter().find(|range| range.name() == name).ok_or_else(|| {
            format!(
                "no range is called `{name}`; there are {}",
                Range::ALL.map(Range::name).join(", ")
            )
        })
    }
}
