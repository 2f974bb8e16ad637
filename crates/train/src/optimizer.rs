//! How gradients change weights.

use inception_model::{Tensor, Weights};
use serde::{Deserialize, Serialize};

/// An optimiser's rule and its constants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
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
    RmsProp {
        /// Share of `s` kept.
        decay: f64,
        /// Share of `m` kept; 0 for none.
        momentum: f64,
        /// Added to the mean square.
        epsilon: f64,
    },
}

impl Rule {
    /// Names of the values it keeps for each weight, and what they start at.
    fn slots(&self) -> &'static [(&'static str, f32)] {
        match self {
            Rule::Sgd { .. } => &[("momentum", 0.0)],
            Rule::RmsProp { .. } => &[("mean_square", 1.0), ("momentum", 0.0)],
        }
    }

    /// What is wrong with the numbers, if anything.
    pub(crate) fn fault(&self) -> Option<String> {
        let share = |name, value: f64| {
            let fine = (0.0..1.0).contains(&value);
            (!fine).then(|| format!("{name} is {value}, it has to be at least 0 and below 1"))
        };
        match *self {
            Rule::Sgd { momentum, .. } => share("momentum", momentum),
            Rule::RmsProp { decay, momentum, epsilon } => {
                share("decay", decay).or_else(|| share("momentum", momentum)).or_else(|| {
                    let fine = epsilon.is_finite() && epsilon > 0.0;
                    (!fine).then(|| format!("epsilon is {epsilon}, it has to be above 0"))
                })
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
    /// `momentum`, `mean_square`.
    pub name: &'static str,
    /// In the order of the weights' tensors and of their length; empty for what is not trained.
    pub tensors: Vec<Vec<f32>>,
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

    /// Changes the weights by one step against their gradients (in the order of the weights'
    /// tensors, empty for what is not trained).
    pub fn step(&mut self, weights: &mut Weights, gradients: &[Vec<f32>], learning_rate: f64) {
        let rate = learning_rate as f32;
        for (place, ((_, w), g)) in weights.values_mut().zip(gradients).enumerate() {
            match (&self.rule, &mut self.slots[..]) {
                (&Rule::Sgd { momentum, nesterov }, [m]) => {
                    let step = Sgd { rate, momentum: momentum as f32 };
                    let m = &mut m.tensors[place];
                    if nesterov { step.nesterov(w, g, m) } else { step.plain(w, g, m) }
                }
                (&Rule::RmsProp { decay, momentum, epsilon }, [s, m]) => {
                    let step = RmsProp {
                        rate,
                        forget: (1.0 - decay) as f32,
                        momentum: momentum as f32,
                        epsilon: epsilon as f32,
                    };
                    step.apply(w, g, &mut s.tensors[place], &mut m.tensors[place]);
                }
                _ => unreachable!("slots are made for their rule"),
            }
        }
    }
}

struct Sgd {
    rate: f32,
    momentum: f32,
}

impl Sgd {
    fn plain(&self, w: &mut [f32], g: &[f32], m: &mut [f32]) {
        for ((w, g), m) in w.iter_mut().zip(g).zip(m) {
            *m = self.momentum * *m + g;
            *w -= self.rate * *m;
        }
    }

    fn nesterov(&self, w: &mut [f32], g: &[f32], m: &mut [f32]) {
        for ((w, g), m) in w.iter_mut().zip(g).zip(m) {
            *m = self.momentum * *m + g;
            *w -= self.rate * (g + self.momentum * *m);
        }
    }
}

struct RmsProp {
    rate: f32,
    forget: f32,
    momentum: f32,
    epsilon: f32,
}

impl RmsProp {
    fn apply(&self, w: &mut [f32], g: &[f32], s: &mut [f32], m: &mut [f32]) {
        for (((w, g), s), m) in w.iter_mut().zip(g).zip(s).zip(m) {
            *s += self.forget * (g * g - *s);
            *m = self.momentum * *m + self.rate * g / (*s + self.epsilon).sqrt();
            *w -= *m;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiny::vector;

    const STEPS: usize = 50;

    /// Weights after the steps 1, 24 and 50, from gradients that depend on the weights and a rate
    /// that falls after step 12.
    fn run(rule: Rule) -> Vec<Vec<f32>> {
        let mut weights = vector(&[-0.5, -0.25, 0.0, 0.25, 0.5, 0.75]);
        let mut optimizer = Optimizer::new(rule, &weights);
        let mut seen = Vec::new();
        for t in 0..STEPS {
            let w = &weights.tensors()[0].values;
            let gradient = |(i, w): (usize, &f32)| {
                let given = ((i * 7 + t * 5) % 11) as f32 - 5.0;
                given / 4.0 + w / 8.0
            };
            let gradients = vec![w.iter().enumerate().map(gradient).collect()];
            optimizer.step(&mut weights, &gradients, if t < 12 { 0.05 } else { 0.03 });
            if [0, 23, 49].contains(&t) {
                seen.push(weights.tensors()[0].values.clone());
            }
        }
        seen
    }

    fn check(rule: Rule, recorded: [[f64; 6]; 3]) {
        for (found, expected) in run(rule.clone()).iter().zip(recorded) {
            for (&found, expected) in found.iter().zip(expected) {
                let off = (f64::from(found) - expected).abs();
                assert!(off < 3e-7, "{rule:?}: {found} instead of {expected}");
            }
        }
    }

    /// Recorded from `torch.optim.SGD` of PyTorch 2.15 in `float64`.
    #[test]
    fn momentum_is_pytorchs() {
        check(
            Rule::Sgd { momentum: 0.9, nesterov: false },
            [
                [-0.434375, -0.2734375, 0.025, 0.1859375, 0.484375, 0.7828125],
                [
                    -0.16206128620305982,
                    -0.10079538105619233,
                    0.18633029644546184,
                    -0.15749755745644095,
                    0.12242361791239134,
                    0.5082704327821073,
                ],
                [
                    -0.031690200132574765,
                    0.03298761792320792,
                    0.034143793898610164,
                    -0.10106471161633672,
                    0.022947372657596533,
                    0.17564524971333853,
                ],
            ],
        );
    }

    /// Recorded as above with `nesterov=True`.
    #[test]
    fn nesterov_is_pytorchs() {
        check(
            Rule::Sgd { momentum: 0.9, nesterov: true },
            [
                [-0.3753125, -0.29453125, 0.0475, 0.12828125, 0.4703125, 0.81234375],
                [
                    -0.10101891965190228,
                    -0.0977586649059151,
                    0.14333890480554398,
                    -0.14404351062270834,
                    0.15681611143277516,
                    0.46193548239755644,
                ],
                [
                    -0.03718444393007364,
                    0.024237715938798032,
                    0.03379450486747355,
                    -0.10167839357201357,
                    0.002909779220323253,
                    0.20958564546877767,
                ],
            ],
        );
    }

    /// Recorded from the update in TF 1's `ApplyRMSProp` kernel, in NumPy's `float64`.
    #[test]
    fn rmsprop_is_tensorflows() {
        check(
            Rule::RmsProp { decay: 0.9, momentum: 0.9, epsilon: 1.0 },
            [
                [
                    -0.45441241301943425,
                    -0.2669058761362597,
                    0.01801874925391118,
                    0.20541054261920064,
                    0.4886934530610918,
                    0.7735394059762268,
                ],
                [
                    -0.0807860447279848,
                    -0.1710615447396253,
                    0.14029046070556386,
                    -0.10961853418626734,
                    0.17909138470377675,
                    0.5198928279496052,
                ],
                [
                    0.03137241996831727,
                    -0.028543869183002328,
                    0.050366388419795946,
                    -0.10532358890911364,
                    0.06096818285657339,
                    0.23883422979405097,
                ],
            ],
        );
        check(
            Rule::RmsProp { decay: 0.9, momentum: 0.9, epsilon: 1e-3 },
            [
                [
                    -0.4366545090390248,
                    -0.2743959012985643,
                    0.02597972294539829,
                    0.18792790173462265,
                    0.48362743547523257,
                    0.7837705433909528,
                ],
                [
                    0.08936506514534152,
                    -0.16522263473946894,
                    0.1639710053737743,
                    -0.15753979298444812,
                    0.07829445279677577,
                    0.38882805478549015,
                ],
                [
                    0.127974172248986,
                    0.03607312074146669,
                    0.015819933774226802,
                    -0.0819006537146906,
                    0.016746422576535455,
                    0.1059423669631886,
                ],
            ],
        );
    }
}
