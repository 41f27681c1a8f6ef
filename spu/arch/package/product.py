"""Matrix products: what words a planned one takes and gives, and its program with weights.

``y = x W`` with ``x`` (rows, depth) and ``W`` (depth, outputs); the plan is made by
``compiler/map/product/gemm.py``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pal_units.formats import Format
from spu.arch.bitstream import Image
from spu.arch.blocks import encode_blocks
from spu.arch.config import OFFSET_BITS, Guard, Space, TileRegister
from spu.arch.errors import UserError
from spu.arch.params import ALWAYS, BLOCK, EXISTS, PROGRAMMABLE, Architecture
from spu.arch.program import Tile, Timing, write_generator
from spu.arch.weights import packed_rows, weights_of

#: Number of the predicate that holds at the end of the depth.
LAST_STEP = PROGRAMMABLE
#: The greatest ratio of results to operands that a matrix mode takes: beyond, they are zero.
MOST_OFFSET = (1 << OFFSET_BITS - 1) - 1


@dataclass(frozen=True)
class Share:
    """A tile of a stream's tree: hops from the entry, and the first output that it computes."""

    tile: Tile
    hops: int
    group: int


@dataclass
class Gemm:
    """A mapped product of ``x`` in the format ``fmt``, weights in ``weights``.

    ``streams[s]`` are the entry column and the tiles of stream ``s``; rows ``s``,
    ``s + len(streams)``, ... of ``x`` are its.  ``results[column]`` lists (time, stream,
    group, word) of the words of an output stream, in cycles from the iteration that ends
    their row.  ``passes``: how often all rows stream past, each time other outputs.
    """

    arch: Architecture
    fmt: Format
    weights: Format
    rows: int
    depth: int
    outputs: int
    ii: int
    steps: int
    passes: int
    streams: list[tuple[int, list[Share]]] = field(default_factory=list)
    results: dict[int, list[tuple[int, int, int, int]]] = field(default_factory=dict)
    image: Image | None = None

    @property
    def rounds(self) -> int:
        """Rounds of the outermost loop: rows of a stream, in every pass."""
        return -(-self.rows // len(self.streams)) * self.passes

    @property
    def span(self) -> int:
        """Cycles of an iteration from its first slot to its last emitted word."""
        return 1 + max(time for words in self.results.values() for time, *_ in words)

    @property
    def timing(self) -> Timing:
        """II, span, and the loop along the depth."""
        return Timing(self.ii, self.span, (self.steps,) if self.steps > 1 else ())

    @property
    def cycles(self) -> int:
        """Executed cycles without holds."""
        return self.timing.cycles(self.rounds)

    @property
    def weight_shape(self) -> tuple[int, int]:
        """Outputs and depth, both filled up to what the tiles take."""
        outputs = self.passes * len(self.streams[0][1]) * self.arch.columns
        return outputs, self.ii * self.steps * self.arch.lanes

    @property
    def macs(self) -> int:
        """Multiply-accumulates that the product asks for."""
        return self.rows * self.depth * self.outputs


def matrix_mode(arch: Architecture, offset: int, fmt: Format, weights: Format) -> dict[str, int]:
    """Fields of ``config.matrix_mode``; ``ValueError`` for a format that the array lacks."""
    mode = {"offset": offset, "x_format": arch.format_number(fmt)}
    return mode if arch.decoded_weights else mode | {"w_format": arch.format_number(weights)}


def product_rows(plan: Gemm, codes: NDArray, biases: NDArray) -> dict[tuple[Tile, int], int]:
    """Packed weight rows by tile and address; ``codes`` and ``biases`` as for ``with_weights``."""
    arch, slices = plan.arch, plan.ii * plan.steps
    # Slices of groups of columns: [group, slice, column].
    shape = (-1, arch.columns, slices)
    lanes = codes.reshape(*shape, arch.lanes).swapaxes(1, 2)
    blocks = np.repeat(biases, BLOCK // arch.lanes, axis=1).reshape(shape).swapaxes(1, 2)
    weights, packed = weights_of(lanes, blocks, plan.weights, arch)
    rows = packed_rows(
        weights.reshape(-1, arch.columns, arch.lanes), packed.reshape(-1, arch.columns), arch
    )
    per_pass = len(plan.streams[0][1])
    return {
        (share.tile, p * slices + s): rows[(p * per_pass + share.group) * slices + s]
        for _, members in plan.streams
        for share in members
        for p in range(plan.passes)
        for s in range(slices)
    }


def with_weights(plan: Gemm, codes: NDArray, beta: NDArray, offset: int) -> Gemm:
    """The product with weights in blocks.

    ``codes`` of ``plan.weights`` have shape ``plan.weight_shape``, their biases, or bytes,
    ``beta`` (outputs, blocks); ``offset`` is the tensor bias of the result less those of ``x`` and
    of the weights, in 1/8 octave.  Raises ``UserError`` for one that no matrix mode holds.
    """
    assert plan.image is not None
    plan = replace(plan, image=plan.image.copy())
    arch, image = plan.arch, plan.image
    assert image is not None
    slices, limit = plan.ii * plan.steps, 1 << OFFSET_BITS - 1
    if not -limit <= offset < limit:
        raise UserError(
            f"the ratio of results to operands is 2^({offset}/8), outside 2^(+-{limit // 8})"
        )
    mode = matrix_mode(arch, offset, plan.fmt, plan.weights)
    for (tile, row), bits in product_rows(plan, codes, beta).items():
        image.write_bits(Space.WEIGHT, tile, row, bits)
    for _, members in plan.streams:
        for share in members:
            stage, slot = divmod(share.hops, plan.ii)
            guard = {"stage": stage, "slot": slot}
            write_generator(
                image,
                share.tile,
                TileRegister.WEIGHT,
                {"guard": guard | {"predicate": EXISTS}},
                [(slices, 1), (plan.rounds // plan.passes, 0), (plan.passes, slices)],
            )
            image.write(Space.REGISTER, share.tile, TileRegister.MODE, mode)
            for name, predicate in ((Guard.BLOCK, ALWAYS), (Guard.LAST, LAST_STEP)):
                image.write(
                    Space.REGISTER,
                    share.tile,
                    TileRegister.GUARD + name.value,
                    guard | {"predicate": predicate},
                )
    return plan


def emitted(plan: Gemm, column: int) -> Iterator[tuple[int, int, int]]:
    """(row, first output, word) of each word of an output stream, in order.

    Rows beyond those of ``x`` are padding.
    """
    period, per_pass = plan.ii * plan.steps, len(plan.streams[0][1])
    rows = plan.rounds // plan.passes
    events = sorted(
        (r * period + time, r, stream, group, word)
        for r in range(plan.rounds)
        for time, stream, group, word in plan.results.get(column, [])
    )
    for _, r, stream, group, word in events:
        p, index = divmod(r, rows)
        yield (
            index * len(plan.streams) + stream,
            (p * per_pass + group) * plan.arch.columns + word * plan.arch.drain_lanes,
            word,
        )


def weight_blocks(values: NDArray, fmt: Format) -> tuple[NDArray, NDArray, int]:
    """Constant weights (depth, outputs) as blocks along the depth: codes, biases, tensor bias.

    Raises ``ValueError`` for NaN in a format without.
    """
    padded = np.pad(values.T, ((0, 0), (0, -values.shape[0] % BLOCK)))
    return encode_blocks(padded, fmt)
