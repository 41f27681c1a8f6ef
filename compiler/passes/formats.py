"""Fewest bits for each product of a model within an error budget, by measuring."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from compiler.errors import CompileError
from compiler.passes.predict import predict
from compiler.passes.samples import Given, samples
from pal_units.formats import Format
from spu.arch.errors import InputError
from spu.arch.package.compiled import Package
from spu.arch.package.values import real_values
from spu.model.accuracy import decibels

#: Bits of codes that are tried, the fewest first.
BITS = (4, 6, 8)


def quality(compiled: Package, inputs: Given) -> float:
    """Signal to noise ratio of PAL arithmetic against float64 in dB, of the worst output over all
    sets of inputs together."""
    program = compiled.program
    names = [name for name, number in program.outputs.items() if program.is_real(number)]
    references: dict[str, list[NDArray]] = {name: [] for name in names}
    found: dict[str, list[NDArray]] = {name: [] for name in names}
    for each in samples(inputs).sets:
        real, _ = real_values(compiled.meant, each)
        got = predict(compiled, each)
        for name in names:
            references[name].append(real[program.outputs[name]])
            found[name].append(got[name])
    return min(
        (decibels(np.stack(references[name]), np.stack(found[name])) for name in names),
        default=float("inf"),
    )


def formats_text(formats: Iterable[Format]) -> str:
    """How many products have each format."""
    counts = Counter(fmt.name for fmt in formats)
    return ", ".join(f"{counts[name]} in {name}" for name in sorted(counts))


def choose_formats(
    compiled: Package,
    inputs: Given,
    budget: float,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[int, Format]:
    """Formats of products with which the outputs keep ``budget`` dB on these inputs.

    ``compiled`` has 8 bits everywhere.  Greedy: the products that take most words of blocks come
    first, each gets the fewest bits with which the budget is kept, of the array's formats of its
    profile.

    Raises
    ------
    CompileError: the budget is not kept by 8 bits everywhere, or the model has no output of real
        numbers, of which it is.
    """
    if not any(map(compiled.program.is_real, compiled.program.outputs.values())):
        raise CompileError(
            f"a budget of {budget:g} dB is of outputs of real numbers, all of the model's are "
            "integers"
        )
    reached = quality(compiled, inputs)
    if reached < budget:
        raise CompileError(
            f"a budget of {budget:g} dB: formats of 8 bits reach {reached:.1f} dB "
            "on the calibration inputs"
        )
    formats = dict(compiled.formats)
    order = sorted(formats, key=lambda i: (-compiled.block_words(i), i))
    for done, i in enumerate(order):
        progress(done, len(order))
        for bits in BITS:
            narrow = f"PAL{bits}{formats[i].profile}"
            if narrow not in compiled.arch.formats:
                continue
            trial = formats | {i: compiled.arch.data_format(narrow)}
            if trial == formats or _keeps(replace(compiled, formats=trial), inputs, budget):
                formats = trial
                break
    return formats


def _keeps(compiled: Package, inputs: Given, budget: float) -> bool:
    """Whether the outputs keep a budget; not where a product cannot run in its format."""
    try:
        return quality(compiled, inputs) >= budget
    except InputError:
        return False
