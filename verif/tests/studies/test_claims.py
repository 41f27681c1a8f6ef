"""What README and docs claim is computed from committed results, and follows them."""

import json

import pytest

from spu.arch.params import CONFIGS
from verif.area import claims as area_claims
from verif.area import lean, lean_report, lean_study, plots, report
from verif.numerics import claims, real
from verif.numerics import report as accuracy_report
from verif.numerics.study import DISTRIBUTIONS
from verif.pages.readme import README, fill, part
from verif.pages.stamps import ACCURACY, AREA, LEAN, PERFORMANCE
from verif.studies.performance import binds


def results(of):
    return real.unpacked(json.loads(of.BASELINE.read_text()))


def without_stamp(made):
    return made.path.read_text().split("<!-- written by")[0].rstrip("\n")


@pytest.mark.parametrize(
    ("of", "made"),
    [(accuracy_report, ACCURACY), (report, AREA), (lean_report, LEAN)],
    ids=lambda v: "",
)
def test_pages_say_what_their_data_say(of, made):
    assert without_stamp(made) == of.text(results(of)).rstrip("\n")


@pytest.mark.parametrize(("name", "of"), [("accuracy", accuracy_report), ("area", lean_report)])
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


def test_the_readme_counts_the_pairs_in_which_logarithms_are_smaller():
    found = results(lean_report)
    assert "in 13 of 13 pairs" in " ".join(lean_report.readme(found).split())
    pal, peer = found["rows"][0]["equal_sqnr"]
    pal["ge_per_lane"] = 1.5 * peer["ge_per_lane"]
    said = " ".join(lean_report.readme(found).split())
    assert "in 12 of 13 pairs" in said
    assert "to 1.50 at 8 bits" in said


@pytest.mark.regress
def test_figures_of_area_are_what_their_data_draw(tmp_path):
    """Bit for bit, with the locked matplotlib."""
    pytest.importorskip("matplotlib")
    figures = [
        *plots.draw(results(report), tmp_path, ("svg",)),
        *plots.draw_lean(results(lean_report), tmp_path, ("svg",)),
    ]
    assert {path.name for path in figures} == {"area.svg", "area_accuracy.svg", "lean.svg"}
    for path in figures:
        assert path.read_bytes() == (AREA.path.parent / "figures" / path.name).read_bytes(), path


def test_every_family_of_the_figure_has_one_label():
    families = plots.lean_marks(results(lean_report))
    assert families.keys() == {name for p in lean.PAIRS for name in (p.pal, p.peer)}
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
    found = results(lean_report)
    row = found["rows"][0]
    row["equal_loss"][1]["ge_per_lane"] = row["equal_loss"][0]["ge_per_lane"] / 0.54
    assert f"0.54 of {row['peer']} (met: 0.55)" in next(lean_report.verdicts(found))
    row["equal_loss"][1]["ge_per_lane"] = row["equal_loss"][0]["ge_per_lane"] / 0.56
    assert f"0.56 of {row['peer']} (missed: 0.55)" in next(lean_report.verdicts(found))
    uncut = results(report)
    met = next(area_claims.verdicts(uncut))
    for unit in uncut["rows"]:
        if unit["unit"] == "PAL8U lean":
            unit["ge"] *= 2
    assert met.startswith("PAL8U lean: met against INT8")
    assert next(area_claims.verdicts(uncut)).startswith("PAL8U lean: missed against INT8")


def test_comparatives_of_pages_turn_with_the_data():
    found = results(report)
    assert area_claims.octaves(found) == "smaller"
    for row in found["rows"]:
        if row["unit"] == "PAL8T L6 k12 step 8, decoded":
            row["ge_per_lane"] *= 2
        if row["unit"] == "PAL6T lean":
            row["dot_sqnr_db_outliers"] += 20
    assert area_claims.octaves(found) == "no smaller"
    with pytest.raises(ValueError, match="PAL6T default should be above PAL6T lean"):
        report.text(found)


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
    for row in results(lean_report)["rows"]:
        pal, peer = row["equal_loss"]
        assert peer["dot_sqnr_db"] >= peer["uncut_dot_sqnr_db"] - row["loss_db"] - 1e-5
        floor = min(pal["dot_sqnr_db"], peer["dot_sqnr_db"])
        assert all(unit["dot_sqnr_db"] >= floor - 1e-5 for unit in row["equal_sqnr"])
        assert all(
            even["ge_per_lane"] <= unit["ge_per_lane"] + 1e-9
            for even, unit in zip(row["equal_sqnr"], row["equal_loss"], strict=True)
        )
        assert row["limit"] == next(
            p.limit for p in lean.PAIRS if (p.pal, p.peer) == (row["pal"], row["peer"])
        )
    measured = [(row["pal"], row["peer"]) for row in results(lean_report)["rows"]]
    pairs = [(p.pal, p.peer) for p in lean.PAIRS]
    assert measured == [pair for pair in pairs if pair in measured]
    missing = [pair for pair in pairs if pair not in measured]
    said = " ".join(part("area").split())
    assert all(f"{pal} and {peer}" in said for pal, peer in missing)
    assert ("Not measured yet" in said) == bool(missing)


@pytest.mark.regress
def test_a_lean_unit_is_the_committed_one():
    row = results(lean_report)["rows"][0]
    committed = row["equal_loss"][1]
    found = lean_study.smallest(row["peer"], committed["uncut_dot_sqnr_db"] - row["loss_db"] - 1e-6)
    assert found["unit"] == committed["unit"]
    assert found["ge_per_lane"] == pytest.approx(committed["ge_per_lane"], rel=0.02)
    assert found["dot_sqnr_db"] == pytest.approx(committed["dot_sqnr_db"], abs=0.01)


@pytest.mark.regress
def test_the_study_of_one_pair_gives_the_committed_row(monkeypatch):
    monkeypatch.setattr(lean, "PAIRS", lean.PAIRS[:1])
    committed = results(lean_report)["rows"][0]
    (row,) = lean_study.study()["rows"]
    for kind in lean_report.KINDS:
        assert lean_report.ratio(row, kind) == pytest.approx(
            lean_report.ratio(committed, kind), rel=0.02
        )
