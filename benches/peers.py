"""Times our engine beside its peers, in turn, in one run. See README.md."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from materials import DIALECTS, ROOT, TARGET, Materials, build, prepare

OURS = "inception"
OWN = {OURS: [], "inception-lean": ["--lean"]}
"""Our engine: the plan that ratios are of, and the one for little memory, with their options."""
PEERS = {
    "openvino-latency": "openvino",
    "openvino-throughput": "openvino",
    "onnxruntime": "onnxruntime",
    "pytorch-compiled": "torch",
    "pytorch-compiled-cl": "torch",
    "pytorch-eager": "torch",
    "pytorch-eager-cl": "torch",
    "tensorflow": "tensorflow-cpu",
}
"""Each with the package it comes from; `serve.py` has what they do."""
USUAL = [name for name in PEERS if "eager" not in name]
SETTINGS = [(1, 2), (8, 2), (32, 2), (1, 1)]
"""Pictures and threads, unless others are asked for."""
EXAMPLE = TARGET / "release" / "examples" / "inference_server"
BINARY = TARGET / "release" / "inception"
TOLERANCE = 1e-3
RESTRICTED = {
    "avx2": {
        "BENCHES_ISA": "avx2",
        "INCEPTION_ISA": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OV_CPU_MAX_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    }
}
"""Environment that keeps engines to an instruction set; README.md says which obey."""


class Server:
    """An engine in a process of its own, with one network, one batch and a number of threads."""

    def __init__(self, engine: str, materials: Materials, batch: int, threads: int) -> None:
        self.engine = engine
        pictures = materials.pictures(batch)
        if engine in OWN:
            command = [EXAMPLE, materials.model, pictures, threads, *plan(engine, batch)]
        else:
            shape = "x".join(map(str, (batch, *materials.shape)))
            command = [sys.executable, ROOT / "benches" / "serve.py", engine, materials.onnx, pictures, shape, threads]
        # Some greet at length; what they say is shown if they fail.
        self.messages = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [str(part) for part in command],
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.messages,
        )

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.messages.close()

    def ask(self, command: str) -> str:
        """The answer to a command."""
        try:
            print(command, file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline().strip()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self.messages.seek(0)
            raise SystemExit(f"{self.messages.read()}\nthe process of {self.engine} has ended")
        return answer

    def infer(self) -> float:
        """Seconds that one batch took."""
        return float(self.ask("infer"))

    def logits(self) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "logits"
            self.ask(f"logits {path}")
            return np.fromfile(path, "<f4")

    def peak_bytes(self) -> int:
        return peak_bytes(self.process.pid)

    def forget_peak(self) -> None:
        """From now on the peak is of what comes, not of what was."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")


def peak_bytes(pid: int) -> int:
    """The largest resident memory that the process has had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next((1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)


def plan(engine: str, batch: int) -> list[str]:
    """The option that our engine's manual gives for so many pictures at a time."""
    return OWN[engine] or (["--throughput"] if batch > 1 else [])


@dataclass
class Result:
    """One engine in one setting."""

    seconds: list[float]
    error: float
    """Largest difference of a logit from the exact one, by the largest exact logit."""
    peak_bytes: int
    """From launch, that is, with loading and preparing the network."""
    running_bytes: int
    """While computing."""
    about: str


def relative_error(logits: np.ndarray, exact: np.ndarray) -> float:
    assert logits.shape == exact.shape, f"{logits.shape} logits, not {exact.shape}"
    error = float(np.abs(logits - exact).max() / np.abs(exact).max())
    return error if np.isfinite(error) else float("inf")


def exact_logits(materials: Materials, count: int) -> np.ndarray:
    """What all engines have to come to, picture after picture: PyTorch's logits in float64."""
    with Server("exact", materials, count, threads=1) as server:
        return server.logits().reshape(count, -1)


def measure(
    engines: list[str], materials: Materials, exact: np.ndarray, threads: int, rounds: int, pause: float
) -> dict[str, Result]:
    """All engines in turn, round after round."""
    with ExitStack() as stack:
        servers, errors, peaks, about = {}, {}, {}, {}
        for name in engines:
            servers[name] = server = stack.enter_context(Server(name, materials, len(exact), threads))
            errors[name] = relative_error(server.logits(), exact.flatten())
            if errors[name] > TOLERANCE:
                raise SystemExit(f"{name} computes other logits: they differ by {errors[name]:.1e}")
            about[name] = " ".join(plan(name, len(exact))) if name in OWN else server.ask("about")
            server.infer()
            peaks[name] = server.peak_bytes()
            server.forget_peak()
        seconds = {name: [] for name in engines}
        for _ in range(rounds):
            for name, server in servers.items():
                # The threads of the engine before spin for a while.
                time.sleep(pause)
                server.infer()
                seconds[name].append(server.infer())
        return {
            name: Result(seconds[name], errors[name], peaks[name], server.peak_bytes(), about[name])
            for name, server in servers.items()
        }


