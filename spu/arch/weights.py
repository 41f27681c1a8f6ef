"""Weight rows: operands of slices as numbers, and rows packed of them and back."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pal_units.formats import Format
from pal_units.model import edge
from pal_units.model.edge import Operand
from spu.arch.config import OCTAVE_BITS, weight_row
from spu.arch.params import Architecture


def weights_of(
    codes: NDArray, biases: NDArray, fmt: Format, arch: Architecture
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Weights (..., lanes) and blocks (...) of slices, as ``config.weight_row`` packs them.

    ``codes`` (..., lanes) and the ``biases`` (...) of their blocks, in profile A bytes.  Raises
    ``ValueError`` for a logarithm beyond what a row holds.
    """
    if not arch.decoded_weights:
        return np.asarray(codes, np.int64), np.asarray(biases, np.int64) & 0xFF
    found = edge.operand(codes, biases, fmt, arch.dot)
    bits = _lam_bits(arch)
    absent = found.sign == 0
    lam = np.where(absent, 0, found.log)
    if (lam >> bits).any():
        raise ValueError(f"logarithms of {fmt.name} exceed the {bits} bits of a weight row")
    return (
        lam | (found.sign < 0).astype(np.int64) << bits | absent.astype(np.int64) << bits + 1,
        found.octaves
        | found.empty.astype(np.int64) << OCTAVE_BITS
        | found.nan.astype(np.int64) << OCTAVE_BITS + 1,
    )


def operands_of(weights: NDArray, blocks: NDArray, fmt: Format, arch: Architecture) -> Operand:
    """What a matrix unit makes of weights (..., lanes) and blocks (...).

    ``fmt``: of codes; decoded weights have none.
    """
    if not arch.decoded_weights:
        codes = weights & ((1 << fmt.n) - 1)
        return edge.operand(codes, blocks.astype(np.uint8).view(np.int8), fmt, arch.dot)
    bits = _lam_bits(arch)
    negative, zero = weights >> bits & 1 == 1, weights >> bits + 1 & 1 == 1
    return Operand(
        weights & ((1 << bits) - 1),
        np.where(zero, 0, np.where(negative, -1, 1)),
        blocks & ((1 << OCTAVE_BITS) - 1),
        blocks >> OCTAVE_BITS + 1 & 1 == 1,
        blocks >> OCTAVE_BITS & 1 == 1,
    )


def packed_rows(weights: NDArray, blocks: NDArray, arch: Architecture) -> list[int]:
    """Rows of weights (rows, columns, lanes) and blocks (rows, columns), as integers."""
    widths = _widths(arch)
    bits = np.concatenate(
        [
            (np.asarray(part)[..., None] >> np.arange(width) & 1).reshape(len(part), -1)
            for part, width in zip((weights, blocks), widths, strict=True)
        ],
        axis=1,
    ).astype(np.uint8)
    return [
        int.from_bytes(row.tobytes(), "little")
        for row in np.packbits(bits, axis=1, bitorder="little")
    ]


def unpacked_rows(
    rows: Sequence[int], arch: Architecture
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Inverse of ``packed_rows``."""
    layout, (weight, block) = weight_row(arch), _widths(arch)
    size = -(-layout.width // 8)
    data = np.frombuffer(b"".join(row.to_bytes(size + 4, "little") for row in rows), np.uint8)
    bits = np.unpackbits(data.reshape(len(rows), size + 4), axis=1, bitorder="little")
    split = weight * arch.lanes * arch.columns
    return tuple(  # type: ignore[return-value]
        part.reshape(len(rows), *shape, width).astype(np.int64) @ (1 << np.arange(width))
        for part, shape, width in (
            (bits[:, :split], (arch.columns, arch.lanes), weight),
            (bits[:, split : split + block * arch.columns], (arch.columns,), block),
        )
    )


def _widths(arch: Architecture) -> tuple[int, int]:
    """Bits of a weight, and of a block."""
    layout = weight_row(arch)
    return layout["weights"][0][0].width, layout["blocks"][0].width


def _lam_bits(arch: Architecture) -> int:
    return weight_row(arch)["weights"][0][0]["lam"].width
