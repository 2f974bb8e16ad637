//! What is compared with what: each arm a network and a recipe.

use inception_net::Net;
use inception_train::{Recipe, Rule};

use super::nets::{self, PoolSide};
use crate::job::Optimizer;
use crate::teacher::USUAL;

/// What the paper says about an arm, held against the arm it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is more accurate.
    Better,
    /// It is less accurate.
    Worse,
    /// It is no more accurate, though it costs more.
    NoBetter,
}

/// One network and one way to train it.
#[derive(Clone, Debug)]
pub struct Arm {
    /// Its name on the command line and its folder's.
    pub name: &'static str,
    /// What it is, in a few words.
    pub what: &'static str,
    /// The arm it is compared with and what the paper claims.
    pub against: Option<(&'static str, Claim)>,
    /// What is trained.
    pub net: Net,
    /// How, with seed 0.
    pub recipe: Recipe,
    /// The arm whose model of the same seed it learns from.
    pub teacher: Option<&'static str>,
}

/// Smoothing of the ladder where the recipe has none: the paper's (1512.00567 §7).
const SMOOTHING: f64 = 0.1;

/// All arms: the ladder of 1512.00567's table 3, each with what the one before has, then those
/// that differ from `reference` in one thing, then teachers and students. The reference is `net`
/// trained by `recipe`; the ladder's methods are made of the recipe too; students are `small`.
pub fn all(net: &Net, small: &Net, recipe: &Recipe) -> Vec<Arm> {
    let mut arms = of_the_paper(net, recipe);
    arms.extend(distillation(net, small, recipe));
    arms
}

fn arm(
    name: &'static str,
    what: &'static str,
    against: Option<(&'static str, Claim)>,
    net: Net,
    recipe: &Recipe,
) -> Arm {
    let (net, recipe) = (nets::named(net, name), Recipe { seed: 0, ..recipe.clone() });
    Arm { name, what, against, net, recipe, teacher: None }
}

/// What Müller et al. 2019 (1906.02629 §4) find: a teacher trained with label smoothing teaches
/// worse.
fn distillation(net: &Net, small: &Net, recipe: &Recipe) -> Vec<Arm> {
    use Claim::{Better, Worse};
    let smoothed = Recipe { label_smoothing: smoothing(recipe), ..recipe.clone() };
    let plain = Recipe { label_smoothing: 0.0, ..recipe.clone() };
    let taught = Recipe { distillation: Some(USUAL), ..plain.clone() };
    let by = |teacher, arm| Arm { teacher: Some(teacher), ..arm };
    let student = || small.clone();
    vec![
        arm("teacher", "v3 in small, no smoothing", None, net.clone(), &plain),
        arm("smoothed", "the same with smoothing", None, net.clone(), &smoothed),
        arm("student", "half as wide, no teacher", None, student(), &plain),
        by(
            "teacher",
            arm("taught", "taught by `teacher`", Some(("student", Better)), student(), &taught),
        ),
        by(
            "smoothed",
            arm("taught-2", "taught by `smoothed`", Some(("taught", Worse)), student(), &taught),
        ),
    ]
}

fn smoothing(recipe: &Recipe) -> f64 {
    if recipe.label_smoothing > 0.0 { recipe.label_smoothing } else { SMOOTHING }
}

fn of_the_paper(net: &Net, recipe: &Recipe) -> Vec<Arm> {
    use Claim::{Better, NoBetter, Worse};
    let rmsprop = {
        let mut recipe = recipe.clone();
        Optimizer::Rmsprop.put_into(&mut recipe);
        Recipe { label_smoothing: smoothing(&recipe), ..recipe }
    };
    let plain = Recipe { label_smoothing: 0.0, ..rmsprop.clone() };
    let momentum = {
        let mut recipe = recipe.clone();
        Optimizer::Sgd.put_into(&mut recipe);
        if let Rule::Sgd { nesterov, .. } = &mut recipe.optimizer {
            *nesterov = false;
        }
        Recipe { label_smoothing: 0.0, ..recipe }
    };
    let factorised = nets::auxiliary(net.clone(), Some(false));
    let v2 = nets::unfactorised_stem(factorised.clone());
    let apart = |name, what, claim, net| arm(name, what, Some(("reference", claim)), net, recipe);
    let own = || net.clone();
    vec![
        arm("v2", "v2 in small, SGD with momentum", None, v2.clone(), &momentum),
        arm("rmsprop", "+ RMSProp", Some(("v2", Better)), v2.clone(), &plain),
        arm("smoothing", "+ label smoothing", Some(("rmsprop", Better)), v2, &rmsprop),
        arm(
            "factorised",
            "+ 5×5 stem as two 3×3",
            Some(("smoothing", Better)),
            factorised,
            &rmsprop,
        ),
        arm("v3", "+ BN-auxiliary: v3 in small", Some(("factorised", Better)), own(), &rmsprop),
        arm("reference", "v3 in small by the recipe", None, own(), recipe),
        apart("linear", "no ReLU between two 3×3", Worse, nets::linear_factors(own())),
        apart("5x5", "5×5 for two 3×3", NoBetter, nets::five_by_five(own())),
        apart("nxn", "n×n for 1×n and n×1", NoBetter, nets::square_kernels(own())),
        apart(
            "pool-before",
            "pool before convolutions",
            Worse,
            nets::pooling(own(), PoolSide::Before),
        ),
        apart(
            "pool-after",
            "pool after convolutions",
            NoBetter,
            nets::pooling(own(), PoolSide::After),
        ),
        apart("no-auxiliary", "no auxiliary head", Worse, nets::auxiliary(own(), None)),
    ]
}

/// How many of the arms are the ladder's.
pub const LADDER: usize = 5;

/// How many are the paper's, with which an ablation is about where it does not say.
pub const PAPER: usize = 12;

/// What the arms of a teacher and its students are asked for by together.
pub const DISTILLATION: &str = "distillation";

/// Names of all arms.
pub const NAMES: [&str; 17] = [
    "v2",
    "rmsprop",
    "smoothing",
    "factorised",
    "v3",
    "reference",
    "linear",
    "5x5",
    "nxn",
    "pool-before",
    "pool-after",
    "no-auxiliary",
    "teacher",
    "smoothed",
    "student",
    "taught",
    "taught-2",
];

#[cfg(test)]
mod tests {
    use inception_train::Preset;

    use super::*;
    use inception_net::advise::Rewrite;
    use inception_net::zoo::{self, Options};
    use inception_train::Recipe;

    fn arms(width: f64, side: usize) -> Vec<Arm> {
        let size = Some((side, side));
        let options = Options { width, size, ..Options::default() };
        let half = Options { width: width / 2.0, ..options.clone() };
        let net = |options| zoo::build("inception-v3-small", options).unwrap();
        all(&net(&options), &net(&half), &Preset::named("embedded").unwrap().recipe())
    }

    fn cost(net: &Net) -> usize {
        net.graph().unwrap().summary().multiply_adds
    }

    #[test]
    fn each_arm_is_a_network_and_can_be_written_as_one() {
        for (width, side) in [(1.0, 28), (0.5, 64), (2.0, 16)] {
            let arms = arms(width, side);
            let names: Vec<_> = arms.iter().map(|arm| arm.name).collect();
            assert_eq!(names, NAMES);
            for arm in &arms {
                assert_eq!(Net::from_toml(&arm.net.to_toml()).unwrap(), arm.net, "{}", arm.name);
                arm.recipe.check().unwrap();
                let earlier = arm.against.map(|(other, _)| names.iter().position(|n| *n == other));
                assert!(earlier.is_none_or(|place| place.is_some()), "{}", arm.name);
            }
        }
    }

    #[test]
    fn arms_differ_in_what_they_are_about() {
        let arms = arms(1.0, 28);
        let arm = |name: &str| arms.iter().find(|arm| arm.name == name).unwrap();
        let work = |name: &str| cost(&arm(name).net);
        let small = zoo::build("inception-v3-small", &Options::default()).unwrap();
        assert_eq!((&arm("v3").net.layers, cost(&small)), (&small.layers, work("reference")));
        // What is said to cost more does.
        for dear in ["5x5", "nxn", "pool-after"] {
            assert!(work(dear) > work("reference"), "{dear}");
        }
        assert!(work("pool-before") < work("reference"));
        assert_eq!((work("linear"), work("no-auxiliary")), (work("reference"), work("reference")));
        assert_eq!(work("v2"), work("rmsprop"));
        assert_ne!(work("factorised"), work("smoothing"));
        // The two 3×3 that see what the 5×5 sees are those of the reference again.
        let five = &arm("5x5").net;
        let back = ["inception_a1", "inception_a2"].iter().fold(five.clone(), |net, module| {
            Rewrite::Threes { layer: format!("{module}.branch3x3dbl_3") }.apply(&net).unwrap()
        });
        assert_eq!(cost(&back), work("reference"));
        // All classify from the same representation.
        let last = |net: &Net| {
            let graph = net.graph().unwrap();
            graph.layers.iter().find(|layer| layer.name == "inception_c").unwrap().shape
        };
        assert!(arms[..PAPER].iter().all(|other| last(&other.net) == last(&small)));
    }

    #[test]
    fn students_differ_in_their_teachers_alone() {
        let arms = arms(1.0, 28);
        let arm = |name: &str| arms.iter().find(|arm| arm.name == name).unwrap();
        let (taught, second) = (arm("taught"), arm("taught-2"));
        assert_eq!((&taught.recipe, &taught.net.layers), (&second.recipe, &second.net.layers));
        assert_eq!((taught.teacher, second.teacher), (Some("teacher"), Some("smoothed")));
        let plain = Recipe { distillation: None, ..taught.recipe.clone() };
        assert_eq!((&plain, taught.recipe.label_smoothing), (&arm("student").recipe, 0.0));
        let smoothed = Recipe { label_smoothing: 0.1, ..arm("teacher").recipe.clone() };
        assert_eq!(smoothed, arm("smoothed").recipe);
        assert!(cost(&taught.net) < cost(&arm("teacher").net));
    }

    #[test]
    fn the_ladder_changes_one_thing_at_a_time() {
        let arms = arms(1.0, 28);
        let recipe = |i: usize| &arms[i].recipe;
        assert!(matches!(recipe(0).optimizer, Rule::Sgd { nesterov: false, .. }));
        assert!(matches!(recipe(1).optimizer, Rule::RmsProp { .. }));
        assert_eq!((recipe(0).label_smoothing, recipe(1).label_smoothing), (0.0, 0.0));
        assert_eq!(*recipe(2), Recipe { label_smoothing: 0.1, ..recipe(1).clone() });
        assert_eq!((recipe(3), recipe(4)), (recipe(2), recipe(2)));
        assert_eq!(arms[0].net.layers, arms[2].net.layers);
        assert_eq!(PAPER - LADDER, 7);
    }
}
