"""Random legal programs: any contexts, registers, loops, weights, memories and streams."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pal_units.formats import PAL8T
from spu.arch.bitstream import Image
from spu.arch.config import ADDRESS_WORDS, Compare, Guard, SequencerRegister, Space, TileRegister
from spu.arch.context import (
    ALU_OPS,
    CONTEXT,
    LOG_OPS,
    SINKS,
    SUM_OPS,
    VECTOR_OPS,
    Close,
    Op,
    Source,
)
from spu.arch.packing import unpack
from spu.arch.params import (
    ALWAYS,
    CONSTANTS,
    EXISTS,
    LOOPS,
    MODES,
    PREDICATES,
    PROGRAMMABLE,
    REGISTERS,
    Architecture,
    Port,
    TileKind,
    neighbour,
)
from spu.arch.weights import packed_rows, weights_of
from spu.model.array import GoldenArray
from spu.model.region import Loops
from spu.model.words import Stream

#: Sources by weight: words must get somewhere before anything can happen to them.
_SOURCES = [
    s.value
    for s in Source
    for _ in range(4 if s in (Source.NORTH, Source.WEST, Source.CONSTANT, Source.EAST) else 2)
]
#: Operations that a program prefers, by the unit that it is about.
FOCUS: dict[str, tuple[Op, ...]] = {
    "all": tuple(Op),
    "alu": ALU_OPS,
    "vector": VECTOR_OPS,
    "logarithms": LOG_OPS,
    "sums": SUM_OPS,
    "accumulator": (Op.ACC, Op.LANE_SUM),
    "reblock": (Op.PUSH, Op.UNBLOCK),
    "matrix": (Op.NOP, Op.ADD),
    "memory": (Op.NOP, Op.PASS),
    "registers": (Op.PASS, Op.SELECT),
}
#: Units that a program shows at the south edge, by what it prefers; any for those not named.
SHOWN = {
    "alu": Source.ALU,
    "vector": Source.VECTOR,
    "logarithms": Source.VECTOR,
    "sums": Source.SUM,
    "accumulator": Source.SUM,
    "matrix": Source.MATRIX,
    "reblock": Source.REBLOCK,
    "memory": Source.MEMORY,
    "registers": Source.ALU,
}
#: PAL16 codes with a meaning of their own: zero, NaN, both tops, both least levels.
_SPECIAL = (0, 0x8000, 0x7FFF, 0xFFFF, 1, 0x8001)


@dataclass(frozen=True)
class Case:
    """A program, the words of its input streams, and rounds of each region."""

    image: Image
    inputs: dict[int, Stream]
    rounds: list[int]


def random_case(arch: Architecture, seed: int, focus: str | None = None) -> Case:
    """A legal program: it ends, and every word that it is given or makes is taken.

    ``focus`` is a key of ``FOCUS``, by default one for each seed in turn.  Tiles at the south
    edge mostly show what one of their units gives for constants: else few results get out, and
    faults stay inside.
    """
    rng, bias = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    # Operations and formats of blocks take turns.
    turn, blocks = (
        itertools.count(seed // len(FOCUS) * n + seed % len(FOCUS) + arch.cols) for n in (5, 2)
    )
    focus = focus or list(FOCUS)[seed % len(FOCUS)]
    preferred = FOCUS[focus]
    image = Image(arch)
    shown: dict[tuple[int, int], Source] = {}
    for tile in arch.tiles:
        _tile(image, tile, rng)
        if tile[0] == arch.rows - 1 and bias.random() < 0.9:
            units = _units(arch.kind(*tile))
            unit = SHOWN.get(focus, units[int(bias.integers(len(units)))])
            shown[tile] = unit if unit in units else units[int(bias.integers(len(units)))]
            _show(image, tile, shown[tile], bias, next(blocks))
    # Words go from the first region to the others.
    order = rng.permutation(arch.region_count).tolist()
    rounds = [0] * arch.region_count
    inputs: dict[int, Stream] = {}
    for place, region in enumerate(order):
        received = _received(image, order[:place], region, inputs, rounds) if place else {}
        long = any(
            shown.get(tile) in (Source.REBLOCK, Source.MATRIX) for tile in arch.region_tiles(region)
        )
        rounds[region] = _region(image, region, rng, received, order[place:], 100 * long)
        ii = image.read(Space.SEQUENCER, (region, 0), SequencerRegister.II)["slots_less_1"] + 1
        for tile in arch.region_tiles(region):
            for slot in range(ii):
                context = _context(image, tile, rng, preferred)
                if tile in shown and bias.random() < 0.9:
                    context |= _showing(context, shown[tile], preferred, bias, turn)
                image.write(Space.CONTEXT, tile, slot, context)
        _emit(image, region, ii, shown)
        for column, count in _host_reads(image, region, rounds[region]).items():
            inputs[column] = [_word(arch, rng) for _ in range(count)]
    return Case(image, {c: words for c, words in inputs.items() if words}, rounds)


def _units(kind: TileKind) -> list[Source]:
    """Units of a tile that give words."""
    return [
        Source.ALU,
        *[Source.VECTOR, Source.SUM] * kind.vector,
        *[Source.MATRIX] * kind.matrix,
        *[Source.MEMORY, Source.REBLOCK] * kind.memory,
    ]


def _show(
    image: Image, tile: tuple[int, int], unit: Source, rng: np.random.Generator, block_format: int
) -> None:
    """More constants, formats, and weights and a guard with which dot products are numbers."""
    arch = image.arch
    for number in rng.integers(CONSTANTS, size=8).tolist():
        data, block_bias = _word(arch, rng)
        image.write(Space.CONSTANT, tile, number, {"data": data, "bias": block_bias})
    formats = len(arch.formats)
    image.write(Space.REGISTER, tile, TileRegister.REBLOCK, {"format": block_format % formats})
    if unit is not Source.MATRIX:
        return
    special = rng.choice([0x80, 0x20, 0x7F, 0x3F, 1], arch.data_bits // 8).astype(np.uint8)
    image.write(
        Space.CONSTANT,
        tile,
        int(rng.integers(CONSTANTS)),
        {"data": int.from_bytes(special.tobytes(), "little"), "bias": 0},
    )
    for mode in range(MODES):
        image.write(
            Space.REGISTER,
            tile,
            TileRegister.MODE + mode,
            _mode(
                arch,
                int(rng.integers(-250, 100)),
                (block_format + mode) % formats,
                (block_format + 3 * mode + 1) % formats,
            ),
        )
    rows = min(arch.weight_rows, 16)
    codes = rng.integers(0, 256, (rows, arch.columns, arch.lanes))
    _weights(image, tile, *weights_of(codes, rng.integers(-20, 1, codes.shape[:2]), PAL8T, arch))
    image.write(
        Space.REGISTER,
        tile,
        TileRegister.WEIGHT,
        {"base": int(rng.integers(6)), "guard": {"predicate": int(rng.choice([ALWAYS, EXISTS]))}},
    )


def _showing(
    context: Mapping[str, int],
    unit: Source,
    preferred: tuple[Op, ...],
    rng: np.random.Generator,
    turn: Iterator[int],
) -> dict[str, int]:
    """Fields of a context that shows a unit: its word goes south, constants come to it.

    The register that it has as the third operand takes a constant for the next time.
    """
    fields = {
        "south": unit.value,
        "register": Source.CONSTANT.value,
        "register_write": context["index"] % REGISTERS,
    }
    fields |= {sink: Source.CONSTANT.value for sink in ("a", "matrix") if rng.random() < 0.8}
    fields["b"] = int(rng.choice([Source.CONSTANT.value, *[Source.REGISTER_A.value] * 2]))
    ops = {
        Source.ALU: ALU_OPS,
        Source.VECTOR: tuple(set(VECTOR_OPS) - set(SUM_OPS)),
        Source.SUM: SUM_OPS,
        Source.REBLOCK: (Op.PUSH,),
    }.get(unit, ())
    wanted = [op for op in preferred if op in ops]
    wanted = wanted if len(wanted) > 1 else list(ops)
    if wanted:
        wanted.sort(key=lambda op: op.value)
        fields["op"] = wanted[next(turn) % len(wanted)].value
    if unit is Source.MATRIX:
        fields |= {
            "mac": int(rng.random() < 0.9),
            "drain": int(rng.random() < 0.9),
            "close": int(rng.integers(len(Close))),
        }
    if unit is Source.REBLOCK:
        fields["pop"] = int(rng.random() < 0.7)
    if unit is Source.MEMORY:
        fields["read"] = 1
    return fields


def _emit(image: Image, region: int, ii: int, shown: Mapping[tuple[int, int], Source]) -> None:
    """Let every slot emit what shown units give."""
    mask = sum(
        1 << i
        for i, port in enumerate(image.arch.outputs(region))
        if (port.row, port.col) in shown and port.link == "south"
    )
    for slot in range(ii):
        row = image.read(Space.STREAM, (region, 0), slot)
        image.write(Space.STREAM, (region, 0), slot, row | {"emit": row["emit"] | mask})


def _word(arch: Architecture, rng: np.random.Generator) -> tuple[int, int]:
    """Data of any bits, or of special PAL16 codes, and a block bias."""
    lanes = rng.integers(0, 1 << 16, arch.lanes16)
    if rng.random() < 0.3:
        lanes = np.where(rng.random(arch.lanes16) < 0.4, rng.choice(_SPECIAL, arch.lanes16), lanes)
    data = sum(int(lane) << 16 * i for i, lane in enumerate(lanes))
    return data, int(rng.choice([0, 255, 200, 128, 3]))


def _guard(rng: np.random.Generator, ii_limit: int = 8) -> dict[str, int]:
    return {
        "slot": int(rng.integers(ii_limit)),
        "stage": int(rng.integers(4)),
        "predicate": int(rng.integers(PREDICATES)),
    }


def _spread(rng: np.random.Generator, usual: int, most: int) -> int:
    """Zero, a number that keeps most results in range, or any."""
    limit = (1, usual, most)[int(rng.integers(3))]
    return int(rng.integers(-limit, limit)) if limit > 1 else 0


def _mode(arch: Architecture, offset: int, data: int, weights: int) -> dict[str, int]:
    """A row of matrix modes."""
    mode = {"offset": offset, "x_format": data}
    return mode if arch.decoded_weights else mode | {"w_format": weights}


def _weights(image: Image, tile: tuple[int, int], weights: NDArray, blocks: NDArray) -> None:
    """Weight rows from the first on."""
    for row, bits in enumerate(packed_rows(weights, blocks, image.arch)):
        image.write_bits(Space.WEIGHT, tile, row, bits)


def _tile(image: Image, tile: tuple[int, int], rng: np.random.Generator) -> None:
    """Everything in a tile but its contexts."""
    arch, kind = image.arch, image.arch.kind(*tile)
    if kind.matrix:
        shape = min(arch.weight_rows, 6), arch.columns, arch.lanes
        # Any bits, or what weights of PAL8T are.
        weights, blocks = rng.integers(0, 1 << 16, shape), rng.integers(0, 1 << 8, shape[:2])
        if rng.random() < 0.5:
            biases = rng.integers(-128, 10, shape[:2])
            weights, blocks = weights_of(weights & 255, biases, PAL8T, arch)
        _weights(image, tile, weights, blocks)
    for number in rng.integers(CONSTANTS, size=6).tolist():
        data, bias = _word(arch, rng)
        image.write(Space.CONSTANT, tile, number, {"data": data, "bias": bias})
    formats = len(arch.formats)
    for mode in range(MODES):
        image.write(
            Space.REGISTER,
            tile,
            TileRegister.MODE + mode,
            _mode(arch, *rng.integers([-100, 0, 0], [100, formats, formats]).tolist()),
        )
        image.write(
            Space.REGISTER,
            tile,
            TileRegister.VECTOR_MODE + mode,
            {"offset": _spread(rng, 64, 2048), "bias": _spread(rng, 40, 512)},
        )
    for guard in Guard:
        image.write(Space.REGISTER, tile, TileRegister.GUARD + guard.value, _guard(rng))
    image.write(Space.REGISTER, tile, TileRegister.REBLOCK, {"format": int(rng.integers(formats))})
    for first, size in (
        (TileRegister.WEIGHT, 6),
        (TileRegister.READ, arch.memory_words),
        (TileRegister.WRITE, arch.memory_words),
    ):
        image.write(
            Space.REGISTER, tile, first, {"base": int(rng.integers(size)), "guard": _guard(rng)}
        )
        for i in range(1, ADDRESS_WORDS):
            image.write(
                Space.REGISTER,
                tile,
                first + i,
                {"count_less_1": int(rng.integers(4)), "stride": int(rng.integers(-9, 9))},
            )
    # Between regions the number of words may depend on data, so all of it must be known.
    if kind.memory and (arch.region_count > 1 or rng.random() < 0.5):
        for row in rng.integers(arch.memory_words, size=5).tolist():
            data, bias = _word(arch, rng)
            image.write(Space.MEMORY, tile, row, {"data": data, "bias": bias})


def _context(
    image: Image, tile: tuple[int, int], rng: np.random.Generator, preferred: tuple[Op, ...]
) -> dict[str, int]:
    """Random fields; half of the flags set; a slice that the word has."""
    arch = image.arch
    context = unpack(CONTEXT, int(rng.integers(1 << 62)) << 2 | int(rng.integers(4)))
    ops = preferred if rng.random() < 0.7 else tuple(Op)
    context |= {sink: int(rng.choice(_SOURCES)) for sink in SINKS}
    context |= {"op": ops[int(rng.integers(len(ops)))].value, "guarded": int(rng.random() < 0.2)}
    mode = image.read(Space.REGISTER, tile, TileRegister.MODE + context["mode"])
    fmt = arch.data_formats[mode["x_format"]]
    slices = min(arch.slices_per_word(fmt), arch.codes_per_word(fmt) // arch.lanes16)
    context["slice"] = int(rng.integers(slices))
    return context


def _region(
    image: Image,
    region: int,
    rng: np.random.Generator,
    received: Mapping[int, int],
    silent: list[int],
    least_cycles: int = 0,
) -> int:
    """Sequencer and streams of a region; returns its rounds, for so many cycles at least.

    ``received``: words of each input from another region, taken one a round.  Words go
    to the regions that are ``silent`` so far.
    """
    arch, place = image.arch, (region, 0)
    ii = int(rng.integers(1, 9)) if rng.random() < 0.5 else int(rng.integers(4, 9))

    def write(row: int, value: dict) -> None:
        image.write(Space.SEQUENCER, place, row, value)

    several = [1, 1, 2, 3] if arch.region_count == 1 else [1, 1, 2]
    loops = [1] * (LOOPS - 1) if received else rng.choice(several, LOOPS - 1).tolist()
    rounds = int(rng.integers(1, 6)) if not received else max(*received.values(), 4)
    rounds = max(rounds, -(-least_cycles // ii))
    stage = int(rng.integers(1, 6))
    write(SequencerRegister.II, {"slots_less_1": ii - 1})
    write(SequencerRegister.SPAN, {"stage": stage, "slot": int(rng.integers(ii))})
    for i, count in enumerate(loops):
        write(SequencerRegister.LOOP + i, {"count_less_1": count - 1})
    for number in range(PREDICATES - PROGRAMMABLE):
        write(
            SequencerRegister.PREDICATE + number,
            {
                "first": int(rng.choice([0, 0, 1, 2, 3, 8])),
                "last": int(rng.choice([0, 0, 1, 2, 4])),
                "loop": int(rng.integers(LOOPS)),
                "compare": int(rng.integers(len(Compare))),
                "value": int(rng.integers(4)),
            },
        )
    streams = [{"read": 0, "emit": 0} for _ in range(ii)]
    counted = list(received.items())[: PREDICATES - PROGRAMMABLE]
    for i, port in enumerate(arch.inputs(region)):
        if port.row == 0 and port.link == "north":
            for slot in streams:
                slot["read"] |= int(rng.integers(2)) << i
            guard = _guard(rng) if rng.random() < 0.4 else {"predicate": EXISTS}
            # A stream that is read in every cycle, whether an iteration exists or not, is legal.
            write(SequencerRegister.INPUT + i, guard)
    for number, (i, count) in enumerate(counted):
        write(
            SequencerRegister.PREDICATE + number,
            {"loop": LOOPS - 1, "compare": Compare.LESS.value, "value": count},
        )
        streams[int(rng.integers(ii))]["read"] |= 1 << i
        write(
            SequencerRegister.INPUT + i,
            {"predicate": PROGRAMMABLE + number, "stage": int(rng.integers(min(stage, 3)))},
        )
    outward = 0
    for i, port in enumerate(arch.outputs(region)):
        other = _beyond(arch, port)
        if other is None:
            for slot in streams:
                slot["emit"] |= int(rng.integers(2)) << i
        elif other in silent and outward < 3 and rng.random() < 0.5:
            streams[int(rng.integers(ii))]["emit"] |= 1 << i
            outward += 1
    for number, value in enumerate(streams):
        image.write(Space.STREAM, place, number, value)
    return rounds


def _beyond(arch: Architecture, port: Port) -> int | None:
    """Region that an output leads to; None for the host."""
    other = neighbour(port.row, port.col, port.link)
    return arch.region(*other) if other in arch.tiles else None


def _host_reads(image: Image, region: int, rounds: int) -> dict[int, int]:
    """Words that a region reads from each column's input stream."""
    arch, place = image.arch, (region, 0)
    loops = Loops(image, region, rounds)
    ii = image.read(Space.SEQUENCER, place, SequencerRegister.II)["slots_less_1"] + 1
    span = image.read(Space.SEQUENCER, place, SequencerRegister.SPAN)
    cycles = (loops.total - 1 + span["stage"]) * ii + span["slot"] + 1
    streams = [image.read(Space.STREAM, place, s)["read"] for s in range(ii)]
    out = {}
    for i, port in enumerate(arch.inputs(region)):
        if port.row == 0 and port.link == "north":
            guard = image.read(Space.SEQUENCER, place, SequencerRegister.INPUT + i)
            out[port.col] = sum(
                bool(streams[cycle % ii] >> i & 1) and loops.holds(guard, cycle % ii, cycle // ii)
                for cycle in range(cycles)
            )
    return out


def _received(
    image: Image, before: list[int], region: int, inputs: Mapping[int, Stream], rounds: list[int]
) -> dict[int, int]:
    """Words that reach each input of a region from those that ran before it."""
    arch, golden = image.arch, GoldenArray(image)
    for column, words in inputs.items():
        golden.feed(column, [words])
    for number in before:
        golden.start(number, rounds[number])
    golden.advance()
    return {
        i: count
        for i, port in enumerate(arch.inputs(region))
        if (port.row, port.link) != (0, "north") and (count := int(golden.entering[port].tail[0]))
    }
