//! The network's layers in the kernels' terms.

use std::borrow::Cow;
use std::collections::HashMap;

use inception_kernels::conv::Geometry;
use inception_kernels::lrn::Lrn;
use inception_kernels::pool::{Span, Windows};
use inception_kernels::{Border, LANES};
use inception_net::graph::{BatchNorm, Graph, LayerId, Op, PoolWindows, Role, Shape, Window};

/// A fully connected layer is a convolution whose kernel is the whole grid, so that both are one
/// kind of step: filters, then batch norm or bias, then activation.
pub(crate) struct Filtering {
    pub geometry: Geometry,
    pub batch_norm: Option<BatchNorm>,
    pub relu: bool,
}

/// The layer as a filtering step, if it is one.
pub(crate) fn filtering(op: &Op, input: Shape) -> Option<Filtering> {
    match op {
        Op::Conv(conv) => Some(Filtering {
            geometry: geometry(&conv.window),
            batch_norm: conv.batch_norm,
            relu: conv.relu,
        }),
        Op::Linear(linear) => Some(Filtering {
            geometry: Geometry {
                kernel: (input.height, input.width),
                stride: (1, 1),
                padding: (0, 0),
            },
            batch_norm: linear.batch_norm,
            relu: linear.relu,
        }),
        _ => None,
    }
}

/// Of a 1×1 convolution.
pub(crate) const POINTWISE: Geometry = Geometry { kernel: (1, 1), stride: (1, 1), padding: (0, 0) };

pub(crate) fn geometry(window: &Window) -> Geometry {
    Geometry {
        kernel: window.kernel,
        stride: window.stride,
        padding: (window.padding.top, window.padding.left),
    }
}

pub(crate) fn windows(windows: &PoolWindows) -> Windows {
    let spans = |spans: &[inception_net::graph::Span]| {
        spans.iter().map(|s| Span { start: s.start, end: s.end, count: s.count }).collect()
    };
    Windows { rows: spans(&windows.rows), columns: spans(&windows.columns) }
}

/// The layer's local response normalisation, if it is one.
pub(crate) fn lrn(op: &Op) -> Option<Lrn> {
    match *op {
        Op::LocalResponseNorm { size, alpha, beta, k } => Some(Lrn { size, alpha, beta, k }),
        _ => None,
    }
}

/// Whether local response norm is among what follows a layer, up to other convolutions.
pub(crate) fn is_normed(graph: &Graph, id: LayerId) -> bool {
    let mut follows = vec![false; graph.layers.len()];
    follows[id] = true;
    for (reader, layer) in graph.layers.iter().enumerate().skip(id + 1) {
        if layer.inputs.iter().any(|&input| follows[input]) {
            match layer.op {
                Op::LocalResponseNorm { .. } => return true,
                Op::MaxPool(_) | Op::AvgPool(_) | Op::Concat | Op::Dropout { .. } => {
                    follows[reader] = true;
                }
                _ => {}
            }
        }
    }
    false
}

pub(crate) fn grid(shape: Shape) -> (usize, usize) {
    (shape.height, shape.width)
}

/// The zeros a layer wants to find around its input.
pub(crate) fn input_border(graph: &Graph, id: LayerId, input: LayerId) -> Border {
    let layer = &graph.layers[id];
    let input = graph.layers[input].shape;
    let geometry = match &layer.op {
        Op::Depthwise { window, .. } => geometry(window),
        op => match filtering(op, input) {
            Some(filtering) => filtering.geometry,
            None => return Border::default(),
        },
    };
    geometry.input_border(grid(input), grid(layer.shape))
}

/// Places of a network's parameters in its list, by layer and role.
pub(crate) fn parameter_places(graph: &Graph) -> HashMap<(LayerId, Role), usize> {
    graph
        .parameters()
        .into_iter()
        .enumerate()
        .map(|(place, parameter)| ((parameter.layer, parameter.role), place))
        .collect()
}

/// Per-channel values as the kernels take them: whole blocks, spare lanes zero.
pub(crate) fn per_lane(values: impl ExactSizeIterator<Item = f32>) -> Vec<f32> {
    let lanes = values.len().next_multiple_of(LANES);
    let mut padded: Vec<f32> = values.collect();
    padded.resize(lanes, 0.0);
    padded
}

/// The graph begun at these layers: their outputs are given, not computed.
pub(crate) fn begun_at(graph: &Graph, inputs: &[LayerId]) -> Graph {
    let mut graph = graph.clone();
    for &id in inputs {
        (graph.layers[id].op, graph.layers[id].inputs) = (Op::Input, Vec::new());
    }
    graph
}

/// What is given for one picture: the input's shape, or several inputs' values in a row.
pub(crate) fn picture(inputs: &[Shape]) -> Shape {
    match inputs {
        [one] => *one,
        several => {
            let channels = several.iter().map(Shape::len).sum();
            Shape { channels, height: 1, width: 1 }
        }
    }
}

/// The values of one of the inputs, picture after picture.
pub(crate) fn input_values<'v>(
    values: &'v [f32],
    inputs: &[Shape],
    which: usize,
) -> Cow<'v, [f32]> {
    let start = inputs[..which].iter().map(Shape::len).sum::<usize>();
    let own = start..start + inputs[which].len();
    match inputs.len() {
        1 => Cow::Borrowed(values),
        _ => {
            let pictures = values.chunks_exact(picture(inputs).len());
            pictures.flat_map(|picture| &picture[own.clone()]).copied().collect()
        }
    }
}

/// Splits work on pictures: a batch's dense values, checked to be whole pictures.
pub(crate) fn count_pictures(values: usize, shape: Shape) -> Result<usize, crate::EngineError> {
    if values == 0 || !values.is_multiple_of(shape.len()) {
        let Shape { channels, height, width } = shape;
        return Err(crate::EngineError::Pictures { values, channels, height, width });
    }
    Ok(values / shape.len())
}

/// Fails unless the weights are exactly the network's parameters.
pub(crate) fn check_weights(
    graph: &Graph,
    weights: &dyn inception_model::WeightSource,
) -> Result<(), crate::EngineError> {
    let wanted = graph.parameters();
    let found = weights.parameters();
    let fault = if wanted.len() != found.len() {
        Some(format!("{} tensors, the network has {}", found.len(), wanted.len()))
    } else {
        wanted.iter().zip(found).find(|(wanted, found)| wanted != found).map(|(wanted, found)| {
            let (name, shape) = (&found.name, &found.shape);
            format!("{name} {shape:?} where {} {:?} belongs", wanted.name, wanted.shape)
        })
    };
    fault.map_or(Ok(()), |fault| Err(crate::EngineError::Weights(fault)))
}
