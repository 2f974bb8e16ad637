"""Inception networks as TensorFlow 1 code makes them, with seeded weights and statistics.

The networks are TF-slim's own (PyPI `tf_slim`), the graph of 2015 is written here operation by
operation, as its file has them.
"""

import importlib
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np  # noqa: E402

import formula  # noqa: E402


def slim():
    """TF-slim. It looks for layers where `tf_keras` no longer keeps them."""
    legacy = importlib.import_module("tf_keras.src.legacy_tf_layers")
    sys.modules.setdefault("tf_keras.legacy_tf_layers", legacy)
    for part in ("base", "convolutional", "core", "normalization", "pooling"):
        module = importlib.import_module(f"tf_keras.src.legacy_tf_layers.{part}")
        sys.modules.setdefault(f"tf_keras.legacy_tf_layers.{part}", module)
    return importlib.import_module("tf_slim")


# Ours, side of the input, then the modules: TF-slim's end point and our layer.
V1 = ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]
V1_SLIM = ["3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c"]
V2 = ["3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]
V2_SLIM = ["3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b", "5c"]
V3 = ["5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"]
SLIM = {
    "inception_v1": (224, {f"Mixed_{s}": f"inception_{o}" for s, o in zip(V1_SLIM, V1)}),
    "inception_v2": (224, {f"Mixed_{s}": f"inception_{o}" for s, o in zip(V2_SLIM, V2)}),
    "inception_v3": (299, {f"Mixed_{m}": f"Mixed_{m}" for m in V3}),
}


def value(name: str, shape: list[int]) -> np.ndarray:
    """A variable's value: random, in ranges that keep a deep network's activations in range."""
    u = formula.fractions(name, int(np.prod(shape))).reshape(shape)
    kind = name.split("/")[-1]
    if kind == "moving_variance":
        values = 0.5 + u
    elif kind == "gamma":
        values = 0.75 + 0.5 * u
    elif kind in ("beta", "moving_mean", "biases"):
        values = 0.2 * (2.0 * u - 1.0)
    else:
        fan_in = shape[0] * shape[1] if kind == "depthwise_weights" else np.prod(shape[:-1])
        values = np.sqrt(6.0 / fan_in) * (2.0 * u - 1.0)
    return values.astype(np.float32)


def build_slim(network: str, classes: int):
    """The network in the default graph: input, a dictionary of outputs by our names."""
    import tensorflow.compat.v1 as tf

    library = slim()
    from tf_slim.nets import inception

    side, modules = SLIM[network]
    x = tf.placeholder(tf.float32, [None, side, side, 3], name="input")
    with library.arg_scope(getattr(inception, f"{network}_arg_scope")()):
        logits, points = getattr(inception, network)(x, classes, is_training=False)
    outputs = {ours: points[theirs] for theirs, ours in modules.items()}
    outputs["main logits"] = logits
    if "AuxLogits" in points:
        outputs["AuxLogits logits"] = points["AuxLogits"]
    return x, outputs


def fid_2015(classes: int = 1008):
    """The graph of 2015-12-05 as a GraphDef with seeded constants, and its modules' names."""
    import tensorflow.compat.v1 as tf

    graph = tf.GraphDef()
    graph.versions.producer = 8  # batch norm by its own operation was removed in version 9
    kind = tf.float32.as_datatype_enum

    def node(name, op, inputs, **attributes):
        made = graph.node.add(name=name, op=op, input=inputs)
        for key, attribute in attributes.items():
            if isinstance(attribute, np.ndarray):
                made.attr[key].tensor.CopyFrom(tf.make_tensor_proto(attribute))
            elif isinstance(attribute, list):
                made.attr[key].list.i.extend(attribute)
            elif isinstance(attribute, bytes):
                made.attr[key].s = attribute
            elif isinstance(attribute, bool):
                made.attr[key].b = attribute
            elif isinstance(attribute, float):
                made.attr[key].f = attribute
            else:
                setattr(made.attr[key], "type" if key in ("T", "dtype", "DstT", "SrcT", "Tdim", "Tshape") else "i", attribute)
        return name

    def const(name, array):
        array = np.asarray(array)
        return node(name, "Const", [], value=array, dtype=tf.as_dtype(array.dtype).as_datatype_enum)

    def checked(name, x):
        """The value goes on only after a check."""
        node(f"{name}/CheckNumerics", "CheckNumerics", [x], T=kind, message=name.encode())
        return node(f"{name}/control_dependency", "Identity", [x, f"^{name}/CheckNumerics"], T=kind)

    channels = {}

    def conv(name, x, width, kernel, stride=1, padding="SAME"):
        filters = const(f"{name}/conv2d_params", value(f"{name}/weights", [*kernel, channels[x], width]))
        y = node(f"{name}/Conv2D", "Conv2D", [x, filters], T=kind, strides=[1, stride, stride, 1],
                 padding=padding.encode(), use_cudnn_on_gpu=True)
        statistics = [const(f"{name}/batchnorm/{s}", value(f"{name}/{s}", [width]))
                      for s in ("moving_mean", "moving_variance", "beta", "gamma")]
        y = node(f"{name}/batchnorm", "BatchNormWithGlobalNormalization", [y, *statistics], T=kind,
                 variance_epsilon=0.001, scale_after_normalization=True)
        channels[name] = width
        return node(name, "Relu", [checked(name, y)], T=kind)

    def pool(name, op, x, kernel, stride, padding):
        channels[name] = channels[x]
        node(name, op, [x], T=kind, ksize=[1, kernel, kernel, 1], strides=[1, stride, stride, 1], padding=padding.encode())
        y = checked(name, name)
        channels[y] = channels[x]
        return y

    def join(name, parts):
        axis = const(f"{name}/join/concat_dim", np.int32(3))
        node(f"{name}/join", "Concat", [axis, *parts], T=kind, N=len(parts))
        y = checked(f"{name}/join", f"{name}/join")
        channels[name] = sum(channels[part] for part in parts)
        return node(name, "Identity", [y], T=kind)

    jpeg = node("DecodeJpeg/contents", "Placeholder", [], dtype=tf.string.as_datatype_enum)
    x = node("DecodeJpeg", "DecodeJpeg", [jpeg], channels=3, ratio=1, fancy_upscaling=True)
    x = node("Cast", "Cast", [x], SrcT=tf.uint8.as_datatype_enum, DstT=kind)
    x = node("ExpandDims", "ExpandDims", [x, const("ExpandDims/dim", np.int32(0))], T=kind)
    x = node("ResizeBilinear", "ResizeBilinear", [x, const("ResizeBilinear/size", np.int32([299, 299]))], T=kind)
    x = node("Sub", "Sub", [x, const("Sub/y", np.float32(128))], T=kind)
    x = node("Mul", "Mul", [x, const("Mul/y", np.float32(1 / 128))], T=kind)
    channels[x] = 3
    x = conv("conv", x, 32, (3, 3), 2, "VALID")
    x = conv("conv_1", x, 32, (3, 3), 1, "VALID")
    x = conv("conv_2", x, 64, (3, 3))
    x = pool("pool", "MaxPool", x, 3, 2, "VALID")
    x = conv("conv_3", x, 80, (1, 1), 1, "VALID")
    x = conv("conv_4", x, 192, (3, 3), 1, "VALID")
    x = pool("pool_1", "MaxPool", x, 3, 2, "VALID")
    modules = {}
    for name, ours, width in (("mixed", "5b", 32), ("mixed_1", "5c", 64), ("mixed_2", "5d", 64)):
        a = conv(f"{name}/conv", x, 64, (1, 1))
        b = conv(f"{name}/tower/conv_1", conv(f"{name}/tower/conv", x, 48, (1, 1)), 64, (5, 5))
        c = conv(f"{name}/tower_1/conv_1", conv(f"{name}/tower_1/conv", x, 64, (1, 1)), 96, (3, 3))
        c = conv(f"{name}/tower_1/conv_2", c, 96, (3, 3))
        d = conv(f"{name}/tower_2/conv", pool(f"{name}/tower_2/pool", "AvgPool", x, 3, 1, "SAME"), width, (1, 1))
        x = join(name, [a, b, c, d])
        modules[x] = f"Mixed_{ours}"
    a = conv("mixed_3/conv", x, 384, (3, 3), 2, "VALID")
    b = conv("mixed_3/tower/conv_1", conv("mixed_3/tower/conv", x, 64, (1, 1)), 96, (3, 3))
    b = conv("mixed_3/tower/conv_2", b, 96, (3, 3), 2, "VALID")
    x = join("mixed_3", [a, b, pool("mixed_3/pool", "MaxPool", x, 3, 2, "VALID")])
    modules[x] = "Mixed_6a"
    for name, ours, w in (("mixed_4", "6b", 128), ("mixed_5", "6c", 160), ("mixed_6", "6d", 160), ("mixed_7", "6e", 192)):
        a = conv(f"{name}/conv", x, 192, (1, 1))
        b = conv(f"{name}/tower/conv_1", conv(f"{name}/tower/conv", x, w, (1, 1)), w, (1, 7))
        b = conv(f"{name}/tower/conv_2", b, 192, (7, 1))
        c = conv(f"{name}/tower_1/conv", x, w, (1, 1))
        for i, kernel in enumerate([(7, 1), (1, 7), (7, 1), (1, 7)], 1):
            c = conv(f"{name}/tower_1/conv_{i}", c, 192 if i == 4 else w, kernel)
        d = conv(f"{name}/tower_2/conv", pool(f"{name}/tower_2/pool", "AvgPool", x, 3, 1, "SAME"), 192, (1, 1))
        x = join(name, [a, b, c, d])
        modules[x] = f"Mixed_{ours}"
    a = conv("mixed_8/tower/conv_1", conv("mixed_8/tower/conv", x, 192, (1, 1)), 320, (3, 3), 2, "VALID")
    b = conv("mixed_8/tower_1/conv_1", conv("mixed_8/tower_1/conv", x, 192, (1, 1)), 192, (1, 7))
    b = conv("mixed_8/tower_1/conv_2", b, 192, (7, 1))
    b = conv("mixed_8/tower_1/conv_3", b, 192, (3, 3), 2, "VALID")
    x = join("mixed_8", [a, b, pool("mixed_8/pool", "MaxPool", x, 3, 2, "VALID")])
    modules[x] = "Mixed_7a"
    for name, ours, op in (("mixed_9", "7b", "AvgPool"), ("mixed_10", "7c", "MaxPool")):
        a = conv(f"{name}/conv", x, 320, (1, 1))
        b = conv(f"{name}/tower/conv", x, 384, (1, 1))
        b = [conv(f"{name}/tower/mixed/conv", b, 384, (1, 3)), conv(f"{name}/tower/mixed/conv_1", b, 384, (3, 1))]
        c = conv(f"{name}/tower_1/conv_1", conv(f"{name}/tower_1/conv", x, 448, (1, 1)), 384, (3, 3))
        c = [conv(f"{name}/tower_1/mixed/conv", c, 384, (1, 3)), conv(f"{name}/tower_1/mixed/conv_1", c, 384, (3, 1))]
        d = conv(f"{name}/tower_2/conv", pool(f"{name}/tower_2/pool", op, x, 3, 1, "SAME"), 192, (1, 1))
        x = join(name, [a, *b, *c, d])
        modules[x] = f"Mixed_{ours}"
    x = pool("pool_3", "AvgPool", x, 8, 1, "VALID")
    x = node("pool_3/_reshape", "Reshape", [x, const("pool_3/_reshape/shape", np.int32([1, 2048]))], T=kind)
    weights = const("softmax/weights", value("softmax/weights", [2048, classes]))
    x = node("softmax/logits/MatMul", "MatMul", [x, weights], T=kind, transpose_a=False, transpose_b=False)
    modules["softmax/logits"] = "main logits"
    x = node("softmax/logits", "BiasAdd", [x, const("softmax/biases", value("softmax/biases", [classes]))], T=kind)
    node("softmax", "Softmax", [x], T=kind)
    return graph, modules
