"""A model to a package: one front end, and the strategy that takes fewer cycles."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from compiler.errors import CompileError, WrongProgram
from compiler.pipeline import compile_chain
from compiler.tensors.chain import Dense, NotAChain, chain_of, fixed_ranges
from compiler.tensors.compile import compile_program
from compiler.tensors.formats import choose_formats
from compiler.tensors.lower import lower
from compiler.tensors.onnx_graph import read, takes_any_batch
from pal_units.formats import PAL8T, PAL8U, Format
from spu.arch.package.compiled import Package
from spu.arch.package.pipeline import Pipeline
from spu.arch.package.program import Program
from spu.arch.package.ranges import Ranges
from spu.arch.params import MATRIX_FORMATS, Architecture

#: One program for a whole chain of dense layers, a program for each step, or the better of both.
Strategy = Literal["auto", "pipeline", "steps"]
STRATEGIES: tuple[Strategy, ...] = ("auto", "pipeline", "steps")


def compile_file(path: Path, arch: Architecture, strategy: Strategy = "auto",
                 fmt: Format = MATRIX_FORMATS[0], batch: int | None = None,
                 dims: Mapping[str, int] | None = None, **options: Any) -> Package | Pipeline:
    """The package of an ONNX file, see ``lower`` and ``compile_model``.

    Where the model leaves the number of vectors open, and no ``batch`` is given, there are many.
    """
    model = read(path)
    return compile_model(lower(model, path.stem, batch, dims), arch, strategy, fmt,
                         many=batch is None and takes_any_batch(model), **options)


def compile_model(program: Program, arch: Architecture, strategy: Strategy = "auto",
                  fmt: Format = MATRIX_FORMATS[0], seed: int = 0, input_max: float | None = None,
                  calibrate: Mapping[str, NDArray] | None = None, budget: float | None = None,
                  many: bool = False, progress: Callable[[str], None] = lambda _: None
                  ) -> Package | Pipeline:
    """Compile a tensor program for an array.

    Parameters
    ----------
    strategy: with ``"auto"``, the one that takes fewer cycles for the vectors of the program's
        input; the package's report says why.
    fmt: of matrix products.
    input_max: largest magnitude of any input of a chain of dense layers, 1 by default: no result
        saturates for these.  In place of it ``calibrate``, inputs by name that show how large
        values become, of any model.
    budget: dB that the outputs keep on the inputs of ``calibrate``, with 4, 6 or 8 bits for each
        product.

    many: vectors come in any number, so that the cycles of each count.

    All strategies have the same tensor biases, and give the same codes.

    Raises
    ------
    CompileError: names the node and the rule; of ``"pipeline"``, why a model is no chain.
    """
    if strategy not in STRATEGIES:
        raise CompileError(f"strategy must be one of {', '.join(STRATEGIES)}, not {strategy!r}")
    if budget is not None and (calibrate is None or fmt not in (PAL8T, PAL8U)):
        raise CompileError("a budget takes inputs to measure with (--calibrate), and a --format of "
                           "8 bits to begin with")
    if budget is not None and strategy == "pipeline":
        raise CompileError("a budget chooses a format for each product, a pipeline has one")
    if input_max is not None and calibrate is not None:
        raise CompileError("--input-max and --calibrate say the same, one of them will do")
    layers, ranges, why = _numerics(program, strategy, input_max, calibrate)
    pipeline, steps = None, None
    if ranges is not None and strategy != "steps" and budget is None:
        pipeline, why = _pipeline(program, layers, ranges, arch, strategy, fmt, seed, progress)
    if strategy != "pipeline":
        try:
            steps = _steps(program, arch, fmt, seed, calibrate, budget, ranges, progress)
        except CompileError as error:
            if pipeline is None or isinstance(error, WrongProgram):
                raise
            why = f"not in steps: {error}"
    shape = program.shape(next(iter(program.inputs.values()))) if program.inputs else ()
    batch = None if many else shape[0] if shape else 1
    cycles = {}
    if pipeline is not None:
        cycles["pipeline"] = int(pipeline.report["ii"]) if batch is None else pipeline.cycles(batch)
    if steps is not None:
        cycles["steps"] = -(-sum(steps.cycles().values()) // (shape[0] if many else 1))
    if strategy != "auto":
        why = "asked for"
    elif len(cycles) == 2:
        why = " or ".join(f"{n} {'in steps' if kind == 'steps' else 'as a pipeline'}"
                          for kind, n in cycles.items())
        why = f"cycles for {'each of many' if batch is None else batch} vectors: {why}"
    said = {"why": why, "batch": batch, "cycles": cycles}
    if steps is None or (pipeline is not None and cycles["pipeline"] <= cycles["steps"]):
        assert pipeline is not None
        return replace(pipeline, report=pipeline.report | {
            "strategy": {"chosen": "pipeline"} | said})
    return replace(steps, strategy={"chosen": "steps"} | said)


def _numerics(program: Program, strategy: Strategy, input_max: float | None,
              calibrate: Mapping[str, NDArray] | None
              ) -> tuple[tuple[Dense, ...], Ranges | None, str]:
    """Layers of a chain and its tensor biases, which all strategies share; or why it is none."""
    try:
        layers = chain_of(program)
        return layers, fixed_ranges(program, layers, input_max, calibrate), (
            "a budget chooses a format for each product, a pipeline has one")
    except NotAChain as error:
        if strategy == "pipeline":
            raise
        if input_max is not None:
            raise CompileError(f"{error}; --input-max is of chains of dense layers, --calibrate of "
                               "all models") from None
        return (), None, str(error)


def _steps(program: Program, arch: Architecture, fmt: Format, seed: int,
           calibrate: Mapping[str, NDArray] | None, budget: float | None, ranges: Ranges | None,
           progress: Callable[[str], None]) -> Package:
    """A program for each step."""
    known: dict[Any, Any] = {}
    steps = compile_program(program, arch, fmt, seed=seed, known=known, progress=progress,
                            calibrate=calibrate, ranges=ranges)
    if budget is None or calibrate is None:
        return steps
    formats = choose_formats(steps, calibrate, budget, lambda done, total: progress(
        f"format of product {done + 1} of {total}"))
    return compile_program(program, arch, fmt, seed=seed, known=known, formats=formats,
                           progress=progress, calibrate=calibrate, ranges=ranges)


def _pipeline(program: Program, layers: tuple[Dense, ...], ranges: Ranges, arch: Architecture,
              strategy: Strategy, fmt: Format, seed: int, progress: Callable[[str], None]
              ) -> tuple[Pipeline | None, str]:
    """A chain as a pipeline, or why there is none."""
    try:
        return compile_chain(program, layers, ranges, arch, fmt, seed, progress).package, ""
    except WrongProgram:
        raise
    except CompileError as error:
        if strategy == "pipeline":
            raise
        return None, str(error)
