"""torchvision's networks with our names, and what PyTorch computes with them."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

import formula


@dataclass(frozen=True)
class Network:
    """One network to compare."""

    name: str
    """Ours; always in torchvision's dialect."""
    side: int
    """Height and width of the input."""
    build: Callable[[int], nn.Module]
    """torchvision's module for a number of classes, without dropout."""
    heads: dict[str, float]
    """Auxiliary heads in our order, each with the weight of its loss."""
    rename: Callable[[str], str]
    """torchvision's name of a tensor to ours."""


def _inception_v3(classes: int) -> nn.Module:
    return torchvision.models.inception_v3(
        weights=None, init_weights=False, transform_input=False, aux_logits=True, dropout=0.0, num_classes=classes
    )


def _googlenet(classes: int) -> nn.Module:
    return torchvision.models.googlenet(
        weights=None,
        init_weights=False,
        transform_input=False,
        aux_logits=True,
        dropout=0.0,
        dropout_aux=0.0,
        num_classes=classes,
    )


_BRANCHES = {
    "branch1": "1x1",
    "branch2.0": "3x3_reduce",
    "branch2.1": "3x3",
    "branch3.0": "5x5_reduce",
    "branch3.1": "5x5",
    "branch4.1": "pool_proj",
}


def _googlenet_name(name: str) -> str:
    if module := re.match(r"inception(\d\w)\.(branch[\d.]*\d)\.(.*)", name):
        return f"inception_{module[1]}.{_BRANCHES[module[2]]}.{module[3]}"
    stem, _, rest = name.partition(".")
    return f"{ {'conv2': 'conv2_reduce', 'conv3': 'conv2'}.get(stem, stem) }.{rest}"


NETWORKS = {
    network.name: network
    for network in [
        Network("inception-v3", 299, _inception_v3, {"AuxLogits": 0.4}, lambda name: name),
        Network("googlenet", 224, _googlenet, {"aux1": 0.3, "aux2": 0.3}, _googlenet_name),
    ]
}


def state(network: Network, module: nn.Module) -> dict[str, torch.Tensor]:
    """The module's own tensors under our names."""
    return {
        network.rename(name): tensor
        for name, tensor in module.state_dict(keep_vars=True).items()
        if not name.endswith("num_batches_tracked")
    }


def seeded(network: Network, classes: int, dtype: torch.dtype) -> nn.Module:
    """The module with every weight and running statistic from the formula."""
    module = network.build(classes).to(dtype)
    with torch.no_grad():
        for name, tensor in state(network, module).items():
            tensor.copy_(torch.from_numpy(formula.tensor(name, tuple(tensor.shape))))
    return module


def pictures(network: Network, count: int) -> torch.Tensor:
    """NCHW float32 in [-1, 1)."""
    return torch.from_numpy(formula.pictures(count, network.side))


def write_case(network: Network, classes: int, count: int, folder: Path) -> torch.Tensor:
    """Writes what our engine reads: weights under our names, pictures with labels. Returns the labels."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = state(network, seeded(network, classes, torch.float32))
    save_file({name: t.detach().contiguous() for name, t in tensors.items()}, folder / "weights.safetensors")
    labels = formula.labels(count, classes)
    save_file({"pictures": pictures(network, count)}, folder / "pictures.safetensors")
    case = {"network": network.name, "classes": classes, "labels": labels.tolist()}
    (folder / "case.json").write_text(json.dumps(case))
    return torch.from_numpy(labels)


@dataclass
class Step:
    """What one training step yields, under our names."""

    logits: dict[str, torch.Tensor]
    loss: float
    gradients: dict[str, torch.Tensor]
    running: dict[str, torch.Tensor]
    """The running statistics after the step."""


def infer(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Main head's logits in inference mode."""
    module.eval()
    with torch.no_grad():
        return module(x)


def logits_of(network: Network, output: tuple) -> dict[str, torch.Tensor]:
    """Each head's logits in our order from what torchvision's module returns in training."""
    if network.name == "inception-v3":
        return {"AuxLogits": output.aux_logits, "main": output.logits}
    return {"aux1": output.aux_logits1, "aux2": output.aux_logits2, "main": output.logits}


def loss_of(network: Network, output: tuple, labels: torch.Tensor) -> torch.Tensor:
    """Sum of the heads' cross entropies with their weights."""
    weights = network.heads | {"main": 1.0}
    return sum(weights[head] * functional.cross_entropy(z, labels) for head, z in logits_of(network, output).items())


def train_step(network: Network, module: nn.Module, x: torch.Tensor, labels: torch.Tensor) -> Step:
    """Forward in training mode and backward; changes the module's running statistics."""
    module.train()
    module.zero_grad()
    output = module(x)
    loss = loss_of(network, output, labels)
    loss.backward()
    tensors = state(network, module)
    return Step(
        {head: values.detach() for head, values in logits_of(network, output).items()},
        loss.item(),
        {name: tensor.grad for name, tensor in tensors.items() if tensor.grad is not None},
        {name: tensor for name, tensor in tensors.items() if "running_" in name},
    )
