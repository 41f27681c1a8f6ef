"""What README and docs claim is computed from committed results, and follows them."""

import json

import pytest

from spu.arch.params import CONFIGS
from verif.area import bars, plots, report
from verif.area import claims as area_claims
from verif.area.families import FAMILIES
from verif.area.shapes import DOT16, MATRIX16
from verif.area.study import LOSS_DB
from verif.numerics import claims, real
from verif.numerics import report as accuracy_report
from verif.numerics.study import DISTRIBUTIONS
from verif.pages.readme import README, fill, part
from verif.pages.stamps import ACCURACY, AREA, PERFORMANCE
from verif.studies.performance import binds


def results(of):
    return real.unpacked(json.loads(of.BASELINE.read_text()))


def without_stamp(made):
    return made.path.read_text().split("<!-- written by")[0].rstrip("\n")


@pytest.mark.parametrize(
    ("of", "made"), [(accuracy_report, ACCURACY), (report, AREA)], ids=lambda v: ""
)
def test_pages_say_what_their_data_say(of, made):
    assert without_stamp(made) == of.text(results(of)).rstrip("\n")


@pytest.mark.parametrize(("name", "of"), [("accuracy", accuracy_report), ("area", report)])
def test_the_readme_says_what_the_data_say(name, of):
    assert part(name) == of.readme(results(of))


def test_a_part_of_the_readme_is_replaced_alone(tmp_path, monkeypatch):
    copy = tmp_path / "README.md"
    copy.write_text(README.read_text())
    monkeypatch.setattr("verif.pages.readme.README", copy)
    fill("area", "| new |")
    assert part("area") == "| new |"
    assert part("accuracy") == accuracy_report.readme(results(accuracy_report))
    with pytest.raises(ValueError, match=r"README\.md must have one part 'nothing'"):
        part("nothing")


def test_the_readme_counts_the_bars_that_are_met():
    found = results(report)
    reached = area_claims.met(found)
    said = " ".join(report.readme(found).split())
    assert f"{sum(reached.values())} of the project's {len(bars.BARS)} bars" in said
    for name, good in reached.items():
        changed = results(report)
        for pair in changed["pairs"]:
            if pair["bar"] == name:
                peer = bars.lean(changed)[pair["peer"]]["ge_per_mac"]
                share = 2.0 if good else 0.1
                mine = bars.lean(changed)[pair["pal"]]
                mine["ge_per_mac"] = share * peer
                pair["equal"] = mine | {"dot_sqnr_db": 99.0}
        assert area_claims.met(changed)[name] != good
        assert (f"(missed: {name}" in " ".join(report.readme(changed).split())) or not good


@pytest.mark.regress
def test_figures_of_area_are_what_their_data_draw(tmp_path):
    """Bit for bit, with the locked matplotlib."""
    pytest.importorskip("matplotlib")
    figures = plots.draw(results(report), tmp_path, ("svg",))
    assert {p.name for p in figures} == {"area.svg", "area_dot16.svg", "area_matrix16x16.svg"}
    for path in figures:
        assert path.read_bytes() == (AREA.path.parent / "figures" / path.name).read_bytes(), path


@pytest.mark.parametrize("shape", [DOT16, MATRIX16], ids=lambda s: s.name)
def test_every_family_of_a_figure_has_one_label(shape):
    families = plots.marks(results(report), shape.name)
    assert families.keys() == FAMILIES.keys()
    for family, marks in families.items():
        assert [mark.label for mark in marks if mark.label] == [family]
        assert [mark.area for mark in marks] == sorted(mark.area for mark in marks)


def _changed(found, name, distribution, value):
    for row in found["rows"]:
        if (row["format"], row["distribution"], row["rotated"]) == (name, distribution, False):
            row["sqnr_db"] = value
    return found


def test_claims_of_accuracy_turn_with_the_data():
    found = results(accuracy_report)
    table = claims.levels(found)
    own = claims.own_scales(found, "PAL8T")
    for name in claims.HEADLINES:
        for peer in claims.peers(found, name):
            below = [d for d in DISTRIBUTIONS if table[peer, d] > table[name, d] + claims.TIE_DB]
            said = next(s for s in claims.losses(found) if s.startswith(f"{name} loses"))
            told = [
                p
                for p in said.split(". On ")[0].removeprefix(f"{name} loses to ").split("; ")
                if p.startswith(f"{peer} on ")
            ]
            assert bool(told) == bool(below)
            assert all(d in told[0] for d in below)
    assert "MXINT8" in own
    assert "INT8/8th" not in own

    def sentence(of, name):
        return next(s for s in of(found) if s.startswith(name))

    first = sentence(claims.holds, "**PAL8T**")
    _changed(found, "PAL8T", "gaussian", 99.0)
    assert sentence(claims.holds, "**PAL8T**") != first
    assert "gaussian" in sentence(claims.holds, "**PAL8T**")
    _changed(found, "MXINT8", "student-t3", None)
    assert "MXINT8 on student-t3 (exact there)" in sentence(claims.losses, "PAL8T loses")


