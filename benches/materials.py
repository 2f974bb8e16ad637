"""What all engines compute: a network with weights as a model file and as ONNX, and pictures."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
FOLDER = TARGET / "benches"
sys.path.append(str(ROOT / "peers"))

import formula  # noqa: E402

DIALECTS = {"inception-v3": "torchvision", "googlenet": "torchvision", "bn-inception": "paper"}
"""Whose arithmetic each built-in network follows here."""


@dataclass(frozen=True)
class Materials:
    name: str
    model: Path
    """For our engine."""
    onnx: Path
    """The same network, exported: for the peers."""
    shape: tuple[int, int, int]
    """Channels, height, width."""

    def pictures(self, count: int) -> Path:
        """A file of that many preprocessed pictures: float32 in (picture, channel, row, column) order."""
        path = self.onnx.with_name(f"{self.name}.{count}.f32")
        channels, side, width = self.shape
        assert (channels, side) == (3, width), "only square colour pictures can be made"
        formula.pictures(count, side).tofile(path)
        return path

    def preprocessing(self) -> dict:
        """What makes a picture the network's input, as the model file says."""
        (text,) = (p.value for p in onnx.load(self.onnx).metadata_props if p.key == "inception.preprocessing")
        return json.loads(text)

    def photograph(self) -> Path:
        """A picture file of about the size that cameras' pictures have on the web."""
        from PIL import Image

        path = FOLDER / "picture.jpg"
        values = formula.pictures(1, 512)[0].transpose(1, 2, 0)
        Image.fromarray(((values + 1) * 127.5).astype(np.uint8)).save(path, quality=90)
        return path


def build(*targets: tuple[str, str, str]) -> None:
    """Builds parts of our side: a package each, `--bin` or `--example`, and its name."""
    for package, kind, name in targets:
        _run("cargo", "build", "--quiet", "--release", "--package", package, kind, name)


def prepare(network: str) -> Materials:
    """Materials for a built-in network with random weights, or for a model file; `inception` has to be built.

    Files that are there already are used again; who deletes `target/benches` gets new ones."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    model = Path(network)
    if model.suffix != ".safetensors":
        if network not in DIALECTS:
            raise SystemExit(f"{network} is neither a model file nor one of {', '.join(DIALECTS)}")
        model = FOLDER / f"{network}.safetensors"
        if not model.exists():
            example = ["cargo", "run", "--quiet", "--release", "--package", "inception-convert", "--example"]
            _run(*example, "random_model", "--", network, DIALECTS[network], "7", model)
    exported = FOLDER / f"{model.stem}.onnx"
    if not exported.exists() or exported.stat().st_mtime < model.stat().st_mtime:
        _run(TARGET / "release" / "inception", "export", model, "-o", exported, "--force")
    graph = onnx.load(exported).graph
    shape = tuple(size.dim_value for size in graph.input[0].type.tensor_type.shape.dim[1:])
    return Materials(model.stem, model, exported, shape)


def _run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], cwd=ROOT, check=True)
