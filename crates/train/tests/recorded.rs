//! Every ingredient of a step beside what PyTorch and TensorFlow make of the same numbers, step by
//! step over fifty steps. `peers/optimizers` records their results, in `float64`, and prints how
//! far ours, in `f32`, are from them.

use inception_engine::Cpu;
use inception_model::Weights;
use inception_net::graph::{Graph, Head, Init, Layer, Linear, Op, Shape};
use inception_train::{
    Answers, Average, Averaging, Criterion, Decay, Distillation, Optimizer, Rule, Schedule, Step,
    Targets, add_weight_decay, clip_norm, clip_value, global_norm,
};
use serde_json::Value;

const TORCH: &str = include_str!("data/torch.json");
const TENSORFLOW: &str = include_str!("data/tensorflow.json");

const STEPS: usize = 50;
const START: [f32; 6] = [-0.5, -0.25, 0.0, 0.25, 0.5, 0.75];
/// Largest difference allowed, by the largest magnitude at that step.
const TOLERANCE: f64 = 1e-6;

fn recorded(library: &str, part: &str, name: &str) -> Vec<Vec<f64>> {
    let json: Value = serde_json::from_str(library).unwrap();
    let steps = json[part][name].as_array().unwrap_or_else(|| panic!("no {part} {name}")).clone();
    assert_eq!(steps.len(), STEPS);
    let number = |value: &Value| value.as_f64().unwrap();
    let step = |value: &Value| match value.as_array() {
        Some(values) => values.iter().map(number).collect(),
        None => vec![number(value)],
    };
    steps.iter().map(step).collect()
}

fn compare(name: &str, found: &[Vec<f64>], expected: &[Vec<f64>]) {
    let scales: Vec<f64> = expected.iter().map(|step| largest(step)).collect();
    compare_by(name, found, expected, &scales);
}

