"""Compiled functions of the search, kept compiled for as long as none of them changes."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit
from numba.core import config as _config

#: Of numba; it has its members from the environment.
config: Any = _config

_HERE = Path(__file__).parent
#: What compiled functions are made of: themselves, and what they take in as constants, which are
#: their own or the architecture's.
_FILES = (*(path for path in sorted(_HERE.glob("*.py")) if "@kernel" in path.read_text()),
          *sorted((_HERE.parents[1] / "spu" / "arch").glob("*.py")))


def _directory() -> str:
    """Where compiled functions are kept, those of other versions deleted.

    A function is compiled with all that it calls, but numba looks at its own file only to see
    whether it is still good.
    """
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in _FILES)).hexdigest()[:16]
    directory = _HERE / "__pycache__" / f"kernels-{digest}"
    try:
        if not directory.exists():
            for old in directory.parent.glob("kernels-*"):
                shutil.rmtree(old, ignore_errors=True)
            directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return config.CACHE_DIR  # numba finds a place for a user that may not write here
    return str(directory)


_DIRECTORY = _directory()


def kernel(function: Callable) -> Callable:
    """A compiled function, of arrays that its callers keep: it makes none itself."""
    return _compiled(function, False)


def inlined(function: Callable) -> Callable:
    """A ``kernel`` that becomes part of its callers."""
    return _compiled(function, True)


def _compiled(function: Callable, inline: bool) -> Callable:
    options: dict[str, Any] = {"cache": True, "forceinline": inline, "_nrt": False}
    elsewhere, config.CACHE_DIR = config.CACHE_DIR, _DIRECTORY
    try:
        # Counting references to all arrays in a tuple would take most of the time.
        return njit(**options)(function)
    finally:
        config.CACHE_DIR = elsewhere
