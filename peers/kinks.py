"""Which side of every kink a forward pass fell on.

ReLU and max pooling have kinks: where two values lie closer than float32 resolves, two correct
engines choose differently, each passes the gradient another way, and a weight's gradient moves by
per cents (PyTorch's own float32 gradients of these networks differ by up to 30 % from its float64
ones). So gradients are compared on the same side: PyTorch computes in float64, but takes each
kink's side from the float32 engine it is compared with. The forward values must agree on their
own, which keeps an engine from hiding errors in its choices.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional


@dataclass
class Sides:
    """The values that decide, of one forward pass."""

    active: dict[str, torch.Tensor] = field(default_factory=dict)
    """By layer (our name): where the output of its ReLU is above zero."""
    pooled: list[torch.Tensor] = field(default_factory=list)
    """The inputs of the max pools, in the order of the pools."""


@contextmanager
def _patched(
    module: nn.Module,
    rename: Callable[[str], str],
    relu: Callable[[str, torch.Tensor], torch.Tensor],
    max_pool: Callable[[torch.Tensor, dict], torch.Tensor],
) -> Iterator[None]:
    """Replaces the functions through which torchvision's networks call both operations.

    `relu` is told the layer (our name) that ran last, whose output it gets."""
    current = ""

    def enter(name: str):
        def hook(*_):
            nonlocal current
            current = name

        return hook

    hooks = [
        child.register_forward_hook(enter(rename(name + ".").removesuffix(".").removesuffix(".bn")))
        for name, child in module.named_modules()
        if isinstance(child, (nn.BatchNorm2d, nn.Linear))
    ]
    plain = functional.relu, functional.max_pool2d
    functional.relu = lambda x, inplace=False: relu(current, x)
    functional.max_pool2d = lambda x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, **_: max_pool(
        x, dict(kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode)
    )
    try:
        yield
    finally:
        functional.relu, functional.max_pool2d = plain
        for hook in hooks:
            hook.remove()


@contextmanager
def recorded(module: nn.Module, rename: Callable[[str], str]) -> Iterator[Sides]:
    """Notes the sides that forward passes inside the context take (of one pass at a time)."""
    sides = Sides()
    plain_max_pool = functional.max_pool2d

    def relu(layer: str, x: torch.Tensor) -> torch.Tensor:
        sides.active[layer] = x.detach() > 0
        return torch.relu(x)

    def max_pool(x: torch.Tensor, window: dict) -> torch.Tensor:
        sides.pooled.append(x.detach())
        return plain_max_pool(x, **window)

    with _patched(module, rename, relu, max_pool):
        yield sides


@contextmanager
def forced(module: nn.Module, rename: Callable[[str], str], sides: Sides) -> Iterator[None]:
    """Makes forward passes inside the context take the given sides."""
    pools = iter(sides.pooled)
    plain_max_pool = functional.max_pool2d

    def relu(layer: str, x: torch.Tensor) -> torch.Tensor:
        return x * sides.active[layer].reshape(x.shape)

    def max_pool(x: torch.Tensor, window: dict) -> torch.Tensor:
        values, at = plain_max_pool(next(pools).reshape(x.shape), **window, return_indices=True)
        return x.flatten(2).gather(2, at.flatten(2)).reshape(values.shape)

    with _patched(module, rename, relu, max_pool):
        yield
