"""Elementwise units and converters in RTL against the model; see ``cases``."""

import pytest

from verif.stimulus import elementwise_cases as cases
from verif.stimulus.vectors import Vectors, check_units

#: Units that are simulated side by side: building a simulator takes longer than what it runs.
GROUPS = {
    "products": (cases.multiplier, cases.divider, cases.saturating_divider, cases.widener),
    "sums": (cases.adder, cases.fused_multiply_add, cases.comparator),
    "functions": (
        cases.square_root,
        cases.reciprocal_square_root,
        cases.exponential,
        cases.logarithm,
    ),
    "from numbers": (cases.float_to_pal, cases.bfloat16_to_pal, cases.int_to_pal),
    "to numbers": (cases.pal_to_float, cases.pal_to_bfloat16, cases.pal_to_int, cases.unblock),
}


def test_every_unit_is_in_one_group():
    units = [make for group in GROUPS.values() for make in group]
    assert len(units) == len(set(units))
    assert set(units) == set(cases.CASES)


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_units_equal_the_model_in_every_format(group, tmp_path, record_property):
    """One simulation a group: all units in all formats."""
    counts = check_units(
        {
            f"{make.__name__} {fmt.name}": Vectors(*make(fmt))
            for make in group
            for fmt in cases.CASES[make]
        },
        tmp_path,
    )
    for name, count in counts.items():
        record_property("cases", (name, count))
