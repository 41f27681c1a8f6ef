"""What all programs have in common: regions, streams, address generators, cycles.

The one place that writes and reads sequencer rows; all that makes, checks or shows a program uses
it.  An iteration begins every ``ii`` cycles, and ends ``span`` cycles after it began.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from spu.arch.bitstream import Image
from spu.arch.config import ADDRESS_WORDS, SequencerRegister, Space
from spu.arch.context import SINKS, SUM_OPS, VECTOR_OPS, Op, Source
from spu.arch.params import EXISTS, LOOPS, PREDICATES, PROGRAMMABLE, Port, TileKind

#: (row, column).
Tile = tuple[int, int]


def missing_unit(kind: TileKind, context: Mapping[str, int]) -> str | None:
    """A unit that a context uses and a tile of this kind has not; None if all are there.

    ``context``: fields of a context word, missing ones 0.
    """
    op = Op(context.get("op", 0))
    sources = {Source(context.get(sink, 0)) for sink in SINKS}
    needs = {
        "matrix unit": context.get("mac") or context.get("drain") or Source.MATRIX in sources,
        "data memory": context.get("read") or context.get("memory") or Source.MEMORY in sources,
        "reblock unit": context.get("pop") or op is Op.PUSH or Source.REBLOCK in sources,
        "vector unit": op in (*SUM_OPS, *VECTOR_OPS) or sources & {Source.VECTOR, Source.SUM},
    }
    has = {
        "matrix unit": kind.matrix,
        "data memory": kind.memory,
        "reblock unit": kind.memory,
        "vector unit": kind.vector,
    }
    return next((unit for unit, used in needs.items() if used and not has[unit]), None)


def executed_cycles(iterations: int, ii: int, span: int) -> int:
    """Cycles that so many iterations take, without holds."""
    return (iterations - 1) * ii + span if iterations else 0


@dataclass(frozen=True)
class Timing:
    """Of a region: ``ii`` and ``span`` in cycles; ``counts`` of its loops but the outermost.

    The outermost loop's count is the host's number of ``rounds``.
    """

    ii: int
    span: int
    counts: tuple[int, ...] = ()

    def iterations(self, rounds: int) -> int:
        """Iterations of so many rounds."""
        return rounds * prod(self.counts)

    def cycles(self, rounds: int) -> int:
        """Executed cycles of so many rounds, without holds."""
        return executed_cycles(self.iterations(rounds), self.ii, self.span)


def write_region(
    image: Image,
    timing: Timing,
    reads: Mapping[int, Iterable[int]],
    emits: Mapping[int, Iterable[int]],
    predicates: Mapping[int, Mapping[str, int]] = {},
    region: int = 0,
) -> None:
    """Sequencer and stream rows of a region.

    ``reads`` and ``emits``: by column, the cycles of an iteration in which it takes a word from
    the north, or gives one to the south; those of a column that reads lie in one stage.
    ``predicates``: rows by number from ``PROGRAMMABLE``.  Raises ``ValueError`` for what does not
    fit its field, and for reads of a column in several stages.
    """
    arch, place, rows = image.arch, (region, 0), SequencerRegister
    stage, slot = divmod(timing.span - 1, timing.ii)
    image.write(Space.SEQUENCER, place, rows.II, {"slots_less_1": timing.ii - 1})
    image.write(Space.SEQUENCER, place, rows.SPAN, {"slot": slot, "stage": stage})
    for i, count in enumerate(timing.counts):
        image.write(Space.SEQUENCER, place, rows.LOOP + i, {"count_less_1": count - 1})
    for number, row in predicates.items():
        image.write(Space.SEQUENCER, place, rows.PREDICATE + number - PROGRAMMABLE, dict(row))
    streams = [{"read": 0, "emit": 0} for _ in range(timing.ii)]
    for column, times in reads.items():
        port = arch.inputs(region).index(Port(0, column, "north"))
        stages = {time // timing.ii for time in times}
        if len(stages) != 1:
            raise ValueError(f"column {column} reads in stages {sorted(stages)}, not in one")
        image.write(
            Space.SEQUENCER, place, rows.INPUT + port, {"stage": stages.pop(), "predicate": EXISTS}
        )
        for time in times:
            streams[time % timing.ii]["read"] |= 1 << port
    for column, times in emits.items():
        port = arch.outputs(region).index(Port(arch.rows - 1, column, "south"))
        for time in times:
            streams[time % timing.ii]["emit"] |= 1 << port
    for slot, masks in enumerate(streams):
        image.write(Space.STREAM, place, slot, masks)


def read_timing(image: Image, region: int = 0) -> Timing:
    """What ``write_region`` wrote; loops after the last that turns are left out."""

    def row(number: int) -> dict:
        return image.read(Space.SEQUENCER, (region, 0), number)

    ii, span = row(SequencerRegister.II)["slots_less_1"] + 1, row(SequencerRegister.SPAN)
    counts = [row(SequencerRegister.LOOP + i)["count_less_1"] + 1 for i in range(LOOPS - 1)]
    while counts and counts[-1] == 1:
        counts.pop()
    return Timing(ii, span["stage"] * ii + span["slot"] + 1, tuple(counts))


def read_input_guard(image: Image, number: int, region: int = 0) -> dict:
    """GUARD of an input stream by its number."""
    return image.read(Space.SEQUENCER, (region, 0), SequencerRegister.INPUT + number)


def read_predicates(image: Image, region: int = 0) -> dict[int, dict]:
    """Rows of the programmable predicates, by number."""
    return {
        number: image.read(
            Space.SEQUENCER, (region, 0), SequencerRegister.PREDICATE + number - PROGRAMMABLE
        )
        for number in range(PROGRAMMABLE, PREDICATES)
    }


@dataclass(frozen=True)
class Generator:
    """An address generator: ``base + sum(counter_i * stride_i)``, counter 0 fastest.

    ``guard``: fields of the GUARD of the accesses.  ``loops``: (count, stride), the innermost
    first.
    """

    base: int
    guard: Mapping[str, int]
    loops: tuple[tuple[int, int], ...]

    def address(self, access: Any) -> Any:
        """Address, before it wraps, of an access by its number, or of an array of them."""
        address = self.base
        for count, stride in self.loops:
            access, counter = access // count, access % count
            address = address + counter * stride
        return address

    def period(self, size: int) -> int:
        """Accesses after which the addresses of a memory of so many words repeat."""
        turning = [i for i, (count, stride) in enumerate(self.loops) if count > 1 and stride % size]
        return prod(count for count, _ in self.loops[: turning[-1] + 1]) if turning else 1


def write_generator(
    image: Image, tile: Tile, first: int, base: dict, loops: list[tuple[int, int]]
) -> None:
    """Rows of an address generator; ``loops`` are (count, stride) from the innermost."""
    image.write(Space.REGISTER, tile, first, base)
    for i in range(ADDRESS_WORDS - 1):
        count, stride = loops[i] if i < len(loops) else (1, 0)
        image.write(
            Space.REGISTER, tile, first + 1 + i, {"count_less_1": count - 1, "stride": stride}
        )


def read_generator(image: Image, tile: Tile, first: int) -> Generator:
    """What ``write_generator`` wrote."""
    base, *loops = (image.read(Space.REGISTER, tile, first + i) for i in range(ADDRESS_WORDS))
    return Generator(
        base["base"],
        base["guard"],
        tuple((row["count_less_1"] + 1, row["stride"]) for row in loops),
    )
