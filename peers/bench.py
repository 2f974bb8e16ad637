"""Times a training step of our engine beside PyTorch. See README.md."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

import versions
from networks import NETWORKS, loss_of, pictures, seeded, write_case

THREADS = 2
CLASSES = 1000
TRAINING_BATCH = 16
TRAINING_ROUNDS = 5
# Engines' threads spin for a while after their work; the next one must not be timed against them.
PAUSE = 0.1
ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "target" / "bench"
NETWORK = NETWORKS["inception-v3"]

Run = Callable[[], tuple[float, float]]
"""Computes once; returns the seconds it took and a number that every engine must come to."""


class Ours:
    """Our engine in a process of its own, warm like the peers."""

    def __init__(self) -> None:
        cargo = ["cargo", "run", "--quiet", "--release", "--package", "inception-engine", "--example", "bench_server"]
        self.process = subprocess.Popen(
            [*cargo, "--", str(FOLDER), str(THREADS)], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def ask(self, command: str) -> tuple[float, float]:
        print(command, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline().split()
        if not answer:
            raise SystemExit("our engine's process has ended; its message stands above")
        seconds, number = map(float, answer)
        return seconds, number


def timed(compute: Callable[[], float]) -> tuple[float, float]:
    start = time.perf_counter()
    number = compute()
    return time.perf_counter() - start, number


def pytorch(memory_format: torch.memory_format, labels: torch.Tensor) -> Run:
    """The loss of a training step, forward and backward, from PyTorch."""
    module = seeded(NETWORK, CLASSES, torch.float32).to(memory_format=memory_format).train()
    x = pictures(NETWORK, TRAINING_BATCH).to(memory_format=memory_format)

    def step() -> float:
        module.zero_grad()
        loss = loss_of(NETWORK, module(x), labels)
        loss.backward()
        return loss.item()

    return lambda: timed(step)


def in_turn(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """Seconds of every run, taken in turn; all must come to the same number."""
    numbers = [run()[1] for run in runs.values()]
    assert max(numbers) - min(numbers) <= 1e-3 * max(map(abs, numbers)), f"different results: {numbers}"
    seconds = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            time.sleep(PAUSE)
            seconds[name].append(run()[0])
    return seconds


def report(title: str, batch: int, seconds: dict[str, list[float]]) -> None:
    """Medians with quartiles, and how many times as fast as each peer ours is (first of `seconds`)."""
    print(title)
    ours, *_ = seconds.values()
    for name, values in seconds.items():
        low, median, high = (1e3 * v for v in statistics.quantiles(values, n=4))
        line = f"  {name:24} {median:8.1f} ms ({low:.1f} to {high:.1f}), {1e3 * batch / median:6.1f} pictures/s"
        if values is not ours:
            low, _, high = statistics.quantiles([peer / own for own, peer in zip(ours, values)], n=4)
            ratio = statistics.median(values) / statistics.median(ours)
            line += f"; ours is {ratio:.2f} × as fast ({low:.2f} to {high:.2f})"
        print(line, flush=True)


def training(ours: Ours, labels: torch.Tensor) -> None:
    formats = {
        "PyTorch contiguous": torch.contiguous_format,
        "PyTorch channels-last": torch.channels_last,
    }
    peers = {name: pytorch(memory_format, labels) for name, memory_format in formats.items()}
    for run in peers.values():
        run()
    fastest = min(peers, key=lambda name: peers[name]()[0])
    runs = {"inception": lambda: ours.ask(f"train {TRAINING_BATCH}"), fastest: peers[fastest]}
    title = f"training step (forward, backward), {NETWORK.name} at {NETWORK.side}², batch {TRAINING_BATCH}"
    report(f"{title}, {TRAINING_ROUNDS} rounds in turn", TRAINING_BATCH, in_turn(runs, TRAINING_ROUNDS))


def main() -> int:
    print(f"{versions.line()}; {THREADS} threads; float32")
    torch.set_num_threads(THREADS)
    labels = write_case(NETWORK, CLASSES, TRAINING_BATCH, FOLDER)
    training(Ours(), labels)
    return 0


if __name__ == "__main__":
    sys.exit(main())
