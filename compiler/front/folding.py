"""Nodes of constants, computed by the reference evaluator of the standard where it is right."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, NodeProto, helper
from onnx.reference import ReferenceEvaluator

from compiler.errors import CompileError
from compiler.front.honoured import Schema, defaults, schema_of, versions_of

#: Elements that constant folding makes of a node.
MOST_FOLDED = 1 << 24
#: Versions, other than those that mean what a newer version means, that the evaluator has.
_OLD = {
    **dict.fromkeys(
        (
            "ReduceMax",
            "ReduceMin",
            "ReduceMean",
            "ReduceProd",
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSum",
            "ReduceLogSumExp",
            "ReduceSumSquare",
        ),
        (1, 11, 12, 13),
    ),
    "ReduceSum": (1, 11),
    "Squeeze": (1, 11),
    "Unsqueeze": (1, 11),
    "Slice": (1,),
    "Split": (2, 11),
    "Pad": (2,),
    "Clip": (6,),
    "TopK": (1, 10),
    "DFT": (17,),
}
#: Defaults of attributes without which later versions mean the same.
_WITHOUT = {"broadcast": 0, "spatial": 1, "output_sequence": 0}
#: Versions that changed the meaning of nodes that the versions before them take as well.
_CHANGED = {("GroupNormalization", 21), ("PRelu", 7), ("RoiAlign", 16), ("Attention", 24)}
#: Not the same each time.
_RANDOM = (
    "Dropout",
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)
#: What the front end lowers, constants too: of a window of nothing but padding the evaluator makes
#: 0 or NaN, of norms the root of sums that may be negative, of recurrent cells it takes neither
#: lengths nor activations nor clip, of even sizes of LRN other channels, and an index that an axis
#: does not have it looks for without end.
_LOWERED = (
    *("MaxPool", "AveragePool", "LpPool", "LpNormalization"),
    *("ConvTranspose", "Upsample", "LSTM", "GRU", "RNN", "LRN"),
    "GatherElements",
)
_GRAPHS = (AttributeProto.GRAPH, AttributeProto.GRAPHS)


def meaning(node: NodeProto, opset: int) -> int | None:
    """The opset in which the evaluator computes what a node means in ``opset``; None if in none.

    That is the newest one if all versions since then only added types, attributes and inputs.
    """
    schema = schema_of(node.op_type, opset)
    version = schema.since_version
    if (
        node.op_type in _RANDOM
        or schema.deprecated
        or any(a.type in _GRAPHS for a in node.attribute)
    ):
        return None
    for newer in (v for v in versions_of(node.op_type) if v > version):
        later = onnx.defs.get_schema(node.op_type, newer)
        if (node.op_type, newer) in _CHANGED or not _takes(later, schema, node):
            return version if version in _OLD.get(node.op_type, ()) else None
        schema = later
    return onnx.defs.onnx_opset_version()


def _takes(later: Schema, schema: Schema, node: NodeProto) -> bool:
    """Whether a later version takes a node, to the same effect."""
    given = {a.name: a for a in node.attribute}
    types = {name: int(a.type.value) for name, a in later.attributes.items()}
    if later.deprecated or any(types.get(name) != a.type for name, a in given.items()):
        return False
    before, now = defaults(schema), defaults(later)
    # What an attribute that is gone meant by default, a later version need not mean.
    if any(
        value != (now if name in now else _WITHOUT).get(name)
        for name, value in before.items()
        if name in now or name not in given
    ):
        return False
    names = [i.name for i in schema.inputs]
    return [i.name for i in later.inputs][: len(names)] == names


def folded(
    node: NodeProto,
    opset: int,
    feeds: Mapping[str, NDArray],
    shapes: Sequence[tuple[int, ...] | None],
) -> list[NDArray] | None:
    """Outputs of a node of constants; None if the evaluator does not compute it.

    Raises
    ------
    CompileError: more than ``MOST_FOLDED`` elements, by the inferred ``shapes``.
    """
    evaluated = meaning(node, opset)
    if evaluated is None or node.op_type in _LOWERED:
        return None
    if any(int(np.prod(s, dtype=object)) > MOST_FOLDED for s in shapes if s is not None):
        raise CompileError(f"a constant of more than {MOST_FOLDED} elements")
    names = [i for i in node.input if i]
    graph = helper.make_graph(
        [node],
        "fold",
        [helper.make_value_info(i, onnx.TypeProto()) for i in dict.fromkeys(names)],
        [helper.make_value_info(o, onnx.TypeProto()) for o in node.output if o],
    )
    try:
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", evaluated)])
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(model).run(None, dict(feeds))
    except Exception:  # whatever the evaluator has to say of nodes that it does not know
        return None
    if any(isinstance(r, (list, type(None))) for r in results):
        return None
    values = [np.asarray(r) for r in results]
    # A result of another shape than the standard's is not right either.
    return (
        values if all(s in (None, v.shape) for v, s in zip(values, shapes, strict=True)) else None
    )
