"""Words of the golden model: arrays of 16-bit lanes, any number of them side by side.

A word is the last axis of a uint16 array: the lanes of its data, its bias (0 to 255), its
predicate.  The axis before that is the batch.  An invalid word is all zeros.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spu.arch.params import Architecture

Words = NDArray[np.uint16]
#: Words of one stream of one run: data and bias as integers.
Stream = list[tuple[int, int]]


def width(arch: Architecture) -> int:
    """Entries of a word."""
    return arch.lanes16 + 2


def lanes(words: Words) -> Words:
    """Data as 16-bit lanes."""
    return words[..., :-2]


def bias(words: Words) -> NDArray[np.int64]:
    """Block bias as a signed number."""
    return words[..., -2].astype(np.uint8).astype(np.int8).astype(np.int64)


def valid(words: Words) -> NDArray[np.bool_]:
    """Predicate."""
    return words[..., -1] != 0


def build(data: NDArray, block_bias: NDArray | int, keep: NDArray[np.bool_]) -> Words:
    """Words from 16-bit lanes and biases where ``keep``, invalid ones elsewhere."""
    words = np.zeros((*data.shape[:-1], data.shape[-1] + 2), np.uint16)
    words[..., :-2] = data
    words[..., -2] = np.asarray(block_bias) & 0xFF
    words[..., -1] = 1
    return np.where(keep[..., None], words, np.uint16(0))


def masked(words: Words, keep: NDArray[np.bool_] | bool) -> Words:
    """The words where ``keep``, invalid ones elsewhere."""
    return np.where(np.asarray(keep)[..., None], words, np.uint16(0))


def from_integers(pairs: Sequence[tuple[int, int]], arch: Architecture) -> Words:
    """Valid words from data and bias."""
    out = np.zeros((len(pairs), width(arch)), np.uint16)
    data = b"".join(int(data).to_bytes(arch.data_bits // 8, "little") for data, _ in pairs)
    out[:, :-2] = np.frombuffer(data, "<u2").reshape(len(pairs), arch.lanes16)
    out[:, -2] = [block_bias for _, block_bias in pairs]
    out[:, -1] = 1
    return out


def to_integers(words: Words) -> Stream:
    """Data and bias of each word."""
    data = np.ascontiguousarray(lanes(words)).astype("<u2")
    return [
        (int.from_bytes(row.tobytes(), "little"), int(b))
        for row, b in zip(data, words[..., -2], strict=True)
    ]


def interleaved(timed: list[tuple[int, Stream]], ii: int) -> Stream:
    """One stream of the words of several: (cycle of the first, words), each every ``ii`` cycles."""
    events = sorted(
        (time + i * ii, k, i) for k, (time, stream) in enumerate(timed) for i in range(len(stream))
    )
    return [timed[k][1][i] for _, k, i in events]
