"""Errors that are expected beside those that are measured, and faults that are to be named.

``python -m verif.studies.errors`` (``make errors``) measures the errors of models of many kinds
against float64, by the exact prediction, and compares them with what ``spu compare`` expects; then
it puts a fault into a program of each trial and asks ``spu compare --against pal`` for the layer.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from compiler.errors import CompileError
from compiler.front.lower import lower
from compiler.map.steps import compile_program
from spu.arch.package.compiled import Package
from spu.arch.package.inputs import checked
from spu.arch.params import CONFIGS
from spu.command.tables import markdown, show, table
from spu.engine.compare import against_float
from spu.engine.recording import Recording
from spu.model import exact
from verif.expected.error_bounds import error_bounds
from verif.fault_trials import trials, tried
from verif.node_tests import cases
from verif.pages.stamps import ERRORS
from verif.stimulus.model_mutants import mutant
from verif.stimulus.small_models import SMALL
from verif.studies.models import Workload, digits, encoder

#: Between these, a model's measured error is as large as the expected one.
BAND = (0.8, 1.25)
#: Elements of a layer whose ratio counts: of 100 numbers a root mean square is off by 7 %.
LEAST_ELEMENTS = 100
#: Random graphs, and node tests by parts of their names; each has few elements: their ratios are
#: taken together.
GRAPHS = 40
NODE_TESTS = ("attention_3d", "layer_normalization", "softmax", "gelu", "lstm", "gru_", "conv")
IMAGES = 32
TRIALS = 20
HEAD = (
    "model",
    "format",
    "layers",
    "measured, dB",
    "expected, dB",
    "measured / expected error",
    "of layers",
    "worst case, dB",
)
GROUP_HEAD = (
    "models",
    "number",
    "measured / expected error",
    "of nine of ten",
    "worst case finite",
)
FAULT_HEAD = (
    "model",
    "layers that multiply",
    "trials",
    "layer named, and no other",
    "blocks tried",
)


@dataclass(frozen=True)
class Measured:
    """Of a model: signal to noise ratios, and of its layers errors beside the expected ones.

    ``worst_db``: by the bounds of every element, None where one is infinite.
    """

    layers: int
    sqnr_db: float
    expected_db: float
    ratios: tuple[float, ...]
    worst_db: float | None

    @property
    def ratio(self) -> float:
        return _ratio(self.sqnr_db, self.expected_db)


def _ratio(sqnr_db: float, expected_db: float) -> float:
    return float(10 ** ((expected_db - sqnr_db) / 20))


def measured(package: Package, inputs: Mapping[str, NDArray]) -> Measured:
    """Of the array, by the exact prediction, which tests hold to be the same bit for bit."""
    given = checked(package, inputs)
    codes = exact.run(package, given)
    recording = Recording(package, given, codes, exact.outputs(package, codes), cycles={})
    rows = against_float(recording, shares=False)
    outputs = set(package.program.outputs.values())
    ratios, last = [], rows[-1]
    for layer, row in zip(recording.layers, rows, strict=True):
        if outputs.intersection(layer.results):
            last = row
        size = sum(package.program.tensors[t].size for t in layer.results)
        if row.expected_db is None or row.sqnr_db is None or size < LEAST_ELEMENTS:
            continue
        if np.isfinite([row.sqnr_db, row.expected_db]).all():
            ratios.append(_ratio(row.sqnr_db, row.expected_db))
    bounds = error_bounds(package, given)
    signal, worst = (
        sum(float((part**2).sum()) for part in parts)
        for parts in ([b.value for b in bounds.values()], [b.error for b in bounds.values()])
    )
    worst_db = 10 * np.log10(signal / worst) if 0 < worst < np.inf else None
    assert last.expected_db is not None
    assert last.sqnr_db is not None
    return Measured(len(rows), last.sqnr_db, last.expected_db, tuple(ratios), worst_db)


def packages(
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[str, str, Package, dict[str, NDArray]]]:
    """Name, format, model and inputs."""
    basic = CONFIGS["basic"]
    work = {name: digits(name, IMAGES) for name in ("mlp", "cnn")}
    block = encoder()
    jobs = [
        *((work[name], "PAL8T", "PAL8T") for name in work),
        (work["mlp"], "PAL8T", "PAL4A"),
        (work["cnn"], "PAL6T", "PAL6T"),
        (block, "PAL8T", "PAL8T"),
    ]
    for small in SMALL:
        fmt = "PAL4T" if small.name == "16 dense layers" else "PAL8T"
        jobs.append((Workload(small.name, *small.made()), fmt, fmt))
    for job, fmt, weights in jobs:
        progress(job.name)
        program = lower(job.model, job.name, IMAGES if job.labels is not None else 1)
        package = compile_program(
            program,
            basic,
            calibrate=job.inputs,
            fmt=basic.data_format(fmt),
            weights=basic.weight_format(weights),
        )
        name = fmt if fmt == weights else f"{fmt}, weights {weights}"
        yield job.name, name, package, job.inputs


def graphs(count: int) -> Iterator[tuple[Package, dict[str, NDArray]]]:
    """Random graphs of one to five operators, of those that compile."""
    for number in range(count):
        made = mutant(8 * number)  # one of eight is a random graph as it is
        try:
            program = lower(made.model, "random")
            package = compile_program(program, CONFIGS["basic"], calibrate=made.inputs)
        except CompileError:
            continue
        if _computed(package):
            yield package, made.inputs


def node_models() -> Iterator[tuple[Package, dict[str, NDArray]]]:
    """Tests of the onnx package that apply, without those that say the same by a function, and of
    types that numpy has not."""
    for case in cases():
        wanted = any(part in case.name for part in NODE_TESTS) and not any(
            part in case.name for part in ("expanded", "bf16", "bfloat16")
        )
        if wanted and case.program is not None:
            try:
                package = compile_program(case.program, CONFIGS["basic"], calibrate=case.inputs)
            except CompileError:
                continue
            if _computed(package):
                yield package, case.inputs


def _computed(package: Package) -> bool:
    """Whether steps make the outputs, of real numbers alone: integers have no errors."""
    program = package.program
    made = {step.out for step in program.steps}
    return made.issuperset(program.outputs.values()) and all(map(program.is_real, made))


def group(name: str, found: list[Measured]) -> list[str]:
    """A row of many small models: of all errors that are not zero on both sides."""
    ratios = np.array([m.ratio for m in found if np.isfinite([m.sqnr_db, m.expected_db]).all()])
    low, middle, high = np.quantile(ratios, (0.05, 0.5, 0.95))
    bounded = sum(m.worst_db is not None for m in found)
    return [name, f"{len(found)}", f"{middle:.2f}", f"{low:.2f} to {high:.2f}", f"{bounded}"]


def main(count: int = GRAPHS, faults: int = TRIALS) -> None:
    """Measure all models and put faults into some; 1 if a ratio is outside the band or a fault is
    not named.

    The tables go to the screen and, of as many graphs and faults as by default, to
    ``docs/models.md``.
    """
    console, sources, rows, outside = Console(stderr=True), ERRORS.sources(), [], []
    with console.status("errors") as status:
        for name, fmt, package, inputs in packages(status.update):
            found = measured(package, inputs)
            if not BAND[0] <= found.ratio <= BAND[1]:
                outside.append(name)
            rows.append(
                [
                    name,
                    fmt,
                    f"{found.layers}",
                    f"{found.sqnr_db:.1f}",
                    f"{found.expected_db:.1f}",
                    f"{found.ratio:.2f}",
                    f"{min(found.ratios):.2f} to {max(found.ratios):.2f}",
                    "none" if found.worst_db is None else f"{found.worst_db:.1f}",
                ]
            )
        show(table("errors of models", HEAD, rows))
        status.update("small models")
        groups = [
            group("random graphs", [measured(*each) for each in graphs(count)]),
            group("node tests", [measured(*each) for each in node_models()]),
        ]
        show(table("errors of small models", GROUP_HEAD, groups))
        with TemporaryDirectory() as folder:
            made = []
            for trial in trials(faults):
                status.update(f"fault {trial.number} of {faults}")
                made.append((trial, tried(trial, Path(folder))))
    found_rows = fault_rows(made)
    show(table("faults", FAULT_HEAD, found_rows))
    missed = [trial for trial, result in made if not result.right]
    if count == GRAPHS and faults == TRIALS:
        ERRORS.write(
            "\n\n".join(
                markdown(head, body).rstrip("\n")
                for head, body in ((HEAD, rows), (GROUP_HEAD, groups), (FAULT_HEAD, found_rows))
            ),
            sources,
        )
    if outside or missed:
        console.print(f"outside the band: {outside}; faults not named: {missed}", style="red")
        raise SystemExit(1)


def fault_rows(made: list) -> list[list[str]]:
    """A row for each model."""
    rows: list[list[str]] = []
    for name in dict.fromkeys(trial.model for trial, _ in made):
        own = [(trial, result) for trial, result in made if trial.model == name]
        rows.append(
            [
                name,
                f"{own[0][1].layers}",
                f"{len(own)}",
                f"{sum(result.right for _, result in own)}",
                f"{sum(result.blocks for _, result in own)}",
            ]
        )
    return rows


if __name__ == "__main__":
    typer.run(main)
