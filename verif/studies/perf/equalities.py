"""Cycles that must be equal: discrete events beside compiler, golden model and RTL."""

from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from compiler.front.lower import lower
from compiler.ir.dataflow import from_json
from compiler.map.loop import kernels
from compiler.map.loop.mapper import grid_architecture, map_dataflow, map_kernel
from compiler.map.product.gemm import gemm
from compiler.map.product.reblock import reblocking
from compiler.map.steps import compile_program
from perf.chips import Chip
from perf.events.chain import Simulation
from perf.events.jobs import jobs_of
from perf.events.loading import load_cycles, read_file
from perf.events.observed import observe
from perf.events.program import read_program
from perf.events.run import run
from perf.events.streams import Pace
from perf.report import report
from perf.systolic import cycles, simulate
from spu.arch import bitstream
from spu.arch.bitstream import Image
from spu.arch.package.compiled import Package
from spu.arch.package.pipeline import Pipeline
from spu.arch.params import CONFIGS
from verif import chain_rtl, edge_rtl
from verif.digits.data import MODEL
from verif.stimulus import dataflows, programs
from verif.stimulus.chains import pipeline
from verif.stimulus.small_models import SMALL
from verif.stimulus.systolic_cases import cases
from verif.studies import models

Row = dict[str, Any]
#: Of runs of programs, iterations or rounds.
ROUNDS = (1, 2, 100)
#: Random programs on each array, random streams and chains, systolic products.
PROGRAMS, STREAMS, CHAINS, SYSTOLIC = 25, 12, 4, 200
#: Images and vectors of models.
VECTORS = 64


def _row(name: str, predicted: float, measured: float) -> Row:
    return {"name": name, "predicted": predicted, "measured": measured}


def rows() -> list[Row]:
    """Every equality; ``predicted`` is what ``perf`` says."""
    return [*_random(), *_streams(), *_loops(), *_programs(), *_models(), *_systolic()]


def _executed(image: Image, rounds: int) -> int:
    """Executed cycles of a program file's only region, by events."""
    return run(read_program(image, 0), rounds).executed


def _random() -> Iterator[Row]:
    """Random programs against the golden model."""
    for arch in (CONFIGS["tiny"], CONFIGS["basic"]):
        for seed in range(PROGRAMS):
            case = programs.random_case(arch, seed)
            found = observe(case.image, case.inputs, case.rounds)
            name = f"golden: random program {seed} on {arch.name}"
            yield _row(name, _executed(case.image, case.rounds[0]), found.cycles[0])


