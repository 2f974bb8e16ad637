"""State dicts of PyTorch's libraries, imported by our command: logits and every module's output compared.

Each library builds its own network, gets seeded random weights and batch-norm statistics, and saves it in its own
format. `inception import` makes a model file of that, our engine runs it, and the outputs of all modules and heads
stand beside the library's on the same random pictures. Then the way back: `inception export` writes the model under
the library's names, and the library loads that and has to give the same logits.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytorch_fid.inception
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn

import mxnet_inception_bn

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 1e-4


def seed(module: nn.Module) -> nn.Module:
    """Random weights and statistics that keep values of order one through all layers."""
    random = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            uniform = torch.rand(tensor.shape, generator=random)
            normal = torch.randn(tensor.shape, generator=random)
            if name.endswith("num_batches_tracked"):
                continue
            if name.endswith(("running_var", "bn.weight")):
                tensor.copy_(uniform + 0.5)
            elif tensor.dim() == 1:
                tensor.copy_(normal * 0.1)
            else:
                tensor.copy_(normal * (2 / tensor[0].numel()) ** 0.5)
    return module.eval()


def torchvision_net(name: str, aux: bool) -> Callable[[], nn.Module]:
    build = getattr(torchvision.models, name)
    return lambda: build(weights=None, init_weights=False, transform_input=False, aux_logits=aux)


def fid_net() -> nn.Module:
    """pytorch-fid's network without the weights it would fetch."""
    network = torchvision.models.Inception3
    load, fetch = network.load_state_dict, pytorch_fid.inception.load_state_dict_from_url
    network.load_state_dict = lambda self, state: None
    pytorch_fid.inception.load_state_dict_from_url = lambda *_, **__: None
    try:
        return pytorch_fid.inception.fid_inception_v3()
    finally:
        network.load_state_dict, pytorch_fid.inception.load_state_dict_from_url = load, fetch


def save_zip(module: nn.Module, path: Path) -> None:
    torch.save(module.state_dict(), path)


def save_legacy(module: nn.Module, path: Path) -> None:
    """A training checkpoint under data parallelism, in the form before PyTorch 1.6."""
    state = nn.DataParallel(module).state_dict()
    torch.save({"epoch": 3, "state_dict": state, "lr": 0.1}, path, _use_new_zipfile_serialization=False)


def save_whole(module: nn.Module, path: Path) -> None:
    torch.save(module, path)


def save_half(module: nn.Module, path: Path) -> None:
    """In bfloat16; the module keeps what is left of its values."""
    state = {name: tensor.bfloat16() for name, tensor in module.state_dict().items()}
    save_file(state, path)
    module.load_state_dict({name: tensor.float() for name, tensor in state.items()})


def save_timm(module: nn.Module, path: Path) -> None:
    """As on the hub: safetensors with the settings beside them."""
    save_file(module.state_dict(), path, metadata={"format": "pt"})
    (path.parent / "config.json").write_text(json.dumps({"pretrained_cfg": module.pretrained_cfg}))


@dataclass(frozen=True)
class Case:
    build: Callable[[], nn.Module]
    save: Callable[[nn.Module, Path], None]
    suffix: str = "pth"
    side: int = 299
    export: bool = False
    arguments: list[str] = field(default_factory=list)


CASES = {
    "torchvision-v3": Case(torchvision_net("inception_v3", True), save_zip, export=True),
    "torchvision-v3-no-aux-legacy": Case(torchvision_net("inception_v3", False), save_legacy),
    "torchvision-v3-bf16": Case(torchvision_net("inception_v3", True), save_half, "safetensors"),
    "torchvision-googlenet": Case(torchvision_net("googlenet", True), save_zip, side=224, export=True),
    "torchvision-googlenet-whole": Case(torchvision_net("googlenet", False), save_whole, side=224),
    "pytorch-fid": Case(fid_net, save_zip, export=True),
    "mxnet-inception-bn": Case(mxnet_inception_bn.InceptionBn, mxnet_inception_bn.save, "params", side=224),
} | {
    f"timm-{tag}": Case(lambda tag=tag: timm.create_model(f"inception_v3.{tag}", pretrained=False), save_timm, "safetensors")
    for tag in ["tv_in1k", "tf_in1k", "tf_adv_in1k", "gluon_in1k"]
}


def our_name(name: str) -> str | None:
    """The name of a module as our taps have it."""
    if name.startswith("Mixed_") and "." not in name:
        return name
    if name.startswith("inception") and "." not in name:
        return f"inception_{name.removeprefix('inception')}"
    return None


def outputs(module: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the library computes: every module's output, every head's logits."""
    taps = {}
    for name, child in module.named_modules():
        if ours := our_name(name):
            child.register_forward_hook(lambda _m, _i, y, ours=ours: taps.__setitem__(ours, y))
    with torch.no_grad():
        taps["main logits"] = module(x)
        for head, source in [("AuxLogits", "Mixed_6e"), ("aux1", "inception_4a"), ("aux2", "inception_4d")]:
            if getattr(module, head, None) is not None:
                taps[f"{head} logits"] = getattr(module, head)(taps[source])
    return taps


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    error = ((ours.flatten() - theirs.flatten()).abs().max() / theirs.abs().max()).item()
    return error if error == error else float("inf")


def run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], cwd=ROOT, check=True)


def check(name: str, case: Case, tool: Path, taps: Path) -> bool:
    folder = ROOT / "target" / "imports" / name
    folder.mkdir(parents=True, exist_ok=True)
    module = seed(case.build())
    source, model = folder / f"source.{case.suffix}", folder / "model.safetensors"
    case.save(module, source)
    run(tool, "import", source, "-o", model, "--force", *case.arguments)
    x = torch.rand(2, 3, case.side, case.side, generator=torch.Generator().manual_seed(3)) * 2 - 1
    save_file({"pictures": x}, folder / "pictures.safetensors")
    run(taps, model, folder / "pictures.safetensors", folder / "ours.safetensors")
    ours, theirs = load_file(folder / "ours.safetensors"), outputs(module, x)
    missing = theirs.keys() - ours.keys()
    errors = {tap: relative(ours[tap], value) for tap, value in theirs.items() if tap in ours}
    worst = max(errors, key=errors.get)
    good = not missing and errors[worst] < LIMIT
    print(f"{name}: {len(errors)} outputs, worst {errors[worst]:.1e} ({worst}), logits {errors['main logits']:.1e}")
    if missing:
        print(f"  not compared: {', '.join(sorted(missing))}")
    if case.export:
        exported = folder / "exported.safetensors"
        run(tool, "export", model, "--to", "torchvision", "-o", exported, "--force")
        again = case.build().eval()
        again.load_state_dict(load_file(exported), strict=False)
        names = {key for key in again.state_dict() if not key.endswith("num_batches_tracked")}
        with torch.no_grad():
            same = torch.equal(again(x), theirs["main logits"])
        same &= names <= load_file(exported).keys()
        print(f"  exported and loaded again by the library: {'the same logits' if same else 'OTHER LOGITS'}")
        good &= same
    return good


def main() -> int:
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    run("cargo", "build", "--quiet", "--release", "--package", "inception")
    run("cargo", "build", "--quiet", "--release", "--package", "inception-engine", "--example", "taps")
    tool, taps = target / "release" / "inception", target / "release" / "examples" / "taps"
    results = [check(name, CASES[name], tool, taps) for name in sys.argv[1:] or CASES]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
