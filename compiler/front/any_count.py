"""Whether a model does the same to each vector, however many there are, by its nodes alone.

Trying some numbers of vectors shows nothing of the others: a model may compute with its own sizes
(their parity), or cut at some of them.  So every node that data pass is one that treats vectors
alike, and sizes of tensors do nothing but shape them.
"""

from collections.abc import Mapping

import onnx
from onnx import NodeProto, TensorProto

from compiler.front.onnx_graph import place_name

#: Operators of chains.  They take each vector alike, or join vectors in a way that a few of them
#: show: dimensions are products of a number and powers of the count, alike for three counts if for
#: all.  ``compiler.build`` tries three.
_ALIKE = frozenset(
    (
        *("Add", "Cast", "Clip", "Dropout", "Expand", "Flatten", "Gemm", "Identity", "MatMul"),
        *("Max", "Min", "Relu", "Reshape", "Squeeze", "Sum", "Transpose", "Unsqueeze"),
    )
)
#: Operators whose results are the sizes of what they take.
_OF_SIZES = frozenset(("Shape", "Size"))
#: Operators that choose some of the sizes and leave them as they are, if these come first.
_CHOOSING = frozenset(
    (
        *("Cast", "Concat", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Squeeze"),
        "Unsqueeze",
    )
)
#: Operators that may shape data by sizes, which come second.
_SHAPING = frozenset(("Expand", "Reshape"))


def is_open(model: onnx.ModelProto, dims: Mapping[str, int]) -> bool:
    """Whether the first dimension of the first input is left open, by ``dims`` as well."""
    known = {t.name for t in model.graph.initializer}
    values = [v for v in model.graph.input if v.name not in known][:1]
    first = next((d for v in values for d in v.type.tensor_type.shape.dim[:1]), None)
    return (
        first is not None
        and first.dim_param not in dims
        and place_name(values[0].name, 0) not in dims
        and (not first.HasField("dim_value") or first.dim_value == -1)
    )


def mixing_node(model: onnx.ModelProto) -> NodeProto | None:
    """A node that may do something else with another number of vectors, or None."""
    known = {t.name for t in model.graph.initializer}
    known |= {t.values.name for t in model.graph.sparse_initializer}
    functions = {f.name for f in model.functions}
    data = {v.name for v in model.graph.input} - known
    sizes: set[str] = set()
    for node in model.graph.node:
        of_data, of_sizes = data & set(node.input), sizes & set(node.input)
        made = set(node.output) - {""}
        if not of_data and not of_sizes:
            if any(a.HasField("g") or a.graphs for a in node.attribute):
                return node
        elif node.domain not in ("", "ai.onnx") or node.op_type in functions:
            return node
        elif node.op_type in _OF_SIZES and of_data:
            sizes |= made
        elif of_data:
            shaped = node.op_type in _SHAPING and of_sizes <= set(node.input[1:2])
            if node.op_type not in _ALIKE or (of_sizes and not shaped):
                return node
            data |= made
        elif _chooses(node, sizes):
            sizes |= made
        else:
            return node
    outputs = {v.name for v in model.graph.output}
    return next((n for n in model.graph.node if sizes & outputs & set(n.output)), None)


def _chooses(node: NodeProto, sizes: set[str]) -> bool:
    """Whether a node of sizes hands some of them on, unchanged."""
    if node.op_type == "Cast":
        wide = (TensorProto.INT32, TensorProto.INT64)
        return any(a.name == "to" and a.i in wide for a in node.attribute)
    others = set() if node.op_type == "Concat" else sizes & set(node.input[1:])
    return node.op_type in _CHOOSING and not others
