"""A model to a package: one front end, and the strategy that takes fewer cycles."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

from onnx import ModelProto

from compiler.errors import CompileError, WrongProgram
from compiler.front.any_count import is_open, mixing_node
from compiler.front.fixed import fixed
from compiler.front.lower import lower
from compiler.front.onnx_graph import read
from compiler.ir.builder import MOST_ELEMENTS
from compiler.map.pipeline.chain import Dense, NotAChain, chain_of, fixed_ranges, same_layers
from compiler.map.pipeline.compile import compile_chain
from compiler.map.steps import compile_program
from compiler.passes.formats import choose_formats
from compiler.passes.samples import Given, Samples, checked
from compiler.strategies import STRATEGIES, Strategy
from pal_units.formats import PAL8T, Format
from spu.arch.package.compiled import Package
from spu.arch.package.pipeline import Pipeline
from spu.arch.package.program import Program
from spu.arch.package.ranges import Ranges
from spu.arch.params import Architecture

#: The program of a model for a number of vectors.
Probes = Callable[[int], Program]
#: Numbers of vectors for which a chain of any number is tried beside one, when its nodes take
#: vectors alike; a run takes no more than the most, so that all runs lie between what was tried.
VECTORS = (3, 4093)
#: Vectors for which strategies are compared where a model takes any number.
COMPARED = 64


def compile_file(
    path: Path,
    arch: Architecture,
    strategy: Strategy = "auto",
    fmt: Format = PAL8T,
    batch: int | None = None,
    dims: Mapping[str, int] | None = None,
    fix: Mapping[str, float] | None = None,
    **options: Any,
) -> Package | Pipeline:
    """The package of an ONNX file, see ``fixed``, ``lower`` and ``compile_model``.

    Where the model leaves the number of vectors open, and neither ``batch`` nor ``dims`` says it,
    there are many.
    """
    model = fixed(read(path), fix or {})
    return compile_model(
        lower(model, path.stem, batch, dims),
        arch,
        strategy,
        fmt,
        probes=probes_of(model, path.stem, batch, dims),
        **options,
    )


def probes_of(
    model: ModelProto, name: str, batch: int | None = None, dims: Mapping[str, int] | None = None
) -> Probes | None:
    """The program for other numbers of vectors, if the model leaves these open: see ``lower``.

    Raises, when called, ``NotAChain`` for a model that does not take so many, or may do something
    else with them.
    """
    if batch is not None or not is_open(model, dims or {}):
        return None
    mixing = mixing_node(model)

    def probe(count: int) -> Program:
        if mixing is not None:
            raise NotAChain(
                f"{mixing.op_type} node {mixing.name or mixing.output[0]!r}: may do something else "
                "with another number of vectors, which is left open; --batch N says it"
            )
        try:
            return lower(model, name, count, dims)
        except CompileError as error:
            raise NotAChain(f"{error}, with {count} vectors") from None

    return probe


def compile_model(
    program: Program,
    arch: Architecture,
    strategy: Strategy = "auto",
    fmt: Format = PAL8T,
    seed: int = 0,
    input_max: float | None = None,
    calibrate: Given | None = None,
    budget: float | None = None,
    probes: Probes | None = None,
    progress: Callable[[str], None] = lambda _: None,
    weights: Format | None = None,
) -> Package | Pipeline:
    """Compile a tensor program for an array.

    Parameters
    ----------
    strategy: with ``"auto"``, the one that takes fewer cycles for the vectors of the program's
        input; the package's report says why.
    fmt: of matrix products, one of the array's.
    weights: of constant weights, by default that of the product's data.
    input_max: largest magnitude of any input of a chain of dense layers, 1 by default: no result
        saturates for these.  In place of it ``calibrate``, inputs by name that show how large
        values become, of any model: one set of them or several, see ``Samples``.
    budget: dB that the outputs keep on the inputs of ``calibrate``, with 4, 6 or 8 bits for each
        product.

    probes: the program for other numbers of vectors, if these come in any number: strategies are
        compared for ``COMPARED`` then, and a chain must be one for all of ``VECTORS``.

    All strategies have the same tensor biases, and give the same codes.

    Raises
    ------
    CompileError: names the node and the rule; of ``"pipeline"``, why a model is no chain.
    """
    try:
        fmt = arch.data_format(fmt)
        weights = None if weights is None else arch.weight_format(weights)
    except ValueError as error:
        raise CompileError(str(error)) from None
    if strategy not in STRATEGIES:
        raise CompileError(f"strategy must be one of {', '.join(STRATEGIES)}, not {strategy!r}")
    if budget is not None and (calibrate is None or fmt.n != 8):
        raise CompileError(
            "a budget takes inputs to measure with (--calibrate), and a --format of "
            "8 bits to begin with"
        )
    if budget is not None and strategy == "pipeline":
        raise CompileError("a budget chooses a format for each product, a pipeline has one")
    if input_max is not None and calibrate is not None:
        raise CompileError("--input-max and --calibrate say the same, one of them will do")
    if input_max is not None and (not isinstance(input_max, Real) or isinstance(input_max, bool)):
        raise CompileError(f"the input bound must be a number, not {input_max!r}")
    if budget is not None and not 0 < budget < float("inf"):
        raise CompileError(f"a budget is a positive number of dB, not {budget:g}")
    shown = None if calibrate is None else checked(program, calibrate)
    shape = program.shape(next(iter(program.inputs.values()))) if program.inputs else ()
    most = _most_vectors(program) if probes else 0
    layers, ranges, why = _numerics(program, arch, strategy, input_max, shown, probes, most)
    batch = shape[0] if shape else 1
    if probes is not None and ranges is not None and strategy != "steps" and budget is None:
        batch = min(COMPARED, most)
    pipeline, steps, refused, cycles = None, None, None, dict[str, int]()
    if strategy != "pipeline":
        known: dict[Any, Any] = {}
        try:
            one = _steps(program, arch, fmt, weights, seed, shown, budget, ranges, known, progress)
            several = one
            if probes is not None and batch != shape[0]:
                many = probes(batch)
                again = fixed_ranges(
                    many, chain_of(many), arch, input_max, shown and shown.repeated(batch)
                )
                several = compile_program(
                    many, arch, fmt, seed=seed, known=known, ranges=again, weights=weights
                )
            steps, cycles["steps"] = one, sum(several.cycles().values())
        except CompileError as error:
            if ranges is None or strategy == "steps" or isinstance(error, WrongProgram):
                raise
            refused = error
    if ranges is not None and strategy != "steps" and budget is None:
        # At a larger II it takes more cycles than the steps.
        largest = cycles["steps"] // max(batch, 1) if steps else arch.contexts
        try:
            pipeline = compile_chain(
                program,
                layers,
                ranges,
                arch,
                fmt,
                seed,
                largest,
                (1, most) if probes else (batch, batch),
                progress,
                weights,
            ).package
        except CompileError as error:
            if strategy == "pipeline" or isinstance(error, WrongProgram):
                raise
            if refused is not None:
                raise refused from None
            why = str(error)
    elif refused is not None:
        raise refused
    if pipeline is not None:
        cycles["pipeline"] = pipeline.cycles(batch)
    if strategy != "auto":
        why = "asked for"
    elif refused is not None:
        why = f"not in steps: {refused}"
    elif len(cycles) == 2:
        why = (
            f"cycles for {batch} vector{'s' * (batch != 1)}: {cycles['pipeline']} as a "
            f"pipeline or {cycles['steps']} in steps"
        )
    said = {"why": why, "batch": batch, "cycles": cycles}
    if steps is None or (pipeline is not None and cycles["pipeline"] <= cycles["steps"]):
        assert pipeline is not None
        return replace(
            pipeline, report=pipeline.report | {"strategy": {"chosen": "pipeline"} | said}
        )
    return replace(steps, strategy={"chosen": "steps"} | said)


def _most_vectors(program: Program) -> int:
    """The most of ``VECTORS``, or as many as fit a tensor of a program of one vector."""
    widest = max((t.size for t in program.tensors if t.constant is None), default=1)
    return max(1, min(VECTORS[-1], MOST_ELEMENTS // max(widest, 1)))


def _numerics(
    program: Program,
    arch: Architecture,
    strategy: Strategy,
    input_max: float | None,
    calibrate: Samples | None,
    probes: Probes | None,
    most: int,
) -> tuple[tuple[Dense, ...], Ranges | None, str]:
    """Layers of a chain and its tensor biases, which all strategies share; or why it is none."""
    try:
        layers = chain_of(program)
        for count in sorted({min(VECTORS[0], most), most}) if probes is not None else ():
            assert probes is not None
            many = probes(count)
            shapes = [p.shape(t)[1:] for p in (program, many) for t in p.outputs.values()]
            if not same_layers(layers, chain_of(many)) or shapes[0] != shapes[1]:
                raise NotAChain(
                    f"{program.name}: what becomes of a vector depends on how many there are"
                )
    except NotAChain as error:
        if strategy == "pipeline":
            raise
        if input_max is not None:
            raise CompileError(
                f"{error}; --input-max is of chains of dense layers, --calibrate of all models"
            ) from None
        return (), None, str(error)
    try:
        return (
            layers,
            fixed_ranges(program, layers, arch, input_max, calibrate),
            ("a budget chooses a format for each product, a pipeline has one"),
        )
    except NotAChain as error:
        if strategy == "pipeline" or input_max is not None:
            raise
        return (), None, str(error)


def _steps(
    program: Program,
    arch: Architecture,
    fmt: Format,
    weights: Format | None,
    seed: int,
    calibrate: Samples | None,
    budget: float | None,
    ranges: Ranges | None,
    known: dict[Any, Any],
    progress: Callable[[str], None],
) -> Package:
    """A program for each step; ``known``: see ``compile_program``."""
    compiled = partial(
        compile_program,
        program,
        arch,
        fmt,
        seed=seed,
        known=known,
        progress=progress,
        calibrate=calibrate,
        ranges=ranges,
        weights=weights,
    )
    steps = compiled()
    if budget is None or calibrate is None:
        return steps
    formats = choose_formats(
        steps,
        calibrate,
        budget,
        lambda done, total: progress(f"format of product {done + 1} of {total}"),
    )
    return compiled(formats=formats)
