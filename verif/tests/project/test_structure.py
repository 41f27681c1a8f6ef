"""Import arrows, and the promises of the repository's layout."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
_COMPILER = {"pal_units", "spu.arch", "spu.model", "compiler.errors"}
#: What each part may import; a longer name wins over its package.
ALLOWED = {
    "pal_units": {"pal_units"},
    "spu": set(),
    "spu.__main__": {"spu.command"},
    "spu.arch": {"pal_units.dot_params", "pal_units.formats", "pal_units.model", "spu.arch"},
    "spu.command": {"pal_units.formats", "spu.arch", "spu.command"},
    "spu.rtl": {"pal_units", "spu.arch", "spu.rtl"},
    "spu.model": {"pal_units", "spu.arch", "spu.model"},
    "spu.driver": {"spu.arch", "spu.driver"},
    "spu.driver.golden_port": {"spu.arch", "spu.driver", "spu.model"},
    "spu.engine": {"pal_units", "spu.arch", "spu.model", "spu.engine"},
    # Testbenches inside a simulator, and what builds and runs it.
    "spu.engine.bench": {"spu.arch", "spu.driver"},
    "spu.engine.rtl_run": {"pal_units", "spu", "rtl"},
    "spu.engine.rtl_engine": {"spu", "rtl"},
    "spu.engine.command": {"spu", "rtl"},
    "spu.engine.compare_command": {"spu"},
    "rtl": {"pal_units", "spu.arch", "spu.rtl", "rtl"},
    "rtl.command": {"spu.arch", "spu.command", "rtl"},
    "compiler": {"pal_units", "spu.arch", "spu.model", "compiler"},
    "compiler.front": {*_COMPILER, "compiler.ir", "compiler.passes", "compiler.front"},
    "compiler.front.tasks": {
        *_COMPILER,
        "compiler.ir",
        "compiler.map.loop.mapper",
        "compiler.map.loop.mapped",
    },
    "compiler.ir": {*_COMPILER, "compiler.ir"},
    "compiler.passes": {*_COMPILER, "compiler.ir", "compiler.passes"},
    # What a mapping is, which it compares with the program that was made of it.
    "compiler.check": {
        *_COMPILER,
        "compiler.ir",
        "compiler.check",
        "compiler.map.loop.mapped",
        "compiler.map.pipeline.quantise",
    },
    "compiler.map": {
        *_COMPILER,
        "compiler.ir",
        "compiler.passes",
        "compiler.check",
        "compiler.map",
    },
    "compiler.text": {*_COMPILER, "compiler.text"},
    "compiler.command": {"pal_units.formats", "spu.arch", "spu.command", "compiler"},
    # What a machine costs: the compiler says what runs on it, never the other way round.
    "perf": {"pal_units", "spu.arch", "spu.model", "spu.engine", "compiler", "rtl", "perf"},
    "perf.command": {"pal_units", "spu", "compiler", "rtl", "perf"},
    "runtime": {"pal_units", "spu.arch", "spu.engine", "compiler", "perf", "runtime"},
    "runtime.command": {"pal_units", "spu", "compiler", "perf", "runtime"},
    "palspu": {"pal_units", "spu", "rtl", "compiler", "perf", "runtime"},
    "verif": {"pal_units", "spu", "rtl", "compiler", "perf", "runtime", "verif"},
    "verif.tests": {"pal_units", "spu", "rtl", "compiler", "perf", "runtime", "verif", "palspu"},
}
#: What these may not import in spite of that.
NEVER = {"compiler": {"pal_units.rtl"}, "spu.model": {"pal_units.rtl"}}
PACKAGES = {name.split(".")[0] for name in ALLOWED}
FILES = [p for name in sorted(PACKAGES) for p in sorted((ROOT / name).rglob("*.py"))]


def _within(module, names):
    return any(module == n or module.startswith(f"{n}.") for n in names)


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            # Relative ones are of the package that many levels above the file.
            above = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def test_relative_imports_have_their_whole_names(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "compiler" / "ir" / "some.py"
    path.parent.mkdir(parents=True)
    path.write_text("from ..map import steps\nfrom . import builder\nimport numpy\n")
    assert list(_imports(path)) == ["compiler.map.steps", "compiler.ir.builder", "numpy"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_arrows(path):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    owner = max((n for n in ALLOWED if _within(module, {n})), key=len)
    wrong = [
        i
        for i in _imports(path)
        if i.split(".")[0] in PACKAGES
        and (
            not _within(i, ALLOWED[owner])
            or any(_within(module, {n}) and _within(i, NEVER[n]) for n in NEVER)
        )
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("spu.engine.run", ("compiler", "amaranth", "ortools", "onnx", "rtl", "typer", "verif")),
        ("spu.command.main", ("compiler", "amaranth", "ortools", "onnx", "rtl", "numba", "verif")),
        ("compiler.build", ("amaranth", "rtl", "verif", "cocotb")),
        ("pal_units", ("numba", "amaranth", "spu")),
        ("palspu", ("numpy", "pal_units", "spu", "compiler", "rtl", "typer", "verif")),
    ],
)
def test_what_an_import_brings(module, without):
    """In an interpreter of its own."""
    found = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout.split()
    assert {name.split(".")[0] for name in found} & set(without) == set()


def test_the_numpy_model_does_not_need_the_hardware_language():
    folder = ROOT / "pal_units"
    for path in (*folder.glob("*.py"), *(folder / "model").glob("*.py")):
        imports = list(_imports(path))
        assert not any(i.startswith("amaranth") for i in imports)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_reference_page_is_that_of_the_code():
    from verif.pages import reference

    assert reference.PATH.read_text() == reference.text(), "run python -m verif.pages.reference"


def test_unit_pages_are_those_of_the_code():
    from verif.pages import unit_pages

    pages = unit_pages.texts(unit_pages.load()[1])
    for path, text in pages.items():
        assert path.read_text() == text, f"{path.name}: run make docs"
    assert {p.name for p in unit_pages.FOLDER.glob("*.md")} == {p.name for p in pages}


def test_pages_of_the_array_are_those_of_the_code():
    from verif.pages import array_pages

    pages = array_pages.texts()
    for path, text in pages.items():
        assert path.read_text() == text, f"{path.name}: run make docs"
    assert {p.name for p in array_pages.FOLDER.glob("*.md")} == {p.name for p in pages}


@pytest.mark.parametrize(
    ("unit", "label"), [("Multiplier", "PAL8T"), ("Adder", "PAL6T"), ("Exponential", "PAL16")]
)
def test_areas_in_the_pages_are_those_of_the_code(unit, label):
    from verif.pages import unit_pages
    from verif.pages.unit_pages import area
    from verif.units.catalogue import UNITS

    make = next(u for u in UNITS if u.name == unit).configurations[label]
    committed, _ = unit_pages.load()[1][unit][label]
    assert area(make) == pytest.approx(committed, rel=0.02)


def test_areas_in_the_pages_are_of_the_hardware_of_now():
    from verif.pages import unit_pages

    stale = [f"{unit} {label}" for unit, label, *_ in unit_pages.stale(*unit_pages.load())]
    assert stale == [], "run make docs"


def test_a_yosys_error_is_an_exception_with_its_text(tmp_path):
    from rtl import yosys

    with pytest.raises(yosys.YosysError, match="nowhere"):
        yosys.run("read_rtlil nowhere.il", tmp_path)
