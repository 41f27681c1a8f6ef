"""Proofs about units of PAL16 and of profile A by SAT, for all inputs (yosys ``sat``, MiniSat).

A property is a circuit with the unit in it and an output ``holds``.  Units are pipelines
without feedback, so that their registers are replaced by wires first: what is proven is
the function, for operands of the same cycle.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Cat, ClockDomain, ClockSignal, Const, Module, Mux, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pal_units.formats import PAL4A, PAL16, Format
from pal_units.rtl.adder16 import Adder16, FusedMultiplyAdd16
from pal_units.rtl.block_encoder import CodebookEncoder
from pal_units.rtl.codebook import ByteDecoder, CodebookDecoder
from pal_units.rtl.elementwise import Comparator, Divider, Multiplier, SquareRoot
from rtl import yosys

_TOP, _NAN = PAL16.m_max, PAL16.sign_bit

_SCRIPT = """
read_rtlil property.il
hierarchy -top property
proc -norom
flatten
setattr -unset init w:*
memory -nomap
memory_map
opt -full
alumacc
techmap
simplemap
dfflegalize -cell $_DFF_P_ x
techmap -map wire.v
opt_clean
abc -g AND,XOR,MUX
opt_clean
"""
_WIRE = "module \\$_DFF_P_ (input D, input C, output Q); assign Q = D; endmodule\n"


class NotProven(RuntimeError):
    """A property that does not hold, or that the solver did not settle in time."""


def prove(condition: Callable[..., Value], operands: int, timeout: int = 300) -> None:
    """Prove ``condition(unit, *codes)`` for all PAL16 codes, or whatever 16 bits stand for.

    ``unit(component, **inputs)`` adds a unit and gives its output ``o``, or the view of
    its outputs.  Raises ``NotProven``.
    """

    class Property(wiring.Component):
        def __init__(self) -> None:
            super().__init__(
                {
                    **{f"code_{i}": In(PAL16.n) for i in range(operands)},
                    "clock": In(1),
                    "holds": Out(1),
                }
            )

        def elaborate(self, platform: object) -> Module:
            m = Module()
            # No reset, and a clock that yosys must take to be alive.
            m.domains.sync = ClockDomain(reset_less=True)
            m.d.comb += ClockSignal().eq(self.clock)

            def unit(component: Any, **inputs: Any) -> Any:
                m.submodules += component
                m.d.comb += [getattr(component, k).eq(v) for k, v in inputs.items()]
                return getattr(component, "o", component)

            codes = [getattr(self, f"code_{i}") for i in range(operands)]
            m.d.comb += self.holds.eq(condition(unit, *codes))
            return m

    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / "property.il").write_text(
            rtlil.convert(Property(), name="property", emit_src=False)
        )
        (directory / "wire.v").write_text(_WIRE)
        yosys.run(
            _SCRIPT + f"tee -q -o sat.log sat -timeout {timeout} -set-def-inputs "
            "-prove holds 1 -show-inputs property",
            directory,
        )
        log = (directory / "sat.log").read_text()
    if "SAT proof finished - no model found: SUCCESS!" not in log:
        raise NotProven(" | ".join(log.splitlines()[-12:]))


def _spec(distance: Value, negative: Value, zero: Value, nan: Value) -> Value:
    """Code of a log distance below the top, from the definition of PAL16."""
    octave = 1 << PAL16.fraction_bits
    magnitude = Mux(
        distance < 0,
        _TOP,
        Mux(distance < _TOP, _TOP - distance, Mux(distance < _TOP - 1 + octave, 1, 0)),
    )[: PAL16.magnitude_bits]
    code = Mux(zero | (magnitude == 0), 0, magnitude | Mux(negative, _NAN, 0))
    return Mux(nan, _NAN, code)[: PAL16.n]


def _distance(code: Value) -> Value:
    return (Const(_TOP, PAL16.magnitude_bits) - code[:-1]).as_signed()


def _zero(code: Value) -> Value:
    return code == 0


def _nan(code: Value) -> Value:
    return code == _NAN


def multiplier_is_its_definition(unit: Any, a: Value, b: Value) -> Value:
    """``o`` is the code of the sum of distances."""
    return unit(Multiplier(PAL16), a=a, b=b) == _spec(
        _distance(a) + _distance(b), a[-1] ^ b[-1], _zero(a) | _zero(b), _nan(a) | _nan(b)
    )


def divider_is_its_definition(unit: Any, a: Value, b: Value) -> Value:
    """``o`` is the code of the difference of distances; by zero it saturates."""
    by_zero = _zero(b)
    return unit(Divider(PAL16), a=a, b=b) == _spec(
        Mux(by_zero, -1, _distance(a) - _distance(b)),
        a[-1] ^ b[-1],
        _zero(a),
        _nan(a) | _nan(b) | (_zero(a) & by_zero),
    )


def quotient_undoes_product(unit: Any, a: Value, b: Value) -> Value:
    """``(a * b) / b`` is ``a`` where the product is in range."""
    inside = (_distance(a) + _distance(b) < _TOP) & ~_zero(a) & ~_zero(b) & ~_nan(a) & ~_nan(b)
    product = unit(Multiplier(PAL16), a=a, b=b)
    return ~inside | (unit(Divider(PAL16), a=product, b=b) == a)


def comparator_is_its_definition(unit: Any, a: Value, b: Value) -> Value:
    """Signs first, then magnitudes; NaN is unordered."""
    found = unit(Comparator(PAL16), a=a, b=b)
    nan = _nan(a) | _nan(b)
    less = Mux(a[-1], ~b[-1] | (a[:-1] > b[:-1]), ~b[-1] & (a[:-1] < b[:-1]))
    return (
        (found.unordered == nan)
        & (found.less == (less & ~nan))
        & (found.equal == ((a == b) & ~nan))
        & (found.minimum == Mux(nan, _NAN, Mux(less, a, b)))
        & (found.maximum == Mux(nan, _NAN, Mux(less, b, a)))
    )


def root_undoes_square(unit: Any, a: Value) -> Value:
    """``sqrt(a * a)`` is ``|a|`` where the square is in range."""
    inside = (2 * _distance(a) < _TOP) & ~_zero(a) & ~_nan(a)
    return ~inside | (unit(SquareRoot(PAL16), a=unit(Multiplier(PAL16), a=a, b=a)) == a[:-1])


def addition_commutes(unit: Any, a: Value, b: Value) -> Value:
    """``a + b`` is ``b + a``."""
    return unit(Adder16(), a=a, b=b) == unit(Adder16(), a=b, b=a)


def zero_is_neutral(unit: Any, a: Value) -> Value:
    """``a + 0``, ``0 + a`` and ``a - 0`` are ``a``."""
    return (
        (unit(Adder16(), a=a, b=0) == a)
        & (unit(Adder16(), a=0, b=a) == a)
        & (unit(Adder16(), a=a, b=0, subtract=1) == a)
    )


def equal_numbers_cancel(unit: Any, a: Value) -> Value:
    """``a - a`` is zero, or NaN."""
    return unit(Adder16(), a=a, b=a, subtract=1) == Mux(_nan(a), _NAN, 0)


def sums_have_the_sign_of_the_larger(unit: Any, a: Value, b: Value) -> Value:
    """And are at least as large if the signs agree."""
    total = unit(Adder16(), a=a, b=b)
    usual = ~_nan(a) & ~_nan(b) & (a[:-1] > b[:-1]) & ~_zero(b)
    grows = (a[-1] != b[-1]) | (total[:-1] >= a[:-1])
    return ~usual | (((total[-1] == a[-1]) | _zero(total)) & grows)


def multiply_add_by_one_is_addition(unit: Any, a: Value, c: Value) -> Value:
    """``a * 1 + c`` is ``a + c``."""
    return unit(FusedMultiplyAdd16(), a=a, b=_TOP, c=c) == unit(Adder16(), a=a, b=c)


def _all(terms: list[Value]) -> Value:
    return Cat(*terms).all()


def byte_decoder_is_its_definition(unit: Any, a: Value) -> Value:
    """A case for each byte of ``PAL4A``: the bits above, and the sum of the steps up to it."""
    books, byte = PAL4A.codebooks, a[:8]
    assert books is not None
    found = unit(ByteDecoder(PAL4A), block_byte=byte)
    steps = [step for count, step in books.bias_zones for _ in range(count)]
    beta = [-sum(steps[:code]) for code in range(len(steps))]
    terms = [
        (byte != v) | ((found.selector == v // len(beta)) & (found.beta == beta[v % len(beta)]))
        for v in range(256)
    ]
    return _all(terms)


def _decoded(fmt: Format, selector: int, code: int) -> tuple[int, int] | None:
    """Distance and sign of a code of a codebook, from its rows; None for zero."""
    books, magnitude = fmt.codebooks, code & fmt.m_max
    assert books is not None
    turned, book = divmod(selector, len(books.positive))
    if magnitude:
        negative = code >> fmt.magnitude_bits
        row = (books.negative if negative else books.positive)[book]
        return row[magnitude - 1], negative ^ turned
    return (books.positive[book][-1], turned) if code else None


def codebook_decoder_is_its_definition(unit: Any, a: Value) -> Value:
    """A case for each code of each codebook of ``PAL4A``."""
    code, selector = a[:4], a[4:7]
    found = unit(CodebookDecoder(PAL4A, PAL4A.fraction_bits), code=code, selector=selector)
    terms = [~found.nan]
    for v in range(128):
        level = _decoded(PAL4A, v >> 4, v & 15)
        usual = ~found.zero
        if level is not None:
            usual &= (found.lam == level[0]) & (found.negative == level[1])
        terms.append((a[:7] != v) | (found.zero if level is None else usual))
    return _all(terms)


def _encoded(unit: Any, distance: Value, negative: Value, selector: Value) -> Value:
    """Code of a number at a distance below the top, in PAL16's units."""
    encoder = CodebookEncoder(PAL4A)
    # Zeros above: neither zero nor NaN.
    lam = (distance + Const(0, signed(len(encoder.i.lam))))[: len(encoder.i.lam)]
    number = Cat(lam, negative, Const(0, 2))
    return unit(encoder, i=number, selector=selector)


