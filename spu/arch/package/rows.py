"""Which rows of its inputs the outputs of a tensor program depend on, element by element.

A program says of each element what it is made of: layouts by index, kernels element by element,
products by rows and columns.  So this is no guess from the graph of a model: the least and the
largest row that an element may depend on are followed through the steps that run.  What a step of
the host takes by an index of the run counts as all that it may take.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spu.arch.package.program import HostStep, Layout, Map, Product, Program

#: Beyond all rows: the least row of what depends on none.
_NONE = np.iinfo(np.int32).max


@dataclass(frozen=True)
class _Rows:
    """Least and largest row that each element of a tensor may depend on."""

    least: NDArray[np.int32]
    most: NDArray[np.int32]

    @staticmethod
    def none(shape: tuple[int, ...]) -> "_Rows":
        return _Rows(np.full(shape, _NONE, np.int32), np.full(shape, -1, np.int32))

    def reshape(self, shape: tuple[int, ...]) -> "_Rows":
        return _Rows(self.least.reshape(shape), self.most.reshape(shape))

    def spread(self, shape: tuple[int, ...]) -> "_Rows":
        return _Rows(np.broadcast_to(self.least, shape), np.broadcast_to(self.most, shape))

    def over(self, axes: Any, keep: bool = False) -> "_Rows":
        """Of the elements along some axes together."""
        return _Rows(
            self.least.min(axes, keepdims=keep, initial=_NONE),
            self.most.max(axes, keepdims=keep, initial=-1),
        )

    def __or__(self, other: "_Rows") -> "_Rows":
        return _Rows(np.minimum(self.least, other.least), np.maximum(self.most, other.most))


def stay_apart(program: Program, names: Collection[str]) -> bool:
    """Whether row r of each output depends on row r of these inputs and on no other row.

    ``names``: inputs with as many rows, along their first axis; what others hold is the same for
    all rows.  Outputs must have as many rows.
    """
    count = {program.shape(program.inputs[name])[:1] for name in names}
    outputs = [program.shape(i) for i in program.outputs.values()]
    if len(count) != 1 or any(shape[:1] not in count for shape in outputs):
        return False
    (rows,) = next(iter(count)) or (0,)
    number = np.arange(rows, dtype=np.int32)
    found: dict[int, _Rows] = {}
    for name, i in program.inputs.items():
        shape = program.shape(i)
        own = number.reshape(-1, *[1] * (len(shape) - 1))
        found[i] = _Rows(own, own).spread(shape) if name in names else _Rows.none(shape)
    last = {s: i for i, step in enumerate(program.steps) for s in step.sources}
    kept = set(program.outputs.values())
    for i, step in enumerate(program.steps):
        sources = [found[s] if s in found else _Rows.none(program.shape(s)) for s in step.sources]
        found[step.out] = _made(program, step, sources)
        for s in set(step.sources) - kept:
            if last[s] == i:
                found.pop(s, None)
    for i in kept:
        if i not in found:  # a constant
            continue
        own = number.reshape(-1, *[1] * (len(program.shape(i)) - 1))
        if (found[i].least < own).any() or (found[i].most > own).any():
            return False
    return True


def _made(program: Program, step: Layout | Map | Product | HostStep, given: list[_Rows]) -> _Rows:
    shape = program.shape(step.out)
    if isinstance(step, Layout):
        least = np.concatenate([*(x.least.ravel() for x in given), np.array([_NONE], np.int32)])
        most = np.concatenate([*(x.most.ravel() for x in given), np.array([-1], np.int32)])
        return _Rows(least[step.index], most[step.index]).reshape(shape)
    if isinstance(step, Map):
        out = _Rows.none(shape)
        for x in given:
            out |= x.reshape(shape)
        return out
    if isinstance(step, Product):
        a, b = given
        return a.over(2, keep=True) | b.over(1, keep=True)
    return _on_host(step, shape, given)


#: Operations of the host whose elements are made of those in the same places.
_ELEMENTWISE = frozenset(
    (
        *("add", "sub", "mul", "div", "mod", "max", "min", "neg", "abs", "sign"),
        *("less", "less_or_equal", "greater", "greater_or_equal", "equal"),
        *("and", "or", "xor", "not", "where", "cast", "real", "truth", "quantise"),
    )
)


def _on_host(step: HostStep, shape: tuple[int, ...], given: list[_Rows]) -> _Rows:
    """Of a step of the host; of an operation that is not known here, all rows together."""
    settings = step.settings
    if step.operation in _ELEMENTWISE:
        out = _Rows.none(shape)
        for x in given:
            out |= x.spread(shape)
        return out
    first = given[0]
    if step.operation == "reduce":
        return first.over(tuple(settings["axes"]), settings["keep"])
    if step.operation in ("cumsum", "rank"):
        return first.over(settings["axis"], keep=True).spread(shape)
    if step.operation == "one_hot":
        axis = settings["axis"] % len(shape)
        return _Rows(np.expand_dims(first.least, axis), np.expand_dims(first.most, axis)).spread(
            shape
        )
    if step.operation == "gather":
        ids, axis = given[1], settings["axis"] % first.least.ndim
        behind = first.least.ndim - axis - 1
        taken = first.over(axis)
        places = taken.least.shape[:axis] + (1,) * ids.least.ndim + taken.least.shape[axis:]
        chosen = ids.reshape(ids.least.shape + (1,) * behind)
        return taken.reshape(places).spread(shape) | chosen.spread(shape)
    together = _Rows.none(())
    for x in given:
        together |= x.over(tuple(range(x.least.ndim)))
    return together.spread(shape)
