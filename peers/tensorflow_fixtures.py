"""Small files that TensorFlow writes, for the tests in `crates/formats` and `crates/convert`.

    .venv-peers/bin/python peers/tensorflow_fixtures.py

Value number i of a tensor is `(i mod 1000) / 8 - 2`, a picture's `(7 i mod 23) / 11 - 1` in (row, column,
channel) order, a weight's `(5 i mod 17 - 8) / 16`: the tests know them so.
"""

import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow.compat.v1 as tf

ROOT = Path(__file__).resolve().parent.parent / "crates"
FORMATS = ROOT / "formats/tests/data/tensorflow"
CONVERT = ROOT / "convert/tests/data/tensorflow"


def counted(shape, kind=np.float32):
    return (np.arange(np.prod(shape)) % 1000 / 8 - 2).astype(kind).reshape(shape)


def checkpoints():
    with tf.Graph().as_default(), tf.Session(config=tf.ConfigProto(device_count={"CPU": 2})) as session:
        variables = [
            tf.Variable(counted((2, 3, 4, 5)), name="scope/weights"),
            tf.Variable(np.zeros((40, 50), np.float32), name="scope/zeros"),  # compressible
            tf.Variable(np.float32(0.5), name="scalar"),
            tf.Variable(counted((7,), np.float64), name="double"),
            tf.Variable(np.int64(123456), name="global_step"),
        ]
        halves = [tf.Variable(counted((9,), np.float16), name="half"), tf.Variable(tf.cast(counted((9,)), tf.bfloat16), name="bfloat16")]
        with tf.device("/cpu:1"):
            text = tf.Variable("text", name="text")
        parts = []
        # Places beyond 63 and 8191 are written in two and three bytes.
        for name, shape, axis, count, kind in (("parts/columns", (3, 10), 1, 3, np.float32), ("parts/rows", (200, 3), 0, 2, np.float32), ("parts/long", (16400,), 0, 2, np.int8)):
            cut = tf.fixed_size_partitioner(count, axis=axis)
            made = tf.get_variable(name, shape, kind, partitioner=cut, initializer=tf.zeros_initializer(), use_resource=False)
            for part in made:
                start = part._get_save_slice_info().var_offset
                parts.append((part, counted(shape, kind)[tuple(slice(s, s + n) for s, n in zip(start, part.shape.as_list()))]))
        session.run(tf.global_variables_initializer())
        for part, value in parts:
            part.load(value, session)
        parted = [part for part, _ in parts]
        v2 = tf.train.Saver(variables + halves + [text] + parted, sharded=True)
        v2.save(session, str(FORMATS / "v2.ckpt"), write_meta_graph=False, write_state=False)
        v1 = tf.train.Saver(variables + parted, write_version=tf.train.SaverDef.V1)
        v1.save(session, str(FORMATS / "v1.ckpt"), write_meta_graph=False, write_state=False)


def weight(*shape):
    return ((5 * np.arange(np.prod(shape)) % 17 - 8) / 16).astype(np.float32).reshape(shape)


def positive(*shape):
    return 0.5 + np.abs(weight(*shape))


def picture(side):
    return ((7 * np.arange(side * side * 3) % 23) / 11 - 1).astype(np.float32).reshape(1, side, side, 3)


def record(name, graph, logits, fetched, feed):
    """The graph, and what it makes of a picture."""
    with tf.Graph().as_default(), tf.Session() as session:
        tf.import_graph_def(graph, name="")
        value = session.run(fetched, feed)
    CONVERT.mkdir(parents=True, exist_ok=True)
    (CONVERT / f"{name}.pb").write_bytes(graph.SerializeToString())
    (CONVERT / f"{name}.json").write_text(json.dumps([float(v) for v in value.reshape(-1)]) + "\n")


def spelled_out():
    """Batch norm in single operations, a dropout, a grid flattened by way of its shape."""

    def build(dropout):
        with tf.Graph().as_default() as graph:
            x = tf.placeholder(tf.float32, [None, 13, 13, 3], name="input")
            y = tf.nn.conv2d(x, weight(3, 3, 3, 6), 2, "SAME")
            y = tf.nn.batch_normalization(y, weight(6), positive(6), 0.5 * weight(6), positive(6)[::-1].copy(), 1e-3)
            y = tf.nn.relu(y)
            y = tf.nn.local_response_normalization(y, depth_radius=2, bias=2.0, alpha=0.1, beta=0.75)
            a = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(y, weight(1, 1, 6, 4), 1, "VALID"), weight(4)))
            b = tf.nn.depthwise_conv2d(y, weight(3, 3, 6, 2), [1, 1, 1, 1], "SAME")
            b = tf.nn.relu(tf.nn.conv2d(b, weight(1, 1, 12, 5), 1, "SAME") + weight(5))
            c = tf.nn.max_pool2d(y, 3, 1, "SAME")
            y = tf.concat([a, b, c], 3)
            y = tf.nn.avg_pool2d(y, 3, 2, "SAME")
            batch = tf.shape(y)[0]
            y = tf.reshape(y, tf.stack([batch, -1]))
            if dropout:
                y = tf.nn.dropout(y, rate=0.25)
            y = tf.nn.bias_add(tf.matmul(y, weight(4 * 4 * 15, 3)), weight(3), name="logits")
            tf.nn.softmax(y, name="softmax")
        return graph.as_graph_def()

    record("spelled-out", build(False), "logits", "logits:0", {"input:0": picture(13)})
    (CONVERT / "spelled-out.pb").write_bytes(build(True).SerializeToString())


