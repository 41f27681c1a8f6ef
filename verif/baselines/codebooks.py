"""Peers that choose a codebook for each block: LO-BCQ and BlockDialect.

* LO-BCQ (R. Elangovan et al., "LO-BCQ: Block clustered quantization for 4-bit (W4A4) LLM
  inference", arXiv:2502.05376): arrays of ``L_A`` values with one E4M3 scale ``amax / 31`` below
  a float32 tensor scale ``amax / (31 * 448)``, in them blocks of 8, each with a selector among
  ``N_c`` codebooks of 16 six-bit integers.  ``4 + log2(N_c) / 8 + 8 / L_A`` bits: 4.5 for 8
  codebooks and arrays of 64 (``LO-BCQ/64``), and for 4 and 32 (``LO-BCQ/32``).  The authors fit
  the codebooks to layers of a language model; ours are fitted to the study's distributions by
  ``verif/numerics/cluster.py``, apart for each scale, and lie in ``clustered.py``.
* BlockDialect (W. Jang and T. Tambe, "BlockDialect: Block-wise fine-grained mixed format
  quantization for energy-efficient LLM inference", arXiv:2501.01144): blocks of 16 or 32 with a
  shared exponent of 5 bits, ``floor(log2 amax) - 2``, and one of the 16 dialects of DialectFP4
  in 4 bits.  The dialects are those of the paper's figure 4, taken from a transcription in the
  open (``blockdialect_codec.py`` of a decoder for FPGAs, which names version 5): no text of the
  figure was at hand.  Ours: the dialect of least squared error, where the authors' hardware
  compares ranges of the largest values; and exponents counted below the tensor's largest one.
* ``/8th``: both under the block bias of PAL, in 1/8 octave of 8 bits, searched for the least
  squared error, each step with the best codebooks.

Of equal codebooks the first; a tie goes to the even code.  A block is written with the codes that
are nearest, so none is worse than under the best single codebook.
"""

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from pal_units.compiled import compiled, in_pieces
from verif.baselines.blocks import Quantiser, Values, split
from verif.baselines.clustered import CLUSTERED
from verif.baselines.scales import e4m3_scales, fine_scales, tensor_scale

#: Largest magnitude of a codebook of LO-BCQ: six bits with a sign.
LIMIT = 31
#: Values with one selector in LO-BCQ.
BLOCK = 8
#: Steps around the bias that puts the largest magnitude at the top, which the search tries.
STEPS = (0, *(step for k in range(1, 7) for step in (k, -k)), -7, -8)
#: Octaves that the shared exponent of BlockDialect spans: 5 bits.
EXPONENTS = 32

#: DialectFP4, magnitudes in halves: two dialects for each largest one; the eighth is E2M1.
DIALECTS = (
    (0, 1, 2, 3, 4, 6, 11, 15),
    (0, 1, 2, 3, 4, 6, 9, 15),
    (0, 1, 2, 3, 4, 6, 11, 14),
    (0, 1, 2, 3, 4, 6, 9, 14),
    (0, 1, 2, 3, 4, 6, 10, 13),
    (0, 1, 2, 3, 4, 6, 8, 13),
    (0, 1, 2, 3, 4, 6, 10, 12),
    (0, 1, 2, 3, 4, 6, 8, 12),
    (0, 1, 2, 3, 4, 6, 9, 11),
    (0, 1, 2, 3, 4, 6, 7, 11),
    (0, 1, 2, 3, 4, 6, 9, 10),
    (0, 1, 2, 3, 4, 6, 7, 10),
    (0, 1, 2, 3, 4, 6, 8, 9),
    (0, 1, 2, 3, 4, 6, 7, 9),
    (0, 1, 2, 3, 4, 6, 7, 8),
    (0, 1, 2, 3, 4, 5, 6, 8),
)


