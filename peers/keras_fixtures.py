"""Small files that Keras 3, Keras 2 and TensorFlow.js' converter write, for the tests of `formats` and `convert`.

    .venv-peers/bin/python -m pip install tf_keras==2.21.0
    .venv-peers/bin/python -m pip install --no-deps tensorflowjs==4.22.0
    .venv-peers/bin/python peers/keras_fixtures.py

A network of a few layers with every way of padding, pooling and normalising that Inception has, and a grid
that is flattened. `expected.json` has the logits that Keras computes from each file for one picture, whose
value number i, in (row, column, channel) order, is (7 i mod 23) / 11 - 1.
"""

import importlib
import json
import os
import sys
import types
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import keras
import numpy as np
import tf_keras

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "crates/formats/tests/data/keras"
CORPUS = ROOT / "fuzz/corpus"
PICTURE = ((7 * np.arange(11 * 13 * 3) % 23) / 11 - 1).astype(np.float32).reshape(1, 11, 13, 3)


def build(library):
    """The same network in either Keras."""
    layers = library.layers
    inputs = library.Input((11, 13, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(inputs)
    x = layers.BatchNormalization(scale=False, epsilon=1e-3)(x)
    x = layers.Activation("relu")(x)
    x = layers.MaxPooling2D(3, strides=2)(x)
    a = layers.Conv2D(3, 1, activation="relu")(x)
    b = layers.AveragePooling2D(3, strides=1, padding="same")(x)
    b = layers.Conv2D(2, (1, 3), padding="same")(b)
    b = layers.BatchNormalization(epsilon=0.01)(b)
    b = layers.ReLU()(b)
    x = layers.Concatenate()([a, b])
    x = layers.Flatten()(x)
    x = layers.Dense(6, activation="relu")(x)
    x = layers.Dropout(0.3)(x)
    x = layers.Dense(5, activation="softmax")(x)
    model = library.Model(inputs, x)
    random = np.random.RandomState(5)
    values = [random.uniform(-1, 1, w.shape) for w in model.get_weights()]
    names = [w.name for w in model.weights]
    model.set_weights([np.abs(v) + 0.5 if "variance" in n else v for n, v in zip(names, values)])
    return model


def logits(model) -> list[float]:
    hidden = type(model)(model.inputs, model.layers[-2].output).predict(PICTURE, verbose=0)
    kernel, bias = model.layers[-1].get_weights()
    return (hidden.astype(np.float64) @ kernel + bias)[0].tolist()


def converter(name: str):
    """A module of the converter, without its package's other imports (TensorFlow Hub, Decision Forests)."""
    root = next(Path(p) / "tensorflowjs" for p in sys.path if (Path(p) / "tensorflowjs").is_dir())
    for package, folder in [("tensorflowjs", root), ("tensorflowjs.converters", root / "converters")]:
        if package not in sys.modules:
            sys.modules[package] = types.ModuleType(package)
            sys.modules[package].__path__ = [str(folder)]
    sys.modules["tensorflowjs"].version = importlib.import_module("tensorflowjs.version")
    return importlib.import_module(f"tensorflowjs.{name}")


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    expected = {}
    for library, name in [(keras, "keras3"), (tf_keras, "keras2")]:
        for form in ["h5", "keras"]:
            model = build(library)
            model.save(FOLDER / f"{name}.{form}")
            expected[f"{name}.{form}"] = logits(model)

    save = converter("converters.keras_h5_conversion").save_keras_model
    read = converter("read_weights").read_weights
    for kind in ["float32", "float16", "uint16", "uint8"]:
        model = build(tf_keras)
        folder = FOLDER / f"tfjs-{kind}"
        quantised = {} if kind == "float32" else {"quantization_dtype_map": {kind: "*"}}
        save(model, str(folder), weight_shard_size_bytes=700, **quantised)
        manifest = json.loads((folder / "model.json").read_text())["weightsManifest"]
        stored = {w["name"]: w["data"] for group in read(manifest, str(folder)) for w in group}
        model.set_weights([stored[w.name.removesuffix(":0")] for w in model.weights])
        expected[folder.name] = logits(model)

    with h5py.File(FOLDER / "chunks.h5", "w", libver="latest") as file:
        values = (np.arange(600) % 100 / 8 - 2).reshape(20, 30)
        file.create_dataset("deflated", data=values, chunks=(7, 11), compression="gzip", shuffle=True, fletcher32=True)
        file.create_dataset("group/half", data=values.astype("<f2"), chunks=(20, 30))
        file.create_dataset("group/big", data=values.astype(">f4"))
        file["text"] = "no numbers"
        for i in range(20):
            file.attrs[f"attribute {i}"] = "x" * i
        file.attrs["model_config"] = "{}"
    with h5py.File(FOLDER / "old.h5", "w", libver=("earliest", "v110")) as file:
        file.create_dataset("deflated", data=values, chunks=(7, 11), compression="gzip", shuffle=True, fletcher32=True)
        file.create_dataset("group/half", data=values.astype("<f2"), chunks=(20, 30))

    # The smallest models, for the fuzz targets to start from.
    for library, name in [(keras, "keras3"), (tf_keras, "keras2")]:
        inputs = library.Input((2, 2, 1), name="i")
        outputs = library.layers.Dense(2, name="d")(library.layers.Flatten(name="f")(inputs))
        model = library.Model(inputs, outputs, name="m")
        for target, form in [("keras_hdf5", "h5"), ("keras_archive", "keras")]:
            (CORPUS / target).mkdir(parents=True, exist_ok=True)
            model.save(CORPUS / target / f"{name}.{form}", **({"include_optimizer": False} if form == "h5" else {}))
    save(model, str(CORPUS))
    described, shard = CORPUS / "model.json", CORPUS / "group1-shard1of1.bin"
    (CORPUS / "tfjs").mkdir(exist_ok=True)
    (CORPUS / "tfjs/keras2").write_bytes(described.read_bytes() + b"\0" + shard.read_bytes())
    described.unlink(), shard.unlink()
    (CORPUS / "hdf5").mkdir(exist_ok=True)

    # Four gigabytes of nothing.
    with h5py.File(FOLDER / "huge.h5", "w") as file:
        file.create_dataset("zeros", shape=(1 << 30,), dtype="<f4", chunks=(1 << 20,))

    for name in ["chunks.h5", "old.h5", "huge.h5"]:
        (CORPUS / "hdf5" / name).write_bytes((FOLDER / name).read_bytes())

    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
