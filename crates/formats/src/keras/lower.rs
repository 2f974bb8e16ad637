//! From layers to the operations of [`crate::graph`].

use std::collections::{HashMap, HashSet, VecDeque};

use super::config::{self, Call, Layer, Network, Place};
use super::layer;
use super::weights::Weights;
use crate::Fault;
use crate::graph::{Graph, Node, Op};

/// Models in models.
const DEPTH: usize = 16;

/// What is known of a node's output beside its values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    pub channels: Option<usize>,
    /// Height and width.
    pub size: Option<(usize, usize)>,
    /// Whether it was flattened since; then `channels` and `size` are those before, which tell
    /// Keras' order (row, column, channel) from ours (channel, row, column).
    pub flat: bool,
}

/// A graph in the making.
pub(super) struct Lowering {
    graph: Graph,
    flows: Vec<Flow>,
    names: HashSet<String>,
    pub weights: Weights,
}

/// The graph of a model.
pub(super) fn graph(model: &Network, weights: Weights) -> Result<Graph, Fault> {
    let mut lowering =
        Lowering { graph: Graph::default(), flows: Vec::new(), names: HashSet::new(), weights };
    let outputs = lowering.network(model, &[], "", 0)?;
    Ok(Graph { outputs, ..lowering.graph })
}

impl Lowering {
    /// Adds a node.
    pub fn push(&mut self, name: &str, op: Op, inputs: Vec<usize>, flow: Flow) -> usize {
        let place = self.graph.nodes.len();
        let mut name = name.to_owned();
        if self.names.contains(&name) {
            name = format!("{name}#{place}");
        }
        self.names.insert(name.clone());
        self.graph.nodes.push(Node { name, op, inputs });
        self.flows.push(flow);
        place
    }

    /// What is known of a node's output.
    pub fn flow(&self, node: usize) -> Flow {
        self.flows[node]
    }

    /// Adds the nodes of a model that reads `given`, or pictures where that is empty. Its arrays
    /// stand under `path`.
    fn network(
        &mut self,
        network: &Network,
        given: &[usize],
        path: &str,
        depth: usize,
    ) -> Result<Vec<usize>, Fault> {
        if depth > DEPTH {
            return Err(Fault::new("its models are nested too deeply"));
        }
        let paths = paths(network, path);
        if network.sequential {
            return self.sequence(network, given, &paths, depth);
        }
        let mut values: HashMap<Place, usize> = HashMap::new();
        for (layer, call) in order(network)? {
            let part = &network.layers[layer];
            let place = Place { layer: part.name, call: call as u64 };
            let value = if part.class == "InputLayer" {
                match network.inputs.iter().position(|&name| name == part.name) {
                    _ if given.is_empty() => layer::input(self, part)?,
                    argument => argument
                        .and_then(|argument| given.get(argument).copied())
                        .ok_or_else(|| fault(part, "the model is not called with this input"))?,
                }
            } else {
                let call = &part.calls[call];
                let inputs: Vec<usize> = call.inputs.iter().map(|place| values[place]).collect();
                self.layer(part, call, &inputs, &paths[layer], depth)?
            };
            values.insert(place, value);
        }
        let missing = || Fault::new("its model returns what no layer makes");
        network.outputs.iter().map(|p| values.get(p).copied().ok_or_else(missing)).collect()
    }

    /// Adds the nodes of a model whose layers read each other in turn.
    fn sequence(
        &mut self,
        network: &Network,
        given: &[usize],
        paths: &[String],
        depth: usize,
    ) -> Result<Vec<usize>, Fault> {
        let mut current = given.first().copied();
        for (part, path) in network.layers.iter().zip(paths) {
            let before = match (current, config::inner(part)?) {
                (Some(before), _) => before,
                (None, None) => layer::input(self, part)?,
                (None, Some(inner)) => {
                    // The first model brings the input along.
                    current = self.network(&inner, &[], path, depth + 1)?.first().copied();
                    continue;
                }
            };
            current = Some(match part.class {
                "InputLayer" => before,
                _ => self.layer(part, &Call::default(), &[before], path, depth)?,
            });
        }
        current.map(|last| vec![last]).ok_or_else(|| Fault::new("its model has no layers"))
    }

