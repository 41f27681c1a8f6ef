"""Resize and Upsample: each axis in turn, by the nearest elements or weighted sums of near ones."""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor, isclose

import numpy as np
from numpy.typing import NDArray

from compiler.errors import CompileError
from compiler.front.lowering import Lowering
from compiler.front.onnx_graph import Operator
from compiler.front.registry import operator
from compiler.ir.builder import MOST_ELEMENTS, MOST_INPUTS, Builder
from spu.arch.package.expression import tree, variable

HALF = Fraction(1, 2)
MODES = ("nearest", "linear", "cubic")
#: Which element is the nearest, of a position between two.
NEAREST = {
    "round_prefer_floor": lambda x: ceil(x - HALF),
    "round_prefer_ceil": lambda x: floor(x + HALF),
    "floor": floor,
    "ceil": ceil,
}
#: How far a scale of float32 may be from the ratio of two lengths that it stands for, relative.
RATIO = 1e-6


@dataclass(frozen=True)
class Axis:
    """``size`` elements that become ``out`` by a ``scale``, of those from ``start`` to ``end``."""

    size: int
    out: int
    scale: Fraction
    start: Fraction = Fraction(0)
    end: Fraction = Fraction(1)

    @classmethod
    def of(cls, size: int, scale: float) -> "Axis":
        """By a scale, a float32; the exact ratio of lengths where it stands for one.

        Raises ``CompileError`` for one that is not positive.
        """
        if not (np.isfinite(scale) and scale > 0):
            raise CompileError(f"a scale of {scale:g} is not positive")
        out = floor(size * scale)
        ratio = size and isclose(out, size * scale, rel_tol=RATIO)
        return cls(size, out, Fraction(out, size) if ratio else Fraction(float(scale)))

    @property
    def same(self) -> bool:
        """Whether it stays as it is."""
        return self.scale == 1 and self.out == self.size and (self.start, self.end) == (0, 1)

    def positions(self, mode: str) -> list[Fraction]:
        """Where the elements of the result are among those of the axis, counted from 0.

        Raises ``CompileError`` for an unknown coordinate_transformation_mode.
        """
        length = self.scale * self.size
        last, center = self.size - 1, Fraction(self.size, 2)
        steps = [Fraction(k) for k in range(self.out)]
        match mode:
            case "half_pixel":
                return [(k + HALF) / self.scale - HALF for k in steps]
            case "half_pixel_symmetric":
                offset = center * (1 - self.out / length) if length else Fraction(0)
                return [offset + (k + HALF) / self.scale - HALF for k in steps]
            case "pytorch_half_pixel":
                alone = self.out <= 1
                return [Fraction(0) if alone else (k + HALF) / self.scale - HALF for k in steps]
            case "align_corners":
                return [k * last / (length - 1) if length != 1 else Fraction(0) for k in steps]
            case "asymmetric":
                return [k / self.scale for k in steps]
            case "tf_half_pixel_for_nn":
                return [(k + HALF) / self.scale for k in steps]
            case "tf_crop_and_resize":
                if length == 1:
                    return [HALF * (self.start + self.end) * last for _ in steps]
                extent = (self.end - self.start) * last / (length - 1)
                return [self.start * last + k * extent for k in steps]
        raise CompileError(f"coordinate_transformation_mode {mode!r} is unknown")


@operator("Resize")
def resize(low: Lowering, node: Operator) -> int:
    """Resize by constant scales, sizes and roi: of every mode, coordinate_transformation_mode,
    nearest_mode and keep_aspect_ratio_policy of the standard, with or without ``antialias``.

    Coordinates are exact fractions; weights of ``linear`` and ``cubic`` are multiplied and added
    axis by axis in PAL16.  Version 10 is as ``asymmetric`` and ``floor``.

    Raises
    ------
    CompileError: an unknown mode; scales, sizes or roi that do not fit the axes; both or neither of
        scales and sizes; scales with a roi that changes the size; a nearest element of version 10
        that is between two where it makes an axis shorter.
    """
    x, attributes = low.tensor(node.inputs[0]), node.attributes
    shape = low.program.shape(x)
    mode = attributes["mode"]
    chosen = [int(a) for a in attributes.get("axes", range(len(shape)))]
    if any(not -len(shape) <= a < len(shape) for a in chosen):
        raise CompileError(f"axes {chosen} of a tensor of {len(shape)} dimensions")
    chosen = [a % len(shape) for a in chosen]
    if len(set(chosen)) < len(chosen):
        raise CompileError("an axis is named twice")
    if node.version == 10:
        axes = _scaled(low, node, 1, shape, chosen)
        for axis in axes.values() if mode == "nearest" else ():
            if axis.scale < 1 and any(x.denominator > 1 for x in axis.positions("asymmetric")):
                raise CompileError(
                    "version 10 does not say which element is the nearest of one between two; "
                    "later versions do"
                )
        return resampled(low.program, x, axes, mode, "asymmetric", "floor")
    transform = attributes["coordinate_transformation_mode"]
    sizes = _given(low, node, 3)
    if (sizes is None) == (_given(low, node, 2) is None):
        raise CompileError("must have either scales or sizes")
    if sizes is None:
        axes = _scaled(low, node, 2, shape, chosen)
    else:
        policy = attributes.get("keep_aspect_ratio_policy", "stretch")
        axes = _sized(sizes, policy, shape, chosen)
    if transform == "tf_crop_and_resize":
        axes = _cropped(axes, _given(low, node, 1), sizes is None)
    return resampled(
        low.program,
        x,
        axes,
        mode,
        transform,
        attributes["nearest_mode"],
        float(attributes["cubic_coeff_a"]),
        bool(attributes["exclude_outside"]),
        bool(attributes.get("antialias", 0)),
        float(attributes["extrapolation_value"]),
    )


