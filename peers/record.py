"""Records what PyTorch computes with narrow, small forms of both networks. See README.md.

Narrow, so that the engine's float64 reference, a plain loop, gets through in a second: every width
is a quarter, rounded to blocks of 16 as our width multiplier does. All in float64.
"""

import importlib
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import torch
from torch import nn

import formula
import versions
from networks import NETWORKS, Network, infer, pictures, seeded, train_step

WIDTH = 0.25
CLASSES = 10
PICTURES = 4
SAMPLES = 3
"""Values kept of each gradient, besides its norm."""
FOLDER = Path(__file__).resolve().parent.parent / "crates" / "engine" / "tests" / "data"


def narrow(width: int) -> int:
    return 16 * max(1, math.floor(width * WIDTH / 16 + 0.5))


class NarrowConv(nn.Module):
    """torchvision's BasicConv2d, narrower; takes any number of channels."""

    def __init__(self, _in_channels: int, out_channels: int, **kwargs) -> None:
        super().__init__()
        self.conv = nn.LazyConv2d(narrow(out_channels), bias=False, **kwargs)
        self.bn = nn.BatchNorm2d(narrow(out_channels), eps=0.001)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.relu(self.bn(self.conv(x)), inplace=True)


@contextmanager
def narrowed(family: str) -> Iterator[None]:
    """Modules of that file of torchvision's that are built inside the context are narrow."""
    # Not `torchvision.models.googlenet`: a function of that name hides the file.
    with mock.patch.object(importlib.import_module(f"torchvision.models.{family}"), "BasicConv2d", NarrowConv):
        yield


def small_inception_v3(plain: Callable[[int], nn.Module]) -> Callable[[int], nn.Module]:
    def build(classes: int) -> nn.Module:
        with narrowed("inception"):
            module = plain(classes)
        module.fc = nn.LazyLinear(classes)
        # The grid before the auxiliary head's 5×5 convolution is 1×1 here; ours is cut to it.
        module.AuxLogits.conv1 = NarrowConv(128, 768, kernel_size=1)
        module.AuxLogits.fc = nn.LazyLinear(classes)
        return module

    return build


def small_googlenet(plain: Callable[[int], nn.Module]) -> Callable[[int], nn.Module]:
    def build(classes: int) -> nn.Module:
        with narrowed("googlenet"):
            module = plain(classes)
        module.fc = nn.LazyLinear(classes)
        for head in (module.aux1, module.aux2):
            head.fc1, head.fc2 = nn.LazyLinear(narrow(1024)), nn.LazyLinear(classes)
        return module

    return build


def materialised(build: Callable[[int], nn.Module], side: int) -> Callable[[int], nn.Module]:
    """Lazy layers learn their sizes from a first pass."""

    def built(classes: int) -> nn.Module:
        module = build(classes)
        module(torch.zeros(2, 3, side, side))
        return module

    return built


def small(network: Network, side: int, narrow_form: Callable) -> Network:
    return replace(network, side=side, build=materialised(narrow_form(network.build), side))


SMALL = [
    small(NETWORKS["inception-v3"], 107, small_inception_v3),
    small(NETWORKS["googlenet"], 64, small_googlenet),
]


def digest(name: str, tensor: torch.Tensor) -> list[float]:
    """Euclidean norm, then a few values."""
    values = tensor.detach().flatten()
    samples = formula.sample_indices(name, len(values), SAMPLES)
    return [values.norm().item()] + [values[i].item() for i in samples]


def record(network: Network) -> dict:
    module = seeded(network, CLASSES, torch.float64)
    x = pictures(network, PICTURES).double()
    inference = infer(module, x)
    step = train_step(network, module, x, torch.from_numpy(formula.labels(PICTURES, CLASSES)))
    return {
        "made_by": versions.line(),
        "network": network.name,
        "width": WIDTH,
        "side": network.side,
        "classes": CLASSES,
        "pictures": PICTURES,
        "loss": step.loss,
        "inference": inference.flatten().tolist(),
        "training": {head: values.flatten().tolist() for head, values in step.logits.items()},
        "gradients": {name: digest(name, values) for name, values in step.gradients.items()},
        "running": {name: digest(name, values) for name, values in step.running.items()},
    }


def text_of(fields: dict) -> str:
    """JSON with one tensor a line, so that a difference can be read."""

    def lines(fields: dict, indent: str) -> str:
        return ",\n".join(f"{indent}{json.dumps(key)}: {value(entry)}" for key, entry in fields.items())

    def value(entry: object) -> str:
        return "{\n" + lines(entry, "    ") + "\n  }" if isinstance(entry, dict) else json.dumps(entry)

    return "{\n" + lines(fields, "  ") + "\n}\n"


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for network in SMALL:
        path = FOLDER / f"{network.name}.json"
        path.write_text(text_of(record(network)))
        print(f"{path.relative_to(FOLDER.parents[3])}: {path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
