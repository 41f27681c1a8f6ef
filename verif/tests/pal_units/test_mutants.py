"""That the tests of the RTL units can fail: faults put into the source, each must be found.

A mutant replaces one piece of a file of ``pal_units/rtl`` and runs vectors of a unit that
contains it.  The model does not change: it shares tables, formats and no code.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from pal_units.formats import ADAPTIVE, FORMATS
from rtl.simulator import SimulationError
from verif.stimulus.adaptive_cases import FOUR_BOOKS, ONE_BOOK
from verif.stimulus.vectors import Vectors, check_units
from verif.tests.pal_units.adaptive_mutants import ADAPTIVE_MUTANTS

ROOT = Path(__file__).parents[3]


def _entry(name, index, bit):
    """A flipped bit of one table entry."""
    return (
        "rom",
        "entries = [int(v) for v in contents]",
        f"entries = [int(v) ^ ({1 << bit} if name == {name!r} and i == {index} else 0) "
        "for i, v in enumerate(contents)]",
    )


#: What is broken, the file, the piece, its replacement, the vectors and their format.
MUTANTS = [
    # Table entries.
    ("antilog entry of the product", *_entry("antilog", 5, 0), "sliced_dot", "PAL8U"),
    ("top bit of an antilog entry", *_entry("antilog", 31, 6), "sliced_dot", "PAL8T"),
    ("antilog of PAL4", *_entry("antilog", 1, 0), "sliced_dot", "PAL4T"),
    ("first entry of the sum table", *_entry("grow", 0, 0), "adder", "PAL6T"),
    ("last entry of the sum table", *_entry("grow", 12, 0), "adder", "PAL6U"),
    ("first entry of the difference table", *_entry("shrink", 1, 2), "adder", "PAL4U"),
    ("difference table", *_entry("shrink", 20, 0), "adder", "PAL8U"),
    ("log base table", *_entry("log_base", 100, 3), "accumulator_encoder", "PAL8T"),
    ("log offset table", *_entry("log_offset", 37, 3), "accumulator_encoder", "PAL8T"),
    ("antilog of the exponential", *_entry("antilog", 3, 2), "exponential", "PAL6T"),
    ("log of a mantissa interval", *_entry("logs", 17, 9), "float_to_pal", "PAL6T"),
    ("mantissa of a float", *_entry("mantissas", 7, 0), "pal_to_float", "PAL6T"),
    ("log of an integer", *_entry("logs", 77, 10), "int_to_pal", "PAL6T"),
    ("base of a linear value", *_entry("linear_base", 50, 5), "accumulator", "PAL16"),
    ("offset of a linear value", *_entry("linear_offset", 9, 5), "accumulator", "PAL16"),
    # Signs.
    (
        "sign of a linear value",
        "accumulator",
        "Mux(self.i[-1], -magnitude, magnitude)",
        "magnitude",
        "accumulator",
        "PAL16",
    ),
    (
        "sign of a sum of lanes",
        "accumulator",
        "pal16_code(m, magnitude, total < 0,",
        "pal16_code(m, magnitude, 0,",
        "accumulator",
        "PAL16",
    ),
    (
        "sign of a product",
        "product",
        "self.a.negative ^ self.b.negative",
        "self.a.negative",
        "sliced_dot",
        "PAL6U",
    ),
    ("sign of a quotient", "elementwise", "(b.negative & ~b.zero)", "b.zero", "divider", "PAL4T"),
    ("sign of a difference", "adder", "b.negative ^ subtract", "b.negative", "adder", "PAL4T"),
    (
        "sign of the larger operand",
        "adder",
        'Mux(swap, y["negative"], x["negative"])',
        'x["negative"]',
        "adder",
        "PAL6T",
    ),
    (
        "sign of the logarithm",
        "transcendental",
        "a.zero | (argument < 0)",
        "argument < 0",
        "logarithm",
        "PAL6T",
    ),
    (
        "sign of zero",
        "encoder",
        "i.negative & magnitude.any()",
        "i.negative",
        "multiplier",
        "PAL6T",
    ),
    (
        "order of negative codes",
        "elementwise",
        "Mux(code[-1], -magnitude, magnitude)",
        "magnitude",
        "comparator",
        "PAL4U",
    ),
    # Carries and widths.
    (
        "carry out of the log sum",
        "product",
        "total.eq(log)",
        "total.eq(log[:len(self.a.lam)])",
        "sliced_dot",
        "PAL8U",
    ),
    (
        "carry of a mantissa into the exponent",
        "convert",
        "tables.float_mantissas(bits, width))",
        "tables.float_mantissas(bits, width) % (1 << width))",
        "pal_to_bfloat16",
        "PAL16",
    ),
    (
        "borrow of a quotient",
        "elementwise",
        "distance = a.lam - b.lam + (self.headroom << self.fmt.fraction_bits)",
        "distance = a.lam + ~b.lam + (self.headroom << self.fmt.fraction_bits)",
        "divider",
        "PAL6U",
    ),
    (
        "carry of the block sum",
        "product",
        "product_bits)], len(self.o))",
        "product_bits)], len(self.o) - 1)",
        "sliced_dot",
        "PAL6T",
    ),
    (
        "largest step of the shifter",
        "shift",
        "bits >> (1 << i)",
        "bits >> (1 << i >> (i > 2))",
        "sliced_dot",
        "PAL8U",
    ),
    (
        "octaves of a block",
        "block_accumulator",
        ">> octaves)",
        ">> octaves[:-1])",
        "sliced_dot",
        "PAL4U",
    ),
    (
        "guard bits of a block",
        "block_accumulator",
        "(total << guard_bits) >> octaves",
        "(total >> octaves) << guard_bits",
        "sliced_dot",
        "PAL8T",
    ),
    (
        "fraction of a block bias",
        "product",
        "<< (p.fraction_bits - p.lane_bias_bits))",
        "<< (p.fraction_bits - p.lane_bias_bits - 1))",
        "sliced_dot",
        "PAL8T",
    ),
    (
        "half of an odd bias",
        "elementwise",
        "+ (odd << (self.result_fraction_bits - 4))",
        "+ (odd << (self.result_fraction_bits - 3))",
        "square_root",
        "PAL6T",
    ),
    # Rounding.
    (
        "rounding of the nearest code",
        "encoder",
        "(step - tables.round_up_from(step, octave))",
        "(step - tables.round_up_from(step, octave) - 1)",
        "multiplier",
        "PAL8T",
    ),
    (
        "half of the least level",
        "encoder",
        "self.lam >= least + octave",
        "self.lam > least + octave",
        "multiplier",
        "PAL6T",
    ),
    (
        "ties between the lowest levels",
        "convert",
        "code = Cat(code[0] & ~odd, code[1:])",
        "pass",
        "int_to_pal",
        "PAL6T",
    ),
    (
        "guard bit of the exponential",
        "transcendental",
        "as_unsigned()) + 1) >> 1",
        "as_unsigned()) + 0) >> 1",
        "exponential",
        "PAL8T",
    ),
    (
        "rounding to an integer",
        "convert",
        "Mux(large, 128, (twice + 1) >> 1)",
        "Mux(large, 128, twice >> 1)",
        "pal_to_int",
        "PAL4U",
    ),
    (
        "the tie of one half",
        "convert",
        "Mux(half | element.zero | element.nan, 0, twice[:9])",
        "Mux(element.zero | element.nan, 0, twice[:9])",
        "pal_to_int",
        "PAL6U",
    ),
    (
        "rounding threshold of a mantissa",
        "convert",
        "found = _count([mantissa >= t for t in thresholds])",
        "found = _count([mantissa > t for t in thresholds])",
        "float_to_pal",
        "PAL4T",
    ),
    # Special cases and selection.
    (
        "accumulators that start from 0",
        "accumulator",
        "[kept.eq(0), kept_nan.eq(0)]",
        "[kept.eq(following), kept_nan.eq(0)]",
        "accumulator",
        "PAL16",
    ),
    ("NaN among lanes", "accumulator", "Cat(*nans).any()", "nans[0]", "accumulator", "PAL16"),
    (
        "bits behind a widened code",
        "widen",
        "[: target.n - 1] | fill",
        "[: target.n - 1]",
        "widener",
        "PAL8T",
    ),
    (
        "zero of a widened code",
        "widen",
        "Mux(magnitude.any(), wide, 0)",
        "wide",
        "widener",
        "PAL8T",
    ),
    (
        "NaN of an operand",
        "elementwise",
        '"nan": a.nan | b.nan,\n',
        '"nan": a.nan,\n',
        "multiplier",
        "PAL6T",
    ),
    (
        "zero divided by zero",
        "elementwise",
        "a.nan | b.nan | (a.zero & b.zero)",
        "a.nan | b.nan",
        "divider",
        "PAL6T",
    ),
    (
        "root of a negative number",
        "elementwise",
        '"zero": a.zero,\n            "nan": a.nan | (a.negative & ~a.zero),',
        '"zero": a.zero,\n            "nan": a.nan,',
        "square_root",
        "PAL8U",
    ),
    ("a bias sum above 0", "dot", "Mux(down < 0, 0, down)", "down", "sliced_dot", "PAL6T"),
    (
        "product with zero",
        "product",
        "self.nonzero.eq(nonzero)",
        "self.nonzero.eq(1)",
        "sliced_dot",
        "PAL6U",
    ),
    (
        "zero block in a dot product",
        "block_accumulator",
        "closes, nan = block_last & ~zero, nan & ~zero",
        "nan = nan & ~zero",
        "sliced_dot",
        "PAL8U",
    ),
    ("zero block", "convert", "Mux(zero, 0, code)", "code", "unblock", "PAL6T"),
    (
        "taper of the decoder",
        "decoder",
        "(~magnitude << k)",
        "(~magnitude << (k - k // 3))",
        "multiplier",
        "PAL6T",
    ),
    (
        "saturation above the top",
        "encoder",
        "Mux(i.lam < 0, 0, i.lam)",
        "i.lam",
        "divider",
        "PAL4U",
    ),
    (
        "relu-free negative sum",
        "adder16",
        "self.x.negative ^ self.y.negative",
        "self.x.negative | self.y.negative",
        "fused_multiply_add",
        "PAL16",
    ),
    (
        "offset of the addend",
        "adder",
        "c.lam + offset",
        "c.lam - offset",
        "fused_multiply_add",
        "PAL4T",
    ),
    *ADAPTIVE_MUTANTS,
]
KNOWN = FORMATS | ADAPTIVE | {f.name: f for f in (FOUR_BOOKS, ONE_BOOK)}
#: Modules of the makers of vectors.
MAKERS = tuple(
    f"verif.stimulus.{name}" for name in ("elementwise_cases", "block_cases", "adaptive_cases")
)


@contextmanager
def _mutated(name, old, new):
    """Import the makers of vectors anew, with a piece of an RTL source replaced."""
    module = f"pal_units.rtl.{name}"
    source = (ROOT / "pal_units" / "rtl" / f"{name}.py").read_text()
    assert source.count(old) >= 1, f"{name}.py has no {old!r}: choose the mutant anew"

    class Loader(importlib.machinery.SourceFileLoader):
        def get_code(self, fullname):
            return compile(source.replace(old, new), self.path, "exec")

    class Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, fullname, path, target=None):
            if fullname != module:
                return None
            file = str(ROOT / "pal_units" / "rtl" / f"{name}.py")
            return importlib.util.spec_from_file_location(module, file, loader=Loader(module, file))

    finder = Finder()
    saved = {k: m for k, m in sys.modules.items() if k.startswith("pal_units.rtl") or k in MAKERS}
    for key in saved:
        del sys.modules[key]
    sys.meta_path.insert(0, finder)
    try:
        makers = {}
        for name_of_module in MAKERS:
            makers |= vars(importlib.import_module(name_of_module))
        yield makers
    finally:
        sys.meta_path.remove(finder)
        for key in [k for k in sys.modules if k in saved or k.startswith("pal_units.rtl")]:
            del sys.modules[key]
        sys.modules.update(saved)


@pytest.mark.parametrize("file", sorted({m[1] for m in MUTANTS}))
def test_every_mutant_of_a_file_is_killed(file, tmp_path):
    """One simulation with all mutants side by side; the failure must name each."""
    cases = {}
    for what, name, old, new, maker, fmt in MUTANTS:
        if name == file:
            with _mutated(name, old, new) as mutated:
                cases[what] = Vectors(*mutated[maker](KNOWN[fmt]))
    with pytest.raises(SimulationError, match="vectors differ") as error:
        check_units(cases, tmp_path)
    survivors = [what for what in cases if f"{what}: " not in str(error.value)]
    assert survivors == []


def test_there_are_at_least_30_mutants_of_all_kinds_and_40_of_profile_a():
    assert len(MUTANTS) >= 70
    assert len(ADAPTIVE_MUTANTS) >= 40
    assert {m[1] for m in MUTANTS} >= {
        "rom",
        "dot",
        "elementwise",
        "adder",
        "adder16",
        "encoder",
        "decoder",
        "convert",
        "transcendental",
        "codebook",
        "block_encoder",
        "matrix",
    }
