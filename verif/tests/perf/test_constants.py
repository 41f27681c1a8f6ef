"""Constants: each has a range and a source; those of our arithmetic are those of ``make area``."""

import json
import re
import statistics
from pathlib import Path

import numpy as np
import pytest

from perf import constants
from perf.constants import ConstantError, draw, merge, read, values

ROOT = Path(__file__).parents[3]
GOOD = """
[pue]
value = 1.5
low = 1.4
high = 1.6
unit = "1"
source = "a measurement of ours"
year = 2026
kind = "measured"
"""


def test_every_constant_of_the_project_reads_and_is_used():
    found = read()
    assert len(found) > 30
    code = "".join(
        path.read_text() for path in (ROOT / "perf").rglob("*.py") if path.name != "constants.py"
    )
    # Names that are made of a format: area_pal8 of f"area_{fmt}".
    patterns = re.findall(r'\bc\[f"(\w+)\{\w+\}"\]', code)
    unused = [
        name for name in found if f'"{name}"' not in code and not name.startswith(tuple(patterns))
    ]
    assert unused == []


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (('source = "a measurement of ours"', ""), "pue has no source"),
        (('"a measurement of ours"', '" "'), "pue has no source"),
        (("year = 2026", ""), "pue has no year"),
        (("year = 2026", "year = 26"), "pue has no year"),
        (("low = 1.4", ""), "pue has no low"),
        (("low = 1.4", "low = 1.55"), "value 1.5 is not between low 1.55 and high 1.6"),
        (("low = 1.4", "low = 0"), "low must be a positive number, not 0"),
        (("1.6", "inf"), "high must be a positive number, not inf"),
        (("1.6", "nan"), "high must be a positive number, not nan"),
        (("1.6", "true"), "high must be a positive number, not True"),
        (('"measured"', '"guessed"'), "kind must be one of published, recalled"),
        (("low =", "lowest ="), "unknown field 'lowest'"),
        (("[pue]", "[pui]"), "no constant 'pui' is used"),
        (('"1"', '"W"'), "pue is in 1, not in W"),
        (("[pue]", "[pue"), "line 2"),
        ((GOOD, "pue = 1.5"), "pue must be a table"),
    ],
)
def test_a_constant_that_lacks_something_is_one_line(change, rule, tmp_path):
    path = tmp_path / "c.toml"
    assert change[0] in GOOD
    path.write_text(GOOD.replace(*change))
    with pytest.raises(ConstantError, match=re.escape(rule)) as caught:
        merge(path)
    assert str(path) in str(caught.value)


def test_constants_of_a_file_take_the_place_of_the_projects(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(GOOD)
    assert merge(path)["pue"].value == 1.5
    assert set(merge(path)) == set(read())


def test_samples_have_the_triangular_density_of_the_logarithm():
    each = constants.Constant("a", 2.0, 1.0, 8.0, "1", "none", 2026, "assumed")
    drawn = draw({"a": each}, 200_000, 7)["a"]
    assert (drawn == draw({"a": each}, 200_000, 7)["a"]).all()
    assert 1 <= drawn.min() < drawn.max() <= 8
    logs = np.log2(drawn)
    assert np.mean(logs < 1) == pytest.approx(1 / 3, abs=0.005)  # the area left of the mode
    assert np.mean(logs) == pytest.approx((0 + 1 + 3) / 3, abs=0.01)


def test_a_constant_without_a_range_is_not_drawn():
    assert draw(read(), 5, 1)["server_chips"] == values(read())["server_chips"]


def test_ratios_of_our_arithmetic_are_those_of_make_area():
    rows = {
        row["format"]: row
        for row in json.loads((ROOT / "docs" / "area.json").read_text())["rows"]
        if row["shape"] == "matrix16x16" and row["cut"] == "lean"
    }

    def energy(fmt):
        return statistics.median(e["zero"] for e in rows[fmt]["energy_per_mac"].values())

    found, peer = read(), "MX-E4M3"
    for name, fmt in (("pal8", "PAL8T"), ("pal4", "PAL4A")):
        area = rows[fmt]["ge_per_mac"] / rows[peer]["ge_per_mac"]
        assert found[f"area_{name}"].value == pytest.approx(area, rel=0.01)
        assert found[f"energy_{name}"].value == pytest.approx(energy(fmt) / energy(peer), rel=0.02)
        assert found[f"bits_{name}"].value == rows[fmt]["bits_per_element"]
