"""Elementwise expressions: what a kernel computes for each element, as operations of the array."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pal_units.formats import PAL16
from spu.arch.operations import CONSTANT, IN

#: Comparisons: 1 where they hold, else 0; neither has a tensor bias, but a choice takes it.
COMPARISONS = ("lt", "eq")
#: Operations whose result has the tensor bias of its first operands: how many.  Of comparisons, the
#: operands have that of each other.
TIED = {
    **dict.fromkeys(("add", "sub", "min", "max", *COMPARISONS, "select"), 2),
    **dict.fromkeys(("abs", "neg", "relu"), 1),
}
#: Octaves of PAL16 between its least magnitude and its top, and those in which a constant is held
#: well.
OCTAVES, WELL = (PAL16.m_max - 1) / (1 << PAL16.fraction_bits), 30


@dataclass(frozen=True)
class Expression:
    """``op`` of operands; ``in`` has a ``number``, ``const`` a ``value``.

    Operators build expressions; numbers among operands become constants.  ``label``: the node of
    the model that asked for it.
    """

    op: str
    operands: tuple["Expression", ...] = ()
    number: int = 0
    value: float = 0.0
    label: str = field(default="", compare=False)

    @cached_property
    def _hash(self) -> int:
        return hash((self.op, self.operands, self.number, self.value))

    def __hash__(self) -> int:
        return self._hash

    def __add__(self, other: "Expression | float") -> "Expression":
        return apply("add", self, other)

    def __sub__(self, other: "Expression | float") -> "Expression":
        return apply("sub", self, other)

    def __rsub__(self, other: float) -> "Expression":
        return apply("sub", other, self)

    def __mul__(self, other: "Expression | float") -> "Expression":
        return apply("mul", self, other)

    def __truediv__(self, other: "Expression | float") -> "Expression":
        return apply("div", self, other)

    def __rtruediv__(self, other: float) -> "Expression":
        return apply("div", other, self)

    __radd__, __rmul__ = __add__, __mul__

    @cached_property
    def inputs(self) -> frozenset[int]:
        """Numbers of the inputs that it depends on."""
        own = frozenset([self.number]) if self.op == IN else frozenset()
        return own.union(*(x.inputs for x in self.operands))

    def steps(self) -> list["Expression"]:
        """All different subexpressions, operands first."""
        seen: dict[Expression, None] = {}

        def visit(x: Expression) -> None:
            if x not in seen:
                for operand in x.operands:
                    visit(operand)
                seen[x] = None

        visit(self)
        return list(seen)

    def listed(self) -> list[list]:
        """For files: operation, places of the operands, number, value of each subexpression."""
        steps = self.steps()
        place = {x: i for i, x in enumerate(steps)}
        return [[x.op, [place[y] for y in x.operands], x.number, x.value] for x in steps]

    @staticmethod
    def from_list(steps: list[list]) -> "Expression":
        """Inverse of ``listed``."""
        made: list[Expression] = []
        for op, operands, number, value in steps:
            made.append(Expression(op, tuple(made[i] for i in operands), number, value))
        return made[-1]

    def substituted(self, inputs: Sequence["Expression"]) -> "Expression":
        """With other expressions in the place of inputs."""
        new: dict[Expression, Expression] = {}
        for x in self.steps():
            new[x] = (
                inputs[x.number]
                if x.op == IN
                else x
                if x.op == CONSTANT
                else apply(x.op, *(new[y] for y in x.operands), label=x.label)
            )
        return new[self]

    def labelled(self, label: str) -> "Expression":
        """With a label at all operations that have none."""
        new: dict[Expression, Expression] = {}
        for x in self.steps():
            new[x] = replace(
                x,
                operands=tuple(new[y] for y in x.operands),
                label=x.label or (label if x.operands else ""),
            )
        return new[self]

    def relabelled(self, labels: Sequence[str]) -> "Expression":
        """With other labels, in the order of ``steps``."""
        new: dict[Expression, Expression] = {}
        for x, label in zip(self.steps(), labels, strict=True):
            new[x] = replace(x, operands=tuple(new[y] for y in x.operands), label=label)
        return new[self]


def variable(number: int) -> Expression:
    """The element of an input."""
    return Expression(IN, number=number)


def constant(value: float) -> Expression:
    """The same number for all elements."""
    return Expression(CONSTANT, value=float(value))


def apply(op: str, *operands: Expression | float, label: str = "") -> Expression:
    """An operation, or its value if all operands are constants."""
    terms = tuple(x if isinstance(x, Expression) else constant(x) for x in operands)
    if all(x.op == CONSTANT for x in terms):
        with np.errstate(all="ignore"):
            return constant(float(REAL[op](*(np.float64(x.value) for x in terms))))
    if op == "select" and terms[2].op == "select" and terms[2].operands[2].op in COMPARISONS:
        # A truth value that was made a number is chosen by as it was.
        chosen = [x.value for x in terms[2].operands[:2] if x.op == CONSTANT]
        if chosen in ([1.0, 0.0], [0.0, 1.0]):
            yes, no = terms[:2] if chosen[0] else terms[1::-1]
            return apply(op, yes, no, terms[2].operands[2], label=label)
    return Expression(op, terms, label=label)


#: What is left of a sum that cancels so far, of an operand, is of the rounding of float64.
NOISE = 2.0**-40
#: Operations on real numbers.
REAL: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "exp2": np.exp2,
    "log2": np.log2,
    "abs": np.abs,
    "neg": np.negative,
    "min": np.minimum,
    "max": np.maximum,
    "relu": lambda x: np.maximum(x, 0),
    "lt": lambda x, y: np.asarray(x < y, np.float64),
    "eq": lambda x, y: np.asarray(x == y, np.float64),
    "select": lambda x, y, z: np.where(z != 0, x, y),
}


def evaluate(
    expression: Expression,
    inputs: Sequence[NDArray],
    biases: Mapping[Expression, int] | None = None,
) -> dict[Expression, NDArray]:
    """Real values of all subexpressions, of which what is left of sums that cancel to ``NOISE`` is
    zero; with ``biases`` of them, constants and results below the least magnitudes are as these
    hold them."""
    values: dict[Expression, Any] = {}
    with np.errstate(all="ignore"):
        for x in expression.steps():
            if x.op == IN:
                values[x] = np.asarray(inputs[x.number], np.float64)
            elif x.op == CONSTANT:
                values[x] = np.float64(x.value)
            else:
                values[x] = REAL[x.op](
                    *(
                        values[y]
                        if biases is None or y.op != CONSTANT
                        else held_constant(values[y], operand_bias(x, k, biases))
                        for k, y in enumerate(x.operands)
                    )
                )
                if x.op in ("add", "sub"):
                    size = np.abs(values[x])
                    noise = (size > 0) & (size < NOISE * np.abs(values[x.operands[0]]))
                    if noise.any():
                        values[x] = np.where(noise, 0.0, values[x])
                if biases is not None and x.op not in COMPARISONS:
                    values[x] = underflowed(values[x], biases[x])
    return values


def operand_bias(x: Expression, place: int, biases: Mapping[Expression, int]) -> int:
    """Tensor bias of an operand; that of a constant is the one that the operation asks for."""
    if x.operands[place].op != CONSTANT:
        return biases[x.operands[place]]
    others = [biases[y] for y in x.operands if y.op != CONSTANT]
    if place < TIED.get(x.op, 0):
        return others[0] if x.op in COMPARISONS else biases[x]
    return own_bias(abs(x.operands[place].value), others[0])


def least_magnitude(bias: int) -> float:
    """The least that is not zero under a tensor bias; what is below half of it becomes zero."""
    return float(2.0 ** (bias / 8 - OCTAVES))


def held_constant(values: NDArray, bias: int) -> NDArray:
    """Constants as they are under a tensor bias: none other than zero becomes zero."""
    least = least_magnitude(bias)
    return np.where((values != 0) & (np.abs(values) < least), np.copysign(least, values), values)


def underflowed(values: NDArray, bias: int) -> NDArray:
    """Values with those below the least magnitude of a tensor bias as that or zero."""
    least, size = least_magnitude(bias), np.abs(values)
    if not (small := size < least).any():
        return values
    return np.where(small, np.where(size < least / 2, 0.0, np.copysign(least, values)), values)


def own_bias(size: float, near: int | None = None) -> int:
    """Tensor bias for a constant that shares it with nothing: ``near`` if that holds it well, else
    the least in whole octaves."""
    if not size:
        return near or 0
    if near is not None and 2.0 ** (near / 8 - WELL) <= size <= 2.0 ** (near / 8):
        return near
    return 8 * int(np.ceil(np.log2(size)))


def tree(op: str, terms: Sequence[Expression]) -> Expression:
    """A balanced tree of an operation of two operands."""
    while len(terms) > 1:
        terms = [
            apply(op, *terms[i : i + 2]) if i + 1 < len(terms) else terms[i]
            for i in range(0, len(terms), 2)
        ]
    return terms[0]
