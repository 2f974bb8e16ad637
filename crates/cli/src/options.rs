//! Options that several commands share.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use inception_engine::Cpu;
use inception_net::preprocessing::{Filter, Preprocessing, Protocol, Resize};
use inception_net::zoo::Dialect;

/// Height and width in pixels, written `299` or `299x320`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pixels(pub usize, pub usize);

impl FromStr for Pixels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let side = |side: &str| side.parse().ok().filter(|&side: &usize| side > 0);
        let pixels = match text.split_once(['x', '×']) {
            Some((height, width)) => side(height).zip(side(width)),
            None => side(text).map(|side| (side, side)),
        };
        pixels
            .map(|(height, width)| Pixels(height, width))
            .ok_or_else(|| "expected pixels: one number, or HEIGHTxWIDTH as in 299x320".to_owned())
    }
}

/// Makes a built-in network differ from its paper's.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Network")]
pub struct NetworkOptions {
    /// Whose arithmetic it follows, for networks that several code bases compute differently
    #[arg(long, value_name = "NAME", value_parser = dialect())]
    pub dialect: Option<Dialect>,
    /// Height and width of its input, as 128 or 128x96 [default: the network's own]
    #[arg(long, value_name = "PIXELS", allow_negative_numbers = true)]
    pub size: Option<Pixels>,
    /// Colour channels of its input: 1 for grey, 3 for colour
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub channels: Option<usize>,
    /// Factor of all layers' widths: 0.5 is about a quarter of the cost
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    pub width: Option<f64>,
}

impl NetworkOptions {
    /// The first option that was given, by its name on the command line.
    pub fn given(&self) -> Option<&'static str> {
        let given = [
            (self.dialect.is_some(), "--dialect"),
            (self.size.is_some(), "--size"),
            (self.channels.is_some(), "--channels"),
            (self.width.is_some(), "--width"),
        ];
        given.into_iter().find_map(|(given, name)| given.then_some(name))
    }
}

/// Names the dialects in help and completions.
fn dialect() -> impl clap::builder::TypedValueParser<Value = Dialect> {
    use clap::builder::TypedValueParser;
    clap::builder::PossibleValuesParser::new(Dialect::ALL.map(Dialect::name))
        .try_map(|name| name.parse::<Dialect>())
}

/// Does something else with pictures than the model file says.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Preprocessing (instead of the model's own)")]
pub struct PreprocessingOptions {
    /// Size before cropping: none, N for the shorter side, or HEIGHTxWIDTH
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true, value_parser = resize)]
    pub resize: Option<Resize>,
    /// Whose resizing: the same filter gives other pixels in every library
    #[arg(long, value_name = "NAME", value_parser = protocol())]
    pub resize_protocol: Option<Protocol>,
    /// Interpolation of the resizing
    #[arg(long, value_name = "NAME", value_enum)]
    pub resize_filter: Option<ResizeFilter>,
    /// Central part that is used, as 299 or 299x320
    #[arg(long, value_name = "PIXELS", allow_negative_numbers = true)]
    pub crop: Option<Pixels>,
}

/// [`Filter`] on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ResizeFilter {
    /// Two pixels a side
    Bilinear,
    /// Four pixels a side
    Bicubic,
    /// Six pixels a side; of torchvision and pil only
    Lanczos,
}

impl From<ResizeFilter> for Filter {
    fn from(filter: ResizeFilter) -> Self {
        match filter {
            ResizeFilter::Bilinear => Filter::Bilinear,
            ResizeFilter::Bicubic => Filter::Bicubic,
            ResizeFilter::Lanczos => Filter::Lanczos,
        }
    }
}

/// Names the protocols in help and completions.
fn protocol() -> impl clap::builder::TypedValueParser<Value = Protocol> {
    use clap::builder::TypedValueParser;
    clap::builder::PossibleValuesParser::new(Protocol::ALL.map(Protocol::name))
        .try_map(|name| name.parse::<Protocol>())
}

impl PreprocessingOptions {
    /// Puts what was given in the place of the model's own.
    pub fn apply(&self, preprocessing: &mut Preprocessing) {
        if let Some(resize) = self.resize {
            // A part cut out before is a part of the size.
            (preprocessing.resize, preprocessing.central) = (resize, None);
        }
        preprocessing.protocol = self.resize_protocol.unwrap_or(preprocessing.protocol);
        preprocessing.filter = self.resize_filter.map_or(preprocessing.filter, Filter::from);
        preprocessing.crop = self.crop.map(|p| (p.0, p.1)).or(preprocessing.crop);
    }
}

fn resize(text: &str) -> Result<Resize, String> {
    if text == "none" {
        return Ok(Resize::None);
    }
    match (text.parse(), text.parse()) {
        (Ok(side @ 1..), _) => Ok(Resize::Shorter(side)),
        (_, Ok(Pixels(height, width))) => Ok(Resize::Exact { height, width }),
        _ => Err("expected none, the shorter side's pixels, or HEIGHTxWIDTH".to_owned()),
    }
}

/// A `--test-fraction`: some of the pictures, neither none nor all.
pub fn test_fraction(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|&share| 0.0 < share && share < 1.0)
        .ok_or_else(|| "expected a number between 0 and 1".to_owned())
}

/// A time in seconds, 0 or more.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "expected a number of seconds, 0 or more".to_owned())
}

/// How the work is done, never what comes out.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Machine")]
pub struct MachineOptions {
    /// Threads that compute; results are the same for any number [default: one per core]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

impl MachineOptions {
    /// The number asked for, or one for each core.
    pub fn threads(&self) -> usize {
        self.threads.map_or_else(Cpu::default_threads, usize::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!("299".parse(), Ok(Pixels(299, 299)));
        assert_eq!("64x48".parse(), Ok(Pixels(64, 48)));
        for bad in ["", "0", "x", "3x", "-1", "3x0", "1x2x3", "big"] {
            assert!(bad.parse::<Pixels>().is_err(), "{bad}");
        }
        assert_eq!(resize("none"), Ok(Resize::None));
        assert_eq!(resize("342"), Ok(Resize::Shorter(342)));
        assert_eq!(resize("10x20"), Ok(Resize::Exact { height: 10, width: 20 }));
        assert!(resize("0").is_err() && resize("all").is_err());
    }

    #[test]
    fn times() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["", "-1", "nan", "inf", "1e300", "5 min"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn test_fractions() {
        assert_eq!(test_fraction("0.25"), Ok(0.25));
        for bad in ["", "0", "1", "1.5", "-3", "nan", "inf", "half"] {
            assert!(test_fraction(bad).is_err(), "{bad}");
        }
    }
}
