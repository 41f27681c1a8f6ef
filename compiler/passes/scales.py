"""How large values of a program are expected to be, if nothing but its constants is known.

Inputs are taken to be around 1, with room of as many octaves as the default bias has; what is
multiplied by 1e-5 is smaller by that, and so is all in its class.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from compiler.passes.masks import Uses, mask_value
from spu.arch.operations import CONSTANT, IN
from spu.arch.package.expression import TIED, Expression
from spu.arch.package.program import HostStep, Layout, Map, Product, Program
from spu.arch.package.ranges import Levels

#: Octaves by which squares are given more room: of an element of 200, or sums of many.
SQUARES = 4
#: Factors of so many octaves below 1 leave room unused; above 1, they take it.
SMALL, LARGE = 6, 8
#: Passes over the program, as classes may depend on later steps.
PASSES = 3


def octaves(size: float) -> float:
    """The least whole number of octaves that holds a positive magnitude."""
    return float(np.ceil(np.log2(size)))


class Scales:
    """Octaves by which classes are expected to be above 1: ``most`` and ``least`` of members.

    ``asked``: what constants ask of classes at least, by the nodes that stand for them.
    """

    def __init__(
        self, program: Program, uses: Uses, find: Callable[[Any], Any], asked: Mapping[Any, float]
    ) -> None:
        self.program, self.uses, self.find, self.asked = program, uses, find, asked
        self.most: dict[Any, float] = {}
        self.least: dict[Any, float] = {}

    def run(self) -> dict[Any, float]:
        """By the node that stands for the class."""
        for t in self.program.inputs.values():
            if self.program.is_real(t):
                self._take(t, 0)
        for _ in range(PASSES):
            before = dict(self.most)
            for i, step in enumerate(self.program.steps):
                if isinstance(step, Product):
                    self._take(step.out, self._product(step))
                elif isinstance(step, (Layout, HostStep)):
                    for s in self.program.moved(step):
                        self._array(step.out, s, self.uses.tensors[step.out])
                elif isinstance(step, Map):
                    for x in step.expression.steps():
                        self._node(i, step, x)
            if before == self.most:
                break
        return {c: self._scale(c) for c in self.most}

    def _take(self, node: Any, scale: float) -> None:
        c = self.find(node)
        self.most[c] = max(self.most.get(c, -np.inf), scale)
        self.least[c] = min(self.least.get(c, np.inf), scale)

    def _scale(self, node: Any) -> float:
        """The greatest, but less room for it where others have none to spare."""
        c = self.find(node)
        most = self.most.get(c, 0.0)
        room = max(min(LARGE, most - self.least.get(c, 0.0), most), 0)
        return max(most - room, self.asked.get(c, -np.inf))

    def _array(self, node: Any, tensor: int, levels: Levels) -> None:
        values = self.program.tensors[tensor].constant
        if values is not None:
            held = np.abs(values[np.isfinite(values) & ~mask_value(values, levels)])
            self._take(node, _factor(float(held.max(initial=0)), 0))

    def _product(self, step: Product) -> float:
        """By the columns of known weights, in the sense of least squares."""
        scale, total = 0.0, self._scale(step.a)
        for t, axis in ((step.a, 2), (step.b, 1)):
            values = self.program.tensors[t].constant
            if values is not None:
                scale = float(np.sqrt((values**2).sum(axis=axis)).max(initial=0))
                total = self._scale(step.b if t == step.a else step.a)
        return _noticed(total + _factor(scale, total) if scale else total + self._scale(step.b))

    def _node(self, i: int, step: Map, x: Expression) -> None:
        if x.op == IN:
            self._array((i, x), step.sources[x.number], self.uses.nodes[i, x])
            return
        if x.op == CONSTANT or x.op in TIED:
            return
        one = x.operands[0]
        scales = [0.0 if y.op == CONSTANT else self._scale((i, y)) for y in x.operands]
        known = [abs(y.value) if y.op == CONSTANT else None for y in x.operands]
        match x.op:
            case "mul" if one == x.operands[1]:
                scale = 2 * scales[0]
                scale = SQUARES + (scale if abs(scale) > LARGE else 0)
            case "mul" if any(
                y.op == CONSTANT and self.uses.scales_a_mask(i, x, y.value) for y in x.operands
            ):
                scale = 0.0
            case "mul" if (size := known[0] or known[1]) is not None:
                scale = sum(scales) + _factor(size, sum(scales))
            case "mul":
                scale = _noticed(sum(scales))
            case "div" if known[1]:
                scale = scales[0] + _factor(1 / known[1], scales[0])
            case "div" if known[0]:
                scale = _noticed(_factor(known[0], 0) - scales[1])
            case "div":
                scale = _noticed(scales[0] - scales[1])
            case "sqrt":
                scale = _noticed(scales[0] / 2)
            case "rsqrt":
                scale = _noticed(-scales[0] / 2)
            case _:
                scale = 0.0
        self._take((i, x), float(np.ceil(scale)))


def _factor(size: float, scale: float) -> float:
    """Octaves that a factor brings to what has a scale: those that leave no room unused."""
    if not size or not np.isfinite(size):
        return 0.0
    up = octaves(size)
    if up <= -SMALL:
        return up
    # What was made small may become as large as others again.
    return up if up > LARGE else max(min(up, -scale), 0)


def _noticed(scale: float) -> float:
    """A scale that the room by default does not serve; others are 0."""
    return scale if abs(scale) > LARGE else 0.0
