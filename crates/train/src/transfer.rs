//! A model's knowledge as the start of another network's training: other classes, another size.

use inception_model::{Model, Weights};
use inception_net::Net;
use inception_net::graph::{Graph, LayerId};

use crate::TrainError;

/// What training starts from, and what of it is new.
#[derive(Clone, Debug)]
pub struct Start {
    /// The network with the weights to start from.
    pub model: Model,
    /// The number of classes that the replaced heads had; `None` where the heads are the model's.
    pub replaced: Option<usize>,
    /// Layers of auxiliary heads that begin anew, since the other input size gives them another
    /// grid.
    pub renewed: Vec<String>,
}

/// The weights of a model in `net`, which is the model's own network but for its input's size and
/// its number of classes. Where the classes are others, the last layer of each head begins anew,
/// with the initial weights of the seed; where only their order is another, its rows are moved.
///
/// # Errors
/// If `net` is no network, or one whose main path does not take the model's weights.
pub fn start_from(
    model: Model,
    net: Net,
    classes: Vec<String>,
    seed: u32,
) -> Result<Start, TrainError> {
    let (old, new) = (model.net.graph()?, net.graph()?);
    let replaced = same_set(&model.labels, &classes).is_none().then_some(model.net.classes);
    let rows = same_set(&model.labels, &classes);
    let is_head = |id: LayerId| new.heads.iter().any(|head| head.logits == id);
    let on_main_path = before(&new, new.main_logits());
    let mut weights = Weights::initial(&new, seed.into());
    let mut renewed = Vec::new();
    for (parameter, values) in weights.values_mut() {
        let id = parameter.layer;
        let found = model.weights.get(&parameter.name);
        match found.filter(|found| found.parameter.shape == parameter.shape) {
            _ if is_head(id) && replaced.is_some() => {}
            Some(found) => {
                values.copy_from_slice(&found.values);
                if let Some(rows) = rows.as_ref().filter(|_| is_head(id)) {
                    move_rows(values, &found.values, rows);
                }
            }
            None if !on_main_path[id] => {
                let name = &new.layers[id].name;
                if renewed.last() != Some(name) {
                    renewed.push(name.clone());
                }
            }
            None => {
                let size = (net.input.height, net.input.width);
                let own = old.layers[0].shape;
                let layer = new.layers[id].name.clone();
                return Err(TrainError::Transfer { layer, size, own: (own.height, own.width) });
            }
        }
    }
    let model = Model { net, weights, labels: classes, provenance: model.provenance };
    Ok(Start { model, replaced, renewed })
}

/// For each of the new labels its place among the old, if they are the same ones.
fn same_set(old: &[String], new: &[String]) -> Option<Vec<usize>> {
    if old.len() != new.len() {
        return None;
    }
    new.iter().map(|label| old.iter().position(|o| o == label)).collect()
}

/// Row `i` becomes row `rows[i]` of the old ones; a bias's rows have one value.
fn move_rows(values: &mut [f32], old: &[f32], rows: &[usize]) {
    let length = old.len() / rows.len();
    for (row, &from) in values.chunks_exact_mut(length).zip(rows) {
        row.copy_from_slice(&old[from * length..(from + 1) * length]);
    }
}

/// Which layers a layer depends on, itself included.
fn before(graph: &Graph, layer: LayerId) -> Vec<bool> {
    let mut marked = vec![false; graph.layers.len()];
    crate::fine_tuning::with_all_before(graph, vec![layer], &mut marked);
    marked
}
