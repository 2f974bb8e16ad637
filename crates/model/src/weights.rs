//! The values of a network's parameters.

use std::collections::HashMap;

use inception_net::graph::{Graph, Init, Op, Parameter, Role};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;

use crate::ModelError;
use crate::tensor_file::NamedValues;

/// Where a network's weights come from, one tensor at a time: [`Weights`] have all in memory,
/// [`StoredWeights`](crate::StoredWeights) read them from their file.
pub trait WeightSource {
    /// The parameters there are, in the order of [`Graph::parameters`].
    fn parameters(&self) -> Vec<&Parameter>;

    /// Values of the parameter at a place in that list. They are put into `room`, in the place of
    /// what it holds, where they are not in memory yet.
    ///
    /// Panics where there is no such place.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    fn values<'a>(&'a self, place: usize, room: &'a mut Vec<f32>) -> Result<&'a [f32], ModelError>;
}

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
        let values = |(place, parameter): (usize, Parameter)| {
            let len = parameter.shape.iter().product();
            let values = match parameter.role {
                Role::Weight => {
                    let mut random = Pcg64::seed_from_u64(mix(seed, place as u64));
                    let std = standard_deviation(graph, &parameter);
                    (0..len).map(|_| std * truncated_normal(&mut random)).collect()
                }
                Role::Scale | Role::RunningVariance => vec![1.0; len],
                Role::Bias | Role::Shift | Role::RunningMean => vec![0.0; len],
            };
            (parameter, values)
        };
        Self::of(graph.parameters().into_iter().enumerate().map(values))
    }

    /// The given tensors in the network's order.
    ///
    /// # Errors
    ///
    /// If one is missing, left over, or of another shape; all of them are named.
    pub fn from_named(
        graph: &Graph,
        named: impl IntoIterator<Item = NamedValues>,
    ) -> Result<Self, ModelError> {
        Ok(Self::of(matched(graph, named)?))
    }

    /// Of parameters in the network's order.
    pub(crate) fn of(parameters: impl IntoIterator<Item = (Parameter, Vec<f32>)>) -> Self {
        let tensor = |(parameter, values)| Tensor { parameter, values };
        let tensors: Vec<Tensor> = parameters.into_iter().map(tensor).collect();
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

impl WeightSource for Weights {
    fn parameters(&self) -> Vec<&Parameter> {
        self.tensors.iter().map(|tensor| &tensor.parameter).collect()
    }

    fn values<'a>(&'a self, place: usize, _: &'a mut Vec<f32>) -> Result<&'a [f32], ModelError> {
        Ok(&self.tensors[place].values)
    }
}

/// What is named, by the network's parameters in their order. Fails where one is missing, left
/// over, or of another shape, naming all of them.
pub(crate) fn matched<T>(
    graph: &Graph,
    named: impl IntoIterator<Item = (String, Vec<usize>, T)>,
) -> Result<Vec<(Parameter, T)>, ModelError> {
    let mut named: HashMap<String, (Vec<usize>, T)> =
        named.into_iter().map(|(name, shape, of)| (name, (shape, of))).collect();
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    for parameter in graph.parameters() {
        let (name, wanted) = (&parameter.name, &parameter.shape);
        match named.remove(name) {
            Some((shape, of)) if shape == *wanted => found.push((parameter, of)),
            Some((shape, _)) => {
                faults.push(format!("{name} has shape {shape:?}, the network wants {wanted:?}"));
            }
            None => faults.push(format!("{name} is missing")),
        }
    }
    let mut left_over: Vec<_> = named.into_keys().collect();
    left_over.sort();
    faults.extend(left_over.into_iter().map(|name| format!("{name} is left over")));
    if faults.is_empty() { Ok(found) } else { Err(ModelError::Mismatch(listing(&faults))) }
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
