#!/usr/bin/env python3
"""Writes what the originals make of a small picture to crates/image/tests/data/augment.json.

`operations` are torchvision's RandAugment operations on a PIL picture, `values` in hexadecimal,
[row][column][channel]; `colours` are TensorFlow's adjustments in the orders of TF-slim's
`distort_color`, values of 0-1. The tests make the same pictures.
"""

import json
import pathlib

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.autoaugment import RandAugment, _apply_op

import tensorflow as tf  # isort: skip (before torch it ends the program)

HERE = pathlib.Path(__file__).resolve().parent
TARGET = HERE.parent / "crates/image/tests/data/augment.json"
HEIGHT, WIDTH = 17, 23


def noise(count):
    """The same numbers as `noise` in the tests."""
    state, values = 1, []
    for _ in range(count):
        state = (state * 1103515245 + 12345) % 2**31
        values.append(state >> 23)
    return values


def picture(channels):
    """A gradient under noise, whose darkest and lightest values lie inside 0-255."""
    values = noise(HEIGHT * WIDTH * channels)
    places = [(y, x, c) for y in range(HEIGHT) for x in range(WIDTH) for c in range(channels)]
    mixed = [20 + 25 * c + v // 4 + 4 * x + 2 * y for v, (y, x, c) in zip(values, places)]
    array = np.array(mixed, np.uint8).reshape(HEIGHT, WIDTH, channels)
    return Image.fromarray(array if channels == 3 else array[..., 0])


def operations():
    space = RandAugment()._augmentation_space(31, (HEIGHT, WIDTH))
    assert list(space) == OPERATIONS, list(space)
    for channels in [3, 1]:
        image = picture(channels)
        for name, (magnitudes, signed) in space.items():
            for place, negative in CASES.get(name, [(9, False)]) if channels == 3 else [(20, signed)]:
                magnitude = float(magnitudes[place].item()) if magnitudes.ndim > 0 else 0.0
                magnitude *= -1 if negative else 1
                result = _apply_op(image, name, magnitude, InterpolationMode.NEAREST, None)
                values = np.asarray(result).tobytes().hex()
                yield dict(name=name, magnitude=place, negative=negative, channels=channels, values=values)


OPERATIONS = [
    "Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast",
    "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize",
]  # fmt: skip
BOTH = [(9, False), (17, True), (30, False)]
CASES = {name: BOTH for name in OPERATIONS[1:6]}
CASES |= {name: [(0, False), (9, True), (9, False), (30, True)] for name in OPERATIONS[6:10]}
CASES |= {"Posterize": [(9, False), (30, False)], "Solarize": [(9, False), (19, False)]}


def colours():
    """Greys, pure colours, black and white among noise."""
    special = [0, 0, 0, 255, 255, 255, 128, 128, 128, 255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 0, 90, 90, 7]
    values = (special + noise(36 * 3))[: 36 * 3]
    start = np.array(values, np.float32).reshape(6, 6, 3) / np.float32(255)
    adjust = {
        "brightness": tf.image.adjust_brightness,
        "saturation": tf.image.adjust_saturation,
        "hue": tf.image.adjust_hue,
        "contrast": tf.image.adjust_contrast,
    }
    single = [("brightness", -0.1), ("brightness", 0.125), ("saturation", 0.5), ("saturation", 1.5)]
    single += [("hue", delta) for delta in [-0.2, -0.03, 0.1, 0.2]] + [("contrast", 0.5), ("contrast", 1.5)]
    orders = [
        ["brightness", "saturation", "hue", "contrast"],
        ["saturation", "brightness", "contrast", "hue"],
        ["contrast", "hue", "brightness", "saturation"],
        ["hue", "saturation", "contrast", "brightness"],
        ["brightness", "saturation"],
    ]
    amounts = [
        {"brightness": -0.12, "saturation": 1.45, "hue": 0.17, "contrast": 1.4},
        {"brightness": 0.11, "saturation": 0.6, "hue": -0.15, "contrast": 0.7},
    ]
    cases = [[step] for step in single]
    cases += [[(name, amount[name]) for name in order] for order in orders for amount in amounts]
    for steps in cases:
        image = tf.constant(start)
        for name, amount in steps:
            image = adjust[name](image, amount)
        if len(steps) > 1:
            image = tf.clip_by_value(image, 0.0, 1.0)
        values = [round(float(v), 7) for v in image.numpy().ravel()]
        yield dict(steps=steps, values=values)
    # One channel, as a grey network has it.
    grey = start[..., :1]
    image = tf.clip_by_value(tf.image.adjust_contrast(tf.image.adjust_brightness(grey, 0.1), 1.3), 0.0, 1.0)
    steps = [("brightness", 0.1), ("saturation", 1.4), ("hue", 0.1), ("contrast", 1.3)]
    yield dict(steps=steps, grey=True, values=[round(float(v), 7) for v in image.numpy().ravel()])


def main():
    recorded = {"operations": list(operations()), "colours": list(colours())}
    lists = [f'"{key}": [\n' + ",\n".join(json.dumps(case) for case in cases) + "\n]" for key, cases in recorded.items()]
    TARGET.write_text("{" + ",\n".join(lists) + "}\n")
    print(f"{TARGET}: {len(recorded['operations'])} operations, {len(recorded['colours'])} colours")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