    fn layer(
        &mut self,
        layer: &Layer,
        call: &Call,
        inputs: &[usize],
        path: &str,
        depth: usize,
    ) -> Result<usize, Fault> {
        if inputs.is_empty() {
            return Err(fault(layer, "it reads nothing"));
        }
        match config::inner(layer)? {
            Some(inner) => match self.network(&inner, inputs, path, depth + 1)?.as_slice() {
                &[output] => Ok(output),
                _ => Err(fault(layer, "a model with several outputs cannot be a layer here")),
            },
            None => layer::lower(self, layer, call, inputs, path),
        }
    }
}

/// Uses of layers in an order in which each comes after those it reads.
fn order(network: &Network) -> Result<Vec<(usize, usize)>, Fault> {
    let mut uses = Vec::new();
    let mut places = HashMap::new();
    for (i, layer) in network.layers.iter().enumerate() {
        let calls = if layer.class == "InputLayer" { 1 } else { layer.calls.len() };
        for call in 0..calls {
            if places.insert(Place { layer: layer.name, call: call as u64 }, uses.len()).is_some() {
                return Err(fault(layer, "another layer has the same name"));
            }
            uses.push((i, call));
        }
    }
    let mut readers = vec![Vec::new(); uses.len()];
    let mut waiting = vec![0_usize; uses.len()];
    for (reader, &(i, call)) in uses.iter().enumerate() {
        let layer = &network.layers[i];
        let inputs = layer.calls.get(call).map(|call| call.inputs.as_slice()).unwrap_or_default();
        for place in inputs {
            let Some(&read) = places.get(place) else {
                return Err(fault(layer, &format!("it reads {}, which is not there", place.layer)));
            };
            readers[read].push(reader);
            waiting[reader] += 1;
        }
    }
    let mut ready: VecDeque<usize> = (0..uses.len()).filter(|&i| waiting[i] == 0).collect();
    let mut sorted = Vec::with_capacity(uses.len());
    while let Some(next) = ready.pop_front() {
        sorted.push(uses[next]);
        for &reader in &readers[next] {
            waiting[reader] -= 1;
            if waiting[reader] == 0 {
                ready.push_back(reader);
            }
        }
    }
    if sorted.len() < uses.len() {
        return Err(Fault::new("its layers read each other in a circle"));
    }
    Ok(sorted)
}

/// Where Keras 3 stores each layer's arrays: its class in snake case, numbered.
fn paths(network: &Network, path: &str) -> Vec<String> {
    let mut used: HashMap<String, usize> = HashMap::new();
    let separator = if path.is_empty() { "" } else { "/" };
    let mut name = |layer: &Layer| {
        let class = snake_case(layer.class);
        let number = used.entry(class.clone()).or_default();
        *number += 1;
        match *number {
            1 => format!("{path}{separator}layers/{class}"),
            n => format!("{path}{separator}layers/{class}_{}", n - 1),
        }
    };
    network.layers.iter().map(&mut name).collect()
}

/// `MaxPooling2D` is `max_pooling2d` (Keras' `naming.to_snake_case`).
fn snake_case(class: &str) -> String {
    let letters: Vec<char> = class.chars().filter(|c| c.is_alphanumeric() || *c == '_').collect();
    let mut name = String::new();
    for (i, &letter) in letters.iter().enumerate() {
        let after_lower = i > 0 && letters[i - 1].is_ascii_lowercase();
        let word = i > 0 && letters.get(i + 1).is_some_and(char::is_ascii_lowercase);
        if letter.is_ascii_uppercase() && (after_lower || word) {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

/// What is wrong with a layer.
pub(super) fn fault(layer: &Layer, reason: &str) -> Fault {
    Fault::new(format!("layer {} ({}): {reason}", layer.name, layer.class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_in_snake_case() {
        // What Keras 3.15 makes of its own classes.
        for (class, name) in [
            ("Conv2D", "conv2d"),
            ("InputLayer", "input_layer"),
            ("BatchNormalization", "batch_normalization"),
            ("GlobalAveragePooling2D", "global_average_pooling2d"),
            ("ReLU", "re_lu"),
            ("Conv2DTranspose", "conv2d_transpose"),
            ("DepthwiseConv2D", "depthwise_conv2d"),
        ] {
            assert_eq!(snake_case(class), name);
        }
    }
}
