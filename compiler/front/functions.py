"""Operators and functions of a model that are made of other operators: their bodies, branches."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import onnx
from onnx import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    NodeProto,
    TensorProto,
    TypeProto,
    helper,
)

from compiler.errors import CompileError
from compiler.front.honoured import Schema

#: Opset by domain.
Opsets = Mapping[str, int]


def opsets_of(imports: Sequence[onnx.OperatorSetIdProto]) -> dict[str, int]:
    """Opsets that a model or a function imports; the standard's domain has the name ""."""
    return {"" if i.domain == "ai.onnx" else i.domain: i.version for i in imports}


def standard_body(
    node: NodeProto, schema: Schema, opset: int, types: Sequence[TypeProto]
) -> FunctionProto | None:
    """What the standard says that a node computes, for inputs of ``types``; None if nothing.

    ``node`` has the defaults of its attributes.
    """
    body = FunctionProto()
    versions = [v for v in schema.function_opset_versions if v <= opset]
    if versions:
        body.ParseFromString(schema.get_function_with_opset_version(max(versions)))
        return body
    versions = [v for v in schema.context_dependent_function_opset_versions if v <= opset]
    if not versions:
        return None
    content = schema.get_context_dependent_function_with_opset_version(
        max(versions), node.SerializeToString(), [t.SerializeToString() for t in types]
    )
    if not content:
        return None
    body.ParseFromString(content)
    return body


def inlined(
    node: NodeProto, body: FunctionProto, fresh: Callable[[str], str]
) -> Iterator[NodeProto]:
    """Nodes of a body with the names and attributes of the node that it stands for.

    ``fresh`` makes a name that nothing has of one in between.  Attributes that refer to those of
    ``node`` without a default, where it has none, are left out.  Raises ``CompileError`` for a body
    that returns one of its inputs.
    """
    given = {a.name: a for a in body.attribute_proto} | {a.name: a for a in node.attribute}
    names = {"": ""}
    names |= dict.fromkeys(body.input, "")
    names |= dict(zip(body.input, node.input, strict=False))
    # An output that nothing takes gets a name as what is in between.
    names |= {
        formal: actual for formal, actual in zip(body.output, node.output, strict=False) if actual
    }
    passed = set(body.input) & set(body.output)
    if passed:
        raise CompileError(
            f"its function returns its input {min(passed)!r}, which the standard does not allow"
        )
    for inner in body.node:
        for name in (*inner.input, *inner.output):
            if name not in names:
                names[name] = fresh(name)
        yield _renamed(inner, names, given)


def branch(
    node: NodeProto, graph: GraphProto, fresh: Callable[[str], str]
) -> tuple[dict[str, TensorProto], list[NodeProto]]:
    """Constants and nodes of a branch that stands in the place of ``node``; what it takes from
    around it keeps its names.

    Raises ``CompileError`` for a branch of other outputs than the node's, or with sparse constants.
    """
    if len(graph.output) < len(node.output) or graph.sparse_initializer:
        raise CompileError("its branch has other outputs, or constants that are sparse")
    names = {name: fresh(name) for name in _defined(graph)}
    nodes = [_renamed(inner, names, {}) for inner in graph.node]
    nodes += [
        helper.make_node("Identity", [names.get(formal.name, formal.name)], [actual])
        for formal, actual in zip(graph.output, node.output, strict=False)
        if actual
    ]
    return {names[t.name]: t for t in graph.initializer}, nodes


def names_in(nodes: Iterable[NodeProto]) -> Iterator[str]:
    """Tensors that nodes name, and those within their branches."""
    for node in nodes:
        yield from (*node.input, *node.output)
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from names_in(graph.node)
                yield from (output.name for output in graph.output)


def _defined(graph: GraphProto) -> dict[str, None]:
    """Tensors that a graph has of its own."""
    made = (name for node in graph.node for name in node.output if name)
    given = (value.name for value in (*graph.input, *graph.initializer))
    return dict.fromkeys((*given, *made))


def _renamed(
    node: NodeProto, names: Mapping[str, str], given: Mapping[str, AttributeProto]
) -> NodeProto:
    """A node with other names, and attributes for those that it refers to."""
    made = NodeProto()
    made.CopyFrom(node)
    del made.input[:], made.output[:], made.attribute[:]
    made.input.extend(names.get(i, i) for i in node.input)
    made.output.extend(names.get(o, o) for o in node.output)
    made.attribute.extend(_attributes(node, given))
    for attribute in made.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            own = _defined(graph)
            around = {old: new for old, new in names.items() if old not in own}
            nodes = [_renamed(inner, around, given) for inner in graph.node]
            del graph.node[:]
            graph.node.extend(nodes)
            for output in graph.output:
                output.name = around.get(output.name, output.name)
    return made


def _attributes(inner: NodeProto, given: Mapping[str, AttributeProto]) -> Iterator[AttributeProto]:
    for attribute in inner.attribute:
        if not attribute.ref_attr_name:
            yield attribute
        elif attribute.ref_attr_name in given:
            made = AttributeProto()
            made.CopyFrom(given[attribute.ref_attr_name])
            made.name = attribute.name
            yield made
