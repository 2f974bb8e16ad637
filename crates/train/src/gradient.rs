//! What happens to gradients between the backward pass and the optimiser. Gradients are in the
//! order of the weights' tensors, empty for what is not trained, which stays untouched.

use inception_engine::Cpu;
use inception_model::Weights;
use inception_net::graph::Role;

use crate::parallel::{self, PIECE};

/// Multiplies all gradients.
fn scale(cpu: &Cpu, gradients: &mut [Vec<f32>], factor: f64) {
    let factor = factor as f32;
    parallel::map(cpu, pieces(gradients), |piece| piece.iter_mut().for_each(|g| *g *= factor));
}

/// Adds the gradient of the penalty `decay / 2 · Σ w²` over filters and matrices, as TF-slim's L2
/// regulariser does. Biases and batch norm have none: they cannot make a function more complex,
/// and pulling γ to zero would only switch channels off.
pub fn add_weight_decay(cpu: &Cpu, weights: &Weights, gradients: &mut [Vec<f32>], decay: f64) {
    if decay == 0.0 {
        return;
    }
    let decay = decay as f32;
    let tensors = weights.tensors().iter().zip(gradients);
    let filters = tensors.filter(|(tensor, _)| tensor.parameter.role == Role::Weight);
    let pieces = filters.flat_map(|(w, g)| g.chunks_mut(PIECE).zip(w.values.chunks(PIECE)));
    parallel::map(cpu, pieces, |(gradient, weights)| {
        gradient.iter_mut().zip(weights).for_each(|(g, w)| *g += decay * w);
    });
}

/// Adds a batch's mean gradient, times its number of pictures, to the sums, which are made where
/// there are none yet.
pub(crate) fn accumulate(
    cpu: &Cpu,
    sums: &mut Vec<Vec<f32>>,
    gradients: &[Vec<f32>],
    pictures: usize,
) {
    let weight = pictures as f32;
    sums.resize_with(gradients.len(), Vec::new);
    sums.iter_mut().zip(gradients).for_each(|(sum, gradient)| sum.resize(gradient.len(), 0.0));
    parallel::map(cpu, pairs(sums, gradients), |(sum, gradient)| {
        sum.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += weight * g);
    });
}

/// Turns the sums over so many pictures into their mean and leaves zeros behind.
pub(crate) fn take_mean(
    cpu: &Cpu,
    sums: &mut [Vec<f32>],
    pictures: usize,
    gradients: &mut [Vec<f32>],
) {
    let share = 1.0 / pictures as f32;
    parallel::map(cpu, pairs(gradients, sums), |(gradient, sum)| {
        gradient.iter_mut().zip(sum).for_each(|(g, sum)| *g = share * sum);
    });
    parallel::map(cpu, pieces(sums), |sum| sum.fill(0.0));
}

/// Length of all gradients taken as one vector; not finite if any of them is not.
pub fn global_norm(cpu: &Cpu, gradients: &[Vec<f32>]) -> f64 {
    let pieces = gradients.iter().flat_map(|g| g.chunks(PIECE));
    parallel::map(cpu, pieces, sum_of_squares).into_iter().sum::<f64>().sqrt()
}

/// Shortens the gradients, taken as one vector, to `limit` where they are longer (Pascanu et al.
/// 2013, 1211.5063; 1512.00567 §8 uses 2.0). `norm` is their [`global_norm`]. Tells whether they
/// were.
pub fn clip_norm(cpu: &Cpu, gradients: &mut [Vec<f32>], norm: f64, limit: f64) -> bool {
    let long = norm > limit;
    if long {
        scale(cpu, gradients, limit / norm);
    }
    long
}

/// Brings every value of every gradient to between −`limit` and `limit`; whether any was not.
pub fn clip_value(cpu: &Cpu, gradients: &mut [Vec<f32>], limit: f64) -> bool {
    let limit = limit as f32;
    let clipped = parallel::map(cpu, pieces(gradients), |piece| {
        let large = piece.iter().any(|g| g.abs() > limit);
        piece.iter_mut().for_each(|g| *g = g.clamp(-limit, limit));
        large
    });
    clipped.contains(&true)
}

