//! The orders in which libraries keep a tensor's axes.

/// How a library's array becomes a parameter of ours (`[out, in, height, width]`, `[out, in]`,
/// `[channels]`). Axes of length 1 may be missing or added on either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The same order (PyTorch, Caffe, MXNet).
    Same,
    /// `[height, width, in, out]` (TensorFlow's convolutions), or `[in, out]` (its matrices).
    HeightWidthInOut,
    /// `[height, width, channel, multiplier]` (TensorFlow's depthwise filters).
    Depthwise,
}

impl Layout {
    /// Values in our order with their shape, from a library's array of this shape.
    pub fn to_ours(self, shape: &[usize], values: Vec<f32>) -> (Vec<usize>, Vec<f32>) {
        match (self, shape) {
            (Self::HeightWidthInOut, &[h, w, i, o]) => {
                permuted([h, w, i, o], [3, 2, 0, 1], &values)
            }
            (Self::HeightWidthInOut, &[i, o]) => {
                let (_, values) = permuted([1, 1, i, o], [3, 2, 0, 1], &values);
                (vec![o, i], values)
            }
            (Self::Depthwise, &[h, w, c, m]) => {
                let (_, values) = permuted([h, w, c, m], [2, 3, 0, 1], &values);
                (vec![c * m, 1, h, w], values)
            }
            _ => (shape.to_vec(), values),
        }
    }

    /// The way back: a library's array from values of ours with this shape. `multiplier` is the
    /// number of depthwise filters per channel.
    pub fn from_ours(
        self,
        shape: &[usize],
        values: &[f32],
        multiplier: usize,
    ) -> (Vec<usize>, Vec<f32>) {
        match (self, shape) {
            (Self::HeightWidthInOut, &[o, i, h, w]) => permuted([o, i, h, w], [2, 3, 1, 0], values),
            (Self::HeightWidthInOut, &[o, i]) => {
                let (_, values) = permuted([o, i, 1, 1], [2, 3, 1, 0], values);
                (vec![i, o], values)
            }
            (Self::Depthwise, &[cm, 1, h, w]) => {
                permuted([cm / multiplier, multiplier, h, w], [2, 3, 0, 1], values)
            }
            _ => (shape.to_vec(), values.to_vec()),
        }
    }
}

/// The array with its axes in the order `axes`.
fn permuted(shape: [usize; 4], axes: [usize; 4], values: &[f32]) -> (Vec<usize>, Vec<f32>) {
    // A hostile shape of no values may have axes too long to walk.
    if values.is_empty() {
        return (axes.map(|axis| shape[axis]).to_vec(), Vec::new());
    }
    let strides = [shape[1] * shape[2] * shape[3], shape[2] * shape[3], shape[3], 1];
    let [a, b, c, d] = axes.map(|axis| (shape[axis], strides[axis]));
    let mut result = Vec::with_capacity(values.len());
    for i in 0..a.0 {
        for j in 0..b.0 {
            for k in 0..c.0 {
                let start = i * a.1 + j * b.1 + k * c.1;
                result.extend((0..d.0).map(|l| values[start + l * d.1]));
            }
        }
    }
    (axes.map(|axis| shape[axis]).to_vec(), result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(shape: &[usize]) -> Vec<f32> {
        (0..shape.iter().product()).map(|i: usize| i as f32).collect()
    }

    #[test]
    fn tensorflows_filters_turn() {
        // Value = 1000 h + 100 w + 10 i + o.
        let (h, w, i, o) = (2, 3, 4, 5);
        let mut values = Vec::new();
        for place in 0..h * w * i * o {
            let (a, b, c, d) = (place / (w * i * o), place / (i * o) % w, place / o % i, place % o);
            values.push((1000 * a + 100 * b + 10 * c + d) as f32);
        }
        let (shape, turned) = Layout::HeightWidthInOut.to_ours(&[h, w, i, o], values);
        assert_eq!(shape, [o, i, h, w]);
        assert_eq!(turned[0], 0.0);
        assert_eq!(turned[1], 100.0);
        assert_eq!(turned[w], 1000.0);
        assert_eq!(turned[h * w], 10.0);
        assert_eq!(turned[i * h * w], 1.0);
    }

    #[test]
    fn there_and_back() {
        for (layout, shape) in [
            (Layout::HeightWidthInOut, &[2, 3, 4, 5][..]),
            (Layout::HeightWidthInOut, &[4, 5]),
            (Layout::Depthwise, &[2, 3, 4, 5]),
            (Layout::Same, &[2, 3, 4, 5]),
            (Layout::Same, &[6]),
        ] {
            let values = counted(shape);
            let (ours, turned) = layout.to_ours(shape, values.clone());
            assert_eq!(layout.from_ours(&ours, &turned, 5), (shape.to_vec(), values));
        }
    }

    #[test]
    fn depthwise_filters_of_a_channel_stand_together() {
        // [1, 1, 2 channels, 3 filters]: channel c's filter m is output 3 c + m.
        let (shape, values) = Layout::Depthwise.to_ours(&[1, 1, 2, 3], counted(&[6]));
        assert_eq!((shape, values), (vec![6, 1, 1, 1], counted(&[6])));
    }
}
