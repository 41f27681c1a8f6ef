"""The main job: digits on the array, in RTL, golden model and float32, compared."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from compiler.map.pipeline.compile import Compiled
from pal_units.formats import PAL8T
from spu.arch import bitstream
from spu.arch.errors import InputError
from spu.arch.files import check_directory, replace_file
from spu.arch.package.manifest import PROGRAM, REPORT
from spu.arch.package.store import save
from spu.arch.params import Architecture
from spu.command.programs import read_program
from spu.engine import codec
from spu.engine.rtl_run import BUILD, RtlResult, building_rtl, check_rtl, run_rtl
from spu.model.array import GoldenArray, Result
from verif.digits.data import MODEL, split
from verif.expected.compare import image_differences, stream_differences
from verif.expected.prediction import predict
from verif.stimulus.chains import pipeline

#: Files of a directory of results that are replaced.
WRITTEN = (PROGRAM, REPORT, "summary.json")
#: Differences of each kind that are printed.
SHOWN = 5
#: Images when the simulator is Icarus, which runs some 50 cycles a second.
ICARUS_IMAGES = 4


@dataclass(frozen=True)
class Job:
    """What to simulate; ``compiled``, ``program`` and ``verilog`` replace what would be made."""

    arch: Architecture
    sim: str = "verilator"
    images: int | None = None
    fmt: str = PAL8T.name
    seed: int = 0
    waves: bool = False
    stall_share: float = 0.0
    compiled: Compiled | None = None
    program: Path | None = None
    verilog: Path | None = None
    out: Path = BUILD / "sim"


@dataclass
class Outcome:
    """Measured figures (the contents of ``summary.json``) and everything that was wrong."""

    summary: dict = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    phases: dict[str, float] = field(default_factory=dict)


class _Phases:
    """Progress bars with the wall time of each phase; on a pipe a line for each."""

    def __init__(self, console: Console, outcome: Outcome) -> None:
        self.outcome = outcome
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<34}"),
            BarColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    @contextmanager
    def phase(
        self, name: str, total: int | None = None
    ) -> Iterator[Callable[[int | None, str], None]]:
        if not self.progress.console.is_terminal:
            self.progress.console.print(f"... {name}")
        task = self.progress.add_task(name, total=total, note="")
        start = time.monotonic()

        def update(done: int | None = None, note: str = "") -> None:
            self.progress.update(task, completed=done, note=note)

        yield update
        self.outcome.phases[name] = time.monotonic() - start
        self.progress.update(task, total=1, completed=1, note="")
        self.progress.stop_task(task)


def float_logits(x: NDArray) -> NDArray:
    """The ONNX model in float32, by the reference evaluator of the onnx package."""
    model = onnx.load(MODEL)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    feeds = {model.graph.input[0].name: x.astype(np.float32).reshape(len(x), *shape)}
    return np.asarray(ReferenceEvaluator(model).run(None, feeds)[0])  # type: ignore[index]


def simulate(job: Job, console: Console) -> Outcome:
    """Run the job and write ``summary.json`` into ``job.out``.

    Raises ``ValueError`` for a program file that does not fit, ``SimulationError`` for a
    simulator that fails.
    """
    start = time.monotonic()
    outcome = Outcome()
    try:
        verilog = job.verilog.read_text() if job.verilog else None
    except UnicodeDecodeError:
        raise InputError(f"{job.verilog}: not Verilog in UTF-8") from None
    content, loaded = read_program(job.program, job.arch) if job.program else (None, None)
    check_directory(job.out, ("summary.json",))
    check_directory(job.out / "run")
    check_rtl(job.arch, job.sim, job.waves, verilog)
    (job.out / "summary.json").unlink(missing_ok=True)
    phases = _Phases(console, outcome)
    images = job.images or (ICARUS_IMAGES if job.sim == "icarus" else len(split()[2]))
    x, labels = split()[2][:images], split()[3][:images]
    with phases.progress:
        # The RTL is built beside the rest, most of which one core does.
        with building_rtl(job.arch, job.sim, job.waves, verilog) as built:
            compiled = _compiled(job, phases)
            if loaded is not None:
                outcome.failures += _shown("program", image_differences(compiled.image, loaded))
            inputs = codec.encode_inputs(x, compiled.report, job.arch)
            with phases.phase("golden model", len(x)) as update:
                golden = GoldenArray(bitstream.decode(compiled.content, job.arch).image).run(
                    inputs, len(x), lambda i: update(min(i, len(x)), f"{i} images")
                )
            with phases.phase(f"build the RTL ({job.sim})"):
                build = built()
        with phases.phase("run the RTL", sum(map(len, golden.outputs.values()))) as update:
            rtl = run_rtl(
                build,
                job.arch,
                content or compiled.content,
                golden,
                inputs,
                len(x),
                job.out / "run",
                stall_share=job.stall_share,
                seed=job.seed,
                progress=lambda seen, total: update(seen, f"{seen} of {total} words"),
            )
    _judge(outcome, compiled, golden, rtl, x, labels, job.arch)
    outcome.summary["seconds"] = round(time.monotonic() - start, 2)
    summary = json.dumps(outcome.summary, indent=1) + "\n"
    replace_file(job.out / "summary.json", lambda sink: sink.write(summary.encode()))
    return outcome


def _compiled(job: Job, phases: _Phases) -> Compiled:
    """The model for the array of the job, in its directory."""
    with phases.phase("compile the model") as update:
        compiled = job.compiled or pipeline(
            MODEL,
            job.arch,
            job.arch.data_format(job.fmt),
            seed=job.seed,
            progress=lambda note: update(None, note),
        )
        save(compiled.package, job.out)
    return compiled


def _judge(
    outcome: Outcome,
    compiled: Compiled,
    golden: Result,
    rtl: RtlResult,
    x: NDArray,
    labels: NDArray,
    arch: Architecture,
) -> None:
    """Compare everything with everything; fill summary, counters and failures."""
    report, failures = compiled.report, outcome.failures
    wrong = stream_differences(golden.outputs, rtl.outputs, arch.rows - 1)
    if rtl.difference:
        d = rtl.difference
        failures.append(
            f"first difference on a link: tile ({d['tile'][0]},{d['tile'][1]}) "
            f"{d['link']}, cycle {d['cycle']}: expected {d['expected']}, "
            f"got {d['got']}"
        )
    failures += _shown("outputs", wrong)
    if not rtl.done:
        failures.append("the run did not finish")
    outcome.counters = counters = rtl.counters
    held = counters["HELD_INPUT_0"] + counters["HELD_OUTPUT_0"]
    cycles = {
        "compiler": compiled.mapping.cycles(len(x)),
        "golden model": golden.cycles,
        "RTL counter": counters["ACTIVE_0"],
        "testbench": rtl.compared_cycles,
    }
    if len(set(cycles.values())) != 1:
        failures.append(
            "executed cycles differ: "
            + ", ".join(f"{name} {value}" for name, value in cycles.items())
        )
    if not counters["CYCLES_0"] == counters["ACTIVE_0"] + held == rtl.run_cycles:
        failures.append(
            f"cycles {counters['CYCLES_0']} are not active {counters['ACTIVE_0']} + "
            f"held {held}, or not the {rtl.run_cycles} that the testbench saw"
        )
    codes = codec.output_codes(golden.outputs, report, arch)
    unpredicted = int((codes != predict(compiled.quantised, x, arch)).any(axis=1).sum())
    if unpredicted:
        failures.append(f"golden model and PAL prediction differ on {unpredicted} images")

    def accuracy(logits: NDArray) -> float:
        correct = logits.argmax(axis=1) == labels[: len(logits)]
        return round(float(correct.sum()) / len(labels), 4)

    outcome.summary = {
        "images": len(x),
        "accuracy_rtl": accuracy(codec.decode_outputs(rtl.outputs, report, arch)),
        "accuracy_golden": accuracy(codec.decode_outputs(golden.outputs, report, arch)),
        "accuracy_float": accuracy(float_logits(x)),
        "mismatching_words": len(wrong),
        "cycles_rtl": counters["CYCLES_0"],
        "cycles_golden": golden.cycles,
        "cycles_compiler": cycles["compiler"],
        "macs_per_cycle": round(report["macs"] * len(x) / max(counters["CYCLES_0"], 1), 2),
        "peak_macs_per_cycle": arch.peak_macs_per_cycle,
    }


def _shown(what: str, differences: list[str]) -> list[str]:
    """The first few differences and the number of all."""
    if len(differences) <= SHOWN:
        return [f"{what}: {text}" for text in differences]
    return [
        *(f"{what}: {text}" for text in differences[:SHOWN]),
        f"{what}: {len(differences)} differences in all",
    ]


def table(outcome: Outcome, job: Job) -> Table:
    """The result as a person reads it."""
    s, counters = outcome.summary, outcome.counters
    out = Table(title=f"digits on {job.arch.name} ({job.fmt}, {job.sim})", show_header=False)
    rows = [
        ("images", s["images"]),
        (
            "accuracy RTL / golden / float32",
            f"{s['accuracy_rtl']:.4f} / {s['accuracy_golden']:.4f} / {s['accuracy_float']:.4f}",
        ),
        ("mismatching output words", s["mismatching_words"]),
        (
            "cycles RTL / golden / compiler",
            f"{s['cycles_rtl']} / {s['cycles_golden']} / {s['cycles_compiler']}",
        ),
        ("cycles per image", f"{s['cycles_rtl'] / s['images']:.2f}"),
        (
            "MACs per cycle",
            f"{s['macs_per_cycle']} of {s['peak_macs_per_cycle']} "
            f"({100 * s['macs_per_cycle'] / s['peak_macs_per_cycle']:.1f} %)",
        ),
        ("cycles active", counters["ACTIVE_0"]),
        (
            "cycles held on input / output",
            f"{counters['HELD_INPUT_0']} / {counters['HELD_OUTPUT_0']}",
        ),
        ("configuration words loaded", counters["CONFIG_WORDS"]),
        *((f"seconds: {name}", f"{seconds:.1f}") for name, seconds in outcome.phases.items()),
        ("seconds in all", s["seconds"]),
    ]
    for name, value in rows:
        out.add_row(name, str(value))
    return out
