//! `random_model NETWORK DIALECT SEED OUT`: a built-in network with random weights and random
//! batch-norm statistics as a model file, for comparisons with other programs.
//!
//! Weights are He's, whatever the dialect's own initial ones are, so that activations keep their
//! size from layer to layer; statistics, scales and shifts are such that all of them matter.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use inception_model::{Model, Weights};
use inception_net::graph::Role;
use inception_net::zoo;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [network, dialect, seed, out] = &arguments[..] else {
        return Err("random_model NETWORK DIALECT SEED OUT".into());
    };
    let options = zoo::Options { dialect: Some(dialect.parse()?), ..zoo::Options::default() };
    let net = zoo::build(network, &options)?;
    let graph = net.graph()?;
    let mut weights = Weights::initial(&graph, 0);
    let mut random = Random(seed.parse()?);
    for (parameter, values) in weights.values_mut() {
        let fan_in: usize = parameter.shape[1..].iter().product();
        let he = (2.0 / fan_in as f32).sqrt();
        for value in values {
            *value = match parameter.role {
                // Uniform numbers have a third of a variance.
                Role::Weight => he * 3_f32.sqrt() * random.next(),
                Role::Bias | Role::Shift | Role::RunningMean => 0.3 * random.next(),
                Role::Scale | Role::RunningVariance => 1.0 + 0.4 * random.next(),
            };
        }
    }
    let labels = (0..net.classes).map(|class| format!("class {class}")).collect();
    let provenance = BTreeMap::from([("weights".to_owned(), "random".to_owned())]);
    Model { net, weights, labels, provenance }.save(Path::new(out))?;
    Ok(())
}

/// splitmix64.
struct Random(u64);

impl Random {
    /// From -1 to 1.
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    }
}
