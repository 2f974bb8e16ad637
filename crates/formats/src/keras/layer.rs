//! One layer of Keras as operations of [`crate::graph`].

use serde_json::Value;

use super::config::{Call, Layer};
use super::lower::{Flow, Lowering, fault};
use crate::graph::{Op, Padding, Pool};
use crate::layout::permuted;
use crate::{Array, Fault};

/// Adds the input that a layer describes.
pub(super) fn input(lowering: &mut Lowering, layer: &Layer) -> Result<usize, Fault> {
    let shape = ["batch_shape", "batch_input_shape"].iter().find_map(|key| layer.config.get(key));
    let shape = match shape.and_then(Value::as_array).map(Vec::as_slice) {
        Some([_, height, width, channels]) => [channels, height, width].map(whole),
        Some(_) => return Err(fault(layer, "its input is no picture of rows, columns, channels")),
        None => [None; 3],
    };
    let flow = Flow { channels: shape[0], size: shape[1].zip(shape[2]), flat: false };
    let name = if layer.class == "InputLayer" { layer.name } else { "input" };
    Ok(lowering.push(name, Op::Input { shape }, Vec::new(), flow))
}

/// Adds the nodes of a layer that is no model.
pub(super) fn lower(
    lowering: &mut Lowering,
    layer: &Layer,
    call: &Call,
    inputs: &[usize],
    path: &str,
) -> Result<usize, Fault> {
    if layer.config.get("data_format").and_then(Value::as_str) == Some("channels_first") {
        return Err(fault(layer, "it has channels first; save the model with channels last"));
    }
    let input = inputs[0];
    let flow = lowering.flow(input);
    let mut one = |op: Op, flow: Flow| lowering.push(layer.name, op, vec![input], flow);
    let node = match layer.class {
        "Conv2D" | "Convolution2D" | "DepthwiseConv2D" | "SeparableConv2D" => {
            convolution(lowering, layer, input, path)?
        }
        "BatchNormalization" => batch_norm(lowering, layer, input, path)?,
        "Dense" => dense(lowering, layer, input, path)?,
        "MaxPooling2D" | "MaxPool2D" | "AveragePooling2D" | "AvgPool2D" => {
            let pool = pool(layer)?;
            let flow = windowed(layer, flow, pool.kernel, pool.stride, pool.padding)?;
            // TensorFlow's average does not count padding.
            let average = layer.class.starts_with("A");
            let op = match average {
                true => Op::AvgPool { pool, count_padding: false },
                false => Op::MaxPool(pool),
            };
            one(op, flow)
        }
        "GlobalAveragePooling2D" | "GlobalAvgPool2D" => {
            one(Op::GlobalAvgPool, Flow { size: Some((1, 1)), ..flow })
        }
        "Concatenate" => concatenation(lowering, layer, inputs)?,
        "Flatten" => one(Op::Identity, Flow { flat: true, ..flow }),
        "Reshape" => reshape(layer, flow).map(|flow| one(Op::Identity, flow))?,
        "Dropout" | "SpatialDropout2D" | "AlphaDropout" | "GaussianDropout" => {
            let rate = layer.config.get("rate").and_then(Value::as_f64).unwrap_or(0.0) as f32;
            one(Op::Dropout { rate }, flow)
        }
        "ReLU" => {
            relu_only(layer)?;
            one(Op::Relu, flow)
        }
        "Softmax" => one(Op::Softmax, flow),
        "Activation" => activation(lowering, layer, layer.name, input)?,
        "Rescaling" => {
            let numbers = |key: &str| numbers(layer.config.get(key));
            let (Some(factor), Some(offset)) = (numbers("scale"), numbers("offset")) else {
                return Err(fault(layer, "its scale or offset is missing"));
            };
            one(Op::Affine { factor, offset }, flow)
        }
        "TFOpLambda" | "SlicingOpLambda" | "TrueDivide" | "Divide" | "Multiply" | "Subtract"
        | "Add" => one(arithmetic(layer, call, inputs)?, flow),
        "GaussianNoise" | "ActivityRegularization" => one(Op::Identity, flow),
        // Augmentation, which does nothing in inference.
        class if class.starts_with("Random") => one(Op::Identity, flow),
        _ => {
            return Err(fault(
                layer,
                "layers of this class are not known here; the Inception family has none",
            ));
        }
    };
    Ok(node)
}

