"""Inputs of a model that are given numbers: they are constants from then on."""

import math
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from compiler.errors import CompileError
from compiler.front.onnx_graph import WrongDimension
from compiler.ir.builder import MOST_ELEMENTS


def fixed(model: onnx.ModelProto, numbers: Mapping[str, float]) -> onnx.ModelProto:
    """A model in which these inputs have these numbers, all elements of an input the same.

    An input without a shape, or of open dimensions, is one number.

    Raises ``WrongDimension`` for names that no input has, and for numbers that its type does not
    hold: integers exactly, floats within their range; ``CompileError`` for an input that is no
    tensor.
    """
    if not numbers:
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    known = {t.name for t in made.graph.initializer}
    inputs = {v.name: v for v in made.graph.input if v.name not in known}
    for name, number in numbers.items():
        if name not in inputs:
            raise WrongDimension(
                f"no input is called {name!r}; inputs are {', '.join(sorted(inputs)) or 'none'}"
            )
        kind = inputs[name].type
        if not kind.HasField("tensor_type"):
            raise CompileError(f"input {name!r} is no tensor")
        dims = kind.tensor_type.shape.dim
        shape = [d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else 1 for d in dims]
        dtype = helper.tensor_dtype_to_np_dtype(kind.tensor_type.elem_type)
        if dtype.kind in "OSU":
            raise WrongDimension(f"input {name!r} is of strings, not of numbers")
        with np.errstate(all="ignore"):
            value = np.array(number).astype(dtype)
        if not np.isfinite(float(value)) or (dtype.kind in "iub" and float(value) != number):
            raise WrongDimension(f"input {name!r} is of {dtype}, which does not hold {number:g}")
        if math.prod(shape) > MOST_ELEMENTS:
            raise WrongDimension(f"input {name!r} has more than {MOST_ELEMENTS} elements")
        if made.ir_version >= 4:  # before, constants had to be inputs as well
            made.graph.input.remove(inputs[name])
        made.graph.initializer.append(numpy_helper.from_array(np.full(shape, value), name))
    return made