fn compare_by(name: &str, found: &[Vec<f64>], expected: &[Vec<f64>], scales: &[f64]) {
    assert_eq!(found.len(), expected.len());
    let mut worst = 0.0f64;
    for ((found, expected), scale) in found.iter().zip(expected).zip(scales) {
        assert_eq!(found.len(), expected.len());
        let off: Vec<f64> = found.iter().zip(expected).map(|(a, b)| a - b).collect();
        // All of them 0 is no division by 0.
        worst = worst.max(largest(&off) / scale.max(f64::MIN_POSITIVE));
    }
    println!("{name:<34} {worst:.1e}");
    assert!(worst <= TOLERANCE, "{name} is off by {worst:e}");
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

fn cpu() -> Cpu {
    Cpu::new(2).unwrap()
}

/// A weight tensor of these values and nothing else.
fn vector(values: &[f32]) -> Weights {
    let layer = |name: &str, op, inputs, channels| Layer {
        name: name.to_owned(),
        op,
        inputs,
        shape: Shape { channels, height: 1, width: 1 },
    };
    let linear = Linear { bias: false, batch_norm: None, relu: false, init: Init::He };
    let graph = Graph {
        layers: vec![
            layer("input", Op::Input, vec![], values.len()),
            layer("fc", Op::Linear(linear), vec![0], 1),
        ],
        heads: vec![Head { name: "main".to_owned(), logits: 1, loss_weight: 1.0 }],
    };
    let tensor = ("fc.weight".to_owned(), vec![1, values.len()], values.to_vec());
    Weights::from_named(&graph, [tensor]).unwrap()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// As in `peers/optimizers_common.py`.
fn given(step: usize, place: usize) -> f64 {
    (((place * 7 + step * 5) % 11) as f64 - 5.0) / 4.0
}

fn gradient(step: usize, weights: &[f32]) -> Vec<f32> {
    let value = |(place, weight): (usize, &f32)| given(step, place) as f32 + weight / 8.0;
    weights.iter().enumerate().map(value).collect()
}

fn walk(step: usize) -> Vec<f32> {
    let value = |(place, start): (usize, &f32)| {
        (f64::from(*start) + given(step, place) / (1 + step) as f64) as f32
    };
    START.iter().enumerate().map(value).collect()
}

fn stepped(rule: &Rule, weight_decay: f64) -> Vec<Vec<f64>> {
    let cpu = cpu();
    let mut weights = vector(&START);
    let mut optimizer = Optimizer::new(rule.clone(), &weights);
    let step = |step: usize| {
        let mut gradients = [gradient(step, &weights.tensors()[0].values)];
        if !rule.decouples_weight_decay() {
            add_weight_decay(&cpu, &weights, &mut gradients, weight_decay);
        }
        let rate = if step < 12 { 0.05 } else { 0.03 };
        let how = Step { rate, weight_decay, before: step as u64 };
        optimizer.step(&cpu, &mut weights, &gradients, how);
        wide(&weights.tensors()[0].values)
    };
    (0..STEPS).map(step).collect()
}

#[test]
fn optimizers() {
    let sgd = |momentum, nesterov| Rule::Sgd { momentum, nesterov };
    let pytorch = |momentum| Rule::RmsPropPyTorch { decay: 0.9, momentum, epsilon: 1e-3 };
    let tensorflow = |epsilon| Rule::RmsProp { decay: 0.9, momentum: 0.9, epsilon };
    for (library, name, rule, weight_decay) in [
        (TORCH, "SGD", sgd(0.0, false), 0.0),
        (TORCH, "SGD momentum", sgd(0.9, false), 0.0),
        (TORCH, "SGD weight_decay", sgd(0.9, false), 0.05),
        (TORCH, "SGD nesterov", sgd(0.9, true), 0.0),
        (TORCH, "RMSprop", pytorch(0.0), 0.0),
        (TORCH, "RMSprop momentum", pytorch(0.9), 0.0),
        (TORCH, "AdamW", Rule::adamw(), 0.05),
        (TENSORFLOW, "Momentum", sgd(0.9, false), 0.0),
        (TENSORFLOW, "Momentum nesterov", sgd(0.9, true), 0.0),
        (TENSORFLOW, "RMSProp 1.0", tensorflow(1.0), 0.0),
        (TENSORFLOW, "RMSProp 0.001", tensorflow(1e-3), 0.0),
    ] {
        let expected = recorded(library, "optimizers", name);
        // Weights are as exact as the largest they have been: some rules bring them close to 0,
        // and PyTorch's own `float32` is then up to 2.7e-6 of that from its `float64`.
        let scale = expected.iter().map(|step| largest(step)).fold(0.0, f64::max);
        compare_by(name, &stepped(&rule, weight_decay), &expected, &[scale; STEPS]);
    }
}

#[test]
fn schedules() {
    let rates = |decay, warmup_epochs, epochs| -> Vec<Vec<f64>> {
        let (reference_batch, of_epochs) = (None, None);
        let learning_rate = 0.045;
        let schedule = Schedule { learning_rate, reference_batch, warmup_epochs, of_epochs, decay };
        (0..STEPS).map(|epoch| vec![schedule.at(epoch as f64, epochs, 1)]).collect()
    };
    let exponential = |factor, every| Decay::Exponential { factor, every, staircase: true };
    let whole = STEPS as f64;
    // PyTorch counts to the last step, not to the run's end, and lets the rise end a step early.
    let last = whole - 1.0;
    let pct_start = (0.3 * whole - 1.0) / last;
    let cycle = Decay::OneCycle { pct_start, div_factor: 25.0, final_div_factor: 1e4 };
    for (library, name, found) in [
        (TORCH, "StepLR", rates(exponential(0.3, 7.0), 0.0, whole)),
        (
            TORCH,
            "MultiStepLR",
            rates(Decay::Step { factor: 0.1, at: vec![10.0, 25.0, 40.0] }, 0.0, whole),
        ),
        (TORCH, "ExponentialLR", rates(exponential(0.94, 1.0), 0.0, whole)),
        (TORCH, "CosineAnnealingLR", rates(Decay::Cosine, 0.0, whole)),
        (TORCH, "PolynomialLR", rates(Decay::Polynomial { power: 0.9 }, 0.0, whole)),
        (TORCH, "LinearLR", rates(Decay::Constant, 5.0, whole)),
        (TORCH, "OneCycleLR", rates(cycle, 0.0, last)),
        (TENSORFLOW, "exponential_decay", rates(exponential(0.94, 2.0), 0.0, whole)),
    ] {
        compare(name, &found, &recorded(library, "schedules", name));
    }
}

#[test]
fn averages() {
    let averaged = |averaging| -> Vec<Vec<f64>> {
        let cpu = cpu();
        let mut average = Average::new(averaging, vector(&START));
        let step = |step| {
            average.update(&cpu, &vector(&walk(step)), step as f64 / STEPS as f64);
            wide(&average.weights().tensors()[0].values)
        };
        (0..STEPS).map(step).collect()
    };
    for (library, name, averaging) in [
        (TENSORFLOW, "ExponentialMovingAverage", Averaging::Exponential { decay: 0.7 }),
        (TORCH, "AveragedModel", Averaging::Polyak { from: 0.5 }),
    ] {
        compare(name, &averaged(averaging), &recorded(library, "averages", name));
    }
}

#[test]
fn clipping() {
    let clipped = |clip: &dyn Fn(&Cpu, &mut [Vec<f32>])| -> Vec<Vec<f64>> {
        let cpu = cpu();
        let step = |step| {
            let mut gradients = [gradient(step, &START)];
            clip(&cpu, &mut gradients);
            wide(&gradients[0])
        };
        (0..STEPS).map(step).collect()
    };
    let by_norm = clipped(&|cpu, gradients| {
        let norm = global_norm(cpu, gradients);
        clip_norm(cpu, gradients, norm, 2.0);
    });
    let by_value = clipped(&|cpu, gradients| {
        clip_value(cpu, gradients, 0.5);
    });
    for (library, name, found) in [
        // It adds 1e-6 to the norm that it divides by.
        (TORCH, "clip_grad_norm_", &by_norm),
        (TORCH, "clip_grad_value_", &by_value),
        (TENSORFLOW, "clip_by_global_norm", &by_norm),
    ] {
        compare(name, found, &recorded(library, "clipping", name));
    }
}

#[test]
fn losses() {
    let logits = [0.3, -1.2, 2.5, 0.0, 12.0, -7.5, 11.0, 3.25, -0.5, 0.25, 0.125, 4.0];
    let teacher = [1.5, 0.25, 3.0, -2.0, 4.0, 0.5, 9.0, 1.0, 0.5, 0.75, -1.0, 2.0];
    let class_weights = vec![0.5, 2.0, 1.25, 0.25];
    let plain = Criterion::default();
    let smoothed = Criterion { smoothing: 0.1, ..Criterion::default() };
    let distillation = Some(Distillation { temperature: 4.0, weight: 0.7 });
    let json: Value = serde_json::from_str(TORCH).unwrap();
    for (name, criterion) in [
        ("CrossEntropyLoss", plain.clone()),
        ("CrossEntropyLoss label_smoothing", smoothed.clone()),
        (
            "CrossEntropyLoss weight",
            Criterion { class_weights: class_weights.clone(), ..plain.clone() },
        ),
        ("CrossEntropyLoss both", Criterion { class_weights, ..smoothed.clone() }),
        ("KLDivLoss", Criterion { distillation, ..smoothed }),
    ] {
        let answers = Answers {
            logits: &logits,
            classes: 4,
            targets: Targets::Classes(&[2, 1, 3]),
            teacher: criterion.distillation.map(|_| &teacher[..]),
        };
        let head = criterion.loss(answers, 1.0);
        let entry = &json["losses"][name];
        let gradient = entry["gradient"].as_array().unwrap();
        let expected = [
            vec![entry["loss"].as_f64().unwrap()],
            gradient.iter().map(|g| g.as_f64().unwrap()).collect(),
        ];
        compare(name, &[vec![head.loss], wide(&head.gradient)], &expected);
    }
}
