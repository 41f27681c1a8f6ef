"""Requests of beats, cut into bursts that AXI allows."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spu.arch.memory import MemoryEngine
from spu.rtl.memory import layouts


class BurstCutter(wiring.Component):
    """Requests of any length, cut where the number of a beat is a multiple of ``burst_beats``.

    A power of two of beats, at most 256 with at most 4 KiB, lies within one page: this one rule
    keeps both limits of AXI, and bursts from memory are aligned.

    Parameters
    ----------
    engine: its ``burst_beats`` and widths.

    Members
    -------
    i : In(stream of beat_request); o : Out(stream of burst) - as a request, with ``last`` of it
    flush : In(1) - forget the rest of the request

    Contract
    --------
    Latency: 1 from a request to its first burst.
    Throughput: a burst a cycle.
    Holds: ``o`` keeps valid and payload until ready, or ``flush``.
    Reset: no request.
    Corner cases: a request is taken while the last burst of the one before leaves, none in a cycle
        with ``flush``; numbers of beats wrap at the end of the address space.

    Example
    -------
    >>> from spu.arch.memory import MemoryEngine
    >>> from spu.rtl.observe import observe
    >>> ask = {"i.valid": 1, "i.payload": {"beat": 13, "beats_less_1": 19}, "o.ready": 1}
    >>> observe(BurstCutter(MemoryEngine()), [ask, {"i.valid": 0}, {}, {}], "o.valid",
    ...         "o.payload.beat", "o.payload.beats_less_1", "o.payload.last")
    [(0, 0, 0, 1), (1, 13, 2, 0), (1, 16, 15, 0), (1, 32, 0, 1)]
    """

    latency = 1

    def __init__(self, engine: MemoryEngine) -> None:
        self.engine = engine
        super().__init__(
            {
                "i": In(stream.Signature(layouts.beat_request(engine))),
                "o": Out(stream.Signature(layouts.burst(engine))),
                "flush": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        request, active = Signal(layouts.beat_request(self.engine)), Signal()
        burst = self.o.payload
        within = (self.engine.burst_beats - 1).bit_length()
        room = ~request.beat[:within]  # beats less 1 to where the burst is cut
        fits = request.beats_less_1 <= room
        m.d.comb += [
            self.i.ready.eq((~active | (self.o.ready & burst.last)) & ~self.flush),
            self.o.valid.eq(active & ~self.flush),
            burst.beat.eq(request.beat),
            burst.beats_less_1.eq(Mux(fits, request.beats_less_1, room)),
            burst.last.eq(fits),
            burst.tag.eq(request.tag),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [active.eq(1), request.eq(self.i.payload)]
        with m.Elif(self.flush | (self.o.ready & burst.last)):
            m.d.sync += active.eq(0)
        with m.Elif(self.o.valid & self.o.ready):
            m.d.sync += [
                request.beat.eq(request.beat + room + 1),
                request.beats_less_1.eq(request.beats_less_1 - room - 1),
            ]
        return m
