"""Chains of elementwise steps as one kernel: what lies between them never leaves the array."""

from dataclasses import replace

import numpy as np

from compiler.ir.builder import MOST_INPUTS
from spu.arch.package.expression import Expression, variable
from spu.arch.package.program import Layout, Map, Program, Step

#: Operations of a fused kernel: larger ones are slow to map, and wait for links and registers.
MOST_FUSED = 32


def fuse(program: Program) -> Program:
    """The program with each map taken into the only step that uses it, if that is a map as well.

    Tensors keep their numbers; those in between are not made any more.
    """
    steps: dict[int, Step] = {step.out: step for step in program.steps}
    order = [step.out for step in program.steps]
    # Outputs stay, and what is looked at.
    uses: dict[int, int] = dict.fromkeys((*program.outputs.values(), *program.nonnegative), 2)
    for step in program.steps:
        for source in step.sources:
            uses[source] = uses.get(source, 0) + 1
    for out in order:
        current = steps.get(out)
        while isinstance(current, Map):
            fused = _fused(current, steps, uses, program)
            if fused is None:
                break
            current, gone = fused
            steps[out] = current
            for tensor in gone:
                del steps[tensor]
    return replace(program, steps=[steps[out] for out in order if out in steps])


def _fused(
    step: Map, steps: dict[int, Step], uses: dict[int, int], program: Program
) -> tuple[Map, list[int]] | None:
    """The map with one of its sources taken in, and the tensors that are not needed any more."""
    for place, source in enumerate(step.sources):
        gone, made = [source], steps.get(source)
        # A layout that keeps the order of all elements is none for a map.
        while isinstance(made, Layout) and keeps_order(program, made):
            gone.append(made.sources[0])
            made = steps.get(made.sources[0])
        if not isinstance(made, Map) or any(uses[t] != 1 for t in gone):
            continue
        sources = list(step.sources[:place]) + list(step.sources[place + 1 :])
        own = [variable(k if k < place else k - 1) for k in range(len(step.sources))]
        inner = []
        for s in made.sources:
            if s not in sources:
                sources.append(s)
            inner.append(variable(sources.index(s)))
        own[place] = made.expression.substituted(inner)
        expression = step.expression.substituted(own)
        if len(sources) <= MOST_INPUTS and _operations(expression) <= MOST_FUSED:
            for s in set(made.sources) & set(step.sources):
                uses[s] -= 1
            return Map(step.out, tuple(sources), expression), gone
    return None


def _operations(expression: Expression) -> int:
    return sum(bool(x.operands) for x in expression.steps())


def keeps_order(program: Program, step: Layout) -> bool:
    """Whether all elements stay where they are."""
    return len(step.sources) == 1 and np.array_equal(
        step.index.ravel(), np.arange(program.tensors[step.sources[0]].size)
    )
