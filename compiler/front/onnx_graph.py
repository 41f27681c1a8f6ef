"""ONNX files: read, checked, the sizes of their inputs fixed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import FunctionProto, NodeProto, TensorProto, TypeProto, ValueInfoProto, helper

from compiler.errors import CompileError
from compiler.front.functions import opsets_of
from compiler.front.honoured import Schema, defaults

#: Bytes of a model file, and size of a dimension.
MOST_BYTES, MOST_SIZE = 1 << 30, (1 << 31) - 1


class WrongDimension(CompileError):
    """Names or sizes of dimensions that a model does not have."""


@dataclass(frozen=True)
class Operator:
    """A node of the standard: attributes are Python values, those that are not given have their
    defaults; ``inputs`` may be empty names; ``version`` is the opset that brought its schema."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    version: int


@dataclass(frozen=True)
class Graph:
    """A model: nodes in order; types of inputs, whose sizes are fixed; ``functions`` by domain,
    name and overload."""

    name: str
    nodes: Sequence[NodeProto]
    initialisers: Mapping[str, TensorProto]
    inputs: Mapping[str, TypeProto]
    outputs: Sequence[ValueInfoProto]
    opsets: Mapping[str, int]
    functions: Mapping[tuple[str, str, str], FunctionProto]


def read(path: Path) -> onnx.ModelProto:
    """A model from a file; ``CompileError`` if it is none."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise CompileError(f"{path}: more than {MOST_BYTES} bytes")
        return onnx.load(path)
    except OSError as error:
        raise CompileError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception as error:  # protobuf, and what the loader makes of broken external data
        raise CompileError(f"{path}: not a valid ONNX model: {line_of(error)}") from None


def prepare(
    model: onnx.ModelProto,
    name: str,
    batch: int | None = None,
    dims: Mapping[str, int] | None = None,
) -> Graph:
    """Check a model and fix its open dimensions: by ``dims``, the first of each input by
    ``batch``, others are 1.  ``dims`` are by name, or by input and place, as ``x[2]``, which counts
    for this one alone.

    Raises
    ------
    CompileError: no valid model; ``WrongDimension``: none of that name, or of two sizes.
    """
    try:
        onnx.checker.check_model(model)
    except (
        DecodeError,
        onnx.checker.ValidationError,
        RuntimeError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        UnicodeDecodeError,
    ) as error:
        raise CompileError(f"{name}: not a valid ONNX model: {line_of(error)}") from None
    graph = model.graph
    if not graph.output:
        raise CompileError(f"{name}: the graph has no outputs")
    if graph.sparse_initializer:
        raise CompileError(
            f"constant {graph.sparse_initializer[0].values.name!r} is sparse, which "
            "is not supported"
        )
    initialisers = {t.name: t for t in graph.initializer}
    functions = {(f.domain, f.name, f.overload): f for f in model.functions}
    if len(functions) < len(model.functions):
        raise CompileError(f"{name}: two functions have the same name")
    inputs = _fixed([v for v in graph.input if v.name not in initialisers], batch, dims or {})
    return Graph(
        name,
        graph.node,
        initialisers,
        inputs,
        graph.output,
        opsets_of(model.opset_import),
        functions,
    )


def line_of(error: Exception) -> str:
    """What an exception of a library says, in a line."""
    text = " ".join(str(error).split())
    return text[:300] if text else type(error).__name__


def _fixed(
    values: Sequence[ValueInfoProto], batch: int | None, dims: Mapping[str, int]
) -> dict[str, TypeProto]:
    """Types of the inputs, without open dimensions."""
    sizes = dict(dims)
    types: dict[str, TypeProto] = {}
    for value in values:
        types[value.name] = TypeProto()
        types[value.name].CopyFrom(value.type)
        if not value.type.HasField("tensor_type"):
            raise CompileError(f"input {value.name!r} is no tensor")
        if not value.type.tensor_type.HasField("shape"):
            raise CompileError(f"input {value.name!r} must have a shape")
    shapes = [t.tensor_type.shape.dim for t in types.values()]
    names = {d.dim_param for shape in shapes for d in shape if d.dim_param}
    places = {
        place_name(name, i): None
        for name, shape in zip(types, shapes, strict=True)
        for i, dim in enumerate(shape)
        if _is_open(dim)
    }
    for name in dims:
        if name not in names and name not in places:
            known = ", ".join(sorted(names) or places)
            raise WrongDimension(
                f"no input has an open dimension {name!r}; "
                + (f"open are {known}" if known else "none is open")
            )
    for name, shape in zip(types, shapes, strict=True):
        first = next(iter(shape), None)
        if batch is None or first is None or not _is_open(first):
            continue
        own_name = place_name(name, 0)
        if own_name not in names and sizes.get(own_name, batch) != batch:
            raise WrongDimension(
                f"dimension {own_name!r} cannot be {sizes[own_name]} in a batch of {batch}"
            )
        if not first.dim_param:
            continue
        if sizes.setdefault(first.dim_param, batch) != batch:
            raise WrongDimension(
                f"dimension {first.dim_param!r} is the first of an input: it "
                f"cannot be {sizes[first.dim_param]} in a batch of {batch}"
            )
    for name, shape in zip(types, shapes, strict=True):
        for place, dim in enumerate(shape):
            if _is_open(dim):
                own, by_place = 1 if place or batch is None else batch, place_name(name, place)
                size = sizes.get(dim.dim_param, own)
                if by_place not in names:
                    size = sizes.get(by_place, size)
                if size > MOST_SIZE:
                    raise WrongDimension(
                        f"input {name!r} cannot have a dimension of {size}, more than {MOST_SIZE}"
                    )
                dim.dim_value = size
            if dim.dim_value < 0:
                raise CompileError(f"input {name!r} has a dimension of {dim.dim_value}")
    return types


def place_name(name: str, place: int) -> str:
    """What ``dims`` calls a dimension by input and place."""
    return f"{name}[{place}]"


def _is_open(dim: Any) -> bool:
    """Whether a dimension has no size; exporters write -1 for such."""
    return not dim.HasField("dim_value") or dim.dim_value == -1


def operator_of(node: NodeProto, schema: Schema) -> Operator:
    """A node with the attributes that its schema says, defaults among them.

    Raises ``CompileError`` for one whose value ONNX cannot tell.
    """
    attributes = defaults(schema)
    for attribute in node.attribute:
        try:
            attributes[attribute.name] = helper.get_attribute_value(attribute)
        except ValueError as error:
            raise CompileError(line_of(error)) from None
    return Operator(
        node.op_type,
        tuple(node.input),
        tuple(node.output),
        {
            name: value.decode(errors="replace") if isinstance(value, bytes) else value
            for name, value in attributes.items()
        },
        schema.since_version,
    )
