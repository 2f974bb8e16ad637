//! Where a layer's windows lie along one axis of its input.

use crate::graph::Span;

/// Zeros before and after an axis, as asked for.
#[derive(Clone, Copy)]
pub(crate) enum AxisPad {
    /// As many as make the output `ceil(length / stride)`.
    Same,
    /// These.
    Explicit { before: usize, after: usize },
}

/// Windows of one kernel along one axis.
#[derive(Clone, Copy)]
pub(crate) struct Axis {
    /// Length of one window.
    pub kernel: usize,
    /// Step between windows.
    pub stride: usize,
    /// Number of windows.
    pub output: usize,
    /// Length of the input.
    pub length: usize,
    /// Zeros before the input.
    pub before: usize,
    /// Zeros after it that were asked for; windows may reach fewer, or in ceil mode more.
    pub after: usize,
}

impl Axis {
    /// The windows on an axis of `length`; `None` where not even one fits. With `ceil` a last
    /// window that reaches beyond the padding counts, if it starts before it (as in Caffe and
    /// PyTorch).
    pub(crate) fn new(
        length: usize,
        kernel: usize,
        stride: usize,
        pad: AxisPad,
        ceil: bool,
    ) -> Option<Axis> {
        let (output, before, after) = match pad {
            AxisPad::Same => {
                let output = length.div_ceil(stride);
                let total = ((output - 1) * stride + kernel).saturating_sub(length);
                (output, total / 2, total - total / 2)
            }
            AxisPad::Explicit { before, after } => {
                let padded = length + before + after;
                let steps = match padded.checked_sub(kernel) {
                    Some(rest) if ceil => rest.div_ceil(stride),
                    Some(rest) => rest / stride,
                    // One window, cut off at the edge.
                    None if ceil && kernel - padded < stride => 0,
                    None => return None,
                };
                let beyond = steps > 0 && steps * stride >= length + before;
                (steps + 1 - usize::from(ceil && beyond), before, after)
            }
        };
        Some(Axis { kernel, stride, output, length, before, after })
    }

    /// Zeros after the input that the last window reaches.
    pub(crate) fn reached(&self) -> usize {
        ((self.output - 1) * self.stride + self.kernel).saturating_sub(self.length + self.before)
    }

    /// The windows as positions inside the input; none is empty if all padding is shorter than
    /// the kernel.
    pub(crate) fn spans(&self, count_padding: bool) -> Vec<Span> {
        let padded = self.before + self.length + self.after;
        (0..self.output)
            .map(|i| {
                // Both measured from where the padding starts.
                let (from, to) = (i * self.stride, i * self.stride + self.kernel);
                let start = from.saturating_sub(self.before);
                let end = (to - self.before).min(self.length);
                let count = if count_padding { to.min(padded) - from } else { end - start };
                Span { start, end, count }
            })
            .collect()
    }
}

/// `output` windows that cover `length` positions evenly, as PyTorch's adaptive pools.
pub(crate) fn adaptive(length: usize, output: usize) -> Vec<Span> {
    (0..output)
        .map(|i| {
            let start = i * length / output;
            let end = ((i + 1) * length).div_ceil(output);
            Span { start, end, count: end - start }
        })
        .collect()
}
