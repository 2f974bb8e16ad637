//! How far minimal filtering takes a whole network's features from exact arithmetic.

#[path = "common/formula.rs"]
mod formula;

use std::sync::Arc;

use inception_engine::reference::{Mode, Reference};
use inception_engine::{Algorithm, Algorithms, Cpu, Inference, StepInfo, candidate_plan};
use inception_kernels::reference::Tensor;
use inception_net::graph::Op;
use inception_net::zoo::{self, Dialect, Options};

/// Relative error (root of the mean square) that features and logits must keep to: the tolerance
/// to which other implementations of these networks agree.
const BUDGET: f64 = 1e-4;
/// What direct convolution keeps to.
const DIRECT: f64 = 2e-6;

/// ‖a − b‖ / ‖b‖.
fn error(a: &[f32], b: &[f64]) -> f64 {
    let difference: f64 = a.iter().zip(b).map(|(&a, b)| (f64::from(a) - b).powi(2)).sum();
    (difference / b.iter().map(|b| b * b).sum::<f64>()).sqrt()
}

/// Inception v3 in full width on a small picture, whose grids are still cut by every tile, with
/// pictures as they are and such as nobody would normalise: huge, tiny, with values that stand out.
#[test]
fn inception_v3_keeps_to_the_error_budget() {
    let size = Some((107, 123));
    let dialect = Some(Dialect::TfSlim);
    let net = zoo::build("inception-v3", &Options { size, dialect, ..Options::default() }).unwrap();
    let graph = net.graph().unwrap();
    let weights = formula::weights(&graph);
    let features = graph.layers.iter().position(|layer| layer.name == "avgpool").unwrap();
    let logits = graph.heads.last().unwrap().logits;
    let noise = Tensor::random([1, 3, 107, 123], 5);
    type Change = fn(usize, f64) -> f64;
    let pictures: [(&str, Change); 4] = [
        ("usual", |_, v| v),
        ("a thousand times as bright", |_, v| 1e3 * v),
        ("nearly black", |_, v| 1e-4 * v),
        ("some pixels ten thousand times as bright", |i, v| if i % 997 == 0 { 1e4 * v } else { v }),
    ];
    let cpu = Arc::new(Cpu::new(2).unwrap());
    let plan = |algorithms| {
        let outputs = [features, logits];
        Inference::with_algorithms(&graph, &weights, Arc::clone(&cpu), &outputs, &algorithms)
            .unwrap()
    };
    let precise = plan(Algorithms::Precise);
    let largest_tiles = candidate_plan(precise.steps(), usize::MAX);
    let minimal = plan(Algorithms::Planned(largest_tiles));
    let direct = |step: &&StepInfo| step.algorithm == Some(Algorithm::Direct);
    assert_eq!(precise.steps().iter().filter(direct).count(), 67);
    assert_eq!(minimal.steps().iter().filter(direct).count(), 0);
    let [lean, throughput] = [Algorithms::Lean, Algorithms::Throughput].map(plan);
    let mut plans = [(minimal, BUDGET), (precise, DIRECT), (lean, BUDGET), (throughput, BUDGET)];
    for (name, change) in pictures {
        let values: Vec<f32> =
            noise.data.iter().enumerate().map(|(i, &v)| change(i, v) as f32).collect();
        let tensor = Tensor { data: values.iter().map(|&v| v.into()).collect(), ..noise.clone() };
        let pass = Reference::new(&graph, &weights).forward(&tensor, Mode::INFERENCE);
        for (inference, budget) in &mut plans {
            let found = inference.run_all(&values).unwrap();
            for (found, id) in found.iter().zip([features, logits]) {
                let error = error(found, &pass.outputs[id].data);
                let what = &graph.layers[id].name;
                println!("{name}, {what}: {error:.1e} (budget {budget:.0e})");
                assert!(error < *budget, "{name}, {what}: {error:e}");
            }
        }
    }
}

/// A plan decides by kind of layer; what it asks for that does not apply is an error.
#[test]
fn plans_are_followed() {
    let net = zoo::build("inception-v3-small", &Options::default()).unwrap();
    let graph = net.graph().unwrap();
    let weights = formula::weights(&graph);
    let cpu = Arc::new(Cpu::new(1).unwrap());
    let main = [graph.heads.last().unwrap().logits];
    let with = |algorithms: &Algorithms| {
        Inference::with_algorithms(&graph, &weights, Arc::clone(&cpu), &main, algorithms)
    };
    let estimated = with(&Algorithms::Estimated).unwrap();
    let choice = |inference: &Inference, kind: &str| {
        inference.steps().iter().find(|step| step.layer_kind == kind).unwrap().algorithm.unwrap()
    };
    let step = estimated.steps().iter().find(|step| step.candidates.len() > 2).unwrap();
    let kind = step.layer_kind.clone();
    for &algorithm in &step.candidates {
        let plan = [(kind.clone(), algorithm)].into_iter().collect();
        assert_eq!(choice(&with(&Algorithms::Planned(plan)).unwrap(), &kind), algorithm);
    }
    let impossible = Algorithm::Minimal { rows: 99, columns: 99 };
    let plan = [(kind, impossible)].into_iter().collect();
    let error = with(&Algorithms::Planned(plan)).err().expect("no such tile").to_string();
    assert!(error.contains("F(99×99)"), "{error}");
}

/// The network's sum of multiply–adds is that of its description, whatever is merged or swapped.
#[test]
fn steps_account_for_all_multiply_adds() {
    for name in zoo::names() {
        let graph = zoo::build(name, &Options::default()).unwrap().graph().unwrap();
        let weights = formula::weights(&graph);
        let cpu = Arc::new(Cpu::new(2).unwrap());
        let inference = Inference::new(&graph, &weights, cpu).unwrap();
        let depthwise = graph.layers.iter().any(|layer| matches!(layer.op, Op::Depthwise { .. }));
        let auxiliary = graph.heads.len() > 1;
        let sum: u64 = inference.steps().iter().map(|step| step.multiply_adds).sum();
        let all = graph.summary().multiply_adds as u64;
        assert!(sum <= all, "{name}: {sum} of {all}");
        if !depthwise && !auxiliary {
            assert_eq!(sum, all, "{name}");
        }
        assert!(sum as f64 > 0.9 * all as f64, "{name}: {sum} of {all}");
        let names: usize = inference.steps().iter().map(|step| step.layers.len()).sum();
        assert!(names > inference.steps().len(), "{name}: some layers are computed together");
    }
}