@operator("Upsample")
def upsample(low: Lowering, node: Operator) -> int:
    """Upsample by constant scales of 1 and more, nearest (the element before) or linear.

    Raises ``CompileError`` for scales that are less or do not fit the axes, or another mode.
    """
    x, mode = low.tensor(node.inputs[0]), node.attributes["mode"]
    shape = low.program.shape(x)
    if node.version == 1:
        if len(shape) != 4:
            raise CompileError(f"version 1 takes 4 dimensions, not {len(shape)}")
        mode = {"bilinear": "linear", "linear": ""}.get(mode, mode)
        scales = [1.0, 1.0, *(float(node.attributes[f"{s}_scale"]) for s in ("height", "width"))]
        axes = {a: Axis.of(n, s) for a, (n, s) in enumerate(zip(shape, scales, strict=True))}
    else:
        axes = _scaled(low, node, 1, shape, list(range(len(shape))), "scales")
    if any(axis.scale < 1 for axis in axes.values()):
        raise CompileError("a scale below 1 is not allowed")
    if mode not in ("nearest", "linear"):
        raise CompileError(f"mode {node.attributes['mode']!r} is unknown")
    return resampled(low.program, x, axes, mode, "asymmetric", "floor")


def _given(low: Lowering, node: Operator, place: int, attribute: str = "") -> NDArray | None:
    """A constant input; None if it is left out or has no elements."""
    values = low.known(node, place, attribute)
    return values.ravel() if values is not None and values.size else None


def _scaled(
    low: Lowering,
    node: Operator,
    place: int,
    shape: tuple[int, ...],
    chosen: list[int],
    attribute: str = "",
) -> dict[int, Axis]:
    scales = _given(low, node, place, attribute)
    if scales is None or len(scales) != len(chosen):
        raise CompileError(f"must have {len(chosen)} scales")
    return {a: Axis.of(shape[a], float(s)) for a, s in zip(chosen, scales, strict=True)}


def _sized(
    sizes: NDArray, policy: str, shape: tuple[int, ...], chosen: list[int]
) -> dict[int, Axis]:
    """Axes by the sizes they shall have, or that their ratio shall keep to."""
    if len(sizes) != len(chosen):
        raise CompileError(f"must have {len(chosen)} sizes")
    if any(shape[a] == 0 for a in chosen) or (sizes < 0).any():
        raise CompileError("an axis without elements, or a size below 0")
    ratios = [Fraction(int(n), shape[a]) for a, n in zip(chosen, sizes, strict=True)]
    if policy == "stretch":
        return {a: Axis(shape[a], int(n), r) for a, n, r in zip(chosen, sizes, ratios, strict=True)}
    if policy not in ("not_larger", "not_smaller"):
        raise CompileError(f"keep_aspect_ratio_policy {policy!r} is unknown")
    one = min(ratios) if policy == "not_larger" else max(ratios)
    return {a: Axis(shape[a], floor(one * shape[a] + HALF), one) for a in chosen}


def _cropped(axes: dict[int, Axis], roi: NDArray | None, scaled: bool) -> dict[int, Axis]:
    if roi is None or len(roi) != 2 * len(axes) or not np.isfinite(roi).all():
        raise CompileError(f"tf_crop_and_resize takes a roi of {2 * len(axes)} numbers")
    made = {}
    for k, (a, axis) in enumerate(axes.items()):
        made[a] = replace(
            axis, start=Fraction(float(roi[k])), end=Fraction(float(roi[len(axes) + k]))
        )
        if scaled and floor(axis.size * (made[a].end - made[a].start) * axis.scale) != axis.out:
            raise CompileError("tf_crop_and_resize of a part of an axis takes sizes, no scales")
    return made


