//! Each operation in terms of [`crate::graph`]'s.

use super::constants::{axes, constant, within};
use super::lower::{Call, Flow, Lowering, Value};
use super::tensor::Constant;
use crate::Fault;
use crate::graph::{Op, Padding, Pool};

/// What the node makes.
pub(super) fn lower(lowering: &mut Lowering, call: &Call) -> Result<Value, Fault> {
    let constants = call.inputs.iter().flatten().all(|value| matches!(value, Value::Constant(_)));
    if constants && let Some(constant) = constant(lowering, call)? {
        return Ok(Value::Constant(constant));
    }
    if call.op == "Shape" {
        return Ok(Value::Sizes);
    }
    // Arithmetic on sizes ends in a reshape, whose meaning is clear without it.
    let of_sizes = |value: &Value| matches!(value, Value::Sizes | Value::Constant(_));
    if !call.inputs.is_empty() && call.inputs.iter().flatten().all(of_sizes) {
        return Ok(Value::Sizes);
    }
    match call.op {
        "Conv" => convolution(lowering, call),
        "BatchNormalization" => batch_norm(lowering, call),
        "Relu" => simple(lowering, call, Op::Relu),
        "Softmax" | "LogSoftmax" => simple(lowering, call, Op::Softmax),
        "Dropout" => dropout(lowering, call),
        "Cast" if !matches!(call.attributes.int("to"), Some(1 | 10 | 11 | 16)) => {
            Err(Fault::new("it makes whole numbers of values"))
        }
        "Identity" | "Cast" => call.input(0).cloned().ok_or_else(|| Fault::new("it reads nothing")),
        "MaxPool" => max_pool(lowering, call),
        "AveragePool" => average_pool(lowering, call),
        "GlobalAveragePool" => {
            let from = planar(call)?;
            let node = lowering.push(&call.name, Op::GlobalAvgPool, vec![from.node]);
            Ok(Value::Flow(Flow { node, single: true, ..from }))
        }
        "ReduceMean" => reduce_mean(lowering, call),
        "LRN" => local_response_norm(lowering, call),
        "Concat" => concat(lowering, call),
        "Gemm" | "MatMul" => linear(lowering, call),
        "Add" | "Sub" | "Mul" | "Div" => affine(lowering, call),
        "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" | "Transpose" => reshape(lowering, call),
        "Gather" => channel(call),
        "Pad" => pad(lowering, call),
        other => Err(Fault::new(format!("the operation `{other}` is none of an Inception's"))),
    }
}

fn simple(lowering: &mut Lowering, call: &Call, op: Op) -> Result<Value, Fault> {
    let from = call.flow(0)?;
    Ok(lowering.push_like(&call.name, op, from))
}

/// The input with its channels before rows and columns.
fn planar(call: &Call) -> Result<Flow, Fault> {
    let from = call.flow(0)?;
    if from.flat || from.channels_last {
        return Err(Fault::new("it does not read pictures with channels before rows and columns"));
    }
    Ok(from)
}

/// The input as [`planar`] and the zeros put around it before.
fn padded(call: &Call) -> Result<(Flow, [usize; 4]), Fault> {
    match call.input(0) {
        Some(Value::Padded { flow, zeros }) if !flow.flat && !flow.channels_last => {
            Ok((*flow, *zeros))
        }
        _ => Ok((planar(call)?, [0; 4])),
    }
}

fn convolution(lowering: &mut Lowering, call: &Call) -> Result<Value, Fault> {
    let (from, zeros) = padded(call)?;
    let weights = call.constant(1).ok_or_else(|| Fault::new("its filters are no constant"))?;
    let shape: [usize; 4] = weights.shape[..].try_into().map_err(|_| {
        Fault::new(format!("its filters have {} axes, not four", weights.shape.len()))
    })?;
    let filters = call.floats(1)?;
    let bias = call.input(2).map(|_| call.floats(2)).transpose()?;
    if call.attributes.sizes("dilations", Some([1, 1]))? != [1, 1] {
        return Err(Fault::new("a dilated convolution"));
    }
    let groups = usize::try_from(call.attributes.int("group").unwrap_or(1)).unwrap_or(0);
    let [down, across] = call.attributes.sizes("strides", Some([1, 1]))?;
    let padding = padding(call, (shape[2], shape[3]), (down, across), zeros)?;
    let stride = (down, across);
    let op = Op::Conv { filters, shape, bias, stride, padding, groups };
    Ok(lowering.push_like(&call.name, op, from))
}

