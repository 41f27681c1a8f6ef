"""ONNX models as tensor programs."""

import onnx

from compiler.tensors import elementwise, layouts, products, reductions
from compiler.tensors.fuse import fuse
from compiler.tensors.lowering import OPERATORS, Lowering
from compiler.tensors.onnx_graph import prepare
from compiler.tensors.program import Program

#: Modules that register operators.
MODULES = (elementwise, layouts, products, reductions)


def lower(model: onnx.ModelProto, name: str, batch: int = 1) -> Program:
    """The tensor program of a model; see ``prepare``.

    Raises
    ------
    CompileError: as ``prepare``; an operator that is not supported, or not with these attributes
        or inputs, named with its node.
    """
    return fuse(Lowering(prepare(model, name, OPERATORS, batch)).run())
