//! Every gradient of the `f64` reference against central differences: for every kind of layer in
//! every configuration, and through each of the papers' modules and heads.
//!
//! ReLU and max pooling have kinks, and at a kink a difference quotient means nothing. So each
//! probe notes which values are positive and which position wins each window on both ends of its
//! interval; where the ends differ the probe is left out. How many may be is part of the test.

#[path = "common/formula.rs"]
mod formula;

use inception_engine::reference::{Mode, Pass, Reference};
use inception_kernels::reference::Tensor;
use inception_net::graph::{Graph, Op, PoolWindows, Shape};
use inception_net::{Net, graph::LayerId};

const PICTURES: usize = 3;
const CLASSES: usize = 4;
const SMOOTHING: f64 = 0.1;
const EPSILON: f64 = 1e-6;
/// Probes of each tensor.
const PROBES: usize = 4;
/// Largest difference allowed, by the largest gradient of the same tensor. Differences of width
/// 2e-6 of a loss near 1 carry 1e-10 of rounding, gradients here are about 1e-3 and more.
const TOLERANCE: f64 = 1e-5;
const ROUNDING: f64 = 2e-9;

/// Batch norm with γ.
const NORM: &str = "batch_norm = { epsilon = 0.001, decay = 0.9, scale = true }";
/// Batch norm without.
const SLIM: &str = "batch_norm = { epsilon = 0.001, decay = 0.9, scale = false }";
/// Biases instead.
const BIAS: &str = "";

/// A network with this input and these defaults and layers; a classifier is added.
fn net(input: (usize, usize, usize), defaults: &str, layers: &str) -> Graph {
    let (channels, height, width) = input;
    let (mean, std) = (vec![0; channels], vec![1; channels]);
    let text = format!(
        r#"
        name = "probe"
        classes = {CLASSES}
        input = {{ channels = {channels}, height = {height}, width = {width} }}
        defaults = {{ init = "he", {defaults} }}
        preprocessing = {{ resize = "none", order = "rgb", mean = {mean:?}, std = {std:?} }}
        layer = [
            {layers}
            {{ type = "classifier", name = "fc" }},
        ]
        "#
    );
    Net::from_toml(&text).expect("a network").graph().expect("a graph")
}

/// The loss as a function of everything it depends on.
struct Loss<'a> {
    graph: &'a Graph,
    reference: Reference<'a>,
    pictures: Tensor,
    mode: Mode<'a>,
    labels: Vec<usize>,
}

impl<'a> Loss<'a> {
    fn new(graph: &'a Graph, mode: Mode<'a>) -> Self {
        let Shape { channels, height, width } = graph.layers[0].shape;
        let pictures = formula::pictures(PICTURES, channels, height, width);
        Self {
            graph,
            reference: Reference::new(graph, &formula::weights(graph)),
            pictures: Tensor {
                shape: [PICTURES, channels, height, width],
                data: pictures.into_iter().map(f64::from).collect(),
            },
            mode,
            labels: formula::labels(PICTURES, CLASSES),
        }
    }

    fn pass(&self) -> Pass<'a> {
        self.reference.forward(&self.pictures, self.mode)
    }

    fn of(&self, pass: &Pass) -> (f64, Vec<Tensor>) {
        pass.loss(self.graph, &self.labels, SMOOTHING)
    }

    /// The value that a probe moves: of a parameter, or of the pictures after the last one.
    fn value(&mut self, tensor: usize, index: usize) -> &mut f64 {
        match self.reference.values_mut().len() {
            parameters if tensor < parameters => &mut self.reference.values_mut()[tensor][index],
            _ => &mut self.pictures.data[index],
        }
    }

    /// Difference quotient, or nothing where a kink lies in between.
    fn slope(&mut self, tensor: usize, index: usize) -> Option<f64> {
        let middle = *self.value(tensor, index);
        let mut end = |value: f64| {
            *self.value(tensor, index) = value;
            let pass = self.pass();
            (self.of(&pass).0, sides(self.graph, &pass))
        };
        let (above, sides_above) = end(middle + EPSILON);
        let (below, sides_below) = end(middle - EPSILON);
        *self.value(tensor, index) = middle;
        (sides_above == sides_below).then_some((above - below) / (2.0 * EPSILON))
    }
}

