"""What a model computes, in float64: by the standard's evaluator or formulas, node by node.

A node is evaluated in the opset whose meaning the evaluator has for it (``folding.meaning``); for
operators where the evaluator is known to be wrong or to lack what the standard says, ``OWN`` has
the formula of the standard.  Numbers that a model quantises are not rounded to integers until
something needs these, as the compiler documents it (``front/operators/quantised.py``).
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, inliner, numpy_helper
from onnx.reference import ReferenceEvaluator

from compiler.front.folding import folded, meaning
from compiler.front.functions import names_in, opsets_of
from compiler.front.honoured import schema_of
from compiler.front.onnx_graph import operator_of
from compiler.front.registry import ON_QUANTISED
from spu.arch.package.expression import NOISE
from verif.expected.formulas import OWN

#: Types of floats, which become double.
NARROW = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
#: Of operators of quantised numbers, those that do not only move them.
TAKING = (
    *("Cast", "ConvInteger", "DequantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul"),
)
#: Of these the evaluator has every version that is honoured.
AS_THEY_ARE = ("If", "Attention")
OF_ORDER = ("ArgMax", "ArgMin", "DynamicQuantizeLinear", "Hardmax", "TopK")
#: What of constants is exact, and of what the ranges are those of float32.
EXACT_IF_KNOWN, IN_FLOAT32 = ("Floor", "Ceil", "Round"), ("DynamicQuantizeLinear",)
OF_SHAPES = ("Shape", "Size", "EyeLike")
#: Nodes that the compiler has formulas for, which are off by ``Program.error``, and those that may
#: have such within.
APPROXIMATED = (
    *("Celu", "Cos", "Elu", "Erf", "Gelu", "Mish", "Selu", "Sin", "Softplus"),
    *("GRU", "If", "LSTM", "RNN"),
)
#: Rounding of float64 that a result may have, 16 units, of itself.
UNITS = 2.0**-48


class Untrusted(Exception):
    """A node that has no reference, and why."""


@dataclass(frozen=True)
class Loose:
    """Of integers that are not rounded: their type, and whether they have one scale."""

    kind: np.dtype
    whole: bool = True

    def rounded(self, values: NDArray) -> NDArray:
        info = np.iinfo(self.kind)
        return np.clip(np.rint(values), info.min, info.max).astype(self.kind)


@dataclass
class Shake:
    """Changes results by what they may be off: by ``UNITS`` at random, and those of formulas by
    ``error``, all to one ``side`` (-1 or 1), or at random (0).  With a side, what may be left of a
    sum that cancels is zero, see ``evaluate``; ``infinite``: whether there were infinities."""

    rng: np.random.Generator
    error: float
    side: int
    infinite: bool = False

    def __call__(self, operator: str, values: NDArray) -> NDArray:
        if values.dtype.kind != "f":
            return values
        self.infinite |= bool(np.isinf(values).any())
        values = values * (1 + UNITS * self.rng.uniform(-1, 1, values.shape))
        if operator in APPROXIMATED:
            values = values + self.error * (self.side or self.rng.choice((-1, 1), values.shape))
        if self.side:
            size = np.abs(values)
            largest = size[np.isfinite(size)].max(initial=1.0)
            values = np.where(size < NOISE * largest, 0.0, values)
        return values


class Reference:
    """Values of all tensors by name, those in ``loose`` not rounded; the ``outputs`` are."""

    def __init__(
        self, model: ModelProto, inputs: Mapping[str, NDArray], shake: Shake | None = None
    ) -> None:
        model = inliner.inline_local_functions(model)
        self.opset = opsets_of(model.opset_import).get("", 1)
        self.values: dict[str, NDArray] = {
            t.name: _wide(numpy_helper.to_array(t)) for t in model.graph.initializer
        }
        self.values.update((n, _wide(v)) for n, v in inputs.items())
        #: What is computed beforehand, where integers are rounded.
        self.known = set(self.values) - set(inputs)
        self.loose: dict[str, Loose] = {}
        self.shake = shake
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            for node in model.graph.node:
                self._node(node)
            self.outputs = {o.name: self._rounded(o.name) for o in model.graph.output}

    def _rounded(self, name: str) -> NDArray:
        values = self.values[name]
        return self.loose[name].rounded(values) if name in self.loose else values

    def _node(self, node: NodeProto) -> None:
        """Raises ``Untrusted``."""
        if node.domain not in ("", "ai.onnx"):
            raise Untrusted(f"domain {node.domain}")
        given = [i for i in node.input if i in self.loose]
        feeds = {i: self.values[i] for i in names_in([node]) if i in self.values}
        moving = node.op_type in ON_QUANTISED and node.op_type not in TAKING
        for name in given:
            if node.op_type not in ON_QUANTISED or (moving and not self.loose[name].whole):
                feeds[name] = self._rounded(name)
        if node.op_type in OF_ORDER and any(
            v.dtype.kind == "f" and np.isnan(v).any() for v in feeds.values()
        ):
            raise Untrusted(f"NaN has no place in the order that {node.op_type} is of")
        known = self.known.issuperset(feeds)
        if known and (node.op_type in IN_FLOAT32 or self.shake is not None):
            feeds = _narrow(feeds)
        own = node.op_type in OWN and not (known and node.op_type in EXACT_IF_KNOWN)
        results = self._own(node, feeds) if own else self._evaluated(node, feeds)
        for name, value in zip(node.output, results, strict=False):
            if name:
                wide = _wide(np.asarray(value))
                self.values[name] = wide if self.shake is None else self.shake(node.op_type, wide)
        made = node.output[0]
        if node.op_type in ("Resize", "Upsample"):
            _trust_resize(node, feeds[node.input[0]], self.values[made])
        match node.op_type:
            case "DynamicQuantizeLinear":
                self.loose[made] = Loose(np.dtype(np.uint8))
            case "QuantizeLinear":
                zero = feeds.get(node.input[2]) if len(node.input) > 2 else None
                kind = np.dtype(np.uint8) if zero is None else zero.dtype
                self.loose[made] = Loose(kind, feeds[node.input[1]].size == 1)
            case "QLinearMatMul" | "QLinearConv":
                self.loose[made] = Loose(feeds[node.input[7]].dtype, feeds[node.input[6]].size == 1)
            case "MatMulInteger" | "ConvInteger":
                self.loose[made] = Loose(np.dtype(np.int32))
            case _ if moving and given and self.loose[given[0]].whole:
                self.loose[made] = self.loose[given[0]]
        if self._computed_beforehand(node, feeds):
            self.known.update(node.output)
            self.values[made] = self._rounded(made)
            self.loose.pop(made, None)

    def _computed_beforehand(self, node: NodeProto, feeds: Mapping[str, NDArray]) -> bool:
        """Whether the compiler folds a node of constants or of shapes."""
        if node.op_type in OF_SHAPES:
            return True
        if not self.known.issuperset(feeds):
            return False
        if node.op_type == "If":
            return True
        shapes = [self.values[o].shape for o in node.output if o]
        return folded(node, self.opset, _narrow(feeds), shapes) is not None

    def _own(self, node: NodeProto, feeds: Mapping[str, NDArray]) -> list[NDArray]:
        schema = schema_of(node.op_type, self.opset)
        operator = operator_of(node, schema)
        found = OWN[node.op_type](
            operator.version,
            dict(operator.attributes),
            *(feeds[i] if i else None for i in node.input),
        )
        return found if isinstance(found, list) else [found]

    def _evaluated(self, node: NodeProto, feeds: Mapping[str, NDArray]) -> list[Any]:
        opset = self.opset if node.op_type in AS_THEY_ARE else meaning(node, self.opset)
        if opset is None:
            raise Untrusted(f"{node.op_type} of opset {self.opset}")
        wide = NodeProto()
        wide.CopyFrom(node)
        for attribute in wide.attribute:
            if attribute.HasField("t"):
                attribute.t.CopyFrom(
                    numpy_helper.from_array(_wide(numpy_helper.to_array(attribute.t)))
                )
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i in NARROW:
                attribute.i = TensorProto.DOUBLE
        graph = helper.make_graph(
            [wide],
            "node",
            [helper.make_value_info(i, onnx.TypeProto()) for i in feeds],
            [helper.make_value_info(o, onnx.TypeProto()) for o in node.output if o],
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        results = iter(ReferenceEvaluator(made).run(None, dict(feeds)))
        return [next(results) if o else None for o in node.output]


def _trust_resize(node: NodeProto, before: NDArray, after: NDArray) -> None:
    """Raises ``Untrusted`` where the evaluator takes another place for the only element left, or
    weighs all elements of what is not finite, most of them by 0."""
    if not np.isfinite(before).all():
        raise Untrusted("Resize of what is not finite")
    modes = [a.s for a in node.attribute if a.name == "coordinate_transformation_mode"]
    if modes == [b"pytorch_half_pixel"] and any(
        n == 1 != m for m, n in zip(before.shape, after.shape, strict=True)
    ):
        raise Untrusted("Resize to one element by pytorch_half_pixel")


def _wide(values: NDArray) -> NDArray:
    return values.astype(np.float64) if values.dtype.kind in "fV" else values


def _narrow(feeds: Mapping[str, NDArray]) -> dict[str, NDArray]:
    return {n: v.astype(np.float32) if v.dtype == np.float64 else v for n, v in feeds.items()}


def spread(
    model: ModelProto, inputs: Mapping[str, NDArray], wanted: Mapping[str, NDArray], error: float
) -> dict[str, NDArray]:
    """How far the outputs ``wanted`` are moved by the rounding of float64, that of constants to
    float32 and errors of formulas, as samples show it; infinite where these make NaN or infinities,
    and NaN that infinities made, which the array has not."""
    found = {name: np.zeros(values.shape) for name, values in wanted.items()}
    for number, side in enumerate((-1, 1, *[0] * 12)):
        shake = Shake(np.random.default_rng(number), error, side)
        moved, _ = reference(model, inputs, shake)
        for name, values in wanted.items():
            off = np.full(values.shape, np.inf)
            if moved is not None and moved[name].shape == values.shape:
                with np.errstate(invalid="ignore"):
                    off = np.abs(np.subtract(moved[name], values, dtype=np.float64))
                nan = values != values
                same = (moved[name] == values) | (nan & (moved[name] != moved[name]))
                off = np.where(same, 0.0, np.where(np.isnan(off), np.inf, off))
                off = np.where(nan & shake.infinite, np.inf, off)
            found[name] = np.maximum(found[name], off)
    return found


def reference(
    model: ModelProto, inputs: Mapping[str, NDArray], shake: Shake | None = None
) -> tuple[dict[str, NDArray] | None, str]:
    """Outputs by name; None and the reason where there are none to be trusted."""
    try:
        return Reference(model, inputs, shake).outputs, ""
    except Untrusted as error:
        return None, str(error)
    except Exception as error:  # of the evaluator, of any kind
        return None, f"{type(error).__name__}: {error}"[:200]
