"""Real models on the array: accuracy against float and against PAL in numpy, and cycles.

``python -m verif.studies.models`` runs the digits models and a transformer encoder block on the
golden model of ``basic``; with ``--rtl`` the digits models in RTL as well, their programs loaded
one after another and meanwhile.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import typer
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console

from compiler.front.lower import lower
from compiler.map.steps import compile_program
from compiler.passes.formats import choose_formats, formats_text
from compiler.passes.predict import predict
from rtl.simulator import LONG
from spu.arch.package.compiled import Package
from spu.arch.package.values import real_values
from spu.arch.params import CONFIGS, Architecture
from spu.command.tables import markdown, show, table
from spu.engine.array import Engine, GoldenEngine
from spu.engine.host import run
from spu.engine.rtl_engine import RtlEngine
from spu.engine.rtl_run import BUILD
from spu.model.accuracy import decibels
from verif.digits.cnn import MODEL as CNN
from verif.digits.data import MODEL, split
from verif.pages.stamps import LOADING, MODELS
from verif.sequence import Recorder, run_sequence

#: Of the encoder blocks of MiniLM-L12-H384 (W. Wang et al., "MiniLM", NeurIPS 2020), and of a
#: short sentence.
WIDTH, HEADS, HIDDEN, SEQUENCE = 384, 12, 1536, 16
#: Of outputs, in dB, for formats of products.
BUDGETS = (35, 25, 15)
#: By how much the array may be from the prediction.
MOST_DECIBELS = 0.5
#: Images on the golden model.
IMAGES = 64
HEAD = (
    "model",
    "dB against float",
    "PAL in numpy, dB",
    "accuracy / float",
    "cycles",
    "programs run",
)
BUDGET_HEAD = (
    "model",
    "budget, dB",
    "formats of products",
    "PAL in numpy, dB",
    "dB against float",
    "words of blocks / in 8 bits",
)
LOADING_HEAD = (
    "model",
    "programs",
    "cycles of programs",
    "loaded after each other",
    "loaded meanwhile",
    "of these no program runs",
)
_BETWEEN = "\nThe same run chooses formats by budget:\n\n"


def encoder_block(seed: int = 0) -> onnx.ModelProto:
    """A post-norm transformer encoder block (A. Vaswani et al., NeurIPS 2017) with GELU."""
    rng = np.random.default_rng(seed)
    constants: dict[str, NDArray] = {}
    nodes: list[onnx.NodeProto] = []

    def constant(name: str, values: NDArray) -> str:
        constants[name] = values
        return name

    def node(op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def dense(x: str, name: str, depth: int, outputs: int) -> str:
        weight = rng.normal(0, depth**-0.5, (depth, outputs)).astype(np.float32)
        bias = rng.normal(0, 0.1, outputs).astype(np.float32)
        product = node("MatMul", [x, constant(f"{name}.weight", weight)], f"{name}.product")
        return node("Add", [product, constant(f"{name}.bias", bias)], name)

    def heads(x: str, name: str, order: list[int]) -> str:
        parts = node("Reshape", [x, "split"], f"{name}.parts")
        return node("Transpose", [parts], name, perm=order)

    def norm(x: str, name: str) -> str:
        scale = rng.uniform(0.5, 1.5, WIDTH).astype(np.float32)
        offset = rng.normal(0, 0.1, WIDTH).astype(np.float32)
        return node(
            "LayerNormalization",
            [x, constant(f"{name}.scale", scale), constant(f"{name}.offset", offset)],
            name,
        )

    constant("split", np.array([1, SEQUENCE, HEADS, WIDTH // HEADS]))
    constant("merge", np.array([1, SEQUENCE, WIDTH]))
    q, k, v = (dense("x", name, WIDTH, WIDTH) for name in ("query", "key", "value"))
    scores = node("MatMul", [heads(q, "q", [0, 2, 1, 3]), heads(k, "k", [0, 2, 3, 1])], "scores")
    scale = constant("root", np.array((WIDTH // HEADS) ** -0.5, np.float32))
    weights = node("Softmax", [node("Mul", [scores, scale], "scaled")], "attention")
    mixed = node("MatMul", [weights, heads(v, "v", [0, 2, 1, 3])], "mixed")
    mixed = node("Reshape", [node("Transpose", [mixed], "rows", perm=[0, 2, 1, 3]), "merge"], "all")
    first = norm(node("Add", ["x", dense(mixed, "output", WIDTH, WIDTH)], "residual_1"), "norm_1")
    hidden = node("Gelu", [dense(first, "expand", WIDTH, HIDDEN)], "gelu")
    second = dense(hidden, "contract", HIDDEN, WIDTH)
    norm(node("Add", [first, second], "residual_2"), "y")
    shape = [1, SEQUENCE, WIDTH]
    graph = helper.make_graph(
        nodes,
        "encoder_block",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(v, name) for name, v in constants.items()],
    )
    model = helper.make_model(
        graph, producer_name="pal-spu", ir_version=10, opset_imports=[helper.make_opsetid("", 20)]
    )
    onnx.checker.check_model(model, full_check=True)
    return model


@dataclass(frozen=True)
class Workload:
    """A model with inputs; ``labels`` if it classifies."""

    name: str
    model: onnx.ModelProto
    inputs: dict[str, NDArray]
    labels: NDArray | None = None


def digits(name: str, count: int) -> Workload:
    """One of the digits models, ``mlp`` or ``cnn``, with held-out images."""
    _, _, images, labels = split()
    shape = (count, 8, 8) if name == "mlp" else (count, 1, 8, 8)
    model = onnx.load(MODEL if name == "mlp" else CNN)
    return Workload(
        f"digits {name}", model, {"image": images[:count].reshape(shape)}, labels[:count]
    )


def encoder() -> Workload:
    """The encoder block with an input of unit variance."""
    x = np.random.default_rng(1).standard_normal((1, SEQUENCE, WIDTH))
    return Workload("encoder block", encoder_block(), {"x": x})


def compiled(
    workload: Workload, arch: Architecture, progress: Callable[[str], None] = lambda _: None
) -> Package:
    """The workload's model, its tensor bias from the magnitudes of these inputs."""
    batch = len(next(iter(workload.inputs.values())))
    program = lower(workload.model, workload.name, batch)
    return compile_program(program, arch, calibrate=workload.inputs, progress=progress)


