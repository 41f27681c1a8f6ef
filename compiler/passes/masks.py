"""Masks: values that only must be far below (or above) others, and constants in their place.

An exponential of what is far below zero is zero, and a maximum does not see what is far below
another operand.  How far a value may be moved is found backwards, from its uses.  That it still is
far from all others depends on their values: ``spu/engine/meaning.py`` looks at those of a run.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.passes.samples import Samples
from spu.arch.errors import InputError
from spu.arch.operations import CONSTANT, IN
from spu.arch.package.expression import COMPARISONS, TIED, Expression, apply, constant
from spu.arch.package.program import HostStep, Layout, Map, Product, Program, Step, Tensor
from spu.arch.package.ranges import ANY, FIXED, TOP, Levels, far
from spu.arch.package.values import visit_values

#: Magnitudes from here on are masks, where uses allow; smaller ones are held as they are.
MASK = 2.0**17
#: Bounds from here on may lie beyond all values, and need not be held.
BOUND = 2.0**13
#: Factors from here on are masks, if no inputs show what they are multiplied with.
MASK_FACTOR = 2.0**20
#: Octaves of the top of a class with masks at least.
MASK_TOP = 16
#: The least factor on the way to an exponential with which a mask below that top makes zero.
LEAST_FACTOR = 2.0**-7


class Uses:
    """``tensors``, ``nodes``: how far values far below zero, and far above, may be moved.

    ``powers``: those that an exponential is made of, and the least factor on the way to it.
    Factors of ``factor`` and more make masks of zeros and ones: of the nodes ``binary``, if it is
    known which are such.  Bounds are held, unless ``bias`` of nodes is known and says otherwise.
    """

    def __init__(
        self,
        program: Program,
        factor: float,
        binary: Collection[tuple[int, Expression]] | None,
        bias: Callable[[tuple[int, Expression]], int] | None = None,
    ) -> None:
        self.tensors: dict[int, Levels] = dict.fromkeys(range(len(program.tensors)), (ANY, ANY))
        self.nodes: dict[tuple[int, Expression], Levels] = {}
        self.powers: dict[int | tuple[int, Expression], float] = {}
        self.program = program
        self.factor, self.binary, self.bias = factor, binary, bias
        for i in program.outputs.values():
            self._at_most(self.tensors, i, (FIXED, FIXED))
        for i in reversed(range(len(program.steps))):
            self._step(i, program.steps[i])

    @staticmethod
    def _at_most(levels: dict[Any, Levels], key: Any, new: Levels) -> None:
        old = levels.get(key, (ANY, ANY))
        levels[key] = min(old[0], new[0]), min(old[1], new[1])

    def _step(self, i: int, step: Step) -> None:
        if isinstance(step, Product):
            for s in step.sources:
                self._at_most(self.tensors, s, (FIXED, FIXED))
        elif isinstance(step, (Layout, HostStep)):
            moved = self.program.moved(step)
            for s in moved:
                self._at_most(self.tensors, s, self.tensors[step.out])
                self._made_of(step.out, s)
            for s in set(step.sources) - set(moved):
                self._at_most(self.tensors, s, (FIXED, FIXED))
        else:
            self._at_most(self.nodes, (i, step.expression), self.tensors[step.out])
            self._made_of(step.out, (i, step.expression))
            for x in reversed(step.expression.steps()):
                for place, y in enumerate(x.operands):
                    if y.op != CONSTANT:
                        self._at_most(self.nodes, (i, y), self.place(i, x, place))
                    if x.op == "exp2":
                        self.powers[i, y] = 1.0
                    elif x.op in (*TIED, "mul", "div"):
                        self._made_of((i, x), (i, y), _factor(x, place))
                if x.op == IN:
                    self._at_most(self.tensors, step.sources[x.number], self.nodes[i, x])
                    self._made_of((i, x), step.sources[x.number])

    def _made_of(
        self,
        made: int | tuple[int, Expression],
        of: int | tuple[int, Expression],
        factor: float = 1.0,
    ) -> None:
        if made in self.powers:
            self.powers[of] = min(self.powers.get(of, np.inf), self.powers[made] * factor)

    def place(self, i: int, x: Expression, place: int) -> Levels:
        """How far an operand of a node may be moved."""
        low, high = self.nodes[i, x]
        other = x.operands[1 - place] if len(x.operands) == 2 else None
        known = other is not None and other.op == CONSTANT
        match x.op:
            case "add":
                return low, high
            case "sub":
                return (low, high) if place == 0 else (high, low)
            case "neg":
                return high, low
            case "mul" | "div" if known and other is not None and (x.op == "mul" or place == 0):
                if self.powers.get((i, x), np.inf) * _factor(x, place) < LEAST_FACTOR:
                    return FIXED, FIXED
                return (low, high) if other.value > 0 else (high, low)
            case "exp2":
                return ANY, FIXED
            case "relu":
                return ANY, high
            case "max" | "min" if (
                known
                and other is not None
                and self.bias is not None
                and abs(other.value) > 2.0 ** (self.bias((i, x)) / 8)
            ):
                return low, high
            case "max":
                return TOP if known else ANY, high
            case "min":
                return low, TOP if known else ANY
            case "lt" if known:
                return TOP, TOP
            case "select":
                return (low, high) if place < 2 else (ANY, ANY)
        return FIXED, FIXED

    def scales_a_mask(self, i: int, x: Expression, value: float) -> bool:
        """Whether a factor makes masks of what it multiplies, as of a mask of zeros and ones."""
        return (
            x.op == "mul"
            and abs(value) >= self.factor
            and (i, x) in self.powers
            and bool(mask_value(np.array(value), self.nodes[i, x]))
            and (self.binary is None or any((i, y) in self.binary for y in x.operands))
        )


def _factor(x: Expression, place: int) -> float:
    """What a node multiplies an operand with, as far as that is known."""
    other = x.operands[1 - place] if x.op in ("mul", "div") else x
    if other.op != CONSTANT or not other.value:
        return 1.0
    return abs(other.value) if x.op == "mul" else abs(1 / other.value) if place == 0 else 1.0


def beyond(op: str, bound: float) -> bool:
    """Whether a bound may lie beyond all values, and then bounds none."""
    return abs(bound) >= BOUND and (bound > 0) == (op == "min")


def binary(program: Program, inputs: Samples) -> set[tuple[int, Expression]]:
    """Nodes of maps that all inputs lead to zeros and ones (or more), if factors may make masks."""
    found: set[tuple[int, Expression]] = set()
    others: set[tuple[int, Expression]] = set()

    def visit(node: int | tuple[int, Expression], values: NDArray) -> None:
        if not isinstance(node, int):
            (found if ((values == 0) | (values >= 1)).all() else others).add(node)

    if any(
        x.op == "mul" and any(y.op == CONSTANT and abs(y.value) >= MASK for y in x.operands)
        for step in program.steps
        if isinstance(step, Map)
        for x in step.expression.steps()
    ):
        for each in inputs.sets:
            visit_values(program, each, visit)
    return found - others


def limited(program: Program, uses: Uses) -> Callable[[int | tuple[int, Expression]], bool]:
    """Whether a value may be moved to the top where it is beyond it, or a constant bounds it."""
    bounded: dict[int | tuple[int, Expression], tuple[bool, bool]] = {}
    for i, step in enumerate(program.steps):
        if isinstance(step, (Layout, HostStep)):
            found = [bounded.get(s, (False, False)) for s in program.moved(step)]
            if not found:
                continue
            bounded[step.out] = all(b[0] for b in found), all(b[1] for b in found)
        elif isinstance(step, Map):
            for x in step.expression.steps():
                if x.op == IN:
                    bounded[i, x] = bounded.get(step.sources[x.number], (False, False))
                elif x.op in ("max", "min"):
                    known = any(y.op == CONSTANT and not beyond(x.op, y.value) for y in x.operands)
                    found = [bounded[i, y] for y in x.operands if y.op != CONSTANT]
                    low, high = (all(b[k] for b in found) for k in (0, 1))
                    bounded[i, x] = (
                        low or (known and x.op == "max"),
                        high or (known and x.op == "min"),
                    )
                else:
                    bounded[i, x] = (False, False)
            bounded[step.out] = bounded[i, step.expression]

    def says(node: int | tuple[int, Expression]) -> bool:
        levels = uses.tensors[node] if isinstance(node, int) else uses.nodes[node]
        return all(
            b or level for b, level in zip(bounded.get(node, (False, False)), levels, strict=True)
        )

    return says


def undefined(program: Program, inputs: Samples | None) -> str | None:
    """The node that takes infinity from infinity for all inputs that are tried, where an output is
    NaN of it: a softmax of masks only.

    A mask of the array is finite, and the result would be a number.  ``inputs``: some that there
    are.
    """
    if not any(np.isinf(values).any() for values in _constants(program)):
        return None
    always: dict[tuple[int, Expression], NDArray] = {}
    first = True
    for given in _samples(program, inputs):
        try:
            nan = _infinities(program, given)
        except InputError:  # integers that the model does not take
            continue
        always = {
            node: both
            for node, where in nan.items()
            if first or node in always
            if (both := where & always.get(node, np.True_)).any()
        }
        first = False
        if not always:
            return None
    step, node = next(iter(always))
    return node.label or program.label(program.steps[step])


def _infinities(
    program: Program, inputs: Mapping[str, NDArray]
) -> dict[tuple[int, Expression], NDArray]:
    """Where sums and differences are NaN of what is not, of those of which an output is NaN."""
    nan: dict[tuple[int, Expression], NDArray] = {}
    found: dict[tuple[int, Expression], NDArray] = {}

    def visit(node: int | tuple[int, Expression], values: NDArray) -> None:
        if isinstance(node, int):
            return
        where = nan[node] = np.isnan(values)
        if node[1].op in ("add", "sub"):
            for x in node[1].operands:
                where = where & ~nan.get((node[0], x), np.False_)
            if where.any():
                found[node] = where

    values = visit_values(program, inputs, visit)
    if not found:
        return found
    # Back from the outputs, by what is NaN somewhere.
    tensors, nodes = set(program.outputs.values()), set[tuple[int, Expression]]()
    for i in reversed(range(len(program.steps))):
        step = program.steps[i]
        if step.out not in tensors or not np.isnan(values[step.out]).any():
            continue
        if not isinstance(step, Map):
            tensors.update(step.sources)
            continue
        nodes.add((i, step.expression))
        for x in reversed(step.expression.steps()):
            if (i, x) in nodes:
                tensors.update([step.sources[x.number]] if x.op == IN else [])
                nodes.update((i, y) for y in x.operands if nan.get((i, y), np.False_).any())
    return {node: where for node, where in found.items() if node in nodes}


def _samples(program: Program, inputs: Samples | None) -> Iterator[Mapping[str, NDArray]]:
    """Inputs that have little in common: those that there are, positive, negative, zeros, of
    three magnitudes; integers are zeros, ones, or both."""
    if inputs is not None:
        yield from inputs.sets
    rng = np.random.default_rng(0)
    for n, (low, high) in enumerate(
        (
            (0.5, 1.0),
            (-1.0, -0.5),
            (-2.0, 2.0),
            (0.0, 0.0),
            (64.0, 128.0),
            (-128.0, -64.0),
            (4096.0, 8192.0),
            (-8192.0, -4096.0),
        )
    ):
        least, most = ((0, 0), (1, 1), (0, 1))[n % 3]
        yield {
            name: rng.uniform(low, high, program.shape(i))
            if program.is_real(i)
            else rng.integers(least, most, program.shape(i), endpoint=True)
            for name, i in program.inputs.items()
        }


def _constants(program: Program) -> Iterator[NDArray]:
    """All constants of a program."""
    yield from (t.constant for t in program.tensors if t.constant is not None)
    for step in program.steps:
        if isinstance(step, Layout):
            yield np.array(step.fill)
        elif isinstance(step, Map):
            yield from (np.array(x.value) for x in step.expression.steps() if x.op == CONSTANT)


def mask_value(values: NDArray, levels: Levels) -> NDArray[np.bool_]:
    """Which values are masks."""
    return ((values <= -MASK) & (levels[0] == ANY)) | ((values >= MASK) & (levels[1] == ANY))


def without_masks(
    program: Program, uses: Uses, bias: Callable[[Any], int]
) -> tuple[Program, dict[int, dict[Expression, Expression]]]:
    """The program with constants that its classes hold in place of masks, and of bounds beyond
    all values; and what each new expression of a map was.

    ``bias`` of tensors and nodes of the program as it is.
    """
    made = replace(program, tensors=list(program.tensors), steps=[])
    renamed: dict[int, dict[Expression, Expression]] = {}

    def array(source: int, levels: Levels, own: int) -> int:
        values = program.tensors[source].constant
        if values is not None and (masks := mask_value(values, levels)).any():
            made.tensors.append(
                Tensor(values.shape, np.where(masks, np.sign(values) * far(own), values))
            )
            return len(made.tensors) - 1
        return source

    for i, step in enumerate(program.steps):
        if isinstance(step, (Layout, HostStep)):
            if moved := program.moved(step):
                own, level = bias(step.out), uses.tensors[step.out]
                sources = tuple(array(s, level, own) if s in moved else s for s in step.sources)
                step = replace(step, sources=sources)
            if isinstance(step, Layout) and moved and mask_value(np.array(step.fill), level):
                step = replace(step, fill=float(np.sign(step.fill) * far(own)))
        elif isinstance(step, Map):
            inputs = {x.number: (i, x) for x in step.expression.steps() if x.op == IN}
            sources = tuple(
                array(s, uses.nodes[inputs[k]], bias(inputs[k])) for k, s in enumerate(step.sources)
            )
            new = _expression(i, step.expression, uses, bias)
            renamed[i] = {value: key for key, value in new.items()}
            step = replace(step, expression=new[step.expression], sources=sources)
        made.steps.append(step)
    return made, renamed


def changed(old: Step, new: Step) -> bool:
    """Whether a step has other constants than the one it was made of."""
    if isinstance(old, Map) and isinstance(new, Map):
        return old.sources != new.sources or old.expression.listed() != new.expression.listed()
    return old.sources != new.sources or (
        isinstance(old, Layout) and isinstance(new, Layout) and old.fill != new.fill
    )


def _expression(
    i: int, expression: Expression, uses: Uses, bias: Callable[[Any], int]
) -> dict[Expression, Expression]:
    """New expressions by old ones."""
    new: dict[Expression, Expression] = {}
    for x in expression.steps():
        if x.op in (IN, CONSTANT):
            new[x] = x
            continue
        operands = []
        for place, y in enumerate(x.operands):
            if y.op != CONSTANT:
                operands.append(new[y])
                continue
            value, sign = y.value, np.sign(y.value)
            others = [z for z in x.operands if z.op != CONSTANT]
            own = bias((i, others[0] if x.op in COMPARISONS else x))
            tied, compared = place < TIED.get(x.op, 0), x.op in ("max", "min", "lt")
            if compared:
                value = float(np.clip(value, -(2.0 ** (own / 8)), 2.0 ** (own / 8)))
            elif uses.scales_a_mask(i, x, value) or (
                tied and mask_value(np.array(value), uses.place(i, x, place))
            ):
                value = sign * far(own)
            operands.append(constant(value))
        new[x] = apply(x.op, *operands, label=x.label)
    return new
