"""Nodes of windows: pools, convolutions and their transposes, resized images."""

from math import prod
from typing import Any

import numpy as np

from verif.stimulus.nodes.growing import Growing, Unfit, node


def image(g: Growing, channels: int | None = None) -> str:
    """Of one or two axes beside batch and channels."""
    rank = g.number(3, 4)
    n, c, *sizes = g.one([1, 1, 2]), channels or g.number(1, 4), *g.rng.integers(1, 6, rank - 2)
    return g.take(
        lambda s: 3 <= len(s) <= 4 and 0 not in s and s[1] == (channels or s[1]),
        (n, c, *(int(s) for s in sizes)),
    )


def window(g: Growing, sizes: tuple[int, ...], dilated: bool = True) -> dict[str, Any]:
    """Attributes of a window that fits at least once."""
    rank = len(sizes)
    kernel = [g.number(1, min(3, n)) for n in sizes]
    given: dict[str, Any] = {"kernel_shape": kernel}
    if g.coin(0.5):
        given["strides"] = [g.number(1, 3) for _ in sizes]
    if dilated and g.coin(0.25):
        given["dilations"] = [
            g.number(1, 2) if (k - 1) * 2 < n else 1 for k, n in zip(kernel, sizes, strict=True)
        ]
    match g.number(0, 4):
        case 0 | 1:
            given["pads"] = [g.number(0, k - 1) for k in kernel * 2]
        case 2:
            given["auto_pad"] = g.one(["SAME_UPPER", "SAME_LOWER", "VALID"])
    assert len(kernel) == rank
    return given


@node("MaxPool", "AveragePool", "LpPool")
def pool(g: Growing, op: str) -> None:
    x = image(g)
    version = g.version(op)
    dilated = version >= {"MaxPool": 10, "AveragePool": 19, "LpPool": 18}[op]
    given = window(g, g.shapes[x][2:], dilated)
    if version >= {"MaxPool": 10, "AveragePool": 10, "LpPool": 18}[op] and g.coin(0.4):
        given["ceil_mode"] = 1
    if op == "AveragePool" and g.coin():
        given["count_include_pad"] = 1
    if op == "LpPool":
        given["p"] = g.one([1, 2, 3, None])
    g.add(op, x, **given)


