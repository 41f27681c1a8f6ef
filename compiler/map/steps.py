"""Tensor programs on an array: kernels and products mapped, one program file each."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from compiler.check.product import check_plan
from compiler.errors import CompileError, Refusal, Refused
from compiler.ir.expressions import dataflow
from compiler.map.arrays import check_array
from compiler.map.loop.mapper import Mapped, map_kernel, prepare
from compiler.map.product.gemm import plan_gemm
from compiler.map.product.reblock import reblocking
from compiler.passes.ranges import DEFAULT_BIAS, choose
from compiler.passes.samples import Given
from pal_units import model
from pal_units.formats import PAL8T, Format
from spu.arch.config import ADDRESS_LOOP, OFFSET_BITS
from spu.arch.operations import IN, OUT
from spu.arch.package.compiled import (
    MOST_ROUNDS,
    Kernel,
    Package,
    Piece,
    Work,
    depth_parts,
    partial_sums,
)
from spu.arch.package.product import Gemm
from spu.arch.package.program import Map, Product, Program, Step
from spu.arch.package.ranges import Ranges
from spu.arch.params import BLOCK, Architecture

#: Rounds of a pass, which a loop of the generator of weight addresses counts.
MOST_COUNT = 1 << ADDRESS_LOOP["count_less_1"].width

#: A planned product: rows, depth, outputs, formats of data and of weights.
Key = tuple[int, int, int, Format, Format]


def kernel_of(mapped: Mapped) -> Kernel:
    """What is kept of a mapping to run it."""
    nodes, placed = mapped.graph.nodes, mapped.placed
    ins, outs = (
        [
            (placed.tile[n][1], placed.time[n])
            for n in sorted(mapped.graph.operations)
            if nodes[n].op == op
        ]
        for op in (IN, OUT)
    )
    return Kernel(mapped.content, placed.ii, mapped.bounds.mii, mapped.span, tuple(ins), outs[0])


def compile_program(
    program: Program,
    arch: Architecture,
    fmt: Format = PAL8T,
    bias: int = DEFAULT_BIAS,
    seed: int = 0,
    known: dict[Work, Kernel] | None = None,
    formats: Mapping[int, Format] | None = None,
    progress: Callable[[str], None] = lambda _: None,
    calibrate: Given | None = None,
    ranges: Ranges | None = None,
    weights: Format | None = None,
) -> Package:
    """Map all kernels and products of a program; each is checked, see ``compiler.check``.

    ``bias``, and ``calibrate``, sets of inputs by name: see ``ranges.choose``; ``ranges`` in place
    of what it chooses.  ``known``: kernels mapped before; new ones are added.  ``formats``: of
    products by the number of their step, in place of ``fmt``; ``weights``: of constant weights,
    None for that of the other operand.

    Raises
    ------
    CompileError: as ``ranges.choose``; an array of several regions or without the units;
        ``Refused`` with every product and kernel that does not fit.
    """
    known = {} if known is None else known
    plans: dict[Key, Gemm] = {}
    products = [i for i, step in enumerate(program.steps) if isinstance(step, Product)]
    chosen = dict.fromkeys(products, fmt) | dict(formats or {})
    check_array(arch, bool(products))
    try:
        reblocks = {each: reblocking(arch, each) for each in dict.fromkeys(chosen.values())}
    except ValueError as error:
        raise CompileError(str(error)) from None
    if ranges is None:
        program, ranges = choose(program, bias, calibrate)
    compiled = Package(program, arch, ranges, chosen, reblocks, weights=weights)
    refused: list[Refusal] = []
    for i in products:
        step = program.steps[i]
        assert isinstance(step, Product)
        progress(f"product {i}")
        try:
            _check_weights(program, step, ranges, compiled.bias(step.a))
            formats_of = chosen[i], compiled.weight_format(i)
            compiled.pieces[i] = tuple(_pieces(program, step, arch, formats_of, seed, plans))
        except CompileError as error:
            refused.append(Refusal.at(program.label(step), error))
    parts = [piece.plan for pieces in compiled.pieces.values() for piece in pieces]
    for plan in {id(plan): plan for plan in parts}.values():
        check_plan(plan)
    needed: list[tuple[Work, Step]] = [
        (compiled.work(i), s) for i, s in enumerate(program.steps) if isinstance(s, Map)
    ]
    needed += [
        (work, program.steps[i])
        for i, pieces in compiled.pieces.items()
        for work in partial_sums(depth_parts(pieces), ranges.tensors[program.steps[i].out])
    ]
    failed: dict[Work, CompileError] = {}
    if any(work not in known for work, _ in needed):
        prepare(lambda: progress("the search, once for each installation"))
    for work, step in needed:
        if work not in known and work not in failed:
            progress(f"kernel {len(compiled.kernels) + len(failed)}")
            expression, biases = work
            try:
                known[work] = kernel_of(
                    map_kernel(
                        dataflow(
                            expression,
                            f"kernel {len(compiled.kernels)}",
                            dict(zip(expression.steps(), biases, strict=True)),
                        ),
                        arch,
                        seed,
                    )
                )
            except CompileError as error:
                failed[work] = error
        if work in failed:
            refused.append(Refusal.at(program.label(step), failed[work]))
        else:
            compiled.kernels[work] = known[work]
    if refused:
        raise Refused(refused)
    return compiled


def _check_weights(program: Program, step: Product, ranges: Ranges, bias: int) -> None:
    """Raise if known weights make results so large that the ratio fits no matrix mode."""
    values = program.tensors[step.b].constant
    if values is None or not values.any():
        return
    offset = ranges.tensors[step.out] - bias - int(model.bias_for(np.abs(values).max()))
    if offset < -(1 << OFFSET_BITS - 1):
        raise CompileError(
            f"{program.label(step)}: results are held up to "
            f"2^{ranges.tensors[step.out] / 8:g}, {-offset / 8:g} octaves below "
            "what operands and weights may give, more than "
            f"{1 << OFFSET_BITS - 4}"
        )


def _pieces(
    program: Program,
    step: Product,
    arch: Architecture,
    formats: tuple[Format, Format],
    seed: int,
    plans: dict[Key, Gemm],
) -> list[Piece]:
    """Cut a product so that the weights of each piece fit the weight memories, and its rows the
    counters of a run."""
    _, rows, depth = program.shape(step.a)
    outputs = program.shape(step.out)[2]
    most_depth = arch.weight_rows * arch.lanes // BLOCK * BLOCK
    parts = -(-depth // most_depth)
    each = -(-depth // parts // BLOCK) * BLOCK
    slices = -(-min(each, depth) // BLOCK) * BLOCK // arch.lanes
    once = len(arch.matrix_tiles) * arch.columns
    for width in range(once * (arch.weight_rows // slices), 0, -once):
        pieces = []
        try:
            for first in range(0, outputs, width):
                for start in range(0, depth, each):
                    d = range(start, min(start + each, depth))
                    o = range(first, min(first + width, outputs))
                    key = rows, len(d), len(o), *formats
                    if key not in plans:
                        plans[key] = plan_gemm(arch, *key[:3], key[3], seed, key[4])
                    pieces += [Piece(r, d, o, plan) for r, plan in _by_rows(plans, key)]
        except CompileError:
            if width == once:
                raise
            continue
        return pieces
    raise CompileError(
        f"a depth of {each} does not fit the {arch.weight_rows} weight rows of {arch.name}"
    )


def _by_rows(plans: dict[Key, Gemm], key: Key) -> list[tuple[range, Gemm]]:
    """Rows of a planned product, cut equally into as few runs as counters of rounds allow.

    How a product is arranged does not depend on its rows, if each stream has some.
    """
    whole, rows = plans[key], key[0]
    streams = len(whole.streams)
    most = min(MOST_COUNT, MOST_ROUNDS // whole.passes) * streams
    each = -(-rows // -(-rows // most) // streams) * streams if rows > most else rows
    cut = []
    for first in range(0, rows, each):
        taken = range(first, min(first + each, rows))
        part = (len(taken), *key[1:])
        if part not in plans:
            plans[part] = replace(whole, rows=len(taken))
        cut.append((taken, plans[part]))
    return cut
