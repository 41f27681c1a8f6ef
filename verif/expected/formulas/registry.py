"""Which operators have a formula of their own."""

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

Given = Mapping[str, Any]
#: Takes the version, the attributes and the inputs, None those that are not given.
Formula = Callable[..., NDArray | list[NDArray]]
#: By operator.
OWN: dict[str, Formula] = {}


def formula(*names: str) -> Callable[[Formula], Formula]:
    """The formula of these operators."""

    def register(made: Formula) -> Formula:
        OWN.update(dict.fromkeys(names, made))
        return made

    return register
