"""Addition and fused multiply-add by complete tables, for formats of up to 5 fraction bits."""

from amaranth.hdl import Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import data

from pal_units import tables
from pal_units.formats import TABLE_FRACTION_BITS, Format
from pal_units.rtl.elementwise import ElementwiseUnit, check_headroom
from pal_units.rtl.pipeline import Pipeline
from pal_units.rtl.rom import rom


class _TableSum(ElementwiseUnit):
    """Base of the units that end with a sum of two logarithms."""

    steps = 4

    def __init__(
        self, fmt: Format, headroom: int = 0, stages: int = 0, controls: dict[str, Shape | int] = {}
    ) -> None:
        if fmt.fraction_bits > TABLE_FRACTION_BITS:
            raise ValueError(
                f"addition tables are for F <= {TABLE_FRACTION_BITS}, not "
                f"{fmt.name} with F = {fmt.fraction_bits}"
            )
        self.headroom = check_headroom(headroom, fmt)
        super().__init__(fmt, stages, controls)

    def total(
        self, m: Module, pipe: Pipeline, x: dict[str, Value], y: dict[str, Value], nan: Value
    ) -> dict[str, Value]:
        """Sum of two numbers given by ``lam`` (any width), ``negative`` and ``zero``."""
        fraction = self.fmt.fraction_bits
        grow, shrink = tables.log_add(fraction)

        # Step: the larger operand (the lesser distance, or the one that is not zero).
        swap = x["zero"] | (~y["zero"] & (y["lam"] < x["lam"]))
        difference = x["lam"] - y["lam"]
        distance = Mux(difference < 0, -difference, difference)
        far = (distance >= max(len(grow), len(shrink))) | x["zero"] | y["zero"]
        lam, negative, d, far, opposite, zero, nan = pipe.step(
            Mux(swap, y["lam"], x["lam"]),
            Mux(swap, y["negative"], x["negative"]),
            distance[: max(len(grow), len(shrink)).bit_length()],
            far,
            x["negative"] ^ y["negative"],
            x["zero"] & y["zero"],
            nan,
        )

        # Step: what the smaller operand changes.
        padded = [[*t, *[0] * ((1 << len(d)) - len(t))] for t in (grow, shrink)]
        up, down = (rom(m, name, d, t) for name, t in zip(("grow", "shrink"), padded, strict=True))
        change = Signal(signed(max(len(up), len(down)) + 1))
        m.d.comb += change.eq(Mux(far, 0, Mux(opposite, down, -up)))
        return {
            "lam": lam + change + (self.headroom << fraction),
            "negative": negative,
            "zero": zero | (opposite & ~far & (d == 0)),
            "nan": nan,
        }


class Adder(_TableSum):
    """``o = a + b`` (``a - b`` with ``subtract``) of element codes under one bias.

    ``lam = min - grow[d]`` or ``min + shrink[d]`` with ``d`` the difference of the logs:
    the log of the sum is correctly rounded to ``2^-F`` octave; the result is the nearest
    code (in profile U the same).  NaN if either operand is NaN; ``x - x`` is zero;
    saturates above the top.  Latency ``stages`` (0 to 4), throughput one a cycle.

    Parameters
    ----------
    headroom: octaves that the top of the result lies above the operands' top.

    Members
    -------
    a, b : In(n); subtract : In(1); o : Out(n)

    Raises
    ------
    ValueError: more than 5 fraction bits.

    Example
    -------
    >>> from pal_units.formats import PAL8T
    >>> from pal_units.rtl.evaluate import evaluate
    >>> evaluate(Adder(PAL8T), a=95, b=63)  # 1/2 and 1/4
    {'o': 114}
    >>> round(PAL8T.levels[114], 4)
    np.float64(0.7546)
    >>> evaluate(Adder(PAL8T), a=95, b=63, subtract=1)
    {'o': 63}
    """

    operands = ("a", "b")

    def __init__(self, fmt: Format, headroom: int = 0, stages: int = 0) -> None:
        super().__init__(fmt, headroom, stages, {"subtract": 1})

    @property
    def lam_bits(self) -> int:
        return self.fmt.lambda_bits + 3

    def operate(
        self, m: Module, pipe: Pipeline, a: data.View, b: data.View, subtract: Value
    ) -> dict[str, Value]:
        return self.total(
            m,
            pipe,
            {"lam": a.lam, "negative": a.negative, "zero": a.zero},
            {"lam": b.lam, "negative": b.negative ^ subtract, "zero": b.zero},
            a.nan | b.nan,
        )


class FusedMultiplyAdd(_TableSum):
    """``o = a * b + c`` of element codes, the log rounded once.

    The result is below the product of the tops of ``a`` and ``b``; the top of ``c`` lies
    ``offset`` units of ``2^-F`` octave below that (above it, if negative).  Accuracy and
    corner cases as ``Adder``.  Latency ``stages`` (0 to 4), throughput one a cycle.

    Parameters
    ----------
    headroom: octaves that the top of the result lies above the product of the tops.

    Members
    -------
    a, b, c : In(n); offset : In(signed(lambda_bits + 1)); o : Out(n)

    Raises
    ------
    ValueError: more than 5 fraction bits.

    Example
    -------
    >>> from pal_units.formats import PAL8T
    >>> from pal_units.rtl.evaluate import evaluate
    >>> evaluate(FusedMultiplyAdd(PAL8T), a=95, b=95, c=63)  # 1/2 times 1/2, and 1/4
    {'o': 95}
    """

    operands = ("a", "b", "c")

    def __init__(self, fmt: Format, headroom: int = 0, stages: int = 0) -> None:
        super().__init__(fmt, headroom, stages, {"offset": signed(fmt.lambda_bits + 1)})

    @property
    def lam_bits(self) -> int:
        return self.fmt.lambda_bits + 4

    def operate(
        self, m: Module, pipe: Pipeline, a: data.View, b: data.View, c: data.View, offset: Value
    ) -> dict[str, Value]:
        product = {
            "lam": a.lam + b.lam,
            "negative": a.negative ^ b.negative,
            "zero": a.zero | b.zero,
        }
        addend = {"lam": c.lam + offset, "negative": c.negative, "zero": c.zero}
        return self.total(m, pipe, product, addend, a.nan | b.nan | c.nan)
