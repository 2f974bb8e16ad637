"""An ONNX file as a plain list of operations, for the engines that read no ONNX.

Batch norm is folded into the convolution before it, in float64, as ONNX Runtime and OpenVINO do by
themselves; a ReLU that alone reads a convolution stays a step of its own, which every engine fuses.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper


@dataclass
class Step:
    """One operation; values are known by name."""

    op: str
    inputs: list[str]
    output: str
    attributes: dict = field(default_factory=dict)
    weights: list[np.ndarray] = field(default_factory=list)
    """float64; (output, input, row, column) or (output, input), then the bias if there is one."""

    def pads(self) -> tuple[int, int, int, int]:
        """Rows before, columns before, rows after, columns after."""
        return tuple(self.attributes.get("pads", (0, 0, 0, 0)))

    def kernel(self) -> tuple[int, int]:
        return tuple(self.attributes["kernel_shape"] if not self.weights else self.weights[0].shape[2:])

    def strides(self) -> tuple[int, int]:
        return tuple(self.attributes.get("strides", (1, 1)))


@dataclass
class Graph:
    input: str
    shape: tuple[int, int, int]
    """Channels, height, width."""
    output: str
    steps: list[Step]


def read(path: Path) -> Graph:
    """The inference graph in the file, which has one input and one output."""
    graph = onnx.load(path).graph
    constants = {tensor.name: numpy_helper.to_array(tensor).astype(np.float64) for tensor in graph.initializer}
    steps = [_step(node, constants) for node in graph.node]
    (entry,) = (value for value in graph.input if value.name not in constants)
    shape = tuple(size.dim_value for size in entry.type.tensor_type.shape.dim[1:])
    return Graph(entry.name, shape, graph.output[0].name, _folded(steps))


def _step(node: onnx.NodeProto, constants: dict[str, np.ndarray]) -> Step:
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if attributes.get("ceil_mode") or attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise ValueError(f"{node.name}: only explicit paddings and floor mode are understood")
    if set(attributes.get("dilations", (1,))) != {1}:
        raise ValueError(f"{node.name}: only dense kernels are understood")
    values = [name for name in node.input if name not in constants]
    weights = [constants[name] for name in node.input if name in constants]
    if node.op_type == "Gemm" and not attributes.get("transB"):
        weights[0] = weights[0].T
    return Step(node.op_type, values, node.output[0], attributes, weights)


def _folded(steps: list[Step]) -> list[Step]:
    """The steps without batch norms."""
    made = {step.output: step for step in steps}
    kept = []
    for step in steps:
        if step.op != "BatchNormalization":
            kept.append(step)
            continue
        before = made[step.inputs[0]]
        assert before.op == "Conv", f"{step.output}: a batch norm that follows {before.op}"
        assert sum(before.output in other.inputs for other in steps) == 1, f"{before.output} has other readers"
        gamma, beta, mean, variance = step.weights
        factor = gamma / np.sqrt(variance + step.attributes.get("epsilon", 1e-5))
        filters, *bias = before.weights
        shift = (bias[0] if bias else 0.0) - mean
        before.weights = [filters * factor.reshape(-1, 1, 1, 1), beta + shift * factor]
        before.output = step.output
    return kept
