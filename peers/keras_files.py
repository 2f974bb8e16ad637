"""Files that Keras writes, imported by `inception`, against what Keras computes.

    peers/keras

InceptionV3 with seeded random weights and statistics, with and without top: whole models and
weights alone in every form in which Keras 3 saves them, and a model of one's own on top of it.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import formula
import h5py
import imported
import keras
import numpy as np
from keras.src.legacy.saving import legacy_h5_format
from safetensors.numpy import load_file

SIDE = 299
MODULES = ["5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"]
ROLES = {"gamma": "bn.weight", "beta": "bn.bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def seeded(model: keras.Model, name: str) -> None:
    """Gives every weight a value of its own, in the order in which the layers were made."""
    number = lambda layer: int("".join(filter(str.isdigit, layer.name.rpartition("_")[2])) or 0)
    layers = sorted(model.layers, key=lambda layer: (type(layer).__name__, number(layer)))
    for i, layer in enumerate(layers):
        for weight in layer.weights:
            kind = weight.name
            if kind in ROLES:
                value = formula.tensor(f"{name}.{i}.{ROLES[kind]}", weight.shape)
            elif kind == "bias":
                value = formula.tensor(f"{name}.{i}.bias", weight.shape)
            else:
                # He's rule wants [out, in, …].
                shape = weight.shape[::-1]
                value = formula.tensor(f"{name}.{i}.weight", shape).transpose()
            weight.assign(value)


def taps(model: keras.Model, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of all modules, and of the pool after them, by our names."""
    layers = [f"mixed{i}" for i in range(11)]
    inner = keras.Model(model.inputs, [model.get_layer(name).output for name in layers])
    outputs = inner.predict(pictures.transpose(0, 2, 3, 1), verbose=0)
    return {f"Mixed_{m}": value.transpose(0, 3, 1, 2) for m, value in zip(MODULES, outputs)}


def logits(features: np.ndarray, dense: keras.layers.Dense) -> np.ndarray:
    """Of the last layer before its softmax."""
    kernel, bias = (np.asarray(weight, dtype=np.float64) for weight in dense.get_weights())
    return features.astype(np.float64) @ kernel + bias


def legacy_weights(model: keras.Model, path: Path) -> None:
    """Weights alone as `keras.applications` publishes them."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def main() -> int:
    good = True
    pictures = formula.pictures(2, SIDE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        imported.put_pictures(folder, pictures)
        compare = lambda *arguments: imported.compare(*arguments[:2], folder, *arguments[2:])

        # Keras numbers layers of one session on; the second model's names start elsewhere.
        for turn in ["first", "second"]:
            model = keras.applications.InceptionV3(weights=None)
            seeded(model, "v3")
            expected = taps(model, pictures)
            features = expected["Mixed_7c"].astype(np.float64).mean((2, 3))
            expected["main logits"] = logits(features, model.get_layer("predictions"))
            if turn == "first":
                model.save(folder / "top.h5")
                good &= compare("InceptionV3, .h5", folder / "top.h5", expected)
                model.save(folder / "top.keras")
                good &= compare("InceptionV3, .keras", folder / "top.keras", expected)
                good &= exported(folder, model, pictures)
                seeded(model, "v3")
            model.save_weights(folder / "top.weights.h5")
            good &= compare(f"InceptionV3, .weights.h5, {turn}", folder / "top.weights.h5", expected)
            legacy_weights(model, folder / "legacy.h5")
            good &= compare(f"InceptionV3, weights as published, {turn}", folder / "legacy.h5", expected)

        model = keras.applications.InceptionV3(weights=None, include_top=False)
        seeded(model, "v3")
        expected = taps(model, pictures)
        new = ["--classes", "7"]
        for form in ["h5", "keras"]:
            model.save(folder / f"bare.{form}")
            # Keras leaves the size open in the file.
            size = ["--size", str(SIDE)]
            good &= compare(f"InceptionV3 without top, .{form}", folder / f"bare.{form}", expected, *new, *size)
        model.save_weights(folder / "bare.weights.h5")
        good &= compare("InceptionV3 without top, .weights.h5", folder / "bare.weights.h5", expected, *new)
        legacy_weights(model, folder / "bare.h5")
        good &= compare("InceptionV3 without top, as published", folder / "bare.h5", expected, *new)

        good &= transfer(compare, pictures)
    return 0 if good else 1


def exported(folder: Path, model: keras.Model, pictures: np.ndarray) -> bool:
    """The model file that `compare` left, exported to Keras' names, back in Keras: the same logits."""
    out = folder / "exported.safetensors"
    command = [imported.INCEPTION, "export", folder / "model.safetensors", "--to", "keras", "-o", out]
    subprocess.run(command, check=True, capture_output=True)
    x = pictures.transpose(0, 2, 3, 1)
    before = model.predict(x, verbose=0)
    seeded(model, "something else")
    weights = load_file(out)
    assert sorted(weight.path for weight in model.weights) == sorted(weights), "other names than Keras'"
    for weight in model.weights:
        weight.assign(weights[weight.path])
    same = bool(np.array_equal(before, model.predict(x, verbose=0)))
    print(f"{'exported and loaded again by Keras':40} {'the same logits ok' if same else 'FAILED'}")
    return same


def transfer(compare, pictures: np.ndarray) -> bool:
    """A model of one's own: scaling, the network as a layer, a head of two layers."""
    base = keras.applications.InceptionV3(weights=None, include_top=False, input_shape=(SIDE, SIDE, 3))
    seeded(base, "v3")
    good = True
    for kind in ["functional", "sequential"]:
        head = [
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(5, activation="softmax"),
        ]
        if kind == "functional":
            inputs = keras.Input((SIDE, SIDE, 3))
            x = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
            x = base(x, training=False)
            for layer in head:
                x = layer(x)
            model = keras.Model(inputs, x)
        else:
            model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), base, *head])
        for i, layer in enumerate(head[2:]):
            kernel, bias = layer.weights
            kernel.assign(formula.tensor(f"head{i}.weight", kernel.shape[::-1]).transpose())
            bias.assign(formula.tensor(f"head{i}.bias", bias.shape))
        # Scaling belongs to a model file's preprocessing, so its pictures are those after it.
        expected = taps(base, pictures)
        features = expected["Mixed_7c"].astype(np.float64).mean((2, 3))
        hidden = np.maximum(logits(features, head[2]), 0)
        expected["main logits"] = logits(hidden, head[3])
        for form in ["keras", "h5"]:
            path = Path(tempfile.gettempdir()) / f"inception-peers-transfer-{os.getpid()}.{form}"
            try:
                model.save(path)
                good &= compare(f"own model on InceptionV3, {kind}, .{form}", path, expected)
            finally:
                path.unlink(missing_ok=True)
    return good


if __name__ == "__main__":
    sys.exit(main())
