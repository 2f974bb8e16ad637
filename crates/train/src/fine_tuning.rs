//! Which layers are trained and which stay as they are.

use inception_engine::{LayerMode, NormMode};
use inception_net::graph::{Graph, LayerId, Op};
use serde::{Deserialize, Serialize};

use crate::TrainError;

/// How a network that already knows something is trained further. What several fields freeze
/// stays, all of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FineTuning {
    /// Layers and modules that stay as they are, by name; `*` stands for any characters, as in
    /// `inception_3*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
    /// A layer or module that stays as it is, with all that comes before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze_until: Option<String>,
    /// Whether everything stays but the last layer of each head.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub head_only: bool,
    /// Which batch norms are frozen too.
    pub frozen_batch_norm: FrozenBatchNorm,
    /// What the frozen layers below the lowest trained one make of a picture is computed once for
    /// this many augmented versions of each, which the epochs use in turn; without it anew for each
    /// epoch's own version. Needs an augmentation of single pictures, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_views: Option<usize>,
}

/// Which batch norms normalise with their running statistics, which then do not move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrozenBatchNorm {
    /// Those of frozen layers.
    #[default]
    FrozenLayers,
    /// All; γ and β of layers that are trained are trained nevertheless.
    All,
    /// Not one: frozen filters get new statistics.
    Off,
}

impl FineTuning {
    /// What is wrong with the numbers, if anything.
    pub(crate) fn fault(&self) -> Option<String> {
        (self.cached_views == Some(0))
            .then(|| "cached_views is 0, it has to be 1 or more".to_owned())
    }

    /// What is done to each layer of a network.
    ///
    /// # Errors
    /// If a name is no layer's or module's (the message lists those like it), or nothing is left
    /// to be trained.
    pub fn modes(&self, graph: &Graph) -> Result<Vec<LayerMode>, TrainError> {
        let mut frozen = vec![false; graph.layers.len()];
        for pattern in &self.freeze {
            named(graph, pattern)?.into_iter().for_each(|id| frozen[id] = true);
        }
        if let Some(name) = &self.freeze_until {
            with_all_before(graph, named(graph, name)?, &mut frozen);
        }
        if self.head_only {
            let is_head = |id| graph.heads.iter().any(|head| head.logits == id);
            (0..frozen.len()).filter(|&id| !is_head(id)).for_each(|id| frozen[id] = true);
        }
        let has_weights = |&id: &LayerId| !graph.layer_parameters(id).is_empty();
        if (0..frozen.len()).filter(has_weights).all(|id| frozen[id]) {
            return Err(TrainError::Recipe(
                "all layers are frozen and nothing is left to train; freeze fewer".to_owned(),
            ));
        }
        let mode = |frozen: bool| {
            let statistics = match self.frozen_batch_norm {
                FrozenBatchNorm::FrozenLayers => frozen,
                FrozenBatchNorm::All => true,
                FrozenBatchNorm::Off => false,
            };
            let norm = if statistics { NormMode::Frozen } else { NormMode::Batch };
            LayerMode { trained: !frozen, norm }
        };
        Ok(frozen.into_iter().map(mode).collect())
    }
}

/// What of a network is trained.
pub(crate) struct Parts {
    pub modes: Vec<LayerMode>,
    /// From which layers on it is computed in training: the picture's, or those whose outputs are
    /// kept.
    pub inputs: Vec<LayerId>,
    /// The same on the way to the main head alone.
    pub main_inputs: Vec<LayerId>,
}

impl Parts {
    pub fn new(graph: &Graph, fine_tuning: Option<&FineTuning>) -> Result<Self, TrainError> {
        let modes = fine_tuning.unwrap_or(&FineTuning::default()).modes(graph)?;
        let heads: Vec<LayerId> = graph.heads.iter().map(|head| head.logits).collect();
        let cached = fine_tuning.is_some_and(|f| f.cached_views.is_some());
        let begin = |heads: &[LayerId]| match cached {
            true => border(graph, &modes, heads),
            false => vec![0],
        };
        let (inputs, main_inputs) = (begin(&heads), begin(&[graph.main_logits()]));
        Ok(Self { modes, inputs, main_inputs })
    }
}

