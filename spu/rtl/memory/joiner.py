"""Beats that follow each other, joined into requests."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spu.arch.memory import SEQUENCE_BITS, MemoryEngine
from spu.rtl.memory import layouts


class RunJoiner(wiring.Component):
    """Runs of beats, each the successor of the one before, as requests of one burst each.

    A run ends where the next beat is no successor or a multiple of ``burst_beats``, or by
    ``hurry``.

    Parameters
    ----------
    engine: its ``burst_beats`` and widths.

    Members
    -------
    i : In(stream of the number of a beat); tag : In(SEQUENCE_BITS) - of the beat at ``i``
    o : Out(stream of beat_request)
    hurry : In(1) - hand out the run as it is
    flush : In(1) - forget all
    busy : Out(1) - a beat is not handed out

    Contract
    --------
    Latency: 2 from the first beat of a run to its request, with ``hurry``.
    Throughput: a beat a cycle, also if each is a run.
    Holds: ``o`` keeps valid and payload until ready, or ``flush``; while it does, a run grows on.
    Reset: no run.
    Corner cases: a beat comes to the end of its run in any case before another tag's; none is taken
        in a cycle with ``flush``.

    Example
    -------
    >>> from spu.arch.memory import MemoryEngine
    >>> from spu.rtl.observe import observe
    >>> beats = [{"i.valid": 1, "i.payload": n, "o.ready": 1} for n in (13, 14, 20)]
    >>> observe(RunJoiner(MemoryEngine()), [*beats, {"i.valid": 0}], "o.valid", "o.payload.beat",
    ...         "o.payload.beats_less_1")
    [(0, 0, 0), (0, 0, 0), (0, 0, 0), (1, 13, 1)]
    """

    latency = 2

    def __init__(self, engine: MemoryEngine) -> None:
        self.engine = engine
        super().__init__(
            {
                "i": In(stream.Signature(engine.beat_address_bits)),
                "tag": In(SEQUENCE_BITS),
                "o": Out(stream.Signature(layouts.beat_request(engine))),
                "hurry": In(1),
                "flush": In(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        active, run = Signal(), Signal(layouts.beat_request(self.engine))
        following = Signal.like(self.i.payload)
        within = (self.engine.burst_beats - 1).bit_length()
        grows, moves, takes = Signal(), Signal(), Signal()
        free = ~self.o.valid | self.o.ready
        m.d.comb += [
            grows.eq(
                (self.i.payload == following) & (following[:within] != 0) & (run.tag == self.tag)
            ),
            moves.eq(active & (self.hurry | (self.i.valid & ~grows)) & free),
            self.i.ready.eq((~active | grows | free) & ~self.flush),
            takes.eq(self.i.valid & self.i.ready),
            self.busy.eq(active | self.o.valid),
        ]
        with m.If(self.o.ready | self.flush):
            m.d.sync += self.o.valid.eq(0)
        with m.If(moves & ~self.flush):
            m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(run), active.eq(0)]
        with m.If(takes):
            m.d.sync += [active.eq(1), following.eq(self.i.payload + 1)]
            with m.If(active & ~moves):
                m.d.sync += run.beats_less_1.eq(run.beats_less_1 + 1)
            with m.Else():
                m.d.sync += [
                    run.beat.eq(self.i.payload),
                    run.beats_less_1.eq(0),
                    run.tag.eq(self.tag),
                ]
        with m.If(self.flush):
            m.d.sync += active.eq(0)
        return m
