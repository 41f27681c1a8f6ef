"""Lowering of ONNX graphs: what operators have in common, and which there are."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from compiler.errors import CompileError
from compiler.tensors.onnx_graph import Graph, Operator
from compiler.tensors.program import Program

Handler = Callable[["Lowering", Operator], int | list[int]]
#: What makes the outputs of a node, by operator.
OPERATORS: dict[str, Handler] = {}


def operator(*names: str) -> Callable[[Handler], Handler]:
    """A function that lowers these operators."""
    def register(handler: Handler) -> Handler:
        OPERATORS.update(dict.fromkeys(names, handler))
        return handler
    return register


class Lowering:
    """Nodes in order, with the tensors made so far."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.program = Program(graph.name)
        self.tensors: dict[str, int] = {}

    def run(self) -> Program:
        """The program; raises ``CompileError`` that names the node."""
        program, graph = self.program, self.graph
        for name, shape in graph.inputs.items():
            self.tensors[name] = program.inputs[name] = program.tensor(shape)
        for node in graph.operators:
            handler = OPERATORS.get(node.op)
            if handler is None:
                raise CompileError(f"{node.label}: operator is not supported; supported are "
                                   f"{', '.join(sorted(OPERATORS))}")
            try:
                made = handler(self, node)
            except CompileError as error:
                raise CompileError(f"{node.label}: {error}" if node.label not in str(error)
                                   else str(error)) from None
            except (ValueError, IndexError, KeyError, TypeError, ZeroDivisionError,
                    OverflowError, MemoryError) as error:
                raise CompileError(f"{node.label}: {error or type(error).__name__}") from None
            made = made if isinstance(made, list) else [made]
            if any(node.outputs[len(made):]):
                raise CompileError(f"{node.label}: has only {len(made)} of its outputs here")
            self.tensors.update({o: t for o, t in zip(node.outputs, made, strict=False) if o})
        for name in graph.outputs:
            program.outputs[name] = self.tensor(name)
        if not program.outputs:
            raise CompileError(f"{graph.name}: the graph has no outputs")
        return program

    def tensor(self, name: str) -> int:
        """A tensor by name."""
        if name not in self.tensors:
            if name not in self.graph.constants:
                raise CompileError(f"there is no tensor {name!r}")
            values = self.graph.constants[name]
            if values.dtype.kind not in "fiub":
                raise CompileError(f"{name!r} holds {values.dtype}, not numbers")
            self.tensors[name] = self.program.constant(values)
        return self.tensors[name]

    def inputs(self, node: Operator) -> list[int]:
        """All tensors that a node is given."""
        return [self.tensor(i) for i in node.inputs if i]

    def known(self, node: Operator, place: int, attribute: str = "") -> NDArray | None:
        """The values of an input that must be constant, or of an attribute of older versions."""
        if place < len(node.inputs) and node.inputs[place]:
            name = node.inputs[place]
            if name not in self.graph.constants:
                raise CompileError(f"{node.label}: input {name!r} must be constant")
            return self.graph.constants[name]
        value = node.attributes.get(attribute)
        return None if value is None else np.asarray(value)

    def axes(self, node: Operator, rank: int, place: int = 1) -> tuple[int, ...] | None:
        """Axes from an input, or from an attribute of older versions."""
        axes = self.known(node, place, "axes")
        return None if axes is None else tuple(axis_of(int(a), rank) for a in np.ravel(axes))


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the first; ``CompileError`` if there is none."""
    if not -rank <= axis < rank:
        raise CompileError(f"axis {axis} of a tensor of {rank} dimensions")
    return axis % rank