def resampled(
    program: Builder,
    x: int,
    axes: dict[int, Axis],
    mode: str,
    transform: str,
    nearest: str,
    a: float = -0.75,
    exclude: bool = False,
    antialias: bool = False,
    outside: float = 0.0,
) -> int:
    """A tensor resampled along ``axes``; ``a`` of cubic, ``outside`` what tf_crop_and_resize has
    beyond the ends, other names as attributes of Resize.

    Raises ``CompileError`` for unknown modes, or a result of more than ``MOST_ELEMENTS``.
    """
    if mode not in MODES or nearest not in NEAREST:
        raise CompileError(f"mode {mode!r} with nearest_mode {nearest!r} is unknown")
    if mode == "nearest" and antialias:
        raise CompileError("antialias is not for mode nearest")
    out = list(program.shape(x))
    for place, axis in axes.items():
        out[place] = axis.out
    if int(np.prod(out, dtype=object)) > MOST_ELEMENTS:
        raise CompileError(f"its output {tuple(out)} has more than {MOST_ELEMENTS} elements")
    if any(axis.size == 0 and axis.out for axis in axes.values()):
        raise CompileError("an axis without elements")
    beyond = np.zeros(out, bool)
    for place, axis in axes.items():
        if axis.same:
            continue
        positions = axis.positions(transform)
        if transform == "tf_crop_and_resize":
            far = np.array([p < 0 or p > axis.size - 1 for p in positions], bool)
            beyond |= far.reshape([-1 if k == place else 1 for k in range(len(out))])
        if mode == "nearest":
            at = np.clip([NEAREST[nearest](p) for p in positions], 0, axis.size - 1)
            x = program.layout([x], lambda i, at=at, k=place: np.take(i, at.astype(np.int64), k))
            continue
        index, weights = taps(axis, positions, a if mode == "cubic" else None, exclude, antialias)
        x = weighted(program, x, place, index, weights)
    if not beyond.any():
        return x
    return program.layout([x], lambda i: np.where(beyond, -1, i), outside)


def taps(
    axis: Axis, positions: list[Fraction], a: float | None, exclude: bool, antialias: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Elements and weights (out, taps) of a linear filter, or a cubic one of coefficient ``a``.

    Elements beyond the ends are those at the ends, or left out (``exclude``); ``antialias``
    stretches the filter where the axis becomes shorter.

    Raises ``CompileError`` where ``exclude`` leaves nothing to a result.
    """
    stretch = min(axis.scale, Fraction(1)) if antialias else Fraction(1)
    reach = (1 if a is None else 2) / stretch
    first = [floor(p - reach) + 1 for p in positions]
    count = max(ceil(p + reach) - f for p, f in zip(positions, first, strict=True)) if first else 0
    index = np.array(first, np.int64).reshape(-1, 1) + np.arange(count)
    offsets = [
        [float(abs((int(i) - p) * stretch)) for i in row]
        for p, row in zip(positions, index, strict=True)
    ]
    weights = _filter(np.array(offsets).reshape(index.shape), a)
    if exclude:
        weights = np.where((index < 0) | (index >= axis.size), 0.0, weights)
    if exclude or antialias:
        total = weights.sum(axis=1, keepdims=True)
        if (total == 0).any():
            raise CompileError("exclude_outside leaves no element to some of the result")
        weights = weights / total
    return np.clip(index, 0, axis.size - 1), weights


def _filter(distance: NDArray, a: float | None) -> NDArray[np.float64]:
    """Weights by distance; cubic ones by R. Keys, Cubic Convolution Interpolation for Digital
    Image Processing, 1981, equation 4."""
    d = distance
    if a is None:
        return np.maximum(1 - d, 0)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def weighted(
    program: Builder, x: int, axis: int, index: NDArray[np.int64], weights: NDArray[np.float64]
) -> int:
    """Sums of elements of an axis (size) -> (out), by ``index`` and ``weights`` (out, taps)."""
    wide = [-1 if k == axis else 1 for k in range(len(program.shape(x)))]
    used = [k for k in range(index.shape[1]) if weights[:, k].any()]
    parts = []
    for group in (used[k : k + MOST_INPUTS // 2] for k in range(0, len(used), MOST_INPUTS // 2)):
        sources = []
        for k in group:
            sources.append(program.layout([x], lambda i, k=k: np.take(i, index[:, k], axis)))
            sources.append(program.constant(weights[:, k].reshape(wide)))
        terms = [variable(2 * k) * variable(2 * k + 1) for k in range(len(group))]
        parts.append(program.map(tree("add", terms), *sources))
    if parts:
        return program.combine("add", parts)
    shape = list(program.shape(x))
    shape[axis] = len(index)
    return program.constant(np.zeros(shape))
