//! Algorithms under a budget of memory: the transformed filters of minimal filtering take many times
//! the room of the filters themselves, and some gain little time by it.

use inception_kernels::conv::Algorithm;

use crate::algorithms::{Algorithms, Layer};

/// One way to compute a layer.
struct Way {
    algorithm: Algorithm,
    /// Of packed weights.
    bytes: usize,
    /// Estimated time.
    cost: f64,
}

/// For each layer of a network the algorithm that it is computed by, so that the packed weights of
/// all together take at most [`Algorithms::LEAN_GROWTH`] times what they take directly. From direct
/// convolution on, the change that gains most time by the byte is made again and again, as long as
/// there is one that fits.
pub(crate) fn choose(layers: &[Layer]) -> Vec<Algorithm> {
    let ways: Vec<Vec<Way>> = layers.iter().map(ways).collect();
    let direct: usize = ways.iter().map(|ways| ways[0].bytes).sum();
    let mut left = ((Algorithms::LEAN_GROWTH - 1.0) * direct as f64) as usize;
    let mut chosen: Vec<&Way> = ways.iter().map(|ways| &ways[0]).collect();
    while let Some((layer, way)) = best_change(&ways, &chosen, left) {
        left -= way.bytes - chosen[layer].bytes;
        chosen[layer] = way;
    }
    chosen.iter().map(|way| way.algorithm).collect()
}

/// Direct convolution first.
fn ways(layer: &Layer) -> Vec<Way> {
    let way = |algorithm| Way {
        algorithm,
        bytes: layer.bytes(algorithm),
        cost: layer.cost(algorithm, 1.0),
    };
    layer.candidates().into_iter().map(way).collect()
}

/// The layer, and another way for it, that gains most time for each byte that it takes more, among
/// those that take no more than are left; the first of equals.
fn best_change<'w>(ways: &'w [Vec<Way>], chosen: &[&Way], left: usize) -> Option<(usize, &'w Way)> {
    let mut best = (0.0, None);
    for (layer, (ways, now)) in ways.iter().zip(chosen).enumerate() {
        for way in ways {
            let Some(more) = way.bytes.checked_sub(now.bytes).filter(|&more| more <= left) else {
                continue;
            };
            let gain = (now.cost - way.cost) / more.max(1) as f64;
            if gain > best.0 {
                best = (gain, Some((layer, way)));
            }
        }
    }
    best.1
}
