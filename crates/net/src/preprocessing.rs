//! How a picture becomes a network's input, as data: stored with the network, done by `image`.
//!
//! The steps, in this order: the central part, [`Resize`] by a [`Protocol`], central crop,
//! [`ChannelOrder`], then each value `v` (0–255) becomes `(v / 255 - mean) / std`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// From a decoded picture to the network's input tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// Share of each side that is kept, around the middle, before anything else; `None` keeps
    /// all. TF-slim's evaluation keeps 0.875 (`tf.image.central_crop`, whose rounding it has).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub central: Option<f32>,
    /// Change of the picture's size.
    pub resize: Resize,
    /// Interpolation used by `resize`.
    #[serde(default)]
    pub filter: Filter,
    /// Whose resizing it is.
    #[serde(default, skip_serializing_if = "Protocol::is_default")]
    pub protocol: Protocol,
    /// Height and width cut out of the middle afterwards; `None` keeps all. Where the picture is
    /// smaller than this it is padded with black, equally on both sides (the odd row or column
    /// goes below or to the right).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<(usize, usize)>,
    /// Where that crop begins when it cannot be quite in the middle.
    #[serde(default, skip_serializing_if = "Rounding::is_default")]
    pub rounding: Rounding,
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

/// How half of an odd margin is rounded. One pixel aside, GoogLeNet's logits move by up to 1.8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rounding {
    /// To the even number, as Python's `round` and so torchvision's `center_crop` do.
    #[default]
    Even,
    /// Down, as Caffe's `DataTransformer` does.
    Down,
}

impl Rounding {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Interpolation. What else the word means (the cubic's constant, whether the filter widens when
/// a picture shrinks) is the [`Protocol`]'s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// Triangle filter.
    #[default]
    Bilinear,
    /// Cubic convolution.
    Bicubic,
    /// Lanczos with three lobes.
    Lanczos,
}

/// Whose resizing: the same filter by name gives other pixels in every library, and a network's
/// published accuracy, let alone a score such as FID, is that of one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Protocol {
    /// torchvision's `resize` of a float tensor with `antialias=True`, which is PIL's of an `F`
    /// image: the filter widens when a picture shrinks; values are not rounded. Cubic with
    /// a = -1/2.
    #[default]
    Torchvision,
    /// torchvision's `resize` of a float tensor with `antialias=False`, PyTorch's `interpolate`:
    /// half-pixel centres, a filter of fixed width. Cubic with a = -3/4.
    TorchvisionAliased,
    /// PIL's `resize` of an `L` or `RGB` image, to the bit: antialiased, weights of 22 bits,
    /// rounded to whole numbers after each of its two passes. Cubic with a = -1/2.
    Pil,
    /// TensorFlow 1's `resize_bilinear` and `resize_bicubic`: source = target · scale, without
    /// half-pixel centres or antialiasing. Cubic with a = -3/4.
    Tensorflow1,
    /// TensorFlow 2's `tf.image.resize`: half-pixel centres, no antialiasing. Cubic with
    /// a = -1/2.
    Tensorflow2,
    /// Corner pixels onto corner pixels: TensorFlow's and TensorFlow.js' `align_corners`, bilinear
    /// only.
    AlignCorners,
}

impl Protocol {
    /// All protocols.
    pub const ALL: [Protocol; 6] = [
        Protocol::Torchvision,
        Protocol::TorchvisionAliased,
        Protocol::Pil,
        Protocol::Tensorflow1,
        Protocol::Tensorflow2,
        Protocol::AlignCorners,
    ];

    /// The name used in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Torchvision => "torchvision",
            Protocol::TorchvisionAliased => "torchvision-aliased",
            Protocol::Pil => "pil",
            Protocol::Tensorflow1 => "tensorflow-1",
            Protocol::Tensorflow2 => "tensorflow-2",
            Protocol::AlignCorners => "align-corners",
        }
    }

    /// Whether its library has this filter.
    pub fn has(self, filter: Filter) -> bool {
        match filter {
            Filter::Bilinear => true,
            Filter::Bicubic => self != Protocol::AlignCorners,
            Filter::Lanczos => matches!(self, Protocol::Torchvision | Protocol::Pil),
        }
    }

    fn is_default(&self) -> bool {
        *self == Protocol::default()
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Protocol::ALL.into_iter().find(|p| p.name() == name).ok_or_else(|| {
            let known = Protocol::ALL.map(Protocol::name).join(", ");
            format!("no resize protocol is called `{name}`; there are {known}")
        })
    }
}

impl TryFrom<String> for Protocol {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<Protocol> for &'static str {
    fn from(protocol: Protocol) -> Self {
        protocol.name()
    }
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
            central: None,
            resize: Resize::Shorter(side),
            filter: Filter::Bilinear,
            protocol: Protocol::default(),
            crop: Some(size),
            rounding: Rounding::default(),
            order: ChannelOrder::Rgb,
            mean: vec![0.5; 3],
            std: vec![0.5; 3],
        }
    }

    /// The same for a network of another input size, from one to the other (rows and columns):
    /// pictures are resized in proportion.
    pub fn for_size(mut self, from: (usize, usize), to: (usize, usize)) -> Self {
        let scaled = |n: usize, from: usize, to: usize| {
            ((n as f64 * to as f64 / from as f64).round() as usize).max(1)
        };
        self.resize = match self.resize {
            Resize::None => Resize::None,
            Resize::Shorter(side) => {
                Resize::Shorter(scaled(side, from.0.min(from.1), to.0.min(to.1)))
            }
            Resize::Exact { height, width } => Resize::Exact {
                height: scaled(height, from.0, to.0),
                width: scaled(width, from.1, to.1),
            },
        };
        self.crop = self.crop.map(|_| to);
        self
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