@dataclass(frozen=True, eq=False)
class Codebooks:
    """Codebooks of integers, one of which a block chooses.

    Parameters
    ----------
    books: levels of each, ascending, of magnitudes of at most ``limit``.
    limit: magnitude that the largest of a block is scaled to.
    block: values that choose together.
    """

    books: tuple[tuple[int, ...], ...]
    limit: int
    block: int

    @cached_property
    def table(self) -> NDArray[np.float64]:
        """Nearest level ``(8 limit + 1, codebooks)`` of each multiple of 1/4 from ``-limit``.

        Levels change at multiples of 1/2 alone: an odd row serves all values between two of
        them, an even one the multiple itself, which may be a tie.
        """
        place = np.arange(-4 * self.limit, 4 * self.limit + 1) / 4.0
        columns = []
        for book in self.books:
            levels = np.array(book, np.float64)
            gap = np.abs(levels - place[:, None])
            odd = (np.arange(len(levels)) - len(levels) // 2) % 2
            nearest = gap == gap.min(axis=1, keepdims=True)
            columns.append(levels[np.where(nearest, odd, 2).argmin(axis=1)])
        return np.stack(columns, axis=1)

    def search(
        self, arrays: Values, scales: Values
    ) -> tuple[Values, NDArray[np.intp], NDArray[np.intp]]:
        """Squared error, scale and codebooks of each array ``(N, L_A)`` that lose the least.

        ``scales``: ``(N, candidates)``; the scale is its place there, the first of equals.
        """
        count, length = arrays.shape
        error, scale = np.empty(count), np.empty(count, np.intp)
        book = np.empty((count, length // self.block), np.intp)
        in_pieces(
            _search,
            count,
            arrays.size * scales.shape[1] * len(self.books),
            arrays,
            scales,
            self.table,
            self.block,
            error,
            scale,
            book,
        )
        return error, scale, book

    def round(self, arrays: Values, scale: Values) -> Values:
        """Arrays ``(N, L_A)``, each under its scale ``(N, 1)``."""
        book = np.repeat(self.search(arrays, scale)[2], self.block, axis=1)
        return self.table[_rows(arrays / scale, self.limit), book] * scale


def _rows(scaled: Values, limit: int) -> NDArray[np.intp]:
    """Rows of the table of values."""
    twice = 2 * np.clip(scaled, -limit, limit)
    return (np.floor(twice) + np.ceil(twice)).astype(np.intp) + 4 * limit


@compiled
def _search(start, stop, arrays, scales, table, block, error, scale, book):
    limit = table.shape[0] // 8
    count = table.shape[1]
    errors = np.empty(count)
    books = np.empty(book.shape[1], np.intp)
    for i in range(start, stop):
        error[i] = np.inf
        scale[i] = 0
        book[i] = 0
        for j in range(scales.shape[1]):
            step = scales[i, j]
            total = 0.0
            for b in range(book.shape[1]):
                errors[:] = 0.0
                for e in range(b * block, (b + 1) * block):
                    value = arrays[i, e] / step
                    twice = 2 * min(max(value, -limit), limit)
                    row = int(np.floor(twice) + np.ceil(twice)) + 4 * limit
                    for k in range(count):
                        errors[k] += (table[row, k] - value) ** 2
                books[b] = 0
                for k in range(1, count):
                    if errors[k] < errors[books[b]]:
                        books[b] = k
                total += errors[books[b]]
                if total * step * step >= error[i]:  # it only grows
                    break
            total *= step * step
            if total < error[i]:
                error[i] = total
                scale[i] = j
                book[i] = books


def fine_biases(amax: Values, limit: float) -> Values:
    """Biases ``(N, candidates)`` in 1/8 octave around the one that puts ``amax`` at ``limit``."""
    return np.floor(8 * np.log2(amax / limit) + 0.5) + np.array(STEPS)


def clustered(x: Values, codebooks: Codebooks, length: int) -> Values:
    """LO-BCQ with an E4M3 scale for ``length`` values."""
    arrays, amax = _flat(x, length)
    tensor = tensor_scale(float(np.abs(x).max()), LIMIT)
    scale = e4m3_scales(amax, LIMIT, tensor) * tensor
    kept = scale > 0  # arrays under a scale of 0 are zeros
    rounded = codebooks.round(np.where(kept, arrays, 0.0), np.where(kept, scale, 1.0))
    return rounded.reshape(np.shape(x))


def fine_scaled(x: Values, codebooks: Codebooks, length: int) -> Values:
    """Codebooks under PAL's block bias for ``length`` values."""
    arrays, amax = _flat(x, length)
    biases = fine_biases(amax, codebooks.limit)
    found = codebooks.search(arrays, np.exp2(biases / 8))[1]
    bias = np.take_along_axis(biases, found[:, None], 1)[:, 0]
    return codebooks.round(arrays, fine_scales(arrays, bias)).reshape(np.shape(x))


def dialects(x: Values, block: int) -> Values:
    """BlockDialect: a shared exponent that puts the largest magnitude between 4 and 8."""
    blocks, amax = _flat(x, block)
    exponent = np.frexp(amax)[1] - 1
    top = np.frexp(np.abs(x).max())[1] - 1
    scale = np.ldexp(0.5, np.maximum(exponent, top + 1 - EXPONENTS) - 2)
    return _dialects(block).round(blocks, scale).reshape(np.shape(x))


def _flat(x: Values, length: int) -> tuple[Values, Values]:
    """Arrays ``(N, length)`` and their largest magnitudes ``(N, 1)``, 1.0 for zeros."""
    arrays, amax = split(x, length)
    return np.ascontiguousarray(arrays.reshape(-1, length)), amax.reshape(-1, 1)


def _dialects(block: int) -> Codebooks:
    books = tuple((*(-m for m in reversed(d[1:])), *d) for d in DIALECTS)
    return Codebooks(books, 15, block)


def _lobcq(name: str) -> Codebooks:
    return Codebooks(CLUSTERED[name], LIMIT, BLOCK)


CODEBOOKS = (
    *(
        Quantiser(
            f"LO-BCQ/{length}",
            4.5,
            partial(clustered, codebooks=_lobcq(f"LO-BCQ/{length}"), length=length),
        )
        for length in (64, 32)
    ),
    *(
        Quantiser(
            f"LO-BCQ/{length}/8th",
            4.5,
            partial(fine_scaled, codebooks=_lobcq(f"LO-BCQ/{length}/8th"), length=length),
        )
        for length in (64, 32)
    ),
    *(
        Quantiser(f"BlockDialect/{block}", 4 + 9 / block, partial(dialects, block=block))
        for block in (32, 16)
    ),
    *(
        Quantiser(
            f"BlockDialect/{block}/8th",
            4 + 12 / block,
            partial(fine_scaled, codebooks=_dialects(block), length=block),
        )
        for block in (32, 16)
    ),
)
