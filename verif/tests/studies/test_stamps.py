"""Costly pages: each was made by its command from the sources of now, and that is noticed."""

import importlib
from dataclasses import replace

import pytest

from verif.pages import stamps
from verif.pages.stamps import MADE, Made, closure, code


@pytest.mark.parametrize("made", MADE, ids=lambda made: made.label)
def test_pages_were_written_by_their_command_from_these_sources(made):
    fault = made.fault()
    assert fault is None, fault


PAGE = Made("page.md", "make it", ("verif.one",))
PART = replace(PAGE, page="parts.md", section="part")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with two modules, of which one imports the other, and two pages."""
    monkeypatch.setattr(stamps, "ROOT", tmp_path)
    (tmp_path / "verif").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "verif" / "__init__.py").write_text("")
    (tmp_path / "verif" / "one.py").write_text("from verif.two import WIDTH\n\nAREA = WIDTH**2\n")
    (tmp_path / "verif" / "two.py").write_text('"""Two."""\n\nWIDTH = 3\n')
    (tmp_path / "docs" / "parts.md").write_text(
        "above\n<!-- part: begin -->\n<!-- part: end -->\nbelow\n"
    )
    return tmp_path


@pytest.mark.parametrize("made", [PAGE, PART])
def test_a_page_is_stale_when_a_source_or_what_it_imports_changed(made, checkout):
    made.write("| 9 |\n", made.sources())
    assert made.fault() is None
    for change, stale in (("WIDTH = 3  # a comment", False), ("WIDTH = 4", True)):
        (checkout / "verif" / "two.py").write_text(f"{change}\n")
        assert bool(made.fault()) == stale
    assert "stale, its sources changed: run `make it`" in made.fault()


def test_a_module_that_moves_makes_nothing_stale(checkout):
    PAGE.write("| 9 |\n", PAGE.sources())
    one = checkout / "verif" / "one.py"
    (checkout / "verif" / "room").mkdir()
    (checkout / "verif" / "room" / "__init__.py").write_text('"""A room."""\n')
    (checkout / "verif" / "two.py").rename(checkout / "verif" / "room" / "two.py")
    one.write_text(one.read_text().replace("verif.two", "verif.room.two"))
    assert PAGE.fault() is None
    one.write_text(one.read_text().replace("verif.room.two", "verif.room.three"))
    assert "stale" in PAGE.fault()


def test_another_name_of_the_same_module_counts(checkout):
    one, two = checkout / "verif" / "one.py", checkout / "verif" / "two.py"
    two.write_text("WIDTH = 3\nDEPTH = 4\n")
    PAGE.write("| 9 |\n", PAGE.sources())
    one.write_text("from verif.two import DEPTH as WIDTH\n\nAREA = WIDTH**2\n")
    assert "stale" in PAGE.fault()


def test_the_same_name_of_another_module_counts(checkout):
    one = checkout / "verif" / "one.py"
    one.write_text("import verif.three\nfrom verif.two import WIDTH\n\nAREA = WIDTH**2\n")
    (checkout / "verif" / "three.py").write_text("WIDTH = 4\n")
    PAGE.write("| 9 |\n", PAGE.sources())
    assert PAGE.fault() is None
    one.write_text("import verif.two\nfrom verif.three import WIDTH\n\nAREA = WIDTH**2\n")
    assert "stale" in PAGE.fault()


@pytest.mark.parametrize("made", [PAGE, PART])
def test_writing_the_page_again_does_not_make_old_figures_new(made, checkout):
    """The digest is that of the run's beginning."""
    began = made.sources()
    (checkout / "verif" / "two.py").write_text("WIDTH = 4\n")
    made.write("| 9 |\n", began)
    assert "stale" in made.fault()


@pytest.mark.parametrize("made", [PAGE, PART])
def test_a_figure_changed_by_hand_is_found(made, checkout):
    made.write("| 9 |\n", made.sources())
    made.path.write_text(made.path.read_text().replace("| 9 |", "| 8 |"))
    assert "changed by hand" in made.fault()


def test_a_section_leaves_the_text_around_it(checkout):
    for figure in ("| 9 |", "| 10 |"):
        PART.write(figure, PART.sources())
        lines = PART.path.read_text().splitlines()
        assert lines[:3] == ["above", "<!-- part: begin -->", figure]
        assert lines[4:] == ["<!-- part: end -->", "below"]
    PART.path.write_text(PART.path.read_text().replace("above", "Above"))
    assert PART.fault() is None


def test_a_page_without_a_stamp_is_named(checkout):
    assert PART.fault() == "docs/parts.md, part, has no stamp: run `make it`"


def test_data_and_locked_versions_count(checkout):
    made = replace(PAGE, files=("weights.onnx",), packages=("solver",))
    lock, weights = checkout / "requirements.lock", checkout / "weights.onnx"
    seen = set()
    for version, content in (("1", "a"), ("2", "a"), ("2", "b")):
        lock.write_text(f"other==5\nsolver=={version}\n")
        weights.write_text(content)
        seen.add(made.sources())
    assert len(seen) == 3
    lock.write_text("other==6\nsolver==2\n")
    assert made.sources() in seen


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ('"""Other words."""\n\ndef f(x):\n    """Say."""\n    return x + 1\n', True),
        ("def f(x):\n    # Why.\n\n    return (x\n            + 1)\n", True),
        ("def f(x):\n    return x + 2\n", False),
        ("def f(x):\n    return 1 + x\n", False),
        ("def f(x, y=0):\n    return x + 1\n", False),
    ],
)
def test_only_what_code_does_counts(changed, same, tmp_path):
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text("def f(x):\n    return x + 1\n")
    two.write_text(changed)
    assert (code(one) == code(two)) == same


def test_what_is_imported_inside_a_function_counts():
    names = closure(("spu.engine.rtl_engine",))
    assert {
        "pal_units.formats",
        "spu.arch.params",
        "spu.engine.rtl_run",
        "rtl.emit",
        "spu.rtl.top",
    } <= names.keys()
    assert "rtl.emit" not in closure(("spu.engine.rtl_engine",), without=("spu.engine.rtl_run",))


@pytest.mark.parametrize("module", ["verif.numerics.report", "verif.area.report"])
def test_a_page_whose_study_has_not_run_stays_as_it_is(module, tmp_path, monkeypatch, capsys):
    """``make docs`` goes on to the other pages."""
    monkeypatch.chdir(tmp_path)
    importlib.import_module(module).main()
    assert "is not there: `make " in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
