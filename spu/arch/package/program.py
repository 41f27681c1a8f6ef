"""Tensor programs: steps from tensor to tensor, of which the array computes and the host lays out.

A ``Layout`` moves elements, which costs nothing on the array: the host decides in which order
words enter a stream.  A ``Map`` is an elementwise kernel, a ``Product`` a matrix product.  A
``HostStep`` is of integers, which never enter the array, or moves elements by indices of a run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spu.arch.errors import InputError, PackageError
from spu.arch.package import host_operations
from spu.arch.package.expression import Expression
from spu.arch.package.host_operations import REAL


def node_name(label: str) -> str:
    """The name in the label of a node, or all of it if there is none."""
    return label.partition(" node ")[2][1:-1] or label


@dataclass(frozen=True)
class Tensor:
    """``constant``: its values, of tensors that the host knows beforehand.

    ``dtype``: name of a numpy type, of tensors of integers and truth values; else ``REAL``.
    """

    shape: tuple[int, ...]
    constant: NDArray | None = None
    dtype: str = REAL

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @property
    def known(self) -> bool:
        """Whether it is a constant."""
        return self.constant is not None

    @property
    def values(self) -> NDArray:
        """Of a constant."""
        assert self.constant is not None
        return self.constant


class StoredTensor(Tensor):
    """A constant of a package on disk, whose values are read when they are asked for."""

    def __init__(
        self, shape: tuple[int, ...], dtype: str, read: Callable[[], NDArray] | None
    ) -> None:
        """Without ``read`` the package has codes alone of it."""
        super().__init__(shape, None, dtype)
        del self.__dict__["constant"]
        self.__dict__["read"] = read

    @property
    def absent(self) -> bool:
        """Whether the package has codes alone of it."""
        return self.__dict__["read"] is None

    @cached_property
    def constant(self) -> NDArray:
        """Its values; raises what ``read`` does, and ``PackageError`` without."""
        if self.absent:
            raise PackageError(
                "has codes alone of its weights, which are not the model's own numbers; "
                "spu compile --keep-float writes these, too"
            )
        found: NDArray = self.__dict__["read"]()
        return found

    @property
    def known(self) -> bool:
        return True


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


@dataclass(frozen=True)
class HostStep:
    """``out`` by an operation of the host, see ``host_operations``."""

    out: int
    sources: tuple[int, ...]
    operation: str
    settings: Mapping[str, Any] = field(default_factory=dict)


Step = Layout | Map | Product | HostStep


@dataclass
class Program:
    """Steps in order; ``inputs`` and ``outputs`` are tensors by name.

    ``error``: of formulas that stand for functions that the array does not have, at most.
    ``nonnegative``: tensors that must not be below 0, and what says so.
    ``labels``: of nodes of the model, by the tensors that steps make; ``results``: tensors that are
    outputs of nodes, others are on the way to them.
    ``truths``: names of outputs of real numbers that are truth values, the numbers 0 and 1.
    ``notes``: what is done in another way than the model says, a line each.
    """

    name: str
    tensors: list[Tensor] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    inputs: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, int] = field(default_factory=dict)
    error: float = 0.0
    nonnegative: dict[int, str] = field(default_factory=dict)
    labels: dict[int, str] = field(default_factory=dict)
    results: set[int] = field(default_factory=set)
    truths: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def label(self, step: Step) -> str:
        """The node of the model that a step belongs to, the last one of several."""
        return self.labels.get(step.out, self.name)

    def shape(self, tensor: int) -> tuple[int, ...]:
        return self.tensors[tensor].shape

    def is_real(self, tensor: int) -> bool:
        """Whether a tensor is of real numbers, which are PAL16 in a run."""
        return self.tensors[tensor].dtype == REAL

    def moved(self, step: "Layout | HostStep") -> tuple[int, ...]:
        """Tensors of real numbers whose elements a step moves into the tensor that it makes."""
        if not self.is_real(step.out):
            return ()
        if isinstance(step, Layout):
            return step.sources
        return tuple(step.sources[k] for k in host_operations.OPERATIONS[step.operation].data)

    def value(self, tensor: int, given: NDArray) -> NDArray:
        """An input as it is computed with: float64, or integers of the tensor's type."""
        one = self.tensors[tensor]
        return np.asarray(given, one.dtype or np.float64).reshape(one.shape)

    def result(self, step: HostStep) -> tuple[tuple[int, ...], str]:
        """Shape and type of what a step of the host makes, see ``host_operations.result``."""
        given = [self.tensors[s] for s in step.sources]
        return host_operations.result(
            step.operation, [t.shape for t in given], [t.dtype for t in given], step.settings
        )

    def computed(self, step: HostStep, sources: Sequence[NDArray]) -> NDArray:
        """What a step of the host makes, of values or of codes; ``InputError`` with its node."""
        try:
            return host_operations.apply(step.operation, sources, step.settings)
        except InputError as error:
            raise InputError(f"{self.label(step)}: {error}") from None


def gathered(step: Layout, sources: list[NDArray], fill: NDArray | float) -> NDArray:
    """The elements of a layout, of values or of codes."""
    flat = np.concatenate([*(s.ravel() for s in sources), np.array([fill], sources[0].dtype)])
    return flat[step.index]