def measure(
    workload: Workload,
    model: Package,
    engine: Engine,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict:
    """Figures of a run: dB against float, of the array and of the prediction."""
    program = model.program
    values, _ = real_values(program, workload.inputs)
    name, number = next(iter(program.outputs.items()))
    got = run(model, engine, workload.inputs, progress)[name]
    out = {
        "name": workload.name,
        "array_db": decibels(values[number], got),
        "predicted_db": decibels(values[number], predict(model, workload.inputs)[name]),
        "cycles": engine.cycles,
        "predicted_cycles": sum(model.cycles().values()),
        "runs": engine.runs,
    }
    if workload.labels is not None:
        out["accuracy"] = float((got.argmax(axis=1) == workload.labels).mean())
        out["float_accuracy"] = float((values[number].argmax(axis=1) == workload.labels).mean())
    return out


def main(rtl: bool = False, images: int = IMAGES, rtl_images: int = 16) -> None:
    """Run all workloads on the golden model of ``basic``, the digits models in RTL too.

    The tables go to the screen and, of as many images as by default, to ``docs/models.md``.
    """
    console, arch = Console(stderr=True), CONFIGS["basic"]
    sources, loading_sources = MODELS.sources(), LOADING.sources()
    jobs: list[tuple[Workload, Engine]] = [
        (digits("mlp", images), GoldenEngine(arch)),
        (digits("cnn", images), GoldenEngine(arch)),
        (encoder(), GoldenEngine(arch)),
    ]
    budgeted, rows = [job for job, _ in jobs], []
    on_page = len(jobs)
    if rtl:
        jobs += [
            (digits(name, rtl_images), RtlEngine(arch, effort=LONG)) for name in ("mlp", "cnn")
        ]
    for workload, engine in jobs:
        with console.status(workload.name):
            start = time.monotonic()
            model = compiled(workload, arch)
            middle = time.monotonic()
            row = measure(workload, model, engine)
            end = time.monotonic()
        accuracy = (
            f"{row['accuracy']:.3f} / {row['float_accuracy']:.3f}" if "accuracy" in row else "-"
        )
        rows.append(
            [
                workload.name,
                f"{row['array_db']:.2f}",
                f"{row['predicted_db']:.2f}",
                accuracy,
                f"{row['cycles']:,}",
                f"{row['runs']:,}",
                type(engine).__name__.removesuffix("Engine"),
                f"{middle - start:.1f}",
                f"{end - middle:.1f}",
            ]
        )
        if (
            row["cycles"] != row["predicted_cycles"]
            or abs(row["array_db"] - row["predicted_db"]) > MOST_DECIBELS
        ):
            console.print(
                f"{workload.name}: not as predicted, {row['predicted_cycles']} cycles", style="red"
            )
            raise SystemExit(1)
    show(table("models on basic, PAL8T", (*HEAD, "engine", "seconds: compile", "run"), rows))
    budgets = _budgets(budgeted, arch, console)
    show(table("formats by budget", BUDGET_HEAD, budgets))
    if images == IMAGES:
        MODELS.write(
            markdown(HEAD, (row[: len(HEAD)] for row in rows[:on_page]))
            + _BETWEEN
            + markdown(BUDGET_HEAD, budgets),
            sources,
        )
    if rtl:
        found = _overlapped([digits(name, images) for name in ("mlp", "cnn")], arch, console)
        show(table("programs and loading", LOADING_HEAD, found))
        if images == IMAGES:
            LOADING.write(markdown(LOADING_HEAD, found), loading_sources)


def _budgets(workloads: list[Workload], arch: Architecture, console: Console) -> list[list[str]]:
    """Formats with which the outputs keep a budget, and what they do on the golden model."""
    rows = []
    for workload in workloads:
        with console.status(f"{workload.name} by budget"):
            wide = compiled(workload, arch)
            for budget in BUDGETS:
                formats = choose_formats(wide, workload.inputs, budget)
                model = compile_program(
                    wide.program, arch, calibrate=workload.inputs, formats=formats
                )
                row = measure(workload, model, GoldenEngine(arch))
                words = [sum(m.block_words(i) for i in formats) for m in (model, wide)]
                rows.append(
                    [
                        workload.name,
                        f"{budget:g}",
                        formats_text(formats.values()),
                        f"{row['predicted_db']:.2f}",
                        f"{row['array_db']:.2f}",
                        f"{words[0]:,} / {words[1]:,}",
                    ]
                )
    return rows


def _overlapped(workloads: list[Workload], arch: Architecture, console: Console) -> list[list[str]]:
    """Cycles of all programs with loading, in RTL."""
    rows = []
    for workload in workloads:
        with console.status(f"{workload.name} with loading"):
            recorder = Recorder(arch)
            run(compiled(workload, arch), recorder, workload.inputs)
            alone, overlapped = run_sequence(
                arch, recorder.record, BUILD / "sequence", LONG
            ).values()
        rows.append(
            [
                workload.name,
                *(
                    f"{number:,}"
                    for number in (
                        len(recorder.record),
                        alone["active"],
                        alone["cycles"],
                        overlapped["cycles"],
                        overlapped["idle"],
                    )
                ),
            ]
        )
    return rows


if __name__ == "__main__":
    typer.run(main)
