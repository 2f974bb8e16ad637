"""Records what PyTorch does to weights, rates, gradients and losses. See README.md.

Everything that a training step consists of besides the network, step by step over fifty steps, in
float64. Gradients come from a formula and the weights they meet, which the test in
crates/train/tests/recorded.rs repeats.
"""

import sys
from collections.abc import Callable

import torch

from optimizers_common import START, STEPS, gradient, rate, walk, write


def in_torch(make: Callable) -> list[list[float]]:
    weights = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    optimizer = make([weights])
    seen = []
    for step in range(STEPS):
        weights.grad = torch.tensor(gradient(step, weights.tolist()), dtype=torch.float64)
        optimizer.param_groups[0]["lr"] = rate(step)
        optimizer.step()
        seen.append(weights.tolist())
    return seen


def optimizers() -> dict[str, list[list[float]]]:
    sgd, rmsprop, adamw = torch.optim.SGD, torch.optim.RMSprop, torch.optim.AdamW
    return {
        "SGD": in_torch(lambda w: sgd(w, lr=1)),
        "SGD momentum": in_torch(lambda w: sgd(w, lr=1, momentum=0.9)),
        "SGD weight_decay": in_torch(lambda w: sgd(w, lr=1, momentum=0.9, weight_decay=0.05)),
        "SGD nesterov": in_torch(lambda w: sgd(w, lr=1, momentum=0.9, nesterov=True)),
        "RMSprop": in_torch(lambda w: rmsprop(w, lr=1, alpha=0.9, eps=1e-3)),
        "RMSprop momentum": in_torch(lambda w: rmsprop(w, lr=1, alpha=0.9, momentum=0.9, eps=1e-3)),
        "AdamW": in_torch(lambda w: adamw(w, lr=1, weight_decay=0.05)),
    }


def torch_rates(make: Callable, largest: float = 0.045) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=largest)
    scheduler = make(optimizer)
    rates = []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def schedules() -> dict[str, list[float]]:
    """One value an epoch; OneCycleLR's is one a step, of fifty."""
    lr = torch.optim.lr_scheduler
    return {
        "StepLR": torch_rates(lambda o: lr.StepLR(o, 7, gamma=0.3)),
        "MultiStepLR": torch_rates(lambda o: lr.MultiStepLR(o, [10, 25, 40], gamma=0.1)),
        "ExponentialLR": torch_rates(lambda o: lr.ExponentialLR(o, 0.94)),
        "CosineAnnealingLR": torch_rates(lambda o: lr.CosineAnnealingLR(o, STEPS)),
        "PolynomialLR": torch_rates(lambda o: lr.PolynomialLR(o, STEPS, power=0.9)),
        "LinearLR": torch_rates(lambda o: lr.LinearLR(o, start_factor=0.1, total_iters=5)),
        "OneCycleLR": torch_rates(lambda o: lr.OneCycleLR(o, 0.045, total_steps=STEPS)),
    }


def averages() -> dict[str, list[list[float]]]:
    """AveragedModel from half-way on; before, the weights themselves."""
    seen = []
    model = torch.nn.Linear(len(START), 1, bias=False, dtype=torch.float64)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    for step in range(STEPS):
        with torch.no_grad():
            model.weight.copy_(torch.tensor([walk(step)], dtype=torch.float64))
        begun = step >= STEPS // 2
        if begun:
            averaged.update_parameters(model)
        seen.append((averaged.module if begun else model).weight[0].tolist())
    return {"AveragedModel": seen}


def clipped(clip: Callable) -> list[list[float]]:
    seen = []
    for step in range(STEPS):
        weights = torch.zeros(len(START), dtype=torch.float64, requires_grad=True)
        weights.grad = torch.tensor(gradient(step, START), dtype=torch.float64)
        clip([weights])
        seen.append(weights.grad.tolist())
    return seen


def clippings() -> dict[str, list[list[float]]]:
    return {
        "clip_grad_norm_": clipped(lambda w: torch.nn.utils.clip_grad_norm_(w, 2.0)),
        "clip_grad_value_": clipped(lambda w: torch.nn.utils.clip_grad_value_(w, 0.5)),
    }


LOGITS = [[0.3, -1.2, 2.5, 0.0], [12.0, -7.5, 11.0, 3.25], [-0.5, 0.25, 0.125, 4.0]]
TEACHER = [[1.5, 0.25, 3.0, -2.0], [4.0, 0.5, 9.0, 1.0], [0.5, 0.75, -1.0, 2.0]]
LABELS = [2, 1, 3]
CLASS_WEIGHTS = [0.5, 2.0, 1.25, 0.25]


def losses() -> dict[str, dict]:
    """Sum over pictures by their number, and its gradient."""
    labels = torch.tensor(LABELS)
    teacher = torch.tensor(TEACHER, dtype=torch.float64)
    weights = torch.tensor(CLASS_WEIGHTS, dtype=torch.float64)

    def judged(loss: Callable) -> dict:
        logits = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
        value = loss(logits)
        value.backward()
        return {"loss": value.item(), "gradient": logits.grad.flatten().tolist()}

    def cross_entropy(**options) -> Callable:
        loss = torch.nn.CrossEntropyLoss(reduction="sum", **options)
        return lambda logits: loss(logits, labels) / len(LABELS)

    def distilled(logits: torch.Tensor) -> torch.Tensor:
        def log_softmax(values: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.log_softmax(values / 4.0, dim=1)

        divergence = torch.nn.KLDivLoss(reduction="batchmean", log_target=True)
        taught = divergence(log_softmax(logits), log_softmax(teacher))
        return 0.3 * cross_entropy(label_smoothing=0.1)(logits) + 0.7 * 4.0**2 * taught

    return {
        "CrossEntropyLoss": judged(cross_entropy()),
        "CrossEntropyLoss label_smoothing": judged(cross_entropy(label_smoothing=0.1)),
        "CrossEntropyLoss weight": judged(cross_entropy(weight=weights)),
        "CrossEntropyLoss both": judged(cross_entropy(weight=weights, label_smoothing=0.1)),
        "KLDivLoss": judged(distilled),
    }


def main() -> int:
    record = {"optimizers": optimizers(), "schedules": schedules(), "averages": averages()}
    write("torch", record | {"clipping": clippings(), "losses": losses()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
