"""Which magnitudes each value of a tensor program may have: tensor biases, class by class.

PAL16 holds 32 octaves below the top ``2^(bias / 8)``.  Sums, comparisons and choices have operands
and result under one bias; products, quotients, roots and powers may have any.  Values that must
share a bias are a class.  Without magnitudes from inputs, a class has the default bias unless
constants ask for another; with them, the bias holds the greatest magnitude and some octaves above.

A mask (-1e9, -inf, the least float32, added before a softmax) is no magnitude: where all that
becomes of a value is that it is far below others, a constant stands for it that is far enough.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compiler.errors import Refusal, Refused
from compiler.passes.masks import (
    BOUND,
    MASK,
    MASK_FACTOR,
    MASK_TOP,
    Uses,
    beyond,
    binary,
    changed,
    limited,
    mask_value,
    undefined,
    without_masks,
)
from compiler.passes.samples import Given, Samples, samples
from compiler.passes.scales import Scales, octaves
from spu.arch.operations import CONSTANT, IN
from spu.arch.package.expression import COMPARISONS, OCTAVES, TIED, Expression
from spu.arch.package.program import HostStep, Layout, Map, Product, Program
from spu.arch.package.ranges import FIXED, Ranges
from spu.arch.package.values import visit_values

#: Tensor bias by default: magnitudes from 2^-20 to 2^12.
DEFAULT_BIAS = 8 * 12
#: Octaves of the top of a class, so that the offsets of all operations fit a vector mode.
MOST_OCTAVES = 42
#: Room above the largest magnitude that is known, for the rounding on the way.
MARGIN = 1.05
#: Octaves between what inputs lead to and the top at least, and the multiple of tops: so that
#: classes of like magnitudes have the same kernels.
HEADROOM, STEP = 3, 8
#: Share of magnitudes that may be below what is held, for this room.
FEW = 0.01
#: Octaves by which the top goes down for a small constant, if no inputs say how large values are.
LOWERED = 4

Node = int | tuple[int, Expression]


@dataclass
class _Class:
    """``most``, ``least``: magnitudes of constants that a bias must hold; ``small``: who has the
    least.

    ``known``, ``few``: the greatest magnitude that inputs lead to, and one that few are below.
    ``exact``: small constants matter; ``masked``: there are masks; ``large``: who has the most.
    """

    most: float = 0.0
    least: float = np.inf
    small: str = ""
    known: float = 0.0
    few: float = np.inf
    exact: bool = False
    masked: bool = False
    large: str = ""


def choose(
    program: Program, bias: int = DEFAULT_BIAS, inputs: Given | None = None
) -> tuple[Program, Ranges]:
    """Biases for a program, and the program with constants for its masks.

    ``bias``: of classes of which nothing else is known.  ``inputs``: what magnitudes are taken of,
    one set of inputs or several.

    Raises
    ------
    Refused: magnitudes or constants that no bias holds, with their nodes.
    """
    return _Choice(program, bias, None if inputs is None else samples(inputs)).run()


class _Choice:
    def __init__(self, program: Program, bias: int, inputs: Samples | None) -> None:
        self.program, self.bias, self.inputs = program, bias, inputs
        self.uses = Uses(
            program,
            MASK_FACTOR if inputs is None else MASK,
            None if inputs is None else binary(program, inputs),
        )
        self.limited = limited(program, self.uses)
        self.parent: dict[Node, Node] = {}
        self.classes: dict[Node, _Class] = {}
        self.notes: list[str] = list(program.notes)
        self.beyond: dict[str, float] = {}
        self.refused: list[Refusal] = []

    def find(self, node: Node) -> Node:
        """The node that stands for the class."""
        while (above := self.parent.setdefault(node, node)) != node:
            self.parent[node] = self.parent[above]
            node = above
        return node

    def of(self, node: Node) -> _Class:
        return self.classes.setdefault(self.find(node), _Class())

    def run(self) -> tuple[Program, Ranges]:
        self._join()
        self._constants()
        if label := undefined(self.program, self.inputs):
            self._refuse(
                label,
                "infinity less infinity: all that it takes is masked with -inf"
                + (
                    ""
                    if self.inputs is not None
                    else " for all inputs that were tried; others are given with --calibrate"
                ),
            )
        self._check()
        if self.inputs is not None:
            for each in self.inputs.sets:
                visit_values(self.program, each, self._seen)
        self.notes += [
            f"{label}: the inputs lead to magnitudes up to {size:g}; beyond "
            f"2^{MOST_OCTAVES}, the most that a tensor may hold, they saturate"
            for label, size in self.beyond.items()
        ]
        biases = {c: self._bias(c, top) for c, top in self._tops().items()}
        self._check()
        found = {node: biases[self.find(node)] for node in list(self.parent)}
        tensors = {n: b for n, b in found.items() if isinstance(n, int)}
        program, renamed = without_masks(self.program, self.uses, lambda n: found[n])
        nodes = {
            i: tuple(
                found.get((i, names[x]), 0) if x.op != CONSTANT else 0
                for x in step.expression.steps()
            )
            for i, step in enumerate(program.steps)
            if isinstance(step, Map)
            for names in [renamed[i]]
        }
        uses = Uses(self.program, self.uses.factor, self.uses.binary, lambda n: found[n])
        ranges = Ranges(
            tensors,
            nodes,
            {t: levels for t, levels in uses.tensors.items() if max(levels)},
            tuple(dict.fromkeys(self.notes)),
            {
                i: old
                for i, (old, new) in enumerate(zip(self.program.steps, program.steps, strict=True))
                if changed(old, new)
            },
        )
        return program, ranges

    def _check(self) -> None:
        if self.refused:
            raise Refused(self.refused)

    def _refuse(self, label: str, rule: str) -> None:
        found = Refusal.read(f"{label}: {rule}")
        if found not in self.refused:
            self.refused.append(found)

    def _join(self) -> None:
        """Classes of all values."""
        program = self.program
        known = [t.constant is not None for t in program.tensors]
        for i in (*program.inputs.values(), *program.outputs.values()):
            if program.is_real(i):
                self.find(i)
        for i, step in enumerate(program.steps):
            for s in (step.out, *step.sources):
                if program.is_real(s):
                    self.find(s)
            if isinstance(step, (Layout, HostStep)):
                for s in program.moved(step):
                    if not known[s]:
                        self._union(step.out, s)
            elif isinstance(step, Map):
                for x in step.expression.steps():
                    if x.op == CONSTANT:
                        continue
                    if x.op == IN and not known[step.sources[x.number]]:
                        self._union((i, x), step.sources[x.number])
                    self.find((i, x))
                    for y in x.operands[: TIED.get(x.op, 0)]:
                        if y.op != CONSTANT and x.op not in COMPARISONS:
                            self._union((i, x), (i, y))
                    if x.op in COMPARISONS and CONSTANT not in [y.op for y in x.operands]:
                        self._union((i, x.operands[0]), (i, x.operands[1]))
                self._union((i, step.expression), step.out)

    def _union(self, a: Node, b: Node) -> None:
        self.parent[self.find(a)] = self.find(b)

    def _constants(self) -> None:
        """What constants ask of the classes that they are in."""
        program = self.program
        for i, step in enumerate(program.steps):
            label = program.label(step)
            if isinstance(step, (Layout, HostStep)):
                moved = program.moved(step)
                if moved and isinstance(step, Layout) and (step.index < 0).any():
                    self._demand(step.out, step.fill, self.uses.tensors[step.out], label)
                for s in moved:
                    self._array(step.out, s, self.uses.tensors[step.out], label)
            elif isinstance(step, Map):
                for x in step.expression.steps():
                    if x.op == IN:
                        self._array((i, x), step.sources[x.number], self.uses.nodes[i, x], label)
                    elif x.op == "log2" and x.operands[0].op != CONSTANT:
                        self.of((i, x.operands[0])).exact = True
                    for place, y in enumerate(x.operands):
                        if y.op == CONSTANT:
                            self._operand(i, x, place, y.value, label)
                            other = x.operands[1 - place]
                            # What a mask is multiplied to, before it is a power.
                            if x.op in ("mul", "div") and (i, x) in self.uses.powers:
                                self.of((i, x)).masked |= self.of((i, other)).masked
            elif isinstance(step, Product):
                for s in step.sources:
                    values = program.tensors[s].constant
                    if values is not None:
                        self._finite(float(np.abs(values).max(initial=0)), label)

    def _operand(self, i: int, x: Expression, place: int, value: float, label: str) -> None:
        """What a constant operand asks."""
        levels = self.uses.place(i, x, place)
        if place >= TIED.get(x.op, 0):
            if self._finite(value, x.label or label) and self.uses.scales_a_mask(i, x, value):
                self.of((i, x)).masked = True
            return
        if x.op in ("max", "min", *COMPARISONS):
            node = next((i, y) for y in x.operands if y.op != CONSTANT)
            ordered = abs(value) >= BOUND if x.op == "lt" else beyond(x.op, value)
            if ordered and x.op != "eq":
                return  # as the top is
            self.of(node).exact |= x.op != "lt"
            self._demand(node, value, (FIXED, FIXED), x.label or label)
        else:
            self._demand((i, x), value, levels, x.label or label)

    def _array(self, node: Node, tensor: int, levels: tuple[int, int], label: str) -> None:
        """What a tensor of constants asks."""
        values = self.program.tensors[tensor].constant
        if values is None or not values.size:
            return
        masks = mask_value(values, levels)
        self.of(node).masked |= bool(masks.any())
        held = np.abs(np.where(masks, 0.0, values)).max()
        self._demand(node, float(held), (FIXED, FIXED), label, array=True)

    def _demand(
        self, node: Node, value: float, levels: tuple[int, int], label: str, array: bool = False
    ) -> None:
        one = self.of(node)
        if mask_value(np.array(value), levels):
            one.masked = True
            return
        if not self._finite(value, label):
            return
        size = abs(value)
        if size > 2.0**MOST_OCTAVES:
            self._refuse(
                label,
                f"the constant {size:g} is beyond 2^{MOST_OCTAVES}, the most that "
                "a tensor may hold",
            )
        if size > one.most:
            one.most, one.large = size, label
        if 0 < size < one.least and not array:
            one.least, one.small = size, label

    def _finite(self, value: float, label: str) -> bool:
        """Whether a constant is a number; else it is refused."""
        if not np.isfinite(value):
            self._refuse(label, f"a constant of {value:g}, which PAL16 does not hold")
        return bool(np.isfinite(value))

    def _seen(self, node: Node, values: NDArray) -> None:
        """Take note of magnitudes that inputs lead to."""
        levels = self.uses.tensors[node] if isinstance(node, int) else self.uses.nodes[node]
        self._beyond(node, values, levels)
        size = np.abs(values[np.isfinite(values) & ~mask_value(values, levels)])
        one = self.of(node)
        one.masked |= bool(mask_value(values, levels).any())
        assert self.inputs is not None
        one.known = max(one.known, self.inputs.most(size))
        if (size := size[size > 0]).size:
            one.few = min(one.few, float(np.quantile(size, FEW)))

    def _beyond(self, node: Node, values: NDArray, levels: tuple[int, int]) -> None:
        """Take note of what saturates under any bias, where it matters how far beyond it is."""
        signs = [sign for sign, level in zip((-1, 1), levels, strict=True) if level == FIXED]
        size = max((float(np.nanmax(sign * values, initial=0.0)) for sign in signs), default=0.0)
        if size <= 2.0**MOST_OCTAVES or (not isinstance(node, int) and node[1].op == IN):
            return
        program = self.program
        label = (
            node[1].label
            if not isinstance(node, int)
            else program.labels.get(node)
            or next(f"input {name!r}" for name, i in program.inputs.items() if i == node)
        )
        self.beyond[label] = max(self.beyond.get(label, 0.0), size)

    def _tops(self) -> dict[Node, float]:
        """Octaves of the tops of all classes, before their constants are asked."""
        roots = {self.find(n) for n in list(self.parent)}
        if self.inputs is not None:
            return {c: _known_top(self.of(c), self.bias / 8) for c in roots}
        default = self.bias / 8
        asked = {
            c: octaves(one.most * MARGIN) - default
            for c, one in self.classes.items()
            if one.most > 2.0**default
        }
        scales = Scales(self.program, self.uses, self.find, asked).run()
        return {c: self.bias / 8 + scales.get(c, 0) for c in roots}

    def _members(self, c: Node) -> list[Node]:
        return [n for n in list(self.parent) if self.find(n) == c]

    def _label(self, c: Node) -> str:
        """The first node of the model that makes a value of a class."""
        made = [n for n in self._members(c) if not isinstance(n, int) and n[1].op != IN]
        return next((n[1].label for n in made), self.program.name)

    def _bias(self, c: Node, top: float) -> int:
        """Tensor bias of a class in whole octaves, but for a default that is not."""
        one = self.of(c)
        needed = octaves(max(one.most, one.known) * MARGIN) if max(one.most, one.known) else -np.inf
        if one.most and one.most > 2.0**top:
            top = needed
        if one.masked:
            top = max(top, MASK_TOP, octaves(16 * (one.known + one.most + 64)))
        if max(top, needed) < -MOST_OCTAVES:
            self._refuse(
                self._label(c),
                f"all magnitudes are below 2^-{MOST_OCTAVES}, the least top of a tensor",
            )
        top = min(top, MOST_OCTAVES)
        if one.most >= MASK and one.most * MARGIN * 2 > 2.0**top:
            self.notes.append(
                f"{one.large}: beside the constant {one.most:g}, magnitudes below "
                f"{2.0 ** (top - OCTAVES - 1):.3g} become zero"
            )
        if one.least < 2.0 ** (top - OCTAVES):
            fits = np.floor(np.log2(one.least) + OCTAVES)
            free = self.inputs is not None or all(map(self.limited, self._members(c)))
            lowest = needed if free else max(needed, top - LOWERED)
            if fits >= lowest and (one.exact or self.inputs is not None) and not one.masked:
                top = fits
            else:
                self.notes.append(
                    f"{one.small}: the constant {one.least:g} is taken as "
                    f"{2.0 ** (top - OCTAVES):.3g}, the least magnitude beside "
                    f"values up to {2.0**top:g}"
                )
        return round(8 * top)


def _known_top(one: _Class, default: float) -> float:
    """Octaves of a top, of few that there are, some above what is needed; but where small values
    would be lost by that."""
    if not (most := max(one.known, one.most)):
        return default
    needed = octaves(most * MARGIN)
    top = float(-(-(needed + HEADROOM - STEP // 2) // STEP) * STEP + STEP // 2)
    fits = np.floor(np.log2(one.few) + OCTAVES) if np.isfinite(one.few) else top
    return float(fits) if needed < fits < top else top
