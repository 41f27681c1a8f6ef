"""Elementwise units and converters in RTL against the model; see ``cases``."""

import pytest

from verif.tests.cases import CASES
from verif.vectors import check_unit

PARAMETERS = [pytest.param(make, fmt, id=f"{make.__name__}-{fmt.name}")
              for make, formats in CASES.items() for fmt in formats]


@pytest.mark.parametrize(("make", "fmt"), PARAMETERS)
def test_unit_equals_the_model(make, fmt, tmp_path, record_property):
    unit, inputs, expected = make(fmt)
    record_property("cases", check_unit(unit, inputs, expected, tmp_path))
