//! The values of a network's parameters.

use std::collections::HashMap;

use inception_net::graph::{Graph, Init, Op, Parameter, Role};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;

use crate::ModelError;

/// One parameter with its values, in the order of its shape (last axis fastest).
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Name, shape and role.
    pub parameter: Parameter,
    /// As many as the shape's product.
    pub values: Vec<f32>,
}

/// Values for every parameter of a network, in the order of [`Graph::parameters`].
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    tensors: Vec<Tensor>,
    places: HashMap<String, usize>,
}

impl Weights {
    /// Random weights as the network's description says, each tensor from the seed and its own
    /// place in the list; batch norm starts as the identity, biases at zero.
    pub fn initial(graph: &Graph, seed: u64) -> Self {
        Self::build(graph, |place, parameter| {
            let len = parameter.shape.iter().product();
            match parameter.role {
                Role::Weight => {
                    let mut random = Pcg64::seed_from_u64(mix(seed, place as u64));
                    let std = standard_deviation(graph, parameter);
                    (0..len).map(|_| std * truncated_normal(&mut random)).collect()
                }
                Role::Scale | Role::RunningVariance => vec![1.0; len],
                Role::Bias | Role::Shift | Role::RunningMean => vec![0.0; len],
            }
        })
    }

    /// The given tensors in the network's order. Fails where one is missing, left over, or of
    /// another shape, naming all of them.
    pub fn from_named(
        graph: &Graph,
        named: impl IntoIterator<Item = (String, Vec<usize>, Vec<f32>)>,
    ) -> Result<Self, ModelError> {
        let mut named: HashMap<String, (Vec<usize>, Vec<f32>)> =
            named.into_iter().map(|(name, shape, values)| (name, (shape, values))).collect();
        let mut faults = Vec::new();
        let weights = Self::build(graph, |_, parameter| match named.remove(&parameter.name) {
            Some((shape, values)) if shape == parameter.shape => values,
            Some((shape, _)) => {
                let (name, wanted) = (&parameter.name, &parameter.shape);
                faults.push(format!("{name} has shape {shape:?}, the network wants {wanted:?}"));
                Vec::new()
            }
            None => {
                faults.push(format!("{} is missing", parameter.name));
                Vec::new()
            }
        });
        let mut left_over: Vec<_> = named.into_keys().collect();
        left_over.sort();
        faults.extend(left_over.into_iter().map(|name| format!("{name} is left over")));
        if faults.is_empty() { Ok(weights) } else { Err(ModelError::Mismatch(listing(&faults))) }
    }

    fn build(graph: &Graph, mut values: impl FnMut(usize, &Parameter) -> Vec<f32>) -> Self {
        let tensors: Vec<Tensor> = graph
            .parameters()
            .into_iter()
            .enumerate()
            .map(|(place, parameter)| Tensor { values: values(place, &parameter), parameter })
            .collect();
        let places =
            tensors.iter().enumerate().map(|(i, t)| (t.parameter.name.clone(), i)).collect();
        Self { tensors, places }
    }

    /// All tensors.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The values of all tensors, to change.
    pub fn values_mut(&mut self) -> impl Iterator<Item = (&Parameter, &mut Vec<f32>)> {
        self.tensors.iter_mut().map(|t| (&t.parameter, &mut t.values))
    }

    /// Place of the parameter of this name in [`Self::tensors`].
    pub fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// The parameter of this name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.place(name).map(|place| &self.tensors[place])
    }

    /// Values of the parameter at a place, to change.
    pub fn at_mut(&mut self, place: usize) -> &mut [f32] {
        &mut self.tensors[place].values
    }
}

fn standard_deviation(graph: &Graph, parameter: &Parameter) -> f32 {
    let init = match &graph.layers[parameter.layer].op {
        Op::Conv(conv) => conv.init,
        Op::Linear(linear) => linear.init,
        Op::Depthwise { init, .. } => *init,
        _ => Init::He,
    };
    match init {
        Init::Truncated(std) => std,
        Init::He => {
            let fan_in: usize = parameter.shape[1..].iter().product();
            (2.0 / fan_in as f32).sqrt()
        }
    }
}

fn truncated_normal(random: &mut Pcg64) -> f32 {
    loop {
        let value: f32 = StandardNormal.sample(random);
        if value.abs() <= 2.0 {
            return value;
        }
    }
}

/// One seed from two numbers (splitmix64's finaliser), so that neighbouring tensors share nothing.
fn mix(seed: u64, place: u64) -> u64 {
    let mut z = seed ^ place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The first few faults and how many more there are.
pub fn listing(faults: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut text = faults.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    if faults.len() > SHOWN {
        text += &format!("; and {} more", faults.len() - SHOWN);
    }
    text
}
