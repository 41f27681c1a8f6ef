"""ONNX files: checked, functions inlined, shapes inferred, and what is constant computed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import helper, inliner, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from compiler.errors import CompileError

#: Operators with a function body that are computed as a whole, of constants only.
FOLDED = ("Range",)
#: Elements that constant folding makes of a node.
MOST_FOLDED = 1 << 24
#: Bytes of a model file, and nodes of a graph.
MOST_BYTES, MOST_NODES = 1 << 30, 5000


@dataclass(frozen=True)
class Operator:
    """A node whose attributes are Python values; ``inputs`` may be empty names."""

    op: str
    label: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Graph:
    """Operators in order; ``constants`` by name, ``inputs`` with their shapes."""

    name: str
    operators: tuple[Operator, ...]
    constants: dict[str, NDArray]
    inputs: dict[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    opset: int


def read(path: Path) -> onnx.ModelProto:
    """A model from a file; ``CompileError`` if it is none."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise CompileError(f"{path}: more than {MOST_BYTES} bytes")
        return onnx.load(path)
    except OSError as error:
        raise CompileError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception as error:  # protobuf, and what the loader makes of broken external data
        raise CompileError(f"{path}: not a valid ONNX model: {_first(error)}") from None


def prepare(model: onnx.ModelProto, name: str, known: Collection[str], batch: int = 1) -> Graph:
    """Check a model, inline functions but operators that are ``known``, fold constants.

    ``batch``: size of dimensions of the inputs that have none.

    Raises
    ------
    CompileError: no valid model, or shapes that are not fixed.
    """
    try:
        onnx.checker.check_model(model)
        model = inliner.inline_local_functions(model)
        model = inliner.inline_selected_functions(
            model, [("", op) for op in (*known, *FOLDED)], exclude=True,
            inline_schema_functions=True)
        if len(model.graph.node) > MOST_NODES:
            raise CompileError(f"{name}: {len(model.graph.node)} nodes, more than {MOST_NODES}")
        inputs = _fix_inputs(model.graph, batch)
        model = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except CompileError:
        raise
    except (DecodeError, onnx.checker.ValidationError, shape_inference.InferenceError,
            RuntimeError, ValueError, TypeError, AttributeError, IndexError,
            UnicodeDecodeError) as error:
        raise CompileError(f"{name}: not a valid ONNX model: {_first(error)}") from None
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)
    return _Folder(model, name, opset, inputs).graph()


def _first(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _fix_inputs(graph: onnx.GraphProto, batch: int) -> dict[str, tuple[int, ...]]:
    """Give open dimensions of the inputs a size; shapes by name."""
    known = {t.name for t in graph.initializer}
    inputs = {}
    for value in graph.input:
        if value.name in known:
            continue
        if not value.type.HasField("tensor_type"):
            raise CompileError(f"input {value.name!r} is no tensor")
        tensor = value.type.tensor_type
        if not tensor.HasField("shape"):
            raise CompileError(f"input {value.name!r} must have a shape")
        for dim in tensor.shape.dim:
            if not dim.HasField("dim_value"):
                dim.dim_value = batch
            if dim.dim_value < 0:
                raise CompileError(f"input {value.name!r} has a dimension of {dim.dim_value}")
        inputs[value.name] = tuple(d.dim_value for d in tensor.shape.dim)
    return inputs


class _Folder:
    def __init__(self, model: onnx.ModelProto, name: str, opset: int,
                 inputs: dict[str, tuple[int, ...]]) -> None:
        self.model, self.name, self.opset, self.inputs = model, name, opset, inputs
        self.constants: dict[str, NDArray] = {}
        self.shapes: dict[str, tuple[int, ...]] = dict(inputs)
        for value in (*model.graph.value_info, *model.graph.output):
            dims = value.type.tensor_type.shape.dim
            if value.type.tensor_type.HasField("shape") and all(
                    d.HasField("dim_value") for d in dims):
                self.shapes[value.name] = tuple(d.dim_value for d in dims)

    def graph(self) -> Graph:
        proto = self.model.graph
        for tensor in proto.initializer:
            self.constants[tensor.name] = self._array(tensor.name, tensor)
        operators = []
        for node in proto.node:
            label = f"{node.op_type} node {node.name or next(iter(node.output), '')!r}"
            if node.domain not in ("", "ai.onnx"):
                raise CompileError(f"{label}: operators of the domain {node.domain!r} are not "
                                   "supported")
            if not self._folded(node, label):
                operators.append(Operator(node.op_type, label, tuple(node.input),
                                          tuple(node.output), _attributes(node, label)))
        return Graph(self.name, tuple(operators), self.constants, self.inputs,
                     tuple(o.name for o in proto.output), self.opset)

    def _array(self, name: str, tensor: onnx.TensorProto) -> NDArray:
        try:
            values = numpy_helper.to_array(tensor)
        except Exception as error:  # sizes that do not fit, types that numpy lacks
            raise CompileError(f"constant {name!r}: {_first(error)}") from None
        if values.dtype.kind == "f" and np.isnan(values).any():
            raise CompileError(f"constant {name!r} holds {int(np.isnan(values).sum())} NaN")
        return values

    def _folded(self, node: onnx.NodeProto, label: str) -> bool:
        """Compute a node of constants, or of shapes, with the reference of the standard."""
        given = [i for i in node.input if i]
        if node.op_type in ("Shape", "Size") and given and given[0] in self.shapes \
                and given[0] not in self.constants:
            feeds = {given[0]: np.zeros(self.shapes[given[0]], np.float32)}
        elif all(i in self.constants for i in given) and not any(
                a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
                for a in node.attribute) and not node.op_type.startswith("Random"):
            feeds = {i: self.constants[i] for i in given}
        else:
            return False
        if any(int(np.prod(self.shapes.get(o, (0,)))) > MOST_FOLDED for o in node.output):
            raise CompileError(f"{label}: a constant of more than {MOST_FOLDED} elements")
        graph = helper.make_graph([node], "fold", [helper.make_value_info(i, onnx.TypeProto())
                                                   for i in dict.fromkeys(given)],
                                  [helper.make_value_info(o, onnx.TypeProto())
                                   for o in node.output if o])
        try:
            model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
            results = ReferenceEvaluator(model).run(None, feeds)
        except Exception as error:  # whatever the reference has to say of broken nodes
            raise CompileError(f"{label}: cannot be computed: {_first(error)}") from None
        self.constants.update(zip((o for o in node.output if o), map(np.asarray, results),
                                  strict=True))
        return True


def _attributes(node: onnx.NodeProto, label: str) -> dict[str, Any]:
    out = {}
    for attribute in node.attribute:
        try:
            value = helper.get_attribute_value(attribute)
        except ValueError as error:
            raise CompileError(f"{label}: {_first(error)}") from None
        out[attribute.name] = value.decode(errors="replace") if isinstance(value, bytes) else value
    return out
