"""Primitives that move elements: JAX itself says where, by what it does to their indices."""

from typing import Any

import numpy as np

from compiler.front.jax.lowering import Lowering, moved
from compiler.front.jax.registry import Value, primitive


@primitive(
    "broadcast_in_dim",
    "reshape",
    "transpose",
    "slice",
    "squeeze",
    "expand_dims",
    "rev",
    "concatenate",
)
def move(low: Lowering, eqn: Any, *values: Value) -> Value:
    """Elements in other places, constants among them."""
    return low.program.layout(tensors_alike(low, values), moved(eqn))


def tensors_alike(low: Lowering, values: tuple[Value, ...]) -> list[int]:
    """Tensors of one type: real numbers if any is."""
    make = low.real if low.on_array(*values) or _floats(values) else low.of_host
    return [make(v) for v in values]


def _floats(values: tuple[Value, ...]) -> bool:
    return any(isinstance(v, np.ndarray) and v.dtype.kind not in "biu" for v in values)


@primitive("pad")
def pad(low: Lowering, eqn: Any, x: Value, fill: Value) -> Value:
    """Elements before, behind and between; fewer where numbers are below 0."""
    return low.program.layout(tensors_alike(low, (x, fill)), moved(eqn))


@primitive("split")
def split(low: Lowering, eqn: Any, x: Value) -> list[Value]:
    """Parts along an axis, one after another."""
    (source,), axis = tensors_alike(low, (x,)), eqn.params["axis"]
    ends = np.cumsum(eqn.params["sizes"])[:-1]
    return [
        low.program.layout([source], lambda i, k=k: np.split(i, ends, axis)[k])
        for k in range(len(ends) + 1)
    ]
