"""Host side of a program: vectors to stream words and back, from its report."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pal_units import model
from spu.arch.blocks import reblock
from spu.arch.params import Architecture
from spu.arch.program import Tile
from spu.model.units import words_of
from spu.model.words import Stream, from_integers


def encode_inputs(x: NDArray, report: Mapping, arch: Architecture) -> dict[int, Stream]:
    """Stream words by column of input vectors ``(n, ...)`` with ``inputs`` elements each.

    ``report``: of the compiled program; it has format, tensor bias and order of the words.  A word
    is its data and its block bias in 1/8 octave.  Values above the tensor's top saturate; raises
    ``ValueError`` for infinities, and for NaN in a format without.
    """
    io, fmt = report["io"], arch.data_format(report["format"])
    x = np.asarray(x, np.float64).reshape(len(x), -1)
    padded = np.pad(x, ((0, 0), (0, -x.shape[1] % fmt.block)))
    # As the array makes blocks of a tensor that is not in blocks yet.
    values = model.encode16(padded, io["input_tensor_bias"])
    codes, beta = reblock(values.reshape(len(x), -1, fmt.block), fmt)
    words = words_of(codes.reshape(len(x), -1, arch.codes_per_word(fmt)), fmt)
    per_block = arch.words_per_block(fmt)
    return {
        int(c): [
            (int.from_bytes(words[n, w].tobytes(), "little"), int(beta[n, w // per_block]) & 0xFF)
            for n in range(len(x))
            for w in order
        ]
        for c, order in io["input_words"].items()
    }


def decode_outputs(
    outputs: Mapping[int, Stream], report: Mapping, arch: Architecture
) -> NDArray[np.float64]:
    """Output vectors ``(n, outputs)``, float64, from the words of the south streams by column."""
    codes = output_codes(outputs, report, arch)
    return model.decode16(codes, report["io"]["output_tensor_bias"])


def output_codes(
    outputs: Mapping[int, Stream], report: Mapping, arch: Architecture
) -> NDArray[np.uint16]:
    """PAL16 codes ``(n, outputs)`` from the words of the south streams by column.

    ``n`` is the number of vectors that every stream has all words of.
    """
    io = report["io"]
    count = min(len(outputs[int(c)]) // len(order) for c, order in io["output_words"].items())
    padded = -(-io["outputs"] // arch.columns) * arch.columns
    codes = np.zeros((count, padded + arch.lanes16), np.uint16)
    for c, order in io["output_words"].items():
        data = from_integers(outputs[int(c)][: count * len(order)], arch)
        lanes = data.reshape(count, len(order), data.shape[-1])
        for i, (group, word) in enumerate(order):
            first = group * arch.columns + word * arch.drain_lanes
            codes[:, first : first + arch.drain_lanes] = lanes[:, i, : arch.drain_lanes]
    return codes[:, : io["outputs"]]


def saturated_layers(
    tiles: Mapping[Tile, int | NDArray[np.int64]], report: Mapping
) -> dict[str, int]:
    """Saturated elements by layer, from those of the tiles that work for it.

    Tiles that work for several layers have their names together; others are called by their place.
    """
    out: dict[str, int] = {}
    for tile, counts in tiles.items():
        if count := int(np.sum(counts)):
            names = [
                layer["name"]
                for layer in report["layers"]
                if list(tile) in layer["engines"] + layer["homes"]
            ]
            name = ", ".join(names) or f"tile {tile[0]},{tile[1]}"
            out[name] = out.get(name, 0) + count
    return out
