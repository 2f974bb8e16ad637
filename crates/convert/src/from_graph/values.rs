//! Every parameter's numbers.

use inception_model::Weights;
use inception_net::Net;
use inception_net::graph::{Graph, Op, Parameter, Role};

use super::GraphError;
use super::filter::Filter;
use super::units::Units;

/// The weights of `graph`, whose layers after the input are computed by `order`'s units.
pub(super) fn weights(
    graph: &Graph,
    net: &Net,
    order: &[Option<usize>],
    mut units: Units,
) -> Result<Weights, GraphError> {
    let epsilon = net.defaults.batch_norm.map_or(0.0, |norm| norm.epsilon);
    // Only a new classifier has no unit.
    let new = order.last().is_none_or(Option::is_none).then(|| Weights::initial(graph, 0));
    let mut named = Vec::new();
    for parameter in graph.parameters() {
        let unit = order.get(parameter.layer - 1).copied().flatten();
        let filter = unit.and_then(|unit| units.filter_mut(unit));
        let (shape, values) = match (filter, &new) {
            (Some(filter), _) => {
                values(filter, &parameter, &graph.layers[parameter.layer].op, epsilon)
            }
            (None, Some(new)) => {
                let place = new.place(&parameter.name).expect("the same graph");
                (parameter.shape, new.tensors()[place].values.clone())
            }
            (None, None) => unreachable!("layers with parameters come from filters"),
        };
        named.push((parameter.name, shape, values));
    }
    Ok(Weights::from_named(graph, named)?)
}

/// Shape and values of one parameter. Where the layer has a batch norm and the file a mere bias,
/// the batch norm is one that only adds it; the other way round the batch norm is folded.
fn values(
    filter: &mut Filter,
    parameter: &Parameter,
    op: &Op,
    epsilon: f32,
) -> (Vec<usize>, Vec<f32>) {
    let outputs = filter.shape[0];
    let normed = match op {
        Op::Conv(conv) => conv.batch_norm.is_some(),
        Op::Linear(linear) => linear.batch_norm.is_some(),
        // Its 1×1 convolution has it.
        _ => true,
    };
    if !normed {
        filter.fold_norm();
    }
    let weight = match (&mut filter.depthwise, op) {
        (Some(depthwise), Op::Depthwise { .. }) => (&depthwise.shape, &mut depthwise.weight),
        _ => (&filter.shape, &mut filter.weight),
    };
    if parameter.role == Role::Weight {
        return (weight.0.clone(), std::mem::take(weight.1));
    }
    let values = match (&mut filter.norm, parameter.role) {
        (_, Role::Weight) => unreachable!("dealt with above"),
        (Some(norm), Role::Scale) => norm.scale.take(),
        (Some(norm), Role::Shift) => Some(std::mem::take(&mut norm.shift)),
        (Some(norm), Role::RunningMean) => Some(std::mem::take(&mut norm.mean)),
        (Some(norm), Role::RunningVariance) => {
            let more = norm.epsilon - epsilon;
            Some(norm.variance.iter().map(|variance| variance + more).collect())
        }
        (None, Role::Bias | Role::Shift) => {
            Some(filter.bias.take().unwrap_or_else(|| vec![0.0; outputs]))
        }
        (None, Role::Scale) => None,
        (_, Role::Bias | Role::RunningMean) => Some(vec![0.0; outputs]),
        (None, Role::RunningVariance) => Some(vec![1.0 - epsilon; outputs]),
    };
    let values = values.unwrap_or_else(|| vec![1.0; outputs]);
    (vec![values.len()], values)
}