fn convolution(
    lowering: &mut Lowering,
    layer: &Layer,
    input: usize,
    path: &str,
) -> Result<usize, Fault> {
    let (kernel, stride) = (pair(layer, "kernel_size")?, pair(layer, "strides")?);
    let padding = padding(layer)?;
    if layer.config.get("dilation_rate").is_some_and(|_| pair(layer, "dilation_rate") != Ok((1, 1)))
    {
        return Err(fault(layer, "it is dilated"));
    }
    if layer.config.get("groups").and_then(Value::as_u64).unwrap_or(1) != 1 {
        return Err(fault(layer, "it has groups of channels"));
    }
    let bias = flag(layer, "use_bias", true);
    let flow = lowering.flow(input);
    let after = windowed(layer, flow, kernel, stride, padding)?;
    let mut take = |separable: bool| -> Result<(Vec<Array>, Option<Array>), Fault> {
        let weights = &mut lowering.weights;
        let named = match layer.class {
            "DepthwiseConv2D" => "depthwise_kernel",
            _ => "kernel",
        };
        Ok(match (separable, bias) {
            (true, true) => {
                let kinds = ["depthwise_kernel", "pointwise_kernel", "bias"];
                let [depthwise, pointwise, bias] = weights.take(layer.name, path, kinds)?;
                (vec![depthwise, pointwise], Some(bias))
            }
            (true, false) => {
                let kinds = ["depthwise_kernel", "pointwise_kernel"];
                (weights.take(layer.name, path, kinds)?.into(), None)
            }
            (false, true) => {
                let [kernel, bias] = weights.take(layer.name, path, [named, "bias"])?;
                (vec![kernel], Some(bias))
            }
            (false, false) => (weights.take(layer.name, path, [named])?.into(), None),
        })
    };
    let (kernels, bias) = take(layer.class == "SeparableConv2D")?;
    let mut node = input;
    let mut flow = flow;
    let last = kernels.len() - 1;
    for (i, array) in kernels.into_iter().enumerate() {
        let &[height, width, inner, outer] = array.shape.as_slice() else {
            return Err(fault(layer, &format!("its filters have the shape {:?}", array.shape)));
        };
        let depthwise = layer.class != "Conv2D" && layer.class != "Convolution2D" && i == 0;
        let (wanted, step, pad) = match i {
            0 => (kernel, stride, padding),
            _ => ((1, 1), (1, 1), Padding::Explicit([0; 4])),
        };
        if (height, width) != wanted || flow.channels.is_some_and(|c| c != inner) {
            let shape = &array.shape;
            return Err(fault(layer, &format!("filters of the shape {shape:?} do not fit it")));
        }
        let (shape, filters) = if depthwise {
            let filters = permuted(&array.values, [height, width, inner, outer], [2, 3, 0, 1]);
            ([inner * outer, 1, height, width], filters)
        } else {
            let filters = permuted(&array.values, [height, width, inner, outer], [3, 2, 0, 1]);
            ([outer, inner, height, width], filters)
        };
        let bias = bias.as_ref().filter(|_| i == last).map(|bias| bias.values.clone());
        if bias.as_ref().is_some_and(|bias| bias.len() != shape[0]) {
            return Err(fault(layer, "its bias has another length than its channels"));
        }
        let name =
            if i == last { layer.name.to_owned() } else { format!("{}/depthwise", layer.name) };
        let groups = if depthwise { inner } else { 1 };
        flow = Flow { channels: Some(shape[0]), size: after.size, flat: false };
        let op = Op::Conv { filters, shape, bias, stride: step, padding: pad, groups };
        node = lowering.push(&name, op, vec![node], flow);
    }
    activation(lowering, layer, &format!("{}/activation", layer.name), node)
}

