//! Networks written as ONNX and read again, and graphs that no network of ours is.

use std::collections::BTreeMap;

use inception_convert::from_graph::{GraphError, Options, from_graph};
use inception_convert::{Range, onnx};
use inception_formats::graph::{Graph, Node, Op, Padding, Pool};
use inception_formats::onnx as file;
use inception_model::{Model, Weights};
use inception_net::graph::{self, Role};
use inception_net::zoo::{self, Dialect};
use inception_net::{Net, Step};

/// A model with random weights and statistics.
fn model(net: Net) -> Model {
    let mut weights = Weights::initial(&net.graph().expect("a network"), 3);
    let mut state = 1_u32;
    for (parameter, values) in weights.values_mut() {
        for value in values {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let random = (state >> 8) as f32 / (1 << 24) as f32;
            match parameter.role {
                Role::Weight => {}
                Role::Scale | Role::RunningVariance => *value = 0.5 + random,
                Role::Bias | Role::Shift | Role::RunningMean => *value = random - 0.5,
            }
        }
    }
    let labels = (0..net.classes).map(|class| format!("class {class}")).collect();
    Model { net, weights, labels, provenance: BTreeMap::new() }
}

fn small(name: &str, dialect: Option<Dialect>, size: usize) -> Net {
    let options = zoo::Options { dialect, size: Some((size, size)), ..zoo::Options::default() };
    zoo::build(name, &options).expect("a network")
}

/// Without what an ONNX file leaves out.
fn bare(mut net: Net) -> Net {
    net.layers.retain(|step| step.auxiliary().is_none() && !matches!(step, Step::Dropout(_)));
    net
}

