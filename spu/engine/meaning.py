"""What a model means, beside a run with other values in the place of some that it has.

Masks and inputs far below (or above) all others are moved, see ``compiler/passes/masks.py``;
constants below the least magnitude are taken as that, and results as that or zero; products of
small operands lose accuracy, see ``product_loss``.  Whether any of it matters depends on the
values of a run: what they lead to is carried along in float64, once as the model has it and once as
it was moved, until both are the same, or an output shows the difference.
"""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pal_units import model
from spu.arch.package.compiled import Package
from spu.arch.package.expression import evaluate, held_constant, least_magnitude, underflowed
from spu.arch.package.program import HostStep, Layout, Map, Product, Step, gathered
from spu.arch.package.ranges import FIXED
from spu.engine.product_loss import lost_accuracy

#: Relative difference of two values that are taken to be the same, at most: 1.4 steps of PAL16.
SAME = 2.0**-10
#: Of an output as a whole, the share that differences below the least magnitude may make: 8 bits.
SMALL = 2.0**-6

#: In the place of values of a table.
NO_VALUES = np.zeros(0)
#: Of tensors: float64, or integers as they are.
Values = NDArray


class Pair(NamedTuple):
    """A tensor as the model means it and as it is, and the node by which a difference is told: the
    first on the way where it matters, and whose values are no masks; empty before that."""

    meant: Values
    moved: Values
    node: str = ""