fn batch_norm(
    lowering: &mut Lowering,
    layer: &Layer,
    input: usize,
    path: &str,
) -> Result<usize, Fault> {
    if !is_channels(layer.config.get("axis"), 4) {
        return Err(fault(layer, "it normalises another axis than the channels"));
    }
    let Some(epsilon) = layer.config.get("epsilon").and_then(Value::as_f64) else {
        return Err(fault(layer, "it has no epsilon"));
    };
    let (gamma, beta) = (flag(layer, "scale", true), flag(layer, "center", true));
    let weights = &mut lowering.weights;
    let (scale, shift, mean, variance) = match (gamma, beta) {
        (true, true) => {
            let kinds = ["gamma", "beta", "moving_mean", "moving_variance"];
            let [g, b, m, v] = weights.take(layer.name, path, kinds)?;
            (Some(g), Some(b), m, v)
        }
        (true, false) => {
            let kinds = ["gamma", "moving_mean", "moving_variance"];
            let [g, m, v] = weights.take(layer.name, path, kinds)?;
            (Some(g), None, m, v)
        }
        (false, true) => {
            let kinds = ["beta", "moving_mean", "moving_variance"];
            let [b, m, v] = weights.take(layer.name, path, kinds)?;
            (None, Some(b), m, v)
        }
        (false, false) => {
            let kinds = ["moving_mean", "moving_variance"];
            let [m, v] = weights.take(layer.name, path, kinds)?;
            (None, None, m, v)
        }
    };
    let flow = lowering.flow(input);
    let channels = mean.values.len();
    let lengths = [scale.as_ref(), shift.as_ref(), Some(&variance)];
    let other = lengths.into_iter().flatten().any(|array| array.values.len() != channels);
    if other || flow.channels.is_some_and(|c| c != channels) {
        return Err(fault(layer, "its arrays have other lengths than its channels"));
    }
    let op = Op::BatchNorm {
        scale: scale.map(|array| array.values),
        shift: shift.map_or_else(|| vec![0.0; channels], |array| array.values),
        mean: mean.values,
        variance: variance.values,
        epsilon: epsilon as f32,
    };
    Ok(lowering.push(layer.name, op, vec![input], Flow { channels: Some(channels), ..flow }))
}

fn dense(lowering: &mut Lowering, layer: &Layer, input: usize, path: &str) -> Result<usize, Fault> {
    let flow = lowering.flow(input);
    let (kernel, bias) = if flag(layer, "use_bias", true) {
        let [kernel, bias] = lowering.weights.take(layer.name, path, ["kernel", "bias"])?;
        (kernel, Some(bias.values))
    } else {
        let [kernel] = lowering.weights.take(layer.name, path, ["kernel"])?;
        (kernel, None)
    };
    let &[inner, outer] = kernel.shape.as_slice() else {
        return Err(fault(layer, &format!("its matrix has the shape {:?}", kernel.shape)));
    };
    if bias.as_ref().is_some_and(|bias| bias.len() != outer) {
        return Err(fault(layer, "its bias has another length than its outputs"));
    }
    let Some((height, width)) = flow.size else {
        return Err(fault(
            layer,
            "the size of the grid before it is not in the file, so the order of its inputs is \
             unknown; save the model with an input of fixed size",
        ));
    };
    let cells = height.checked_mul(width).filter(|&cells| cells > 0);
    let channels = cells.filter(|cells| inner % cells == 0).map(|cells| inner / cells);
    let channels = channels.filter(|&c| flow.channels.is_none_or(|known| known == c));
    let Some(channels) = channels else {
        return Err(fault(layer, &format!("its matrix has {inner} rows, its input has others")));
    };
    if !flow.flat && (height, width) != (1, 1) {
        return Err(fault(layer, "it reads a grid; flatten or pool it before"));
    }
    // Keras flattens rows, columns, channels; here it is channels, rows, columns.
    let matrix = permuted(&kernel.values, [height, width, channels, outer], [3, 2, 0, 1]);
    let op = Op::Linear { matrix, shape: [outer, inner], bias };
    let flow = Flow { channels: Some(outer), size: Some((1, 1)), flat: false };
    let node = lowering.push(layer.name, op, vec![input], flow);
    activation(lowering, layer, &format!("{}/activation", layer.name), node)
}