def test_every_row_has_its_bits_and_both_rotations():
    found = results(accuracy_report)
    kinds = {(r["format"], r["distribution"], r["rotated"]) for r in found["rows"]}
    names = claims.bits(found)
    assert len(kinds) == len(found["rows"]) == len(names) * len(DISTRIBUTIONS) * 2
    assert {
        "INT8/8th",
        "E2M5/8th",
        "E2M3/8th",
        "INT8/64",
        "NVFP4-4/6",
        "IF4",
        "MXFP4-E2M1+",
        "posit8/8th",
        "takum8/8th",
        "PAL8T-oct",
    } <= names.keys()


def test_claims_of_area_turn_with_the_data():
    found = results(report)
    bar = bars.BARS[0]
    said = next(area_claims.verdicts(found))
    assert said.startswith(f"**{bar.name}**, asked at most {bar.area:.2f}")
    for pair in found["pairs"]:
        if pair["bar"] == bar.name:
            units = bars.lean(found)
            half = 0.5 * units[pair["peer"]]["ge_per_mac"]
            pair["equal"] = units[pair["pal"]] | {"ge_per_mac": half}
    assert ": met. " in next(area_claims.verdicts(found))
    for pair in found["pairs"]:
        if pair["bar"] == bar.name and pair["peer"] == bar.peers[1]:
            pair["equal"] = None
            bars.lean(found)[pair["pal"]]["dot_sqnr_db"] = 0.0
    assert ": missed. " in next(area_claims.verdicts(found))
    assert f"never reaches {bar.peers[1]}" in next(area_claims.verdicts(found))


def test_fronts_name_the_peers_that_are_on_them():
    found = results(report)
    row = next(
        r
        for r in found["rows"]
        if r["format"] == "MX-E4M3" and r["shape"] == MATRIX16.name and r["cut"] == "lean"
    )
    row["ge_per_mac"] = 1.0
    said = list(area_claims.fronts(found))
    assert row["unit"] in said[1]
    assert row["unit"] not in said[0]


def _product(depth, ii, steady):
    return {
        "shape": [64, depth, 64],
        "ii": ii,
        "steady": steady,
        "cycles": 8 * depth + 41,
        "ideal_cycles": 8 * depth,
    }


def test_what_binds_products_is_read_from_their_rows():
    arch = CONFIGS["basic"]
    rows = [
        _product(256, 16, 1.0),
        _product(64, 8, 1.0),
        _product(32, 4, 0.25),
        _product(200, 4, 0.4),
    ]
    said = "\n".join(binds(rows, arch))
    assert (
        "depths below 64 cannot keep all tiles busy with 64 outputs (64 x 32 x 64 use 25 % of"
        in said
    )
    assert "no multiple of 64" in said
    assert "some 40 cycles" in said
    rows[3]["ii"] = 16
    with pytest.raises(ValueError, match="depths of multiples of 64 alone should reach 90%"):
        list(binds(rows, arch))


def test_the_page_of_performance_says_what_its_rows_say():
    page = without_stamp(PERFORMANCE)
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if line.count("|") == 11
    ][2:]
    found = [
        {
            "shape": [int(n) for n in row[0].split(" x ")],
            "ii": int(row[2]),
            "cycles": int(row[4]),
            "ideal_cycles": int(row[7]),
            "steady": None if row[8] == "-" else float(row[8]) / 100,
        }
        for row in rows
    ]
    assert "\n".join(binds(found, CONFIGS["basic"])) in page


def test_lean_rows_keep_their_rules():
    found = results(report)
    for row in found["rows"]:
        if row["cut"] == "lean" and row["shape"] == MATRIX16.name:
            assert row["dot_sqnr_db"] >= row["uncut_dot_sqnr_db"] - LOSS_DB - 1e-5
    units = bars.lean(found)
    for pair in found["pairs"]:
        margin = next(b.margin_db for b in bars.BARS if b.name == pair["bar"])
        if pair["equal"]:
            above = pair["equal"]["dot_sqnr_db"] - units[pair["peer"]]["dot_sqnr_db"]
            assert above >= margin - 1e-5
    measured = {(pair["bar"], pair["pal"], pair["peer"]) for pair in found["pairs"]}
    assert measured == {
        (b.name, pal, peer) for b in bars.BARS for pal in b.pals for peer in b.peers
    }


def test_a_process_has_matrices_and_no_fronts():
    area = results(report)
    matrices = [r for r in area["rows"] if r["shape"] == "matrix16x16" and r["cut"] == "lean"]
    whole, process = (
        [title for title, _ in report.tables(area | {"rows": rows})]
        for rows in (area["rows"], matrices)
    )
    assert [t for t in whole if t not in process] == ["Fronts of area against accuracy"]
    text = report.process_text(area, {"cells": area | {"rows": matrices}})
    assert "### cells" in text
    assert "| PAL8T | MXINT8 | 0.837 | 0.837 | 0.000 |" in text
