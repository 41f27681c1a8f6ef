"""Matrix products: what words a planned one takes and gives, and its program with weights.

``y = x W`` with ``x`` (rows, depth) and ``W`` (depth, outputs); the plan is made by
``compiler/map/product/gemm.py``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pal_units import model
from pal_units.formats import PAL8T, PAL8U, Format
from spu.arch.bitstream import Image
from spu.arch.config import OFFSET_BITS, Guard, Space, TileRegister
from spu.arch.errors import UserError
from spu.arch.params import ALWAYS, BLOCK, EXISTS, MATRIX_FORMATS, PROGRAMMABLE, Architecture
from spu.arch.program import Tile, Timing, write_generator

#: Number of the predicate that holds at the end of the depth.
LAST_STEP = PROGRAMMABLE


@dataclass(frozen=True)
class Share:
    """A tile of a stream's tree: hops from the entry, and the first output that it computes."""

    tile: Tile
    hops: int
    group: int


@dataclass
class Gemm:
    """A mapped product.

    ``streams[s]`` are the entry column and the tiles of stream ``s``; rows ``s``,
    ``s + len(streams)``, ... of ``x`` are its.  ``results[column]`` lists (time, stream,
    group, word) of the words of an output stream, in cycles from the iteration that ends
    their row.  ``passes``: how often all rows stream past, each time other outputs.
    """

    arch: Architecture
    fmt: Format
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


def stored(fmt: Format) -> Format:
    """The format of 8 bits of the same profile, in which weights are stored."""
    return PAL8U if fmt.profile == "U" else PAL8T


def with_weights(plan: Gemm, codes: NDArray, beta: NDArray, offset: int) -> Gemm:
    """The product with weights in blocks.

    ``codes`` have shape ``plan.weight_shape``, ``beta`` (outputs, blocks); ``offset`` is the
    tensor bias of the result less those of ``x`` and of the weights, in 1/8 octave.  Raises
    ``UserError`` for one that no matrix mode holds.
    """
    assert plan.image is not None
    plan = replace(plan, image=plan.image.copy())
    arch, fmt, image = plan.arch, plan.fmt, plan.image
    assert image is not None
    slices, limit = plan.ii * plan.steps, 1 << OFFSET_BITS - 1
    if not -limit <= offset < limit:
        raise UserError(
            f"the ratio of results to operands is 2^({offset}/8), outside 2^(+-{limit // 8})"
        )
    wide = stored(fmt)
    mode = {
        "offset": offset,
        "x_format": MATRIX_FORMATS.index(fmt),
        "w_format": MATRIX_FORMATS.index(wide),
    }
    codes = model.widen(codes, fmt, wide)
    per_pass = len(plan.streams[0][1])
    for _, members in plan.streams:
        for share in members:
            stage, slot = divmod(share.hops, plan.ii)
            guard = {"stage": stage, "slot": slot}
            for p in range(plan.passes):
                first = (p * per_pass + share.group) * arch.columns
                for s in range(slices):
                    part = slice(s * arch.lanes, (s + 1) * arch.lanes)
                    image.write(
                        Space.WEIGHT,
                        share.tile,
                        p * slices + s,
                        {
                            "codes": codes[first : first + arch.columns, part].tolist(),
                            "beta": beta[
                                first : first + arch.columns, s * arch.lanes // BLOCK
                            ].tolist(),
                        },
                    )
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
    """Constant weights (depth, outputs) as blocks along the depth: codes, biases, tensor bias."""
    padded = np.pad(values.T, ((0, 0), (0, -values.shape[0] % BLOCK)))
    return model.encode_blocks(padded, fmt)