class Meaning:
    """``pairs``: tensors that are not what the model means."""

    def __init__(self, compiled: Package) -> None:
        self.compiled = compiled
        self.pairs: dict[int, Pair] = {}

    def input(self, tensor: int, name: str, meant: Values, taken: Values) -> Counter[str]:
        """Take note of an input, and what is taken of it, see ``Package.held``; how many elements
        of it are not what the model means, if it is an output."""
        moved, lost = underflowed(taken, self.compiled.bias(tensor)), Counter[str]()
        if (meant != moved).any():
            self.pairs[tensor] = Pair(meant, moved)
            if tensor in self.compiled.program.outputs.values():
                self._tell(tensor, f"input {name!r}", lost)
        return lost

    def step(self, i: int, values: Callable[[int], Values]) -> Counter[str]:
        """How many elements of an output are not what the model means, by node.

        ``values``: of a tensor that the step takes or makes, constants as the model has them,
        but for weights, which are as their blocks have them, and tables.
        """
        program, ranges = self.compiled.program, self.compiled.ranges
        step, label = program.steps[i], program.label(program.steps[i])
        before = {s: self.pairs[s] for s in step.sources if s in self.pairs}
        if not before and not program.is_real(step.out):
            return Counter()
        if isinstance(step, Product):
            weights = self.compiled.weight_blocks(i)
            given = {s: values(s) for s in (step.a, step.out)}
            given[step.b] = values(step.b) if weights is None else weights.values()
            values = given.__getitem__
        elif isinstance(step, HostStep) and self._from_tables(i):
            given = {s: values(s) for s in {*step.sources} - {*program.moved(step)}}
            values = lambda s: given.get(s, NO_VALUES)  # noqa: E731
        original = ranges.meant.get(i, step)
        meant = self._made(
            i,
            original,
            [before[s].meant if s in before else values(s) for s in original.sources],
            False,
        )
        moved = self._made(
            i, step, [before[s].moved if s in before else values(s) for s in step.sources], True
        )
        if isinstance(step, Product):
            moved = underflowed(moved, self.compiled.bias(step.out))
            moved = np.where(
                lost_accuracy(self.compiled, i, values(step.a), values(step.b)),
                values(step.out),
                moved,
            )
        lost: Counter[str] = Counter()
        if not np.array_equal(meant, moved, equal_nan=True):
            most = self._untold(step.out, meant)
            if isinstance(step, Map):
                bias = self.compiled.bias(step.out)
                # What is far from what is meant is rounded there: a row of nothing but masks.
                moved = np.where(
                    _near(meant, moved, most),
                    moved,
                    model.decode16(model.encode16(moved, bias), bias),
                )
            node, exact = next((p.node for p in before.values() if p.node), ""), (FIXED, FIXED)
            if not _near(meant, moved, most).all() and ranges.masks.get(step.out, exact) == exact:
                node = node or label
            self.pairs[step.out] = Pair(meant, moved, node)
            if step.out in program.outputs.values():
                self._tell(step.out, label, lost)
        return lost

    def _tell(self, tensor: int, label: str, lost: Counter[str]) -> None:
        """Count what is not what the model means in an output; ``label`` of the step that makes
        it, for what no node tells."""
        pair = self.pairs[tensor]
        near = _near(pair.meant, pair.moved, self._untold(tensor, pair.meant))
        real = self.compiled.program.is_real(tensor)
        if real and _share(pair, near & np.isfinite(pair.meant)) > SMALL:
            near = _near(pair.meant, pair.moved, untold(pair.meant, 0.0))
        if not near.all():
            lost[pair.node or label] += int((~near).sum())

    def _untold(self, tensor: int, meant: Values) -> Values:
        """As ``untold``; integers are exact."""
        if not self.compiled.program.is_real(tensor):
            return np.zeros(meant.shape)
        return untold(meant, least_magnitude(self.compiled.bias(tensor)))

    def _from_tables(self, i: int) -> bool:
        """Whether a step moves elements of tables, of which nothing else is looked at."""
        step = self.compiled.program.steps[i]
        return (
            isinstance(step, HostStep)
            and i not in self.compiled.ranges.meant
            and bool(self.compiled.moved_tables(step))
        )

    def _made(self, i: int, step: Step, sources: list[Values], held: bool) -> Values:
        """What a step makes, with what is below the least magnitude as it is held, or as it is;
        products of blocks have rules of their own, see ``product_loss``."""
        if isinstance(step, Product):
            with np.errstate(all="ignore"):
                return sources[0] @ sources[1]
        program, biases = self.compiled.program, self.compiled.source_biases(i)
        known = [program.tensors[s].known for s in step.sources]
        if not program.is_real(step.out):
            held = False
        if isinstance(step, HostStep) and self._from_tables(i):
            codes, meant = self.compiled.moved(step, sources)
            return model.decode16(codes, self.compiled.bias(step.out)) if held else meant
        if isinstance(step, HostStep) and held:
            moved, bias = program.moved(step), self.compiled.bias(step.out)
            if not moved:
                taken = self.compiled.held(step.out, program.computed(step, sources))
                return underflowed(taken, bias)
            if all(program.tensors[s].known for s in moved):
                return held_constant(program.computed(step, sources), bias)
        if held:
            sources = [
                held_constant(x, bias) if constant and program.is_real(s) else x
                for s, x, bias, constant in zip(step.sources, sources, biases, known, strict=True)
            ]
        if isinstance(step, HostStep):
            return program.computed(step, sources)
        if isinstance(step, Layout):
            fill = np.array(step.fill)
            return gathered(
                step,
                sources,
                float(held_constant(fill, self.compiled.bias(step.out)) if held else fill),
            )
        shape, (_, numbers) = self.compiled.program.shape(step.out), self.compiled.work(i)
        own = dict(zip(step.expression.steps(), numbers, strict=True)) if held else None
        made = evaluate(step.expression, [s.reshape(shape) for s in sources], own)
        return np.broadcast_to(made[step.expression], shape)


def _near(meant: Values, moved: Values, most: Values) -> NDArray[np.bool_]:
    """Which values are as the model means them, but for so much."""
    with np.errstate(invalid="ignore"):
        return (
            (meant == moved)
            | (np.isnan(meant) & np.isnan(moved))
            | (np.isfinite(meant) & (np.abs(meant - moved) <= most))
        )


def _share(pair: Pair, taken: NDArray[np.bool_]) -> float:
    """The norm of the differences of some elements, of that of the whole."""
    meant = np.where(np.isfinite(pair.meant), pair.meant, 0.0)
    size = np.abs(meant).max(initial=0.0) or 1.0
    off = np.where(taken, pair.moved - pair.meant, 0.0)
    return float(np.linalg.norm(off / size) / (np.linalg.norm(meant / size) or 1.0))


def untold(meant: Values, least: float) -> Values:
    """Differences from what the model means that are not told, of a tensor's least magnitude."""
    return SAME * np.abs(meant) + least
