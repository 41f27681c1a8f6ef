"""Which operators are lowered, and by what."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from compiler.front.onnx_graph import Operator

if TYPE_CHECKING:
    from compiler.front.lowering import Lowering

Handler = Callable[["Lowering", Operator], int | list[int]]
#: What makes the outputs of a node, by operator; and of one that takes integers of the host.
OPERATORS: dict[str, Handler] = {}
ON_INTEGERS: dict[str, Handler] = {}
#: And of one that takes numbers of which the model makes integers, before they are rounded.
ON_QUANTISED: dict[str, Handler] = {}


def operator(*names: str) -> Callable[[Handler], Handler]:
    """A function that lowers these operators."""

    def register(handler: Handler) -> Handler:
        OPERATORS.update(dict.fromkeys(names, handler))
        return handler

    return register


def on_integers(*names: str) -> Callable[[Handler], Handler]:
    """A function that lowers these operators where they take integers or truth values of the host;
    where nothing else does, all of their nodes."""

    def register(handler: Handler) -> Handler:
        for name in names:
            ON_INTEGERS[name] = handler
            OPERATORS.setdefault(name, handler)
        return handler

    return register


def on_quantised(*names: str) -> Callable[[Handler], Handler]:
    """A function that lowers these operators where they take what is quantised."""

    def register(handler: Handler) -> Handler:
        ON_QUANTISED.update(dict.fromkeys(names, handler))
        return handler

    return register
