"""Whether a descriptor has a meaning."""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spu.arch.memory import Kind, MemoryEngine, descriptor_layout
from spu.rtl.layouts import of

#: log2 of the bytes of a word of the loader.
_LOADER_WORD = 2


class DescriptorChecker(wiring.Component):
    """Checks what ``spu.arch.memory.descriptor_layout`` asks of a descriptor.

    Parameters
    ----------
    engine: all its parameters.
    regions: of the array.

    Members
    -------
    i : In(8 * descriptor_bytes) - as it lies in memory; good : Out(1)

    Contract
    --------
    Latency: 0.
    Throughput: one a cycle.
    Holds: no state.
    Reset: no state.
    Corner cases: memory that was never written, all zeros or all ones, is no descriptor.

    Example
    -------
    >>> from spu.arch.memory import Kind, MemoryEngine, descriptor_layout
    >>> from spu.rtl.observe import observe
    >>> engine = MemoryEngine()
    >>> from spu.arch.packing import pack
    >>> layout = descriptor_layout(Kind.RUN, engine)
    >>> run = [pack(layout, {"kind": 4, "target": n, "rounds": 1}) for n in (0, 9)]
    >>> observe(DescriptorChecker(engine, 1), [{"i": n} for n in (0, *run)], "good")
    [0, 1, 0]
    """

    latency = 0

    def __init__(self, engine: MemoryEngine, regions: int) -> None:
        self.engine, self.regions = engine, regions
        super().__init__({"i": In(8 * engine.descriptor_bytes), "good": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        engine = self.engine
        targets = {
            Kind.READ: engine.read_channels,
            Kind.WRITE: engine.write_channels,
            Kind.RUN: self.regions,
        }
        shapes = {kind: of(descriptor_layout(kind, engine)) for kind in Kind}
        head = shapes[Kind.LOAD](self.i[: shapes[Kind.LOAD].size])
        fits = Signal()
        pattern = head.pattern
        most = engine.word_bytes.bit_length() - 1
        word = Signal(range(most + 1))  # log2 of the bytes of a word
        m.d.comb += [
            word.eq(most - pattern.narrow),
            fits.eq((pattern.narrow <= most) & (pattern.size <= word) & (pattern.index_level == 0)),
        ]
        with m.Switch(head.kind):
            for kind, shape in shapes.items():
                with m.Case(kind.value):
                    asks: Value = (
                        (head.zero == 0)
                        & (head.target < targets.get(kind, 1))
                        & ~self.i[shape.size :].any()
                    )
                    if kind in (Kind.LOAD, Kind.READ, Kind.WRITE):
                        asks &= fits
                    if kind is Kind.LOAD:
                        asks &= word == _LOADER_WORD
                    if kind is Kind.RUN:
                        # A run of no rounds never begins.
                        asks &= shape(self.i[: shape.size]).rounds != 0
                    if kind is Kind.FENCE:
                        fence = shape(self.i[: shape.size])
                        for name, count in (
                            ("read_channels", engine.read_channels),
                            ("write_channels", engine.write_channels),
                            ("regions", self.regions),
                        ):
                            asks &= ~fence[name][count:].any()
                    m.d.comb += self.good.eq(asks)
        return m
