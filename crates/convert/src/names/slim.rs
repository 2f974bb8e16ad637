//! TF-slim's scopes: its `nets/inception_v1.py`, `inception_v2.py` (BN-Inception) and
//! `inception_v3.py`. Their irregular names are part of the published checkpoints.

use inception_net::graph::{Graph, Op, Parameter, Role};
use inception_net::zoo::Dialect;

use super::{Arrays, Found, Library, Source};
use crate::layout::Layout;

pub(super) const SLIM: Library =
    Library { name: "tf-slim", recognise, sources, ignores, adapt: |_| {} };

/// Where a network's variables lie: its name in the zoo, its scope, the scope of its classifier.
struct Scope {
    network: &'static str,
    scope: &'static str,
    logits: &'static str,
    layer: fn(&str) -> String,
}

const SCOPES: [Scope; 3] = [
    Scope { network: "googlenet", scope: "InceptionV1", logits: "Conv2d_0c_1x1", layer: v1 },
    Scope { network: "bn-inception", scope: "InceptionV2", logits: "Conv2d_1c_1x1", layer: v2 },
    Scope { network: "inception-v3", scope: "InceptionV3", logits: "Conv2d_1c_1x1", layer: v3 },
];

fn recognise(arrays: &Arrays) -> Option<Found> {
    SCOPES.iter().find_map(|scope| {
        let classifier = format!("{}/Logits/{}/weights", scope.scope, scope.logits);
        Some(Found {
            network: scope.network,
            dialect: Dialect::TfSlim,
            classes: arrays.axis(&classifier, 3)?,
            auxiliary: arrays.any_under(&format!("{}/AuxLogits/", scope.scope)),
            preprocessing: None,
        })
    })
}

fn sources(network: &str, graph: &Graph) -> Option<Vec<Source>> {
    let scope = SCOPES.iter().find(|scope| scope.network == network)?;
    Some(graph.parameters().iter().map(|parameter| source(scope, graph, parameter)).collect())
}

fn source(scope: &Scope, graph: &Graph, parameter: &Parameter) -> Source {
    let layer = &graph.layers[parameter.layer];
    let depthwise = matches!(layer.op, Op::Depthwise { .. });
    let separable = |place: usize| matches!(graph.layers[place].op, Op::Depthwise { .. });
    let name = layer.name.strip_suffix(".depthwise").filter(|_| depthwise).unwrap_or(&layer.name);
    let variable = match parameter.role {
        Role::Weight if depthwise => "depthwise_weights",
        Role::Weight if layer.inputs.iter().any(|&place| separable(place)) => "pointwise_weights",
        Role::Weight => "weights",
        Role::Bias => "biases",
        Role::Scale => "BatchNorm/gamma",
        Role::Shift => "BatchNorm/beta",
        Role::RunningMean => "BatchNorm/moving_mean",
        Role::RunningVariance => "BatchNorm/moving_variance",
    };
    let layer = match name {
        "fc" => format!("Logits/{}", scope.logits),
        other => (scope.layer)(other),
    };
    Source::Array {
        name: format!("{}/{layer}/{variable}", scope.scope),
        layout: if depthwise { Layout::Depthwise } else { Layout::HeightWidthInOut },
    }
}

/// GoogLeNet's layers.
fn v1(layer: &str) -> String {
    let (module, layer) = layer.split_once('.').unwrap_or((layer, ""));
    let scope = match module {
        "conv1" => return "Conv2d_1a_7x7".to_owned(),
        "conv2_reduce" => return "Conv2d_2b_1x1".to_owned(),
        "conv2" => return "Conv2d_2c_3x3".to_owned(),
        // Their letters begin at b: a is the pool before them.
        "inception_3a" => "Mixed_3b",
        "inception_3b" => "Mixed_3c",
        "inception_4a" => "Mixed_4b",
        "inception_4b" => "Mixed_4c",
        "inception_4c" => "Mixed_4d",
        "inception_4d" => "Mixed_4e",
        "inception_4e" => "Mixed_4f",
        "inception_5a" => "Mixed_5b",
        "inception_5b" => "Mixed_5c",
        other => other,
    };
    let branch = match (scope, layer) {
        ("Mixed_5b", "5x5") => "Branch_2/Conv2d_0a_3x3",
        (_, "1x1") => "Branch_0/Conv2d_0a_1x1",
        (_, "3x3_reduce") => "Branch_1/Conv2d_0a_1x1",
        (_, "3x3") => "Branch_1/Conv2d_0b_3x3",
        (_, "5x5_reduce") => "Branch_2/Conv2d_0a_1x1",
        (_, "5x5") => "Branch_2/Conv2d_0b_3x3",
        (_, "pool_proj") => "Branch_3/Conv2d_0b_1x1",
        (_, other) => other,
    };
    format!("{scope}/{branch}")
}