/// On which side of every kink a pass fell.
fn sides(graph: &Graph, pass: &Pass) -> Vec<usize> {
    let mut sides = Vec::new();
    for (layer, output) in graph.layers.iter().zip(&pass.outputs) {
        match &layer.op {
            Op::Conv(_) | Op::Linear(_) => {
                sides.extend(output.data.iter().map(|&value| usize::from(value > 0.0)));
            }
            Op::MaxPool(windows) => winners(&pass.outputs[layer.inputs[0]], windows, &mut sides),
            _ => {}
        }
    }
    sides
}

fn winners(x: &Tensor, windows: &PoolWindows, winners: &mut Vec<usize>) {
    let [pictures, channels, _, width] = x.shape;
    for plane in 0..pictures * channels {
        for (rows, columns) in
            windows.rows.iter().flat_map(|r| windows.columns.iter().map(move |c| (r, c)))
        {
            let positions = (rows.start..rows.end)
                .flat_map(|y| (columns.start..columns.end).map(move |x| y * width + x));
            let plane = &x.data[plane * x.data.len() / (pictures * channels)..];
            // Not `max_by`, which takes the last of equal values.
            let first = rows.start * width + columns.start;
            winners.push(positions.fold(first, |w, p| if plane[p] > plane[w] { p } else { w }));
        }
    }
}

/// Checks some values of every tensor's gradient in both modes.
fn check(name: &str, graph: &Graph) {
    let keep =
        |layer: LayerId, at: [usize; 4]| formula::bits(&format!("{layer} {at:?}"), 0) % 10 < 7;
    check_mode(&format!("{name}, inference"), graph, Mode::INFERENCE);
    let training = Mode { keep: Some(&keep), ..Mode::TRAINING };
    check_mode(&format!("{name}, training"), graph, training);
}

fn check_mode(name: &str, graph: &Graph, mode: Mode) {
    let mut loss = Loss::new(graph, mode);
    let pass = loss.pass();
    let (_, logit_gradients) = loss.of(&pass);
    let gradients = loss.reference.backward(&pass, &logit_gradients);
    let mut tensors = gradients.parameters;
    tensors.push(gradients.outputs[0].data.clone());
    let names: Vec<String> = graph.parameters().into_iter().map(|p| p.name).collect();

    let (mut probes, mut left_out) = (0, 0);
    for (tensor, gradient) in tensors.iter().enumerate() {
        let tensor_name = names.get(tensor).map_or("pictures", String::as_str);
        let largest = gradient.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
        for probe in 0..PROBES.min(gradient.len()) {
            let index = formula::bits(tensor_name, probe) as usize % gradient.len();
            probes += 1;
            let Some(slope) = loss.slope(tensor, index) else {
                left_out += 1;
                continue;
            };
            let difference = (slope - gradient[index]).abs();
            assert!(
                difference <= TOLERANCE * largest + ROUNDING,
                "{name}: {tensor_name}[{index}] has slope {slope:e}, gradient {:e}; the largest \
                 is {largest:e}",
                gradient[index]
            );
        }
    }
    assert!(probes > 0 && left_out * 20 <= probes, "{name}: {left_out} of {probes} at kinks");
}

