"""Shared: compiled digits programs, a mapped filter, and a console that keeps its text."""

import gc
import io
import json
import os
import pickle

import pytest
from rich.console import Console
from typer.testing import CliRunner

from compiler.map.pipeline.compile import Compiled
from rtl.kept import kept
from spu.arch.params import CONFIGS
from spu.command.main import app
from verif.digits.data import MODEL
from verif.stimulus import dataflows
from verif.stimulus.chains import pipeline

# Hardware is elaborated into millions of objects that live: the collector looks for garbage among
# them seldom (a third of the time of elaboration; 50 MB more).
gc.set_threshold(100_000, 50, 100)

# Packages of the user's are not those of tests, whose compilers may be other ones.
os.environ["SPU_CACHE"] = ""


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """``shared(name, make)``: what ``make()`` returns, made once for all tests, also side by side.

    Those have directories with one parent.
    """
    directory = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        directory = directory.parent

    here = {}

    def made(name, make):
        if name not in here:
            path = directory / name
            kept(path, lambda aside: (aside / "pickle").write_bytes(pickle.dumps(make())))
            here[name] = pickle.loads((path / "pickle").read_bytes())
        return here[name]

    return made


@pytest.fixture(scope="session")
def compiled(shared):
    """``compiled(arch_name)``: the digits model compiled with the default seed."""

    def made(name: str) -> Compiled:
        return shared(f"digits-{name}", lambda: pipeline(MODEL, CONFIGS[name]))

    return made


@pytest.fixture
def console():
    """A console that writes into memory."""
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def mapped(tmp_path):
    """Directory of a mapped filter."""
    path = tmp_path / "fir.json"
    path.write_text(json.dumps(dataflows.fir(4)))
    result = CliRunner().invoke(
        app, ["map", str(path), "--unit-latency", "-o", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.output
    return tmp_path / "out"


def pytest_terminal_summary(terminalreporter):
    """Print how many vectors each RTL unit was compared with the model on."""
    counts = []
    for report in terminalreporter.getreports("passed"):
        test = report.nodeid.split("::")[-1]
        for name, value in report.user_properties if report.when == "call" else ():
            if name == "cases":
                case, count = value if isinstance(value, (tuple, list)) else ("", value)
                counts.append((f"{test} {case}", count))
    if counts:
        terminalreporter.section("vectors compared between RTL and model, 0 mismatches")
        for test, count in sorted(counts):
            terminalreporter.write_line(f"{count:>10,}  {test}")
        terminalreporter.write_line(f"{sum(c for _, c in counts):>10,}  in all")