fn read(model: &Model) -> inception_convert::from_graph::Reading {
    let bytes = onnx::onnx(model).expect("expressible");
    let graph = file::read(&bytes).unwrap_or_else(|fault| panic!("{fault}")).graph;
    from_graph(graph, &Options::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// Out and back again every built-in network is itself, to the bit.
#[test]
fn built_in_networks_come_back_as_themselves() {
    let nets = [
        small("inception-v3-small", None, 28),
        small("googlenet", Some(Dialect::Paper), 64),
        small("googlenet", Some(Dialect::Torchvision), 64),
        small("googlenet", Some(Dialect::TfSlim), 64),
        small("bn-inception", Some(Dialect::TfSlim), 64),
    ];
    for net in nets {
        let model = model(net);
        let read = read(&model);
        assert_eq!(read.likeness.expect("recognised").network, model.net.name);
        let mut expected = bare(model.net);
        // What is imported is prepared as for the published figures.
        let dialect = expected.dialect.expect("a built-in network's");
        expected.preprocessing = dialect.published(expected.preprocessing);
        assert_eq!(read.net, expected, "{}", read.net.name);
        for tensor in read.weights.tensors() {
            let name = &tensor.parameter.name;
            assert!(
                model.weights.get(name) == Some(tensor) || same(&model.weights, tensor),
                "{name}"
            );
        }
    }
}

/// Equal but for the layer's number, which auxiliary heads before it change.
fn same(weights: &Weights, tensor: &inception_model::Tensor) -> bool {
    weights.get(&tensor.parameter.name).is_some_and(|own| {
        own.values == tensor.values && own.parameter.shape == tensor.parameter.shape
    })
}

/// A network of no zoo keeps its layers, windows and values.
#[test]
fn other_networks_keep_their_layers() {
    let mut net = bare(small("inception-v3-small", None, 30));
    // Half as wide is another network.
    net = Net { layers: zoo_layers(0.5, net.input.height), ..net };
    let model = model(net);
    let read = read(&model);
    // A module or two is as wide as the zoo's.
    assert!(read.likeness.is_none_or(|likeness| !likeness.complete));
    let (ours, theirs) = (bare(model.net).graph().unwrap(), read.net.graph().unwrap());
    let strip = |graph: &graph::Graph| -> Vec<_> {
        graph.layers.iter().map(|l| (l.shape, l.inputs.clone(), plain(&l.op))).collect()
    };
    assert_eq!(strip(&ours), strip(&theirs));
    for (a, b) in read.weights.tensors().iter().zip(model.weights.tensors()) {
        assert_eq!((&a.values, &a.parameter.shape), (&b.values, &b.parameter.shape));
    }
}

fn zoo_layers(width: f64, size: usize) -> inception_net::Series {
    let options = zoo::Options { width, size: Some((size, size)), ..zoo::Options::default() };
    bare(zoo::build("inception-v3-small", &options).expect("a network")).layers
}

/// An operation without its initial weights, which no file of weights has.
fn plain(op: &graph::Op) -> String {
    let text = format!("{op:?}");
    text.split("init: ").next().unwrap_or(&text).replace("decay: 0.9, ", "")
}

fn node(name: &str, op: Op, inputs: &[usize]) -> Node {
    Node { name: name.to_owned(), op, inputs: inputs.to_vec() }
}

fn input(channels: usize) -> Node {
    node("x", Op::Input { shape: [Some(channels), Some(4), Some(4)] }, &[])
}

fn conv(name: &str, from: usize, [outputs, inputs]: [usize; 2], value: f32) -> Node {
    let op = Op::Conv {
        filters: vec![value; outputs * inputs],
        shape: [outputs, inputs, 1, 1],
        bias: Some(vec![0.5; outputs]),
        stride: (1, 1),
        padding: Padding::Explicit([0; 4]),
        groups: 1,
    };
    node(name, op, &[from])
}

fn linear(from: usize, inputs: usize) -> Node {
    let (matrix, shape) = (vec![1.0; 2 * inputs], [2, inputs]);
    node("fc", Op::Linear { matrix, shape, bias: None }, &[from])
}

fn read_graph(nodes: Vec<Node>) -> Result<inception_convert::from_graph::Reading, GraphError> {
    let outputs = vec![nodes.len() - 1];
    from_graph(Graph { nodes, outputs }, &Options::default())
}

/// A bias before a batch norm, a second scaling after it, another ε beside it.
#[test]
fn what_cannot_stay_is_folded() {
    let norm = |epsilon: f32| Op::BatchNorm {
        scale: None,
        shift: vec![1.0; 2],
        mean: vec![0.25; 2],
        variance: vec![2.0; 2],
        epsilon,
    };
    let read = read_graph(vec![
        input(1),
        conv("a", 0, [2, 1], 1.0),
        node("a/norm", norm(0.5), &[1]),
        node("a/scale", Op::Affine { factor: vec![2.0, 3.0], offset: vec![10.0] }, &[2]),
        node("a/relu", Op::Relu, &[3]),
        conv("b", 4, [2, 2], 1.0),
        node("b/norm", norm(1.0), &[5]),
        node("pool", Op::GlobalAvgPool, &[6]),
        linear(7, 2),
        node("y", Op::Softmax, &[8]),
    ])
    .expect("a network");
    assert_eq!(read.net.defaults.batch_norm.expect("batch norm").epsilon, 0.5);
    let values = |name: &str| read.weights.get(name).expect(name).values.clone();
    assert_eq!(values("a.bn.running_mean"), [-0.25; 2]);
    assert_eq!(values("a.bn.weight"), [2.0, 3.0]);
    assert_eq!(values("a.bn.bias"), [12.0, 13.0]);
    assert_eq!(values("a.bn.running_var"), [2.0; 2]);
    assert_eq!(values("b.bn.running_var"), [2.5; 2]);
    assert_eq!(values("b.bn.weight"), [1.0; 2]);
    assert_eq!(values("fc.bias"), [0.0; 2]);
}

/// Channels joined in one go whose paths part only later are a module inside the module.
#[test]
fn branches_inside_branches() {
    let read = read_graph(vec![
        input(1),
        conv("m/a", 0, [2, 1], 1.0),
        conv("m/b", 0, [2, 1], 1.0),
        conv("m/b1", 2, [3, 2], 1.0),
        conv("m/b2", 2, [3, 2], 1.0),
        node("join", Op::Concat, &[1, 3, 4, 0]),
        node("pool", Op::GlobalAvgPool, &[5]),
        linear(6, 9),
    ])
    .expect("a network");
    let Some(Step::Branches(module)) = read.net.layers.first() else { panic!("a module") };
    assert_eq!(module.name, "m");
    let names: Vec<Vec<&str>> =
        module.branches.iter().map(|b| b.iter().map(Step::name).collect()).collect();
    assert_eq!(names, [vec!["a"], vec!["b", "join"], vec![]]);
}

/// What a graph does to its input first becomes preprocessing.
#[test]
fn scaling_of_the_input_becomes_preprocessing() {
    let nodes = vec![
        input(3),
        node("minus", Op::Affine { factor: vec![1.0], offset: vec![-128.0] }, &[0]),
        node("by", Op::Affine { factor: vec![1.0 / 128.0], offset: vec![0.0] }, &[1]),
        conv("a", 2, [2, 3], 1.0),
        node("pool", Op::GlobalAvgPool, &[3]),
        linear(4, 2),
    ];
    let options = Options { range: Some(Range::Bytes), ..Options::default() };
    let read = from_graph(Graph { nodes, outputs: vec![5] }, &options).expect("a network");
    let scale = &read.net.preprocessing;
    for value in scale.mean.iter().chain(&scale.std) {
        assert!((value - 128.0 / 255.0).abs() < 1e-6, "{scale:?}");
    }
}

#[test]
fn what_is_no_network_is_an_error() {
    let refused = |nodes: Vec<Node>, reason: &str| {
        let error = read_graph(nodes).expect_err(reason).to_string();
        assert!(error.contains(reason), "{error}");
    };
    let relu = |from: usize| node("relu", Op::Relu, &[from]);
    let join = |inputs: &[usize]| node("join", Op::Concat, inputs);
    refused(vec![input(1)], "no output");
    refused(vec![input(1), node("a", Op::Relu, &[1])], "cycle");
    refused(vec![input(1), input(1), join(&[0, 1])], "second input");
    refused(vec![input(1), relu(0), linear(1, 16)], "follows no convolution");
    refused(vec![input(1), node("s", Op::Softmax, &[0]), linear(1, 16)], "softmax");
    refused(vec![input(1), conv("a", 0, [2, 1], 1.0), relu(1)], "--classes");
    refused(vec![input(1), linear(0, 15)], "the network wants [2, 16]");
    let window =
        Pool { kernel: (3, 3), stride: (1, 1), padding: Padding::Explicit([0; 4]), ceil: false };
    refused(vec![input(1), node("p", Op::MaxPool(window), &[0]), linear(1, 5)], "[2, 4]");
    // Both branches lead through `b`, but so does neither alone.
    let crossed = vec![
        input(1),
        conv("a", 0, [2, 1], 1.0),
        conv("b", 0, [2, 1], 1.0),
        join(&[1, 2]),
        conv("c", 3, [2, 4], 1.0),
        join(&[4, 2]),
        linear(5, 64),
    ];
    refused(crossed, "no branches of one module");
    let mut open = vec![input(1), linear(0, 16)];
    open[0].op = Op::Input { shape: [Some(1), None, None] };
    refused(open, "--size");
    let mut short = conv("a", 0, [2, 1], 1.0);
    if let Op::Conv { filters, .. } = &mut short.op {
        filters.pop();
    }
    refused(vec![input(1), short, linear(1, 32)], "sizes");
}

/// A graph without a classifier gets a new one where its classes are given.
#[test]
fn a_new_classifier() {
    let options = Options { new_classes: Some(7), ..Options::default() };
    let mut nodes = vec![input(1), conv("a", 0, [2, 1], 1.0)];
    nodes.push(node("relu", Op::Relu, &[1]));
    let read = from_graph(Graph { nodes, outputs: vec![2] }, &options).expect("a network");
    assert_eq!(read.net.classes, 7);
    assert_eq!(read.weights.get("fc.weight").expect("new").parameter.shape, [7, 2]);
}
