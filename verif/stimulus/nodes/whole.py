"""Nodes of quantised numbers: pairs that quantise and dequantise, products of integers."""

from typing import Any

import numpy as np

from verif.stimulus.nodes.growing import INT8, INT32, UINT8, Growing, node
from verif.stimulus.nodes.windows import image, window


def _scale(g: Growing, shape: tuple[int, ...] = ()) -> str:
    return g.constant(g.rng.uniform(0.01, 0.05, shape))


def _zero(g: Growing, kind: int, shape: tuple[int, ...] = ()) -> str:
    least = 0 if kind == UINT8 else -20
    return g.constant(g.rng.integers(least, least + 40, shape), kind)


@node("QuantizeLinear", "DequantizeLinear")
def pair(g: Growing, op: str) -> None:
    """Both, of all or along an axis; some without zero point, some without the second."""
    kind = g.one([UINT8, INT8])
    if op == "DequantizeLinear" and g.coin(0.3):
        g.add(op, g.take(kind=kind), _scale(g), _zero(g, kind))
        return
    x, given = g.ranked(1), dict[str, Any]()
    shape: tuple[int, ...] = ()
    if g.opset >= 13 and g.coin(0.3):
        given["axis"] = g.axis(g.shapes[x])
        shape = (g.shapes[x][given["axis"]],)
    scale, zero = _scale(g, shape), _zero(g, kind, shape)
    if g.coin(0.125):
        zero = ""
    quantised = g.add("QuantizeLinear", x, scale, zero, **given)
    if op == "DequantizeLinear" or g.coin(0.8):
        g.add("DequantizeLinear", quantised, scale, zero, **given)


@node("DynamicQuantizeLinear")
def by_range(g: Growing, op: str) -> None:
    """The three outputs, and the numbers that they stand for."""
    x = g.ranked(1)
    y = g.add(op, x, outputs=3)
    if g.coin(0.7):
        g.add("DequantizeLinear", y, f"{y}_1", f"{y}_2")


def _quantised(g: Growing, x: str, kind: int) -> tuple[str, str, str]:
    scale, zero = _scale(g), _zero(g, kind)
    return g.add("QuantizeLinear", x, scale, zero), scale, zero


@node("QLinearMatMul")
def matmul(g: Growing, op: str) -> None:
    x, scale, zero = _quantised(g, g.ranked(2, 3), UINT8)
    columns = g.number(1, 4)
    kind = g.one([UINT8, INT8])
    weights = g.new((g.shapes[x][-1], columns), kind, fed=False)
    per = (columns,) if g.coin(0.3) else ()
    made = (_scale(g), _zero(g, UINT8))
    y = g.add(op, x, scale, zero, weights, _scale(g, per), _zero(g, kind, per), *made)
    if g.coin(0.8):
        g.add("DequantizeLinear", y, *made)


def _filters(g: Growing, x: str) -> tuple[str, dict[str, Any]]:
    given = window(g, g.shapes[x][2:])
    shape = (g.number(1, 3), g.shapes[x][1], *given["kernel_shape"])
    return g.new(shape, g.one([UINT8, INT8]), fed=False), given


@node("QLinearConv")
def conv(g: Growing, op: str) -> None:
    x, scale, zero = _quantised(g, image(g), UINT8)
    weights, given = _filters(g, x)
    filters = g.shapes[weights][0]
    per = (filters,) if g.coin(0.4) else ()
    made = (_scale(g), _zero(g, UINT8))
    kind = g.kinds[weights]
    point = g.constant(np.full(per, 3), kind)
    bias = [g.constant(g.rng.integers(-99, 99, filters), INT32)] if g.coin() else []
    y = g.add(op, x, scale, zero, weights, _scale(g, per), point, *made, *bias, **given)
    if g.coin(0.8):
        g.add("DequantizeLinear", y, *made)


@node("MatMulInteger", "ConvInteger")
def of_integers(g: Growing, op: str) -> None:
    """Of fed integers, or of what DynamicQuantizeLinear makes, cast and scaled after."""
    source = g.ranked(2, 3) if op == "MatMulInteger" else image(g)
    dynamic = g.coin(0.7) and g.opset >= 11
    x = (
        g.add("DynamicQuantizeLinear", source, outputs=3)
        if dynamic
        else g.new(g.shapes[source], UINT8, fed=True)
    )
    zero = f"{x}_2" if dynamic else _zero(g, UINT8)
    given: dict[str, Any] = {}
    if op == "MatMulInteger":
        weights = g.new((g.shapes[x][-1], g.number(1, 4)), INT8, fed=False)
    else:
        weights, given = _filters(g, x)
    y = g.add(op, x, weights, zero, _zero(g, g.kinds[weights]), **given)
    if dynamic and g.coin(0.8):
        g.add("Mul", g.add("Cast", y, to=1), f"{x}_1")
