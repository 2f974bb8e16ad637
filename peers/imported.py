"""Imports a file with `inception` and compares what the model computes with what its library computed."""

import os
import subprocess
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

# Largest difference of two values by the tensor's largest magnitude.
LIMIT = 1e-4
INCEPTION, TAPS = os.environ["INCEPTION"], os.environ["TAPS"]


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    ours, theirs = ours.reshape(-1).astype(np.float64), theirs.reshape(-1).astype(np.float64)
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def put_pictures(folder: Path, pictures: np.ndarray) -> None:
    """The pictures (NCHW) that `compare` runs."""
    save_file({"pictures": np.ascontiguousarray(pictures)}, folder / "pictures.safetensors")


def compare(what: str, file: Path, folder: Path, expected: dict[str, np.ndarray], *options: str) -> bool:
    """Imports `file`; every tensor of `expected` (NCHW, by our name of it) has to come out."""
    model, out = folder / "model.safetensors", folder / "taps.safetensors"
    command = [INCEPTION, "import", file, "-o", model, "--force", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        print(f"{what:40} FAILED: {done.stderr.strip()}")
        return False
    subprocess.run([TAPS, model, folder / "pictures.safetensors", out], check=True)
    taps = load_file(out)
    missing = sorted(set(expected) - set(taps))
    if missing:
        print(f"{what:40} FAILED: there is no {', '.join(missing)}; there are {', '.join(sorted(taps))}")
        return False
    found = {name: relative(taps[name], value) for name, value in expected.items()}
    worst = max(found, key=found.get)
    good = found[worst] <= LIMIT
    logits = f"logits {found['main logits']:.1e}, " if "main logits" in found else ""
    print(f"{what:40} {logits}worst of {len(found)}: {found[worst]:.1e} ({worst}) {'ok' if good else 'FAILED'}")
    return good
