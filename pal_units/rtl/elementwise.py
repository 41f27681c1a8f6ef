"""Elementwise units: decode, one operation on logarithms, encode."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from amaranth.hdl import Module, Mux, Shape, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.formats import Format
from pal_units.rtl.decoder import ElementDecoder, refuse_adaptive
from pal_units.rtl.encoder import ElementEncoder, result_layout
from pal_units.rtl.pipeline import Pipeline, check_stages


class ElementwiseUnit(wiring.Component, ABC):
    """Base of the units that take element codes and give one.

    A subclass names its operands, says in what unit and width its result is, and computes
    it in ``operate``.

    Parameters
    ----------
    fmt: format of operands and result.
    stages: rows of pipeline registers, 0 to ``steps``; the latency.
    controls: further inputs, which travel with the operands.

    ``saturates``, a signal beside ``o`` for who counts: see ``ElementEncoder``.
    """

    #: Names of the operand ports.
    operands: tuple[str, ...] = ("a",)
    #: Steps that registers can be put after.
    steps = 3

    def __init__(
        self, fmt: Format, stages: int = 0, controls: Mapping[str, Shape | int] = {}
    ) -> None:
        refuse_adaptive(fmt)
        check_stages(stages, self.steps)
        self.fmt, self.stages, self.controls = fmt, stages, tuple(controls)
        super().__init__(
            {
                **{name: In(fmt.n) for name in self.operands},
                **{name: In(shape) for name, shape in controls.items()},
                "o": Out(fmt.n),
            }
        )
        self.saturates = Signal()

    @property
    def latency(self) -> int:
        """Cycles from operands to result."""
        return self.stages

    @property
    def decoded_fraction_bits(self) -> int:
        """Fraction bits of the decoded operands' logs."""
        return self.fmt.fraction_bits

    @property
    def result_fraction_bits(self) -> int:
        """Fraction bits of the result's log."""
        return self.fmt.fraction_bits

    @property
    def lam_bits(self) -> int:
        """Signed width of the result's log distance."""
        return self.fmt.lambda_bits + 2

    @abstractmethod
    def operate(self, m: Module, pipe: Pipeline, *values: Value) -> dict[str, Value]:
        """``lam``, ``negative``, ``zero`` and ``nan`` from decoded operands and controls."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pipe = Pipeline(m, self.steps, self.stages)
        elements = []
        for name in self.operands:
            decoder = ElementDecoder((self.fmt,), self.decoded_fraction_bits)
            m.submodules[f"decode_{name}"] = decoder
            m.d.comb += decoder.code.eq(getattr(self, name))
            elements.append(decoder.o)
        values = pipe.step(*elements, *(getattr(self, name) for name in self.controls))
        result = Signal(result_layout(self.lam_bits))
        for field, value in self.operate(m, pipe, *values).items():
            m.d.comb += result[field].eq(value)
        (result,) = pipe.step(result)
        m.submodules.encode = encode = ElementEncoder(
            self.fmt, self.result_fraction_bits, self.lam_bits
        )
        m.d.comb += encode.i.eq(result)
        code, saturates = pipe.step(encode.o, encode.saturates)
        m.d.comb += [self.o.eq(code), self.saturates.eq(saturates)]
        return m


class Multiplier(ElementwiseUnit):
    """``o = a * b`` of element codes; the block biases add outside.

    The log of the product is exact; it is rounded once, to the nearest code.  NaN if
    either operand is NaN; no negative zero.  Latency ``stages`` (0 to 3), throughput one
    a cycle.

    Members
    -------
    a, b : In(n); o : Out(n)

    Example
    -------
    >>> from pal_units.formats import PAL8T
    >>> from pal_units.rtl.evaluate import evaluate
    >>> evaluate(Multiplier(PAL8T, stages=2), a=95, b=63)  # 1/2 times 1/4
    {'o': 47}
    >>> PAL8T.levels[47]
    np.float64(0.125)
    """

    operands = ("a", "b")

    def operate(self, m: Module, pipe: Pipeline, a: data.View, b: data.View) -> dict[str, Value]:
        return {
            "lam": a.lam + b.lam,
            "negative": a.negative ^ b.negative,
            "zero": a.zero | b.zero,
            "nan": a.nan | b.nan,
        }


class Divider(ElementwiseUnit):
    """``o = a / b`` of element codes; the block biases subtract outside.

    The log of the quotient is exact; it is rounded once, to the nearest code, and
    saturates above the top.  ``x / 0`` saturates with the sign of ``x``, ``0 / 0`` is
    NaN.  Latency ``stages`` (0 to 3), throughput one a cycle.

    Parameters
    ----------
    headroom: octaves that the top of the result lies above the quotient of the tops.

    Members
    -------
    a, b : In(n); o : Out(n)

    Example
    -------
    >>> from pal_units.formats import PAL8T
    >>> from pal_units.rtl.evaluate import evaluate
    >>> evaluate(Divider(PAL8T, headroom=2), a=95, b=63)  # 1/2 by 1/4, below a top of 4
    {'o': 95}
    """

    operands = ("a", "b")

    def __init__(self, fmt: Format, headroom: int = 0, stages: int = 0) -> None:
        self.headroom = check_headroom(headroom, fmt)
        super().__init__(fmt, stages)

    @property
    def lam_bits(self) -> int:
        return self.fmt.lambda_bits + 3

    def operate(self, m: Module, pipe: Pipeline, a: data.View, b: data.View) -> dict[str, Value]:
        distance = a.lam - b.lam + (self.headroom << self.fmt.fraction_bits)
        return {
            "lam": Mux(b.zero, 0, distance),
            "negative": a.negative ^ (b.negative & ~b.zero),
            "zero": a.zero,
            "nan": a.nan | b.nan | (a.zero & b.zero),
        }


class SquareRoot(ElementwiseUnit):
    """``o = sqrt(a)`` of element codes: the log halved.

    The operand's bias ``b`` gives the result's ``ceil(b/2)``; ``odd`` is ``b mod 2``.
    Exact log, rounded once: at most half a unit of the log in profile U, the nearest code
    in T.  Of a negative number NaN.  Latency ``stages`` (0 to 3), throughput one a cycle.

    Members
    -------
    a : In(n); odd : In(1); o : Out(n)

    Example
    -------
    >>> from pal_units.formats import PAL8T
    >>> from pal_units.rtl.evaluate import evaluate
    >>> evaluate(SquareRoot(PAL8T), a=63)  # the root of 1/4 is 1/2
    {'o': 95}
    """

    def __init__(self, fmt: Format, stages: int = 0) -> None:
        super().__init__(fmt, stages, {"odd": 1})

    @property
    def result_fraction_bits(self) -> int:
        return max(self.fmt.fraction_bits + 1, 4)  # 4: half of 1/8 octave

    @property
    def lam_bits(self) -> int:
        return self.fmt.lambda_bits + self.result_fraction_bits - self.fmt.fraction_bits + 1

    def _half(self, a: data.View) -> Value:
        return a.lam << (self.result_fraction_bits - self.fmt.fraction_bits - 1)

    def operate(self, m: Module, pipe: Pipeline, a: data.View, odd: Value) -> dict[str, Value]:
        return {
            "lam": self._half(a) + (odd << (self.result_fraction_bits - 4)),
            "negative": 0,
            "zero": a.zero,
            "nan": a.nan | (a.negative & ~a.zero),
        }


class ReciprocalSquareRoot(SquareRoot):
    """``o = 1 / sqrt(a)`` of element codes: the log halved and negated.

    The operand's bias ``b`` gives the result's ``-floor(b/2)``; ``odd`` is ``b mod 2``.
    Exact log, rounded once as in ``SquareRoot``.  Of a negative number NaN, of zero
    saturated.  Latency ``stages`` (0 to 3), throughput one a cycle.

    Parameters
    ----------
    headroom: octaves that the top of the result lies above ``1 / sqrt(top)``.

    Members
    -------
    a : In(n); odd : In(1); o : Out(n)

    Example
    -------
    >>> from pal_units.formats import PAL8T
    >>> from pal_units.rtl.evaluate import evaluate
    >>> evaluate(ReciprocalSquareRoot(PAL8T, headroom=2), a=63)  # 2, below a top of 4
    {'o': 95}
    """

    def __init__(self, fmt: Format, headroom: int = 0, stages: int = 0) -> None:
        self.headroom = check_headroom(headroom, fmt)
        super().__init__(fmt, stages)

    @property
    def lam_bits(self) -> int:
        return super().lam_bits + 1

    def operate(self, m: Module, pipe: Pipeline, a: data.View, odd: Value) -> dict[str, Value]:
        top = self.headroom << self.result_fraction_bits
        distance = top - self._half(a) + (odd << (self.result_fraction_bits - 4))
        return {
            "lam": Mux(a.zero, 0, distance),
            "negative": 0,
            "zero": 0,
            "nan": a.nan | (a.negative & ~a.zero),
        }


def check_headroom(headroom: int, fmt: Format) -> int:
    """``headroom`` if it is from 0 to the octaves of the format; raises ``ValueError``."""
    octaves = -(-fmt.lambda_max >> fmt.fraction_bits)
    if not 0 <= headroom <= octaves:
        raise ValueError(
            f"headroom must be 0 to the {octaves} octaves of {fmt.name}, not {headroom}"
        )
    return headroom


class Comparator(wiring.Component):
    """Compare two element codes under one bias; pick the lesser and the greater.

    Codes are in the order of values in both profiles, so this is a comparison of
    sign-magnitude integers.  A NaN makes ``less`` and ``equal`` 0, ``unordered`` 1 and
    both picks NaN (IEEE 754-2019 ``minimum``, ``maximum``).  Latency ``stages`` (0 or 1),
    throughput one a cycle.

    Members
    -------
    a, b : In(n); less, equal, unordered : Out(1); minimum, maximum : Out(n)

    Example
    -------
    >>> from pal_units.formats import PAL8T
    >>> from pal_units.rtl.evaluate import evaluate
    >>> evaluate(Comparator(PAL8T), a=63, b=95)  # 1/4 and 1/2
    {'less': 1, 'equal': 0, 'unordered': 0, 'minimum': 63, 'maximum': 95}
    """

    def __init__(self, fmt: Format, stages: int = 0) -> None:
        refuse_adaptive(fmt)
        check_stages(stages, 1)
        self.fmt, self.stages, self.latency = fmt, stages, stages
        super().__init__(
            {
                "a": In(fmt.n),
                "b": In(fmt.n),
                "less": Out(1),
                "equal": Out(1),
                "unordered": Out(1),
                "minimum": Out(fmt.n),
                "maximum": Out(fmt.n),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fmt, bits = self.fmt, self.fmt.magnitude_bits
        ordinals, clean, nan = [], [], Value.cast(0)
        for code in (self.a, self.b):
            magnitude = code[:bits]
            ordinals.append(Mux(code[-1], -magnitude, magnitude).as_signed())
            clean.append(Mux(magnitude == 0, 0, code))  # the second zero
            if fmt.has_nan:
                nan = nan | (code == fmt.sign_bit)
        below = ordinals[0] < ordinals[1]
        invalid = fmt.sign_bit if fmt.has_nan else 0
        outputs = {
            "less": ~nan & below,
            "equal": ~nan & (ordinals[0] == ordinals[1]),
            "unordered": nan,
            "minimum": Mux(nan, invalid, Mux(below, *clean)),
            "maximum": Mux(nan, invalid, Mux(below, *reversed(clean))),
        }
        domain = m.d.sync if self.stages else m.d.comb
        domain += [getattr(self, name).eq(value) for name, value in outputs.items()]
        return m
