//! Orders of axes.

/// The array with its axes in another order: axis `i` of the result is axis `axes[i]` of the
/// array. `values` holds as many values as `shape` says.
pub(crate) fn permuted<const N: usize>(
    values: &[f32],
    shape: [usize; N],
    axes: [usize; N],
) -> Vec<f32> {
    let mut strides = [1; N];
    for axis in (1..N).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    let lengths = axes.map(|axis| shape[axis]);
    let steps = axes.map(|axis| strides[axis]);
    let mut place = [0; N];
    let mut from = 0;
    let mut result = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        result.push(values[from]);
        for axis in (0..N).rev() {
            place[axis] += 1;
            from += steps[axis];
            if place[axis] < lengths[axis] {
                break;
            }
            from -= steps[axis] * lengths[axis];
            place[axis] = 0;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_change_places() {
        let values: Vec<f32> = (0..24).map(|i| i as f32).collect();
        let turned = permuted(&values, [2, 3, 4], [2, 0, 1]);
        for (i, j, k) in [(0, 0, 0), (1, 2, 3), (1, 0, 2), (0, 2, 1)] {
            assert_eq!(turned[(k * 2 + i) * 3 + j], values[(i * 3 + j) * 4 + k]);
        }
        assert_eq!(permuted(&[], [0, 3], [1, 0]), [0.0_f32; 0]);
    }
}
