//! Keras' names, for files of weights alone: `keras.applications.InceptionV3`
//! (`applications/inception_v3.py`).
//!
//! Keras numbers layers of one class in the order in which they are made, on and on through a
//! session: `conv2d`, `conv2d_1`, … is the first network's numbering, another's starts elsewhere
//! (and at 1 before Keras 2.3). Files of Keras 3 number layers in another order still, that of
//! their depth in the network. [`renumbered`] gives all of them the first numbering, which is also
//! that of exports.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use inception_formats::{Array, Contents};
use inception_net::graph::{Graph, Role};
use inception_net::zoo::Dialect;

use super::{Arrays, Found, Library, Source};
use crate::from_graph::GraphError;
use crate::layout::Layout;

pub(super) const KERAS: Library = Library {
    name: "keras",
    recognise,
    sources,
    ignores: |name| name.starts_with("optimizer"),
    adapt: |_| {},
};

/// The classifier.
const HEAD: &str = "predictions";

/// Each class of layers with its arrays, in the order in which Keras 3 numbers them.
const CLASSES: [(&str, &[&str]); 2] =
    [("conv2d", &["kernel"]), ("batch_normalization", &["beta", "moving_mean", "moving_variance"])];

/// Convolutions of Inception v3, and batch norms.
const COUNT: usize = 94;

/// The number by making of the layer that comes `i`-th by depth: the order of `Model.layers`
/// (Keras 3.15; `ops/function.py` sorts so).
#[rustfmt::skip]
const BY_DEPTH: [u8; COUNT] = [
    0, 1, 2, 3, 4, 8, 6, 9, 5, 7, 10, 11, 15, 13, 16, 12, 14, 17, 18, 22, 20, 23, 19, 21, 24, 25,
    27, 28, 26, 29, 34, 35, 31, 36, 32, 37, 30, 33, 38, 39, 44, 45, 41, 46, 42, 47, 40, 43, 48, 49,
    54, 55, 51, 56, 52, 57, 50, 53, 58, 59, 64, 65, 61, 66, 62, 67, 60, 63, 68, 69, 72, 73, 70, 74,
    71, 75, 80, 77, 81, 78, 79, 82, 83, 76, 84, 89, 86, 90, 87, 88, 91, 92, 85, 93,
];

/// Our convolutions in the order in which Keras makes its own.
fn convolutions() -> Vec<String> {
    const STEM: [&str; 5] =
        ["Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3"];
    const A: &str = "branch1x1 branch5x5_1 branch5x5_2 branch3x3dbl_1 branch3x3dbl_2 \
                     branch3x3dbl_3 branch_pool";
    const D: &str = "branch3x3 branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3";
    const B: &str = "branch1x1 branch7x7_1 branch7x7_2 branch7x7_3 branch7x7dbl_1 branch7x7dbl_2 \
                     branch7x7dbl_3 branch7x7dbl_4 branch7x7dbl_5 branch_pool";
    const E: &str = "branch3x3_1 branch3x3_2 branch7x7x3_1 branch7x7x3_2 branch7x7x3_3 \
                     branch7x7x3_4";
    const C: &str = "branch1x1 branch3x3_1 branch3x3_2a branch3x3_2b branch3x3dbl_1 \
                     branch3x3dbl_2 branch3x3dbl_3a branch3x3dbl_3b branch_pool";
    const MODULES: [(&str, &str); 11] = [
        ("5b", A),
        ("5c", A),
        ("5d", A),
        ("6a", D),
        ("6b", B),
        ("6c", B),
        ("6d", B),
        ("6e", B),
        ("7a", E),
        ("7b", C),
        ("7c", C),
    ];
    let mut names: Vec<String> = STEM.map(str::to_owned).into();
    for (module, layers) in MODULES {
        names.extend(layers.split_whitespace().map(|layer| format!("Mixed_{module}.{layer}")));
    }
    names
}

fn recognise(arrays: &Arrays) -> Option<Found> {
    if !arrays.has(&array("conv2d", COUNT - 1, "kernel"))
        || arrays.has(&array("conv2d", COUNT, "kernel"))
    {
        return None;
    }
    Some(Found {
        network: "inception-v3",
        dialect: Dialect::Keras,
        classes: arrays.axis(&format!("{HEAD}/kernel"), 1)?,
        auxiliary: false,
        preprocessing: None,
    })
}

