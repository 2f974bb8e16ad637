//! Convolution: forward, gradient of the data, gradient of the filters.
//!
//! All three are sums of outer products of a few broadcast values with a few vectors, kept in
//! registers (see `microkernel`). A tile's pixels are any consecutive ones of the batch, across
//! rows and pictures, so that small pictures and ragged widths fill the registers too. Every sum
//! is one chain of multiply–adds in a fixed order (input block, row and column of the filter, lane)
//! whatever the tile, the batch or the number of threads; therefore none of them changes a bit.
//!
//! [`Filters`] decide how weights are packed and with it by which [`Algorithm`] [`forward`]
//! computes: directly, as a product of matrices, or with fewer multiplications by `minimal` filtering
//! or, 1×1 filters, by `strassen`'s product.

mod backward_filters;
mod balance;
mod bilinear;
mod direct;
mod filters;
mod microkernel;
mod minimal;
mod paired;
mod phase;
mod split;
mod strassen;
mod target;
mod windows;

pub use crate::epilogue::Epilogue;
pub use backward_filters::{Scratch, backward_filters};
pub use filters::{Filters, Rows};

use crate::epilogue::Ends;
use crate::{Border, Cpu, LANES, Layout, View, ViewMut};
use direct::{Direct, Walk};
use filters::{Direction, Packing};
use minimal::{Minimal, Tiles};
use phase::{Phase, axis_phases};
use std::fmt;
use std::str::FromStr;
use strassen::{Pixels, Strassen};
use target::Targets;
use thiserror::Error;
use windows::Windows;

/// Where a convolution's filters are applied. The output's size is the output view's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// Height and width of a filter.
    pub kernel: (usize, usize),
    /// From one window to the next: down, across.
    pub stride: (usize, usize),
    /// Rows of zeros above and columns of zeros left of the picture. Those below and to the right
    /// follow from the output's size.
    pub padding: (usize, usize),
}

impl Geometry {
    /// The border that an input of this height and width needs, so that all windows of an output
    /// of this height and width lie inside.
    pub fn input_border(&self, input: (usize, usize), output: (usize, usize)) -> Border {
        let past = |input: usize, outputs: usize, kernel: usize, stride: usize, padding: usize| {
            let end = if outputs == 0 { 0 } else { (outputs - 1) * stride + kernel };
            end.saturating_sub(padding + input)
        };
        let Geometry { kernel, stride, padding } = *self;
        Border {
            top: padding.0,
            bottom: past(input.0, output.0, kernel.0, stride.0, padding.0),
            left: padding.1,
            right: past(input.1, output.1, kernel.1, stride.1, padding.1),
        }
    }

    /// At stride 1 the gradient is convolved with the filters turned by half a turn: the padding of
    /// that, where its own is below the kernel's size.
    pub(crate) fn turned_padding(&self) -> (usize, usize) {
        let Geometry { kernel, padding, .. } = *self;
        (kernel.0 - 1 - padding.0, kernel.1 - 1 - padding.1)
    }

    /// The border that the gradient of an output of this size needs, so that [`backward_data`] can
    /// compute the gradient of an input of this size.
    pub fn gradient_border(&self, input: (usize, usize), output: (usize, usize)) -> Border {
        let reach = |kernel, stride, padding, input, output| {
            axis_phases(kernel, stride)
                .map(|axis| axis.reach(input, padding, output))
                .fold((0, 0), |a, b| (a.0.max(b.0), a.1.max(b.1)))
        };
        let Geometry { kernel, stride, padding } = *self;
        let (top, bottom) = reach(kernel.0, stride.0, padding.0, input.0, output.0);
        let (left, right) = reach(kernel.1, stride.1, padding.1, input.1, output.1);
        Border { top, bottom, left, right }
    }
}

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Every product of the definition.
    Direct,
    /// Minimal filtering (Winograd, Toom–Cook) in tiles of so many outputs: F(rows × columns,
    /// kernel). An axis along which the filter has one tap has tiles of one output.
    Minimal {
        /// Outputs of a tile, down.
        rows: usize,
        /// Outputs of a tile, across.
        columns: usize,
    },
    /// A product of matrices, of windows that are copied first.
    Product,
    /// Strassen's product of matrices, for 1×1 filters at stride 1 without padding.
    Strassen {
        /// How often the matrices are cut in two: 1 or 2.
        levels: u32,
    },
}

