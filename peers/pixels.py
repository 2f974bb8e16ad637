#!/usr/bin/env python3
"""Pictures decoded and resized here, beside Pillow, torchvision, TensorFlow and libjpeg-turbo.

    peers/pixels resize           every resize protocol on pictures of odd sizes
    peers/pixels jpeg FOLDER      JPEG files decoded here and by Pillow (libjpeg-turbo)

Fails where PIL's protocol is not exact or another is further off than 1e-5 of the values' range.
"""

import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image

REPO = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPO / "target"))
PIXELS = TARGET / "release" / "examples" / "pixels"


def ours(path, preprocessing=None, size=None):
    arguments = [json.dumps(preprocessing), *map(str, size)] if preprocessing else []
    run = subprocess.run([PIXELS, path, *arguments], capture_output=True)
    if run.returncode:
        sys.exit(f"{path}: {run.stderr.decode()}")
    values = np.frombuffer(run.stdout, "<f4")
    return values[3:].reshape(values[:3].astype(int))


def theirs(protocol, filter, picture, size):
    """`picture` is [row][column][channel] of bytes; the result [channel][row][column] of 0-255."""
    if protocol == "pil":
        image = Image.fromarray(picture).resize(size[::-1], Image.Resampling[filter.upper()])
        return np.asarray(image, np.float32).transpose(2, 0, 1)
    if protocol.startswith("torchvision"):
        import torch
        from torchvision.transforms import InterpolationMode, functional

        tensor = torch.from_numpy(picture).permute(2, 0, 1).float()
        if filter == "lanczos":  # torchvision has none for tensors: PIL's on floats
            planes = [Image.fromarray(c.numpy()).resize(size[::-1], Image.Resampling.LANCZOS) for c in tensor]
            return np.stack([np.asarray(p) for p in planes])
        mode = InterpolationMode(filter)
        return functional.resize(tensor, size, mode, antialias=protocol == "torchvision").numpy()
    import tensorflow as tf

    values = picture[None].astype(np.float32)
    resize = {
        "tensorflow-1": lambda: getattr(tf.compat.v1.image, "resize_" + filter)(values, size),
        "tensorflow-2": lambda: tf.image.resize(values, size, method=filter),
        "align-corners": lambda: tf.compat.v1.image.resize_bilinear(values, size, align_corners=True),
    }[protocol]()
    return resize.numpy()[0].transpose(2, 0, 1)


FILTERS = {
    "torchvision": ["bilinear", "bicubic", "lanczos"],
    "torchvision-aliased": ["bilinear", "bicubic"],
    "pil": ["bilinear", "bicubic", "lanczos"],
    "tensorflow-1": ["bilinear", "bicubic"],
    "tensorflow-2": ["bilinear", "bicubic"],
    "align-corners": ["bilinear"],
}


def resize():
    draw = random.Random(5)
    sizes = [(17, 23), (299, 401), (480, 333), (1, 7), (64, 1), (1200, 901)]
    worst = {}
    with tempfile.TemporaryDirectory() as folder:
        for n, (height, width) in enumerate(sizes * 2):
            # Half of them noise, the hardest case; half smooth.
            noise = np.random.default_rng(n).integers(0, 256, (height, width, 3), np.uint8)
            small = Image.fromarray(noise[: height // 8 + 1, : width // 8 + 1])
            picture = noise if n % 2 else np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
            path = pathlib.Path(folder) / "picture.png"
            Image.fromarray(picture).save(path)
            for size in [(299, 299), (draw.randrange(1, 60), draw.randrange(1, 500)), (height, 2 * width + 1)]:
                for protocol, filter in [(p, f) for p, fs in FILTERS.items() for f in fs]:
                    preprocessing = {
                        "resize": {"exact": {"height": size[0], "width": size[1]}},
                        "filter": filter,
                        "protocol": protocol,
                        "order": "rgb",
                        "mean": [0, 0, 0],
                        "std": [1 / 255] * 3,
                    }
                    expected = theirs(protocol, filter, picture, size)
                    off = float(np.abs(ours(path, preprocessing, size) - expected).max())
                    worst[protocol, filter] = max(worst.get((protocol, filter), 0), off)
    good = True
    for (protocol, filter), off in worst.items():
        # What is left of PIL's whole numbers after `/ 255` and `* 255`.
        limit = 1e-4 if protocol == "pil" else 255e-5
        good &= off <= limit
        print(f"{protocol:20} {filter:9} {off:.2e} of 255{'' if off <= limit else '   TOO FAR'}")
    return good


def jpeg(folder):
    paths = sorted(p for p in pathlib.Path(folder).rglob("*") if p.suffix.lower() in [".jpg", ".jpeg"])
    differing = values = largest = 0
    total, exact = 0.0, 0
    for path in paths:
        expected = np.asarray(Image.open(path).convert("RGB"), np.int32).transpose(2, 0, 1)
        off = np.abs(ours(path).astype(np.int32) - expected)
        differing += int((off > 0).sum())
        values += off.size
        total += float(off.sum())
        largest = max(largest, int(off.max()))
        exact += int(off.max() == 0)
    print(f"{len(paths)} files, {exact} equal; {100 * differing / values:.2f} % of the values differ,")
    print(f"by {largest} at most and {total / values:.3f} in the mean of all")
    return True


def main():
    build = ["cargo", "build", "--release", "-q", "-p", "inception-image", "--example", "pixels"]
    subprocess.run(build, cwd=REPO, check=True)
    match sys.argv[1:]:
        case ["resize"]:
            return 0 if resize() else 1
        case ["jpeg", folder]:
            return 0 if jpeg(folder) else 1
    sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(main())