@node("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def whole(g: Growing, op: str) -> None:
    g.add(op, image(g), p=g.one([1, 2, 3]) if op == "GlobalLpPool" else None)


def _filters(g: Growing, op: str) -> tuple[str, str, int, dict[str, Any]]:
    """An image, weights, channels made, attributes."""
    group = g.one([1, 1, 2])
    x = image(g, group * g.number(1, 2))
    channels, per = g.shapes[x][1], g.number(1, 2)
    given = window(g, g.shapes[x][2:])
    if op == "ConvTranspose":
        given.pop("auto_pad", None)
        shape = (channels, per, *given["kernel_shape"])
    else:
        shape = (group * per, channels // group, *given["kernel_shape"])
    if g.coin(0.3):
        del given["kernel_shape"]
    return x, g.shaped(*shape), group * per, given | {"group": group}


@node("Conv")
def conv(g: Growing, op: str) -> None:
    x, weights, channels, given = _filters(g, op)
    g.add(op, x, weights, *([g.shaped(channels)] if g.coin() else []), **given)


@node("ConvTranspose")
def transposed(g: Growing, op: str) -> None:
    x, weights, channels, given = _filters(g, op)
    strides = given.get("strides", [1] * (len(g.shapes[x]) - 2))
    if g.coin(0.3):
        given["output_padding"] = [g.number(0, s - 1) for s in strides]
    if "pads" not in given and "output_padding" not in given and g.coin(0.3):
        given["auto_pad"] = g.one(["SAME_UPPER", "SAME_LOWER", "VALID"])
    g.add(op, x, weights, *([g.shaped(channels)] if g.coin() else []), **given)


@node("Resize")
def resize(g: Growing, op: str) -> None:
    """By scales or sizes, of all axes or some; modes as the opset has them."""
    version = g.version(op)
    x = image(g)
    shape = g.shapes[x]
    mode = g.one(["nearest", "linear", "cubic"] if version >= 11 else ["nearest", "linear"])
    scales = [1.0, 1.0, *(float(g.one([0.5, 1, 1.5, 2, 0.75])) for _ in shape[2:])]
    if any(int(n * s) < 1 for n, s in zip(shape, scales, strict=True)):
        scales = [max(s, 1.0) for s in scales]
    if version == 10:
        g.add(op, x, g.constant(scales), mode=mode)
        return
    given: dict[str, Any] = {"mode": mode}
    modes = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
    modes += ["tf_crop_and_resize"] + (["half_pixel_symmetric"] if version >= 19 else [])
    if g.coin(0.8):
        given["coordinate_transformation_mode"] = g.one(modes)
    cropped = given.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    if mode == "nearest" and g.coin():
        given["nearest_mode"] = g.one(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
    if mode == "cubic":
        given["cubic_coeff_a"] = g.one([None, -0.5])
        given["exclude_outside"] = g.one([None, 1])
    axes = list(range(len(shape)))
    if version >= 18:
        given["antialias"] = g.one([None, None, 1]) if mode != "nearest" else None
        if g.coin(0.4):
            axes = axes[2:]
            given["axes"] = axes
    roi = ""
    if cropped or version == 11:
        roi = g.constant([*(0.1 for _ in axes), *(0.9 for _ in axes)])
    if cropped:
        given["extrapolation_value"] = g.one([None, 2.0])
    if version == 11 or g.coin():
        g.add(op, x, roi, g.constant([scales[a] for a in axes]), **given)
        return
    sizes = g.ints([max(1, int(shape[a] * scales[a])) for a in axes])
    if version >= 18:
        given["keep_aspect_ratio_policy"] = g.one([None, "stretch", "not_larger", "not_smaller"])
    g.add(op, x, roi, "", sizes, **given)


@node("Upsample")
def upsample(g: Growing, op: str) -> None:
    x = image(g)
    scales = [1.0, 1.0, *(float(g.one([1, 2, 1.5])) for _ in g.shapes[x][2:])]
    mode = g.one(["nearest", "linear"])
    if g.version(op) >= 9:
        g.add(op, x, g.constant(scales), mode=mode)
    else:
        g.add(op, x, scales=scales, mode=mode)


@node("LRN")
def across_channels(g: Growing, op: str) -> None:
    given: dict[str, Any] = {"alpha": 0.3, "beta": 0.5, "bias": 1.5} if g.coin() else {}
    g.add(op, image(g), size=g.number(1, 4), **given)


@node("BatchNormalization")
def batch_normalised(g: Growing, op: str) -> None:
    x = g.take(lambda s: len(s) >= 2 and 0 not in s, g.dims(3))
    channels = g.shapes[x][1]
    variance = g.constant(np.abs(g.rng.normal(1, 0.3, channels)) + 0.1)
    given = [g.shaped(channels) for _ in range(3)]
    g.add(op, x, *given, variance, epsilon=g.one([None, 0.01]))


@node("InstanceNormalization")
def instance_normalised(g: Growing, op: str) -> None:
    x = image(g)
    channels = g.shapes[x][1]
    g.add(op, x, g.shaped(channels), g.shaped(channels), epsilon=g.one([None, 0.1]))


@node("GroupNormalization")
def group_normalised(g: Growing, op: str) -> None:
    x = image(g)
    channels = g.shapes[x][1]
    groups = g.one([n for n in range(1, channels + 1) if channels % n == 0])
    size = groups if g.version(op) < 21 else channels
    if prod(g.shapes[x]) < 2:
        raise Unfit("a mean of one")
    g.add(op, x, g.shaped(size), g.shaped(size), num_groups=groups, epsilon=0.1)