/// The layers that a pattern names, by their own names or their modules'.
fn named(graph: &Graph, pattern: &str) -> Result<Vec<LayerId>, TrainError> {
    let names = |id: LayerId| own_and_modules(&graph.layers[id].name);
    let found: Vec<LayerId> = (1..graph.layers.len())
        .filter(|&id| names(id).any(|name| matches(pattern, name)))
        .collect();
    match found.is_empty() {
        false => Ok(found),
        true => Err(TrainError::Recipe(format!(
            "no layer or module is called `{pattern}`; like it are {}",
            similar(pattern, (1..graph.layers.len()).flat_map(names)).join(", ")
        ))),
    }
}

/// A layer's name and those of the modules it lies in.
fn own_and_modules(name: &str) -> impl Iterator<Item = &str> {
    let dots = name.match_indices('.').map(|(at, _)| &name[..at]);
    dots.chain([name])
}

/// Whether a name is the pattern with each `*` replaced by something.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(mut left) = name.strip_prefix(first).and_then(|name| name.strip_suffix(last)) else {
        return false;
    };
    middle.split('*').all(|part| {
        let end = left.find(part).map(|at| at + part.len());
        end.inspect(|&end| left = &left[end..]).is_some()
    })
}

/// The few names most like a pattern, the most similar first.
fn similar<'n>(pattern: &str, names: impl Iterator<Item = &'n str>) -> Vec<String> {
    const SHOWN: usize = 4;
    let mut names: Vec<&str> = names.collect();
    names.sort_by(|a, b| {
        let likeness = |name| strsim::jaro_winkler(pattern, name);
        likeness(b).total_cmp(&likeness(a)).then(a.cmp(b))
    });
    names.dedup();
    names.into_iter().take(SHOWN).map(|name| format!("`{name}`")).collect()
}

/// Marks layers and all that they depend on.
pub(crate) fn with_all_before(graph: &Graph, layers: Vec<LayerId>, marked: &mut [bool]) {
    let mut open = layers;
    let mut seen = vec![false; graph.layers.len()];
    while let Some(id) = open.pop() {
        if !std::mem::replace(&mut seen[id], true) {
            marked[id] = true;
            open.extend(&graph.layers[id].inputs);
        }
    }
}

