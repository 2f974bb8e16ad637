//! Training of some layers only, from layers further up, and on next to no data.

#[path = "common/compare.rs"]
mod compare;
#[path = "common/formula.rs"]
mod formula;

use compare::{assert_close, cpu, output, pictures, small, without_dropout};
use inception_engine::reference::{Mode, Reference};
use inception_engine::{Inference, LayerMode, NormMode, Training};
use inception_kernels::reference::Tensor;
use inception_model::Weights;
use inception_net::graph::{Graph, LayerId, Op};

const FROZEN: LayerMode = LayerMode { trained: false, norm: NormMode::Frozen };
const TRAINED: LayerMode = LayerMode { trained: true, norm: NormMode::Batch };

/// Modes that freeze the layers that `frozen` says.
fn modes(graph: &Graph, frozen: impl Fn(usize, &str) -> bool) -> Vec<LayerMode> {
    let layers = graph.layers.iter().enumerate();
    layers.map(|(id, l)| if frozen(id, &l.name) { FROZEN } else { TRAINED }).collect()
}

/// One step: logits, gradients, weights afterwards, bytes of memory.
fn step(
    graph: &Graph,
    modes: &[LayerMode],
    values: &[f32],
) -> (Vec<Vec<f32>>, Vec<Vec<f32>>, Weights, usize) {
    let weights = formula::weights(graph);
    let mut training = Training::partial(graph, weights, cpu(2), modes, &[0]).unwrap();
    let logits = training.forward(values, 5).unwrap();
    training.backward(&logits).unwrap();
    let bytes = training.bytes_per_picture();
    (logits, training.gradients().to_vec(), training.weights().clone(), bytes)
}

#[test]
fn frozen_layers_have_no_gradient_and_the_others_the_same_bits() {
    for name in ["inception-v3", "googlenet", "bn-inception"] {
        let graph = small(name, 0.1).graph().unwrap();
        let (values, _) = pictures(&graph, 3);
        let half = graph.layers.len() / 2;
        let all = LayerMode { trained: true, norm: NormMode::Frozen };
        let whole = step(&graph, &vec![all; graph.layers.len()], &values);
        let lower = |id: usize, _: &str| id < half;
        let scattered = |id: usize, _: &str| !id.is_multiple_of(3);
        for (which, frozen) in
            [("lower", &lower as &dyn Fn(usize, &str) -> bool), ("scattered", &scattered)]
        {
            let mut modes = modes(&graph, frozen);
            modes.iter_mut().for_each(|mode| mode.norm = NormMode::Frozen);
            let (logits, gradients, weights, bytes) = step(&graph, &modes, &values);
            assert!(logits == whole.0, "{name}, {which}");
            assert!(weights == whole.2, "{name}, {which}");
            assert!(which != "lower" || bytes < whole.3 * 3 / 4, "{bytes} of {}", whole.3);
            for ((tensor, gradient), own) in weights.tensors().iter().zip(gradients).zip(&whole.1) {
                let parameter = &tensor.parameter;
                match modes[parameter.layer].trained {
                    true => assert!(gradient == *own, "{name}, {which}: {}", parameter.name),
                    false => assert!(gradient.is_empty(), "{name}, {which}: {}", parameter.name),
                }
            }
        }
    }
}

#[test]
fn each_layer_normalises_in_its_own_mode() {
    for name in ["inception-v3", "bn-inception"] {
        let graph = without_dropout(&small(name, 0.1));
        // Frozen and trained layers take turns, so that gradients pass through both.
        let frozen = |id: usize| id % 4 < 2;
        let modes = modes(&graph, |id, _| frozen(id));
        let ids: Vec<LayerId> = (0..graph.layers.len()).filter(|&id| frozen(id)).collect();
        compare(name, &graph, 4, &modes, Mode { frozen: &ids, ..Mode::TRAINING }, (1e-3, 5e-3));
    }
}

/// One step against the reference: logits, running statistics, gradients of what is trained.
fn compare(
    name: &str,
    graph: &Graph,
    count: usize,
    modes: &[LayerMode],
    mode: Mode,
    (forward, backward): (f64, f64),
) {
    let weights = formula::weights(graph);
    let (values, tensor) = pictures(graph, count);
    let labels = formula::labels(count, graph.layers[graph.main_logits()].shape.channels);
    let reference = Reference::new(graph, &weights);
    let pass = reference.forward(&tensor, mode);
    let (_, logit_gradients) = pass.loss(graph, &labels, 0.1);
    // Without a way back nothing is overwritten: these are the sides of the kinks.
    let all = vec![LayerMode { trained: true, norm: NormMode::Batch }; modes.len()];
    let all: Vec<_> =
        all.iter().zip(modes).map(|(a, m)| LayerMode { norm: m.norm, ..*a }).collect();
    let mut whole = Training::partial(graph, weights.clone(), cpu(2), &all, &[0]).unwrap();
    whole.forward(&values, 0).unwrap();
    let outputs: Vec<Tensor> =
        (0..graph.layers.len()).map(|id| output(&whole, id, &pass.outputs[id])).collect();

    let mut training = Training::partial(graph, weights.clone(), cpu(2), modes, &[0]).unwrap();
    let heads = training.forward(&values, 0).unwrap();
    for (found, expected) in heads.iter().zip(pass.logits(graph)) {
        assert_close(&format!("{name}: logits"), found, &expected.data, forward);
    }
    let running = reference.running_statistics(&pass);
    for ((tensor, before), moved) in
        training.weights().tensors().iter().zip(weights.tensors()).zip(&running)
    {
        match moved.is_empty() {
            true => assert_eq!(tensor, before, "{name}"),
            false => assert_close(&tensor.parameter.name, &tensor.values, moved, forward),
        }
    }
    let given = |gradient: &Tensor| gradient.data.iter().map(|&v| v as f32).collect();
    let given: Vec<Vec<f32>> = logit_gradients.iter().map(given).collect();
    training.backward(&given).unwrap();
    let outputs = |id: LayerId| outputs[id].clone();
    let expected = reference.backward_beside(&pass, &logit_gradients, &outputs);
    for (i, parameter) in graph.parameters().iter().enumerate() {
        let what = format!("{name}: gradient of {}", parameter.name);
        match modes[parameter.layer].trained {
            true => {
                assert_close(&what, &training.gradients()[i], &expected.parameters[i], backward)
            }
            false => assert!(training.gradients()[i].is_empty(), "{what}"),
        }
    }
}