/// The name of an array in the first network of a session.
fn array(class: &str, number: usize, kind: &str) -> String {
    match number {
        0 => format!("{class}/{kind}"),
        n => format!("{class}_{n}/{kind}"),
    }
}

fn sources(network: &str, graph: &Graph) -> Option<Vec<Source>> {
    if network != "inception-v3" {
        return None;
    }
    let numbers: HashMap<String, usize> =
        convolutions().into_iter().enumerate().map(|(i, name)| (name, i)).collect();
    let named = |name: String, layout| Source::Array { name, layout };
    let source = |layer: &str, role: Role| {
        let layout = Layout::HeightWidthInOut;
        if layer == "fc" {
            return match role {
                Role::Weight => Some(named(format!("{HEAD}/kernel"), layout)),
                Role::Bias => Some(named(format!("{HEAD}/bias"), Layout::Same)),
                _ => None,
            };
        }
        let &number = numbers.get(layer)?;
        let statistic = |kind| named(array("batch_normalization", number, kind), Layout::Same);
        match role {
            Role::Weight => Some(named(array("conv2d", number, "kernel"), layout)),
            Role::Bias => None,
            Role::Scale => Some(Source::Constant(1.0)),
            Role::Shift => Some(statistic("beta")),
            Role::RunningMean => Some(statistic("moving_mean")),
            Role::RunningVariance => Some(statistic("moving_variance")),
        }
    };
    graph
        .parameters()
        .iter()
        .map(|parameter| source(&graph.layers[parameter.layer].name, parameter.role))
        .collect()
}

/// Arrays of a Keras file of Inception v3's weights under the names of the first network of a
/// session; all others as they are. Where there is no classifier, one of `new_classes` whose
/// weights are zero is put on top.
///
/// # Errors
///
/// If there is no classifier and none is asked for.
pub(crate) fn renumbered(
    mut contents: Contents,
    new_classes: Option<usize>,
) -> Result<Contents, GraphError> {
    let Some(names) = canonical(&contents.arrays) else { return Ok(contents) };
    for (array, name) in contents.arrays.iter_mut().zip(names) {
        array.name = name;
    }
    let headless = !contents.arrays.iter().any(|array| array.name == format!("{HEAD}/kernel"));
    if headless {
        const FEATURES: usize = 2048;
        let Some(classes) = new_classes else {
            return Err(GraphError::NoClassifier("mixed10".to_owned()));
        };
        let zeros = |kind: &str, shape: Vec<usize>| Array {
            name: format!("{HEAD}/{kind}"),
            values: vec![0.0; shape.iter().product()],
            shape,
        };
        contents.arrays.push(zeros("kernel", vec![FEATURES, classes]));
        contents.arrays.push(zeros("bias", vec![classes]));
    }
    Ok(contents)
}

/// The names that the arrays would have in the first network of a session; `None` where they are
/// not all of Inception v3.
fn canonical(arrays: &[Array]) -> Option<Vec<String>> {
    let parsed: Vec<Part> =
        arrays.iter().map(|array| Part::of(&array.name)).collect::<Option<_>>()?;
    // The numbers of each class, by file.
    let mut numbers: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for part in &parsed {
        numbers.entry(part.class).or_default().insert(part.number);
    }
    let heads: Vec<&str> =
        numbers.keys().copied().filter(|&class| CLASSES.iter().all(|(c, _)| *c != class)).collect();
    let whole =
        CLASSES.iter().all(|(class, _)| numbers.get(class).is_some_and(|n| n.len() == COUNT));
    if !whole || heads.len() > 1 || heads.iter().any(|head| numbers[head].len() > 1) {
        return None;
    }
    let ranks: BTreeMap<&str, HashMap<usize, usize>> = numbers
        .iter()
        .map(|(&class, numbers)| {
            (class, numbers.iter().enumerate().map(|(i, &n)| (n, i)).collect())
        })
        .collect();
    parsed
        .iter()
        .map(|part| {
            let Some((_, kinds)) = CLASSES.iter().find(|(class, _)| *class == part.class) else {
                let kind = part.kind(&["kernel", "bias"])?;
                return Some(format!("{HEAD}/{kind}"));
            };
            let rank = ranks[part.class][&part.number];
            let number = if part.by_depth { usize::from(BY_DEPTH[rank]) } else { rank };
            Some(array(part.class, number, part.kind(kinds)?))
        })
        .collect()
}

