"""Addresses of the elements of a pattern."""

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spu.arch.memory import AXES, COUNT_BITS, INDEX_BITS, Fault, MemoryEngine
from spu.rtl.memory import layouts
from spu.rtl.memory.gather import IndexScaler


class PatternGenerator(wiring.Component):
    """The elements of ``spu.arch.memory.pattern_layout``, the innermost loop first.

    There is one adder for the address and one for each axis: every loop keeps where its iteration
    began, and the outermost one that steps hands its new place to all within.

    Parameters
    ----------
    engine: its ``address_bits``, ``word_bits`` and ``loops``.

    Members
    -------
    pattern : In(stream of pattern) - taken when the one before has ended
    index : In(stream of INDEX_BITS) - the indices of a gather
    o : Out(stream of element) - an element outside the bounds is ``zero``, its address then unknown
    limit : In(address_bits + 1) - the first address that is no memory
    flush : In(1) - forget the pattern

    Contract
    --------
    Latency: 1 from ``pattern`` to its first element; of a gather 3, and 1 for each bit of its first
        index up to its highest one.
    Throughput: an element a cycle; 1 cycle between patterns.  A gather waits where the elements of
        a row are fewer than the bits of the next index and 2.
    Holds: ``o`` keeps valid and payload until ready, or ``flush``.
    Reset: no pattern.
    Corner cases: a pattern has at least one element, and ends with a fault: an address that is no
        multiple of the element's size (``UNALIGNED``), an element that reaches over ``limit`` or an
        index of ``index_count`` or more (``OUT_OF_RANGE``); zeros have no faults but that of their
        index.  No index is taken before its row, or a row before, and none beyond the last one of a
        pattern without faults.  No pattern is taken in a cycle with ``flush``.

    Example
    -------
    >>> from spu.arch.memory import MemoryEngine
    >>> from spu.rtl.observe import observe
    >>> loops = [{"count_less_1": 1, "stride": s} for s in (2, -8)] + [{}] * 4
    >>> start = {"pattern.payload": {"base": 32, "size": 1, "loops": loops}, "limit": 64,
    ...          "pattern.valid": 1, "o.ready": 1}
    >>> observe(PatternGenerator(MemoryEngine()), [start, {"pattern.valid": 0}, *[{}] * 4],
    ...         "o.valid", "o.payload.address")
    [(0, 0), (1, 32), (1, 34), (1, 24), (1, 26), (0, 26)]
    """

    latency = 1

    def __init__(self, engine: MemoryEngine) -> None:
        self.engine = engine
        super().__init__(
            {
                "pattern": In(stream.Signature(layouts.pattern(engine))),
                "index": In(stream.Signature(INDEX_BITS)),
                "o": Out(stream.Signature(layouts.element(engine))),
                "limit": In(engine.address_bits + 1),
                "flush": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.scaler = scaler = IndexScaler(self.engine)
        wiring.connect(m, wiring.flipped(self.index), scaler.i)
        pattern = Signal(layouts.pattern(self.engine))
        running, has_row = Signal(), Signal()
        counters = [Signal(COUNT_BITS, name=f"counter_{k}") for k in range(self.engine.loops)]
        ends = [
            counter == loop.count_less_1
            for counter, loop in zip(counters, pattern.loops, strict=True)
        ]
        begin = self.pattern.valid & self.pattern.ready
        ending = all_of(ends) | (self.o.payload.fault != Fault.NONE)
        taken = self.o.valid & self.o.ready
        # Loop k steps when all within it are at their ends.
        steps = [taken & ~ending & all_of(ends[:k]) & ~end for k, end in enumerate(ends)]
        m.d.comb += self.pattern.ready.eq(~running & ~self.flush)
        with m.If(begin):
            m.d.sync += [pattern.eq(self.pattern.payload), *(c.eq(0) for c in counters)]
        for k, step in enumerate(steps):
            with m.If(step):
                m.d.sync += [counters[k].eq(counters[k] + 1), *(c.eq(0) for c in counters[:k])]
        with m.If(self.flush | (taken & ending)):
            m.d.sync += running.eq(0)
        with m.Elif(begin):
            m.d.sync += running.eq(1)

        level = pattern.index_level
        rows = enumerate(zip(steps, ends, strict=True))
        outer = [(level <= k, step, end) for k, (step, end) in rows]
        next_row = (level != 0) & any_of([at & step for at, step, _ in outer])
        more_rows = any_of([at & ~end for at, _, end in outer])
        offset, bad = Signal(self.engine.address_bits), Signal()
        m.d.comb += [
            scaler.pitch.eq(pattern.index_pitch),
            scaler.count.eq(pattern.index_count),
            scaler.take.eq(running & (level != 0) & (~has_row | more_rows)),
            scaler.flush.eq(self.flush | ~running),
            scaler.o.ready.eq(running & (~has_row | next_row)),
        ]
        with m.If(begin):
            m.d.sync += [has_row.eq(self.pattern.payload.index_level == 0), offset.eq(0), bad.eq(0)]
        with m.Elif(scaler.o.ready):
            m.d.sync += [
                has_row.eq(scaler.o.valid),
                offset.eq(scaler.o.payload.offset),
                bad.eq(scaler.o.payload.bad),
            ]

        base = self.pattern.payload.base
        strides = [loop.stride for loop in pattern.loops]
        address = Signal(self.engine.address_bits)
        m.d.comb += address.eq(_place(m, "address", begin, base, steps, strides) + offset)
        outside = []
        for a in range(AXES):
            start = self.pattern.payload.axes[a].start
            along = [loop.steps[a] for loop in pattern.loops]
            coordinate = _place(m, f"coordinate_{a}", begin, start, steps, along)
            extent = pattern.axes[a].extent
            # As a number without a sign, what lies before the bounds is beyond them.
            outside.append((extent != 0) & (coordinate.as_unsigned() >= extent))
        zero, size = any_of(outside), Signal(range(self.engine.word_bytes + 1))
        m.d.comb += [
            size.eq(1 << pattern.size),
            self.o.valid.eq(running & has_row & ~self.flush),
            self.o.payload.address.eq(address),
            self.o.payload.zero.eq(zero),
            self.o.payload.last.eq(ending),
        ]
        fault = self.o.payload.fault
        with m.If(bad):
            m.d.comb += fault.eq(Fault.OUT_OF_RANGE)
        with m.Elif(~zero):
            with m.If((address & (size - 1)) != 0):
                m.d.comb += fault.eq(Fault.UNALIGNED)
            with m.Elif(address + size > self.limit):
                m.d.comb += fault.eq(Fault.OUT_OF_RANGE)
        return m


def _place(
    m: Module, name: str, begin: Value, first: Value, steps: list[Value], strides: list[Value]
) -> Signal:
    """Where the iteration of the innermost loop is: of all loops the same at first, and from a
    step of a loop on, of it and all within.
    """
    places = [Signal.like(first, name=f"{name}_{k}") for k in range(len(steps))]
    stepped = Signal.like(first, name=f"{name}_next")
    with m.If(begin):
        m.d.sync += [place.eq(first) for place in places]
    for k, step in enumerate(steps):
        with m.If(step):
            m.d.comb += stepped.eq(places[k] + strides[k])
            m.d.sync += [place.eq(stepped) for place in places[: k + 1]]
    return places[0]


def any_of(bits: list[Value]) -> Value:
    """Whether one of some bits is 1."""
    return Cat(*bits).any()


def all_of(bits: list[Value]) -> Value:
    """Whether each of some bits is 1; of none they all are."""
    return Cat(*bits).all() if bits else Const(1)
