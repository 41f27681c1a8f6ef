"""Host side of a program: vectors to stream words and back, from its report."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pal_units import model
from pal_units.formats import FORMATS
from spu.arch.params import Architecture
from spu.model.units import words_of
from spu.model.words import Stream, from_integers


class InputError(ValueError):
    """Input vectors that a program cannot take."""


def encode_inputs(x: NDArray, report: Mapping, arch: Architecture) -> dict[int, Stream]:
    """Stream words of input vectors ``(n, ...)`` with ``inputs`` elements each.

    Raises ``InputError`` for a shape, type or value that the program was not compiled for.
    """
    io, fmt = report["io"], FORMATS[report["format"]]
    x = np.asarray(x)
    if x.dtype.kind not in "fiu":
        raise InputError(f"inputs must be real numbers, not {x.dtype}")
    if x.ndim < 2 or int(np.prod(x.shape[1:])) != io["inputs"]:
        raise InputError(f"inputs must have shape (n, {io['inputs']}), not {x.shape}")
    if not len(x):
        raise InputError("there are no input vectors")
    x = x.reshape(len(x), -1).astype(np.float64)
    if not np.isfinite(x).all():
        raise InputError(f"inputs hold {int((~np.isfinite(x)).sum())} values that are NaN "
                         "or infinite")
    if x.size and np.abs(x).max() > io["input_max"]:
        raise InputError(f"input {np.abs(x).max():g} exceeds the bound {io['input_max']:g} that "
                         "the program was compiled for; compile with a larger --input-max")
    padded = np.pad(x, ((0, 0), (0, -x.shape[1] % fmt.block)))
    codes, beta, _ = model.encode_blocks(padded, fmt, io["input_tensor_bias"])
    words = words_of(codes.reshape(len(x), -1, arch.codes_per_word(fmt)), fmt)
    per_block = arch.words_per_block(fmt)
    return {int(c): [(int.from_bytes(words[n, w].tobytes(), "little"),
                      int(beta[n, w // per_block]) & 0xFF)
                     for n in range(len(x)) for w in order]
            for c, order in io["input_words"].items()}


def decode_outputs(outputs: Mapping[int, Stream], report: Mapping, arch: Architecture
                   ) -> NDArray[np.float64]:
    """Output vectors ``(n, outputs)`` from the words of the south streams."""
    codes = output_codes(outputs, report, arch)
    return model.decode16(codes, report["io"]["output_tensor_bias"])


def output_codes(outputs: Mapping[int, Stream], report: Mapping, arch: Architecture
                 ) -> NDArray[np.uint16]:
    """PAL16 codes ``(n, outputs)`` from the words of the south streams."""
    io = report["io"]
    count = min(len(outputs[int(c)]) // len(order) for c, order in io["output_words"].items())
    padded = -(-io["outputs"] // arch.columns) * arch.columns
    codes = np.zeros((count, padded + arch.lanes16), np.uint16)
    for c, order in io["output_words"].items():
        data = from_integers(outputs[int(c)][:count * len(order)], arch)
        lanes = data.reshape(count, len(order), -1)
        for i, (group, word) in enumerate(order):
            first = group * arch.columns + word * arch.drain_lanes
            codes[:, first:first + arch.drain_lanes] = lanes[:, i, :arch.drain_lanes]
    return codes[:, :io["outputs"]]


def saturated_layers(tiles: Mapping[tuple[int, int], NDArray[np.int64]], report: Mapping
                     ) -> dict[str, int]:
    """Saturated elements by layer, from those of the tiles that work for it.

    Tiles that work for several layers have their names together; others are called by their place.
    """
    out: dict[str, int] = {}
    for tile, counts in tiles.items():
        if count := int(counts.sum()):
            names = [layer["name"] for layer in report["layers"]
                     if list(tile) in layer["engines"] + layer["homes"]]
            name = ", ".join(names) or f"tile {tile[0]},{tile[1]}"
            out[name] = out.get(name, 0) + count
    return out