def _streams() -> Iterator[Row]:
    """Holds of slow streams, loading, and runs in a row, against the RTL's edges."""
    arch = CONFIGS["tiny"]
    for seed in range(STREAMS):
        case = programs.random_case(arch, seed)
        (emitted,) = observe(case.image, case.inputs, case.rounds).emitted
        program = replace(read_program(case.image, 0), traced=emitted)
        streams = edge_rtl.random_streams(np.random.default_rng(seed), 2, 2)
        made = run(program, case.rounds[0], streams)
        found = edge_rtl.simulate(case.image, 0, case.rounds[0], streams, emitted)
        for name in ("held_input", "held_output", "left"):
            predicted = getattr(made, name)
            yield _row(f"rtl: random streams {seed}, {name}", predicted, found[name])
    for seed in range(STREAMS // 4):
        content = bitstream.encode(programs.random_case(chain_rtl.SHORT, seed).image)
        pace = Pace.of(1 + seed / 4, seed)
        file = read_file(content, chain_rtl.SHORT)
        yield _row(
            f"rtl: loading of random program {seed}",
            load_cycles(file, pace),
            edge_rtl.simulate_load(content, chain_rtl.SHORT, pace),
        )
    for seed in range(CHAINS):
        simulation, given = chain_rtl.random_chain(seed)
        spans = list(simulation.spans())
        found_spans = chain_rtl.simulate_chain(simulation, given)
        for span, (begin, end, left) in zip(spans, found_spans, strict=True):
            name = f"rtl: chain {seed}, {simulation.jobs.labels[span.job.step]}"
            yield _row(f"{name}, begin", span.begin, begin)
            yield _row(f"{name}, end", span.end, end)
            yield _row(f"{name}, last word", span.left, left)


def _loops() -> Iterator[Row]:
    """Mapped graphs against the mapper's count, kernels against the golden model as well."""
    for name in ("tiny", "basic"):
        for graph in dataflows.KERNELS:
            mapped = map_kernel(from_json(graph), CONFIGS[name])
            image = bitstream.decode(mapped.content, mapped.arch).image
            for rounds in ROUNDS:
                label = f"{graph['name']} on {name}, {rounds} iterations"
                made = _executed(image, rounds)
                yield _row(f"compiler: {label}", made, mapped.cycles(rounds))
            yield _row(
                f"golden: {label}", made, kernels.check(mapped, iterations=ROUNDS[-1]).cycles
            )
    arch = grid_architecture(8, 8, "all")
    for graph in (*dataflows.SMALL, *dataflows.LARGE):
        mapped = map_dataflow(from_json(graph), arch)
        image = bitstream.decode(mapped.content, arch).image
        for rounds in ROUNDS:
            yield _row(
                f"compiler: {graph['name']} on 8x8, {rounds} iterations",
                _executed(image, rounds),
                mapped.cycles(rounds),
            )


def _programs() -> Iterator[Row]:
    """Products and reblocking."""
    rng = np.random.default_rng(0)
    for name, shape in (("tiny", (20, 64, 16)), ("basic", (64, 256, 64)), ("basic", (4, 64, 24))):
        rows, depth, outputs = shape
        plan = gemm(CONFIGS[name], rng.normal(size=(depth, outputs)), rows)
        assert plan.image is not None
        label = f"product {rows} x {depth} x {outputs} on {name}"
        yield _row(f"compiler: {label}", _executed(plan.image, plan.rounds), plan.cycles)
    for name in ("tiny", "basic"):
        arch = CONFIGS[name]
        for fmt in arch.data_formats:
            maker = reblocking(arch, fmt)
            for rounds in ROUNDS:
                yield _row(
                    f"compiler: reblocking to {fmt.name} on {name}, {rounds} rounds",
                    _executed(maker.image, rounds),
                    maker.cycles(rounds),
                )


def _models() -> Iterator[Row]:
    """Compiled models, step by step."""
    for name in ("tiny", "basic"):
        made = pipeline(MODEL, CONFIGS[name])
        chain = Pipeline(made.arch, made.content, made.report, made.layers)
        found = report(Simulation(jobs_of(chain, VECTORS), Chip()))
        yield _row(f"compiler: digits on {name}", found.total.executed, chain.cycles(VECTORS))
    basic = CONFIGS["basic"]
    for workload in (
        models.digits("mlp", VECTORS),
        models.digits("cnn", VECTORS),
        models.encoder(),
    ):
        yield from _steps(workload.name, models.compiled(workload, basic))
    for small in SMALL:
        yield from _steps(small.name, compile_program(lower(small.made()[0], small.name), basic))
    if find_spec("tokenizers") and find_spec("safetensors"):
        from verif.studies.sentences import package

        yield from _steps("all-MiniLM-L6-v2", package())


def _steps(label: str, package: Package) -> Iterator[Row]:
    counted = package.cycles()
    for step in report(Simulation(jobs_of(package), Chip())).steps:
        yield _row(f"compiler: {label}, step {step.number}", step.executed, counted[step.number])


def _systolic() -> Iterator[Row]:
    """Closed forms against words that move."""
    rng = np.random.default_rng(1)
    for i, case in enumerate(cases(SYSTOLIC, seed=0, most=12, largest=8)):
        x, w = rng.integers(-9, 9, (case.m, case.k)), rng.integers(-9, 9, (case.k, case.n))
        sizes = case.m, case.n, case.k, case.rows, case.columns
        _, last = simulate(case.dataflow, x, w, case.rows, case.columns)
        yield _row(f"systolic {case.dataflow.value} {i}", cycles(case.dataflow, *sizes), last)