impl Algorithm {
    /// The most that an algorithm among the [`candidates`](Algorithm::candidates) may amplify
    /// rounding errors: just enough for 7×1 in tiles of nine. A layer's relative error is then at most
    /// 3.5e-5 (root of the mean square), most layers' a few 1e-6.
    /// Errors average out from layer to layer, so that a network's stays below 1e-4 with room to spare.
    pub const ERROR_BUDGET: f64 = 106.0;

    /// By how much the algorithm amplifies rounding errors on average, compared with a direct sum;
    /// `None` where it does not apply to the geometry.
    pub fn amplification(&self, geometry: &Geometry) -> Option<f64> {
        Some(match self.packing(geometry)? {
            Packing::Direct | Packing::Product => 1.0,
            Packing::Minimal(minimal) => minimal.amplification(),
            Packing::Strassen(strassen) => strassen.amplification(),
        })
    }

    /// Multiplications for each pair of channels, for a picture's outputs of this height and width;
    /// `None` where it does not apply to the geometry.
    pub fn work(&self, geometry: &Geometry, (height, width): (usize, usize)) -> Option<Work> {
        let taps = geometry.kernel.0 * geometry.kernel.1;
        Some(match self.packing(geometry)? {
            Packing::Direct | Packing::Product => Work {
                products: (height * width * taps) as f64,
                sums: (height * width) as f64,
                rows: (height * width) as f64,
                weights: taps as f64,
            },
            Packing::Minimal(minimal) => {
                let tile = minimal.tile();
                let tiles = height.div_ceil(tile.0) * width.div_ceil(tile.1);
                Work {
                    products: (tiles * minimal.points() * minimal.folds()) as f64,
                    sums: (tiles * minimal.points()) as f64,
                    rows: tiles as f64,
                    weights: (minimal.matrices() * minimal.folds()) as f64,
                }
            }
            Packing::Strassen(strassen) => {
                // Each point has one in so many of the pairs of channels.
                let pairs = strassen.points() as f64 / (strassen.parts() * strassen.parts()) as f64;
                let tiles = (height * width).div_ceil(strassen.parts());
                let sums = (tiles * strassen.points()) as f64 / strassen.parts() as f64;
                let rows = tiles as f64;
                Work { products: rows * pairs, sums, rows, weights: pairs }
            }
        })
    }

    /// How weights are packed for it, if it applies to the geometry.
    fn packing(&self, geometry: &Geometry) -> Option<Packing> {
        let Geometry { kernel, stride, padding } = *geometry;
        match *self {
            Algorithm::Direct => Some(Packing::Direct),
            Algorithm::Minimal { rows, columns } => {
                Minimal::new((rows, columns), geometry).map(Packing::Minimal)
            }
            Algorithm::Product => Some(Packing::Product),
            Algorithm::Strassen { levels } => {
                let applies = (kernel, stride, padding) == ((1, 1), (1, 1), (0, 0));
                applies.then(|| Strassen::new(levels))?.map(Packing::Strassen)
            }
        }
    }

    /// Those there are for a geometry within the [error budget](Algorithm::ERROR_BUDGET), direct
    /// convolution first, the boldest last.
    pub fn candidates(geometry: &Geometry) -> Vec<Algorithm> {
        let kernel = geometry.kernel;
        let tiles = [2, 3, 4, 5, 6, 7, 8, 9].map(|outputs| {
            let along = |taps| if taps == 1 { 1 } else { outputs };
            (along(kernel.0), along(kernel.1))
        });
        let minimal = tiles.map(|(rows, columns)| Algorithm::Minimal { rows, columns });
        let strassen = [1, 2].map(|levels| Algorithm::Strassen { levels });
        let fits = |algorithm: &Algorithm| {
            let growth = algorithm.amplification(geometry);
            growth.is_some_and(|growth| growth <= Self::ERROR_BUDGET)
        };
        let plain = [Algorithm::Direct, Algorithm::Product].into_iter();
        plain.chain(minimal).chain(strassen).filter(fits).collect()
    }
}

