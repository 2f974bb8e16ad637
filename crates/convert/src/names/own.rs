//! This project's own names, for weights that other programs wrote under them.

use inception_net::zoo::{self, Dialect};

use super::{Arrays, Found, Library, same};

pub(super) const OWN: Library = Library {
    name: "inception",
    recognise,
    sources: |_, graph| Some(graph.parameters().into_iter().map(|p| same(p.name)).collect()),
    ignores: |_| false,
    adapt: |_| {},
};

/// Without a network asked for, the one whose parameters are all there.
fn recognise(arrays: &Arrays) -> Option<Found> {
    for network in zoo::names() {
        for &dialect in zoo::dialects(network).ok()? {
            let classes = arrays.axis("fc.weight", 0)?;
            let options = zoo::Options {
                dialect: Some(dialect),
                classes: Some(classes),
                ..Default::default()
            };
            let Some(found) = matching(arrays, network, dialect, &options) else { continue };
            return Some(found);
        }
    }
    None
}

fn matching(
    arrays: &Arrays,
    network: &'static str,
    dialect: Dialect,
    options: &zoo::Options,
) -> Option<Found> {
    let mut net = zoo::build(network, options).ok()?;
    let auxiliary = net
        .layers
        .iter()
        .filter(|step| step.auxiliary().is_some())
        .all(|step| arrays.any_under(&format!("{}.", step.name())));
    if !auxiliary {
        super::without_auxiliary(&mut net);
    }
    let parameters = net.graph().ok()?.parameters();
    let all =
        parameters.iter().all(|p| arrays.get(&p.name).is_some_and(|array| array.shape == p.shape));
    let classes = options.classes?;
    all.then_some(Found { network, dialect, classes, auxiliary, preprocessing: None })
}
