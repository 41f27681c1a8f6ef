"""SAT proofs of units of PAL16 and of profile A, and that a false property is not proven."""

import pytest

from pal_units.formats import PAL4A, PAL16
from pal_units.rtl.adder16 import Adder16, FusedMultiplyAdd16
from pal_units.rtl.codebook import CodebookDecoder
from pal_units.rtl.elementwise import Multiplier
from verif.formal.units import PROPERTIES, NotProven, prove


@pytest.mark.parametrize("condition", PROPERTIES, ids=lambda p: p.__name__)
def test_property_holds_for_all_codes(condition):
    prove(condition, PROPERTIES[condition])


@pytest.mark.parametrize(
    "condition",
    [
        lambda unit, a, b: unit(Multiplier(PAL16), a=a, b=b) != 12345,
        lambda unit, a, b: unit(Adder16(), a=a, b=b) != 12345,
        lambda unit, a, b: unit(FusedMultiplyAdd16(), a=a, b=b, c=a) != 12345,
        lambda unit, a, b: unit(CodebookDecoder(PAL4A, 3), code=a[:4], selector=b[:3]).lam != 48,
    ],
    ids=["multiplier", "adder", "multiply-add", "codebook"],
)
def test_a_false_property_is_not_proven(condition):
    with pytest.raises(NotProven):
        prove(condition, 2)
