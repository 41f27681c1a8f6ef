"""Operators of ``ai.onnx.ml`` by operators of the standard: what exporters of classical learning
write around dense layers.

Formulas are those of the operators' own documentation; where that leaves something open, ONNX
Runtime's results count: a row of zeros stays zeros when it is normalised.  Trees, support vectors
and strings are not among them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper

from compiler.errors import CompileError
from compiler.front.functions import Opsets
from compiler.front.onnx_graph import Operator, operator_of

DOMAIN = "ai.onnx.ml"
#: Of the nodes that stand for others.
OPSETS = {"": 18}
ZIPPED = (
    "ZipMap: the output is the array of what it pairs with classes, a column for each, in the "
    "order of the classes"
)


class Body:
    """Nodes and constants that stand for a node."""

    def __init__(self, fresh: Callable[[str], str]) -> None:
        self.fresh = fresh
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, NDArray] = {}
        self.notes: list[str] = []

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """A constant's name."""
        name = self.fresh("constant")
        self.constants[name] = np.asarray(values, dtype)
        return name

    def node(self, op: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        """Add a node of one output; returns the name of that."""
        name = out or self.fresh(op)
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name


Maker = Callable[[Operator, Body, tuple[int, ...]], None]


def stands_for(
    node: NodeProto, opsets: Opsets, shape: tuple[int, ...], fresh: Callable[[str], str]
) -> Body:
    """What a node of ``LEARNED``, with a first input of this shape, stands for.

    Raises ``CompileError`` for attributes with which it is not taken.
    """
    version = opsets.get(DOMAIN, 1)
    try:
        schema = onnx.defs.get_schema(node.op_type, version, DOMAIN)
    except onnx.defs.SchemaError:
        raise CompileError(f"there is no such operator in version {version} of {DOMAIN}") from None
    body = Body(fresh)
    _MAKERS[node.op_type](operator_of(node, schema), body, shape)
    return body


def _scaler(op: Operator, body: Body, shape: tuple[int, ...]) -> None:
    (x,), (out,) = op.inputs, op.outputs
    for name, kind in (("offset", "Sub"), ("scale", "Mul")):
        values = op.attributes.get(name) or [0.0 if name == "offset" else 1.0]
        if len(values) not in (1, shape[-1] if shape else 1):
            raise CompileError(
                f"attribute {name} has {len(values)} values for rows of {shape[-1] if shape else 1}"
            )
        last = out if name == "scale" else ""
        x = body.node(kind, x, body.constant(values), out=last)


def _normalizer(op: Operator, body: Body, shape: tuple[int, ...]) -> None:
    (x,), (out,) = op.inputs, op.outputs
    reduce = {"L1": "ReduceL1", "L2": "ReduceL2"}.get(op.attributes["norm"])
    if reduce is None:
        raise CompileError(
            f"attribute norm={op.attributes['norm']} is not supported, L1 and L2 are"
        )
    norm = body.node(reduce, x, body.constant([-1], np.int64), keepdims=1)
    empty = body.node("Equal", norm, body.constant(0))
    body.node("Div", x, body.node("Where", empty, body.constant(1), norm), out=out)


def _binarizer(op: Operator, body: Body, shape: tuple[int, ...]) -> None:
    above = body.node("Greater", op.inputs[0], body.constant(op.attributes["threshold"]))
    body.node("Cast", above, out=op.outputs[0], to=onnx.TensorProto.FLOAT)


def _feature_vectorizer(op: Operator, body: Body, shape: tuple[int, ...]) -> None:
    body.node("Concat", *op.inputs, out=op.outputs[0], axis=-1)


def _array_feature_extractor(op: Operator, body: Body, shape: tuple[int, ...]) -> None:
    data, places = op.inputs
    flat = body.node("Reshape", places, body.constant([-1], np.int64))
    if len(shape) > 1:
        body.node("Gather", data, flat, out=op.outputs[0], axis=-1)
        return
    row = body.node("Gather", data, flat, axis=-1)
    body.node("Reshape", row, body.constant([1, -1], np.int64), out=op.outputs[0])


def _linear(op: Operator, body: Body, shape: tuple[int, ...], rows: int, out: str = "") -> str:
    """Products with ``rows`` rows of coefficients, and intercepts."""
    coefficients = np.asarray(op.attributes.get("coefficients") or [], np.float32)
    if not shape or coefficients.size != rows * shape[-1]:
        raise CompileError(
            f"attribute coefficients has {coefficients.size} values, not {rows} times those of a "
            f"row of its input, {shape[-1] if shape else 1}"
        )
    x = op.inputs[0]
    if len(shape) == 1:
        x = body.node("Reshape", x, body.constant([1, -1], np.int64))
    weights = body.constant(coefficients.reshape(rows, -1).T)
    intercepts = op.attributes.get("intercepts") or [0.0] * rows
    if len(intercepts) != rows:
        raise CompileError(f"attribute intercepts has {len(intercepts)} values, not {rows}")
    return body.node("Add", body.node("MatMul", x, weights), body.constant(intercepts), out=out)


def _linear_regressor(op: Operator, body: Body, shape: tuple[int, ...]) -> None:
    _transform(op, body, _linear(op, body, shape, op.attributes["targets"]), op.outputs[0])


def _linear_classifier(op: Operator, body: Body, shape: tuple[int, ...]) -> None:
    labels = op.attributes.get("classlabels_ints") or []
    if not labels:
        raise CompileError("its labels are strings, integers are supported")
    if len(op.attributes.get("intercepts") or labels) != len(labels):
        raise CompileError(f"one row of coefficients for {len(labels)} classes is not supported")
    label, scores = op.outputs
    raw = _linear(op, body, shape, len(labels))
    _transform(op, body, raw, scores or body.fresh("scores"))
    if label:
        first = body.node("ArgMax", raw, axis=-1, keepdims=0)
        body.node("Gather", body.constant(labels, np.int64), first, out=label)


def _transform(op: Operator, body: Body, x: str, out: str) -> None:
    name = op.attributes["post_transform"]
    known = {"NONE": "Identity", "LOGISTIC": "Sigmoid", "SOFTMAX": "Softmax"}
    if name not in known:
        raise CompileError(
            f"attribute post_transform={name} is not supported, {', '.join(known)} are"
        )
    body.node(known[name], x, out=out)


def _zip_map(op: Operator, body: Body, shape: tuple[int, ...]) -> None:
    body.node("Identity", op.inputs[0], out=op.outputs[0])
    body.notes.append(ZIPPED)


_MAKERS: dict[str, Maker] = {
    "ArrayFeatureExtractor": _array_feature_extractor,
    "Binarizer": _binarizer,
    "FeatureVectorizer": _feature_vectorizer,
    "LinearClassifier": _linear_classifier,
    "LinearRegressor": _linear_regressor,
    "Normalizer": _normalizer,
    "Scaler": _scaler,
    "ZipMap": _zip_map,
}
#: Operators of the domain that are taken.
LEARNED = tuple(_MAKERS)
