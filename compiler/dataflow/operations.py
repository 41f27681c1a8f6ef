"""Operations of kernels: dataflow graphs whose operations are those of the array, with values.

An operation is named like its ``Op``, in small letters.  ``in`` takes a word of a stream from the
north edge, ``out`` emits one over the south edge.  A word that is missing (of an iteration before
the first one) makes results missing, but for ``merge``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compiler.dataflow.graph import CONSTANT, Dataflow, Node
from compiler.dataflow.legalise import PASS
from compiler.errors import CompileError
from compiler.place import Tile
from pal_units import model
from pal_units.formats import PAL16
from spu.arch import timing
from spu.arch.config import VECTOR_MODE
from spu.arch.context import ALU_OPS, READS_B, READS_C, SUM_OPS, VECTOR_OPS, Op, Source
from spu.arch.params import Architecture

IN, OUT = "in", "out"
#: Bound of the offset of a vector mode.
MOST_OFFSET = 1 << VECTOR_MODE["offset"].width - 1
#: Logarithm of a result in terms of those of its operands, in halves.
LOGARITHMS = {Op.MUL: (2, 2), Op.DIV: (2, -2), Op.SQRT: (1,), Op.RSQRT: (-1,), Op.RECIP: (-2,)}


@dataclass(frozen=True)
class Operation:
    """``op`` of as many ``operands``; its result is at ``source`` after ``latency`` cycles."""

    op: Op
    source: Source
    latency: int
    operands: int


def _operations() -> dict[str, Operation]:
    units = [(VECTOR_OPS, Source.VECTOR, timing.VECTOR), (SUM_OPS, Source.SUM, timing.SUM),
             (ALU_OPS, Source.ALU, timing.ALU)]
    found = {op.name.lower(): Operation(op, source, latency, 1 + (
        op in READS_B or op is Op.MERGE) + (op in READS_C))
        for ops, source, latency in units for op in ops if op not in (Op.ACC, Op.UNBLOCK)}
    passing = found[PASS]
    return found | {IN: Operation(passing.op, passing.source, passing.latency, 0), OUT: passing}


#: By name.  Sums over time and codes of blocks take registers that a graph does not describe.
OPERATIONS = _operations()


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
            raise CompileError(f"{node} has a result of another tensor bias than its operands, "
                               "unless that is 0")
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
    return out | {op: frozenset(t for t in arch.tiles if t[0] == row)
                  for op, row in edges.items()}


def vector_mode(op: Op, operands: Sequence[int], result: int) -> dict[str, int] | None:
    """The vector mode of an operation whose operands and result have these tensor biases.

    None if it has no use for a mode.  Sums have the bias of their first operand.  Raises
    ``CompileError`` for biases too far from each other.
    """
    if op in (Op.EXP2, Op.LOG2):
        return {"offset": result, "bias": operands[0]}
    if op in LOGARITHMS:
        # The top of the result below that of the operands, in 1/16 octave.
        terms = zip(LOGARITHMS[op], operands, strict=True)
        offset = sum(factor * bias for factor, bias in terms) - 2 * result
    elif op in SUM_OPS:
        offset = 2 * (operands[0] - operands[1]) if len(operands) > 1 else 0
    else:
        return None
    if not -MOST_OFFSET <= offset < MOST_OFFSET:
        raise CompileError(f"{op.name.lower()}: magnitudes of operands and result are "
                           f"{abs(offset) / 16:g} octaves apart, more than {MOST_OFFSET // 16}")
    return {"offset": offset, "bias": 0}


def mode_of(graph: Dataflow, n: int) -> dict[str, int] | None:
    """The vector mode of an operation of a kernel."""
    return vector_mode(OPERATIONS[graph.nodes[n].op].op,
                       [graph.bias_of(e.src) for e in graph.operands[n]], graph.bias_of(n))


def constant_codes(values: NDArray | float, bias: int) -> NDArray[np.uint16]:
    """PAL16 codes of constants: nearest, but none other than zero becomes zero."""
    codes = model.encode16(values, bias)
    least = np.where(np.asarray(values) < 0, PAL16.sign_bit | 1, 1)
    return np.where((codes == 0) & (np.asarray(values) != 0), least, codes).astype(np.uint16)


def constant_data(node: Node, arch: Architecture, bias: int) -> int:
    """Data of a constant: its value in every lane, PAL16 of a tensor bias or int32."""
    assert node.value is not None
    kind, value = node.value
    code, bits, lanes = (int(constant_codes(value, bias)), 16, arch.lanes16) if kind == "pal" else \
        (int(value) & 0xFFFF_FFFF, 32, arch.lanes32)
    return sum(code << bits * lane for lane in range(lanes))
