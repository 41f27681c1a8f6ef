"""The examples in the documentation of the units and of the numpy library."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import numpy as np
import pytest

import pal_units
import pal_units.rtl

ROOT = Path(__file__).parents[2]
MODULES = ["pal_units", *(f"pal_units.rtl.{m.name}" for m in
                          pkgutil.iter_modules(pal_units.rtl.__path__))]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name):
    results = doctest.testmod(importlib.import_module(name), extraglobs={"np": np})
    assert results.failed == 0


@pytest.mark.parametrize("name", ["README.md", "docs/numerics.md", "docs/array.md",
                                  "docs/compiler.md"])
def test_examples_of_the_pages_give_what_they_show(name):
    assert doctest.testfile(str(ROOT / name), module_relative=False).failed == 0


def test_every_documented_unit_has_an_example():
    from verif.unit_pages import UNITS

    for unit in UNITS:
        assert ">>> " in unit.component.__doc__, unit.component
