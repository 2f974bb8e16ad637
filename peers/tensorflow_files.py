"""Files that TensorFlow writes, imported by `inception`, against what TensorFlow computes.

    peers/tensorflow [FOLDER]

For each of TF-slim's networks: a V2 checkpoint as training leaves it (running averages, moments,
a step count), a V1 checkpoint, partitioned variables, a frozen graph; for the graph of 2015 its
frozen graph. Each is imported, and the logits and every module's output are compared.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import formula
import tensorflow_nets as nets

import numpy as np
import tensorflow.compat.v1 as tf
from safetensors.numpy import load_file, save_file

LIMIT = 1e-4
INCEPTION, TAPS = os.environ["INCEPTION"], os.environ["TAPS"]


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    ours, theirs = ours.reshape(-1).astype(np.float64), theirs.reshape(-1).astype(np.float64)
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def compare(what: str, file: Path, folder: Path, expected: dict[str, np.ndarray], options: list[str]) -> bool:
    """Imports `file` and compares what the model computes."""
    model, out = folder / "model.safetensors", folder / "taps.safetensors"
    done = subprocess.run([INCEPTION, "import", file, "-o", model, "--force", *options], capture_output=True, text=True)
    if done.returncode != 0:
        print(f"{what:34} FAILED: {done.stderr.strip()}")
        return False
    subprocess.run([TAPS, model, folder / "pictures.safetensors", out], check=True)
    taps = load_file(out)
    found = {name: relative(taps[name], value) for name, value in expected.items() if name in taps}
    logits = found.get("main logits", float("inf"))
    others = [d for name, d in found.items() if name != "main logits"]
    worst = max(others, default=float("nan"))
    good = max(found.values(), default=1) <= LIMIT and len(found) == len(expected)
    missing = "" if len(found) == len(expected) else f" missing: {sorted(set(expected) - set(found))}"
    print(f"{what:34} logits {logits:.1e}, worst of {len(others)} taps {worst:.1e} {'ok' if good else 'FAILED'}{missing}")
    return good


def nchw(value: np.ndarray) -> np.ndarray:
    return value.transpose(0, 3, 1, 2) if value.ndim == 4 else value


def slim_network(network: str, folder: Path) -> bool:
    side, _ = nets.SLIM[network]
    pictures = formula.pictures(2, side)
    save_file({"pictures": np.ascontiguousarray(pictures)}, folder / "pictures.safetensors")
    with tf.Graph().as_default(), tf.Session(config=tf.ConfigProto(device_count={"CPU": 2})) as session:
        x, outputs = nets.build_slim(network, 1001)
        variables = tf.global_variables()
        for variable in variables:
            variable.load(nets.value(variable.op.name, variable.shape.as_list()), session)
        names = list(outputs)
        values = session.run([outputs[name] for name in names], {x: pictures.transpose(0, 2, 3, 1)})
        expected = {name: nchw(value) for name, value in zip(names, values)}

        definition = session.graph.as_graph_def()
        frozen = tf.graph_util.convert_variables_to_constants(session, definition, [outputs["main logits"].op.name])
        (folder / "frozen.pb").write_bytes(frozen.SerializeToString())

        # What training leaves in a checkpoint beside the network.
        # On another device, so that the sharded checkpoint has two files of values.
        with tf.device("/cpu:1"):
            extra = [tf.Variable(np.int64(1234), name="global_step")]
            for variable in tf.trainable_variables()[:6]:
                for slot in ("ExponentialMovingAverage", "RMSProp", "RMSProp_1", "Momentum"):
                    zeros = np.zeros(variable.shape.as_list(), np.float32)
                    extra.append(tf.Variable(zeros, name=f"{variable.op.name}/{slot}"))
        session.run(tf.variables_initializer(extra))
        everything = variables + extra
        tf.train.Saver(everything).save(session, str(folder / "v2.ckpt"), write_meta_graph=False)
        tf.train.Saver(everything, sharded=True).save(session, str(folder / "sharded.ckpt"), write_meta_graph=False)
        version = tf.train.SaverDef.V1
        tf.train.Saver(variables, write_version=version).save(session, str(folder / "v1.ckpt"), write_meta_graph=False)
    with tf.Graph().as_default(), tf.Session() as session:
        # The same variables, cut into parts of three along their last axis.
        parts = []
        for variable in variables:
            name, shape = variable.op.name, variable.shape.as_list()
            cut = tf.fixed_size_partitioner(3, axis=len(shape) - 1)
            made = tf.get_variable(name, shape, partitioner=cut, initializer=tf.zeros_initializer(), use_resource=False)
            for part in made:
                start = part._get_save_slice_info().var_offset
                place = tuple(slice(s, s + n) for s, n in zip(start, part.shape.as_list()))
                parts.append((part, nets.value(name, shape)[place]))
        session.run(tf.global_variables_initializer())
        for part, value in parts:
            part.load(value, session)
        saver = tf.train.Saver(tf.global_variables())
        saver.save(session, str(folder / "parts.ckpt"), write_meta_graph=False)

    good = True
    for what, file in [("V2", "v2.ckpt.index"), ("V2 by prefix", "v2.ckpt"), ("V2 sharded", "sharded.ckpt"),
                       ("V2 in parts", "parts.ckpt.index"), ("V1", "v1.ckpt")]:
        good &= compare(f"{network} {what}", folder / file, folder, expected, [])
    # A graph has the auxiliary head no longer where only the predictions were frozen.
    main = {name: value for name, value in expected.items() if not name.startswith("AuxLogits")}
    good &= compare(f"{network} frozen", folder / "frozen.pb", folder, main, [])
    return good


def graph_of_2015(folder: Path) -> bool:
    graph, modules = nets.fid_2015()
    (folder / "2015.pb").write_bytes(graph.SerializeToString())
    pictures = formula.pictures(1, 299)
    save_file({"pictures": np.ascontiguousarray(pictures)}, folder / "pictures.safetensors")
    with tf.Graph().as_default(), tf.Session() as session:
        tf.import_graph_def(graph, name="")
        names = list(modules)
        values = session.run([f"{name}:0" for name in names], {"Mul:0": pictures.transpose(0, 2, 3, 1)})
        expected = {modules[name]: nchw(value) for name, value in zip(names, values)}
    return compare("graph of 2015", folder / "2015.pb", folder, expected, [])


def main() -> int:
    tf.disable_v2_behavior()
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(sys.argv[1] if len(sys.argv) > 1 else temporary)
        good = True
        for network in nets.SLIM:
            folder = base / network
            folder.mkdir(parents=True, exist_ok=True)
            good &= slim_network(network, folder)
        folder = base / "2015"
        folder.mkdir(parents=True, exist_ok=True)
        good &= graph_of_2015(folder)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
