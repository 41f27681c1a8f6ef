"""A compiled model runs on a data set: one set of inputs after another, outputs joined."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from spu.arch.errors import InputError
from spu.arch.package import inputs
from spu.arch.package.buckets import BATCH, Buckets
from spu.arch.package.compiled import Package
from spu.arch.package.data_sets import Cut, cut
from spu.arch.package.pipeline import Pipeline
from spu.arch.package.program import Program
from spu.arch.package.rows import stay_apart
from spu.engine.array import Engine
from spu.engine.run import run

#: Is shown samples done, and of the run that is under way the steps done and all.
Progress = Callable[[int, int, int], None]


Model = Package | Pipeline | Buckets


@dataclass(frozen=True)
class Source:
    """A part of a data set, as a file: what errors call it, and what reads its inputs by name."""

    name: str
    read: Callable[[], Mapping[str, NDArray]]


@dataclass(frozen=True)
class _Part:
    """Inputs for one compiled model; ``kept``: what of an output is of the samples, by its name."""

    name: str
    read: Callable[[], Mapping[str, NDArray]]
    package: Package | Pipeline
    kept: Callable[[str, NDArray], NDArray] = lambda name, values: values


@dataclass
class Plan:
    """What a data set is to a model.

    ``samples``: rows along the first axis of inputs, of a model that takes each by itself; else
    runs.  ``rows``: samples of a run of each part.  ``filling``: rows of runs beyond the samples,
    which repeat one.  ``joined``: outputs whose rows follow each other along their first axis;
    others get an axis of runs in front.  ``small``: remarks on inputs, see ``inputs.remarks``, by
    input.
    """

    samples: int = 0
    runs: int = 0
    rows: list[int] = field(default_factory=list)
    filling: int = 0
    joined: frozenset[str] = frozenset()
    stacked: bool = False
    small: dict[str, list[str]] = field(default_factory=dict)


def input_names(model: Model) -> list[str]:
    """Names of the inputs."""
    return list(model.inputs) if isinstance(model, Buckets) else inputs.names(model)


def output_names(model: Model) -> list[str]:
    """Names of the outputs."""
    if isinstance(model, Buckets):
        return list(model.outputs)
    return [model.output] if isinstance(model, Pipeline) else list(model.program.outputs)


def plan(model: Model, sources: Sequence[Source]) -> Plan:
    """Look at all inputs, before anything runs.

    Raises ``InputError`` with the name of the source: as ``cut``, ``inputs.checked`` and
    ``Buckets``; for rows that do not fill a run of a model that does not take each row by itself;
    for sources whose outputs do not go together.
    """
    whole = Plan()
    apart: dict[tuple[int, frozenset[str]], bool] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    first = ""
    for part in _parts(model, sources):
        package = part.package
        with _about(part.name):
            found = cut(_program(package), part.read())
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
            if shapes and (joined, stacked) != (whole.joined, whole.stacked):
                raise InputError(
                    f"is cut into runs in another way than {first}; the files of a data set must "
                    "be alike"
                )
            whole.joined, whole.stacked = joined, stacked
            for name, shape in _shapes(part, joined).items():
                if shapes.setdefault(name, shape) != shape:
                    raise InputError(
                        f"a sample of output {name} has shape {shape}, {shapes[name]} of {first}; "
                        "samples of several lengths need a run each"
                    )
            first = first or part.name
            whole.rows.append(rows if rows is not None and alone else 1)
            whole.runs += found.count
            whole.filling += found.lacking
            whole.samples += _samples(package, found, whole.rows[-1])
    return whole


def run_all(
    model: Model,
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
    for part, rows in zip(_parts(model, sources), whole.rows, strict=True):
        with _about(part.name):
            found = cut(_program(part.package), part.read())
            for number, given in enumerate(found):
                with _about(f"run {number + 1} of {found.count}" if found.count > 1 else ""):
                    made = run(part.package, engine, given, partial(progress, samples))
                lacking = found.lacking if number == found.count - 1 else 0
                for name, values in made.items():
                    kept = part.kept(name, values)
                    kept = kept[: len(kept) - lacking] if name in whole.joined else kept
                    parts.setdefault(name, []).append(kept)
                samples += _samples(part.package, Cut(given), rows) - lacking
                progress(samples, 0, 0)
    return {name: _gathered(name, each, whole) for name, each in parts.items()}


def _parts(model: Model, sources: Sequence[Source]) -> Iterator[_Part]:
    """What each compiled model gets; of buckets, the largest number of rows as often as it is
    full, and the smallest one that holds the rest."""
    for source in sources:
        if not isinstance(model, Buckets):
            yield _Part(source.name, source.read, model)
            continue
        with _about(source.name):
            given = source.read()
            sizes = model.measured(given)
            numbers = model.holding(sizes)
        rows = sizes.get(BATCH, 1)
        most = model.rows(numbers[-1])
        full = rows // most * most
        ends = [(0, full, numbers[-1])] if full else []
        if full < rows:
            least = next(i for i in numbers if model.rows(i) >= rows - full)
            ends.append((full, rows, least))
        for begin, end, number in ends:
            yield _Part(
                source.name,
                partial(_padded, model, source, begin, end, number),
                model.packages[number],
                partial(model.true_part, lengths=sizes),
            )


def _padded(
    model: Buckets, source: Source, begin: int, end: int, number: int
) -> dict[str, NDArray]:
    """Some rows of a source, as long as a bucket takes them."""
    given = {
        name: x[begin:end] if BATCH in model.inputs[name] else x
        for name, x in source.read().items()
    }
    return model.padded(given, number)


def _shapes(part: _Part, joined: frozenset[str]) -> dict[str, tuple[int, ...]]:
    """Shapes of outputs that must be those of all parts, of a pipeline none."""
    if isinstance(part.package, Pipeline):
        return {part.package.output: ()}
    program = part.package.program
    made = {n: np.broadcast_to(0, program.shape(i)) for n, i in program.outputs.items()}
    shapes = {name: part.kept(name, values).shape for name, values in made.items()}
    return {name: shape[1:] if name in joined else shape for name, shape in shapes.items()}


def run_data(model: Model, engine: Engine, given: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Outputs by name of inputs in memory, see ``plan`` and ``run_all``."""
    sources = (Source("", lambda: given),)
    return run_all(model, engine, sources, plan(model, sources))


def _gathered(name: str, parts: list[NDArray], whole: Plan) -> NDArray:
    if len(parts) == 1 and not whole.stacked:
        return parts[0]
    return np.concatenate(parts) if name in whole.joined else np.stack(parts)


def _program(package: Package | Pipeline) -> Program | Pipeline:
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
    package: Package | Pipeline,
    names: frozenset[str],
    rows: int,
    known: dict[tuple[int, frozenset[str]], bool],
) -> bool:
    """Whether each row is a sample by itself."""
    if isinstance(package, Pipeline) or rows == 1:
        return True
    key = id(package), names
    if key not in known:
        known[key] = stay_apart(package.program, names)
    return known[key]


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
