use inception_engine::*;
use inception_model::Weights;
use inception_net::zoo;
use std::sync::Arc;
use std::time::{Duration, Instant};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let net = zoo::build(&args[1], &Default::default()).unwrap();
    let batch: usize = args[2].parse().unwrap();
    let threads: usize = args[3].parse().unwrap();
    let graph = net.graph().unwrap();
    let weights = Weights::initial(&graph, 1);
    let cpu = Arc::new(Cpu::new(threads).unwrap());
    let t = Instant::now();
    let algorithms = if args.get(4).is_some_and(|a| a == "precise") {
        Algorithms::Precise
    } else {
        Algorithms::Estimated
    };
    let main = graph.heads.last().unwrap().logits;
    let mut inf =
        Inference::with_algorithms(&graph, &weights, cpu.clone(), &[main], &algorithms).unwrap();
    println!("plan {:?}", t.elapsed());
    let x: Vec<f32> = (0..batch * graph.layers[0].shape.len())
        .map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0)
        .collect();
    inf.run(&x).unwrap();
    let mut best = vec![Duration::MAX; inf.steps().len()];
    for _ in 0..15 {
        for (b, t) in best.iter_mut().zip(inf.time_steps(&x).unwrap()) {
            *b = (*b).min(t);
        }
    }
    let mut totals: Vec<f64> = (0..15)
        .map(|_| {
            let t = Instant::now();
            inf.run(&x).unwrap();
            t.elapsed().as_secs_f64()
        })
        .collect();
    totals.sort_by(f64::total_cmp);
    for (s, t) in inf.steps().iter().zip(&best) {
        let g = 2.0 * (s.multiply_adds * batch as u64) as f64 / t.as_nanos() as f64;
        let d = 2.0 * (s.done * batch as u64) as f64 / t.as_nanos() as f64;
        println!(
            "{:8.3} ms {:7.1} {:7.1} {:8} {} {}",
            t.as_secs_f64() * 1e3,
            g,
            d,
            s.algorithm.map_or(String::new(), |a| a.to_string()),
            s.kind,
            s.layers.join("+")
        );
    }
    println!(
        "sum of best {:.2} ms, run min {:.2} median {:.2}; weights {} MB, activations {} MB",
        best.iter().map(|d| d.as_secs_f64()).sum::<f64>() * 1e3,
        totals[0] * 1e3,
        totals[7] * 1e3,
        inf.steps().iter().map(|s| s.weights).sum::<usize>() >> 20,
        (inf.activation_bytes() * batch) >> 20
    );
}
