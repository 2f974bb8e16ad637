"""Exports of every built-in network, checked by the onnx package and run in ONNX Runtime.

peers/onnx_exports [NETWORK…]

Each network in each dialect, with random weights and random batch-norm statistics: the file has to pass
onnx.checker, its logits and the output of every module in ONNX Runtime have to be ours, and the file imported again
has to be recognised as the network it is and give the same logits.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file, save_file

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
TOLERANCE = 1e-4
NETWORKS = {
    "googlenet": ["paper", "torchvision", "tf-slim"],
    "bn-inception": ["paper", "tf-slim"],
    "inception-v2": ["paper"],
    "inception-v3-paper": ["paper"],
    "inception-v3": ["torchvision", "tf-slim", "keras", "fid-2015"],
    "inception-v3-small": ["paper"],
}


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, text=True, capture_output=True, cwd=ROOT)


def pictures(shape, count=2):
    """Patches of colour with noise: of noise alone deep layers see the same everywhere."""
    random = np.random.default_rng(5)
    channels, height, width = shape
    coarse = random.uniform(-1, 1, (count, channels, 6, 6)).repeat(-(-height // 6), 2).repeat(-(-width // 6), 3)
    noise = random.uniform(-0.2, 0.2, (count, *shape))
    return (0.8 * coarse[:, :, :height, :width] + noise).astype(np.float32)


def taps(model, images, folder):
    """Our outputs of all concatenations, and the logits."""
    save_file({"pictures": images}, folder / "pictures.safetensors")
    run(TARGET / "examples" / "taps", model, folder / "pictures.safetensors", folder / "taps.safetensors")
    return load_file(folder / "taps.safetensors")


def with_outputs(path, names):
    """The file's graph with further values as outputs."""
    model = onnx.load(path)
    made = {output for node in model.graph.node for output in node.output}
    missing = [name for name in names if name not in made]
    assert not missing, f"no values {missing}"
    known = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in known)
    return model.SerializeToString()


def apart(ours, theirs):
    """The largest difference by the largest magnitude."""
    assert ours.size == theirs.size, (ours.shape, theirs.shape)
    theirs = theirs.astype(np.float64).reshape(-1)
    return float(np.abs(ours.reshape(-1) - theirs).max() / np.abs(theirs).max())


def check(network, dialect, folder):
    model, file, back = folder / "model.safetensors", folder / "model.onnx", folder / "back.safetensors"
    run(TARGET / "examples" / "random_model", network, dialect, 7, model)
    run(TARGET / "inception", "export", model, "--to", "onnx", "-o", file, "--force")
    onnx.checker.check_model(str(file), full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    images = pictures(session.get_inputs()[0].shape[1:])
    ours = taps(model, images, folder)
    logits = session.run(["logits"], {"input": images})[0]
    difference = apart(ours["main logits"], logits)

    produced = {output for node in onnx.load(file).graph.node for output in node.output}
    modules = [name for name in ours if name in produced]
    session = onnxruntime.InferenceSession(with_outputs(file, modules), options, providers=["CPUExecutionProvider"])
    values = session.run(modules, {"input": images})
    inside = max(apart(ours[name], value) for name, value in zip(modules, values, strict=True))

    run(TARGET / "inception", "import", file, "-o", back, "--force")
    again = apart(taps(back, images, folder)["main logits"], ours["main logits"])
    shown = run(TARGET / "inception", "summary", back).stdout.splitlines()[0]
    known = shown.split(":")[0] == network
    good = difference <= TOLERANCE and inside <= TOLERANCE and again <= TOLERANCE and known
    row = (network, dialect, len(modules), inside, difference, again, "" if good else "WRONG")
    print("{:20} {:12} {:>3} modules {:8.1e}  logits {:8.1e}  imported again {:8.1e}  {}".format(*row), flush=True)
    if not known:
        print(f"    imported again it is `{shown}`")
    return good


def main():
    cargo = ["cargo", "build", "--release", "--quiet"]
    run(*cargo, "-p", "inception-engine", "--example", "taps")
    run(*cargo, "-p", "inception-convert", "--example", "random_model")
    run(*cargo, "-p", "inception")
    wanted = sys.argv[1:] or NETWORKS
    with tempfile.TemporaryDirectory() as folder:
        results = [check(name, dialect, Path(folder)) for name in wanted for dialect in NETWORKS[name]]
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
