"""What the scripts that record optimisers have in common: gradients by formula, and the file. See README.md.

PyTorch and TensorFlow cannot be loaded into one process, so each has a script of its own.
"""

import json
from importlib.metadata import version
from pathlib import Path

STEPS = 50
START = [-0.5, -0.25, 0.0, 0.25, 0.5, 0.75]
FOLDER = Path(__file__).resolve().parent.parent / "crates" / "train" / "tests" / "data"


def rate(step: int) -> float:
    return 0.05 if step < 12 else 0.03


def given(step: int, place: int) -> float:
    """The part of a gradient that does not depend on the weight."""
    return ((place * 7 + step * 5) % 11 - 5.0) / 4.0


def gradient(step: int, weights: list[float]) -> list[float]:
    return [given(step, place) + weight / 8.0 for place, weight in enumerate(weights)]


def walk(step: int) -> list[float]:
    """Weights to be averaged."""
    return [start + given(step, place) / (1 + step) for place, start in enumerate(START)]


def write(library: str, record: dict[str, dict]) -> None:
    """JSON with one series a line, so that a difference can be read."""
    parts = [f'  "made_by": "{library} {version(library)}"']
    for name, entries in record.items():
        lines = ",\n".join(f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in entries.items())
        parts.append(f"  {json.dumps(name)}: {{\n{lines}\n  }}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{library.split('-')[0]}.json"
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    print(f"{path.relative_to(FOLDER.parents[3])}: {path.stat().st_size} bytes")