/// What an algorithm does for each pair of an input and an output channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// Multiplications for a picture.
    pub products: f64,
    /// Sums of them that a picture's outputs are made of, for each output channel: as many as
    /// points, where there are points.
    pub sums: f64,
    /// Rows of each product of matrices, for a picture: pixels or tiles.
    pub rows: f64,
    /// Packed weights.
    pub weights: f64,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match *self {
            Algorithm::Direct => f.write_str("direct"),
            Algorithm::Minimal { rows, columns } => write!(f, "F({rows}×{columns})"),
            Algorithm::Product => f.write_str("product"),
            Algorithm::Strassen { levels: 1 } => f.write_str("Strassen"),
            Algorithm::Strassen { levels: 2 } => f.write_str("Strassen²"),
            Algorithm::Strassen { levels } => write!(f, "Strassen{levels}"),
        }
    }
}

impl FromStr for Algorithm {
    type Err = AlgorithmError;

    /// As displayed; the sign × may be an x, and ² a 2.
    fn from_str(text: &str) -> Result<Self, AlgorithmError> {
        match text {
            "direct" => return Ok(Algorithm::Direct),
            "product" => return Ok(Algorithm::Product),
            "Strassen" => return Ok(Algorithm::Strassen { levels: 1 }),
            "Strassen²" | "Strassen2" => return Ok(Algorithm::Strassen { levels: 2 }),
            _ => {}
        }
        text.strip_prefix("F(")
            .and_then(|rest| rest.strip_suffix(')'))
            .and_then(|tile| tile.split_once(['×', 'x']))
            .and_then(|(rows, columns)| rows.parse().ok().zip(columns.parse().ok()))
            .map(|(rows, columns)| Algorithm::Minimal { rows, columns })
            .ok_or_else(|| AlgorithmError(text.to_owned()))
    }
}

/// Text that names no [`Algorithm`].
#[derive(Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} is no algorithm; expected `direct`, a tile's outputs as in `F(6×6)`, `product`, `Strassen` or `Strassen²`"
)]
pub struct AlgorithmError(String);

/// y = epilogue(convolution of x), for filters made by [`Filters::forward`] or
/// [`Filters::with_algorithm`]; one view for each of their targets, whose borders are zeroed.
/// Spare lanes become zero (not so where the input is infinite or NaN, but nobody reads them).
///
/// Panics where `x` and `y` are not the blocks the filters are made for, of as many pictures, or
/// `x`'s border is smaller than [`Geometry::input_border`].
pub fn forward(
    cpu: &Cpu,
    x: View,
    filters: &Filters,
    geometry: &Geometry,
    epilogue: Epilogue,
    y: &mut [ViewMut],
) {
    let blocks = y.iter().map(|view| view.blocks);
    let weights = filters.packed_for(cpu, Direction::Forward, geometry, &x, blocks);
    let Some(first) = y.first() else { return };
    let Layout { pictures, height, width, .. } = first.layout;
    for view in &*y {
        let Layout { pictures: p, height: h, width: w, .. } = view.layout;
        assert_eq!((p, h, w), (pictures, height, width), "targets have one size");
        check_views(&x, &view.as_view(), geometry);
    }
    epilogue.assert_lanes(y.iter().map(|view| view.blocks * LANES).sum());
    let Geometry { kernel, stride, padding } = *geometry;
    match filters.packing() {
        Packing::Direct => {}
        Packing::Minimal(minimal) => {
            let ends = (epilogue.into(), false);
            let tiles = Tiles::new(cpu.isa(), minimal, x, padding, ends, &first.layout);
            let (filters, targets) = ((filters, weights), Targets::new(y));
            // SAFETY: filters, sizes and borders have been checked.
            return unsafe { bilinear::compute(cpu, &tiles, filters, &targets, true) };
        }
        Packing::Product => {
            let ends = (epilogue.into(), filters.balance());
            let source = (x, filters.source());
            let windows = Windows::new(cpu, source, *geometry, ends, (height, width));
            let (filters, targets) = ((filters, weights), Targets::new(y));
            // SAFETY: filters, sizes and borders have been checked.
            return unsafe { bilinear::compute(cpu, &windows, filters, &targets, true) };
        }
        &Packing::Strassen(strassen) => {
            let (output, blocks) = ((height, width), filters.target_blocks());
            let (ends, balance) = (epilogue.into(), filters.balance());
            let pixels = Pixels { cpu, strassen, balance, x, ends, output, blocks };
            let (filters, targets) = ((filters, weights), Targets::new(y));
            // SAFETY: filters, sizes and borders have been checked.
            return unsafe { bilinear::compute(cpu, &pixels, filters, &targets, true) };
        }
    }
    let walk = |count, padding, stride| Walk {
        count,
        origin: -(padding as isize),
        source_step: stride,
        first: 0,
        target_step: 1,
    };
    let direct = Direct {
        source: x,
        filters,
        phase: Phase::whole(kernel),
        weights,
        rows: walk(height, padding.0, stride.0),
        columns: walk(width, padding.1, stride.1),
        ends: epilogue.into(),
        accumulate: false,
        border: true,
    };
    // SAFETY: filters, sizes and borders have been checked.
    unsafe { direct.compute(cpu, y) }
}

