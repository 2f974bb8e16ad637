"""Compares logits and all gradients of our networks with PyTorch's. See README.md."""

import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

import kinks
import versions
from networks import NETWORKS, Network, Step, infer, pictures, seeded, train_step, write_case

CLASSES = 1000
# Batch norm over the two values that a batch of two leaves in the auxiliary head would make them
# +1 and -1 whatever they were; four are well conditioned.
BATCH = 4
LIMITS = {"logits": 1e-4, "gradient": 1e-3, "running": 1e-4}
WORST_SHOWN = 5
ROOT = Path(__file__).resolve().parent.parent


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest difference by the largest magnitude; infinite where anything is not a number."""
    ours, theirs = ours.double().flatten(), theirs.double().flatten()
    assert ours.shape == theirs.shape, f"{ours.shape} against {theirs.shape}"
    error = ((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-300)).item()
    return error if error == error else float("inf")


def run_ours(folder: Path) -> dict[str, torch.Tensor]:
    """Logits, gradients, running statistics and kinks' sides as our engine computes them."""
    command = ["cargo", "run", "--quiet", "--release", "--package", "inception-engine", "--example", "parity", "--"]
    subprocess.run([*command, str(folder)], cwd=ROOT, check=True)
    return load_file(folder / "ours.safetensors")


def sides_of(ours: dict[str, torch.Tensor]) -> kinks.Sides:
    active = {name.removeprefix("active."): values > 0 for name, values in ours.items() if name.startswith("active.")}
    count = sum(name.startswith("pooled.") for name in ours)
    return kinks.Sides(active, [ours[f"pooled.{i}"] for i in range(count)])


def tensors(inference: torch.Tensor, step: Step) -> dict[str, torch.Tensor]:
    """A run's results under the names that our engine writes them."""
    return (
        {"logits.inference": inference}
        | {f"logits.{head}": values for head, values in step.logits.items()}
        | {f"gradient.{name}": values for name, values in step.gradients.items()}
        | {f"running.{name}": values for name, values in step.running.items()}
    )


def run_torch(network: Network, labels: torch.Tensor, dtype: torch.dtype) -> tuple[dict[str, torch.Tensor], kinks.Sides]:
    """The same from PyTorch."""
    module = seeded(network, CLASSES, dtype)
    x = pictures(network, BATCH).to(dtype)
    inference = infer(module, x)
    with kinks.recorded(module, network.rename) as sides:
        step = train_step(network, module, x, labels)
    return tensors(inference, step), sides


def gradients_on(sides: kinks.Sides, network: Network, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """PyTorch's gradients in float64, on the given sides of all kinks."""
    module = seeded(network, CLASSES, torch.float64)
    with kinks.forced(module, network.rename, sides):
        step = train_step(network, module, pictures(network, BATCH).double(), labels)
    return {f"gradient.{name}": values for name, values in step.gradients.items()}


def report(folder: Path, ours: dict[str, float], peer: dict[str, float]) -> bool:
    """Prints the worst tensors of each kind; whether all are within the limits."""
    with open(folder / "errors.tsv", "w") as file:
        file.write("tensor\tours\tPyTorch float32\n")
        file.writelines(f"{name}\t{error:.2e}\t{peer[name]:.2e}\n" for name, error in ours.items())
    good = True
    for kind, limit in LIMITS.items():
        names = sorted((name for name in ours if name.startswith(kind + ".")), key=ours.get, reverse=True)
        beyond = sum(ours[name] > limit for name in names)
        good &= beyond == 0
        print(f"  {kind}: {len(names)} tensors, {beyond} beyond {limit:.0e}")
        for name in names[:WORST_SHOWN]:
            print(f"    {ours[name]:.1e}  (PyTorch float32 {peer[name]:.1e})  {name.removeprefix(kind + '.')}")
    print(f"  every tensor: {folder / 'errors.tsv'}")
    return good


def compare(network: Network) -> bool:
    folder = ROOT / "target" / "parity" / network.name
    labels = write_case(network, CLASSES, BATCH, folder)
    ours = run_ours(folder)
    exact, _ = run_torch(network, labels, torch.float64)
    peer, peer_sides = run_torch(network, labels, torch.float32)

    def errors(run: dict[str, torch.Tensor], sides: kinks.Sides) -> dict[str, float]:
        # Only gradients jump at kinks, so only they are measured on the run's own sides.
        measure = exact | gradients_on(sides, network, labels)
        return {name: relative_error(run[name], values) for name, values in measure.items()}

    print(f"{network.name}, {BATCH} pictures of {network.side}²: largest difference by largest magnitude")
    return report(folder, errors(ours, sides_of(ours)), errors(peer, peer_sides))


def main() -> int:
    print(versions.line())
    results = [compare(NETWORKS[name]) for name in sys.argv[1:] or NETWORKS]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
