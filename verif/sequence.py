"""All programs of a model on one array in RTL, each loaded while the one before it runs."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from rtl.simulator import SHORT
from spu.arch import bitstream
from spu.arch.bitstream import Image
from spu.arch.packing import to_words
from spu.arch.params import Architecture
from spu.engine.array import Cycles, Engine, GoldenEngine
from spu.engine.rtl_run import build_rtl
from spu.model.words import Stream

#: How programs follow each other: loaded when the one before has ended, or while it runs.
MODES = ("alone", "overlapped")


@dataclass(frozen=True)
class Run:
    """A program, the words that it takes and gives, and its cycles without holds."""

    content: bytes
    rounds: int
    inputs: dict[int, Stream]
    outputs: dict[int, Stream]
    cycles: int


@dataclass
class Recorder(GoldenEngine):
    """The golden model, which writes down all runs."""

    record: list[Run] = field(default_factory=list)
    run_each = Engine.run_each

    def run(
        self,
        image: Image,
        inputs: Mapping[int, Stream],
        iterations: int,
        cycles: Cycles,
        alike: bool,
    ) -> dict[int, Stream]:
        outputs = super().run(image, inputs, iterations, cycles, alike)
        self.record.append(
            Run(bitstream.encode(image), iterations, dict(inputs), outputs, cycles(iterations))
        )
        return outputs


def run_sequence(
    arch: Architecture, runs: list[Run], work: Path, effort: int = SHORT
) -> dict[str, dict[str, int]]:
    """Figures of each of ``MODES``: ``cycles`` from the first to the last run's end, and of these
    ``idle`` (no program runs) and ``active``.

    The host sends a program's words when it has the results of the one before, without taking
    time itself.  The first program is loaded before.  Raises ``SimulationError`` where a word or
    the number of active cycles differs from the golden model's.  ``effort``: of the simulator,
    see ``rtl.simulator.build``.
    """
    work.mkdir(parents=True, exist_ok=True)
    result, words = work / "sequence.json", arch.data_bits // 32
    result.unlink(missing_ok=True)
    arrays = {}
    for i, run in enumerate(runs):
        for name, streams in (("in", run.inputs), ("out", run.outputs)):
            for column, stream in streams.items():
                arrays[f"{name}_{i}_{column}"] = np.array(
                    [[*to_words(data, words), bias] for data, bias in stream], np.uint32
                ).reshape(len(stream), words + 1)
        (work / f"{i}.spub").write_bytes(run.content)
    np.savez(work / "words.npz", allow_pickle=False, **arrays)
    (work / "job.json").write_text(
        json.dumps(
            {
                "arch": asdict(arch),
                "modes": MODES,
                "result": str(result.resolve()),
                "rounds": [run.rounds for run in runs],
                "cycles": [run.cycles for run in runs],
            }
        )
    )
    build_rtl(arch, effort=effort).run(
        "verif.benches.sequence_bench",
        work,
        expected=1,
        environment={"SPU_JOB": str(work.resolve())},
    )
    return dict(json.loads(result.read_text()))
