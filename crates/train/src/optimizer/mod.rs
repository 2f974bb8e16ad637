//! How gradients change weights.

mod rules;

use inception_engine::Cpu;
use inception_model::{Tensor, Weights};
use inception_net::graph::Role;
use serde::{Deserialize, Serialize};

use crate::parallel::{self, PIECE};

/// An optimiser's rule and its constants. `g` is the gradient, `w` the weight, `rate` the
/// learning rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Rule {
    /// Stochastic gradient descent with momentum:
    /// `m ← momentum·m + g`, `w ← w − rate·m`; `m` starts at 0.
    ///
    /// The rate multiplies the accumulated momentum, as in `torch.optim.SGD` and TF 1's
    /// `MomentumOptimizer`: a new rate acts on all of it at once. (Keras and Caffe put the rate
    /// inside, `m ← momentum·m − rate·g`, which is the same only while the rate is constant.)
    Sgd {
        /// Share of `m` kept; 0 for none.
        momentum: f64,
        /// Looks one step ahead: `w ← w − rate·(g + momentum·m)`, as both of the above do.
        #[serde(default)]
        nesterov: bool,
    },
    /// RMSProp as TensorFlow 1 defines it (`tf.train.RMSPropOptimizer`, not centred):
    /// `s ← decay·s + (1 − decay)·g²`, `m ← momentum·m + rate·g / √(s + epsilon)`, `w ← w − m`.
    ///
    /// `epsilon` is inside the root, the rate inside the momentum, and `s` starts at **1**, not
    /// at 0 as in PyTorch (whose `epsilon` is outside), so that the first steps are small ones.
    /// The best models of 1512.00567 §8 have decay 0.9 and epsilon 1.0.
    #[serde(rename = "rmsprop")]
    RmsProp {
        /// Share of `s` kept.
        decay: f64,
        /// Share of `m` kept; 0 for none.
        momentum: f64,
        /// Added to the mean square.
        epsilon: f64,
    },
    /// RMSProp as PyTorch defines it (`torch.optim.RMSprop`, not centred):
    /// `s ← decay·s + (1 − decay)·g²`, `m ← momentum·m + g / (√s + epsilon)`, `w ← w − rate·m`;
    /// both start at 0. With small gradients its steps are far longer than TensorFlow's.
    #[serde(rename = "rmsprop-pytorch")]
    RmsPropPyTorch {
        /// Share of `s` kept (PyTorch's `alpha`).
        decay: f64,
        /// Share of `m` kept; 0 for none.
        momentum: f64,
        /// Added to the root of the mean square.
        epsilon: f64,
    },
    /// Adam with decoupled weight decay (1711.05101; `torch.optim.AdamW`):
    /// `w ← w − rate·weight_decay·w`, `m ← beta1·m + (1 − beta1)·g`,
    /// `s ← beta2·s + (1 − beta2)·g²`, `w ← w − rate·m̂ / (√ŝ + epsilon)`, where
    /// `m̂ = m / (1 − beta1ᵗ)` and `ŝ = s / (1 − beta2ᵗ)` after `t` steps.
    ///
    /// The weight decay is the recipe's. It is the rule's own step and no part of the gradient,
    /// as a penalty divided by `√ŝ` would be hardly any where gradients are large.
    #[serde(rename = "adamw")]
    AdamW {
        /// Share of `m` kept.
        #[serde(default = "beta1")]
        beta1: f64,
        /// Share of `s` kept.
        #[serde(default = "beta2")]
        beta2: f64,
        /// Added to the root of the mean square.
        #[serde(default = "adam_epsilon")]
        epsilon: f64,
    },
}

/// AdamW's constants where a recipe does not say them: the paper's and PyTorch's.
fn beta1() -> f64 {
    0.9
}

fn beta2() -> f64 {
    0.999
}

fn adam_epsilon() -> f64 {
    1e-8
}

impl Rule {
    /// AdamW with the usual constants.
    pub fn adamw() -> Self {
        Rule::AdamW { beta1: beta1(), beta2: beta2(), epsilon: adam_epsilon() }
    }

    /// Whether weight decay is a part of the rule's own step rather than of the gradient.
    pub fn decouples_weight_decay(&self) -> bool {
        matches!(self, Rule::AdamW { .. })
    }

    /// Names of the values it keeps for each weight, and what they start at.
    fn slots(&self) -> &'static [(&'static str, f32)] {
        match self {
            Rule::Sgd { .. } => &[("momentum", 0.0)],
            Rule::RmsProp { .. } => &[("mean_square", 1.0), ("momentum", 0.0)],
            Rule::RmsPropPyTorch { .. } => &[("mean_square", 0.0), ("momentum", 0.0)],
            Rule::AdamW { .. } => &[("mean_square", 0.0), ("mean", 0.0)],
        }
    }

    /// What is wrong with the numbers, if anything.
    pub(crate) fn fault(&self) -> Option<String> {
        let share = |name, value: f64| {
            let fine = (0.0..1.0).contains(&value);
            (!fine).then(|| format!("{name} is {value}, it has to be at least 0 and below 1"))
        };
        let above_zero = |epsilon: f64| {
            // As the arithmetic will have it.
            let fine = (epsilon as f32).is_normal() && epsilon > 0.0;
            (!fine).then(|| format!("epsilon is {epsilon:e}, it has to be above 1e-37"))
        };
        match *self {
            Rule::Sgd { momentum, .. } => share("momentum", momentum),
            Rule::RmsProp { decay, momentum, epsilon }
            | Rule::RmsPropPyTorch { decay, momentum, epsilon } => share("decay", decay)
                .or_else(|| share("momentum", momentum))
                .or_else(|| above_zero(epsilon)),
            Rule::AdamW { beta1, beta2, epsilon } => {
                share("beta1", beta1).or_else(|| share("beta2", beta2)).or(above_zero(epsilon))
            }
        }
    }
}

