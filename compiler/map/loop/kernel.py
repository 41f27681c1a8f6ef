"""Compiled functions of the search, kept compiled for as long as none of them changes."""

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numba
import numpy as np

import spu.arch
from pal_units.compiled import code_directory, compiled

#: A number in a tuple that compiled functions take or return.
Integer = int | np.integer
_HERE = Path(__file__).parent
#: What compiled functions are made of: themselves, and what they take in as constants, which are
#: their own or the architecture's.
_SOURCES = (
    *(path for path in sorted(_HERE.glob("*.py")) if "@kernel" in path.read_text()),
    *sorted(Path(*spu.arch.__path__).glob("*.py")),
)
_DIRECTORY = Path(code_directory(_SOURCES) or _HERE)


def _marker() -> Path:
    """A file that says that all are there for this interpreter; another one compiles its own."""
    return _DIRECTORY / f"complete-{sys.implementation.cache_tag}-numba-{numba.__version__}"


def complete() -> bool:
    """Whether the functions were compiled on this machine, as ``note_complete`` was told."""
    return _marker().exists()


def note_complete() -> None:
    """The functions are compiled; where nothing can be written, they are again each time."""
    with suppress(OSError):
        _marker().touch()


def kernel(function: Callable) -> Callable:
    """A compiled function, of arrays that its callers keep: it makes none itself."""
    # Counting references to all arrays in a tuple would take most of the time.
    return compiled(function, sources=_SOURCES, _nrt=False)


def inlined(function: Callable) -> Callable:
    """A ``kernel`` that becomes part of its callers."""
    return compiled(function, sources=_SOURCES, _nrt=False, forceinline=True)