/// BN-Inception's layers.
fn v2(layer: &str) -> String {
    let (module, layer) = layer.split_once('.').unwrap_or((layer, ""));
    let (scope, reduction) = match module {
        "conv1" => return "Conv2d_1a_7x7".to_owned(),
        "conv2_reduce" => return "Conv2d_2b_1x1".to_owned(),
        "conv2" => return "Conv2d_2c_3x3".to_owned(),
        // The modules with stride 2 open a grid's letters.
        "inception_3a" => ("Mixed_3b", false),
        "inception_3b" => ("Mixed_3c", false),
        "inception_3c" => ("Mixed_4a", true),
        "inception_4a" => ("Mixed_4b", false),
        "inception_4b" => ("Mixed_4c", false),
        "inception_4c" => ("Mixed_4d", false),
        "inception_4d" => ("Mixed_4e", false),
        "inception_4e" => ("Mixed_5a", true),
        "inception_5a" => ("Mixed_5b", false),
        "inception_5b" => ("Mixed_5c", false),
        other => (other, false),
    };
    let branch = match (reduction, layer) {
        (true, "3x3_reduce") => "Branch_0/Conv2d_0a_1x1",
        (true, "3x3") => "Branch_0/Conv2d_1a_3x3",
        (true, "double_3x3_reduce") => "Branch_1/Conv2d_0a_1x1",
        (true, "double_3x3_1") => "Branch_1/Conv2d_0b_3x3",
        (true, "double_3x3_2") => "Branch_1/Conv2d_1a_3x3",
        (_, "1x1") => "Branch_0/Conv2d_0a_1x1",
        (_, "3x3_reduce") => "Branch_1/Conv2d_0a_1x1",
        (_, "3x3") => "Branch_1/Conv2d_0b_3x3",
        (_, "double_3x3_reduce") => "Branch_2/Conv2d_0a_1x1",
        (_, "double_3x3_1") => "Branch_2/Conv2d_0b_3x3",
        (_, "double_3x3_2") => "Branch_2/Conv2d_0c_3x3",
        (_, "pool_proj") => "Branch_3/Conv2d_0b_1x1",
        (_, other) => other,
    };
    format!("{scope}/{branch}")
}

/// Inception v3's layers: the stem's names are ours.
fn v3(layer: &str) -> String {
    let Some((module, layer)) = layer.split_once('.') else { return layer.to_owned() };
    let branch = match (module, layer) {
        ("AuxLogits", "conv0") => "Conv2d_1b_1x1",
        ("AuxLogits", "conv1") => "Conv2d_2a_5x5",
        ("AuxLogits", "fc") => "Conv2d_2b_1x1",

        ("Mixed_5c", "branch5x5_1") => "Branch_1/Conv2d_0b_1x1",
        ("Mixed_5c", "branch5x5_2") => "Branch_1/Conv_1_0c_5x5",
        (_, "branch5x5_1") => "Branch_1/Conv2d_0a_1x1",
        (_, "branch5x5_2") => "Branch_1/Conv2d_0b_5x5",

        // 3×3 with stride 2, whatever their scopes say.
        ("Mixed_6a", "branch3x3") => "Branch_0/Conv2d_1a_1x1",
        ("Mixed_6a", "branch3x3dbl_1") => "Branch_1/Conv2d_0a_1x1",
        ("Mixed_6a", "branch3x3dbl_2") => "Branch_1/Conv2d_0b_3x3",
        ("Mixed_6a", "branch3x3dbl_3") => "Branch_1/Conv2d_1a_1x1",

        ("Mixed_7a", "branch3x3_1") => "Branch_0/Conv2d_0a_1x1",
        ("Mixed_7a", "branch3x3_2") => "Branch_0/Conv2d_1a_3x3",
        (_, "branch7x7x3_1") => "Branch_1/Conv2d_0a_1x1",
        (_, "branch7x7x3_2") => "Branch_1/Conv2d_0b_1x7",
        (_, "branch7x7x3_3") => "Branch_1/Conv2d_0c_7x1",
        (_, "branch7x7x3_4") => "Branch_1/Conv2d_1a_3x3",

        (_, "branch7x7_1") => "Branch_1/Conv2d_0a_1x1",
        (_, "branch7x7_2") => "Branch_1/Conv2d_0b_1x7",
        (_, "branch7x7_3") => "Branch_1/Conv2d_0c_7x1",
        (_, "branch7x7dbl_1") => "Branch_2/Conv2d_0a_1x1",
        (_, "branch7x7dbl_2") => "Branch_2/Conv2d_0b_7x1",
        (_, "branch7x7dbl_3") => "Branch_2/Conv2d_0c_1x7",
        (_, "branch7x7dbl_4") => "Branch_2/Conv2d_0d_7x1",
        (_, "branch7x7dbl_5") => "Branch_2/Conv2d_0e_1x7",

        (_, "branch3x3_1") => "Branch_1/Conv2d_0a_1x1",
        (_, "branch3x3_2a") => "Branch_1/Conv2d_0b_1x3",
        ("Mixed_7b", "branch3x3_2b") => "Branch_1/Conv2d_0b_3x1",
        (_, "branch3x3_2b") => "Branch_1/Conv2d_0c_3x1",
        (_, "branch3x3dbl_1") => "Branch_2/Conv2d_0a_1x1",
        (_, "branch3x3dbl_2") => "Branch_2/Conv2d_0b_3x3",
        (_, "branch3x3dbl_3a") => "Branch_2/Conv2d_0c_1x3",
        (_, "branch3x3dbl_3b") => "Branch_2/Conv2d_0d_3x1",
        (_, "branch3x3dbl_3") => "Branch_2/Conv2d_0c_3x3",

        (_, "branch1x1") => "Branch_0/Conv2d_0a_1x1",
        (_, "branch_pool") => "Branch_3/Conv2d_0b_1x1",
        (_, other) => other,
    };
    format!("{module}/{branch}")
}

/// What training keeps beside the network: moments of optimisers, running averages of the
/// weights, the averages' own corrections, counters.
fn ignores(name: &str) -> bool {
    const SLOTS: [&str; 9] = [
        "ExponentialMovingAverage",
        "Momentum",
        "RMSProp",
        "RMSProp_1",
        "Adam",
        "Adam_1",
        "Adagrad",
        "biased",
        "local_step",
    ];
    let last = name.rsplit('/').next().unwrap_or(name);
    let counter = |name: &str| matches!(name, "global_step" | "beta1_power" | "beta2_power");
    SLOTS.contains(&last) || counter(last)
}