def launch(engine: str, materials: Materials, threads: int) -> float:
    """Seconds from starting the engine's process to the logits of one picture."""
    start = time.perf_counter()
    with Server(engine, materials, 1, threads) as server:
        server.infer()
        return time.perf_counter() - start


def predict_command(materials: Materials, threads: int, options: list[str]) -> list[str]:
    command = [BINARY, "predict", materials.model, materials.photograph(), "--threads", threads, *options]
    return [str(part) for part in command]


def predict(materials: Materials, threads: int, options: list[str]) -> float:
    """Seconds of the program's whole run for one picture file, decoding included."""
    command = predict_command(materials, threads, options)
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def predict_peak(materials: Materials, threads: int, options: list[str]) -> int:
    """The same run's peak memory, looked at until it ends."""
    process = subprocess.Popen(predict_command(materials, threads, options), stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, peak_bytes(process.pid))
        time.sleep(0.002)
    return peak


def quartiles(values: list[float]) -> list[float]:
    return statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else 3 * values


def summary(results: dict[str, Result], batch: int) -> dict:
    """What table and JSON show of a setting."""
    ours = results[OURS].seconds if OURS in results else None
    entries = {}
    for name, result in results.items():
        median = statistics.median(result.seconds)
        entry = {
            "median_ms": 1e3 * median,
            "quartiles_ms": [1e3 * value for value in quartiles(result.seconds)],
            "least_ms": 1e3 * min(result.seconds),
            "pictures_per_second": batch / median,
            "relative_error": result.error,
            "peak_mb": result.peak_bytes / 1e6,
            "running_mb": result.running_bytes / 1e6,
            "seconds": result.seconds,
            "about": result.about,
        }
        if ours and name not in OWN:
            entry["ratio"] = median / statistics.median(ours)
            entry["ratio_quartiles"] = quartiles([peer / own for own, peer in zip(ours, result.seconds)])
            entry["least_ratio"] = min(result.seconds) / min(ours)
        entries[name] = entry
    return entries


def table(entries: dict) -> str:
    head = f"  {'':20} {'least ms':>8} {'median':>8} {'quartiles':>17} {'pict./s':>8} {'ratio':>6} {'quartiles':>12}"
    lines = [f"{head} {'error':>8} {'peak MB':>8} {'running':>8}"]
    for name, entry in entries.items():
        low, _, high = entry["quartiles_ms"]
        ratio = spread = ""
        if "ratio" in entry:
            ratio = f"{entry['ratio']:.2f}"
            spread = "{0:.2f}–{2:.2f}".format(*entry["ratio_quartiles"])
        lines.append(
            f"  {name:20} {entry['least_ms']:8.1f} {entry['median_ms']:8.1f} {f'{low:.1f}–{high:.1f}':>17} "
            f"{entry['pictures_per_second']:8.1f} {ratio:>6} {spread:>12} {entry['relative_error']:8.1e} "
            f"{entry['peak_mb']:8.0f} {entry['running_mb']:8.0f}"
        )
    peers = {name: entry for name, entry in entries.items() if "ratio" in entry}
    if peers:
        fastest = min(peers, key=lambda name: peers[name]["ratio"])
        quickest = min(peers, key=lambda name: peers[name]["least_ratio"])
        leanest = min(peers, key=lambda name: peers[name]["peak_mb"])
        shares = [
            f"{entries[name]['peak_mb'] / peers[leanest]['peak_mb']:.2f} ({name})" for name in OWN if name in entries
        ]
        lines.append(
            f"  {peers[fastest]['ratio']:.2f} × the fastest peer ({fastest}), by least times "
            f"{peers[quickest]['least_ratio']:.2f} × ({quickest});\n  "
            f"{', '.join(shares)} of the leanest peer's peak memory ({leanest})"
        )
    return "\n".join(lines)


