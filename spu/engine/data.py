"""A compiled model runs on a data set: one set of inputs after another, outputs joined."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from spu.arch.errors import InputError
from spu.arch.package import inputs
from spu.arch.package.compiled import Package
from spu.arch.package.data_sets import Cut, cut
from spu.arch.package.pipeline import Pipeline
from spu.arch.package.program import Program
from spu.arch.package.rows import stay_apart
from spu.engine.array import Engine
from spu.engine.run import run

#: Is shown samples done, and of the run that is under way the steps done and all.
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class Source:
    """A part of a data set, as a file: what errors call it, and what reads its inputs by name."""

    name: str
    read: Callable[[], Mapping[str, NDArray]]


@dataclass
class Plan:
    """What a data set is to a model.

    ``samples``: rows along the first axis of inputs, of a model that takes each by itself; else
    runs.  ``rows``: samples of a run.  ``filling``: rows of runs beyond the samples, which repeat
    one.  ``joined``: outputs whose rows follow each other along their first axis; others get an
    axis of runs in front.  ``small``: remarks on inputs, see ``inputs.remarks``, by input.
    """

    samples: int = 0
    runs: int = 0
    rows: int = 1
    filling: int = 0
    joined: frozenset[str] = frozenset()
    stacked: bool = False
    small: dict[str, list[str]] = field(default_factory=dict)


def plan(package: Package | Pipeline, sources: Sequence[Source]) -> Plan:
    """Look at all inputs, before anything runs.

    Raises ``InputError`` with the name of the source: as ``cut`` and ``inputs.checked``; for rows
    that do not fill a run of a model that does not take each row by itself; for sources whose
    outputs do not go together.
    """
    whole = Plan()
    apart: dict[frozenset[str], bool] = {}
    for number, source in enumerate(sources):
        with _about(source.name):
            found = cut(_model(package), source.read())
            for given in found:
                taken = inputs.checked(package, given)
                for line in inputs.remarks(package, taken):
                    whole.small.setdefault(line.partition(":")[0], []).append(line)
            names, rows = _rows(package, found)
            alone = rows is not None and _apart(package, names, rows, apart)
            if found.lacking and not alone:
                raise InputError(_left_over(found))
            stacked = bool(found.stacked)
            joined = frozenset[str]() if stacked else _joined(package, rows)
            each = rows if rows is not None and alone else 1
            if number and (joined, stacked, each) != (whole.joined, whole.stacked, whole.rows):
                raise InputError(
                    f"is cut into runs in another way than {sources[0].name}; the files of a data "
                    "set must be alike"
                )
            whole.joined, whole.stacked, whole.rows = joined, stacked, each
            whole.runs += found.count
            whole.filling += found.lacking
            whole.samples += _samples(package, found, whole.rows)
    return whole


def run_all(
    package: Package | Pipeline,
    engine: Engine,
    sources: Sequence[Source],
    whole: Plan,
    progress: Progress = lambda samples, done, total: None,
) -> dict[str, NDArray]:
    """Outputs by name of a data set that was planned; ``engine`` counts those of all runs.

    Raises what ``run`` raises, ``InputError`` with the name of the source.
    """
    parts: dict[str, list[NDArray]] = {}
    samples = 0
    for source in sources:
        with _about(source.name):
            found = cut(_model(package), source.read())
            for number, given in enumerate(found):
                with _about(f"run {number + 1} of {found.count}" if found.count > 1 else ""):
                    made = run(package, engine, given, partial(progress, samples))
                lacking = found.lacking if number == found.count - 1 else 0
                for name, values in made.items():
                    kept = values[: len(values) - lacking] if name in whole.joined else values
                    parts.setdefault(name, []).append(kept)
                samples += _samples(package, Cut(given), whole.rows) - lacking
                progress(samples, 0, 0)
    return {name: _gathered(name, each, whole) for name, each in parts.items()}


def run_data(
    package: Package | Pipeline, engine: Engine, given: Mapping[str, NDArray]
) -> dict[str, NDArray]:
    """Outputs by name of inputs in memory, see ``plan`` and ``run_all``."""
    sources = (Source("", lambda: given),)
    return run_all(package, engine, sources, plan(package, sources))


def _gathered(name: str, parts: list[NDArray], whole: Plan) -> NDArray:
    if len(parts) == 1 and not whole.stacked:
        return parts[0]
    return np.concatenate(parts) if name in whole.joined else np.stack(parts)


def _model(package: Package | Pipeline) -> Program | Pipeline:
    return package.program if isinstance(package, Package) else package


def _rows(package: Package | Pipeline, found: Cut) -> tuple[frozenset[str], int | None]:
    """Inputs whose rows may be samples, and how many each has in a run; None if they differ."""
    if isinstance(package, Pipeline):
        return frozenset((package.input,)), package.report["io"]["vectors"][1]
    program = package.program
    shapes = {name: program.shape(i) for name, i in program.inputs.items()}
    names = frozenset(found.rows) or frozenset(n for n, shape in shapes.items() if shape)
    sizes = {shapes[name][0] for name in names}
    return names, sizes.pop() if len(sizes) == 1 else None


def _apart(
    package: Package | Pipeline, names: frozenset[str], rows: int, known: dict[frozenset[str], bool]
) -> bool:
    """Whether each row is a sample by itself."""
    if isinstance(package, Pipeline) or rows == 1:
        return True
    if names not in known:
        known[names] = stay_apart(package.program, names)
    return known[names]


def _joined(package: Package | Pipeline, rows: int | None) -> frozenset[str]:
    if isinstance(package, Pipeline):
        return frozenset((package.output,))
    program = package.program
    shapes = {name: program.shape(i) for name, i in program.outputs.items()}
    return frozenset(name for name, shape in shapes.items() if shape and shape[0] == rows)


def _samples(package: Package | Pipeline, found: Cut, rows: int) -> int:
    if isinstance(package, Package):
        return found.count * rows - found.lacking
    values = found.given[package.input]
    return len(values) * (values.shape[1] if found.stacked else 1)


def _left_over(found: Cut) -> str:
    name, rows = next(iter(found.rows.items()))
    given = len(found.given[name])
    return (
        f"{name} has {given} rows, of which a run takes {rows}: {given % rows} are left over, and "
        "the model does not take each row by itself; give a multiple, or spu compile --batch "
        "another number"
    )


@contextmanager
def _about(name: str) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}" if name else str(error)) from None