def of_2015():
    """A small network in the operations of the graph of 2015-12-05."""
    graph = tf.GraphDef()
    graph.versions.producer = 8
    number = tf.float32.as_datatype_enum

    def node(name, op, inputs, **attributes):
        made = graph.node.add(name=name, op=op, input=inputs)
        for key, value in attributes.items():
            if isinstance(value, list):
                made.attr[key].list.i.extend(value)
            elif isinstance(value, bytes):
                made.attr[key].s = value
            elif isinstance(value, bool):
                made.attr[key].b = value
            elif isinstance(value, float):
                made.attr[key].f = value
            elif isinstance(value, tf.DType):
                made.attr[key].type = value.as_datatype_enum
            else:
                made.attr[key].i = value
        return name

    def const(name, value):
        value = np.asarray(value)
        made = graph.node.add(name=name, op="Const")
        made.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
        made.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
        return name

    def conv(name, x, inputs, outputs, kernel, stride=1, padding=b"SAME"):
        y = node(f"{name}/Conv2D", "Conv2D", [x, const(f"{name}/conv2d_params", weight(kernel, kernel, inputs, outputs))],
                 T=tf.float32, strides=[1, stride, stride, 1], padding=padding)
        inputs = [const(f"{name}/batchnorm/moving_mean", weight(outputs)), const(f"{name}/batchnorm/moving_variance", positive(outputs)),
                  const(f"{name}/batchnorm/beta", weight(outputs)), const(f"{name}/batchnorm/gamma", np.full(outputs, 1.5, np.float32))]
        y = node(f"{name}/batchnorm", "BatchNormWithGlobalNormalization", [y, *inputs], T=tf.float32,
                 variance_epsilon=0.001, scale_after_normalization=True)
        node(f"{name}/CheckNumerics", "CheckNumerics", [y], T=tf.float32, message=b"")
        y = node(f"{name}/control_dependency", "Identity", [y, f"^{name}/CheckNumerics"], T=tf.float32)
        return node(name, "Relu", [y], T=tf.float32)

    def pool(name, op, x, kernel, stride, padding):
        return node(name, op, [x], T=tf.float32, ksize=[1, kernel, kernel, 1], strides=[1, stride, stride, 1], padding=padding)

    x = node("DecodeJpeg/contents", "Placeholder", [], dtype=tf.string)
    x = node("DecodeJpeg", "DecodeJpeg", [x], channels=3)
    x = node("Cast", "Cast", [x], SrcT=tf.uint8, DstT=tf.float32)
    x = node("ExpandDims", "ExpandDims", [x, const("ExpandDims/dim", np.int32(0))], T=tf.float32)
    x = node("ResizeBilinear", "ResizeBilinear", [x, const("ResizeBilinear/size", np.int32([15, 15]))], T=tf.float32)
    x = node("Sub", "Sub", [x, const("Sub/y", np.float32(128))], T=tf.float32)
    x = node("Mul", "Mul", [x, const("Mul/y", np.float32(1 / 128))], T=tf.float32)
    x = conv("conv", x, 3, 4, 3, 2, b"VALID")
    parts = [conv("mixed/conv", x, 4, 5, 1), conv("mixed/tower/conv_1", conv("mixed/tower/conv", x, 4, 3, 1), 3, 6, 3),
             conv("mixed/tower_1/conv", pool("mixed/tower_1/pool", "AvgPool", x, 3, 1, b"SAME"), 4, 2, 1)]
    x = node("mixed", "Concat", [const("mixed/concat_dim", np.int32(3)), *parts], T=tf.float32, N=3)
    parts = [conv("mixed_1/conv", x, 13, 5, 1), conv("mixed_1/tower/conv", pool("mixed_1/tower/pool", "MaxPool", x, 3, 1, b"SAME"), 13, 7, 1)]
    x = node("mixed_1", "Concat", [const("mixed_1/concat_dim", np.int32(3)), *parts], T=tf.float32, N=2)
    x = pool("pool_3", "AvgPool", x, 7, 1, b"VALID")
    x = node("pool_3/_reshape", "Reshape", [x, const("pool_3/_reshape/shape", np.int32([1, 12]))], T=tf.float32)
    x = node("softmax/logits/MatMul", "MatMul", [x, const("softmax/weights", weight(12, 4))], T=tf.float32)
    x = node("softmax/logits", "BiasAdd", [x, const("softmax/biases", weight(4))], T=tf.float32)
    node("softmax", "Softmax", [x], T=tf.float32)
    record("of-2015", graph, "softmax/logits", "softmax/logits:0", {"Mul:0": picture(15)})


if __name__ == "__main__":
    tf.disable_v2_behavior()
    FORMATS.mkdir(parents=True, exist_ok=True)
    checkpoints()
    spelled_out()
    of_2015()
