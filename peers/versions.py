"""Versions of everything that a comparison depends on, one line."""

import platform
from importlib.metadata import version

PACKAGES = ["numpy", "onnx", "onnxruntime", "torch", "torchvision"]


def line() -> str:
    return ", ".join([f"Python {platform.python_version()}"] + [f"{p} {version(p)}" for p in PACKAGES])


if __name__ == "__main__":
    print(line())
