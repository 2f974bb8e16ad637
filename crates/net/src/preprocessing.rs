//! How a picture becomes a network's input, as data: stored with the network, done by `image`.
//!
//! The steps, in this order: [`Resize`], central crop, [`ChannelOrder`], then each value `v`
//! (0–255) becomes `(v / 255 - mean) / std`.

use serde::{Deserialize, Serialize};

/// From a decoded picture to the network's input tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// Change of the picture's size.
    pub resize: Resize,
    /// Interpolation used by `resize`.
    #[serde(default)]
    pub filter: Filter,
    /// Height and width cut out of the middle afterwards; `None` keeps all. Where the picture is
    /// smaller than this it is padded with black, equally on both sides (the odd row or column
    /// goes below or to the right).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<(usize, usize)>,
    /// Which channels the network sees, in which order.
    pub order: ChannelOrder,
    /// Subtracted from `v / 255`; one value per channel, in the order of `order`.
    pub mean: Vec<f32>,
    /// Then divides; one value per channel, in the order of `order`.
    pub std: Vec<f32>,
}

/// Change of a picture's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Resize {
    /// Left as it is.
    None,
    /// The shorter side becomes this long, the longer one keeps the proportion (rounded down, as
    /// torchvision does).
    Shorter(usize),
    /// Exactly this size, whatever the proportion.
    Exact {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
}

/// Interpolation. All widen their support when a picture shrinks (antialiasing, as PIL and
/// torchvision do).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// Triangle filter.
    #[default]
    Bilinear,
    /// Cubic convolution with a = -0.5.
    Bicubic,
    /// Lanczos with three lobes.
    Lanczos,
}

/// Which channels, in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red: Caffe's.
    Bgr,
    /// One channel of luma.
    Grey,
}

impl ChannelOrder {
    /// Number of channels.
    pub fn channels(self) -> usize {
        match self {
            ChannelOrder::Rgb | ChannelOrder::Bgr => 3,
            ChannelOrder::Grey => 1,
        }
    }
}

impl Preprocessing {
    /// The shorter side to `side`, then a central crop of `size` (height, width), values to
    /// [-1, 1]; RGB.
    pub fn symmetric(side: usize, size: (usize, usize)) -> Self {
        Self {
            resize: Resize::Shorter(side),
            filter: Filter::Bilinear,
            crop: Some(size),
            order: ChannelOrder::Rgb,
            mean: vec![0.5; 3],
            std: vec![0.5; 3],
        }
    }

    /// The same for a network with another number of channels, with averages of the statistics:
    /// 1 sees luma, 3 red, green and blue; for any other number whoever feeds the network has to
    /// make the channels.
    pub fn for_channels(mut self, channels: usize) -> Self {
        if channels != self.order.channels() {
            let average = |v: &[f32]| v.iter().sum::<f32>() / v.len() as f32;
            self.mean = vec![average(&self.mean); channels];
            self.std = vec![average(&self.std); channels];
            self.order = match channels {
                1 => ChannelOrder::Grey,
                3 => ChannelOrder::Rgb,
                _ => self.order,
            };
        }
        self
    }
}