/// dx = (or, if `accumulate`, dx +=) the gradient of the input, for filters made by
/// [`Filters::backward`] or [`Filters::backward_with`] and the gradient `dy` of the output.
///
/// Without `accumulate` dx is written whole, its border with zeros, and so are pixels that no
/// window reaches. Spare lanes of dx stay (or become) zero.
///
/// Panics where `dy` and `dx` are not the blocks the filters are made for, of as many pictures, or
/// `dy`'s border is smaller than [`Geometry::gradient_border`].
pub fn backward_data(
    cpu: &Cpu,
    dy: View,
    filters: &Filters,
    geometry: &Geometry,
    accumulate: bool,
    dx: &mut ViewMut,
) {
    let blocks = [dx.blocks].into_iter();
    let weights = filters.packed_for(cpu, Direction::Backward, geometry, &dy, blocks);
    check(&dy, &dx.as_view());
    let (input, output) = (dx.layout, dy.layout);
    let border =
        geometry.gradient_border((input.height, input.width), (output.height, output.width));
    assert!(output.border.contains(border), "the gradient has the border that windows need");
    let Geometry { stride, padding, .. } = *geometry;
    if let Packing::Minimal(minimal) = filters.packing() {
        let (padding, ends) = (geometry.turned_padding(), (Ends::NONE, accumulate));
        let tiles = Tiles::new(cpu.isa(), minimal, dy, padding, ends, &input);
        let (filters, targets) = ((filters, weights), Targets::new(std::slice::from_mut(dx)));
        // SAFETY: filters, sizes and border have been checked.
        unsafe { bilinear::compute(cpu, &tiles, filters, &targets, !accumulate) };
        return;
    }
    for (i, phase) in filters.phases().enumerate() {
        let walk = |axis: phase::Axis, size, padding, stride| {
            let pixels = axis.pixels(size, padding);
            Walk {
                count: pixels.count,
                origin: pixels.origin,
                source_step: 1,
                first: pixels.first,
                target_step: stride,
            }
        };
        let direct = Direct {
            source: dy,
            filters,
            phase,
            weights: &weights[filters.stream(&phase, 0)..],
            rows: walk(phase.rows, input.height, padding.0, stride.0),
            columns: walk(phase.columns, input.width, padding.1, stride.1),
            ends: Ends::NONE,
            accumulate,
            border: i == 0 && !accumulate,
        };
        if accumulate && phase.taps() == 0 {
            continue;
        }
        // SAFETY: filters, sizes and border have been checked.
        unsafe { direct.compute(cpu, std::slice::from_mut(dx)) }
    }
}

/// Panics where the views are not what they claim to be or a window leaves `x`.
fn check_views(x: &View, y: &View, geometry: &Geometry) {
    check(x, y);
    let (input, output) = (x.layout, y.layout);
    let border = geometry.input_border((input.height, input.width), (output.height, output.width));
    assert!(input.border.contains(border), "the input has the border that windows need");
}

/// Panics where the views are not what they claim to be: their fields are anybody's to set.
fn check(a: &View, b: &View) {
    for view in [a, b] {
        assert_eq!(view.data.len(), view.layout.len(), "a view's data has its layout's length");
        assert!(view.first_block + view.blocks <= view.layout.blocks, "a view's blocks exist");
    }
    assert_eq!(a.layout.pictures, b.layout.pictures, "both have the same pictures");
}
