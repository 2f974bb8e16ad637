//! Choosing algorithms by measuring them in the network they are for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use inception_kernels::Cpu;
use inception_kernels::conv::Algorithm;
use inception_model::Weights;
use inception_net::graph::{Graph, LayerId};

use crate::algorithms::{Algorithms, Plan};
use crate::inference::{BATCH, Inference};
use crate::{EngineError, StepInfo};

/// Runs the network by one candidate after the other of every layer, `rounds` times, with one
/// picture and with several at a time, and returns the fastest for each kind of layer. A layer is
/// timed where the others before it left the caches. `progress` is told how much is done of all.
pub fn tune(
    graph: &Graph,
    cpu: &Arc<Cpu>,
    rounds: usize,
    mut progress: impl FnMut(usize, usize),
) -> Result<Plan, EngineError> {
    let weights = Weights::initial(graph, 0);
    let main = graph.main_logits();
    let plans = plans(graph, &weights, cpu, &[main])?;
    let size = graph.layers[0].shape.len();
    let pictures: Vec<f32> = (0..BATCH * size).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect();
    // The least time of each kind of layer by each algorithm, with one picture and with several.
    let mut best: BTreeMap<(String, String), [Duration; 2]> = BTreeMap::new();
    let mut fastest = Plan::new();
    for round in 0..rounds {
        for (i, plan) in plans.iter().enumerate() {
            progress(round * plans.len() + i, rounds * plans.len());
            let mut inference = Inference::with_algorithms(
                graph,
                &weights,
                Arc::clone(cpu),
                &[main],
                &Algorithms::Planned(plan.clone()),
            )?;
            for (batch, pictures) in [&pictures[..size], &pictures].into_iter().enumerate() {
                // The first run meets cold caches and fresh memory.
                inference.time_steps(pictures)?;
                for _ in 0..2 {
                    let times = inference.time_steps(pictures)?;
                    for (step, time) in inference.steps().iter().zip(times) {
                        let Some(algorithm) = step.algorithm else { continue };
                        let key = (step.layer_kind.clone(), algorithm.to_string());
                        let least = best.entry(key).or_insert([Duration::MAX; 2]);
                        least[batch] = least[batch].min(time);
                    }
                }
            }
        }
    }
    let cost = |kind: &str, algorithm: &Algorithm| {
        let times = best.get(&(kind.to_owned(), algorithm.to_string()));
        times.map(|[one, several]| one.as_secs_f64() + several.as_secs_f64() / BATCH as f64)
    };
    for kind in plans.iter().flat_map(BTreeMap::keys) {
        let candidates = plans.iter().map(|plan| plan[kind]);
        let measured =
            candidates.filter_map(|algorithm| Some((cost(kind, &algorithm)?, algorithm)));
        if let Some((_, algorithm)) = measured.min_by(|a, b| a.0.total_cmp(&b.0)) {
            fastest.insert(kind.clone(), algorithm);
        }
    }
    progress(rounds * plans.len(), rounds * plans.len());
    Ok(fastest)
}

/// As many plans as the layer with the most candidates has, so that each candidate is in one.
fn plans(
    graph: &Graph,
    weights: &Weights,
    cpu: &Arc<Cpu>,
    outputs: &[LayerId],
) -> Result<Vec<Plan>, EngineError> {
    let precise = Algorithms::Precise;
    let network = Inference::with_algorithms(graph, weights, Arc::clone(cpu), outputs, &precise)?;
    let most = network.steps().iter().map(|step| step.candidates.len()).max().unwrap_or(0);
    Ok((0..most).map(|n| candidate_plan(network.steps(), n)).collect())
}

/// The plan that computes every layer of these steps by its candidate number `n`, by its last
/// where it has fewer: 0 is direct everywhere, `usize::MAX` the largest tiles that the
/// [error budget](Algorithm::ERROR_BUDGET) allows. Layers without a choice are not in it.
pub fn candidate_plan(steps: &[StepInfo], n: usize) -> Plan {
    let choosing = steps.iter().filter(|step| step.candidates.len() > 1);
    let choice = |step: &StepInfo| {
        (step.layer_kind.clone(), step.candidates[n.min(step.candidates.len() - 1)])
    };
    choosing.map(choice).collect()
}