/// A rule and what it remembers of the gradients so far.
#[derive(Clone, Debug)]
pub struct Optimizer {
    rule: Rule,
    slots: Vec<Slot>,
}

/// One remembered value for each trained weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// `momentum`, `mean_square`, `mean`.
    pub name: &'static str,
    /// In the order of the weights' tensors and of their length; empty for what is not trained.
    pub tensors: Vec<Vec<f32>>,
}

/// What a step depends on besides gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The learning rate.
    pub rate: f64,
    /// The recipe's weight decay, for rules that decouple it; the others' is in the gradient.
    pub weight_decay: f64,
    /// Steps done before this one.
    pub before: u64,
}

/// A run of a tensor's values with what belongs to them.
struct Piece<'a> {
    w: &'a mut [f32],
    g: &'a [f32],
    /// The rule's slots, as many as it has.
    memory: [&'a mut [f32]; 2],
    /// Whether weight decay is for these: filters and matrices.
    decays: bool,
}

impl Optimizer {
    /// Starts without any memory.
    pub fn new(rule: Rule, weights: &Weights) -> Self {
        let memory = |tensor: &Tensor, start| match tensor.parameter.role.is_trained() {
            true => vec![start; tensor.values.len()],
            false => Vec::new(),
        };
        let slots = rule
            .slots()
            .iter()
            .map(|&(name, start)| Slot {
                name,
                tensors: weights.tensors().iter().map(|t| memory(t, start)).collect(),
            })
            .collect();
        Self { rule, slots }
    }

    /// What it remembers.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// What it remembers, to restore.
    pub(crate) fn slots_mut(&mut self) -> &mut [Slot] {
        &mut self.slots
    }

    /// Changes the weights by one step against their gradients, which are in the order of the
    /// weights' tensors. A tensor whose gradient is empty (a running statistic, a frozen weight)
    /// is left alone, and so is what is remembered of it.
    pub fn step(&mut self, cpu: &Cpu, weights: &mut Weights, gradients: &[Vec<f32>], step: Step) {
        let (rule, pieces) = (&self.rule, pieces(&mut self.slots, weights, gradients));
        parallel::map(cpu, pieces, |piece| {
            let Piece { w, g, memory: [first, second], decays } = piece;
            let decay = if decays { step.weight_decay } else { 0.0 };
            match *rule {
                Rule::Sgd { momentum, nesterov } => {
                    rules::sgd(w, g, first, step.rate, momentum, nesterov);
                }
                Rule::RmsProp { decay, momentum, epsilon } => {
                    rules::rmsprop(w, g, [first, second], step.rate, [decay, momentum, epsilon]);
                }
                Rule::RmsPropPyTorch { decay, momentum, epsilon } => {
                    let constants = [decay, momentum, epsilon];
                    rules::rmsprop_pytorch(w, g, [first, second], step.rate, constants);
                }
                Rule::AdamW { beta1, beta2, epsilon } => {
                    w.iter_mut().for_each(|w| *w *= (1.0 - step.rate * decay) as f32);
                    let constants = [beta1, beta2, epsilon];
                    let count = step.before + 1;
                    rules::adam(w, g, [first, second], step.rate, constants, count);
                }
            }
        });
    }
}

/// All that has a gradient, cut up.
fn pieces<'a>(
    slots: &'a mut [Slot],
    weights: &'a mut Weights,
    gradients: &'a [Vec<f32>],
) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    let mut memories: Vec<_> = slots.iter_mut().map(|slot| slot.tensors.iter_mut()).collect();
    for ((parameter, values), gradient) in weights.values_mut().zip(gradients) {
        let memory: Vec<&mut Vec<f32>> =
            memories.iter_mut().map(|m| m.next().expect("a memory for each tensor")).collect();
        if gradient.is_empty() {
            continue;
        }
        let decays = parameter.role == Role::Weight;
        let mut memory = memory.into_iter().map(|m| m.chunks_mut(PIECE));
        let (mut first, mut second) = (memory.next(), memory.next());
        let next = |chunks: &mut Option<std::slice::ChunksMut<'a, f32>>| {
            chunks.as_mut().and_then(Iterator::next).unwrap_or_default()
        };
        for (w, g) in values.chunks_mut(PIECE).zip(gradient.chunks(PIECE)) {
            let memory = [next(&mut first), next(&mut second)];
            pieces.push(Piece { w, g, memory, decays });
        }
    }
    pieces
}
