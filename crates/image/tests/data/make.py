#!/usr/bin/env python3
"""Makes the files beside it, with Pillow 13.0.0, NumPy, torch 2.15.0, torchvision 0.29.2 and
TensorFlow 2.21.0.

The pictures are of kinds that the tests cannot write themselves; resize.json and protocols.json
hold what the libraries make of a picture that the tests can.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, functional

HERE = pathlib.Path(__file__).parent


def gradients(height, width):
    """Four smooth channels, 0-255."""
    y, x = np.mgrid[0:height, 0:width]
    return [
        x * 255 // (width - 1),
        y * 255 // (height - 1),
        (x + y) * 255 // (width + height - 2),
        (x * 3 + y * 2) % 64,
    ]


def noise(height, width, channels):
    """The same numbers as `noise` in the tests."""
    state, values = 1, []
    for _ in range(height * width * channels):
        state = (state * 1103515245 + 12345) % 2**31
        values.append(state >> 23)
    return np.array(values, np.uint8).reshape(height, width, channels)


def pictures():
    red, green, blue, fourth = (c.astype(np.uint8) for c in gradients(24, 32))
    rgb = Image.fromarray(np.stack([red, green, blue], -1))
    rgba = Image.fromarray(np.stack([red, green, blue, 255 - fourth * 4], -1))
    cmyk = Image.fromarray(np.stack([red, green, blue, fourth], -1), "CMYK")
    cmyk.save(HERE / "cmyk.jpg", quality=90, subsampling=0)
    rgb.save(HERE / "progressive.jpg", quality=90, subsampling=0, progressive=True)
    rgb.save(HERE / "halved.jpg", quality=90, subsampling=2)
    rgb.save(HERE / "restart.jpg", quality=90, restart_marker_blocks=2)
    rgb.save(HERE / "lossy.webp", quality=90)
    rgba.save(HERE / "lossy-alpha.webp", quality=90)
    palette = rgb.quantize(16)
    palette.save(HERE / "palette.png", transparency=3)
    palette.save(HERE / "palette.bmp")
    rgb.save(HERE / "lzw.tiff", compression="tiff_lzw")
    Image.fromarray(red).convert("1").save(HERE / "bilevel.png")
    for name in ["cmyk.jpg", "progressive.jpg", "halved.jpg", "restart.jpg", "lossy.webp"]:
        show(name, Image.open(HERE / name))
    ycck = bytearray((HERE / "cmyk.jpg").read_bytes())
    ycck[ycck.index(b"Adobe") + 11] = 2
    (HERE / "ycck.tmp").write_bytes(ycck)
    show("ycck", Image.open(HERE / "ycck.tmp"))
    (HERE / "ycck.tmp").unlink()
    on_white = Image.new("RGBA", rgba.size, "white")
    for name in ["lossy-alpha.webp", "palette.png"]:
        opened = Image.open(HERE / name).convert("RGBA")
        show(name + " on white", Image.alpha_composite(on_white, opened))


def show(name, image):
    values = np.asarray(image.convert("RGB"))
    print(name, image.mode, [values[y, x].tolist() for y, x in [(0, 0), (5, 7), (12, 20), (23, 31)]])


def resize():
    picture = noise(17, 23, 1)
    tensor = torch.from_numpy(picture).permute(2, 0, 1).float()
    cases = []
    for size in [(9, 11), (21, 30), (17, 10)]:
        for filter, mode in [
            ("bilinear", InterpolationMode.BILINEAR),
            ("bicubic", InterpolationMode.BICUBIC),
        ]:
            out = functional.resize(tensor, size, mode, antialias=True)
            cases.append(case(filter, size, out[0]))
        image = Image.fromarray(tensor[0].numpy())
        out = image.resize(size[::-1], Image.Resampling.LANCZOS)
        cases.append(case("lanczos", size, np.asarray(out)))
    # Shorter side, central crop, normalisation, of a colour picture: as an evaluation does it.
    # The last is smaller than its crop.
    pipelines = []
    for height, width, side, crop in [(29, 40, 18, (15, 16)), (31, 20, 12, (10, 10)), (9, 12, 9, (13, 11))]:
        tensor = torch.from_numpy(noise(height, width, 3)).permute(2, 0, 1).float()
        out = functional.resize(tensor, side, InterpolationMode.BILINEAR, antialias=True)
        out = functional.center_crop(out, crop) / 255
        out = functional.normalize(out, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        pipelines.append(
            {
                "height": height,
                "width": width,
                "side": side,
                "crop": crop,
                "values": [round(float(v), 5) for v in out.flatten()],
            }
        )
    text = json.dumps({"resized": cases, "preprocessed": pipelines})
    (HERE / "resize.json").write_text(text.replace("}, ", "},\n") + "\n")


def protocols():
    sys.path.append(str(HERE.parents[3] / "peers"))
    from pixels import FILTERS, theirs

    picture = np.repeat(noise(17, 23, 1), 3, -1)
    cases = []
    # The last is one that Pillow 13 resizes down before across.
    for size in [(9, 11), (20, 13), (3, 29)]:
        for protocol, filter in [(p, f) for p, filters in FILTERS.items() for f in filters]:
            values = theirs(protocol, filter, picture, size)[0]
            cases.append({"protocol": protocol} | case(filter, size, values))
    (HERE / "protocols.json").write_text(json.dumps(cases).replace("}, ", "},\n") + "\n")


def case(filter, size, values):
    values = [round(float(v), 3) for v in np.asarray(values).flatten()]
    return {"filter": filter, "height": size[0], "width": size[1], "values": values}


if __name__ == "__main__":
    pictures()
    resize()
    protocols()
