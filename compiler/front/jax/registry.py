"""Which function lowers a primitive."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: What an equation takes and makes: known before any run, or a tensor of the program.
Value = NDArray[Any] | int
#: Gets the lowering, the equation and its values, of which at least one is a tensor.
Handler = Callable[..., "Value | list[Value]"]

PRIMITIVES: dict[str, Handler] = {}
#: Lowered whatever is known: they have functions within.
CALLS: dict[str, Handler] = {}


def primitive(*names: str) -> Callable[[Handler], Handler]:
    """A function that lowers these primitives, ``(low, eqn, *values)``."""

    def register(handler: Handler) -> Handler:
        PRIMITIVES.update(dict.fromkeys(names, handler))
        return handler

    return register


def call(*names: str) -> Callable[[Handler], Handler]:
    """A function that lowers these primitives, whose values may all be known."""

    def register(handler: Handler) -> Handler:
        CALLS.update(dict.fromkeys(names, handler))
        return handler

    return register


def is_known(value: Value) -> bool:
    """Whether a value does not depend on a run."""
    return isinstance(value, np.ndarray)
