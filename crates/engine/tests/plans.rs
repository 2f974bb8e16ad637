//! The engine's plans against the `f64` reference: every network of the zoo in small, and networks
//! whose shape is awkward for the planner (branches read twice, empty branches, ragged widths).

#[path = "common/compare.rs"]
mod compare;
#[path = "common/formula.rs"]
mod formula;

use std::sync::Arc;

use compare::{assert_close, cpu, output, pictures, small, without_dropout};
use inception_engine::reference::{Mode, Reference};
use inception_engine::{Algorithms, Cpu, Inference, Isa, NormMode, Training};
use inception_kernels::reference::Tensor;
use inception_net::graph::Graph;
use inception_net::zoo;
use inception_net::{Net, graph::LayerId};

/// Largest difference allowed, by the largest magnitude in the same tensor.
const INFERENCE: f64 = 2e-5;
/// Batch norm over few values magnifies rounding errors from layer to layer, in narrow networks on
/// small pictures most of all; wrong arithmetic is wrong by far more.
const TRAINING: f64 = 1e-3;
const GRADIENTS: f64 = 5e-3;

fn zoo_in_small() -> impl Iterator<Item = (String, Graph)> {
    zoo::names().map(|name| (name.to_owned(), without_dropout(&small(name, 0.1))))
}

/// A network on 9×8 pictures of 3 channels, out of these layers.
fn custom(layers: &str) -> Graph {
    let text = format!(
        r#"
        name = "custom"
        classes = 5
        input = {{ channels = 3, height = 9, width = 8 }}
        defaults = {{ init = "he", batch_norm = {{ epsilon = 0.001, decay = 0.9, scale = true }} }}
        preprocessing = {{ resize = "none", order = "rgb", mean = [0, 0, 0], std = [1, 1, 1] }}
        layer = [ {layers} {{ type = "classifier", name = "fc" }}, ]
        "#
    );
    without_dropout(&Net::from_toml(&text).unwrap_or_else(|error| panic!("{error}")))
}

