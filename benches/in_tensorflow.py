"""The TensorFlow graph of an ONNX file: channels last, weights as constants, that is, frozen."""

import numpy as np
import tensorflow as tf

from graph import Graph, Step

nn = tf.nn


def logits(graph: Graph, x: tf.Tensor) -> tf.Tensor:
    """The output for pictures in (picture, row, column, channel) order."""
    values = {graph.input: x}
    for step in graph.steps:
        values[step.output] = _apply(step, [values[name] for name in step.inputs])
    return values[graph.output]


def _apply(step: Step, inputs: list[tf.Tensor]) -> tf.Tensor:
    x = inputs[0]
    match step.op:
        case "Relu":
            return nn.relu(x)
        case "Concat":
            return tf.concat(inputs, {1: 3}[step.attributes["axis"]] if x.shape.rank == 4 else 1)
        case "Identity":
            return x
        case "Flatten":
            # The order of a larger grid's values would be another than ONNX's.
            assert x.shape[1:3] == (1, 1), f"{step.output}: only 1×1 grids are flattened"
            return tf.squeeze(x, [1, 2])
        case "Gemm":
            product = tf.matmul(x, _constant(step.weights[0].T))
            return nn.bias_add(product, _constant(step.weights[1])) if len(step.weights) > 1 else product
        case "Conv":
            return _conv(step, x)
        case "GlobalAveragePool":
            return tf.reduce_mean(x, [1, 2], keepdims=True)
        case "MaxPool":
            padding = _same(step, x) or "VALID"
            if padding == "VALID" and any(step.pads()):
                x = _padded(step, x, x.dtype.min)
            return nn.max_pool2d(x, step.kernel(), step.strides(), padding)
        case "AveragePool":
            return _average(step, x)
        case "LRN":
            size = step.attributes["size"]
            a = step.attributes
            return nn.local_response_normalization(x, size // 2, a["bias"], a["alpha"] / size, a["beta"])
    raise ValueError(f"{step.op} is not understood")


def _constant(values: np.ndarray) -> tf.Tensor:
    return tf.constant(values.astype(np.float32))


def _conv(step: Step, x: tf.Tensor) -> tf.Tensor:
    filters, *bias = step.weights
    groups = step.attributes.get("group", 1)
    top, left, bottom, right = step.pads()
    padding = _same(step, x) or [(0, 0), (top, bottom), (left, right), (0, 0)]
    if groups == 1:
        y = nn.conv2d(x, _constant(filters.transpose(2, 3, 1, 0)), step.strides(), padding)
    else:
        assert groups == x.shape[3], f"{step.output}: only depthwise groups are understood"
        # (input channel × multiplier, 1, rows, columns) to (rows, columns, input channel, multiplier).
        kernel = filters.reshape(groups, -1, *filters.shape[2:]).transpose(2, 3, 0, 1)
        y = nn.depthwise_conv2d(x, _constant(kernel), [1, *step.strides(), 1], padding)
    return nn.bias_add(y, _constant(bias[0])) if bias else y


def _average(step: Step, x: tf.Tensor) -> tf.Tensor:
    """TensorFlow's own pools never count padding."""
    window = step.kernel(), step.strides()
    counted = bool(step.attributes.get("count_include_pad"))
    if any(step.pads()) and not counted:
        padding = _same(step, x)
        assert padding, f"{step.output}: TensorFlow has no such average pool"
        return nn.avg_pool2d(x, *window, padding)
    return nn.avg_pool2d(_padded(step, x, 0.0), *window, "VALID")


def _same(step: Step, x: tf.Tensor) -> str | None:
    """`SAME` where the paddings are what TensorFlow understands by it."""
    kernel = step.kernel()
    pads = step.pads()
    for axis in (0, 1):
        size, stride = x.shape[1 + axis], step.strides()[axis]
        total = max((-(-size // stride) - 1) * stride + kernel[axis] - size, 0)
        if (pads[axis], pads[axis + 2]) != (total // 2, total - total // 2):
            return None
    return "SAME"


def _padded(step: Step, x: tf.Tensor, value: float) -> tf.Tensor:
    if not any(step.pads()):
        return x
    top, left, bottom, right = step.pads()
    return tf.pad(x, [(0, 0), (top, bottom), (left, right), (0, 0)], constant_values=value)
