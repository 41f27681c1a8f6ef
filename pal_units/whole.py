"""Integers of Python and numpy, and nothing that only looks like one."""

import operator
import reprlib
from typing import Any

import numpy as np


def whole(name: str, value: Any) -> int:
    """An integer of Python or numpy as ``int``; ``TypeError`` for anything else, bools too."""
    try:
        if not isinstance(value, (bool, np.bool_)):
            return operator.index(value)
    except TypeError:
        pass
    raise TypeError(f"{name} must be an int, not {reprlib.repr(value)}") from None