fn concatenation(lowering: &mut Lowering, layer: &Layer, inputs: &[usize]) -> Result<usize, Fault> {
    let flows: Vec<Flow> = inputs.iter().map(|&input| lowering.flow(input)).collect();
    // Vectors are joined along their only axis, and so are pooled grids.
    let axes = if flows[0].flat { 2 } else { 4 };
    if !is_channels(layer.config.get("axis"), axes) && !is_channels(layer.config.get("axis"), 2) {
        return Err(fault(layer, "it joins along another axis than the channels"));
    }
    if flows.iter().any(|flow| flow.flat && flow.size != Some((1, 1))) {
        return Err(fault(layer, "it joins flattened grids"));
    }
    let channels = flows
        .iter()
        .map(|flow| flow.channels)
        .try_fold(0_usize, |sum, channels| sum.checked_add(channels?));
    let flow = Flow { channels, ..flows[0] };
    Ok(lowering.push(layer.name, Op::Concat, inputs.to_vec(), flow))
}

/// The activation that a layer has built in, or is; the input itself where that is linear.
fn activation(
    lowering: &mut Lowering,
    layer: &Layer,
    name: &str,
    input: usize,
) -> Result<usize, Fault> {
    let value = layer.config.get("activation").unwrap_or(&Value::Null);
    // Keras 3 may write {"class_name": "function", "config": "relu"} or a layer's own object.
    let inner = value.get("config").filter(|config| config.is_string());
    let word = inner.or_else(|| value.get("class_name")).unwrap_or(value).as_str();
    let op = match word.unwrap_or("linear") {
        "linear" if layer.class == "Activation" => Op::Identity,
        "linear" => return Ok(input),
        "relu" | "ReLU" => Op::Relu,
        "softmax" | "Softmax" => Op::Softmax,
        other => return Err(fault(layer, &format!("its activation {other} is not known here"))),
    };
    let flow = lowering.flow(input);
    Ok(lowering.push(name, op, vec![input], flow))
}

fn relu_only(layer: &Layer) -> Result<(), Fault> {
    let zero = |key: &str| {
        layer.config.get(key).and_then(|v| v.get("value").unwrap_or(v).as_f64()).unwrap_or(0.0)
    };
    let bounded = layer.config.get("max_value").is_some_and(|max| !max.is_null());
    if bounded || zero("negative_slope") != 0.0 || zero("threshold") != 0.0 {
        return Err(fault(layer, "it is more than max(0, x)"));
    }
    Ok(())
}

/// `x / 127.5`, `x - 1` and the like, as `preprocess_input` leaves them in a model.
fn arithmetic(layer: &Layer, call: &Call, inputs: &[usize]) -> Result<Op, Fault> {
    let function = match layer.class {
        "TFOpLambda" => layer.config.get("function").and_then(Value::as_str).unwrap_or(""),
        class => class,
    };
    let (&[_], &[number]) = (inputs, call.numbers.as_slice()) else {
        return Err(fault(layer, "it is arithmetic of more than a tensor and a number"));
    };
    let (factor, offset) = match function {
        "math.truediv" | "math.divide" | "TrueDivide" | "Divide" => (1.0 / number, 0.0),
        "math.multiply" | "Multiply" => (number, 0.0),
        "math.subtract" | "Subtract" => (1.0, -number),
        "math.add" | "__operators__.add" | "Add" => (1.0, number),
        other => return Err(fault(layer, &format!("{other} is not known here"))),
    };
    Ok(Op::Affine { factor: vec![factor as f32], offset: vec![offset as f32] })
}

