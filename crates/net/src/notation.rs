//! Sizes, paddings and initial weights as a person writes them.

use serde::{Deserialize, Serialize};

use crate::graph::Init;

/// Height and width; written `3` where both are the same, else `[1, 7]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "WrittenSize", into = "WrittenSize")]
pub struct Size {
    /// Down.
    pub height: usize,
    /// Across.
    pub width: usize,
}

impl Size {
    /// Whether it is 1×1, the default of strides.
    pub(crate) fn is_one(&self) -> bool {
        *self == Size::default()
    }
}

impl Default for Size {
    fn default() -> Self {
        Size::from(1)
    }
}

impl From<usize> for Size {
    fn from(side: usize) -> Self {
        Size { height: side, width: side }
    }
}

impl From<(usize, usize)> for Size {
    fn from((height, width): (usize, usize)) -> Self {
        Size { height, width }
    }
}

/// Rows and columns around a layer's input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "WrittenPad", into = "WrittenPad")]
pub enum Pad {
    /// `"same"`: as many as make the output `ceil(input / stride)`, the odd one below or right
    /// (TensorFlow's way).
    #[default]
    Same,
    /// `"valid"`: none.
    Valid,
    /// `1`, `[1, 3]` (above and below, left and right) or `[top, bottom, left, right]`.
    Explicit {
        /// Above.
        top: usize,
        /// Below.
        bottom: usize,
        /// Left.
        left: usize,
        /// Right.
        right: usize,
    },
}

impl Pad {
    /// The same number on all sides.
    pub fn all(n: usize) -> Self {
        Pad::Explicit { top: n, bottom: n, left: n, right: n }
    }

    /// Whether it is the default.
    pub(crate) fn is_same(&self) -> bool {
        *self == Pad::Same
    }
}

/// A [`Size`] in a file.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a whole number or [height, width]")]
enum WrittenSize {
    Both(usize),
    Each(usize, usize),
}

impl From<WrittenSize> for Size {
    fn from(written: WrittenSize) -> Self {
        match written {
            WrittenSize::Both(side) => side.into(),
            WrittenSize::Each(height, width) => (height, width).into(),
        }
    }
}

impl From<Size> for WrittenSize {
    fn from(Size { height, width }: Size) -> Self {
        if height == width { WrittenSize::Both(height) } else { WrittenSize::Each(height, width) }
    }
}

/// A [`Pad`] in a file.
#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected \"same\", \"valid\", a whole number, [vertical, horizontal] or \
                 [top, bottom, left, right]"
)]
enum WrittenPad {
    Word(PadWord),
    All(usize),
    Axes(usize, usize),
    Sides(usize, usize, usize, usize),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PadWord {
    Same,
    Valid,
}

impl From<WrittenPad> for Pad {
    fn from(written: WrittenPad) -> Self {
        match written {
            WrittenPad::Word(PadWord::Same) => Pad::Same,
            WrittenPad::Word(PadWord::Valid) => Pad::Valid,
            WrittenPad::All(n) => Pad::all(n),
            WrittenPad::Axes(v, h) => Pad::Explicit { top: v, bottom: v, left: h, right: h },
            WrittenPad::Sides(top, bottom, left, right) => {
                Pad::Explicit { top, bottom, left, right }
            }
        }
    }
}

impl From<Pad> for WrittenPad {
    fn from(pad: Pad) -> Self {
        match pad {
            Pad::Same => WrittenPad::Word(PadWord::Same),
            Pad::Valid => WrittenPad::Word(PadWord::Valid),
            Pad::Explicit { top, bottom, left, right } => {
                if top != bottom || left != right {
                    WrittenPad::Sides(top, bottom, left, right)
                } else if top != left {
                    WrittenPad::Axes(top, left)
                } else {
                    WrittenPad::All(top)
                }
            }
        }
    }
}

/// An [`Init`] in a file: `"he"`, or the standard deviation.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected \"he\" or a standard deviation")]
pub(crate) enum WrittenInit {
    Word(InitWord),
    Truncated(f32),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum InitWord {
    He,
}

impl From<WrittenInit> for Init {
    fn from(written: WrittenInit) -> Self {
        match written {
            WrittenInit::Word(InitWord::He) => Init::He,
            WrittenInit::Truncated(std) => Init::Truncated(std),
        }
    }
}

impl From<Init> for WrittenInit {
    fn from(init: Init) -> Self {
        match init {
            Init::He => WrittenInit::Word(InitWord::He),
            Init::Truncated(std) => WrittenInit::Truncated(std),
        }
    }
}
