//! The built-in networks: one file per architecture, the dialects as values.

mod bn_inception;
mod dialect;
mod googlenet;
mod inception_v2;
mod inception_v3;
mod inception_v3_paper;
mod inception_v3_small;

pub use dialect::{Conventions, Dialect};

use crate::error::NetError;
use crate::net::{Defaults, Input, Net};
use crate::step::Series;

/// What may be chosen of a built-in network; everything left out is the network's own.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Number of classes.
    pub classes: Option<usize>,
    /// Height and width of the input.
    pub size: Option<(usize, usize)>,
    /// Channels of the input.
    pub channels: Option<usize>,
    /// Factor of all widths. With a factor other than 1 each width is rounded to a multiple of
    /// 16 and is 16 at least: the engine computes channels in blocks of 16.
    pub width: f64,
    /// Which of the network's dialects.
    pub dialect: Option<Dialect>,
}

impl Default for Options {
    fn default() -> Self {
        Self { classes: None, size: None, channels: None, width: 1.0, dialect: None }
    }
}

/// A built-in network.
struct Architecture {
    name: &'static str,
    /// Height, width and channels of its input unless others are asked for.
    input: (usize, usize, usize),
    /// Dialects it exists in, the default first.
    dialects: &'static [Dialect],
    /// What holds in a dialect.
    conventions: fn(Dialect) -> Conventions,
    /// Its layers.
    layers: fn(&Plan) -> Series,
}

/// What an architecture's layers depend on.
struct Plan {
    dialect: Dialect,
    conventions: Conventions,
    width: f64,
}

impl Plan {
    /// A width of the paper's table, scaled.
    fn width(&self, width: usize) -> usize {
        if self.width == 1.0 {
            return width;
        }
        let blocks = (width as f64 * self.width / 16.0).round() as usize;
        blocks.max(1) * 16
    }

    /// Two of them.
    fn pair(&self, (a, b): (usize, usize)) -> (usize, usize) {
        (self.width(a), self.width(b))
    }
}

const ARCHITECTURES: [&Architecture; 6] = [
    &googlenet::GOOGLENET,
    &bn_inception::BN_INCEPTION,
    &inception_v2::INCEPTION_V2,
    &inception_v3_paper::INCEPTION_V3_PAPER,
    &inception_v3::INCEPTION_V3,
    &inception_v3_small::INCEPTION_V3_SMALL,
];

/// Names of the built-in networks.
pub fn names() -> impl Iterator<Item = &'static str> {
    ARCHITECTURES.iter().map(|a| a.name)
}

/// Dialects a built-in network exists in, the default first.
///
/// # Errors
///
/// If no network has this name.
pub fn dialects(name: &str) -> Result<&'static [Dialect], NetError> {
    Ok(find(name)?.dialects)
}

/// A built-in network.
///
/// # Errors
///
/// If no network has this name (the message lists those there are), it does not exist in the
/// dialect, an option is out of range, or the input is too small.
pub fn build(name: &str, options: &Options) -> Result<Net, NetError> {
    let architecture = find(name)?;
    let dialect = options.dialect.unwrap_or(architecture.dialects[0]);
    if !architecture.dialects.contains(&dialect) {
        return Err(NetError::UnknownDialect {
            network: name.to_owned(),
            dialect: dialect.to_string(),
            known: list(architecture.dialects.iter().map(Dialect::to_string)),
        });
    }
    if !(options.width > 0.0 && options.width <= 16.0) {
        return Err(NetError::Option(format!(
            "the width multiplier has to be above 0 and 16 at most, not {}",
            options.width
        )));
    }
    let conventions = (architecture.conventions)(dialect);
    let (height, width, channels) = architecture.input;
    let size = options.size.unwrap_or((height, width));
    let channels = options.channels.unwrap_or(channels);
    let plan = Plan { dialect, conventions, width: options.width };
    let net = Net {
        name: name.to_owned(),
        dialect: Some(dialect),
        classes: options.classes.unwrap_or(conventions.classes),
        input: Input { channels, height: size.0, width: size.1 },
        preprocessing: (conventions.preprocessing)(size).for_channels(channels),
        defaults: Defaults {
            batch_norm: conventions.batch_norm,
            init: conventions.init,
            count_padding: conventions.count_padding,
        },
        layers: (architecture.layers)(&plan),
    };
    net.graph()?;
    Ok(net)
}

fn find(name: &str) -> Result<&'static Architecture, NetError> {
    ARCHITECTURES.iter().find(|a| a.name == name).copied().ok_or_else(|| NetError::UnknownNetwork {
        name: name.to_owned(),
        known: list(names().map(str::to_owned)),
    })
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}