fn reshape(layer: &Layer, flow: Flow) -> Result<Flow, Fault> {
    let shape = layer.config.get("target_shape").and_then(Value::as_array);
    match shape.map(Vec::as_slice) {
        Some([_]) => Ok(Flow { flat: true, ..flow }),
        Some([h, w, _])
            if whole(h) == Some(1) && whole(w) == Some(1) && flow.size == Some((1, 1)) =>
        {
            Ok(Flow { flat: false, ..flow })
        }
        _ => Err(fault(layer, "it is more than flattening")),
    }
}

fn pool(layer: &Layer) -> Result<Pool, Fault> {
    let kernel = pair(layer, "pool_size")?;
    let stride = match layer.config.get("strides") {
        None | Some(Value::Null) => kernel,
        Some(_) => pair(layer, "strides")?,
    };
    Ok(Pool { kernel, stride, padding: padding(layer)?, ceil: false })
}

/// The input's flow after windows moved over it.
fn windowed(
    layer: &Layer,
    flow: Flow,
    kernel: (usize, usize),
    stride: (usize, usize),
    padding: Padding,
) -> Result<Flow, Fault> {
    if flow.flat {
        return Err(fault(layer, "it reads what has been flattened"));
    }
    let along = |length: usize, kernel: usize, stride: usize| match padding {
        Padding::Same => Ok(length.div_ceil(stride)),
        Padding::Explicit(_) if length >= kernel => Ok((length - kernel) / stride + 1),
        Padding::Explicit(_) => Err(fault(layer, "its window is larger than the grid")),
    };
    let size = match flow.size {
        Some((height, width)) => {
            Some((along(height, kernel.0, stride.0)?, along(width, kernel.1, stride.1)?))
        }
        None => None,
    };
    Ok(Flow { size, ..flow })
}

fn padding(layer: &Layer) -> Result<Padding, Fault> {
    match layer.config.get("padding").or_else(|| layer.config.get("border_mode")) {
        Some(Value::String(word)) if word == "same" => Ok(Padding::Same),
        Some(Value::String(word)) if word == "valid" => Ok(Padding::Explicit([0; 4])),
        None => Ok(Padding::Explicit([0; 4])),
        Some(other) => Err(fault(layer, &format!("its padding {other} is not known here"))),
    }
}

/// Two positive numbers, or one for both.
fn pair(layer: &Layer, key: &str) -> Result<(usize, usize), Fault> {
    let value = layer.config.get(key);
    let both = match value {
        Some(Value::Array(items)) => match items.as_slice() {
            [height, width] => whole(height).zip(whole(width)),
            _ => None,
        },
        Some(value) => whole(value).map(|n| (n, n)),
        None => Some((1, 1)),
    };
    both.filter(|&(height, width)| height > 0 && width > 0)
        .ok_or_else(|| fault(layer, &format!("its {key} is not two whole numbers above 0")))
}

/// Whether an axis, which may stand in a list, is the last of `axes`; the last unless given.
fn is_channels(axis: Option<&Value>, axes: i64) -> bool {
    let axis = match axis {
        Some(Value::Array(items)) => items.first(),
        other => other,
    };
    axis.is_none_or(|axis| axis.as_i64().is_some_and(|axis| axis == -1 || axis == axes - 1))
}

fn flag(layer: &Layer, key: &str, default: bool) -> bool {
    layer.config.get(key).and_then(Value::as_bool).unwrap_or(default)
}

/// A size, small enough to calculate with.
fn whole(value: &Value) -> Option<usize> {
    const MOST: u64 = 1 << 24;
    value.as_u64().filter(|&n| n <= MOST).map(|n| n as usize)
}

/// A number or several.
fn numbers(value: Option<&Value>) -> Option<Vec<f32>> {
    match value? {
        Value::Array(items) => items.iter().map(|item| item.as_f64().map(|n| n as f32)).collect(),
        value => Some(vec![value.as_f64()? as f32]),
    }
}