def launches(engines: list[str], materials: Materials, threads: int, rounds: int) -> dict:
    """Median seconds from launch to logits, after one launch that warms the disk."""
    # Nobody compiles for a single picture.
    names = dict.fromkeys("pytorch-eager" if "pytorch" in name else name for name in engines)
    timed = {name: lambda name=name: launch(name, materials, threads) for name in names}
    commands = {f"{name} predict": options for name, options in OWN.items() if name in engines}
    timed = {
        name: lambda options=options: predict(materials, threads, options) for name, options in commands.items()
    } | timed
    seconds = {name: [] for name in timed}
    for number in range(rounds + 1):
        for name, run in timed.items():
            taken = run()
            if number > 0:
                seconds[name].append(taken)
    entries = {name: {"median_s": statistics.median(values), "seconds": values} for name, values in seconds.items()}
    for name, options in commands.items():
        entries[name]["peak_mb"] = predict_peak(materials, threads, options) / 1e6
    return entries


@contextmanager
def load(wanted: bool) -> Iterator[None]:
    """Another process that keeps one core busy, if wanted."""
    if not wanted:
        yield
        return
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        burner.kill()
        burner.wait()


def versions(engines: list[str]) -> dict[str, str]:
    packages = dict.fromkeys(PEERS[name] for name in engines if name not in OWN)
    return {package: version(package) for package in packages}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benches/peers", description=__doc__)
    parser.add_argument("--network", nargs="+", default=list(DIALECTS), help="built-in ones, or model files")
    parser.add_argument("--batch", nargs="+", type=int, help="pictures at a time; default: 1, 8, 32")
    parser.add_argument("--threads", nargs="+", type=int, help="default: 2, and 1 for one picture")
    parser.add_argument("--rounds", type=int, help="default: 40 for one picture, fewer for more")
    parser.add_argument("--launches", type=int, default=3, help="launches to time; 0: none")
    parser.add_argument("--engines", nargs="+", choices=[*OWN, *PEERS], default=[*OWN, *USUAL])
    parser.add_argument("--pause", type=float, default=0.1, help="seconds between engines")
    parser.add_argument("--isa", choices=RESTRICTED, help="keep all engines that can be to this instruction set")
    parser.add_argument("--loaded", action="store_true", help="while another process keeps one core busy")
    parser.add_argument("--json", type=Path, help="file for all figures")
    return parser.parse_args()


def settings(options: argparse.Namespace) -> list[tuple[int, int]]:
    """Pictures and threads, in turn."""
    if not options.batch and not options.threads:
        return SETTINGS
    return [(batch, threads) for threads in options.threads or [2] for batch in options.batch or [1, 8, 32]]


def runs(options: argparse.Namespace) -> Iterator[dict]:
    """Measures and prints; gives what the report keeps of each setting."""
    for network in options.network:
        materials = prepare(network)
        # A picture is the same in any batch.
        exact = exact_logits(materials, max(batch for batch, _ in settings(options)))
        for batch, threads in settings(options):
            rounds = options.rounds or max(7, round(40 / batch**0.5))
            print(f"{materials.name}, batch {batch}, threads {threads}, {rounds} rounds", flush=True)
            results = measure(options.engines, materials, exact[:batch], threads, rounds, options.pause)
            entries = summary(results, batch)
            print(table(entries), flush=True)
            yield {"network": materials.name, "batch": batch, "threads": threads, "engines": entries}
        if options.launches:
            threads = settings(options)[0][1]
            print(f"{materials.name}, from launch to the logits of one picture, threads {threads}", flush=True)
            entries = launches(options.engines, materials, threads, options.launches)
            for name, entry in entries.items():
                peak = f", peak {entry['peak_mb']:.0f} MB" if "peak_mb" in entry else ""
                print(f"  {name:22} {entry['median_s']:8.2f} s{peak}", flush=True)
            yield {"network": materials.name, "threads": threads, "launch": entries}


def main() -> None:
    options = arguments()
    os.environ |= RESTRICTED.get(options.isa, {})
    build(("inception-engine", "--example", EXAMPLE.name), ("inception", "--bin", BINARY.name))
    report = {"versions": versions(options.engines), "isa": options.isa, "loaded": options.loaded, "runs": []}
    conditions = (f", at most {options.isa}" if options.isa else "") + (", one core busy" if options.loaded else "")
    print(", ".join(f"{package} {number}" for package, number in report["versions"].items()) + "; float32" + conditions)
    with load(options.loaded):
        for run in runs(options):
            report["runs"].append(run)
            if options.json:
                options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
