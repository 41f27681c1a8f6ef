"""A model judged: compiled, predicted on a data set, run on the golden engine, beside float."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from compiler.build import compile_model
from compiler.errors import CompileError, Refused
from compiler.front.fixed import fixed
from compiler.front.lower import lower
from compiler.passes.formats import decibels
from compiler.passes.predict import predict
from spu.arch.errors import CheckFailed, InputError
from spu.arch.package.compiled import Package
from spu.arch.params import Architecture
from spu.engine.array import GoldenEngine
from spu.engine.host import run
from verif.zoo.entry import Entry, Inputs
from verif.zoo.reference import Float, reference

Row = dict[str, Any]
#: Of rows of models that ran, else None.
FIGURES = ("sqnr_db", "predicted_db", "argmax_agreement", "cycles", "seconds")


def judge(
    entry: Entry, arch: Architecture, progress: Callable[[str], None] = lambda _: None
) -> Row:
    """The row of a model.

    ``status`` is ``ran``, or ``refused`` with the whole reason in ``refusals``.  Of one that ran:
    ``predicted_db``, of the exact prediction against float over all sets of inputs; ``sqnr_db``,
    of the golden engine against float over those that it ran, and ``same_db``, of the prediction
    over these; each of the worst output of real numbers, None where there is none, or no error.
    ``argmax_agreement``: share of the first among classes that are float's; ``cycles``: of one set
    of inputs.  Raises ``MissingPackage``, and what a fault of this project raises.
    """
    start = time.monotonic()
    model = entry.model()
    row: Row = {
        "model": entry.name,
        "source": entry.source,
        "nodes": len(model.graph.node),
        "operators": operators(model.graph),
        "status": "refused",
        "refusals": [],
        **dict.fromkeys(FIGURES),
        "inputs": entry.about,
    }
    progress("compiling")
    sets = entry.inputs()
    shown, tested = sets[: entry.calibrate], sets[entry.calibrate :]
    try:
        model = fixed(model, entry.fix)
        program = lower(model, entry.name, entry.batch, entry.dims)
        package = compile_model(
            program, arch, "steps", calibrate=shown, progress=lambda note: progress(note)
        )
        assert isinstance(package, Package)
    except Refused as error:
        return row | {"refusals": [str(r) for r in error.refusals]}
    except (CompileError, InputError) as error:
        return row | {"refusals": [str(error)]}
    row["compile_seconds"] = round(time.monotonic() - start, 1)
    try:
        row |= measured(entry, package, reference(model), tested, arch, progress)
    except InputError as error:
        return row | {"refusals": [str(error)]}
    return row | {"status": "ran", "seconds": round(time.monotonic() - start, 1)}


def measured(
    entry: Entry,
    package: Package,
    exact: Float,
    tested: Sequence[Inputs],
    arch: Architecture,
    progress: Callable[[str], None],
) -> Row:
    """Figures of a compiled model on sets of inputs."""
    real, predicted = [], []
    for i, each in enumerate(tested):
        progress(f"prediction {i + 1} of {len(tested)}")
        real.append(exact(each))
        predicted.append(predict(package, each))
    got, cycles, saturated = [], 0, Counter[str]()
    for i, each in enumerate(tested[: entry.golden]):
        engine = GoldenEngine(arch)
        got.append(run(package, engine, each, partial(_stepped, progress, i + 1)))
        cycles, saturated = engine.cycles, saturated + Counter(engine.nodes)
    few = real[: len(got)]
    return {
        "samples": len(tested),
        "golden_samples": len(got),
        "elements": sum(x.size for each in predicted for x in each.values()),
        "golden_elements": sum(x.size for each in got for x in each.values()),
        "predicted_db": worst_db(real, predicted),
        "sqnr_db": worst_db(few, got),
        "same_db": worst_db(few, predicted[: len(got)]),
        "argmax_agreement": agreement(entry.classes, real, predicted),
        "golden_agreement": agreement(entry.classes, few, got),
        "saturated": sum(saturated.values()),
        "cycles": cycles,
        "products": len(package.formats),
    }


def _stepped(progress: Callable[[str], None], number: int, done: int, total: int) -> None:
    progress(f"run {number}, step {done} of {total}")


def operators(graph: onnx.GraphProto) -> dict[str, int]:
    """How many nodes of each operator, those of branches among them."""
    found: Counter[str] = Counter()
    for node in graph.node:
        found[f"{node.domain}.{node.op_type}".removeprefix("ai.onnx.").lstrip(".")] += 1
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found.update(operators(attribute.g))
    return dict(sorted(found.items()))


def worst_db(real: Sequence[Mapping[str, Any]], got: Sequence[Mapping[str, Any]]) -> float | None:
    """Signal to noise ratio of the worst output of real numbers over all sets, in dB.

    Raises ``CheckFailed`` where one is finite and the other is not.
    """
    found = []
    for name in got[0] if got else ():
        if np.asarray(real[0][name]).dtype.kind != "f":
            continue
        wanted = np.concatenate([np.ravel(each[name]).astype(np.float64) for each in real])
        given = np.concatenate([np.ravel(each[name]).astype(np.float64) for each in got])
        finite = np.isfinite(wanted)
        if (finite != np.isfinite(given)).any():
            raise CheckFailed(f"output {name!r} is not finite where float is, or the other way")
        found.append(decibels(wanted[finite], given[finite]))
    least = min(found, default=float("inf"))
    return None if np.isinf(least) else round(least, 2)


def agreement(
    name: str, real: Sequence[Mapping[str, Any]], got: Sequence[Mapping[str, Any]]
) -> float | None:
    """Share of the same first class (or label) in an output; None without classes."""
    if not name:
        return None
    same = [
        np.ravel(_classes(np.asarray(x[name])) == _classes(np.asarray(y[name])))
        for x, y in zip(real, got, strict=True)
    ]
    return round(float(np.mean(np.concatenate(same))), 4)


def _classes(scores: NDArray) -> NDArray:
    """Of scores the first class, above a half of a score alone; labels are classes."""
    if scores.dtype.kind != "f":
        return scores
    return scores > 0.5 if scores.shape[-1] == 1 else scores.argmax(axis=-1)
