//! A network as a person writes it.

use serde::{Deserialize, Serialize};

use crate::build;
use crate::error::NetError;
use crate::graph::{BatchNorm, Graph, Init};
use crate::preprocessing::Preprocessing;
use crate::step::Series;
use crate::zoo::Dialect;

/// A network: its input, its layers and modules, its classes. All else is read from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Net {
    /// What it is called.
    pub name: String,
    /// Whose arithmetic it follows, where it is one of the built-in networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Dialect>,
    /// Number of classes: the outputs of each head.
    pub classes: usize,
    /// The tensor it reads.
    pub input: Input,
    /// How a picture becomes that tensor.
    pub preprocessing: Preprocessing,
    /// What layers have that do not say otherwise.
    #[serde(default)]
    pub defaults: Defaults,
    /// Layers and modules in order; the last is a classifier. `[[layer]]` in TOML.
    #[serde(rename = "layer")]
    pub layers: Series,
}

/// One picture's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Colour channels.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// What layers have that do not say otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Defaults {
    /// Batch norm of every convolution; without it convolutions have a bias instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_norm: Option<BatchNorm>,
    /// Initial weights.
    pub init: Init,
    /// Whether average pools count padding in their divisors (torchvision's way).
    pub count_padding: bool,
}

impl Default for Defaults {
    /// No batch norm, He's initial weights, padding not counted.
    fn default() -> Self {
        Self { batch_norm: None, init: Init::He, count_padding: false }
    }
}

impl Net {
    /// The network unrolled: every layer with its inputs, shape and explicit numbers.
    ///
    /// # Errors
    ///
    /// If the description is no network; the message names the layer and the remedy.
    pub fn graph(&self) -> Result<Graph, NetError> {
        build::graph(self).map_err(|error| {
            if !matches!(error, NetError::Grid { .. }) {
                return error;
            }
            match self.smallest_input() {
                Ok(smallest) if self.input.height.min(self.input.width) < smallest => {
                    NetError::TooSmall { smallest, cause: Box::new(error) }
                }
                _ => error,
            }
        })
    }

    /// The same network for pictures of another size, which are resized in proportion.
    ///
    /// # Errors
    ///
    /// As [`Net::graph`].
    pub fn resized(mut self, height: usize, width: usize) -> Result<Self, NetError> {
        let from = (self.input.height, self.input.width);
        self.preprocessing = self.preprocessing.for_size(from, (height, width));
        (self.input.height, self.input.width) = (height, width);
        self.graph()?;
        Ok(self)
    }

    /// The side of the smallest square picture the network takes, found by trying.
    ///
    /// # Errors
    ///
    /// What is wrong with the network where no size helps, or [`NetError::NoInput`].
    pub fn smallest_input(&self) -> Result<usize, NetError> {
        const LIMIT: usize = 1024;
        let mut net = self.clone();
        let mut side = 1;
        loop {
            net.input = Input { height: side, width: side, ..net.input };
            match build::graph(&net) {
                Ok(_) => return Ok(side),
                Err(last @ (NetError::Grid { .. } | NetError::Branches { .. })) => {
                    if side == LIMIT {
                        return Err(NetError::NoInput { limit: LIMIT, last: Box::new(last) });
                    }
                }
                Err(other) => return Err(other),
            }
            side += 1;
        }
    }
}