#[test]
fn convolutions() {
    for (defaults, layers) in [
        (NORM, r#"{ type = "conv", name = "a", kernel = 3, channels = 5 },"#),
        (SLIM, r#"{ type = "conv", name = "a", kernel = 3, channels = 5 },"#),
        (BIAS, r#"{ type = "conv", name = "a", kernel = 3, channels = 5 },"#),
        (NORM, r#"{ type = "conv", name = "a", kernel = 2, channels = 5, relu = false },"#),
        (BIAS, r#"{ type = "conv", name = "a", kernel = 2, channels = 5, relu = false },"#),
        (BIAS, r#"{ type = "conv", name = "a", kernel = 1, channels = 5, bias = false },"#),
        (NORM, r#"{ type = "conv", name = "a", kernel = [1, 5], stride = [2, 1], channels = 5 },"#),
        (
            NORM,
            r#"{ type = "conv", name = "a", kernel = [3, 2], stride = [1, 3], channels = 5,
                 padding = [0, 2, 1, 3] },
               { type = "conv", name = "b", kernel = 3, stride = 2, channels = 3,
                 padding = "valid" },"#,
        ),
    ] {
        check(layers, &net((2, 7, 6), defaults, layers));
    }
}

#[test]
fn separable_convolutions() {
    for defaults in [NORM, BIAS] {
        let layers = r#"
            { type = "separable-conv", name = "a", kernel = 5, stride = 2, multiplier = 3,
              channels = 4 },"#;
        check(layers, &net((2, 9, 8), defaults, layers));
    }
}

#[test]
fn pools() {
    for pool in [
        r#"type = "max-pool", kernel = 3"#,
        r#"type = "max-pool", kernel = 3, stride = 2, padding = "valid""#,
        r#"type = "max-pool", kernel = 3, stride = 2, padding = "valid", ceil = true"#,
        r#"type = "max-pool", kernel = [2, 3], stride = [3, 1], padding = [1, 0, 0, 1]"#,
        r#"type = "avg-pool", kernel = 3, count_padding = true"#,
        r#"type = "avg-pool", kernel = 3, count_padding = false"#,
        r#"type = "avg-pool", kernel = 5, stride = 3, padding = "valid""#,
        r#"type = "avg-pool", kernel = [3, 2], stride = 2, padding = 1, ceil = true"#,
        r#"type = "global-avg-pool""#,
        r#"type = "adaptive-avg-pool", size = [4, 3]"#,
    ] {
        let layers = format!(
            r#"{{ type = "conv", name = "a", kernel = 3, channels = 4 }},
               {{ {pool}, name = "pool" }},
               {{ type = "conv", name = "b", kernel = 1, channels = 5 }},"#
        );
        check(pool, &net((2, 7, 6), NORM, &layers));
    }
}

#[test]
fn local_response_normalisation() {
    // A large factor, so that the normalisation bends the function.
    for (size, beta) in [(5, 0.75), (3, 0.5), (1, 1.0)] {
        let layers = format!(
            r#"{{ type = "conv", name = "a", kernel = 3, channels = 7 }},
               {{ type = "local-response-norm", name = "lrn", size = {size}, alpha = 2.0,
                  beta = {beta}, k = 1.5 }},"#
        );
        check(&layers, &net((2, 5, 6), BIAS, &layers));
    }
}

#[test]
fn linear_layers_and_dropout() {
    for linear in ["batch_norm = true", "relu = false", "bias = false", "features = 7"] {
        let features = if linear.contains("features") { "" } else { "features = 6," };
        let layers = format!(
            r#"{{ type = "conv", name = "a", kernel = 3, channels = 3 }},
               {{ type = "dropout", name = "drop_a", rate = 0.3 }},
               {{ type = "linear", name = "b", {features} {linear} }},
               {{ type = "dropout", name = "drop_b", rate = 0.3 }},"#
        );
        check(linear, &net((2, 4, 5), NORM, &layers));
    }
}

#[test]
fn nested_branches_that_share_and_pass_through() {
    let layers = r#"
        { type = "conv", name = "stem", kernel = 3, channels = 3 },
        { type = "branches", name = "outer", branches = [
            [],
            [{ type = "conv", name = "a", kernel = 1, channels = 2 },
             { type = "branches", name = "inner", branches = [
                [{ type = "conv", name = "b", kernel = [1, 3], channels = 2 }],
                [{ type = "max-pool", name = "c", kernel = 3 }],
                [],
             ] }],
        ] },"#;
    check("branches", &net((2, 5, 6), NORM, layers));
}

#[test]
fn modules_of_googlenet() {
    let layers = r#"
        { type = "v1-naive", name = "naive", 1x1 = 2, 3x3 = 3, 5x5 = 2 },
        { type = "v1", name = "v1", 1x1 = 2, 3x3 = [2, 3], 5x5 = [2, 3], pool_proj = 2 },
        { type = "v1", name = "slip", 1x1 = 2, 3x3 = [2, 3], 5x5 = [2, 3], pool_proj = 2,
          kernel5x5 = 3 },"#;
    for defaults in [BIAS, NORM] {
        check("v1", &net((3, 7, 6), defaults, layers));
    }
}

#[test]
fn modules_of_bn_inception() {
    let layers = r#"
        { type = "bn", name = "average", 1x1 = 2, 3x3 = [2, 3], 3x3dbl = [2, 3], pool_proj = 2 },
        { type = "bn-reduction", name = "reduction", 3x3 = [2, 3], 3x3dbl = [2, 3] },
        { type = "bn", name = "max", 1x1 = 2, 3x3 = [2, 3], 3x3dbl = [2, 3], pool_proj = 2,
          pooling = "max" },"#;
    for defaults in [NORM, SLIM] {
        check("bn", &net((3, 7, 6), defaults, layers));
    }
}

#[test]
fn modules_a() {
    for second in ["3x3", "5x5"] {
        for count_padding in [true, false] {
            let layers = format!(
                r#"{{ type = "A", name = "a", 1x1 = 2, {second} = [2, 3], 3x3dbl = [2, 3],
                      pool = 2 }},"#
            );
            let defaults = format!("{NORM}, count_padding = {count_padding}");
            check(second, &net((3, 6, 5), &defaults, &layers));
        }
    }
}

#[test]
fn modules_b() {
    for n in [3, 7] {
        let layers = format!(
            r#"{{ type = "B", name = "b", 1x1 = 2, nxn = [2, 3], nxndbl = [2, 3], pool = 2,
                  n = {n} }},"#
        );
        check("B", &net((3, 6, 7), NORM, &layers));
    }
}

#[test]
fn modules_c() {
    for pooling in ["average", "max"] {
        let layers = format!(
            r#"{{ type = "C", name = "c", 1x1 = 2, 3x3 = [2, 3], 3x3dbl = [2, 3], pool = 2,
                  pooling = "{pooling}" }},"#
        );
        check(pooling, &net((3, 5, 6), NORM, &layers));
    }
}