/// The padding of a convolution or pool, with the zeros that stand around its input already.
fn padding(
    call: &Call,
    kernel: (usize, usize),
    stride: (usize, usize),
    zeros: [usize; 4],
) -> Result<Padding, Fault> {
    let explicit = match call.attributes.text("auto_pad").unwrap_or("NOTSET") {
        "NOTSET" | "" => {
            let [top, left, bottom, right] = call.attributes.sizes("pads", Some([0; 4]))?;
            [top, bottom, left, right]
        }
        "VALID" => [0; 4],
        "SAME_UPPER" if zeros == [0; 4] => return Ok(Padding::Same),
        // The odd row above and the odd column left; without an odd one the same as above.
        "SAME_LOWER" if zeros == [0; 4] && stride == (1, 1) && kernel.0 > 0 && kernel.1 > 0 => {
            let (rows, columns) = (kernel.0 - 1, kernel.1 - 1);
            [rows.div_ceil(2), rows / 2, columns.div_ceil(2), columns / 2]
        }
        other => return Err(Fault::new(format!("its padding `{other}` is not read here"))),
    };
    Ok(Padding::Explicit(std::array::from_fn(|side| explicit[side] + zeros[side])))
}

fn pool(call: &Call, zeros: [usize; 4]) -> Result<Pool, Fault> {
    let attributes = &call.attributes;
    let [height, width] = attributes.sizes("kernel_shape", None)?;
    let [down, across] = attributes.sizes("strides", Some([1, 1]))?;
    if attributes.sizes("dilations", Some([1, 1]))? != [1, 1] {
        return Err(Fault::new("a dilated pool"));
    }
    let (kernel, stride) = ((height, width), (down, across));
    let padding = padding(call, kernel, stride, zeros)?;
    Ok(Pool { kernel, stride, padding, ceil: attributes.flag("ceil_mode") })
}

fn max_pool(lowering: &mut Lowering, call: &Call) -> Result<Value, Fault> {
    let from = planar(call)?;
    let pool = pool(call, [0; 4])?;
    Ok(lowering.push_like(&call.name, Op::MaxPool(pool), from))
}

fn average_pool(lowering: &mut Lowering, call: &Call) -> Result<Value, Fault> {
    let (from, zeros) = padded(call)?;
    let pool = pool(call, zeros)?;
    // Zeros put there by a node of their own are values like any other.
    let outside = zeros != [0; 4];
    let own_padding = call.attributes.ints("pads").is_some_and(|pads| pads.iter().any(|&n| n != 0));
    let count_padding = outside || call.attributes.flag("count_include_pad");
    if outside && own_padding && !call.attributes.flag("count_include_pad") {
        return Err(Fault::new("an average of which some zeros count and others do not"));
    }
    Ok(lowering.push_like(&call.name, Op::AvgPool { pool, count_padding }, from))
}

fn reduce_mean(lowering: &mut Lowering, call: &Call) -> Result<Value, Fault> {
    let from = call.flow(0)?;
    let mut axes = within(&axes(call).unwrap_or_default(), 4)?;
    axes.sort_unstable();
    let grid = if from.channels_last { [1, 2] } else { [2, 3] };
    if from.flat || axes != grid {
        return Err(Fault::new("a mean over something else than rows and columns"));
    }
    let flat = call.attributes.int("keepdims") == Some(0);
    let node = lowering.push(&call.name, Op::GlobalAvgPool, vec![from.node]);
    Ok(Value::Flow(Flow { node, flat, single: true, ..from }))
}

fn batch_norm(lowering: &mut Lowering, call: &Call) -> Result<Value, Fault> {
    let from = call.flow(0)?;
    if from.channels_last {
        return Err(Fault::new("its channels are the last axis"));
    }
    if call.attributes.flag("training_mode") {
        return Err(Fault::new("it is in training mode; export the network for inference"));
    }
    let op = Op::BatchNorm {
        scale: Some(call.floats(1)?),
        shift: call.floats(2)?,
        mean: call.floats(3)?,
        variance: call.floats(4)?,
        epsilon: call.attributes.float("epsilon").unwrap_or(1e-5),
    };
    Ok(lowering.push_like(&call.name, op, from))
}