/// The layers from which on a picture's way to these heads can change in training: those that
/// never do (nothing trained, dropped or normalised by the batch comes before) and are read by
/// some that may, or are heads themselves. `[0]`, the picture, where all may change. What pools and
/// their like make of such layers is left out: it is quickly made again.
pub(crate) fn border(graph: &Graph, modes: &[LayerMode], heads: &[LayerId]) -> Vec<LayerId> {
    let mut needed = vec![false; graph.layers.len()];
    with_all_before(graph, heads.to_vec(), &mut needed);
    let mut constant: Vec<bool> = Vec::with_capacity(graph.layers.len());
    for (layer, mode) in graph.layers.iter().zip(modes) {
        let norm = match &layer.op {
            Op::Conv(conv) => conv.batch_norm,
            Op::Linear(linear) => linear.batch_norm,
            _ => None,
        };
        let own = match &layer.op {
            Op::Dropout { rate } => *rate == 0.0,
            Op::Conv(_) | Op::Linear(_) | Op::Depthwise { .. } => {
                !mode.trained && (norm.is_none() || mode.norm == NormMode::Frozen)
            }
            _ => true,
        };
        constant.push(own && layer.inputs.iter().all(|&input| constant[input]));
    }
    let changing = (0..graph.layers.len()).filter(|&id| needed[id] && !constant[id]);
    let read = changing.flat_map(|id| &graph.layers[id].inputs).chain(heads).copied();
    let mut border: Vec<LayerId> = read.filter(|&id| constant[id]).collect();
    border.sort_unstable();
    border.dedup();
    let made_of = |id: LayerId| &graph.layers[id].inputs;
    let quick = |id: LayerId| graph.layer_parameters(id).is_empty() && !made_of(id).is_empty();
    let again = |id| quick(id) && made_of(id).iter().all(|input| border.contains(input));
    border.iter().copied().filter(|&id| !again(id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use inception_net::zoo::{self, Dialect, Options};

    fn googlenet() -> Graph {
        let options = Options { dialect: Some(Dialect::Torchvision), ..Options::default() };
        zoo::build("googlenet", &options).unwrap().graph().unwrap()
    }

    /// Names of the frozen layers that have weights.
    fn frozen(graph: &Graph, fine_tuning: &FineTuning) -> Vec<String> {
        let modes = fine_tuning.modes(graph).unwrap();
        (0..graph.layers.len())
            .filter(|&id| !modes[id].trained && !graph.layer_parameters(id).is_empty())
            .map(|id| graph.layers[id].name.clone())
            .collect()
    }

    #[test]
    fn patterns_name_layers_and_modules() {
        let yes = [
            ("conv1", "conv1"),
            ("conv*", "conv2_reduce"),
            ("*", "x"),
            ("a*c", "ac"),
            ("*_3*.1x1", "inception_3a.1x1"),
            ("a**b", "axb"),
        ];
        let no = [("conv", "conv1"), ("a*a", "a"), ("*b*c*", "acb"), ("", "a")];
        yes.iter().for_each(|(p, n)| assert!(matches(p, n), "{p} {n}"));
        no.iter().for_each(|(p, n)| assert!(!matches(p, n), "{p} {n}"));

        let graph = googlenet();
        let freeze = vec!["conv*".to_owned(), "inception_3a".to_owned()];
        let names = frozen(&graph, &FineTuning { freeze, ..FineTuning::default() });
        assert_eq!(names[..3], ["conv1", "conv2_reduce", "conv2"]);
        assert_eq!(names.len(), 3 + 6, "{names:?}");
        assert!(names[3..].iter().all(|name| name.starts_with("inception_3a.")), "{names:?}");
    }

    #[test]
    fn depth_leaves_heads_beside_the_way_alone() {
        let graph = googlenet();
        let until = Some("inception_4e".to_owned());
        let names = frozen(&graph, &FineTuning { freeze_until: until, ..FineTuning::default() });
        assert!(names.iter().any(|name| name.starts_with("inception_4e.")));
        assert!(names.iter().any(|name| name == "conv1"));
        let beyond = |name: &String| name.contains("aux") || name.contains("_5") || name == "fc";
        assert!(!names.iter().any(beyond), "{names:?}");
    }

    #[test]
    fn names_that_do_not_exist_are_told_with_near_ones() {
        let graph = googlenet();
        let freeze = vec!["inception_4f".to_owned()];
        let error = FineTuning { freeze, ..FineTuning::default() }.modes(&graph).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`inception_4f`") && text.contains("`inception_4a`"), "{text}");
        let all = FineTuning { freeze: vec!["*".to_owned()], ..FineTuning::default() };
        assert!(all.modes(&graph).unwrap_err().to_string().contains("nothing is left"));
    }

    #[test]
    fn batch_norm_freezes_as_asked() {
        let graph = googlenet();
        let modes = |frozen_batch_norm| {
            let freeze = vec!["conv1".to_owned()];
            let modes = FineTuning { freeze, frozen_batch_norm, ..FineTuning::default() };
            let modes = modes.modes(&graph).unwrap();
            (modes[1].norm, modes.last().unwrap().norm)
        };
        assert_eq!(graph.layers[1].name, "conv1");
        use NormMode::{Batch, Frozen};
        assert_eq!(modes(FrozenBatchNorm::FrozenLayers), (Frozen, Batch));
        assert_eq!(modes(FrozenBatchNorm::All), (Frozen, Frozen));
        assert_eq!(modes(FrozenBatchNorm::Off), (Batch, Batch));
    }

    #[test]
    fn the_border_is_where_something_may_change() {
        let graph = googlenet();
        let heads: Vec<LayerId> = graph.heads.iter().map(|head| head.logits).collect();
        let names = |fine_tuning: FineTuning, heads: &[LayerId]| -> Vec<&str> {
            let border = border(&graph, &fine_tuning.modes(&graph).unwrap(), heads);
            border.into_iter().map(|id| graph.layers[id].name.as_str()).collect()
        };
        let head_only = FineTuning { head_only: true, ..FineTuning::default() };
        // Dropout comes after the features.
        assert_eq!(names(head_only.clone(), &heads[2..]), ["pool5"]);
        assert_eq!(names(head_only.clone(), &heads), ["aux1.fc1", "aux2.fc1", "pool5"]);
        let until = Some("inception_4e".to_owned());
        let until = FineTuning { freeze_until: until, ..FineTuning::default() };
        // The pool in 5a's last branch reads what the others read.
        assert_eq!(names(until, &heads[2..]), ["pool4"]);
        let moving = FineTuning { frozen_batch_norm: FrozenBatchNorm::Off, ..head_only };
        assert_eq!(names(moving, &heads), ["input"]);
        assert_eq!(names(FineTuning::default(), &heads), ["input"]);
    }
}
