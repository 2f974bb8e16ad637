//! Where a number that is no number came from.

use std::fmt;
use std::sync::Arc;

use inception_engine::{Cpu, EngineError, Inference};
use inception_model::Weights;
use inception_net::graph::{Graph, LayerId};

/// The first place, in the direction of the computation, where values are infinite or NaN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A picture as the network was given it.
    Pictures,
    /// A weight tensor, by name.
    Weights(String),
    /// What a batch norm saw, by the name of its running statistic.
    Statistics(String),
    /// A layer's output, by the layer's name.
    Output(String),
    /// The gradient of a weight tensor, by name.
    Gradient(String),
    /// None of them: the loss's own arithmetic.
    Loss,
    /// The loss on the test pictures, with weights that are finite themselves.
    TestLoss,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Origin::Pictures => write!(f, "in the pictures as the network was given them"),
            Origin::Weights(name) => write!(f, "in the weights `{name}`"),
            Origin::Statistics(name) => write!(f, "in what batch norm sees (`{name}`)"),
            Origin::Output(layer) => write!(f, "in the output of layer `{layer}`"),
            Origin::Gradient(name) => write!(f, "in the gradient of `{name}`"),
            Origin::Loss => write!(f, "in the loss itself"),
            Origin::TestLoss => write!(f, "in the loss on the test pictures"),
        }
    }
}

fn broken(values: &[f32]) -> bool {
    values.iter().any(|value| !value.is_finite())
}

/// The first of a network's tensors, in its order, that is not finite.
pub(crate) fn in_weights(weights: &Weights) -> Option<Origin> {
    weights.tensors().iter().find(|tensor| broken(&tensor.values)).map(|tensor| {
        let name = tensor.parameter.name.clone();
        match tensor.parameter.role.is_trained() {
            true => Origin::Weights(name),
            false => Origin::Statistics(name),
        }
    })
}

/// The gradient that is not finite and was computed first: the backward pass comes from the end.
pub(crate) fn in_gradients(weights: &Weights, gradients: &[Vec<f32>]) -> Origin {
    let last = weights.tensors().iter().zip(gradients).rfind(|(_, gradient)| broken(gradient));
    last.map_or(Origin::Loss, |(tensor, _)| Origin::Gradient(tensor.parameter.name.clone()))
}

/// Where a loss that is not finite began, by computing the pictures once more, layer by layer.
/// Batch norm's running statistics have moved with the batch that broke, so an overflow that only
/// a batch's own statistics let through is found there. Where `inputs` are given instead of
/// pictures, layers are not gone through.
pub(crate) fn in_forward(
    graph: &Graph,
    inputs: &[LayerId],
    weights: &Weights,
    cpu: &Arc<Cpu>,
    pictures: &[f32],
) -> Result<Origin, EngineError> {
    if broken(pictures) {
        return Ok(Origin::Pictures);
    }
    if let Some(origin) = in_weights(weights) {
        return Ok(origin);
    }
    if inputs != [0] {
        return Ok(Origin::Loss);
    }
    let layers: Vec<_> = (0..graph.layers.len()).collect();
    let mut inference = Inference::with_outputs(graph, weights, Arc::clone(cpu), &layers)?;
    for picture in pictures.chunks(graph.layers[0].shape.len()) {
        let outputs = inference.run_all(picture)?;
        if let Some(layer) = outputs.iter().position(|output| broken(output)) {
            return Ok(Origin::Output(graph.layers[layer].name.clone()));
        }
    }
    Ok(Origin::Loss)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiny::vector;

    #[test]
    fn names_the_tensor() {
        assert_eq!(in_weights(&vector(&[1.0, 2.0])), None);
        let name = || "fc.weight".to_owned();
        let broken = vector(&[1.0, f32::INFINITY]);
        assert_eq!(in_weights(&broken), Some(Origin::Weights(name())));
        let weights = vector(&[1.0]);
        assert_eq!(in_gradients(&weights, &[vec![f32::NAN]]), Origin::Gradient(name()));
        assert_eq!(in_gradients(&weights, &[vec![1.0]]), Origin::Loss);
    }
}
