"""Constants of a compiled model as the array has them: weights in blocks, tables in PAL16.

They stand for the model's own numbers wherever a run needs those: rounding is no part of what it
tells.  What limits of range took from them is kept beside the codes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pal_units import model
from pal_units.formats import BIAS_PER_OCTAVE, PAL16, Format
from spu.arch.blocks import decode_blocks
from spu.arch.operations import constant_codes
from spu.arch.package.expression import least_magnitude
from spu.arch.package.product import weight_blocks
from spu.arch.params import BLOCK

Values = NDArray[np.float64]
#: PAL16.
Codes = NDArray[np.uint16]


def least_bias(fmt: Format) -> int:
    """Of a block, in 1/8 octave."""
    return fmt.beta_min if fmt.codebooks is None else -int(fmt.codebooks.bias_steps[-1])


@dataclass(frozen=True)
class Weights:
    """Constant weights of a product, (batch, depth, outputs), in blocks along the depth.

    ``codes`` (batch, outputs, depth filled up to blocks), ``biases``, or bytes, of the blocks
    (batch, outputs, blocks), ``tensor_biases`` (batch,) in 1/8 octave.  ``low``: numbers of the
    blocks that have the least bias, which may be more than they ask for, and ``meant`` (len(low),
    block), what the model has there.
    """

    fmt: Format
    depth: int
    codes: NDArray[np.uint8]
    biases: NDArray[np.int8]
    tensor_biases: tuple[int, ...]
    low: NDArray[np.int64]
    meant: Values

    def matrices(self) -> list[tuple[NDArray[np.uint8], NDArray[np.int8], int]]:
        """Codes, biases and tensor bias of each of the batch."""
        return list(zip(self.codes, self.biases, self.tensor_biases, strict=True))

    def decoded(self) -> Values:
        """Values (batch, outputs, blocks, block), those of low blocks as the array has them."""
        found = [decode_blocks(*matrix, self.fmt) for matrix in self.matrices()]
        return np.array(found).reshape(*self.biases.shape, BLOCK)

    def values(self) -> Values:
        """Values (batch, depth, outputs), those of low blocks as the model has them."""
        blocks = self.decoded()
        blocks.reshape(-1, BLOCK)[self.low] = self.meant
        rows = blocks.reshape(self.codes.shape)[:, :, : self.depth]
        return rows.transpose(0, 2, 1)

    @cached_property
    def nan_columns(self) -> NDArray[np.bool_]:
        """Which outputs have NaN among their weights, (batch, 1, outputs)."""
        return np.asarray(model.is_nan(self.codes, self.fmt).any(axis=2))[:, None, :]


def encoded_weights(values: Values, fmt: Format) -> Weights:
    """Of ``values`` (batch, depth, outputs); raises ``ValueError`` for NaN in a format without."""
    found = [weight_blocks(matrix, fmt) for matrix in values]
    codes = np.array([codes for codes, _, _ in found])
    biases = np.array([biases for _, biases, _ in found])
    beta = biases if fmt.codebooks is None else fmt.codebooks.split(biases)[1]
    low = np.flatnonzero(beta == least_bias(fmt))
    if len(low):
        padded = np.pad(values.transpose(0, 2, 1), ((0, 0), (0, 0), (0, -values.shape[1] % BLOCK)))
        meant = padded.reshape(-1, BLOCK)[low]
        low, meant = low[meant.any(axis=1)], meant[meant.any(axis=1)]
    else:
        meant = np.zeros((0, BLOCK))
    return Weights(fmt, values.shape[1], codes, biases, tuple(t for *_, t in found), low, meant)


@dataclass(frozen=True)
class Table:
    """A constant whose elements the host moves, as PAL16 ``codes`` of its shape under ``bias``.

    ``small``: places of elements below the least magnitude, in order, and ``meant``, what the model
    has there; codes have the least magnitude.
    """

    bias: int
    codes: Codes
    small: NDArray[np.int64]
    meant: Values


def encoded_table(values: Values, bias: int) -> Table | None:
    """None if the bias does not hold all of them."""
    size = np.abs(values)
    if not (size <= 2.0 ** (bias / BIAS_PER_OCTAVE)).all():  # or NaN
        return None
    small = np.flatnonzero((size < least_magnitude(bias)) & (size > 0))
    return Table(bias, constant_codes(values, bias), small, values.ravel()[small])


def taken_elements(
    tables: Sequence[Table], take: Callable[[list[NDArray]], NDArray]
) -> tuple[Codes, Values]:
    """Codes of what ``take`` moves of tables of one bias, and values, small ones as the model has
    them; ``take`` is given as many arrays of the shapes of the tables."""
    codes = take([table.codes for table in tables])
    values = model.decode16(codes, tables[0].bias)
    if not ((codes & PAL16.m_max) == 1).any():  # none is small
        return codes, values
    starts = np.cumsum([0, *(table.codes.size for table in tables)])
    places = take(
        [
            np.arange(start, start + table.codes.size).reshape(table.codes.shape)
            for start, table in zip(starts, tables, strict=False)
        ]
    )
    small = np.concatenate([t.small + start for start, t in zip(starts, tables, strict=False)])
    meant = np.concatenate([table.meant for table in tables])
    found = np.minimum(np.searchsorted(small, places), max(len(small) - 1, 0))
    return codes, np.where(small[found] == places, meant[found], values) if len(small) else values


def packed(codes: NDArray[np.uint8], fmt: Format) -> NDArray[np.uint8]:
    """Codes (..., depth), a multiple of 8, in as many bits as they have: (..., bytes)."""
    if fmt.n == 8:
        return codes
    bits = np.unpackbits(codes[..., None], axis=-1, count=fmt.n, bitorder="little")
    return np.packbits(bits.reshape(*codes.shape[:-1], -1), axis=-1, bitorder="little")


def unpacked(content: NDArray[np.uint8], fmt: Format) -> NDArray[np.uint8]:
    """Inverse of ``packed``."""
    if fmt.n == 8:
        return content
    bits = np.unpackbits(content, axis=-1, bitorder="little")
    codes = np.packbits(bits.reshape(*content.shape[:-1], -1, fmt.n), axis=-1, bitorder="little")
    return codes[..., 0]
