"""Formats of the user in the accuracy study: what is taken of a file, and what is refused."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from verif.baselines.formats import QUANTISERS
from verif.numerics import claims, real, report, study
from verif.numerics.added import BadFormat, chosen, load
from verif.numerics.distributions import Sizes

GOOD = """
import numpy as np
from pal_units import PAL8T, Codebooks, Format
from verif.baselines.blocks import Quantiser
from verif.baselines.formats import QUANTISERS

ROWS = ((6, 5, 4, 3, 2, 1, 0), (24, 16, 11, 8, 5, 2, 0))
BOOKS = Codebooks(ROWS, ROWS, False, ((128, 1),))
LOGS = Format("mine", 4, "A", 3, block=16, codebooks=BOOKS)
SAME = LOGS
WHOLE = Quantiser("whole", 10, np.rint)
INT8 = QUANTISERS["INT8"]
"""


@pytest.fixture
def file(tmp_path):
    def write(text, name="mine.py"):
        path = tmp_path / "given" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_what_a_file_defines_is_taken_and_what_it_imports_is_not(file):
    path = file(GOOD)
    mine, whole = load(path)
    assert (mine.name, mine.bits_per_element) == ("mine", 4.5)
    assert (whole.name, whole.bits_per_element) == ("whole", 10)
    x = np.random.default_rng(0).standard_normal((4, 64))
    assert np.array_equal(whole.dots(x, x), np.rint(x) @ np.rint(x).T)
    assert not np.array_equal(mine.dots(x, x), mine.round(x) @ mine.round(x).T)  # the hardware's
    assert [p.name for p in path.parent.iterdir()] == ["mine.py"]
    assert "mine" not in sys.modules


def test_a_copy_of_a_format_has_its_values(file):
    """Not its products: bits of a dot product are chosen for formats with names."""
    path = file('from pal_units import Format\nF = Format("again", 8, "T", 5)\n')
    (again,) = load(path)
    sizes = Sizes(4096, 4, 64)
    rows, copies = (
        study.study([q], sizes, network=False)["rows"] for q in (QUANTISERS["PAL8T"], again)
    )
    assert [row["sqnr_db"] for row in rows] == [row["sqnr_db"] for row in copies]


_ROWS = "(6, 5, 4, 3, 2, 1, 0), (24, 16, 11, 8, 5, 2, 0)"
_HEAD = (
    "import numpy as np\nfrom pal_units import *\nfrom verif.baselines.blocks import Quantiser\n"
)
BAD = {
    "x = 1": "defines no pal_units.Format and no Quantiser",
    "F = PAL8T": "defines no pal_units.Format and no Quantiser",
    'F = Format("PAL8T", 8, "T", 5)': "PAL8T is the name of a format of the study",
    'F = Format("PAL16", 16, "U", 10)': "PAL16 is the name of a format of the study",
    'F = Quantiser("NVFP4", 4.5, np.rint)': "NVFP4 is the name of a format of the study",
    'F = Format("a", 8, "T", 5); G = Format("a", 6, "T", 3)': "a is the name of two formats",
    'F = Quantiser("a,b", 4, np.rint)': "text without a comma, not 'a,b'",
    'F = Format("a", 8, "T", 4)': "line 4: ValueError: profile T needs fraction_bits = n - 3 = 5",
    f"B = Codebooks(({_ROWS}),) * 2": "line 4: TypeError: ",
    f"R = ({_ROWS.replace('16, 11', '11, 16')})\nB = Codebooks(R, R, False, ((128, 1),))": (
        "line 5: ValueError: codebook 1 is not monotone"
    ),
    f"R = ({_ROWS.replace('11', '10.5')})\nB = Codebooks(R, R, False, ((128, 1),))": (
        "line 5: TypeError: positive[1][2]"
    ),
    "import nothing_of_that_name": "line 4: ModuleNotFoundError: No module named",
    "raise SystemExit(3)": "line 4: SystemExit: 3",
    "F = (": "line 4: SyntaxError: '(' was never closed",
    'F = Format("a", 6, "T", 3, block=24)': "a: the block must divide 64, 24 does not",
    'F = Quantiser("a", "4", np.rint)': "a: bits_per_element must be a number above 0, not '4'",
    'F = Quantiser("a", 4, 5)': "a: values: TypeError: 'int' object is not callable",
    'F = Quantiser("a", 4, np.ravel)': "a: values of shape (2, 64) come back as (128,)",
    'F = Quantiser("a", 4, lambda x: x / 0)': "a: values come back with some that are not finite",
    'F = Quantiser("a", 4, np.rint, lambda x, w: x)': (
        "a: products of shape (3, 3) come back as (3, 64)"
    ),
}


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize("text", BAD)
def test_a_file_that_does_not_do_is_refused_with_its_name(text, file):
    path = file(_HEAD + text + "\n")
    with pytest.raises(BadFormat) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))
    assert BAD[text] in str(caught.value)


def test_numbers_that_go_wrong_later_are_refused_too(file):
    """On integers alone, which none of the numbers that a file is tried on are."""
    path = file(_HEAD + 'F = Quantiser("a", 4, lambda x: np.where(x == 100, np.nan, x))\n')
    with pytest.raises(BadFormat, match="a: values come back with some that are not finite"):
        study.study(load(path), Sizes(4096, 4, 64), network=False)


def test_only_names_formats_of_the_study_and_added_ones_stay(file):
    added = load(file(GOOD))
    assert [q.name for q in chosen(added, ["INT8/8th", "PAL8T"])] == [
        "PAL8T",
        "INT8/8th",
        "mine",
        "whole",
    ]
    assert len(chosen(added, None)) == len(QUANTISERS) + 2
    for name in ("int8", ""):
        with pytest.raises(BadFormat, match=f"no format '{name}'; there are PAL4U, "):
            chosen(added, [name])
    with pytest.raises(BadFormat, match="mine is the name of two formats"):
        chosen([*added, *added], None)


def _spu(*words):
    from spu.command.main import app

    result = CliRunner().invoke(app, ["numerics", *map(str, words)])
    return result.exit_code, " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "none.py"], "none.py"),
        (["--format", "folder"], "folder"),
        (["--format", "mine.py", "--only", "INT9"], "no format 'INT9'; there are"),
        (["--format", "empty.py"], "empty.py: defines no"),
        (["--format", "mine.py", "--format", "mine.py"], "mine is the name of two formats"),
        (["--format", "mine.py", "--json", "mine.py"], "mine.py: is read"),
    ],
)
def test_bad_requests_are_a_line_and_leave_nothing(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("verif.numerics.study.study", lambda *_, **__: pytest.fail("was begun"))
    Path("folder").mkdir()
    Path("empty.py").write_text("")
    Path("mine.py").write_text(GOOD)
    code, stderr = _spu(*words, "--plots", "plots", "--no-network")
    assert code == 2
    assert stderr.startswith("spu: error: ")
    assert said in stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty.py", "folder", "mine.py"]
    assert Path("mine.py").read_text() == GOOD


def test_a_limited_run_has_rows_and_tables_of_what_was_asked_for(file, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    path, target = file(GOOD), tmp_path / "n.json"
    monkeypatch.setattr(
        study.study, "__defaults__", (study.FORMATS, Sizes(4096, 4, 64), True, lambda *_: None)
    )
    words = ["--no-network", "--format", path, "--only", "PAL6A,INT6/8th,NVFP4", "--json", target]
    code, _ = _spu(*words, "--plots", tmp_path / "plots")
    assert code == 0
    results = json.loads(target.read_text())
    names = ["PAL6A", "NVFP4", "INT6/8th", "mine", "whole"]
    assert list(claims.bits(results)) == [n for n in QUANTISERS if n in names] + names[-2:]
    assert results["added"] == ["mine", "whole"]
    assert claims.peers(results, "mine") == ["NVFP4"]
    assert claims.peers(results, "PAL6A") == ["INT6/8th"]  # not what the user added
    titles = [title for title, _ in report.tables(results)]
    assert titles[:2] == [
        "PAL6A above each peer of as many bits, SQNR of values, dB",
        "mine above each format of as many bits, SQNR of values, dB",
    ]
    assert results["command"].startswith("spu numerics --no-network --format")
    assert {p.name for p in (tmp_path / "plots").iterdir()} >= {"sqnr.svg", "dot_length.svg"}
    assert real.table(results)[1:] == []


def test_a_limited_run_is_no_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("build").mkdir()
    Path("build/numerics.json").write_text(json.dumps({"command": "spu numerics --only PAL8T"}))
    monkeypatch.setattr("verif.pages.stamps.Made.write", lambda *_: pytest.fail("was written"))
    report.main()
    assert "is of `spu numerics --only PAL8T`, not of `make numerics`" in capsys.readouterr().out
