//! What happens to gradients between the backward pass and the optimiser.

use inception_model::Weights;
use inception_net::graph::Role;

/// Adds the gradient of the penalty `decay / 2 · Σ w²` over filters and matrices, as TF-slim's L2
/// regulariser does. Biases and batch norm have none: they cannot make a function more complex,
/// and pulling γ to zero would only switch channels off.
pub fn add_weight_decay(weights: &Weights, gradients: &mut [Vec<f32>], decay: f64) {
    let decay = decay as f32;
    for (tensor, gradient) in weights.tensors().iter().zip(gradients) {
        if tensor.parameter.role == Role::Weight {
            gradient.iter_mut().zip(&tensor.values).for_each(|(g, w)| *g += decay * w);
        }
    }
}

/// Adds a batch's mean gradient, times its number of pictures, to the sums, which are made where
/// there are none yet.
pub(crate) fn accumulate(sums: &mut Vec<Vec<f32>>, gradients: &[Vec<f32>], pictures: usize) {
    let weight = pictures as f32;
    sums.resize_with(gradients.len(), Vec::new);
    for (sum, gradient) in sums.iter_mut().zip(gradients) {
        sum.resize(gradient.len(), 0.0);
        sum.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += weight * g);
    }
}

/// Turns the sums over so many pictures into their mean and leaves zeros behind.
pub(crate) fn take_mean(sums: &mut [Vec<f32>], pictures: usize, gradients: &mut [Vec<f32>]) {
    let share = 1.0 / pictures as f32;
    for (sum, gradient) in sums.iter_mut().zip(gradients) {
        for (sum, g) in sum.iter_mut().zip(gradient) {
            *g = share * std::mem::take(sum);
        }
    }
}

/// Length of all gradients taken as one vector; not finite if any of them is not.
pub fn global_norm(gradients: &[Vec<f32>]) -> f64 {
    gradients.iter().map(|gradient| sum_of_squares(gradient)).sum::<f64>().sqrt()
}

/// Shortens the gradients, taken as one vector, to `limit` where they are longer (Pascanu et al.
/// 2013, 1211.5063; 1512.00567 §8 uses 2.0). `norm` is their [`global_norm`].
pub fn clip(gradients: &mut [Vec<f32>], norm: f64, limit: f64) {
    if norm > limit {
        let factor = (limit / norm) as f32;
        gradients.iter_mut().flatten().for_each(|g| *g *= factor);
    }
}

/// In `f64` over eight sums side by side: always the same order, and one the compiler vectorises.
fn sum_of_squares(values: &[f32]) -> f64 {
    let (chunks, rest) = values.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for chunk in chunks {
        for (sum, &value) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(value) * f64::from(value);
        }
    }
    let rest: f64 = rest.iter().map(|&value| f64::from(value).powi(2)).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norm_is_over_all_tensors() {
        let gradients = [vec![3.0; 4], Vec::new(), vec![4.0; 4], vec![0.0; 13]];
        assert_eq!(global_norm(&gradients), 10.0);
        assert!(global_norm(&[vec![1.0, f32::NAN]]).is_nan());
        // Squares beyond `f32` are still numbers.
        let huge = 2f32.powi(120);
        assert_eq!(global_norm(&[vec![3.0 * huge], vec![4.0 * huge]]), 5.0 * 2f64.powi(120));
    }

    #[test]
    fn clipping_keeps_the_direction_and_leaves_short_gradients_alone() {
        let mut gradients = [vec![3.0, 0.0], vec![4.0]];
        clip(&mut gradients, 5.0, 2.5);
        assert_eq!(gradients, [vec![1.5, 0.0], vec![2.0]]);
        clip(&mut gradients, 2.5, 2.5);
        assert_eq!(gradients, [vec![1.5, 0.0], vec![2.0]]);
    }
}
