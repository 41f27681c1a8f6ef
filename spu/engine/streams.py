"""Words of streams from the codes of operands, and codes of results from words."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from spu.arch.blocks import empty_block, encode_blocks
from spu.arch.package.product import Gemm, emitted
from spu.model.units import words_of
from spu.model.words import Stream, from_integers


def input_streams(plan: Gemm, x: NDArray, t_in: int = 0) -> dict[int, Stream]:
    """Words of every input stream, by column, for ``x`` of shape (rows, depth).

    ``t_in``: tensor bias of ``x`` in 1/8 octave; values above the tensor's top saturate.  Raises
    ``ValueError`` for other shapes and infinities, and for NaN in a format without.
    """
    padded = np.zeros((plan.rows, plan.weight_shape[1]))
    padded[:, : plan.depth] = x
    codes, beta, _ = encode_blocks(padded, plan.fmt, t_in)
    return code_streams(plan, codes, beta)


def code_streams(plan: Gemm, codes: NDArray, beta: NDArray) -> dict[int, Stream]:
    """The same for blocks of codes: ``codes`` (rows, padded depth), ``beta`` (rows, blocks).

    ``beta``: block biases in 1/8 octave.
    """
    arch, fmt, count = plan.arch, plan.fmt, len(plan.streams)
    more = ((0, -plan.rows % count), (0, 0))
    codes = np.pad(codes, more)
    beta = np.pad(beta, more, constant_values=empty_block(fmt))
    words = words_of(codes.reshape(len(codes), -1, arch.codes_per_word(fmt)), fmt)
    per_block = arch.words_per_block(fmt)
    rows = [
        [
            (int.from_bytes(word.tobytes(), "little"), int(b[i // per_block]) & 0xFF)
            for i, word in enumerate(row)
        ]
        for row, b in zip(words, beta, strict=True)
    ]
    return {
        column: [word for row in rows[s::count] for word in row] * plan.passes
        for s, (column, _) in enumerate(plan.streams)
    }


def expected_words(plan: Gemm) -> dict[int, int]:
    """How many words every output stream has in a run, by column."""
    return {column: len(words) * plan.rounds for column, words in plan.results.items()}


def result_codes(plan: Gemm, outputs: Mapping[int, Stream]) -> NDArray[np.uint16]:
    """PAL16 codes (rows, outputs) from the words of the output streams by column.

    Raises ``ValueError`` for streams with another number of words than ``expected_words``.
    """
    arch = plan.arch
    per_pass, count = len(plan.streams[0][1]), len(plan.streams)
    codes = np.zeros(
        (plan.rounds // plan.passes * count, plan.passes * per_pass * arch.columns + arch.lanes16),
        np.uint16,
    )
    for column in plan.results:
        words = from_integers(outputs[column], arch)
        for word, (row, first, _) in zip(words, emitted(plan, column), strict=True):
            codes[row, first : first + arch.drain_lanes] = word[: arch.drain_lanes]
    return codes[: plan.rows, : plan.outputs]