fn dropout(lowering: &mut Lowering, call: &Call) -> Result<Value, Fault> {
    let from = call.flow(0)?;
    let given = call.constant(1).and_then(Constant::as_floats).and_then(|v| v.first().copied());
    let rate = given.or(call.attributes.float("ratio")).unwrap_or(0.5);
    Ok(lowering.push_like(&call.name, Op::Dropout { rate }, from))
}

fn local_response_norm(lowering: &mut Lowering, call: &Call) -> Result<Value, Fault> {
    let from = planar(call)?;
    let float = |name, otherwise| call.attributes.float(name).unwrap_or(otherwise);
    let size = call.attributes.int("size").and_then(|size| usize::try_from(size).ok());
    let op = Op::LocalResponseNorm {
        size: size.ok_or_else(|| Fault::new("it has no `size`"))?,
        alpha: float("alpha", 1e-4),
        beta: float("beta", 0.75),
        k: float("bias", 1.0),
    };
    Ok(lowering.push_like(&call.name, op, from))
}

fn concat(lowering: &mut Lowering, call: &Call) -> Result<Value, Fault> {
    let axis = call.attributes.int("axis").unwrap_or(1);
    if let Some(value) = all_channels(lowering, call, axis)? {
        return Ok(value);
    }
    let first = call.flow(0)?;
    let mut nodes = Vec::with_capacity(call.inputs.len());
    for place in 0..call.inputs.len() {
        let flow = call.flow(place)?;
        if (flow.flat, flow.channels_last) != (first.flat, first.channels_last) {
            return Err(Fault::new("its inputs have different axes"));
        }
        nodes.push(flow.node);
    }
    let rank = if first.flat { 2 } else { 4 };
    let channels = if first.channels_last && !first.flat { 3 } else { 1 };
    if within(&[axis], rank)? != [channels] {
        return Err(Fault::new("a concatenation along another axis than the channels"));
    }
    Ok(Value::Flow(Flow { node: lowering.push(&call.name, Op::Concat, nodes), ..first }))
}

/// The concatenation of all channels of one value, each scaled by itself.
fn all_channels(lowering: &mut Lowering, call: &Call, axis: i64) -> Result<Option<Value>, Fault> {
    let Some(Value::Channel { node: from, .. }) = call.input(0) else { return Ok(None) };
    let (mut factors, mut offsets) = (Vec::new(), Vec::new());
    for (place, input) in call.inputs.iter().enumerate() {
        match input {
            Some(Value::Channel { node, channel, factor, offset })
                if node == from && *channel == place =>
            {
                factors.push(*factor);
                offsets.push(*offset);
            }
            _ => return Err(Fault::new("it puts channels together in another order")),
        }
    }
    let channels = match &lowering.nodes[*from].op {
        Op::Input { shape: [channels, ..] } => *channels,
        _ => None,
    };
    if within(&[axis], 4)? != [1] || channels.is_some_and(|n| n != factors.len()) {
        return Err(Fault::new("it puts together something else than all channels of the input"));
    }
    let op = Op::Affine { factor: factors, offset: offsets };
    let flow = Flow { node: *from, flat: false, channels_last: false, single: false };
    Ok(Some(lowering.push_like(&call.name, op, flow)))
}

/// One channel of the input, taken out.
fn channel(call: &Call) -> Result<Value, Fault> {
    let from = planar(call)?;
    let axis = within(&[call.attributes.int("axis").unwrap_or(0)], 4)?;
    let index = call.constant(1).and_then(Constant::as_ints);
    match index {
        Some(&[channel]) if axis == [1] && channel >= 0 => Ok(Value::Channel {
            node: from.node,
            channel: channel as usize,
            factor: 1.0,
            offset: 0.0,
        }),
        _ => Err(Fault::new("it takes out something else than one channel")),
    }
}