#[test]
fn grid_size_reductions_d_and_e() {
    let d = r#"{ type = "D", name = "d", 3x3 = 3, 3x3dbl = [2, 3] },"#;
    let e = r#"{ type = "E", name = "e", 3x3 = [2, 3], nxn3x3 = [2, 3] },"#;
    check("D", &net((3, 8, 7), NORM, d));
    check("E", &net((3, 8, 7), NORM, e));
}

#[test]
fn auxiliary_heads() {
    for head in [
        r#"type = "auxiliary-v1", conv = 3, features = 5, dropout = 0.3"#,
        r#"type = "auxiliary-v1", conv = 3, features = 5, dropout = 0.3, adaptive = true"#,
        r#"type = "auxiliary-v3", conv = 3, features = 5"#,
        r#"type = "auxiliary-v3", conv = 3, features = 5, batch_norm = false"#,
        r#"type = "auxiliary", layers = [
            { type = "global-avg-pool", name = "pool" },
            { type = "classifier", name = "fc" },
        ]"#,
    ] {
        let layers = format!(
            r#"{{ type = "conv", name = "a", kernel = 3, channels = 4 }},
               {{ {head}, name = "head", loss_weight = 0.4 }},
               {{ type = "conv", name = "b", kernel = 3, stride = 2, channels = 4 }},
               {{ type = "global-avg-pool", name = "pool" }},"#
        );
        let graph = net((2, 9, 8), NORM, &layers);
        assert_eq!(graph.heads.len(), 2);
        check(head, &graph);
    }
}

#[test]
fn a_kink_side_is_taken_from_the_outputs_beside() {
    let layers = r#"{ type = "conv", name = "a", kernel = 3, channels = 4 },"#;
    let graph = net((2, 5, 5), BIAS, layers);
    let loss = Loss::new(&graph, Mode::INFERENCE);
    let pass = loss.pass();
    let (_, logit_gradients) = loss.of(&pass);
    let closed = |id: LayerId| Tensor::zeros(pass.outputs[id].shape);
    let gradients = loss.reference.backward_beside(&pass, &logit_gradients, &closed);
    assert!(gradients.outputs[0].data.iter().all(|&g| g == 0.0), "every ReLU was closed");
    let own = loss.reference.backward(&pass, &logit_gradients);
    assert!(own.outputs[0].data.iter().any(|&g| g != 0.0));
}

#[test]
fn running_statistics_move_by_one_minus_the_decay() {
    let layers = r#"{ type = "conv", name = "a", kernel = 1, channels = 1 },"#;
    let graph = net((1, 1, 2), NORM, layers);
    let mut loss = Loss::new(&graph, Mode::TRAINING);
    let names: Vec<String> = graph.parameters().into_iter().map(|p| p.name).collect();
    let place = |name: &str| names.iter().position(|n| n == name).expect(name);
    let (mean, variance) = (place("a.bn.running_mean"), place("a.bn.running_var"));
    loss.reference.values_mut()[place("a.conv.weight")] = vec![2.0];
    loss.reference.values_mut()[mean] = vec![10.0];
    loss.reference.values_mut()[variance] = vec![20.0];
    loss.pictures.data = vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    let after = loss.reference.running_statistics(&loss.pass());
    // Values 0, 2, …, 10: mean 5, unbiased variance 14.
    let decay = f64::from(0.9f32);
    assert!((after[mean][0] - (decay * 10.0 + (1.0 - decay) * 5.0)).abs() < 1e-12);
    assert!((after[variance][0] - (decay * 20.0 + (1.0 - decay) * 14.0)).abs() < 1e-12);
}
