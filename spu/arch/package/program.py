"""Tensor programs: steps from tensor to tensor, of which the array computes and the host lays out.

A ``Layout`` moves elements, which costs nothing on the array: the host decides in which order
words enter a stream.  A ``Map`` is an elementwise kernel, a ``Product`` a matrix product.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spu.arch.package.expression import Expression


def node_name(label: str) -> str:
    """The name in the label of a node, or all of it if there is none."""
    return label.partition(" node ")[2][1:-1] or label


@dataclass(frozen=True)
class Tensor:
    """``constant``: its values, of tensors that the host knows beforehand."""

    shape: tuple[int, ...]
    constant: NDArray[np.float64] | None = None

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


@dataclass(frozen=True)
class Layout:
    """Element ``i`` of ``out`` is ``index[i]`` of all ``sources`` one after another.

    Index -1 is ``fill``.
    """

    out: int
    sources: tuple[int, ...]
    index: NDArray[np.int64]
    fill: float = 0.0


@dataclass(frozen=True)
class Map:
    """``out``, elementwise, of ``sources`` of as many elements in the same order."""

    out: int
    sources: tuple[int, ...]
    expression: Expression


@dataclass(frozen=True)
class Product:
    """``out`` (batch, m, n) of ``a`` (batch, m, k) and ``b`` (batch, k, n)."""

    out: int
    a: int
    b: int

    @property
    def sources(self) -> tuple[int, int]:
        return self.a, self.b


Step = Layout | Map | Product


@dataclass
class Program:
    """Steps in order; ``inputs`` and ``outputs`` are tensors by name.

    ``error``: of formulas that stand for functions that the array does not have, at most.
    ``nonnegative``: tensors that must not be below 0, and what says so.
    ``labels``: of nodes of the model, by the tensors that steps make.
    ``truths``: names of inputs and outputs that are truth values; within a program these are the
    numbers 0 and 1.
    """

    name: str
    tensors: list[Tensor] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    inputs: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, int] = field(default_factory=dict)
    error: float = 0.0
    nonnegative: dict[int, str] = field(default_factory=dict)
    labels: dict[int, str] = field(default_factory=dict)
    truths: set[str] = field(default_factory=set)

    def label(self, step: Step) -> str:
        """The node of the model that a step belongs to, the last one of several."""
        return self.labels.get(step.out, self.name)

    def shape(self, tensor: int) -> tuple[int, ...]:
        return self.tensors[tensor].shape


def gathered(step: Layout, sources: list[NDArray], fill: NDArray | float) -> NDArray:
    """The elements of a layout, of values or of codes."""
    flat = np.concatenate([*(s.ravel() for s in sources), np.array([fill], sources[0].dtype)])
    return flat[step.index]