fn linear(lowering: &mut Lowering, call: &Call) -> Result<Value, Fault> {
    let from = call.flow(0)?;
    if !from.flat {
        return Err(Fault::new("it does not read one vector for each picture"));
    }
    let attributes = &call.attributes;
    let gemm = call.op == "Gemm";
    if gemm && attributes.flag("transA") {
        return Err(Fault::new("it reads pictures across"));
    }
    let weights = call.constant(1).ok_or_else(|| Fault::new("its matrix is no constant"))?;
    let &[rows, columns] = &weights.shape[..] else {
        return Err(Fault::new("its matrix does not have two axes"));
    };
    let (shape, turned) = match gemm && attributes.flag("transB") {
        true => ([rows, columns], weights.clone()),
        false => ([columns, rows], weights.transposed(&[1, 0], lowering.store)?),
    };
    let Some(matrix) = turned.as_floats() else {
        return Err(Fault::new("its matrix is no constant of floating-point numbers"));
    };
    let factor = if gemm { attributes.float("alpha").unwrap_or(1.0) } else { 1.0 };
    let matrix = matrix.iter().map(|v| v * factor).collect();
    let bias = match call.input(2) {
        Some(_) if gemm => {
            let beta = attributes.float("beta").unwrap_or(1.0);
            let bias: Vec<f32> = call.floats(2)?.iter().map(|v| v * beta).collect();
            match bias[..] {
                [one] => Some(vec![one; shape[0]]),
                _ => Some(bias),
            }
        }
        _ => None,
    };
    let op = Op::Linear { matrix, shape, bias };
    Ok(lowering.push_like(&call.name, op, Flow { single: true, ..from }))
}

/// Arithmetic with a constant: one for all values, or one for each channel.
fn affine(lowering: &mut Lowering, call: &Call) -> Result<Value, Fault> {
    let (value, constant, turned) = match (call.input(0), call.input(1)) {
        (Some(value), Some(Value::Constant(constant))) => (value, constant, false),
        (Some(Value::Constant(constant)), Some(value)) => (value, constant, true),
        _ => return Err(Fault::new("arithmetic of two values of the network")),
    };
    let Some(numbers) = constant.as_floats().filter(|numbers| !numbers.is_empty()) else {
        return Err(Fault::new("arithmetic with something else than floating-point numbers"));
    };
    lowering.store.take(2 * numbers.len())?;
    let all = |number: f32| vec![number; numbers.len()];
    let each = |f: fn(&f32) -> f32| numbers.iter().map(f).collect::<Vec<f32>>();
    let (factor, offset) = match (call.op, turned) {
        ("Add", _) => (all(1.0), numbers.to_vec()),
        ("Sub", false) => (all(1.0), each(|v| -v)),
        ("Sub", true) => (all(-1.0), numbers.to_vec()),
        ("Mul", _) => (numbers.to_vec(), all(0.0)),
        ("Div", false) => (each(|v| 1.0 / v), all(0.0)),
        _ => return Err(Fault::new("a constant divided by a value of the network")),
    };
    match value {
        &Value::Channel { node, channel, factor: first, offset: moved } => {
            let &[factor] = &factor[..] else {
                return Err(Fault::new("one channel with many numbers"));
            };
            let (factor, offset) = (first * factor, moved * factor + offset[0]);
            Ok(Value::Channel { node, channel, factor, offset })
        }
        Value::Flow(flow) => {
            let legacy = lowering.version < 7 && call.attributes.int("axis") == Some(1);
            if !per_channel(&constant.shape, *flow, legacy) {
                let shape = &constant.shape;
                let text = format!("arithmetic with an array of shape {shape:?}, not by channel");
                return Err(Fault::new(text));
            }
            Ok(lowering.push_like(&call.name, Op::Affine { factor, offset }, *flow))
        }
        _ => Err(Fault::new("arithmetic with something else than a value of the network")),
    }
}

/// Whether an array of this shape has one number for all, or one for each channel.
fn per_channel(shape: &[usize], flow: Flow, legacy: bool) -> bool {
    let long = shape.iter().filter(|&&n| n != 1).count();
    if long == 0 || (legacy && shape.len() == 1) {
        return true;
    }
    // From the last axis: where the channels are.
    let after = if flow.flat || flow.channels_last { 0 } else { 2 };
    long == 1 && shape.iter().rposition(|&n| n != 1).is_some_and(|at| shape.len() - 1 - at == after)
}

