"""Mapping to configuration image: contexts, constants, registers, weights, sequencer."""

import numpy as np

from compiler.errors import CompileError
from compiler.map.pipeline.mapping import HomeSchedule, Mapping
from spu.arch.bitstream import Image
from spu.arch.config import Space, TileRegister
from spu.arch.package.product import matrix_mode
from spu.arch.params import ALWAYS, EXISTS, Architecture
from spu.arch.program import Tile, write_generator, write_region
from spu.arch.weights import packed_rows, weights_of


def assemble(mapping: Mapping, arch: Architecture) -> Image:
    """The image that a mapping needs; ``CompileError`` if something does not fit its field."""
    image = Image(arch)
    try:
        _contexts(image, mapping)
        _weights(image, mapping)
        _constants(image, mapping)
        _registers(image, mapping)
        _region(image, mapping)
    except ValueError as error:
        raise CompileError(f"{mapping.network.name} does not fit {arch.name}: {error}") from None
    return image


def _contexts(image: Image, mapping: Mapping) -> None:
    """All slots of all tiles are written."""
    for tile in image.arch.tiles:
        for slot in range(mapping.ii):
            image.write(Space.CONTEXT, tile, slot, mapping.fields.get((tile, slot), {}))


def _weights(image: Image, mapping: Mapping) -> None:
    """Weight rows in the order of the macs' slots, which is that of their addresses."""
    arch, fmt = image.arch, mapping.network.fmt
    rows: dict[Tile, int] = {}
    for mac in sorted(mapping.macs, key=lambda m: (m.tile, m.time % mapping.ii)):
        layer = mapping.network.layers[mac.layer]
        first = mac.word * arch.codes_per_word(fmt) + mac.part * arch.lanes
        inputs = np.array(mapping.order[mac.layer][first : first + arch.lanes])
        outputs = slice(mac.group * arch.columns, (mac.group + 1) * arch.columns)
        block = first // fmt.block
        row = rows[mac.tile] = rows.get(mac.tile, -1) + 1
        weights, blocks = weights_of(
            layer.codes[outputs][:, inputs],
            layer.beta[outputs, block],
            mapping.network.weights,
            arch,
        )
        (bits,) = packed_rows(weights[None], blocks[None], arch)
        image.write_bits(Space.WEIGHT, mac.tile, row, bits)
    for tile, last in rows.items():
        # All macs of an iteration, whether it exists or not.
        write_generator(
            image, tile, TileRegister.WEIGHT, {"guard": {"predicate": ALWAYS}}, [(last + 1, 1)]
        )


def _constants(image: Image, mapping: Mapping) -> None:
    arch = image.arch
    for tile, keys in mapping.constants.items():
        for number, (layer, group, word) in enumerate(keys):
            first = group * arch.columns + word * arch.lanes16
            biases = mapping.network.layers[layer].bias[first : first + arch.drain_lanes]
            data = sum(int(b) << (16 * i) for i, b in enumerate(biases))
            image.write(Space.CONSTANT, tile, number, {"data": data, "bias": 0})


def _registers(image: Image, mapping: Mapping) -> None:
    network, arch = mapping.network, image.arch
    fmt = arch.format_number(network.fmt)
    modes = {
        (mac.tile, mac.layer if mapping.partition.shared else 0, mac.layer) for mac in mapping.macs
    }
    for tile, mode, layer in sorted(modes):
        image.write(
            Space.REGISTER,
            tile,
            TileRegister.MODE + mode,
            matrix_mode(arch, network.layers[layer].offset, network.fmt, network.weights),
        )
    for home in mapping.homes.values():
        image.write(Space.REGISTER, home.tile, TileRegister.REBLOCK, {"format": fmt})
        _addresses(image, mapping, home)


def _addresses(image: Image, mapping: Mapping, home: HomeSchedule) -> None:
    """Address generators of a home: words of an iteration in a ring of buffers."""
    words = len(home.writes)
    last_read = [max(home.reads[w::words]) for w in range(words)]
    buffers = 1 + max(
        (read - write) // mapping.ii for read, write in zip(last_read, home.writes, strict=True)
    )
    if buffers * words > image.arch.memory_words:
        raise ValueError(f"data memory of tile {home.tile} needs {buffers * words} words")
    stage, slot = divmod(home.reads[0], mapping.ii)
    ring = (buffers, words)
    generators: tuple[tuple[int, dict, list[tuple[int, int]]], ...] = (
        (TileRegister.WRITE, {}, [(words, 1), ring]),
        (
            TileRegister.READ,
            {"guard": {"stage": stage, "slot": slot, "predicate": EXISTS}},
            [(words, 1), (home.passes, 0), ring],
        ),
    )
    for first, base, loops in generators:
        write_generator(image, home.tile, first, base, loops)


def _region(image: Image, mapping: Mapping) -> None:
    reads: dict[int, list[int]] = {}
    for column, time in mapping.reads:
        reads.setdefault(column, []).append(time)
    write_region(
        image,
        mapping.timing,
        reads,
        {column: [time for time, _, _ in words] for column, words in mapping.emitted.items()},
    )
