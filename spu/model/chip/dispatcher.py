"""Golden model of the dispatcher: what descriptors ask for, handed out in their order."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from spu.arch.chip import Chip
from spu.arch.memory import Fault, Kind, descriptor_layout
from spu.arch.packing import unpack
from spu.model.chip.read_channel import Job

#: Cycles of a write of the array's registers, and the one of them in which it acts.
WRITE_CYCLES, ACTS = 3, 1
#: log2 of the bytes of a word of the loader.
_LOADER_WORD = 2


class Descriptor(NamedTuple):
    """A descriptor that has a meaning."""

    kind: Kind
    target: int
    fields: Mapping[str, Any]


def read_descriptor(chip: Chip, bits: int) -> Descriptor | None:
    """The descriptor, if ``bits`` are one of the chip."""
    engine = chip.memory
    kind = next((k for k in Kind if k.value == bits & 0xFF), None)
    if kind is None:
        return None
    layout = descriptor_layout(kind, engine)
    if bits >> layout.width:
        return None
    fields: Any = unpack(layout, bits)
    targets = {
        Kind.READ: engine.read_channels,
        Kind.WRITE: engine.write_channels,
        Kind.RUN: chip.arch.region_count,
    }
    good = fields["zero"] == 0 and fields["target"] < targets.get(kind, 1)
    if kind in (Kind.LOAD, Kind.READ, Kind.WRITE):
        pattern = fields["pattern"]
        word = engine.word_bytes.bit_length() - 1 - pattern["narrow"]
        good &= 0 <= pattern["size"] <= word and pattern["index_level"] == 0
        good &= kind is not Kind.LOAD or word == _LOADER_WORD
    if kind is Kind.RUN:
        good &= fields["rounds"] > 0
    if kind is Kind.FENCE:
        good &= not (
            fields["read_channels"] >> engine.read_channels
            or fields["write_channels"] >> engine.write_channels
            or fields["regions"] >> chip.arch.region_count
        )
    return Descriptor(kind, fields["target"], fields) if good else None


class Units(NamedTuple):
    """Who takes a pattern in this cycle, and who is busy: as the bits of FENCE, and regions."""

    reads_take: Sequence[bool]
    writes_take: Sequence[bool]
    loader_takes: bool
    reads_busy: Sequence[bool]
    writes_busy: Sequence[bool]
    loader_busy: bool
    running: Sequence[bool]


class Orders(NamedTuple):
    """What the dispatcher does in a cycle; numbers are those of channels and regions."""

    taken: bool = False
    read: int | None = None
    write: int | None = None
    load: bool = False
    job: Job | None = None
    start: Mapping[int, int] = {}
    value: int | None = None
    fault: Fault = Fault.NONE


class DispatcherModel:
    """Hands out descriptors; a run is begun by two writes of the array's registers."""

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self._bits: int | None = None
        self._descriptor: Descriptor | None = None
        self._writing = 0  # cycles of the writes for a run, from 1 on
        self._begun = False

    def orders(self, offered: tuple[int, Fault] | None, number: int, units: Units) -> Orders:
        """What is done in this cycle with the descriptor that the ring offers."""
        if offered is None:
            return Orders()
        bits, fault = offered
        if fault is not Fault.NONE:
            return Orders(fault=fault)
        if bits != self._bits:
            self._bits, self._descriptor = bits, read_descriptor(self.chip, bits)
        descriptor = self._descriptor
        if descriptor is None:
            return Orders(fault=Fault.BAD_DESCRIPTOR)
        kind, target, fields = descriptor
        if kind is Kind.RUN:
            return self._run(target, fields["rounds"], units)
        if kind is Kind.NOTIFY:
            return Orders(taken=True, value=fields["value"])
        if kind is Kind.FENCE:
            return Orders(taken=not self._waits(fields, units))
        job = Job(fields["pattern"], number)
        if kind is Kind.READ:
            return Orders(units.reads_take[target], read=target, job=job)
        if kind is Kind.WRITE:
            return Orders(units.writes_take[target], write=target, job=job)
        if units.loader_busy:
            return Orders()
        return Orders(units.loader_takes, load=True, job=job)

    @staticmethod
    def _waits(fields: Mapping[str, Any], units: Units) -> bool:
        """Whether a unit that FENCE names is busy."""
        named = (
            (fields["read_channels"], units.reads_busy),
            (fields["write_channels"], units.writes_busy),
            (fields["loader"], [units.loader_busy]),
            (fields["regions"], units.running),
        )
        return any(
            mask >> n & 1 and is_busy for mask, busy in named for n, is_busy in enumerate(busy)
        )

    def _run(self, region: int, rounds: int, units: Units) -> Orders:
        """ITERATIONS, then START, then wait until the run has begun."""
        running, step = units.running[region], self._writing
        if step == 0:
            if not running and not units.loader_busy:
                self._writing, self._begun = 1, False
            return Orders()
        if step <= 2 * WRITE_CYCLES:
            self._writing += 1
            if step > WRITE_CYCLES:
                self._begun |= running
            acts = step == WRITE_CYCLES + 1 + ACTS
            return Orders(start={region: rounds} if acts else {})
        if running or self._begun:
            self._writing = 0
            return Orders(taken=True)
        return Orders()
