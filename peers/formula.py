"""Weights and pictures that Python and Rust both compute, so that none need be stored.

Value number i of a tensor is the i-th output of SplitMix64 (Steele, Lea, Flood 2014) seeded with
the 64-bit FNV-1a hash of the tensor's name, its upper 53 bits read as a fraction u in [0, 1), and
scaled by the tensor's role. All in float64, rounded to float32 at the end: the bits are the same
in `crates/engine/tests/common/formula.rs`, which mirrors this file.
"""

import numpy as np

GOLDEN = 0x9E3779B97F4A7C15


def fnv1a(name: str) -> int:
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) % 2**64
    return value


def splitmix64(seed: int, indices: np.ndarray) -> np.ndarray:
    """Outputs number `indices` (uint64, from 0) of the generator seeded with `seed`."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + (indices + np.uint64(1)) * np.uint64(GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def fractions(name: str, count: int) -> np.ndarray:
    bits = splitmix64(fnv1a(name), np.arange(count, dtype=np.uint64))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The tensor of that name, which tells its role: float32, `shape`."""
    u = fractions(name, int(np.prod(shape)))
    if name.endswith("running_var"):
        values = 0.5 + u
    elif name.endswith("bn.weight"):
        values = 0.75 + 0.5 * u
    elif name.endswith((".bias", "running_mean")):
        values = 0.2 * (2.0 * u - 1.0)
    elif name.endswith(".weight"):
        # Variance 2 / fan-in (He et al. 2015) keeps a deep network's activations in range.
        values = np.sqrt(6.0 / np.prod(shape[1:])) * (2.0 * u - 1.0)
    else:
        raise ValueError(f"the name {name} tells no role")
    return values.astype(np.float32).reshape(shape)


# Side of the squares of one colour that `pictures` are made of.
CELL = 32


def pictures(count: int, side: int) -> np.ndarray:
    """NCHW float32 in [-1, 1): coloured squares with noise.

    Noise alone looks the same everywhere to deep layers, and batch norm then magnifies every
    rounding error (tenfold in inception-v3)."""
    cells = -(-side // CELL)
    shape = (count, 3, cells, cells)
    squares = (2.0 * fractions("squares", int(np.prod(shape))) - 1.0).reshape(shape)
    squares = squares.repeat(CELL, axis=2).repeat(CELL, axis=3)[:, :, :side, :side]
    noise = 2.0 * fractions("noise", count * 3 * side * side) - 1.0
    return (0.75 * squares + 0.25 * noise.reshape(count, 3, side, side)).astype(np.float32)


def labels(count: int, classes: int) -> np.ndarray:
    bits = splitmix64(fnv1a("labels"), np.arange(count, dtype=np.uint64))
    return (bits % np.uint64(classes)).astype(np.int64)


def sample_indices(name: str, length: int, count: int) -> list[int]:
    """Which of a tensor's values a recorded case keeps (repeats are possible)."""
    bits = splitmix64(fnv1a("samples of " + name), np.arange(count, dtype=np.uint64))
    return [int(b) for b in bits % np.uint64(length)]
