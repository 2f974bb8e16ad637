//! The kernel, stride and padding that give a list of windows.

use inception_net::graph::Span;

/// Windows along one axis as ONNX describes them, in floor mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    /// Length of a window.
    pub kernel: usize,
    /// Step between windows.
    pub stride: usize,
    /// Positions before the axis.
    pub before: usize,
    /// Positions after it.
    pub after: usize,
}

/// How much longer than twice what lies inside a kernel may be: on axes of a pixel or two whole
/// windows lie in the padding but for their edge.
const MARGIN: usize = 16;

/// The numbers that give exactly these windows on an axis of `length`, if any do. `counted` says
/// for averages whether padding counts in the divisors, which then have to be right too.
pub fn fit(spans: &[Span], length: usize, counted: Option<bool>) -> Option<Fit> {
    let longest = spans.iter().map(|span| span.end - span.start).max()?;
    // Every window is cut off only where it reaches beyond one end or both.
    (longest..=2 * longest + MARGIN).find_map(|kernel| {
        let befores = match spans[0].end {
            end if end < length => kernel.checked_sub(end)?..=kernel - end,
            _ => 0..=kernel.checked_sub(length)?,
        };
        befores.filter(|&before| before < kernel).find_map(|before| {
            strides(spans, length, before).find_map(|stride| {
                let reach = (spans.len() - 1) * stride + kernel;
                let after = reach.saturating_sub(length + before);
                let fit = Fit { kernel, stride, before, after };
                (after < kernel && fit.gives(spans, length, counted)).then_some(fit)
            })
        })
    })
}

/// Steps that lead from the first window to the second.
fn strides(spans: &[Span], length: usize, before: usize) -> std::ops::RangeInclusive<usize> {
    match spans.get(1) {
        None => length..=length,
        Some(second) if second.start > 0 => second.start + before..=second.start + before,
        Some(_) => 1..=before,
    }
}

impl Fit {
    fn gives(&self, spans: &[Span], length: usize, counted: Option<bool>) -> bool {
        let &Fit { kernel, stride, before, after } = self;
        let count = (length + before + after - kernel) / stride + 1;
        count == spans.len()
            && spans.iter().enumerate().all(|(i, span)| {
                let (from, to) = (i * stride, i * stride + kernel);
                let (start, end) =
                    (from.saturating_sub(before), to.saturating_sub(before).min(length));
                let divisor = match counted {
                    None => span.count,
                    Some(true) => kernel,
                    Some(false) => end - start,
                };
                (span.start, span.end, span.count) == (start, end, divisor)
            })
    }
}

#[cfg(test)]
mod tests {
    use inception_net::graph::Op;
    use inception_net::{Net, Pad};
    use proptest::prelude::*;

    use super::*;

    /// The windows of a pool on an axis of `length`, where there are any.
    fn spans(
        length: usize,
        kernel: usize,
        stride: usize,
        padding: Pad,
        ceil: bool,
        counted: bool,
    ) -> Option<Vec<Span>> {
        let mut net = Net::from_toml(
            r#"
            name = "pool"
            classes = 2
            input = { channels = 1, height = 1, width = 1 }
            preprocessing = { resize = "none", order = "grey", mean = [0.5], std = [0.5] }
            [[layer]]
            type = "avg-pool"
            name = "pool"
            kernel = 1
            [[layer]]
            type = "classifier"
            name = "fc"
            "#,
        )
        .expect("a network");
        (net.input.height, net.input.width) = (length, length);
        if let Some(inception_net::Step::AvgPool(pool)) = net.layers.first_mut() {
            (pool.kernel, pool.stride) = (kernel.into(), stride.into());
            (pool.padding, pool.ceil, pool.count_padding) = (padding, ceil, Some(counted));
        }
        match &net.graph().ok()?.layers[1].op {
            Op::AvgPool(windows) => Some(windows.rows.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_familys_pools() {
        let fitted = |length, kernel, stride, padding, ceil, counted| {
            fit(&spans(length, kernel, stride, padding, ceil, counted)?, length, Some(counted))
        };
        let fit = |kernel, stride, before, after| Some(Fit { kernel, stride, before, after });
        assert_eq!(fitted(35, 3, 1, Pad::Same, false, true), fit(3, 1, 1, 1));
        assert_eq!(fitted(35, 3, 1, Pad::Same, false, false), fit(3, 1, 1, 1));
        assert_eq!(fitted(112, 3, 2, Pad::Valid, true, false), fit(3, 2, 0, 1));
        assert_eq!(fitted(112, 3, 2, Pad::Same, false, false), fit(3, 2, 0, 1));
        assert_eq!(fitted(147, 3, 2, Pad::Valid, false, false), fit(3, 2, 0, 0));
        assert_eq!(fitted(17, 5, 3, Pad::Valid, false, false), fit(5, 3, 0, 0));
    }

    proptest! {
        /// Whatever a network can ask for comes out as windows that are exactly those.
        #[test]
        fn any_pool(
            length in 1_usize..20, kernel in 1_usize..6, stride in 1_usize..5,
            before in 0_usize..5, after in 0_usize..5, ceil: bool, counted: bool,
        ) {
            let padding = Pad::Explicit { top: before, bottom: after, left: before, right: after };
            let Some(spans) = spans(length, kernel, stride, padding, ceil, counted) else {
                return Ok(());
            };
            // Divisors of windows beyond the padding, in ceil mode, are no pool's in ONNX.
            let reach = (spans.len() - 1) * stride + kernel;
            let plain = !counted || reach <= before + length + after;
            match fit(&spans, length, Some(counted)) {
                Some(fit) => prop_assert!(fit.gives(&spans, length, Some(counted)), "{fit:?}"),
                None => prop_assert!(!plain, "{spans:?}"),
            }
        }
    }
}