/// A name taken apart: `conv2d_7/kernel:0`, `layers/conv2d_7/vars/0`.
struct Part<'a> {
    class: &'a str,
    number: usize,
    /// `kernel`, or its place among the layer's arrays.
    kind: &'a str,
    by_depth: bool,
}

impl<'a> Part<'a> {
    fn of(name: &'a str) -> Option<Self> {
        let name = name.strip_suffix(":0").unwrap_or(name);
        let (rest, kind) = name.rsplit_once('/')?;
        let (rest, by_depth) = match rest.strip_suffix("/vars") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let layer = rest.rsplit('/').next()?;
        let numbered = layer
            .rsplit_once('_')
            .and_then(|(class, number)| Some((class, number.parse::<usize>().ok()?)));
        let (class, number) = numbered.unwrap_or((layer, 0));
        Some(Self { class, number, kind, by_depth })
    }

    /// What the array is to its layer, whose arrays are these.
    fn kind(&self, kinds: &[&'a str]) -> Option<&'a str> {
        if self.by_depth {
            return kinds.get(self.kind.parse::<usize>().ok()?).copied();
        }
        kinds.iter().find(|&&kind| kind == self.kind).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use inception_formats::Format;
    use inception_net::zoo;

    fn arrays(name: impl Fn(&str, usize, usize, &str) -> String) -> Vec<Array> {
        let mut arrays = Vec::new();
        for (class, kinds) in CLASSES {
            for number in 0..COUNT {
                for (place, kind) in kinds.iter().enumerate() {
                    let name = name(class, number, place, kind);
                    arrays.push(Array { name, shape: vec![1], values: vec![number as f32] });
                }
            }
        }
        arrays
    }

    fn renamed(arrays: Vec<Array>) -> HashMap<String, f32> {
        let contents = renumbered(Contents::arrays(Format::KerasHdf5, arrays), Some(5)).unwrap();
        contents.arrays.into_iter().map(|a| (a.name, a.values[0])).collect()
    }

    #[test]
    fn numbering_starts_anywhere() {
        for first in [0, 1, 95, 188] {
            let found = renamed(arrays(|class, number, _, kind| match number + first {
                0 => format!("{class}/{kind}:0"),
                n => format!("{class}_{n}/{kind}:0"),
            }));
            // And the new classifier.
            assert_eq!(found.len(), 4 * COUNT + 2);
            assert_eq!(found["conv2d/kernel"], 0.0);
            assert_eq!(found["batch_normalization_93/moving_variance"], 93.0);
            // Not as text, where 9 comes after 10.
            assert_eq!(found["conv2d_9/kernel"], 9.0);
        }
    }

    #[test]
    fn keras_3_numbers_by_depth() {
        let found = renamed(arrays(|class, number, place, _| match number {
            0 => format!("layers/{class}/vars/{place}"),
            n => format!("layers/{class}_{n}/vars/{place}"),
        }));
        // The sixth by depth is the ninth made.
        assert_eq!(found["conv2d_8/kernel"], 5.0);
        assert_eq!(found["batch_normalization_8/moving_mean"], 5.0);
        let mut numbers = BY_DEPTH.to_vec();
        numbers.sort_unstable();
        assert!(numbers.iter().enumerate().all(|(i, &n)| i == usize::from(n)));
    }

    #[test]
    fn other_networks_stay_as_they_are() {
        let names = ["conv2d/kernel", "fc.weight"].map(str::to_owned);
        let arrays = names.clone().map(|name| Array { name, shape: vec![1], values: vec![0.0] });
        let contents =
            renumbered(Contents::arrays(Format::KerasHdf5, arrays.into()), Some(3)).unwrap();
        assert_eq!(contents.arrays.into_iter().map(|a| a.name).collect::<Vec<_>>(), names);
    }

    #[test]
    fn every_parameter_has_an_array() {
        let options = zoo::Options { dialect: Some(Dialect::Keras), ..Default::default() };
        let graph = zoo::build("inception-v3", &options).unwrap().graph().unwrap();
        let mut names: Vec<String> = sources("inception-v3", &graph)
            .unwrap()
            .into_iter()
            .filter_map(|source| match source {
                Source::Array { name, .. } => Some(name),
                Source::Constant(_) | Source::Difference { .. } => None,
            })
            .collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 4 * COUNT + 2);
    }
}
