"""ONNX models as tensor programs."""

from collections.abc import Mapping
from difflib import get_close_matches

import onnx

from compiler.errors import Refusal, Refused
from compiler.front.lowering import UNSUPPORTED, Lowering
from compiler.front.onnx_graph import Graph, prepare
from compiler.front.operators import (
    activations,
    attention,
    einsum,
    elementwise,
    integers,
    layouts,
    logic,
    moves,
    normalisations,
    periods,
    picks,
    pools,
    products,
    quantised,
    recurrent,
    reductions,
    resampling,
    scans,
    transposed,
)
from compiler.front.registry import OPERATORS
from compiler.passes.fuse import fuse
from spu.arch.package.program import Program

#: Modules that register operators.
MODULES = (
    activations,
    attention,
    einsum,
    elementwise,
    integers,
    layouts,
    logic,
    moves,
    normalisations,
    periods,
    picks,
    pools,
    products,
    quantised,
    recurrent,
    reductions,
    resampling,
    scans,
    transposed,
)


def lower(
    model: onnx.ModelProto,
    name: str,
    batch: int | None = None,
    dims: Mapping[str, int] | None = None,
) -> Program:
    """The tensor program of a model; see ``prepare``.

    Raises
    ------
    CompileError: as ``prepare``; ``Refused`` with every operator that is not supported, or not
        with these attributes or inputs, named with its node.
    """
    program, refused = lower_all(prepare(model, name, batch, dims))
    if refused:
        unsupported = refused[0].rule.endswith(UNSUPPORTED)
        raise Refused(refused, _alternatives(refused[0].operator) if unsupported else "")
    return program


def _alternatives(name: str) -> str:
    """Operators that are supported, of names like that of one that is not."""
    found = get_close_matches(name, sorted(OPERATORS), n=3)
    alike = f"{', '.join(found)} {'are' if len(found) > 1 else 'is'}; " if found else ""
    return f"; {alike}docs/operators.md has all that are"


def lower_all(graph: Graph) -> tuple[Program, list[Refusal]]:
    """A tensor program in which unknown values stand for what is refused, and what that is."""
    lowering = Lowering(graph)
    lowering.run()
    return fuse(lowering.program), lowering.refusals
