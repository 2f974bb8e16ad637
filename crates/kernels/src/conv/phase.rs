//! The convolutions that a gradient of the data is made of.
//!
//! With dx[i] = Σ dy[o] · w[k] over all o · stride + k = i + padding, an input pixel only meets the
//! taps k ≡ i + padding modulo the stride. So the input's pixels fall into stride × stride classes,
//! the *phases*, and in each of them dx is a plain convolution of dy with the phase's taps in
//! reverse. At stride 1 there is one phase, the convolution with the flipped filter.

/// The taps and the pixels of a phase along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    /// Number of taps.
    pub count: usize,
    /// The filter's tap that is used first, and the way to the next.
    first: usize,
    step: isize,
    residue: usize,
    stride: usize,
}

/// Which of a phase's pixels there are along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pixels {
    /// First pixel of the input; the others follow at steps of the stride.
    pub first: usize,
    /// Number of pixels.
    pub count: usize,
    /// The output's pixel whose gradient the first tap meets in the first pixel.
    pub origin: isize,
}

impl Axis {
    /// All taps in their order: a convolution's own axis.
    pub fn whole(kernel: usize) -> Self {
        Self { count: kernel, first: 0, step: 1, residue: 0, stride: 1 }
    }

    /// The taps ≡ `residue` modulo `stride`, the last first.
    fn reverse(kernel: usize, stride: usize, residue: usize) -> Self {
        let count = kernel.saturating_sub(residue).div_ceil(stride);
        let first = residue + count.saturating_sub(1) * stride;
        Self { count, first, step: -(stride as isize), residue, stride }
    }

    /// The filter's taps in the order in which they are used.
    pub fn taps(&self) -> impl Iterator<Item = usize> + use<> {
        let Self { count, first, step, .. } = *self;
        (0..count as isize).map(move |t| (first as isize + t * step) as usize)
    }

    /// The phase's pixels in an input of this size, padded so.
    pub fn pixels(&self, size: usize, padding: usize) -> Pixels {
        let Self { residue, stride, .. } = *self;
        let first = (residue + stride - padding % stride) % stride;
        let nearest = (first + padding) as isize - residue as isize;
        Pixels {
            first,
            count: size.saturating_sub(first).div_ceil(stride),
            origin: nearest / stride as isize - (self.count as isize - 1),
        }
    }

    /// How far the phase reads before the first and past the last of `output` gradients.
    pub fn reach(&self, input: usize, padding: usize, output: usize) -> (usize, usize) {
        let pixels = self.pixels(input, padding);
        if pixels.count == 0 || self.count == 0 {
            return (0, 0);
        }
        let last = pixels.origin + (pixels.count + self.count) as isize - 2;
        (before_zero(pixels.origin), before_zero(output as isize - 1 - last))
    }
}

/// How far a coordinate lies before zero.
fn before_zero(at: isize) -> usize {
    at.min(0).unsigned_abs()
}

/// The axes' phases of a gradient.
pub(super) fn axis_phases(kernel: usize, stride: usize) -> impl Iterator<Item = Axis> {
    (0..stride).map(move |residue| Axis::reverse(kernel, stride, residue))
}

/// Taps of a phase, in both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Phase {
    /// Down.
    pub rows: Axis,
    /// Across.
    pub columns: Axis,
    /// Taps of the phases before this one.
    pub taps_before: usize,
}

impl Phase {
    /// A forward convolution.
    pub fn whole(kernel: (usize, usize)) -> Self {
        Self { rows: Axis::whole(kernel.0), columns: Axis::whole(kernel.1), taps_before: 0 }
    }

    /// Number of taps.
    pub fn taps(&self) -> usize {
        self.rows.count * self.columns.count
    }

    /// The taps in the order of their use, each as its place in a filter of this size.
    pub fn taps_of(&self, kernel: (usize, usize)) -> impl Iterator<Item = usize> + use<> {
        let columns = self.columns;
        self.rows.taps().flat_map(move |row| columns.taps().map(move |c| row * kernel.1 + c))
    }
}

/// The phases of a gradient.
pub(super) fn phases(
    kernel: (usize, usize),
    stride: (usize, usize),
) -> impl Iterator<Item = Phase> {
    let mut taps_before = 0;
    axis_phases(kernel.0, stride.0)
        .flat_map(move |rows| axis_phases(kernel.1, stride.1).map(move |columns| (rows, columns)))
        .map(move |(rows, columns)| {
            let phase = Phase { rows, columns, taps_before };
            taps_before += phase.taps();
            phase
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each pair of an input pixel and a tap that meets an output pixel occurs in one phase, there
    /// with the right output pixel.
    #[test]
    fn phases_are_the_gradient() {
        for (kernel, stride, padding, size) in
            (1..8).flat_map(|k| (1..5).flat_map(move |s| (0..4).map(move |p| (k, s, p, 9))))
        {
            let mut met = vec![0; size * kernel];
            for axis in axis_phases(kernel, stride) {
                let pixels = axis.pixels(size, padding);
                for j in 0..pixels.count {
                    let input = pixels.first + j * stride;
                    for (t, tap) in axis.taps().enumerate() {
                        let output = pixels.origin + (j + t) as isize;
                        let expected = input as isize + padding as isize - tap as isize;
                        assert_eq!(output * stride as isize, expected);
                        met[input * kernel + tap] += 1;
                    }
                }
            }
            for input in 0..size {
                for tap in 0..kernel {
                    let meets = (input + padding) % stride == tap % stride;
                    assert_eq!(met[input * kernel + tap], usize::from(meets));
                }
            }
        }
    }
}
