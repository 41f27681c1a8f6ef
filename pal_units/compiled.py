"""Loops over large arrays: compiled where numba is installed, else by numpy; their bits are equal.

``compiled`` makes a function fast, ``in_pieces`` runs one over ranges: see ``machine`` (numba) and
``vectorised`` (numpy).
"""

import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING

__all__ = ["code_directory", "compiled", "in_pieces"]

if TYPE_CHECKING:
    from pal_units.machine import code_directory, compiled, in_pieces
else:
    try:
        from pal_units.machine import code_directory, compiled, in_pieces
    except Exception as error:  # what does not fit together raises whatever it likes
        if find_spec("numba") is not None:
            warnings.warn(f"numba does not work here, numpy is taken: {error}", stacklevel=2)
        from pal_units.vectorised import code_directory, compiled, in_pieces
