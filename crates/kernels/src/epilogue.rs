//! What is done with a sum before it is stored.

use crate::LANES;
use std::ops::Range;

/// What is done with a sum before it is stored.
#[derive(Clone, Copy, Debug)]
pub enum Epilogue<'a> {
    /// Nothing.
    Store,
    /// max(floor, sum + bias); NaN stays NaN. Each has one value per lane of the output, all
    /// targets' blocks × 16.
    Bias {
        /// Zero in spare lanes.
        bias: &'a [f32],
        /// [`RELU`] or [`LINEAR`].
        floor: &'a [f32],
    },
}

impl Epilogue<'_> {
    /// Panics unless there is a value for each of so many lanes, or none is needed.
    pub(crate) fn assert_lanes(&self, lanes: usize) {
        if let Epilogue::Bias { bias, floor } = self {
            assert_eq!((bias.len(), floor.len()), (lanes, lanes), "one bias and floor per lane");
        }
    }
}

/// The floor of a lane that ReLU ends.
pub const RELU: f32 = 0.0;
/// The floor of a lane without activation.
pub const LINEAR: f32 = f32::NEG_INFINITY;

/// What is added to sums and what they are then raised to at least, sixteen values a block.
#[derive(Clone, Copy)]
pub(crate) struct Ends<'a> {
    bias: Option<&'a [f32]>,
    floor: Option<&'a [f32]>,
}

static NO_BIAS: [f32; LANES] = [0.0; LANES];
static NO_FLOOR: [f32; LANES] = [f32::NEG_INFINITY; LANES];

/// Sixteen values and from one block's to the next's.
pub(crate) type PerBlock = (*const f32, usize);

impl Ends<'_> {
    /// Changes nothing.
    pub const NONE: Ends<'static> = Ends { bias: None, floor: None };

    /// Bias and floor of some blocks.
    pub fn of(&self, blocks: &Range<usize>) -> (PerBlock, PerBlock) {
        let part = |values: Option<&[f32]>, none: &'static [f32; LANES]| match values {
            Some(values) => (values[blocks.start * LANES..blocks.end * LANES].as_ptr(), LANES),
            None => (none.as_ptr(), 0),
        };
        (part(self.bias, &NO_BIAS), part(self.floor, &NO_FLOOR))
    }
}

impl<'a> From<Epilogue<'a>> for Ends<'a> {
    fn from(epilogue: Epilogue<'a>) -> Self {
        match epilogue {
            Epilogue::Store => Ends::NONE,
            Epilogue::Bias { bias, floor } => Ends { bias: Some(bias), floor: Some(floor) },
        }
    }
}
