"""MXNet's Inception-BN in PyTorch, and its weights as MXNet's `.params`.

MXNet's last release does not run on today's Python, so its network is written here after
`example/image-classification/symbols/inception-bn.py` and its file after `src/ndarray/ndarray.cc`.
"""

import struct
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

A = {
    "3a": (64, 64, 64, 64, 96, "avg", 32),
    "3b": (64, 64, 96, 64, 96, "avg", 64),
    "4a": (224, 64, 96, 96, 128, "avg", 128),
    "4b": (192, 96, 128, 96, 128, "avg", 128),
    "4c": (160, 128, 160, 128, 160, "avg", 128),
    "4d": (96, 128, 192, 160, 192, "avg", 128),
    "5a": (352, 192, 320, 160, 224, "avg", 128),
    "5b": (352, 192, 320, 192, 224, "max", 128),
}
B = {"3c": (128, 160, 64, 96), "4e": (128, 192, 192, 256)}


class Unit(nn.Module):
    """Convolution with bias, batch norm, ReLU."""

    def __init__(self, inputs: int, width: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, width, kernel, stride, kernel // 2)
        self.bn = nn.BatchNorm2d(width, eps=1e-5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.bn(self.conv(x)))


class InceptionBn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.units = nn.ModuleDict()
        self.add("1", 3, 64, 7, 2)
        self.add("2_red", 64, 64)
        width = self.add("2", 64, 192, 3)
        for name in ["3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]:
            width = self.module_a(name, width, *A[name]) if name in A else self.module_b(name, width, *B[name])
        self.fc1 = nn.Linear(width, 1000)

    def add(self, name: str, inputs: int, width: int, kernel: int = 1, stride: int = 1) -> int:
        self.units[name] = Unit(inputs, width, kernel, stride)
        return width

    def module_a(self, name: str, x: int, one: int, red3: int, three: int, redd: int, double: int, _: str, proj: int) -> int:
        self.add(f"{name}_1x1", x, one)
        self.add(f"{name}_3x3", self.add(f"{name}_3x3_reduce", x, red3), three, 3)
        self.add(f"{name}_double_3x3_0", self.add(f"{name}_double_3x3_reduce", x, redd), double, 3)
        self.add(f"{name}_double_3x3_1", double, double, 3)
        self.add(f"{name}_proj", x, proj)
        return one + three + double + proj

    def module_b(self, name: str, x: int, red3: int, three: int, redd: int, double: int) -> int:
        self.add(f"{name}_3x3", self.add(f"{name}_3x3_reduce", x, red3), three, 3, 2)
        self.add(f"{name}_double_3x3_0", self.add(f"{name}_double_3x3_reduce", x, redd), double, 3)
        self.add(f"{name}_double_3x3_1", double, double, 3, 2)
        return three + double + x

    def run(self, names: list[str], x: torch.Tensor) -> torch.Tensor:
        for name in names:
            x = self.units[name](x)
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(self.run(["1"], x), 3, 2)
        x = functional.max_pool2d(self.run(["2_red", "2"], x), 3, 2)
        for name in ["3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]:
            double = [f"{name}_double_3x3_{part}" for part in ("reduce", "0", "1")]
            parts = [self.run([f"{name}_3x3_reduce", f"{name}_3x3"], x), self.run(double, x)]
            if name in B:
                parts.append(functional.max_pool2d(x, 3, 2, 1))
            else:
                # MXNet counts padding in averages unless told otherwise.
                pool = functional.max_pool2d if A[name][5] == "max" else functional.avg_pool2d
                parts = [self.run([f"{name}_1x1"], x), *parts, self.run([f"{name}_proj"], pool(x, 3, 1, 1))]
            x = torch.cat(parts, 1)
        return self.fc1(functional.avg_pool2d(x, 7).flatten(1))


def save(module: nn.Module, path: Path) -> None:
    """As `mx.nd.save` of MXNet 1 does, in the order of its checkpoints."""
    arrays = {}
    for name, unit in module.units.items():
        arrays[f"arg:conv_{name}_weight"] = unit.conv.weight
        arrays[f"arg:conv_{name}_bias"] = unit.conv.bias
        arrays[f"arg:bn_{name}_gamma"] = unit.bn.weight
        arrays[f"arg:bn_{name}_beta"] = unit.bn.bias
        arrays[f"aux:bn_{name}_moving_mean"] = unit.bn.running_mean
        arrays[f"aux:bn_{name}_moving_var"] = unit.bn.running_var
    arrays |= {"arg:fc1_weight": module.fc1.weight, "arg:fc1_bias": module.fc1.bias}
    with open(path, "wb") as file:
        file.write(struct.pack("<QQQ", 0x112, 0, len(arrays)))
        for array in arrays.values():
            file.write(struct.pack(f"<IiI{array.dim()}qiii", 0xF993FAC9, 0, array.dim(), *array.shape, 1, 0, 0))
            file.write(array.detach().numpy().tobytes())
        file.write(struct.pack("<Q", len(arrays)))
        for name in arrays:
            file.write(struct.pack("<Q", len(name)) + name.encode())