#[test]
fn one_picture_of_the_smallest_size_trains_every_layer() {
    for name in ["inception-v3", "googlenet", "bn-inception"] {
        let mut net = small(name, 0.1);
        let side = net.smallest_input().unwrap();
        (net.input.height, net.input.width) = (side, side);
        let graph = without_dropout(&net);
        // Where a channel has a handful of values, batch norm magnifies rounding errors.
        compare(name, &graph, 1, &modes(&graph, |_, _| false), Mode::TRAINING, (2e-3, 2e-2));
        let frozen = vec![LayerMode { trained: true, norm: NormMode::Frozen }; graph.layers.len()];
        compare(name, &graph, 1, &frozen, Mode::INFERENCE, (1e-4, 5e-3));
    }
}

#[test]
fn a_single_value_is_normalised_by_the_running_statistics() {
    let text = r#"
        name = "one"
        classes = 2
        input = { channels = 2, height = 1, width = 1 }
        defaults = { batch_norm = { epsilon = 0.001, decay = 0.9, scale = true } }
        preprocessing = { resize = "none", order = "rgb", mean = [0, 0], std = [1, 1] }
        layer = [
            { type = "conv", name = "a", kernel = 1, channels = 3 },
            { type = "classifier", name = "fc" },
        ]"#;
    let graph = inception_net::Net::from_toml(text).unwrap().graph().unwrap();
    let all = vec![TRAINED; graph.layers.len()];
    compare("one value", &graph, 1, &all, Mode::TRAINING, (1e-6, 1e-5));
    let (_, gradients, weights, _) = step(&graph, &all, &[1.5, -0.5]);
    assert!(gradients.iter().flatten().any(|&g| g != 0.0));
    assert_eq!(weights, formula::weights(&graph));
}

/// The layers at the border of what is frozen: read by dropout or by trained layers.
fn border(graph: &Graph) -> Vec<LayerId> {
    let mut logits: Vec<LayerId> = graph.heads.iter().map(|head| head.logits).collect();
    for logits in &mut logits {
        *logits = graph.layers[*logits].inputs[0];
        while let Op::Dropout { .. } = graph.layers[*logits].op {
            *logits = graph.layers[*logits].inputs[0];
        }
    }
    logits.sort_unstable();
    logits
}

#[test]
fn layers_further_up_can_be_given_instead_of_pictures() {
    for name in ["inception-v3", "googlenet", "bn-inception"] {
        let graph = small(name, 0.1).graph().unwrap();
        let without = without_dropout(&small(name, 0.1));
        let weights = formula::weights(&graph);
        let (values, _) = pictures(&without, 3);
        let features = border(&without);
        let heads: Vec<LayerId> = without.heads.iter().map(|head| head.logits).collect();
        let head_only = modes(&without, |id, _| !heads.contains(&id));

        let all = NormMode::Frozen;
        let mut whole = Training::new(&without, weights.clone(), cpu(1), all).unwrap();
        let logits = whole.forward(&values, 0).unwrap();
        let outputs: Vec<Vec<f32>> = features.iter().map(|&id| whole.output(id)).collect();
        whole.backward(&logits).unwrap();
        let given: Vec<f32> = (0..3)
            .flat_map(|i| outputs.iter().map(move |o| &o[i * o.len() / 3..(i + 1) * o.len() / 3]))
            .flatten()
            .copied()
            .collect();

        let new = |modes| Training::partial(&without, weights.clone(), cpu(1), modes, &features);
        let mut training = new(&head_only).unwrap();
        assert!(training.bytes_per_picture() < whole.bytes_per_picture() / 10, "{name}");
        let found = training.forward(&given, 0).unwrap();
        for (found, expected) in found.iter().zip(&logits) {
            let expected: Vec<f64> = expected.iter().map(|&v| v.into()).collect();
            assert_close(name, found, &expected, 1e-6);
        }
        training.backward(&logits).unwrap();
        for (found, expected) in training.gradients().iter().zip(whole.gradients()) {
            if !found.is_empty() {
                let expected: Vec<f64> = expected.iter().map(|&v| v.into()).collect();
                assert_close(name, found, &expected, 1e-6);
            }
        }
        assert!(training.forward(&given[1..], 0).is_err());

        let main = [*heads.last().unwrap()];
        let mut top = Inference::begun_at(&graph, &weights, cpu(1), &features, &main).unwrap();
        let found = top.run(&given).unwrap();
        let expected: Vec<f64> = logits.last().unwrap().iter().map(|&v| v.into()).collect();
        assert_close(name, &found, &expected, 1e-6);
    }
}
