"""Writes the small files of PyTorch, Python and safetensors that tests and fuzz targets start from.

Into `fuzz/corpus/{torch,pickle,safetensors,mxnet,caffe}`, and names and shapes of torchvision's networks into
`crates/convert/tests/data/torchvision`. Run with `.venv-peers/bin/python peers/torch_fixtures.py`.
"""

import collections
import io
import pickle
import struct
from pathlib import Path

import numpy as np
import torch
import torchvision
from safetensors.torch import save
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "fuzz" / "corpus"
NAMES = ROOT / "crates" / "convert" / "tests" / "data" / "torchvision"


def put(target: str, name: str, content: bytes) -> None:
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    (CORPUS / target / name).write_bytes(content)


def saved(value: object, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def mxnet() -> bytes:
    """A list of one array as MXNet 1 writes it: [2, 1] in float32, `arg:x`."""
    head = struct.pack("<QQQ", 0x112, 0, 1)
    array = struct.pack("<IiIqqiii2f", 0xF993FAC9, 0, 2, 2, 1, 1, 0, 0, 1.5, -2.0)
    return head + array + struct.pack("<QQ", 1, 5) + b"arg:x"


def caffe() -> bytes:
    """A NetParameter with one convolution: `layer { name type blobs { shape data } }`."""

    def field(number: int, value: bytes) -> bytes:
        tag = number << 3 | 2
        return (bytes([tag]) if tag < 128 else bytes([tag & 127 | 128, tag >> 7])) + bytes([len(value)]) + value

    blob = field(7, field(1, bytes([2, 1, 1, 1]))) + field(5, struct.pack("<2f", 1.5, -2.0))
    layer = field(1, b"conv1/7x7_s2") + field(2, b"Convolution") + field(7, blob)
    return field(1, b"GoogleNet") + field(100, layer)


def main() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    half = {name: tensor.half() for name, tensor in module.state_dict().items()}
    put("torch", "zip", saved(module.state_dict()))
    put("torch", "legacy", saved(module.state_dict(), legacy=True))
    put("torch", "module", saved(module, legacy=True))
    put("torch", "checkpoint", saved({"epoch": 1, "args": None, "state_dict": half}))
    put("torch", "strided", saved({"a": torch.arange(6.0).view(2, 3).t(), "b": nn.Parameter(torch.ones(1))}))
    value = {
        "numbers": [1, 2.5, None, True, 1 << 80],
        "text": ("x", b"y"),
        "set": {3},
        "ordered": collections.OrderedDict(k=np.float32(1)),
    }
    for protocol in range(6):
        put("pickle", f"protocol-{protocol}", pickle.dumps(value, protocol=protocol))
    tensors = {"a": torch.ones(2, 2).half(), "b": torch.zeros(3), "c": torch.ones(1, dtype=torch.int64)}
    put("safetensors", "mixed", save(tensors, metadata={"format": "pt"}))
    put("mxnet", "v2", mxnet())
    put("caffe", "layer", caffe())
    NAMES.mkdir(parents=True, exist_ok=True)
    for network in ["inception_v3", "googlenet"]:
        build = getattr(torchvision.models, network)
        state = build(weights=None, init_weights=False, aux_logits=True).state_dict()
        lines = [" ".join([name, *map(str, tensor.shape)]) for name, tensor in state.items()]
        (NAMES / f"{network}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
