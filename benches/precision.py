"""Measures how far our features and logits are from exact arithmetic: PyTorch's in float64. See README.md."""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

import graph
import in_torch
import pictures
from materials import DIALECTS, TARGET, Materials, build, prepare
from pictures import Picture

LIMIT = 1e-4
"""Of each figure, for pictures as they are."""
PLANS = ["default", "largest", "precise"]
EXAMPLE = TARGET / "release" / "examples" / "features"
UNSCALED = "as they are"
FIGURES = ["features", "logits", "largest logit"]
"""Relative error in the root of the mean square: of features, of logits; largest difference of a logit by the largest
logit."""

Outputs = tuple[np.ndarray, np.ndarray]
"""Features and logits of one picture."""


class Ours:
    """Our engine in a process of its own."""

    def __init__(self, materials: Materials, plan: str, isa: str | None, threads: int) -> None:
        self.what = f"{EXAMPLE.name} {plan}"
        self.process = subprocess.Popen(
            [EXAMPLE, materials.model, plan, str(threads)],
            env=os.environ | ({"INCEPTION_ISA": isa} if isa else {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        head = self.process.stdout.readline().split()
        if len(head) != 3:
            raise SystemExit(f"{self.what} has ended")
        self.isa = head[0].decode()
        self.features, self.logits = int(head[1]), int(head[2])

    def __enter__(self) -> "Ours":
        return self

    def __exit__(self, *_) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def __call__(self, values: np.ndarray) -> Outputs:
        try:
            self.process.stdin.write(values.astype("<f4").tobytes())
            self.process.stdin.flush()
            answer = self.process.stdout.read(4 * (self.features + self.logits))
        except BrokenPipeError:
            answer = b""
        numbers = np.frombuffer(answer, "<f4")
        if len(numbers) != self.features + self.logits:
            raise SystemExit(f"{self.what} has ended")
        return numbers[: self.features], numbers[self.features :]


def in_pytorch(network: graph.Graph, dtype: torch.dtype) -> Callable[[np.ndarray], Outputs]:
    """The same by PyTorch."""
    module = in_torch.Network(network, dtype).eval()
    last = list(module.layers.values())[-1]
    read = []
    last.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))

    def run(values: np.ndarray) -> Outputs:
        with torch.no_grad():
            logits = module(torch.from_numpy(values)[None].to(dtype))
        return read.pop().flatten().numpy(), logits.flatten().numpy()

    return run


def distance(found: np.ndarray, exact: np.ndarray, norm: float = 2) -> float:
    """‖found − exact‖ / ‖exact‖; infinite where anything is not a number."""
    assert found.shape == exact.shape, f"{found.shape} values, not {exact.shape}"
    off, size = (float(np.linalg.norm(v, norm)) for v in (found.astype(np.float64) - exact, exact))
    if off == 0:
        return 0.0
    return off / size if np.isfinite(off) and size > 0 else float("inf")


def errors(found: Outputs, exact: Outputs) -> dict[str, float]:
    """The figures for one picture."""
    features, logits = (distance(f, e) for f, e in zip(found, exact))
    return dict(zip(FIGURES, [features, logits, distance(found[1], exact[1], np.inf)]))


def inputs(picture: Picture) -> Iterator[tuple[str, np.ndarray]]:
    """The picture as it is, and scaled in one way."""
    yield UNSCALED, picture.values
    yield pictures.scaled(picture)


def examine(materials: Materials, seen: Iterator[Picture], options: argparse.Namespace) -> dict:
    """What table and JSON show of a network."""
    network = graph.read(materials.onnx)
    exact = in_pytorch(network, torch.float64)
    names = []
    figures = defaultdict(lambda: defaultdict(list))
    with ExitStack() as stack:
        engines = {}
        for isa in options.isa or [None]:
            for plan in options.plan:
                engine = stack.enter_context(Ours(materials, plan, isa, options.threads))
                engines[f"{plan}, {engine.isa}"] = engine
        ours = list(engines)
        engines["PyTorch, float32"] = in_pytorch(network, torch.float32)
        for picture in seen:
            names.append(picture.name)
            for scaling, values in inputs(picture):
                truth = exact(values)
                for name, engine in engines.items():
                    found = {"picture": picture.number} | errors(engine(values), truth)
                    figures[name][scaling].append(found)
            if sys.stderr.isatty():
                print(f"  {len(names)} pictures", end="\r", file=sys.stderr, flush=True)
    lengths = dict(zip(["features", "logits"], map(len, truth)))
    entries = {name: {s: summary(found) for s, found in by.items()} for name, by in figures.items()}
    return {"network": materials.name, "pictures": names, **lengths, "ours": ours, "errors": entries}


def summary(found: list[dict]) -> dict:
    """Median and largest of each figure, beside all of them."""
    result = {}
    for figure in FIGURES:
        worst = max(found, key=lambda entry: entry[figure])
        median = statistics.median(entry[figure] for entry in found)
        result[figure] = {"median": median, "largest": worst[figure], "picture": worst["picture"]}
    return result | {"all": found}


def table(entry: dict) -> str:
    columns = "".join(f"  {figure:^22}" for figure in FIGURES)
    lines = [f"  {'':22}{columns}", f"  {'':22}" + len(FIGURES) * "    median  largest    no."]
    for name, by in entry["errors"].items():
        lines.append(f"  {name}")
        for scaling in [UNSCALED, *pictures.SCALED]:
            if scaling in by:
                cells = (by[scaling][figure] for figure in FIGURES)
                cells = "".join(f"   {c['median']:7.1e}  {c['largest']:7.1e}  {c['picture']:5}" for c in cells)
                lines.append(f"    {scaling:20}{cells}")
    return "\n".join(lines)


def beyond(entry: dict) -> list[str]:
    """Our figures that pass the limit for pictures as they are."""
    return [
        f"{entry['network']}, {name}, {figure}: {found['largest']:.1e} for {entry['pictures'][found['picture']]}"
        for name in entry["ours"]
        for figure, found in entry["errors"][name][UNSCALED].items()
        if figure in FIGURES and found["largest"] > LIMIT
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benches/precision", description=__doc__)
    parser.add_argument("--network", nargs="+", default=list(DIALECTS), help="built-in ones, or model files")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="default: made ones of several kinds")
    parser.add_argument("--count", type=int, default=300, help="pictures of each network; default: 300")
    parser.add_argument("--plan", nargs="+", choices=PLANS, default=PLANS, help="how convolutions are computed")
    parser.add_argument("--isa", nargs="+", help="instruction sets, as INCEPTION_ISA names them; default: the best")
    parser.add_argument("--threads", type=int, default=1, help="default: 1")
    parser.add_argument("--json", type=Path, help="file for all figures")
    options = parser.parse_args()
    if options.count < 1:
        parser.error("--count has to be 1 or more")
    return options


def main() -> int:
    options = arguments()
    torch.set_num_threads(options.threads)
    build(("inception-engine", "--example", EXAMPLE.name), ("inception", "--bin", "inception"))
    report = {"versions": {"torch": version("torch")}, "limit": LIMIT, "networks": []}
    failures = []
    for network in options.network:
        materials = prepare(network)
        if options.pictures:
            seen = pictures.of_folder(options.pictures, options.count, materials)
        else:
            seen = pictures.made(options.count, materials)
        entry = examine(materials, seen, options)
        counts = f"{len(entry['pictures'])} pictures, {entry['features']} features, {entry['logits']} logits"
        print(f"{entry['network']}: {counts}; relative errors\n{table(entry)}", flush=True)
        report["networks"].append(entry)
        failures += beyond(entry)
        if options.json:
            options.json.write_text(json.dumps(report, indent=1))
    print("\n".join(f"beyond {LIMIT:.0e}: {failure}" for failure in failures) or f"all within {LIMIT:.0e}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
