"""VectorUnit: PAL16 arithmetic on the lanes of a word."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.formats import PAL8T, PAL8U, PAL16, ZERO_BLOCK, Format
from pal_units.rtl.accumulator import UNITS_PER_OFFSET, Accumulator16
from pal_units.rtl.adder16 import ZERO as ZERO_LOG
from pal_units.rtl.adder16 import LinearSum
from pal_units.rtl.codebook import ByteDecoder, CodebookDecoder
from pal_units.rtl.decoder import ElementDecoder, element_layout
from pal_units.rtl.elementwise import Comparator
from pal_units.rtl.log import UNITS_PER_BIAS, pal16_code
from pal_units.rtl.widen import Widener
from spu.arch import timing
from spu.arch.config import format_numbers
from spu.arch.context import READS_B, READS_C, SUM_OPS, VECTOR_OPS, Op
from spu.arch.params import SLICES, Architecture, code_pitch
from spu.rtl.layouts import VECTOR_MODE, word_layout
from spu.rtl.vector_lane import VectorLane


class VectorUnit(wiring.Component):
    """Sums, products, quotients, roots, powers, comparisons and reductions of PAL16 lanes.

    The result is valid if ``enable`` is set and the operands that the operation reads are valid;
    its bias is 0.  ACC adds valid words only, and with ``emit`` hands out the sums if any word was
    added since it last did.

    Parameters
    ----------
    arch: its ``lanes16`` PAL16 lanes a word.

    Members
    -------
    op : In(Op); enable, emit : In(1); mode : In(VECTOR_MODE)
    slice : In(3); format : In - of UNBLOCK
    a, b, c : In(WORD); o, total : Out(WORD)
    saturated, total_saturated : Out(lanes) - of ``o`` and ``total``: lanes whose result lay above
        the top of PAL16, so that they hold the top

    Contract
    --------
    Latency: ``timing.SUM`` = 3 to ``total`` for sums, ``timing.VECTOR`` = 1 to ``o`` for the
        others.
    Throughput: an operation a cycle; a sum and another operation may end in the same cycle.
    Holds: none of its own; in a tile it stands still with its region.
    Reset: ``o`` and ``total`` are invalid, nothing is accumulated.
    Corner cases: an operation of another unit gives invalid words; an ``emit`` with no word added
        gives an invalid one; UNBLOCK of an empty block gives zeros.

    Example
    -------
    >>> from spu.arch.context import Op
    >>> from spu.rtl.observe import ONE, observe
    >>> word = {"data": 0x7000, "valid": 1}
    >>> twice = {"op": Op.ADD, "enable": 1, "a": word, "b": word}
    >>> shown = observe(VectorUnit(ONE), [twice, {"op": Op.MAX}, {"op": Op.NOP}, {}], "o", "total")
    >>> shown[2][0] == {**word, "bias": 0}, hex(shown[3][1]["data"])   # an octave is 0x400
    (True, '0x7400')
    """

    latency = timing.SUM

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        word = word_layout(arch)
        super().__init__(
            {
                "op": In(Op),
                "enable": In(1),
                "emit": In(1),
                "mode": In(VECTOR_MODE),
                "slice": In(range(SLICES)),
                "format": In(format_numbers(arch)),
                "a": In(word),
                "b": In(word),
                "c": In(word),
                "o": Out(word),
                "total": Out(word),
                "saturated": Out(arch.lanes16),
                "total_saturated": Out(arch.lanes16),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        op = self.op
        operands = Signal()
        m.d.comb += operands.eq(
            self.enable
            & self.a.valid
            & (self.b.valid | ~op.matches(*READS_B))
            & (self.c.valid | ~op.matches(*READS_C))
        )
        self._one_cycle(m, operands)
        self._sums(m, operands)
        return m

    def _lanes(self, word: data.View) -> data.View:
        return data.View(data.ArrayLayout(PAL16.n, self.arch.lanes16), word.data)

    def _one_cycle(self, m: Module, operands: Value) -> None:
        assert timing.VECTOR == 1
        op, lanes = self.op, self.arch.lanes16
        results = Signal(data.ArrayLayout(PAL16.n, lanes))
        saturates = Signal(lanes)
        least, greatest = [], []
        a, b, c = (self._lanes(w) for w in (self.a, self.b, self.c))
        across = op.matches(Op.LANE_MIN, Op.LANE_MAX)
        for lane in range(lanes):
            m.submodules[f"lane_{lane}"] = unit = VectorLane()
            # Across lanes, the comparators of the first lanes form the leaves of a tree.
            other = a[lane + lanes // 2] if lane < lanes // 2 else b[lane]
            m.d.comb += [
                unit.op.eq(self.op),
                unit.mode.eq(self.mode),
                unit.a.eq(a[lane]),
                unit.b.eq(Mux(across, other, b[lane])),
                unit.c.eq(c[lane]),
            ]
            least.append(unit.minimum)
            greatest.append(unit.maximum)
            m.d.comb += [results[lane].eq(unit.o), saturates[lane].eq(unit.saturates)]
        low, high = self._reduced(m, least, greatest)
        for lane in range(lanes):
            with m.If(op == Op.LANE_MIN.value):
                m.d.comb += results[lane].eq(low)
            with m.Elif(op == Op.LANE_MAX.value):
                m.d.comb += results[lane].eq(high)
            with m.Elif(op == Op.UNBLOCK.value):
                code, above = self._unblocked(m, lane)
                m.d.comb += [results[lane].eq(code), saturates[lane].eq(above)]
        m.d.sync += [self.o.eq(0), self.saturated.eq(0)]
        with m.If(operands & op.matches(*VECTOR_OPS)):
            m.d.sync += [self.o.data.eq(results), self.o.valid.eq(1), self.saturated.eq(saturates)]

    def _reduced(self, m: Module, least: list[Value], greatest: list[Value]) -> tuple[Value, Value]:
        """Least and greatest of all lanes, from those of the pairs in the first half."""
        least, greatest = (v[: self.arch.lanes16 // 2] for v in (least, greatest))
        while len(least) > 1:
            level = len(least)
            for values, name in ((least, "minimum"), (greatest, "maximum")):
                half = []
                for i in range(level // 2):
                    m.submodules[f"{name}_{level}_{i}"] = unit = Comparator(PAL16)
                    m.d.comb += [unit.a.eq(values[i]), unit.b.eq(values[i + level // 2])]
                    half.append(getattr(unit, name))
                values[:] = half
        return least[0], greatest[0]

    def _unblocked(self, m: Module, lane: int) -> tuple[Signal, Value]:
        """PAL16 code of a block's code, in part ``slice`` of the word; whether above the top."""
        lanes, formats = self.arch.lanes16, self.arch.data_formats
        element = Signal(element_layout(formats, PAL16.fraction_bits), name=f"element_{lane}")
        beta, empty = Signal(signed(9), name=f"beta_{lane}"), Signal(name=f"empty_{lane}")
        plain = [f for f in formats if f.codebooks is None]
        code, number = Signal(8, name=f"code_{lane}"), Signal(range(max(len(plain), 2)))
        if plain:
            m.submodules[f"widen_{lane}"] = widen = Widener(plain)
            m.submodules[f"decode_{lane}"] = decode = ElementDecoder(
                (PAL8T, PAL8U), PAL16.fraction_bits
            )
            m.d.comb += [
                widen.i.eq(code),
                widen.select.eq(number),
                decode.code.eq(widen.o),
                decode.select.eq(widen.uniform),
            ]
        with m.Switch(self.format):
            for i, f in enumerate(formats):
                pitch = code_pitch(f)
                part = self.a.data.word_select(self.slice, pitch * lanes).word_select(lane, pitch)
                with m.Case(i) if i + 1 < len(formats) else m.Default():
                    m.d.comb += code.eq(part)
                    if f.codebooks is None:
                        m.d.comb += [
                            number.eq(plain.index(f)),
                            *(element[name].eq(decode.o[name]) for name, _ in element.shape()),
                            beta.eq(self.a.bias.as_signed()),
                            empty.eq(self.a.bias.as_signed() == ZERO_BLOCK),
                        ]
                    else:
                        m.d.comb += self._by_codebook(m, f, lane, code, element, beta)
        magnitude = PAL16.m_max - element.lam + beta * UNITS_PER_BIAS
        found = pal16_code(m, magnitude, element.negative, f"unblocked_{lane}")
        out = Signal(PAL16.n, name=f"unblocked_code_{lane}")
        m.d.comb += out.eq(
            Mux(element.nan & ~empty, PAL16.sign_bit, Mux(element.zero | empty, 0, found))
        )
        above = (magnitude > PAL16.m_max) & ~element.nan & ~element.zero & ~empty
        return out, above

    def _by_codebook(
        self, m: Module, fmt: Format, lane: int, code: Value, element: data.View, beta: Signal
    ) -> list[Any]:
        """A code of profile A and the byte of its block."""
        m.submodules[f"decode_byte_{fmt.name}_{lane}"] = byte = ByteDecoder(fmt)
        m.submodules[f"decode_{fmt.name}_{lane}"] = decode = CodebookDecoder(
            fmt, PAL16.fraction_bits
        )
        return [
            byte.block_byte.eq(self.a.bias),
            decode.code.eq(code),
            decode.selector.eq(byte.selector),
            beta.eq(byte.beta),
            *(element[name].eq(decode.o[name]) for name, _ in element.shape()),
        ]

    def _sums(self, m: Module, operands: Value) -> None:
        assert self.latency == LinearSum.latency == Accumulator16.latency
        op, lanes = self.op, self.arch.lanes16
        accumulates, across = op == Op.ACC.value, op == Op.LANE_SUM.value
        m.submodules.accumulator = accumulator = Accumulator16(lanes)
        a, b, c = (self._lanes(w) for w in (self.a, self.b, self.c))
        emit, any_added = Signal(), Signal()
        m.d.comb += [
            emit.eq(self.enable & accumulates & self.emit),
            accumulator.a.eq(a),
            accumulator.accumulate.eq(operands & accumulates),
            accumulator.emit.eq(emit),
            accumulator.lane_sum.eq(across),
            accumulator.offset.eq(self.mode.offset),
        ]
        with m.If(emit):
            m.d.sync += any_added.eq(0)
        with m.Elif(operands & accumulates):
            m.d.sync += any_added.eq(1)
        done = Mux(
            accumulates,
            emit & (any_added | self.a.valid),
            operands & op.matches(*(o for o in SUM_OPS if o is not Op.ACC)),
        )
        linear = accumulates | across
        for i in range(timing.SUM):
            following, chosen = Signal(name=f"done_{i}"), Signal(name=f"linear_{i}")
            m.d.sync += [following.eq(done), chosen.eq(linear)]
            done, linear = following, chosen
        with m.If(done):
            m.d.comb += self.total.valid.eq(1)
        totals = self._lanes(self.total)
        for lane in range(lanes):
            added = self._added(m, lane, a[lane], b[lane], c[lane])
            with m.If(done):
                m.d.comb += [
                    totals[lane].eq(Mux(linear, accumulator.o[lane], added.o)),
                    self.total_saturated[lane].eq(
                        Mux(linear, accumulator.saturates[lane], added.saturates)
                    ),
                ]

    def _added(self, m: Module, lane: int, a: Value, b: Value, c: Value) -> LinearSum:
        """ADD, ADD_RELU, SUB, FMA of a lane."""
        op, bits = self.op, PAL16.magnitude_bits
        multiplies = op == Op.FMA.value
        m.submodules[f"sum_{lane}"] = total = LinearSum()
        addend = Signal(PAL16.n, name=f"addend_{lane}")
        factor = Signal(bits, name=f"factor_{lane}")
        m.d.comb += [
            addend.eq(Mux(multiplies, c, b)),
            factor.eq(Mux(multiplies, b[:bits], PAL16.m_max)),
            total.x.m.eq(
                Mux((a[:bits] == 0) | (factor == 0), ZERO_LOG, a[:bits] + factor - PAL16.m_max)
            ),
            total.y.m.eq(
                Mux(
                    addend[:bits] == 0,
                    ZERO_LOG,
                    addend[:bits] - self.mode.offset * UNITS_PER_OFFSET,
                )
            ),
            total.x.negative.eq(a[-1] ^ (multiplies & b[-1])),
            total.y.negative.eq(addend[-1] ^ (op == Op.SUB.value)),
            total.nan.eq(
                (a == PAL16.sign_bit)
                | (addend == PAL16.sign_bit)
                | (multiplies & (b == PAL16.sign_bit))
            ),
            total.relu.eq(op == Op.ADD_RELU.value),
        ]
        return total
