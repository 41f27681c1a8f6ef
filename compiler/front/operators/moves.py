"""Operators that pad, repeat, cut and turn: elements change places, some are constants."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from compiler.errors import CompileError
from compiler.front.lowering import Lowering
from compiler.front.named import axis_of
from compiler.front.onnx_graph import Operator
from compiler.front.registry import operator
from compiler.ir.builder import MOST_ELEMENTS

#: Modes of Pad as numpy calls them.
PADDINGS = ("constant", "reflect", "edge", "wrap")


@operator("Pad")
def pad(low: Lowering, node: Operator) -> int:
    """Pad by constant numbers of elements before and after axes, with a constant (``constant``),
    the elements mirrored at the ends (``reflect``), those at the ends (``edge``), or the elements
    from the start again (``wrap``).

    Numbers below 0 take elements away, before others are added.  The value that is filled in may be
    computed.

    Raises
    ------
    CompileError: numbers that do not fit the axes or take away more than there is, an unknown
        ``mode``, a mode other than ``constant`` of an axis without elements.
    """
    x, program = low.tensor(node.inputs[0]), low.program
    shape, rank = program.shape(x), len(program.shape(x))
    pads = low.known(node, 1, "paddings" if node.version == 1 else "pads")
    given = low.axes(node, rank, 3) if len(node.inputs) > 3 else None
    axes = tuple(range(rank)) if given is None else given
    mode = node.attributes["mode"]
    if mode not in PADDINGS or (mode == "wrap" and node.version < 19):
        raise CompileError(f"mode {mode!r} of version {node.version} is unknown")
    if pads is None or pads.size != 2 * len(axes) or len(set(axes)) < len(axes):
        raise CompileError(f"pads must be 2 for each of {len(axes)} different axes")
    widths = np.zeros((rank, 2), np.int64)
    widths[list(axes)] = pads.reshape(2, len(axes)).T
    kept = tuple(slice(max(-b, 0), n - max(-e, 0)) for n, (b, e) in zip(shape, widths, strict=True))
    if any(k.stop < k.start for k in kept):
        raise CompileError(f"pads {widths.T.ravel().tolist()} take away more than {shape} has")
    more = np.maximum(widths, 0)
    left = [k.stop - k.start for k in kept]
    _limit([n + int(b) + int(e) for n, (b, e) in zip(left, more, strict=True)])
    if mode != "constant":
        if any(n == 0 and w.any() for n, w in zip(left, more, strict=True)):
            raise CompileError(f"mode {mode} of an axis without elements")
        return program.layout([x], lambda i: np.pad(i[kept], more, mode=mode))
    sources, fill = [x], 0.0
    if node.version < 11:
        fill = float(node.attributes["value"])
    elif len(node.inputs) > 2 and node.inputs[2]:
        value = low.tensor(node.inputs[2])
        constant = program.tensors[value].constant
        if program.tensors[value].size != 1:
            raise CompileError(f"its constant_value has the shape {program.shape(value)}, not ()")
        if constant is None:
            sources.append(value)
        else:
            fill = float(constant.ravel()[0])

    def padded(i: NDArray, *value: NDArray) -> NDArray:
        filler = int(value[0].ravel()[0]) if value else -1
        return np.pad(i[kept], more, constant_values=filler)

    return program.layout(sources, padded, fill)


def _limit(shape: Sequence[int]) -> None:
    """Raise ``CompileError`` for a shape of more elements than a tensor may have, before an index
    is made of it."""
    if int(np.prod([int(n) for n in shape], dtype=object)) > MOST_ELEMENTS:
        raise CompileError(f"its output {tuple(shape)} has more than {MOST_ELEMENTS} elements")


@operator("Tile")
def tile(low: Lowering, node: Operator) -> int:
    """Tile: the tensor repeated constant numbers of times along each axis.

    In version 1 ``tiles`` times along one ``axis``.  Raises ``CompileError`` for numbers that do
    not fit the axes.
    """
    x, counts = low.tensor(node.inputs[0]), low.known(node, 1)
    shape = low.program.shape(x)
    assert counts is not None
    repeats = [int(n) for n in counts.ravel()]
    if node.version == 1:
        axis = low.known(node, 2)
        assert axis is not None
        times, place = int(counts.ravel()[0]), axis_of(int(axis.ravel()[0]), len(shape))
        repeats = [times if a == place else 1 for a in range(len(shape))]
    if len(repeats) != len(shape) or min([0, *repeats]) < 0:
        raise CompileError(f"repeats {repeats} do not fit {len(shape)} axes")
    _limit([n * r for n, r in zip(shape, repeats, strict=True)])
    return low.program.layout([x], lambda i: np.tile(i, repeats))


@operator("DepthToSpace", "SpaceToDepth")
def depth_space(low: Lowering, node: Operator) -> int:
    """DepthToSpace and SpaceToDepth: channels (n, c, h, w) become blocks of ``blocksize`` by as
    many, and back; ``mode`` DCR has the places in a block first among the channels, CRD last.

    Raises ``CompileError`` for another ``mode``, or sizes that are no whole blocks.
    """
    x, block = low.tensor(node.inputs[0]), int(node.attributes["blocksize"])
    mode, shape = node.attributes.get("mode", "DCR"), low.program.shape(x)
    if mode not in ("DCR", "CRD"):
        raise CompileError(f"mode must be DCR or CRD, not {mode!r}")
    if len(shape) != 4 or block < 1:
        raise CompileError(f"blocks of {block} by {block} of a tensor of shape {shape}")
    n, c, h, w = shape
    spread = node.op == "DepthToSpace"
    if c % block**2 if spread else h % block or w % block:
        raise CompileError(f"a shape of {shape} has no whole blocks of {block} by {block}")
    if spread:
        depth = c // block**2
        parts = (block, block, depth) if mode == "DCR" else (depth, block, block)
        order = (0, 3, 4, 1, 5, 2) if mode == "DCR" else (0, 1, 4, 2, 5, 3)
        return low.program.layout(
            [x],
            lambda i: (
                i.reshape(n, *parts, h, w).transpose(order).reshape(n, depth, h * block, w * block)
            ),
        )
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return low.program.layout(
        [x],
        lambda i: (
            i.reshape(n, c, h // block, block, w // block, block)
            .transpose(order)
            .reshape(n, c * block**2, h // block, w // block)
        ),
    )


@operator("Trilu")
def trilu(low: Lowering, node: Operator) -> int:
    """Trilu: the upper or lower triangle of matrices, from the diagonal ``k`` on, which must be
    constant; the rest is 0.

    Raises ``CompileError`` for a tensor of fewer than 2 dimensions.
    """
    x, k = low.tensor(node.inputs[0]), low.known(node, 1)
    if len(low.program.shape(x)) < 2:
        raise CompileError(f"a shape of {low.program.shape(x)} is no matrix")
    # A diagonal beyond the matrix is as the one next to it.
    most = max(low.program.shape(x)[-2:]) + 1
    diagonal = 0 if k is None else int(np.clip(int(k.ravel()[0]), -most, most))
    kept = (np.triu if node.attributes["upper"] else np.tril)(
        np.ones(low.program.shape(x)[-2:], bool), diagonal
    )
    return low.program.layout([x], lambda i: np.where(kept, i, -1))


@operator("ReverseSequence")
def reverse_sequence(low: Lowering, node: Operator) -> int:
    """ReverseSequence: of each entry of ``batch_axis`` the first elements along ``time_axis``
    backwards, constant numbers of them.

    Raises ``CompileError`` for axes other than 0 and 1, or lengths that do not fit them.
    """
    x, lengths = low.tensor(node.inputs[0]), low.known(node, 1)
    time, batch = (int(node.attributes[f"{name}_axis"]) for name in ("time", "batch"))
    shape = low.program.shape(x)
    assert lengths is not None
    if {time, batch} != {0, 1} or len(shape) < 2:
        raise CompileError(f"time_axis {time} and batch_axis {batch} must be 0 and 1")
    if lengths.shape != (shape[batch],) or ((lengths < 0) | (lengths > shape[time])).any():
        raise CompileError(
            f"lengths {lengths.tolist()} do not fit {shape[batch]} sequences of {shape[time]}"
        )

    def turned(i: NDArray) -> NDArray:
        moved = i.swapaxes(0, 1) if time else i
        return turn(moved, lengths).swapaxes(0, 1) if time else turn(moved, lengths)

    return low.program.layout([x], turned)


def turn(i: NDArray, lengths: NDArray) -> NDArray:
    """Sequences (time, batch, ...) of which the first ``lengths`` (batch,) elements are turned."""
    at = np.arange(i.shape[0])[:, None]
    return i[np.where(at < lengths, lengths - 1 - at, at), np.arange(i.shape[1])]
