"""Nodes of elements: activations, arithmetic, comparisons, truth values, casts."""

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from verif.stimulus.nodes.growing import BOOL, FLOAT, INT32, INT64, Growing, Unfit, node

#: Attributes of activations, and their ranges.
SLOPES: dict[str, dict[str, tuple[float, float]]] = {
    "LeakyRelu": {"alpha": (0.01, 2)},
    "Elu": {"alpha": (0.1, 2)},
    "Celu": {"alpha": (0.2, 2)},
    "Selu": {"alpha": (0.5, 2), "gamma": (0.5, 2)},
    "HardSigmoid": {"alpha": (0.1, 1), "beta": (0, 1)},
    "ThresholdedRelu": {"alpha": (-1, 1)},
    "Shrink": {"lambd": (0, 1), "bias": (-1, 1)},
    "Swish": {"alpha": (0.3, 2)},
}


@node(
    *("Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "HardSwish", "Identity", "Mish", "Neg"),
    *("Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Tanh"),
    *SLOPES,
)
def activation(g: Growing, op: str) -> None:
    slopes: dict[str, Any] = {
        name: float(np.float32(g.rng.uniform(*ends)))
        for name, ends in SLOPES.get(op, {}).items()
        if g.coin(0.7)
    }
    g.add(op, g.take(), **slopes)


@node("Gelu")
def gelu(g: Growing, op: str) -> None:
    g.add(op, g.take(), approximate=g.one(["none", "tanh", None]))


@node("Log", "Sqrt")
def of_positive(g: Growing, op: str) -> None:
    """Of magnitudes; every eighth of any numbers."""
    x = g.take()
    g.add(op, x if g.coin(0.125) else g.add("Abs", x))


@node("Add", "Sub", "Mul", "Div")
def arithmetic(g: Growing, op: str) -> None:
    """Broadcast both ways; of integers where the opset has such, which none divides by 0."""
    kind = FLOAT if g.version(op) < 7 or g.coin(0.8) else g.one([INT64, INT32])
    x = g.take(kind=kind)
    y = g.beside(g.shapes[x], kind)
    if kind != FLOAT and op == "Div":
        y = g.constant(g.rng.choice([-2, 1, 3], g.shapes[x]), kind)
    g.add(op, *((y, x) if g.coin(0.3) and (kind == FLOAT or op != "Div") else (x, y)))


@node("Pow")
def power(g: Growing, op: str) -> None:
    x = g.take()
    if g.coin(0.2):
        g.add(op, g.add("Abs", x), g.beside(g.shapes[x]))
        return
    size = g.shapes[x][-1:] if g.coin(0.3) else ()
    g.add(op, x, g.constant(g.rng.choice([2, 3, 1, 0, -1, 0.5, -2], size)))


@node("Mod")
def modulo(g: Growing, op: str) -> None:
    if g.coin():
        x = g.take(kind=INT64)
        y = g.constant(g.rng.choice([-3, 2, 5], g.shapes[x]), INT64)
        g.add(op, x, y, fmod=g.one([0, 1]))
        return
    x = g.take()
    g.add(op, x, g.constant(g.rng.choice([-1.5, 0.75, 2], g.shapes[x])), fmod=1)


@node("PRelu")
def prelu(g: Growing, op: str) -> None:
    x = g.take()
    g.add(op, x, g.beside(g.shapes[x]))


@node("Max", "Min", "Sum", "Mean")
def of_many(g: Growing, op: str) -> None:
    whole = op in ("Max", "Min") and g.opset >= 12 and g.coin(0.2)
    kind = INT64 if whole else FLOAT
    x = g.take(kind=kind)
    others = [g.beside(g.shapes[x], kind) for _ in range(g.number(0, 2))]
    g.add(op, x, *others)


@node("Clip")
def clip(g: Growing, op: str) -> None:
    """Bounds are attributes, constants, computed, or absent."""
    x = g.take()
    low, high = -abs(float(g.rng.normal())), abs(float(g.rng.normal()))
    if g.version(op) < 11:
        g.add(op, x, min=low if g.coin(0.8) else None, max=high if g.coin(0.8) else None)
        return
    ends = [
        "" if g.coin(0.2) else g.constant(e) if g.coin(0.6) else g.shaped() for e in (low, high)
    ]
    g.add(op, x, *ends)


@node("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual")
def comparison(g: Growing, op: str) -> None:
    whole = g.version(op) >= 9 or (op == "Equal" and g.version(op) == 7)
    kind = INT64 if whole and g.coin(0.3) else FLOAT
    if op == "Equal" and g.version(op) < 11:
        kind = INT64
    x = g.take(kind=kind)
    g.add(op, x, x if g.coin(0.05) else g.beside(g.shapes[x], kind))


@node("And", "Or", "Xor")
def of_truths(g: Growing, op: str) -> None:
    x = g.take(kind=BOOL)
    g.add(op, x, g.beside(g.shapes[x], BOOL))


@node("Not")
def negation(g: Growing, op: str) -> None:
    g.add(op, g.take(kind=BOOL))


@node("IsNaN", "IsInf")
def of_kind(g: Growing, op: str) -> None:
    signs: dict[str, Any] = {"detect_positive": g.one([0, 1]), "detect_negative": g.one([0, 1])}
    g.add(op, g.take(), **(signs if op == "IsInf" and g.coin() else {}))


@node("Where")
def where(g: Growing, op: str) -> None:
    kind = INT64 if g.coin(0.15) else FLOAT
    x = g.take(kind=kind)
    shape = g.shapes[x]
    parts = [x, g.beside(shape, kind)]
    g.add(op, g.beside(shape, BOOL), *(parts[::-1] if g.coin() else parts))


@node("Cast")
def cast(g: Growing, op: str) -> None:
    kind = g.one([FLOAT, FLOAT, BOOL, INT64, INT32])
    to = g.one([FLOAT, TensorProto.DOUBLE, BOOL, INT64, INT32])
    g.add(op, g.take(kind=kind), to=to)


@node("Dropout")
def dropout(g: Growing, op: str) -> None:
    """At inference; of older opsets with a ratio, of newer ones with a mask."""
    x = g.take()
    if g.version(op) < 12:
        g.add(op, x, ratio=0.4)
        return
    ratio = g.constant(0.4) if g.coin() else ""
    training = g.constant(False, BOOL) if g.coin(0.3) else ""
    g.add(op, x, ratio, training, outputs=g.one([1, 1, 2]))


@node("Trilu")
def triangle(g: Growing, op: str) -> None:
    x = g.ranked(2)
    g.add(op, x, g.ints(g.number(-3, 3)) if g.coin(0.7) else "", upper=g.one([0, 1, None]))


@node("CumSum")
def scan(g: Growing, op: str) -> None:
    x = g.ranked(1)
    axis = g.ints(g.axis(g.shapes[x]))
    g.add(op, x, axis, exclusive=g.one([0, 1]), reverse=g.one([0, 1]))


@node("If")
def branches(g: Growing, op: str) -> None:
    """By a constant condition, tensors of outside within."""
    x = g.take()
    kind, shape = g.kinds[x], g.shapes[x]
    if g.opset < 11:
        raise Unfit("branches without inference")
    graphs = [
        helper.make_graph(
            [helper.make_node(inner, [x], ["inside"])],
            inner,
            [],
            [helper.make_tensor_value_info("inside", kind, shape)],
        )
        for inner in ("Neg", "Relu")
    ]
    condition = g.constant(g.coin(), BOOL)
    g.add(op, condition, then_branch=graphs[0], else_branch=graphs[1])
