"""JSON schema of dataflow graphs (draft 2020-12): ``docs/dataflow.schema.json``.

What it cannot say, ``graph.from_json`` checks: that ids are different, that edges lead from node
to node, that no cycle lacks a distance.
"""

from compiler.ir.dataflow import KINDS, MOST_BIAS, MOST_DISTANCE, MOST_ID


def schema() -> dict:
    """The schema."""
    number = {"type": "integer", "minimum": 0, "maximum": MOST_ID}
    name = {"type": "string", "minLength": 1}
    top = 2.0 ** (MOST_BIAS / 8)
    node = {
        "type": "object",
        "required": ["id"],
        "anyOf": [{"required": ["op"]}, {"required": ["op_norm"]}],
        "properties": {
            "id": number,
            "op": name,
            "op_norm": name | {"description": "comes before op"},
            "pal": {
                "type": "number",
                "minimum": -top,
                "maximum": top,
                "description": "value of a constant of a kernel, in every PAL16 lane; its "
                "magnitude is at most 2^(bias/8)",
            },
            "int": {
                "type": "integer",
                "minimum": -(1 << 31),
                "maximum": (1 << 32) - 1,
                "description": "value of a constant of a kernel, in every int32 lane",
            },
        },
    }
    edge = {
        "type": "object",
        "required": ["src", "dst"],
        "properties": {
            "src": number,
            "dst": number,
            "operand": {
                "type": "integer",
                "description": "place among the operands of dst; equal ones are in file order",
            },
            "distance": {
                "type": "integer",
                "minimum": 0,
                "maximum": MOST_DISTANCE,
                "default": 0,
                "description": "dst takes the word of so many iterations before",
            },
            "kind": {
                "enum": list(KINDS),
                "default": "data",
                "description": "order carries no word",
            },
        },
    }
    declared = {
        "type": "object",
        "required": ["memory"],
        "properties": {"memory": {"type": "boolean"}},
    }
    declares = {
        "anyOf": [{"type": "boolean"}, {"const": {}}, {"type": "object", "required": ["memory"]}]
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Dataflow graph",
        "type": "object",
        "required": ["nodes", "edges"],
        "properties": {
            "name": {"description": "any text"},
            "bias": {
                "type": "integer",
                "minimum": -MOST_BIAS,
                "maximum": MOST_BIAS,
                "default": 0,
                "description": "tensor bias of the PAL words of a kernel, in 1/8 octave",
            },
            "operations": {
                "description": "operations by name; memory: they need a tile with a data memory, "
                "whatever the name. What declares no operation means nothing",
                "anyOf": [
                    {"type": "object", "additionalProperties": declared},
                    {"additionalProperties": {"not": declares}},
                ],
            },
            "nodes": {"type": "array", "minItems": 1, "items": node},
            "edges": {"type": "array", "items": edge},
        },
    }
