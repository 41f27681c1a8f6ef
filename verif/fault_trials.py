"""Trials of ``spu compare --against pal``: a fault in a program, and the layer that it names.

The fault is put into the weight rows of a program as it is about to be loaded, see
``verif.faults``; the golden model that executes it is right.  Blocks that are empty have no bias
and are never drawn; where a block changes no result (its products lie below what the accumulator
holds, or meet zeros alone) another one is drawn.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
from typer.testing import CliRunner

from compiler.front.lower import lower
from compiler.map.steps import compile_program
from spu.arch.package.compiled import Package
from spu.arch.package.program import node_name
from spu.arch.package.store import save
from spu.arch.params import CONFIGS, Architecture
from spu.command.arrays import write_arrays
from spu.command.main import app
from verif.faults import FaultyEngine, product_runs
from verif.stimulus.small_models import SMALL
from verif.studies.models import digits

#: Models of the trials: those of the digits, and some of ``small_models``.
MODELS = ("digits mlp", "digits cnn", "gated decoder block", "lstm", "1-D u-net")
IMAGES = 4


@dataclass(frozen=True)
class Trial:
    """``fault``: which of the runs of the model that multiply; ``seed`` draws the block."""

    number: int
    model: str
    fault: int
    seed: int


@dataclass(frozen=True)
class Result:
    """``layer`` of the fault, and layers that the command ``named`` with its exit code.

    ``blocks`` that were tried until results were others; ``layers`` of the model that multiply.
    """

    layer: str
    named: tuple[str, ...]
    exit_code: int
    blocks: int
    layers: int

    @property
    def right(self) -> bool:
        return self.exit_code == 1 and self.named == (self.layer,)


@cache
def package(model: str) -> tuple[Package, dict]:
    """A model of ``MODELS``, and inputs."""
    basic = CONFIGS["basic"]
    if model.startswith("digits"):
        work = digits(model.split()[1], IMAGES)
        program = lower(work.model, model, IMAGES)
        return compile_program(program, basic, calibrate=work.inputs), work.inputs
    small = next(s for s in SMALL if s.name == model)
    made, inputs = small.made()
    return compile_program(lower(made, model), basic, calibrate=inputs), inputs


def trials(count: int) -> Iterator[Trial]:
    """Models in turn; of each a random layer that multiplies, of this a random run."""
    for number in range(count):
        model, rng = MODELS[number % len(MODELS)], np.random.default_rng([3, number])
        made, _ = package(model)
        runs = product_runs(made)
        labels = [made.program.label(made.program.steps[i]) for i in runs]
        label = rng.choice(sorted(set(labels)))
        fault = rng.choice([k for k, each in enumerate(labels) if each == label])
        yield Trial(number, model, int(fault), number)


def tried(trial: Trial, folder: Path) -> Result:
    """What the command says of a package with the fault."""
    made, inputs = package(trial.model)
    directory, given, rows = (folder / name for name in ("package", "in.npz", "rows.json"))
    save(made, directory)
    with given.open("wb") as sink:
        write_arrays(sink, inputs)
    engines: list[FaultyEngine] = []

    def faulty(arch: Architecture) -> FaultyEngine:
        engines.append(FaultyEngine(arch, fault=trial.fault, seed=trial.seed))
        return engines[-1]

    with patch("spu.engine.array.GoldenEngine", faulty):
        command = ["compare", directory, "--input", given, "--against", "pal", "--json", rows]
        result = CliRunner().invoke(app, [str(part) for part in command])
    (engine,) = engines
    if not engine.done:
        raise AssertionError(f"{trial}: the run of the fault did not happen: {result.output}")
    runs, program = product_runs(made), made.program
    labels = [program.label(program.steps[i]) for i in runs]
    named = tuple(json.loads(rows.read_text())["differing"])
    return Result(
        node_name(labels[trial.fault]), named, result.exit_code, len(engine.tried), len(set(labels))
    )
