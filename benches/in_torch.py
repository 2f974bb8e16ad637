"""The PyTorch module of an ONNX file."""

import torch
from torch import nn
from torch.nn import functional

from graph import Graph, Step


class Network(nn.Module):
    """Runs the steps one after the other, as the code of a hand-written module would."""

    def __init__(self, graph: Graph, dtype: torch.dtype) -> None:
        super().__init__()
        self.graph = graph
        self.layers = nn.ModuleDict()
        for number, step in enumerate(graph.steps):
            if step.weights:
                self.layers[str(number)] = _layer(step).to(dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = {self.graph.input: x}
        for number, step in enumerate(self.graph.steps):
            inputs = [values[name] for name in step.inputs]
            if step.weights:
                values[step.output] = self.layers[str(number)](_padded(step, inputs[0]))
            else:
                values[step.output] = _apply(step, inputs)
        return values[self.graph.output]


def _layer(step: Step) -> nn.Module:
    weight, *bias = (torch.from_numpy(values) for values in step.weights)
    if step.op == "Gemm":
        layer = nn.Linear(weight.shape[1], weight.shape[0], bool(bias))
    elif step.op == "Conv":
        groups = step.attributes.get("group", 1)
        padding = step.pads()[:2] if _symmetric(step) else 0
        channels = weight.shape[1] * groups, weight.shape[0]
        layer = nn.Conv2d(*channels, weight.shape[2:], step.strides(), padding, groups=groups, bias=bool(bias))
    else:
        raise ValueError(f"{step.op} with weights is not understood")
    layer.weight = nn.Parameter(weight)
    if bias:
        layer.bias = nn.Parameter(bias[0])
    return layer


def _symmetric(step: Step) -> bool:
    return step.pads()[:2] == step.pads()[2:]


def _padded(step: Step, x: torch.Tensor, value: float = 0.0) -> torch.Tensor:
    """The input with a border where the operation itself cannot pad both sides differently."""
    if _symmetric(step):
        return x
    top, left, bottom, right = step.pads()
    return functional.pad(x, (left, right, top, bottom), value=value)


def _apply(step: Step, inputs: list[torch.Tensor]) -> torch.Tensor:
    """An operation without weights."""
    x = inputs[0]
    attributes = step.attributes
    match step.op:
        case "Relu":
            return functional.relu(x)
        case "Concat":
            return torch.cat(inputs, attributes["axis"])
        case "Flatten":
            return x.flatten(attributes.get("axis", 1))
        case "Identity":
            return x
        case "GlobalAveragePool":
            return functional.adaptive_avg_pool2d(x, 1)
        case "MaxPool":
            padding = step.pads()[:2] if _symmetric(step) else 0
            x = _padded(step, x, float("-inf"))
            return functional.max_pool2d(x, step.kernel(), step.strides(), padding)
        case "AveragePool":
            counted = bool(attributes.get("count_include_pad"))
            if not _symmetric(step):
                return _uneven_mean(step, x, counted)
            window = step.kernel(), step.strides(), step.pads()[:2]
            return functional.avg_pool2d(x, *window, count_include_pad=counted)
        case "LRN":
            values = attributes.get("alpha", 1e-4), attributes.get("beta", 0.75), attributes.get("bias", 1.0)
            return functional.local_response_norm(x, attributes["size"], *values)
    raise ValueError(f"{step.op} is not understood")


def _uneven_mean(step: Step, x: torch.Tensor, counted: bool) -> torch.Tensor:
    """An average pool whose padding differs between sides."""
    window = step.kernel(), step.strides()
    mean = functional.avg_pool2d(_padded(step, x), *window)
    if counted:
        return mean
    return mean / functional.avg_pool2d(_padded(step, torch.ones_like(x[:1, :1])), *window)
