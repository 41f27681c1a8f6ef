"""Operators and functions of a model that are made of other operators: their bodies."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import onnx
from onnx import AttributeProto, FunctionProto, NodeProto, TypeProto

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
        made = NodeProto()
        made.CopyFrom(inner)
        del made.input[:], made.output[:], made.attribute[:]
        for name in (*inner.input, *inner.output):
            if name not in names:
                names[name] = fresh(name)
        made.input.extend(names[i] for i in inner.input)
        made.output.extend(names[o] for o in inner.output)
        made.attribute.extend(_attributes(inner, given))
        yield made


def _attributes(inner: NodeProto, given: Mapping[str, AttributeProto]) -> Iterator[AttributeProto]:
    for attribute in inner.attribute:
        if not attribute.ref_attr_name:
            yield attribute
        elif attribute.ref_attr_name in given:
            made = AttributeProto()
            made.CopyFrom(given[attribute.ref_attr_name])
            made.name = attribute.name
            yield made
