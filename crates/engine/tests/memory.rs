//! What saves memory changes no results: weights that come one tensor at a time, and the plan for
//! little memory.

#[path = "common/compare.rs"]
mod compare;
#[path = "common/formula.rs"]
mod formula;

use std::cell::RefCell;

use compare::{assert_close, cpu, pictures, small, without_dropout};
use inception_engine::{Algorithm, Algorithms, Inference, StepInfo};
use inception_model::{ModelError, WeightSource, Weights};
use inception_net::graph::{Graph, Parameter};
use inception_net::zoo;

/// Weights that are copied on demand, as from a file. Counts how often each tensor is asked for.
struct OnDemand {
    weights: Weights,
    asked: RefCell<Vec<usize>>,
    /// The most values that one room was made to hold.
    largest: RefCell<usize>,
}

impl OnDemand {
    fn new(weights: Weights) -> Self {
        let asked = RefCell::new(vec![0; weights.tensors().len()]);
        Self { weights, asked, largest: RefCell::new(0) }
    }
}

impl WeightSource for OnDemand {
    fn parameters(&self) -> Vec<&Parameter> {
        self.weights.parameters()
    }

    fn values<'a>(&'a self, place: usize, room: &'a mut Vec<f32>) -> Result<&'a [f32], ModelError> {
        self.asked.borrow_mut()[place] += 1;
        room.clear();
        room.extend_from_slice(&self.weights.tensors()[place].values);
        self.largest.replace_with(|largest| room.capacity().max(*largest));
        Ok(room)
    }
}

#[test]
fn weights_that_come_one_by_one_give_the_same_bits() {
    for name in zoo::names() {
        let graph = without_dropout(&small(name, 0.1));
        let weights = formula::weights(&graph);
        let (values, _) = pictures(&graph, 1);
        let expected = Inference::new(&graph, &weights, cpu(2)).unwrap().run(&values).unwrap();
        let source = OnDemand::new(weights);
        let found = Inference::new(&graph, &source, cpu(2)).unwrap().run(&values).unwrap();
        assert!(expected == found, "{name}");
        let asked = source.asked.borrow();
        // Auxiliary heads' are never needed.
        assert!(asked.iter().all(|&count| count <= 1), "{name}: read more than once");
        assert!(asked.iter().filter(|&&count| count == 1).count() > asked.len() / 2, "{name}");
        let largest = graph.parameters().iter().map(|p| p.shape.iter().product()).max();
        let room = *source.largest.borrow();
        assert!(room <= 2 * largest.unwrap_or(0), "{name}: room for {room} values");
    }
}

#[test]
fn a_source_that_cannot_be_read_is_an_error() {
    struct Gone(Weights);
    impl WeightSource for Gone {
        fn parameters(&self) -> Vec<&Parameter> {
            self.0.parameters()
        }
        fn values<'a>(&'a self, _: usize, _: &'a mut Vec<f32>) -> Result<&'a [f32], ModelError> {
            let source = std::io::ErrorKind::UnexpectedEof.into();
            Err(ModelError::Read { path: "gone.safetensors".into(), source })
        }
    }
    let graph = small("inception-v3-small", 0.1).graph().unwrap();
    let error = Inference::new(&graph, &Gone(formula::weights(&graph)), cpu(1)).err();
    assert!(error.expect("nothing to read").to_string().contains("gone.safetensors"));
}

/// Bytes of packed weights.
fn packed(steps: &[StepInfo]) -> usize {
    steps.iter().map(|step| step.weights).sum()
}

fn with(graph: &Graph, weights: &Weights, algorithms: &Algorithms) -> Inference {
    let main = [graph.main_logits()];
    Inference::with_algorithms(graph, weights, cpu(2), &main, algorithms).unwrap()
}

/// Of every network, at widths that leave blocks ragged.
#[test]
fn the_lean_plan_keeps_its_budget_and_agrees() {
    let (mut networks, mut spent) = (0, 0);
    for name in zoo::names() {
        let graph = without_dropout(&small(name, 0.3));
        let weights = formula::weights(&graph);
        let [direct, usual, mut lean] =
            [Algorithms::Precise, Algorithms::Estimated, Algorithms::Lean]
                .map(|algorithms| with(&graph, &weights, &algorithms));
        let budget = packed(direct.steps()) as f64 * Algorithms::LEAN_GROWTH;
        let (found, usually) = (packed(lean.steps()), packed(usual.steps()));
        assert!(found as f64 <= budget, "{name}: {found} bytes of {budget}");
        assert!(found < usually, "{name}: {found} bytes, usually {usually}");
        let minimal = |step: &StepInfo| step.algorithm.is_some_and(|a| a != Algorithm::Direct);
        networks += 1;
        spent += usize::from(lean.steps().iter().any(minimal));
        let (values, _) = pictures(&graph, 2);
        let exact = { direct }.run(&values).unwrap();
        let exact: Vec<f64> = exact.iter().map(|&v| v.into()).collect();
        assert_close(name, &lean.run(&values).unwrap(), &exact, 1e-4);
    }
    // Little is to be gained where there are few channels.
    assert!(2 * spent > networks, "the budget is there to be used: {spent} of {networks}");
}

/// The choice is the network's: not the batch's, and not the number of threads'.
#[test]
fn plans_for_a_purpose_give_the_same_bits_in_any_batch_and_with_any_threads() {
    for algorithms in [Algorithms::Lean, Algorithms::Throughput] {
        has_the_same_bits(&algorithms);
    }
}

fn has_the_same_bits(algorithms: &Algorithms) {
    let graph = small("inception-v3", 0.2).graph().unwrap();
    let weights = formula::weights(&graph);
    let (values, _) = pictures(&graph, 3);
    let main = [graph.main_logits()];
    let run = |threads, values: &[f32]| {
        Inference::with_algorithms(&graph, &weights, cpu(threads), &main, algorithms)
            .unwrap()
            .run(values)
            .unwrap()
    };
    let together = run(1, &values);
    assert!(together == run(3, &values));
    let (one, classes) = (values.len() / 3, together.len() / 3);
    assert!(run(2, &values[one..2 * one]) == together[classes..2 * classes]);
}
