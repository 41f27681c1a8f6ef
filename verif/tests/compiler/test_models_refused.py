"""Models and files that are not taken, in a line."""

import numpy as np
import pytest
from onnx import TensorProto

from compiler.errors import CompileError
from compiler.front.lower import lower
from compiler.ir.builder import MOST_ELEMENTS
from compiler.map.steps import compile_program
from spu.arch.params import CONFIGS, Architecture
from verif.fuzz_onnx import fuzz
from verif.tests.onnx_models import create

BASIC = CONFIGS["basic"]


def _model(nodes, inputs, opset=18, outputs=("y",), **constants):
    """As ``create``, of (operator, inputs, output, attributes)."""
    made = [(op, given, [out], attributes) for op, given, out, attributes in nodes]
    return create(made, inputs, constants, opset, outputs)


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        (
            [("Det", ["x"], "y", {})],
            {},
            r"Det node 'y': operator is not supported; docs/operators.md has all that are$",
        ),
        (
            [("MaxUnpool", ["x", "i"], "y", {"kernel_shape": [1]})],
            {"i": np.array([0])},
            "operator is not supported; MaxPool is; docs/operators.md has all that are",
        ),
        ([("Reshape", ["x", "x"], "y", {})], {}, "not a valid ONNX model"),
        ([("Transpose", ["x"], "y", {"perm": [0, 0]})], {}, "repeated axis|not a valid ONNX model"),
        ([("Gather", ["x", "i"], "y", {})], {"i": np.array([9])}, "index 9 of an axis"),
        ([("Conv", ["x", "w"], "y", {})], {"w": np.ones((1, 9, 1), np.float32)}, "do not fit"),
        (
            [
                ("Cast", ["x"], "i", {"to": TensorProto.INT8}),
                ("Cast", ["i"], "y", {"to": TensorProto.FLOAT}),
            ],
            {},
            "casts to INT8",
        ),
        ([("Exp", ["x"], "y", {"nothing": 3})], {}, "Unrecognized attribute"),
    ],
)
def test_models_that_are_not_taken(nodes, constants, message):
    with pytest.raises(CompileError, match=message):
        lower(_model(nodes, {"x": [2, 3, 4]}, **constants), "model")


@pytest.mark.parametrize(
    ("shape", "message"),
    [([1 << 20, 1 << 20], f"more than {MOST_ELEMENTS}"), ([-2, 3], "a dimension of -2")],
)
def test_tensors_that_are_too_large_are_refused(shape, message):
    with pytest.raises(CompileError, match=message):
        lower(_model([("Exp", ["x"], "y", {})], {"x": shape}), "model")


def test_arrays_that_lack_units_are_refused():
    product = lower(_model([("MatMul", ["x", "x"], "y", {})], {"x": [4, 4]}), "square")
    for pattern, message in (
        (("vv", "vv"), "no tile with a matrix unit"),
        (("mm", "MM"), "no memory tile in its top row"),
    ):
        arch = Architecture("odd", pattern, 8, 8, 16, 64, 64)
        with pytest.raises(CompileError, match=message):
            compile_program(product, arch)
    two = Architecture("two", ("MM",), 8, 8, 16, 64, 64, regions=("01",))
    with pytest.raises(CompileError, match="has 2 regions"):
        compile_program(product, two)


def test_broken_files_are_refused_in_a_line():
    found = fuzz(1000)
    assert found["refused"] > 500
    assert found["a program"] > 50
