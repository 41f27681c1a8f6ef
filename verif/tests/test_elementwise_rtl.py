"""Elementwise units and converters in RTL against the model; see ``cases``."""

import pytest

from verif.tests.cases import CASES
from verif.vectors import Vectors, check_units


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_unit_equals_the_model_in_every_format(make, tmp_path, record_property):
    """One simulation a unit: all its formats side by side."""
    counts = check_units({fmt.name: Vectors(*make(fmt)) for fmt in CASES[make]}, tmp_path)
    for name, count in counts.items():
        record_property("cases", (name, count))