fn awkward() -> impl Iterator<Item = (String, Graph)> {
    [
        ("the picture itself as a branch", r#"
            { type = "branches", name = "m", branches = [
                [],
                [ { type = "conv", name = "a", kernel = 3, channels = 5, padding = "same" } ],
            ] },
            { type = "conv", name = "b", kernel = 3, channels = 19 },"#),
        ("a dense block: each module passes its input on", r#"
            { type = "conv", name = "stem", kernel = 3, channels = 18 },
            { type = "branches", name = "m1", branches = [
                [],
                [ { type = "conv", name = "a", kernel = 3, channels = 7, padding = "same" } ],
            ] },
            { type = "branches", name = "m2", branches = [
                [],
                [ { type = "conv", name = "b", kernel = [1, 3], channels = 20, padding = "same" } ],
                [ { type = "max-pool", name = "p", kernel = 3, stride = 1, padding = "same" } ],
            ] },
            { type = "avg-pool", name = "q", kernel = 2, stride = 2 },
            { type = "conv", name = "c", kernel = 2, stride = 2, channels = 33 },"#),
        ("another branch between two that read the same", r#"
            { type = "branches", name = "m", branches = [
                [ { type = "conv", name = "a", kernel = 1, channels = 10 } ],
                [ { type = "max-pool", name = "p", kernel = 3, stride = 1, padding = "same" } ],
                [ { type = "conv", name = "b", kernel = 1, channels = 18 } ],
                [ { type = "conv", name = "c", kernel = 1, channels = 3 } ],
            ] },"#),
        ("an average pool before two convolutions", r#"
            { type = "conv", name = "stem", kernel = 3, channels = 20 },
            { type = "avg-pool", name = "p", kernel = 3, stride = 1, padding = "same" },
            { type = "conv", name = "a", kernel = 1, channels = 10 },
            { type = "conv", name = "b", kernel = 1, channels = 6 },"#),
        ("ragged branches under channel-wise layers, nested", r#"
            { type = "branches", name = "m", branches = [
                [ { type = "conv", name = "a", kernel = 1, channels = 17 },
                  { type = "branches", name = "n", branches = [
                    [ { type = "conv", name = "b", kernel = [1, 3], channels = 3, padding = "same" } ],
                    [ { type = "conv", name = "c", kernel = [3, 1], channels = 21, padding = "same" } ],
                  ] } ],
                [ { type = "conv", name = "d", kernel = 5, channels = 9, padding = "same" } ],
            ] },
            { type = "local-response-norm", name = "lrn", size = 5, alpha = 0.5, beta = 0.75, k = 1.0 },
            { type = "max-pool", name = "p", kernel = 3, stride = 2, padding = "same" },
            { type = "dropout", name = "drop", rate = 0.5 },"#),
    ]
    .into_iter()
    .map(|(name, layers)| (name.to_owned(), custom(layers)))
}

/// A separable convolution of the picture is one convolution, unless somebody wants what is between, or
/// all is to be computed directly, or local response norm follows.
#[test]
fn separable_first_layers_are_composed() {
    const SEPARABLE: &str = r#"{ type = "separable-conv", name = "a", kernel = 5, stride = 2, multiplier = 3, channels = 21, padding = "same" },"#;
    let norm = r#"{ type = "local-response-norm", name = "n", size = 5, alpha = 0.5, beta = 0.75, k = 1.0 },"#;
    let normed = format!("{SEPARABLE} {norm}");
    let twice =
        r#"{ type = "conv", name = "b", kernel = 3, channels = 4 },"#.to_owned() + SEPARABLE;
    let (estimated, precise) = (&Algorithms::Estimated, &Algorithms::Precise);
    let cases = [
        (SEPARABLE, estimated, false, true),
        (SEPARABLE, estimated, true, false),
        (SEPARABLE, precise, false, false),
        (&normed, estimated, false, false),
        (&twice, estimated, false, false),
    ];
    for (layers, algorithms, between, composed) in cases {
        let graph = custom(layers);
        let weights = formula::weights(&graph);
        let (values, tensor) = pictures(&graph, 2);
        let pass = Reference::new(&graph, &weights).forward(&tensor, Mode::INFERENCE);
        let depthwise = graph.layers.iter().position(|layer| layer.name == "a.depthwise").unwrap();
        let mut outputs = vec![graph.main_logits()];
        outputs.extend(between.then_some(depthwise));
        let mut engine =
            Inference::with_algorithms(&graph, &weights, cpu(2), &outputs, algorithms).unwrap();
        let names: Vec<String> = engine.steps().iter().map(|step| step.layers.join(" ")).collect();
        assert_eq!(names.contains(&"a.depthwise + a".to_owned()), composed, "{layers} {names:?}");
        for (id, found) in outputs.iter().zip(engine.run_all(&values).unwrap()) {
            assert_close(&graph.layers[*id].name, &found, &pass.outputs[*id].data, INFERENCE);
        }
    }
}

#[test]
fn inference_computes_every_layer() {
    for (name, graph) in zoo_in_small().chain(awkward()) {
        let weights = formula::weights(&graph);
        let (values, tensor) = pictures(&graph, 2);
        let pass = Reference::new(&graph, &weights).forward(&tensor, Mode::INFERENCE);
        let all: Vec<LayerId> = (0..graph.layers.len()).collect();
        let mut engine = Inference::with_outputs(&graph, &weights, cpu(2), &all).unwrap();
        for (id, found) in engine.run_all(&values).unwrap().iter().enumerate() {
            let what = format!("{name}: {}", graph.layers[id].name);
            assert_close(&what, found, &pass.outputs[id].data, INFERENCE);
        }
        // Alone, the logits reuse memory that the others' outputs keep above.
        let logits = Inference::new(&graph, &weights, cpu(1)).unwrap().run(&values).unwrap();
        let expected = pass.logits(&graph).pop().unwrap();
        assert_close(&format!("{name}: logits alone"), &logits, &expected.data, INFERENCE);
    }
}

#[test]
fn training_computes_every_gradient() {
    for mode in [NormMode::Batch, NormMode::Frozen] {
        for (name, graph) in zoo_in_small().chain(awkward()) {
            // The f64 reference is slow; what differs between the two modes is batch norm alone.
            if mode == NormMode::Frozen && ["inception-v2", "inception-v3-paper"].contains(&&*name)
            {
                continue;
            }
            let weights = formula::weights(&graph);
            let (values, tensor) = pictures(&graph, 4);
            let labels = formula::labels(4, graph.layers[graph.heads[0].logits].shape.channels);
            let reference = Reference::new(&graph, &weights);
            let pass = reference.forward(&tensor, Mode { norm: mode, ..Mode::TRAINING });
            let (_, logit_gradients) = pass.loss(&graph, &labels, 0.1);

            let mut training = Training::new(&graph, weights.clone(), cpu(2), mode).unwrap();
            let heads = training.forward(&values, 0).unwrap();
            for ((head, found), expected) in graph.heads.iter().zip(&heads).zip(pass.logits(&graph))
            {
                assert_close(&format!("{name}: {}", head.name), found, &expected.data, TRAINING);
            }
            let running = reference.running_statistics(&pass);
            for (tensor, expected) in training.weights().tensors().iter().zip(&running) {
                if !expected.is_empty() && mode == NormMode::Batch {
                    assert_close(&tensor.parameter.name, &tensor.values, expected, TRAINING);
                }
            }
            if mode == NormMode::Frozen {
                assert_eq!(training.weights(), &weights, "{name}: frozen statistics stay");
            }

            let given = |gradient: &Tensor| gradient.data.iter().map(|&v| v as f32).collect();
            let given: Vec<Vec<f32>> = logit_gradients.iter().map(given).collect();
            let outputs: Vec<Tensor> = (0..graph.layers.len())
                .map(|id| output(&training, id, &pass.outputs[id]))
                .collect();
            training.backward(&given).unwrap();
            // Another step must not find anything of this one.
            let first = training.gradients().to_vec();
            training.forward(&values, 0).unwrap();
            training.backward(&given).unwrap();
            assert!(first == training.gradients(), "{name}: the same step again");

            let outputs = |id: LayerId| outputs[id].clone();
            let expected = reference.backward_beside(&pass, &logit_gradients, &outputs);
            for (i, parameter) in graph.parameters().iter().enumerate() {
                let what = format!("{name}: gradient of {} ({mode:?})", parameter.name);
                assert_close(&what, &training.gradients()[i], &expected.parameters[i], GRADIENTS);
            }
        }
    }
}

#[test]
fn a_picture_has_the_same_bits_in_any_batch_and_with_any_threads() {
    for isa in Isa::supported() {
        for name in ["inception-v3", "googlenet", "bn-inception"] {
            let graph = small(name, 0.2).graph().unwrap();
            let weights = formula::weights(&graph);
            let (values, _) = pictures(&graph, 11);
            let run = |threads, values: &[f32]| {
                let cpu = Arc::new(Cpu::with_isa(threads, isa).unwrap());
                Inference::new(&graph, &weights, cpu).unwrap().run(values).unwrap()
            };
            let together = run(1, &values);
            assert_eq!(together, run(3, &values), "{name}, {isa}: threads");
            let (one, classes) = (values.len() / 11, together.len() / 11);
            for i in [0, 5, 10] {
                let alone = run(2, &values[i * one..(i + 1) * one]);
                assert_eq!(alone, together[i * classes..(i + 1) * classes], "{name}, {isa}: {i}");
            }
        }
    }
}

/// Early layers whose values exceed the cache are computed for a few pictures at a time.
#[test]
fn pictures_that_come_in_groups_have_the_same_bits() {
    let net = Net::from_toml(
        r#"
        name = "large"
        classes = 5
        input = { channels = 3, height = 261, width = 250 }
        defaults = { init = "he", batch_norm = { epsilon = 0.001, decay = 0.9, scale = true } }
        preprocessing = { resize = "none", order = "rgb", mean = [0, 0, 0], std = [1, 1, 1] }
        layer = [
            { type = "conv", name = "a", kernel = 3, stride = 2, channels = 6 },
            { type = "conv", name = "b", kernel = 3, channels = 17, padding = "same" },
            { type = "max-pool", name = "p", kernel = 9, stride = 8 },
            { type = "conv", name = "c", kernel = 3, channels = 330 },
            { type = "conv", name = "d", kernel = 3, channels = 320 },
            { type = "classifier", name = "fc" },
        ]
        "#,
    );
    let graph = net.unwrap().graph().unwrap();
    let weights = formula::weights(&graph);
    let (values, _) = pictures(&graph, 5);
    let layer = |name| graph.layers.iter().position(|layer| layer.name == name).unwrap();
    let outputs = [layer("a"), layer("c"), graph.main_logits()];
    let run = |threads, values: &[f32]| {
        let inference = Inference::with_outputs(&graph, &weights, cpu(threads), &outputs);
        inference.unwrap().run_all(values).unwrap()
    };
    let one = values.len() / 5;
    let alone: Vec<_> = values.chunks_exact(one).map(|picture| run(2, picture)).collect();
    // Groups of one picture, of three and two, of all.
    for threads in [1, 4, 16] {
        for (i, together) in run(threads, &values).iter().enumerate() {
            let alone: Vec<f32> = alone.iter().flat_map(|outputs| outputs[i].clone()).collect();
            assert!(*together == alone, "{threads} threads, output {i}");
        }
    }
}

#[test]
fn training_has_the_same_bits_with_any_threads() {
    for name in ["inception-v3", "googlenet", "bn-inception"] {
        let graph = small(name, 0.2).graph().unwrap();
        let (values, _) = pictures(&graph, 4);
        let run = |threads| {
            let weights = formula::weights(&graph);
            let mut training =
                Training::new(&graph, weights, cpu(threads), NormMode::Batch).unwrap();
            let heads = training.forward(&values, 42).unwrap();
            training.backward(&heads).unwrap();
            (heads, training.gradients().to_vec(), training.weights().clone())
        };
        assert!(run(1) == run(3), "{name}");
    }
}

#[test]
fn dropout_drops_by_the_seed() {
    let graph = small("inception-v3", 0.2).graph().unwrap();
    let (values, _) = pictures(&graph, 2);
    let mut training =
        Training::new(&graph, formula::weights(&graph), cpu(1), NormMode::Frozen).unwrap();
    let [a, again, b] = [1, 1, 2].map(|seed| training.forward(&values, seed).unwrap());
    assert_eq!(a, again);
    assert_ne!(a, b);
}

#[test]
fn bad_requests_are_errors() {
    let graph = small("inception-v3", 0.2).graph().unwrap();
    let other = small("googlenet", 0.2).graph().unwrap();
    let weights = formula::weights(&graph);
    assert!(Inference::new(&graph, &formula::weights(&other), cpu(1)).is_err());
    let mut engine = Inference::new(&graph, &weights, cpu(1)).unwrap();
    assert!(engine.run(&[]).is_err());
    assert!(engine.run(&[0.0; 100]).is_err());
    let mut training = Training::new(&graph, weights, cpu(1), NormMode::Batch).unwrap();
    assert!(training.backward(&[vec![], vec![]]).is_err());
}
