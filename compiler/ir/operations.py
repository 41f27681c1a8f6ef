"""Kernels: dataflow graphs whose operations are those of the array, with values.

A word that is missing (of an iteration before
the first one) makes results missing, but for ``merge``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from compiler.errors import CompileError
from compiler.ir.dataflow import Dataflow, Node
from spu.arch.context import SUM_OPS, VECTOR_OPS
from spu.arch.operations import CONSTANT, IN, OPERATIONS, OUT, constant_codes, vector_mode
from spu.arch.params import Architecture
from spu.arch.program import Tile


@dataclass(frozen=True)
class Function:
    """What an operation code stands for: ``op`` of the words at ports, in order of operands.

    There is no result without the words at the ports that it ``needs``: those of the same
    iteration.  Words from before the first iteration are missing, and may be.
    """

    op: str
    ports: tuple[str, ...]
    needs: tuple[str, ...]


def check_kernel(graph: Dataflow) -> None:
    """Raise ``CompileError`` for an operation that the array does not have, or that takes other
    words than it is given, and for a constant without value."""
    for n, node in graph.nodes.items():
        if node.op == CONSTANT:
            if node.value is None:
                raise CompileError(f"{node}: a constant of a kernel has a member pal or int")
            continue
        if node.op not in OPERATIONS:
            raise CompileError(f"{node}: unknown operation; known: {', '.join(OPERATIONS)}")
        if graph.bias and node.op == "fma":
            raise CompileError(
                f"{node} has a result of another tensor bias than its operands, unless that is 0"
            )
        given, wanted = len(graph.operands[n]), OPERATIONS[node.op].operands
        if given != wanted:
            raise CompileError(f"{node} takes {wanted} words, not {given}")
    for e in graph.words:
        if graph.nodes[e.src].op == OUT:
            raise CompileError(f"{graph.nodes[e.src]} emits its word, and has none for others")
    if not any(graph.nodes[n].op == OUT for n in graph.operations):
        raise CompileError(f"{graph.name} has no operation {OUT}: it does nothing")


def places(arch: Architecture) -> Mapping[str, frozenset[Tile]]:
    """Tiles that take operations, of those that not all take; see ``Grid``."""
    vector = frozenset(t for t in arch.tiles if arch.kind(*t).vector)
    out = {op.name.lower(): vector for op in (*VECTOR_OPS, *SUM_OPS)}
    edges = {IN: 0, OUT: arch.rows - 1}
    return out | {op: frozenset(t for t in arch.tiles if t[0] == row) for op, row in edges.items()}


def mode_of(graph: Dataflow, n: int) -> dict[str, int] | None:
    """The vector mode of an operation of a kernel; ``CompileError`` if there is none."""
    try:
        return vector_mode(
            OPERATIONS[graph.nodes[n].op].op,
            [graph.bias_of(e.src) for e in graph.operands[n]],
            graph.bias_of(n),
        )
    except ValueError as error:
        raise CompileError(str(error)) from None


def constant_data(node: Node, arch: Architecture, bias: int) -> int:
    """Data of a constant: its value in every lane, PAL16 of a tensor bias or int32."""
    assert node.value is not None
    kind, value = node.value
    code, bits, lanes = (
        (int(constant_codes(value, bias)), 16, arch.lanes16)
        if kind == "pal"
        else (int(value) & 0xFFFF_FFFF, 32, arch.lanes32)
    )
    return sum(code << bits * lane for lane in range(lanes))