fn pieces(tensors: &mut [Vec<f32>]) -> impl Iterator<Item = &mut [f32]> {
    tensors.iter_mut().flat_map(|tensor| tensor.chunks_mut(PIECE))
}

fn pairs<'a>(
    to: &'a mut [Vec<f32>],
    from: &'a [Vec<f32>],
) -> impl Iterator<Item = (&'a mut [f32], &'a [f32])> {
    to.iter_mut().zip(from).flat_map(|(to, from)| to.chunks_mut(PIECE).zip(from.chunks(PIECE)))
}

/// In `f64` over eight sums side by side: always the same order, and one the compiler vectorises.
pub(crate) fn sum_of_squares(values: &[f32]) -> f64 {
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
    use crate::tiny::{cpu, vector};

    #[test]
    fn norm_is_over_all_tensors() {
        let norm = |gradients: &[Vec<f32>]| global_norm(&cpu(), gradients);
        assert_eq!(norm(&[vec![3.0; 4], Vec::new(), vec![4.0; 4], vec![0.0; 13]]), 10.0);
        assert!(norm(&[vec![1.0, f32::NAN]]).is_nan());
        // Squares beyond `f32` are still numbers.
        let huge = 2f32.powi(120);
        assert_eq!(norm(&[vec![3.0 * huge], vec![4.0 * huge]]), 5.0 * 2f64.powi(120));
    }

    #[test]
    fn the_norm_has_the_same_bits_for_any_number_of_threads() {
        let values: Vec<f32> = (0..3 * PIECE + 5).map(|i| ((i * 37) % 101) as f32 / 7.0).collect();
        let of = |threads| global_norm(&Cpu::new(threads).unwrap(), &[values.clone(), vec![0.1]]);
        assert_eq!(of(1).to_bits(), of(2).to_bits());
        assert_eq!(of(1).to_bits(), of(3).to_bits());
    }

    #[test]
    fn clipping_keeps_the_direction_and_leaves_short_gradients_alone() {
        let mut gradients = [vec![3.0, 0.0], vec![4.0]];
        assert!(clip_norm(&cpu(), &mut gradients, 5.0, 2.5));
        assert_eq!(gradients, [vec![1.5, 0.0], vec![2.0]]);
        assert!(!clip_norm(&cpu(), &mut gradients, 2.5, 2.5));
        assert_eq!(gradients, [vec![1.5, 0.0], vec![2.0]]);
    }

    #[test]
    fn clipping_by_value_is_by_itself_for_each() {
        let mut gradients = [vec![3.0, -0.5], Vec::new(), vec![-4.0]];
        clip_value(&cpu(), &mut gradients, 1.0);
        assert_eq!(gradients, [vec![1.0, -0.5], Vec::new(), vec![-1.0]]);
    }

    #[test]
    fn accumulated_batches_count_by_their_pictures() {
        let (mut sums, mut mean) = (Vec::new(), [vec![9.0, 9.0], Vec::new()]);
        for round in 0..2 {
            for (value, pictures) in [(1.0, 2), (4.0, 1)] {
                accumulate(&cpu(), &mut sums, &[vec![value, -value], Vec::new()], pictures);
            }
            take_mean(&cpu(), &mut sums, 3, &mut mean);
            assert_eq!(mean, [vec![2.0, -2.0], Vec::new()], "round {round}");
        }
    }

    #[test]
    fn no_decay_where_nothing_is_trained() {
        let weights = vector(&[2.0, -4.0]);
        let mut gradients = [vec![1.0, 1.0]];
        add_weight_decay(&cpu(), &weights, &mut gradients, 0.25);
        assert_eq!(gradients, [vec![1.5, 0.0]]);
        let mut frozen = [Vec::new()];
        add_weight_decay(&cpu(), &weights, &mut frozen, 0.25);
        assert_eq!(frozen, [Vec::<f32>::new()]);
    }
}
