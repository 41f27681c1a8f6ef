"""Examples of docstrings and pages run as pasted, and what pages name exists."""

import doctest
import importlib.util
import json
import pkgutil
import re

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import pal_units
import pal_units.rtl
import spu.rtl
from spu.command.main import app
from verif.pages import examples

MODULES = [
    "palspu",
    "pal_units",
    *(
        m.name
        for package in (pal_units.rtl, spu.rtl)
        for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ),
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name):
    results = doctest.testmod(importlib.import_module(name), extraglobs={"np": np})
    assert results.failed == 0


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A directory that looks like a checkout."""
    examples.checkout(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


PAGES = examples.pages()
NAME = {"ids": lambda page: str(page.relative_to(examples.ROOT))}


@pytest.mark.parametrize("page", [p for p in PAGES if ">>> " in p.read_text()], **NAME)
def test_python_examples_of_the_pages_give_what_they_show(page, checkout):
    """Without any name but those that the page itself imports or makes."""
    text = "\n".join(block for block in examples.fenced(page.read_text()) if ">>> " in block)
    session = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    results = doctest.DocTestRunner().run(session)
    assert results.failed == 0
    assert results.attempted


def _sessions(slow):
    return [
        p
        for p in PAGES
        if any(
            (examples.kept(p).get(block.name, examples.LIMIT) > examples.QUICK) == slow
            for block in examples.blocks(p)
        )
    ]


@pytest.mark.parametrize("page", _sessions(slow=False), **NAME)
def test_shell_examples_of_the_pages_print_what_they_show(page):
    assert examples.run_page(page, slow=False) == []


@pytest.mark.regress
@pytest.mark.parametrize("page", _sessions(slow=True), **NAME)
def test_shell_examples_that_take_longer_print_what_they_show(page):
    assert examples.run_page(page, slow=True) == []


@pytest.mark.regress
def test_every_shell_example_was_measured():
    wanted = {(b.page, b.name) for p in PAGES for b in examples.blocks(p)}
    have = {
        (page, name)
        for page, known in json.loads(examples.SECONDS.read_text()).items()
        for name in known
    }
    assert wanted == have, "run python -m verif.pages.examples"


PAGE = """
```
$ echo one; echo two > build/two
one
$ cat build/two; echo 'spu: error: no' >&2; exit 2
two
spu: error: no
```

```python
>>> 1
1
```

```
no command
```
"""


def test_examples_that_are_not_as_shown_are_found(checkout):
    page = checkout / "page.md"

    def found(text):
        page.write_text(text)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(examples, "ROOT", checkout)
            return [
                line for block in examples.blocks(page) for line in examples.run(block, checkout)
            ]

    assert found(PAGE) == []
    assert len(found(PAGE.replace("one\n$", "ones\n$"))) == 1
    assert "exits with 2" in found(PAGE.replace("spu: error", "error"))[0]
    assert "exits with 0" in found(PAGE.replace("exit 2", "exit 0"))[0]


def test_only_seconds_and_progress_are_masked():
    assert examples.masked("... compiling (10 s)\na in 0.63 s, II 2\n") == "a in # s, II 2\n"
    assert examples.masked("│ seconds in all │ 1.25  │\n") == "│ seconds in all │ # │\n"
    assert examples.masked("│ cycles  │ 3685 │\n") == "│ cycles  │ 3685 │\n"


def _named(pattern):
    """What inline code of the pages names, with its page."""
    for page in PAGES:
        prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
        for code in (*re.findall(r"`([^`\n]+)`", prose), *examples.fenced(page.read_text())):
            yield from ((page.name, found) for found in re.findall(pattern, code))


def test_targets_modules_and_tests_that_the_pages_name_exist():
    makefile = (examples.ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.M))
    assert {n for _, n in _named(r"^make ([a-z]+)")} <= targets
    for page, module in _named(r"python -m ([\w.]+)"):
        assert module == "pytest" or importlib.util.find_spec(module), (page, module)
    for page, path in _named(r"\b((?:verif|compiler|pal_units|spu|rtl)/[\w./]+\.(?:py|json|onnx))"):
        assert (examples.ROOT / path).exists(), (page, path)
    for page, name in _named(r"\b(test_\w+\.py)"):
        assert next((examples.ROOT / "verif" / "tests").rglob(name), None), (page, name)


def test_options_that_the_pages_name_exist():
    commands = typer.main.get_command(app).list_commands(None)
    for page, line in _named(r"(?:^|\n\$ )spu ([a-z]+[^|\n]*)"):
        command, *rest = line.split()
        assert command in commands, (page, line)
        text = CliRunner().invoke(app, [command, "--help"]).output
        if rest and f" {rest[0]} " in text:  # a command of a group
            text += CliRunner().invoke(app, [command, rest[0], "--help"]).output
        for option in (x.split("=")[0] for x in rest if x.startswith("--")):
            assert option in text, (page, line)


def test_every_documented_unit_has_an_example():
    from verif.pages.array_pages import COMPONENTS
    from verif.units.catalogue import UNITS

    for unit in (*UNITS, *COMPONENTS):
        assert ">>> " in unit.component.__doc__, unit.component
