"""Tensors of a model by name, while it is lowered: their types, and which are constant."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, TypeProto, helper, numpy_helper

from compiler.errors import CompileError
from compiler.front.honoured import FLOATS
from compiler.front.onnx_graph import Operator, line_of
from compiler.ir.builder import Builder
from spu.arch.package.host_operations import INTEGERS, REAL


class Named:
    """Tensors made so far.

    ``constants`` are those of the model and what was computed of them; ``types`` are of all
    tensors whose type is known.
    """

    def __init__(self, name: str) -> None:
        self.program = Builder(name)
        self.tensors: dict[str, int] = {}
        self.constants: dict[str, NDArray] = {}
        self.types: dict[str, TypeProto] = {}
        #: Tensors of real numbers that the model has as integers.
        self.quantised: dict[str, Any] = {}
        #: Labels of the nodes that make tensors.
        self.makers: dict[str, str] = {}

    def tensor(self, name: str) -> int:
        """A tensor by name; ``CompileError`` if there is none, or it holds NaN or no numbers."""
        if name not in self.tensors:
            if name not in self.constants:
                raise CompileError(f"there is no tensor {name!r}")
            values = self.constants[name]
            kind = self.types[name].tensor_type.elem_type
            if kind not in FLOATS and values.dtype.kind not in "iub":
                raise CompileError(f"{name!r} holds {values.dtype}, not numbers")
            if host_type(kind) == REAL:
                values = values.astype(np.float64)
            if np.isnan(values).any():
                raise CompileError(f"constant {name!r} holds {int(np.isnan(values).sum())} NaN")
            self.tensors[name] = self.program.constant(values)
        return self.tensors[name]

    def inputs(self, node: Operator) -> list[int]:
        """All tensors that a node is given."""
        return [self.tensor(i) for i in node.inputs if i]

    def known(self, node: Operator, place: int, attribute: str = "") -> NDArray | None:
        """Values of a constant input, else ``CompileError``, or of an attribute of old versions."""
        if place < len(node.inputs) and node.inputs[place]:
            name = node.inputs[place]
            if name in self.constants:
                return self.constants[name]
            values = self.program.tensors[self.tensor(name)].constant
            if values is None:
                raise CompileError(f"input {name!r} must be constant")
            return values
        value = node.attributes.get(attribute)
        return None if value is None else np.asarray(value)

    def axes(self, node: Operator, rank: int, place: int = 1) -> tuple[int, ...] | None:
        """Axes from an input, or from an attribute of older versions."""
        axes = self.known(node, place, "axes")
        return None if axes is None else tuple(axis_of(int(a), rank) for a in np.ravel(axes))

    def _constant(self, name: str, values: NDArray) -> None:
        self.constants[name] = values
        self.types[name] = helper.make_tensor_type_proto(
            helper.np_dtype_to_tensor_dtype(values.dtype), values.shape
        )

    def round(self, name: str) -> None:
        """Let a quantised tensor be integers of the host, which the node that made it makes."""
        own, program, tensor = self.quantised.pop(name), self.program, self.tensors[name]
        now, program.current = program.current, self.makers[name]
        self.tensors[name] = own.rounded(program, tensor)
        program.current = now
        if tensor in program.results:
            program.results.add(self.tensors[name])

    def _alike(self, names: Sequence[str]) -> None:
        """Let truth values that a node takes be of the host, if it takes anything of the host but
        truth values, and else of the array, if it takes any of these."""
        tensors, program = self.tensors, self.program
        truths = [n for n in names if self.types[n].tensor_type.elem_type == TensorProto.BOOL]
        of_array = [n for n in truths if program.is_real(tensors[n])]
        if any(not program.is_real(tensors[n]) for n in set(names) - set(truths)):
            for name in of_array:
                tensors[name] = program.on_host("truth", tensors[name])
        elif of_array:
            for name in set(truths) - set(of_array):
                tensors[name] = program.on_host("real", tensors[name])

    def _typed(self, name: str, what: str, truths: bool = True) -> None:
        """Raise ``CompileError`` for a tensor of a type that is not computed: of real numbers
        floats are, and truth values (the numbers 0 and 1) where an operator takes such."""
        if name in self.quantised:
            return
        number = self.types[name].tensor_type.elem_type
        dtype = self.program.tensors[self.tensors[name]].dtype
        real = number in FLOATS or (truths and number == TensorProto.BOOL)
        if not (real if dtype == REAL else host_type(number) == dtype):
            raise CompileError(
                f"{what} of {TensorProto.DataType.Name(number)}; computed are floats of 16 bits "
                "and more, integers of 8 bits and more, and truth values"
            )


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the first; ``CompileError`` if there is none."""
    if not -rank <= axis < rank:
        raise CompileError(f"axis {axis} of a tensor of {rank} dimensions")
    return axis % rank


def host_type(number: int) -> str:
    """The numpy type of tensors of an ONNX type that the host computes, ``REAL`` of all others."""
    if not number or number in FLOATS:
        return REAL
    name = helper.tensor_dtype_to_np_dtype(number).name
    return name if name in INTEGERS else REAL


def shape_of(kind: TypeProto) -> tuple[int, ...] | None:
    """The shape of a tensor's type, if all of it is known."""
    if not kind.tensor_type.HasField("shape"):
        return None
    dims: Sequence = kind.tensor_type.shape.dim
    return tuple(d.dim_value for d in dims) if all(d.HasField("dim_value") for d in dims) else None


def array_of(name: str, tensor: TensorProto) -> NDArray:
    """Values of a constant of the model; ``CompileError`` for a tensor that is none."""
    try:
        return numpy_helper.to_array(tensor)
    except Exception as error:  # sizes that do not fit, types that numpy lacks
        raise CompileError(f"constant {name!r}: {line_of(error)}") from None
