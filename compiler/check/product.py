"""Matrix products: every result of every row, and every weight row where a mac finds it."""

import numpy as np
from numpy.typing import NDArray

from compiler.check.machine import Machine
from compiler.check.terms import Terms
from compiler.check.units import formats_of
from compiler.errors import WrongProgram
from spu.arch.bitstream import Image
from spu.arch.config import Space, TileRegister
from spu.arch.package.product import Gemm, matrix_mode, product_rows, with_weights
from spu.arch.params import BLOCK
from spu.arch.program import read_generator


def check_product(plan: Gemm, codes: NDArray, beta: NDArray, offset: int) -> None:
    """Raise ``WrongProgram`` unless a product with weights computes it.

    ``codes``, ``beta``, ``offset``: as for ``with_weights``.  A round is a row of each stream;
    the first ones are executed, and the addresses of weights are compared in all of them.  Of the
    plan are used: which rows of ``x`` a stream has, which outputs a tile, and when words leave.
    """
    machine = Machine(_image(plan), Terms(), weights_by_round=True)
    if machine.timing != plan.timing:
        raise WrongProgram(f"{_name(plan)}: the program has {machine.timing}")
    if (cycles := machine.timing.cycles(plan.rounds)) != plan.cycles:
        raise WrongProgram(f"{_name(plan)}: {cycles} cycles, not {plan.cycles}")
    _check_streams(plan, machine, offset)
    _check_weights(plan, codes, beta)


def check_plan(plan: Gemm) -> None:
    """``check_product`` of a product whose weights are not known yet, with weights of any bits."""
    outputs, depth = plan.weight_shape
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 1 << plan.weights.n, (outputs, depth), np.uint8)
    beta = rng.integers(-99, 1, (outputs, depth // BLOCK), np.int8)
    check_product(with_weights(plan, codes, beta, 1), codes, beta, 1)


def _name(plan: Gemm) -> str:
    return f"a product of {plan.rows} x {plan.depth} x {plan.outputs}"


def _image(plan: Gemm) -> Image:
    assert plan.image is not None
    return plan.image


def _check_streams(plan: Gemm, machine: Machine, offset: int) -> None:
    """Words of the output streams in the rounds that are executed."""
    arch, terms, rounds = plan.arch, machine.terms, machine.rounds
    parts = arch.slices_per_word(plan.fmt)
    slices, per_block = plan.ii * plan.steps, BLOCK // arch.lanes
    formats = formats_of(matrix_mode(arch, offset, plan.fmt, plan.weights))
    words = {
        s: [[terms.number("x", s, r, k) for k in range(slices // parts)] for r in range(rounds)]
        for s in range(len(plan.streams))
    }
    got = machine.run(
        rounds,
        {
            column: [token for row in words[s] for token in row]
            for s, (column, _) in enumerate(plan.streams)
        },
    )

    def dot(stream: int, r: int) -> int:
        """Token of the dot products of a round, with the weights of its pass."""
        base = _pass(plan, r) * slices
        macs = [
            (words[stream][r][k // parts], k % parts, base + k, *formats) for k in range(slices)
        ]
        blocks = [
            (tuple(sorted(macs[b : b + per_block])), macs[b + per_block - 1])
            for b in range(0, slices, per_block)
        ]
        return terms.number("dot", offset, tuple(sorted(blocks)))

    dots = {(s, r): dot(s, r) for s in words for r in range(rounds)}
    tiles = {
        (s, share.group): share.tile
        for s, (_, members) in enumerate(plan.streams)
        for share in members
    }
    for column in range(arch.cols):
        events = sorted(
            (r * slices + time, r, stream, group, word)
            for r in range(rounds)
            for time, stream, group, word in plan.results.get(column, [])
        )
        want = [
            terms.number("drained", tiles[stream, group], dots[stream, r], word)
            for _, r, stream, group, word in events
        ]
        if got.get(column, []) != want:
            raise WrongProgram(
                f"{_name(plan)}: the words of output stream {column} are not its results"
            )
    every = [
        (s, group, word)
        for s, (_, members) in enumerate(plan.streams)
        for group in range(len(members))
        for word in range(arch.words_per_drain)
    ]
    if sorted(result[1:] for results in plan.results.values() for result in results) != every:
        raise WrongProgram(f"{_name(plan)}: not every result leaves, once")


def _pass(plan: Gemm, r: int) -> int:
    """Number of the pass of a round."""
    return r // (plan.rounds // plan.passes) % plan.passes


def _check_weights(plan: Gemm, codes: NDArray, beta: NDArray) -> None:
    """Addresses of all macs, and what is there."""
    arch, slices = plan.arch, plan.ii * plan.steps
    size = arch.weight_rows
    access = np.arange(plan.rounds * slices)
    want = access // (slices * (plan.rounds // plan.passes)) * slices + access % slices
    right = set()
    image, rows = _image(plan), product_rows(plan, codes, beta)
    for _, members in plan.streams:
        for share in members:
            generator = read_generator(image, share.tile, TileRegister.WEIGHT)
            addresses = generator.base, generator.loops
            if addresses not in right and (generator.address(access) % size != want).any():
                raise WrongProgram(f"{_name(plan)}: macs of tile {share.tile} take other weights")
            right.add(addresses)
            for row in range(plan.passes * slices):
                held = image.rows.get((Space.WEIGHT, *share.tile), {}).get(row, 0)
                if held != rows[share.tile, row]:
                    raise WrongProgram(
                        f"{_name(plan)}: weight row {row} of tile {share.tile} is "
                        "not that of the weights"
                    )
