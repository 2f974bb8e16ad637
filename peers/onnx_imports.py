"""ONNX files of other programs, imported and compared with ONNX Runtime.

peers/onnx_imports

- The light Inception v1 and v2 of the onnx package (BVLC's GoogLeNet and BN-Inception, one constant for all weights):
  their own test data.
- The same graphs with random weights and statistics: logits and the output of every module.
- torchvision's networks with random weights and statistics, as PyTorch's two exporters write them: logits and the
  output of every module.
"""

import json
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torchvision
from onnx import numpy_helper
from safetensors import safe_open

from onnx_exports import TARGET, TOLERANCE, apart, pictures, run, taps, with_outputs

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def imported(file, images, folder, *options):
    """The name of the network that the file becomes, and our outputs."""
    model = folder / "imported.safetensors"
    run(TARGET / "inception", "import", file, "-o", model, "--force", *options)
    name = run(TARGET / "inception", "summary", model).stdout.split(":")[0]
    return name, taps(model, images, folder)


def report(what, name, modules, difference):
    good = difference <= TOLERANCE
    print(f"{what:44} {name:22} {modules:>3} modules {difference:8.1e}  {'' if good else 'WRONG'}", flush=True)
    return good


def own_data(version, folder):
    """The expected output of the onnx package's test runner for its made-up input."""
    images = (np.arange(3 * 224 * 224).reshape(1, 3, 224, 224) / (3 * 224 * 224)).astype(np.float32)
    name, ours = imported(LIGHT / f"light_inception_{version}.onnx", images, folder)
    logits = ours["main logits"].reshape(-1).astype(np.float64)
    softmax = np.exp(logits - logits.max())
    expected = onnx.TensorProto.FromString((LIGHT / f"light_inception_{version}_output_0.pb").read_bytes())
    difference = apart(softmax / softmax.sum(), numpy_helper.to_array(expected))
    return report(f"light {version}, its own test data", name, 0, difference)


def randomised(version, folder):
    """The light graph with random numbers in place of its one constant."""
    model = onnx.load(LIGHT / f"light_inception_{version}.onnx")
    random = np.random.default_rng(11)
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}

    def values(name, shape):
        if name.endswith(("bn_var_0", "bn_scale_0", "sc_w_0")):
            return random.uniform(0.6, 1.4, shape)
        if len(shape) == 1:
            return random.uniform(-0.3, 0.3, shape)
        return random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)

    kept = []
    for node in model.graph.node:
        if node.op_type == "ConstantOfShape":
            shape = shapes[node.input[0]]
            shapes[node.output[0]] = values(node.output[0], shape).astype(np.float32)
        else:
            kept.append(node)
    for name, value in shapes.items():
        if value.dtype == np.float32 and value.ndim == 1:
            shapes[name] = values(name, value.shape).astype(np.float32)
    inputs = [info for info in model.graph.input if info.name not in shapes]
    model.ir_version = 8  # before version 4 constants had to be inputs as well
    del model.graph.node[:], model.graph.initializer[:], model.graph.input[:]
    model.graph.node.extend(kept)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in shapes.items())
    model.graph.input.extend(inputs)
    # The logits come before the softmax.
    model.graph.output[0].name = next(node for node in kept if node.op_type == "Softmax").input[0]
    file = folder / "randomised.onnx"
    onnx.save(model, file)
    return compared(f"light {version}, random weights", file, folder, (3, 224, 224))


def compared(what, file, folder, shape, scaled=lambda images: images):
    """Logits, and each concatenation's output beside ours of the same shape that is nearest.

    `scaled` is what the graph does to the picture first: for us that is preprocessing.
    """
    images = pictures(shape, 1)
    name, ours = imported(file, scaled(images), folder)
    model = onnx.load(file)
    logits = model.graph.output[0].name
    concats = [node.output[0] for node in model.graph.node if node.op_type == "Concat"]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Layer by layer as the file says, so that every module's output is there.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(with_outputs(file, concats), options, providers=["CPUExecutionProvider"])
    theirs = session.run([logits, *concats], {session.get_inputs()[0].name: images})
    worst, modules = apart(ours["main logits"], theirs[0]), 0
    for value in theirs[1:]:
        like = [tap for key, tap in ours.items() if tap.shape == value.shape and "logits" not in key]
        if value.shape[1] == shape[0]:
            continue  # the picture's own channels, scaled and put together again
        worst = max(worst, min((apart(tap, value) for tap in like), default=np.inf))
        modules += 1
    return report(what, name, modules, worst)


def torchvisions(build, side, folder, **arguments):
    torch.manual_seed(3)
    network = build(weights=None, init_weights=False, **arguments)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.6, 1.4)
            torch.nn.init.uniform_(module.weight, 0.6, 1.4)
            torch.nn.init.uniform_(module.bias, -0.3, 0.3)
    network.eval()

    def scaled(images):
        return network._transform_input(torch.from_numpy(images)).numpy()

    good = True
    for dynamo in (False, True):
        file = folder / "torch.onnx"
        picture = torch.from_numpy(pictures((3, side, side), 1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(network, (picture,), str(file), dynamo=dynamo, verbose=False)
        what = f"{build.__name__} {arguments}, {'dynamo' if dynamo else 'TorchScript'}"
        good &= compared(what, file, folder, (3, side, side), scaled)
        if arguments["transform_input"]:
            good &= undone(file, folder)
    return good


def undone(file, folder):
    """ImageNet's scaling, which the file expects, and the file's own together are [-1, 1]."""
    model = folder / "scaled.safetensors"
    run(TARGET / "inception", "import", file, "-o", model, "--force", "--range", "imagenet")
    with safe_open(model, "numpy") as opened:
        network = json.loads(json.loads(opened.metadata()["inception"])["network"])
    statistics = network["preprocessing"]["mean"] + network["preprocessing"]["std"]
    good = bool(np.allclose(statistics, 0.5, atol=1e-6))
    print(f"    with --range imagenet: mean and deviation {statistics} {'' if good else 'WRONG'}", flush=True)
    return good


def main():
    run("cargo", "build", "--release", "--quiet", "-p", "inception-engine", "--example", "taps")
    run("cargo", "build", "--release", "--quiet", "-p", "inception")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = [check(version, folder) for check in (own_data, randomised) for version in ("v1", "v2")]
        models = torchvision.models
        results.append(torchvisions(models.googlenet, 224, folder, transform_input=True))
        results.append(torchvisions(models.inception_v3, 299, folder, transform_input=False))
        results.append(torchvisions(models.inception_v3, 299, folder, transform_input=True))
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