/// Reshapes that only change how the axes are called.
fn reshape(lowering: &mut Lowering, call: &Call) -> Result<Value, Fault> {
    if let (Some(Value::Channel { .. }), "Unsqueeze" | "Squeeze") = (call.input(0), call.op) {
        return Ok(call.inputs[0].clone().expect("seen"));
    }
    let from = call.flow(0)?;
    let unclear = || Err(Fault::new("it rearranges values in a way that is not read here"));
    let flat = |from: Flow| match from.channels_last && !from.single && !from.flat {
        true => Err(Fault::new("it flattens a grid whose channels are the last axis")),
        false => Ok(Flow { flat: true, channels_last: false, ..from }),
    };
    let grid = if from.channels_last { [1, 2] } else { [2, 3] };
    let to = match call.op {
        "Flatten" if call.attributes.int("axis").unwrap_or(1) == 1 => flat(from)?,
        "Squeeze" if from.flat => return unclear(),
        "Squeeze" => match axes(call).map(|axes| within(&axes, 4)).transpose()? {
            Some(mut axes) => {
                axes.sort_unstable();
                if axes != grid {
                    return unclear();
                }
                flat(Flow { single: true, ..from })?
            }
            None => flat(Flow { single: true, ..from })?,
        },
        "Unsqueeze" if from.flat => {
            let mut axes = within(&axes(call).unwrap_or_default(), 4)?;
            axes.sort_unstable();
            match axes[..] {
                [2, 3] => Flow { flat: false, channels_last: false, single: true, ..from },
                [1, 2] => Flow { flat: false, channels_last: true, single: true, ..from },
                _ => return unclear(),
            }
        }
        "Transpose" if !from.flat => {
            let order = within(call.attributes.ints("perm").unwrap_or(&[3, 2, 1, 0]), 4)?;
            match (&order[..], from.channels_last) {
                ([0, 1, 2, 3], _) => from,
                ([0, 3, 1, 2], true) => Flow { channels_last: false, ..from },
                ([0, 2, 3, 1], false) => Flow { channels_last: true, ..from },
                _ => return unclear(),
            }
        }
        "Reshape" => {
            let constant = call.constant(1).and_then(Constant::as_ints);
            match (constant.or(call.attributes.ints("shape")), call.input(1)) {
                (Some(&[_, _]), _) | (None, Some(Value::Sizes)) => flat(from)?,
                (Some(&[_, _, 1, 1]), _) if from.flat || from.single => {
                    Flow { flat: false, channels_last: false, single: true, ..from }
                }
                (Some(&[_, 1, 1, _]), _) if from.flat || from.single => {
                    Flow { flat: false, channels_last: true, single: true, ..from }
                }
                _ => return unclear(),
            }
        }
        _ => return unclear(),
    };
    let node = lowering.push(&call.name, Op::Identity, vec![from.node]);
    Ok(Value::Flow(Flow { node, ..to }))
}

fn pad(lowering: &Lowering, call: &Call) -> Result<Value, Fault> {
    let from = planar(call)?;
    let by_attribute = lowering.version < 11;
    let pads = match by_attribute {
        true => call.attributes.ints("pads").map(<[i64]>::to_vec),
        false => call.constant(1).and_then(Constant::as_ints).map(<[i64]>::to_vec),
    };
    let value = match by_attribute {
        true => call.attributes.float("value").unwrap_or(0.0),
        false => call
            .constant(2)
            .and_then(Constant::as_floats)
            .and_then(|v| v.first().copied())
            .unwrap_or(0.0),
    };
    let zeros = call.attributes.text("mode").unwrap_or("constant") == "constant" && value == 0.0;
    let size = |n: i64| usize::try_from(n).ok().filter(|&n| n < 1 << 16);
    match pads.as_deref() {
        Some(&[0, 0, top, left, 0, 0, bottom, right]) if zeros => {
            let sides = [size(top), size(bottom), size(left), size(right)];
            match sides {
                [Some(top), Some(bottom), Some(left), Some(right)] => {
                    Ok(Value::Padded { flow: from, zeros: [top, bottom, left, right] })
                }
                _ => Err(Fault::new("its padding is negative or too large")),
            }
        }
        _ => Err(Fault::new("it pads with something else than zeros around rows and columns")),
    }
}
