"""Pictures for `precision.py`: a folder's or made ones, as they are and scaled as nobody would scale them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from materials import Materials, build

# In `peers/`, where `materials` makes them be found.
import pixels  # isort: skip
from formula import fractions  # isort: skip

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


@dataclass
class Picture:
    number: int
    """From 0."""
    name: str
    values: np.ndarray
    """Preprocessed: float32, (channel, row, column)."""


def of_folder(folder: Path, count: int, materials: Materials) -> Iterator[Picture]:
    """As many of the folder's pictures, from all over it, decoded and preprocessed by our program."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise SystemExit(f"there are no pictures in {folder}")
    build(("inception-image", "--example", pixels.PIXELS.name))
    preprocessing = materials.preprocessing()
    count = min(count, len(paths))
    for number in range(count):
        path = paths[number * len(paths) // count]
        name = str(path.relative_to(folder))
        values = pixels.ours(path, preprocessing, materials.shape[1:])
        yield Picture(number, name, values.copy())


def made(count: int, materials: Materials) -> Iterator[Picture]:
    """Of each kind in turn, the same in every run."""
    preprocessing = materials.preprocessing()
    mean, std = (np.array(preprocessing[key]).reshape(-1, 1, 1) for key in ("mean", "std"))
    kinds = list(KINDS.items())
    for number in range(count):
        kind, make = kinds[number % len(kinds)]
        values = (make(f"{kind} {number}", materials.shape) - mean) / std
        yield Picture(number, kind, values.astype(np.float32))


def noise(seed: str, shape: tuple[int, int, int]) -> np.ndarray:
    return fractions(seed, int(np.prod(shape))).reshape(shape)


def smooth(seed: str, shape: tuple[int, int, int]) -> np.ndarray:
    """Each channel a few long waves."""
    channels, height, width = shape
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = fractions(seed, channels * 4 * 3).reshape(channels, 4, 3)
    values = [sum(np.cos(2 * np.pi * (3 * a * y + 3 * b * x + c)) for a, b, c in channel) for channel in waves]
    return 0.5 + np.stack(values) / 8


def flat(seed: str, shape: tuple[int, int, int]) -> np.ndarray:
    """One colour."""
    return np.broadcast_to(fractions(seed, shape[0]).reshape(-1, 1, 1), shape)


def saturated(seed: str, shape: tuple[int, int, int]) -> np.ndarray:
    """Every value at one of the two ends, from mostly black to mostly white."""
    return (noise(seed, shape) < fractions(f"{seed} share", 1)).astype(float)


def hard_edges(seed: str, shape: tuple[int, int, int]) -> np.ndarray:
    """Rectangles of one colour each, over one another."""
    channels, height, width = shape
    values = np.zeros(shape)
    for top, bottom, left, right, *colour in fractions(seed, 40 * (4 + channels)).reshape(40, -1):
        rows = slice(*sorted((int(top * height), int(bottom * height))))
        columns = slice(*sorted((int(left * width), int(right * width))))
        values[:, rows, columns] = np.reshape(colour, (-1, 1, 1))
    return values


KINDS: dict[str, Callable[[str, tuple[int, int, int]], np.ndarray]] = {
    "noise": noise,
    "smooth": smooth,
    "flat": flat,
    "saturated": saturated,
    "hard edges": hard_edges,
}
"""From a seed and a shape to values between 0 and 1."""


def one_channel(values: np.ndarray, number: int) -> np.ndarray:
    channel = number % len(values)
    return np.concatenate([values[:channel], 1e3 * values[channel : channel + 1], values[channel + 1 :]])


def one_region(values: np.ndarray, number: int) -> np.ndarray:
    """A sixteenth of the picture."""
    _, height, width = values.shape
    down, across = (int(share * 0.75 * side) for share, side in zip(fractions(f"region {number}", 2), (height, width)))
    changed = values.copy()
    changed[:, down : down + height // 4, across : across + width // 4] *= 1e3
    return changed


SCALED: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "× 1e-3": lambda values, _: 1e-3 * values,
    "× 1e3": lambda values, _: 1e3 * values,
    "× 1e6": lambda values, _: 1e6 * values,
    "a channel × 1e3": one_channel,
    "a region × 1e3": one_region,
}


def scaled(picture: Picture) -> tuple[str, np.ndarray]:
    """The picture scaled in one way, and which: so that each kind of picture meets each way."""
    name, change = list(SCALED.items())[picture.number // len(KINDS) % len(SCALED)]
    return name, change(picture.values, picture.number).astype(np.float32)
