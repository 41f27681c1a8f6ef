"""Small ONNX models, what they should compute, and what is refused of them."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, shape_inference

from compiler.errors import CompileError, Refused
from compiler.front.lower import lower
from spu.arch.package.values import real_values

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
#: Values of a tensor that many models take.
X = np.random.default_rng(5).uniform(0.5, 2, (2, 3, 2, 2))


def create(nodes, inputs, constants=None, opset=18, outputs=("y",), functions=(), domains=()):
    """A model of (operator, inputs, outputs, attributes); inputs are shapes or (type, shape)."""
    made = [
        helper.make_node(op, list(given), list(out), **attributes)
        for op, given, out, attributes in nodes
    ]
    kinds = {
        n: s if isinstance(s, tuple) and isinstance(s[1], list) else (FLOAT, s)
        for n, s in inputs.items()
    }
    graph = helper.make_graph(
        made,
        "model",
        [helper.make_tensor_value_info(n, *k) for n, k in kinds.items()],
        [helper.make_value_info(n, helper.make_tensor_type_proto(FLOAT, None)) for n in outputs],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()],
    )
    model = shape_inference.infer_shapes(
        helper.make_model(
            graph,
            functions=list(functions),
            ir_version=8,
            opset_imports=[
                helper.make_opsetid("", opset),
                *(helper.make_opsetid(d, 1) for d in domains),
            ],
        )
    )
    for output in model.graph.output:
        # The checker wants a shape; of what inference does not know, open dimensions.
        if not output.type.tensor_type.HasField("shape"):
            for place in range(len(next(iter(kinds.values()))[1])):
                output.type.tensor_type.shape.dim.add(dim_param=f"d{place}")
    return model


def of_node(op, opset, shapes, constants=None, outputs=("y",), **attributes):
    """A model of one node ``n`` whose inputs are those given, in order."""
    model = create(
        [(op, [*shapes, *(constants or {})], outputs, attributes)],
        shapes,
        constants,
        opset,
        outputs[:1],
    )
    model.graph.node[0].name = "n"
    return model


def results(model, **inputs):
    """What a model should compute, by its steps in float64."""
    program = lower(model, "model")
    found, _ = real_values(program, inputs)
    return found[program.outputs["y"]]


def faults(model):
    with pytest.raises(CompileError) as caught:
        lower(model, "model")
    assert isinstance(caught.value, Refused), caught.value
    return caught.value.refusals
