"""Shared: compiled digits programs and a console that keeps its text."""

import io
from functools import cache

import pytest
from rich.console import Console

from compiler.driver import Compiled, compile_file
from spu.arch.params import CONFIGS
from verif.digits.data import MODEL


@cache
def _compiled(name: str) -> Compiled:
    return compile_file(MODEL, CONFIGS[name])


@pytest.fixture(scope="session")
def compiled():
    """``compiled(arch_name)``: the digits model compiled with the default seed."""
    return _compiled


@pytest.fixture
def console():
    """A console that writes into memory."""
    return Console(file=io.StringIO(), width=200)