def encoder_of_a_codebook_undoes_its_decoder(unit: Any, a: Value) -> Value:
    """Each code of each codebook of ``PAL4A``, and all that saturates."""
    code, selector, above = a[:4], a[4:7], a[7:]
    level = unit(CodebookDecoder(PAL4A, PAL16.fraction_bits), code=code, selector=selector)
    distance = Mux(level.lam == 0, -above, level.lam)
    return level.zero | (_encoded(unit, distance, level.negative, selector) == code)


def codebook_encoder_is_monotone(unit: Any, a: Value, b: Value, c: Value) -> Value:
    """A value farther below the top has no greater code, in all codebooks of ``PAL4A``."""
    selector, negative = c[:3], c[3]
    first, second = (_encoded(unit, v.as_signed(), negative, selector) for v in (a, b))
    usual = a.as_signed() <= b.as_signed()

    def rank(code: Value) -> Value:
        return Mux(code == PAL4A.sign_bit, PAL4A.m_max + 1, code[:3])

    # Codes of one sign, or zero: of the codes of a sign the one alone belongs to the others.
    signs = [v[-1] & v[:-1].any() for v in (first, second)]
    same_side = (second == 0) | (signs[0] == signs[1])
    return ~usual | ((rank(first) >= rank(second)) & same_side)


def mirrored_codebooks_encode_negated_numbers(unit: Any, a: Value, b: Value) -> Value:
    """The code of ``-x`` in the mirrored codebook is that of ``x``."""
    book, negative, distance = b[:2], b[2], a.as_signed()
    plain = _encoded(unit, distance, negative, Cat(book, Const(0, 1)))
    return plain == _encoded(unit, distance, ~negative, Cat(book, Const(1, 1)))


#: Properties with the number of their operands.
PROPERTIES: dict[Callable[..., Value], int] = {
    multiplier_is_its_definition: 2,
    divider_is_its_definition: 2,
    quotient_undoes_product: 2,
    comparator_is_its_definition: 2,
    root_undoes_square: 1,
    addition_commutes: 2,
    zero_is_neutral: 1,
    equal_numbers_cancel: 1,
    sums_have_the_sign_of_the_larger: 2,
    multiply_add_by_one_is_addition: 2,
    byte_decoder_is_its_definition: 1,
    codebook_decoder_is_its_definition: 1,
    encoder_of_a_codebook_undoes_its_decoder: 1,
    codebook_encoder_is_monotone: 3,
    mirrored_codebooks_encode_negated_numbers: 2,
}
