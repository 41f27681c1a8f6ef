"""Programs with one field changed, to see that what makes a difference is refused.

    python -m verif.program_mutants [COUNT] [SEED]

For each kind of program: so many changed ones go through the check of their kind, and those that
it takes run on the golden model.  What changes words or cycles must have been refused.
"""

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.check.loop import check_loop
from compiler.check.pipeline import check_pipeline
from compiler.check.product import check_product
from compiler.check.reblock import check_reblocking
from compiler.errors import WrongProgram
from compiler.ir.dataflow import from_json
from compiler.ir.operations import Function
from compiler.map.loop import kernels
from compiler.map.loop.mapper import grid_architecture, map_dataflow, map_kernel
from compiler.map.product.gemm import gemm
from compiler.map.product.reblock import reblocking
from pal_units import model
from pal_units.formats import PAL4T, PAL8T
from spu.arch import bitstream
from spu.arch.bitstream import Image
from spu.arch.config import Guard, Space, depth, row_layout
from spu.arch.context import Source
from spu.arch.operations import IN
from spu.arch.packing import Layout, pack, unpack
from spu.arch.params import CONFIGS
from spu.arch.program import Tile, read_timing
from spu.engine.streams import input_streams
from spu.model import words as w
from spu.model.array import GoldenArray
from spu.model.region import RegionModel
from spu.model.tile import Slot
from spu.model.words import Stream, Words
from verif.stimulus import dataflows
from verif.stimulus.chains import Layer, pipeline, program_of

#: Spaces in which a change can make a difference.
SPACES = (
    Space.CONTEXT,
    Space.CONSTANT,
    Space.REGISTER,
    Space.WEIGHT,
    Space.SEQUENCER,
    Space.STREAM,
)


#: Cycles and words of a run, or None if it has no end.
Behaviour = tuple[int, object] | None


@dataclass(frozen=True)
class Subject:
    """A program, what the golden model does with an image of it, and its check, given an image."""

    image: Image
    behaviour: Callable[[Image], Behaviour]
    check: Callable[[Image], None]


def _golden(image: Image, inputs: Mapping[int, Stream], rounds: int) -> Behaviour:
    try:
        result = GoldenArray(image).run(inputs, rounds, keep_links=False)
    except (ValueError, IndexError):
        # Words that never come, and codes that stand for nothing.
        return None
    return result.cycles, result.outputs


def mutants(image: Image, count: int, seed: int) -> Iterator[tuple[str, Image]]:
    """Images with another value in one field of one row, and what was changed.

    Spaces alike; two in three rows are written ones, of registers and sequencer rows others are 0.
    """
    rng = np.random.default_rng(seed)
    written: dict[Space, list[tuple[Tile, int]]] = {}
    places: dict[Space, list[tuple[Tile, int]]] = {}
    for (space, *tile), rows in sorted(image.rows.items(), key=str):
        every = (
            range(depth(space, image.arch)) if space in (Space.REGISTER, Space.SEQUENCER) else rows
        )
        for kept, numbers in ((written, rows), (places, every)):
            kept.setdefault(space, []).extend(((tile[0], tile[1]), row) for row in sorted(numbers))
    chosen = [space for space in SPACES if space in places]
    for _ in range(count):
        space = chosen[rng.integers(len(chosen))]
        among = (places if rng.random() < 1 / 3 else written)[space]
        place, row = among[rng.integers(len(among))]
        value = image.read(space, place, row)
        path, changed = _changed(row_layout(space, row, image.arch), value, rng)
        out = image.copy()
        out.write(space, place, row, changed)
        yield f"{space.name} {place} row {row} {path}", out


def _changed(layout: Layout, value: Any, rng: np.random.Generator) -> tuple[str, Any]:
    """The value of a layout with one of its numbers changed, and where."""
    if layout.kind is int:
        bits = pack(layout, value) ^ (1 << int(rng.integers(layout.width)))
        if rng.random() < 0.5:
            bits = int(rng.integers(1 << min(layout.width, 62)))
        return "", unpack(layout, bits)
    fields = [(key, field) for key, _, field in layout.fields if field.width]
    key, field = fields[rng.integers(len(fields))]
    path, changed = _changed(field, value[key], rng)
    copy = dict(value) if layout.kind is dict else list(value)
    copy[key] = changed
    return f".{key}{path}", copy


def _pipeline() -> Subject:
    rng = np.random.default_rng(1)
    layers = tuple(
        Layer(f"layer{i}", rng.normal(size=shape), rng.normal(size=shape[1]), relu)
        for i, (shape, relu) in enumerate((((40, 64), True), ((64, 10), False)))
    )
    arch = CONFIGS["basic"]
    made = pipeline(program_of("mutant", layers), arch)
    rounds = 12
    columns: dict[int, list[int]] = {}
    for (column, _), word in sorted(made.mapping.reads.items(), key=lambda read: read[0][1]):
        columns.setdefault(column, []).append(word)
    bits = rng.integers(0, 256, (rounds, 64, 8))
    inputs = {
        column: [
            (int.from_bytes(bits[r, word].astype(np.uint8).tobytes(), "little"), 248)
            for r in range(rounds)
            for word in words
        ]
        for column, words in columns.items()
    }
    return Subject(
        made.image,
        lambda image: _golden(image, inputs, rounds),
        lambda image: check_pipeline(
            image, made.quantised, made.mapping.timing, made.mapping.reads, made.mapping.emitted
        ),
    )


def _product() -> Subject:
    rng = np.random.default_rng(2)
    arch = CONFIGS["basic"]
    weight, x = rng.normal(size=(96, 150)), rng.uniform(-1, 1, (7, 96))
    plan = gemm(arch, weight, len(x), PAL4T, t_out=40)
    padded = np.zeros(plan.weight_shape)
    padded[: plan.outputs, : plan.depth] = weight.T
    codes, beta, t_weight = model.encode_blocks(padded, PAL4T)
    assert plan.image is not None
    inputs = input_streams(plan, x)
    return Subject(
        plan.image,
        lambda image: _golden(image, inputs, plan.rounds),
        lambda image: check_product(replace(plan, image=image), codes, beta, 40 - t_weight),
    )


def _reblock() -> Subject:
    plan, rounds = reblocking(CONFIGS["basic"], PAL8T), 12
    rng = np.random.default_rng(3)
    inputs = {
        column: [
            (int(rng.integers(1 << 62)), 0) for _ in range(rounds * plan.arch.pushes_per_block)
        ]
        for column in plan.columns
    }
    return Subject(
        plan.image,
        lambda image: _golden(image, inputs, rounds),
        lambda image: check_reblocking(replace(plan, image=image)),
    )


def _kernel() -> Subject:
    rounds = 110
    mapped = map_kernel(from_json(dataflows.hash_words()), CONFIGS["basic"])
    inputs = kernels.streams(mapped, kernels.random_inputs(mapped, rounds, 4), IN)
    return Subject(
        bitstream.decode(mapped.content, mapped.arch).image,
        lambda image: _golden(image, inputs, rounds),
        lambda image: check_loop(mapped, image),
    )


def _dataflow() -> Subject:
    """Operations without meaning: the golden model has some that mix their words."""
    mapped = map_dataflow(from_json(dataflows.random_body(3, 20)), grid_architecture(3, 3, "all"))

    def words(image: Image) -> Behaviour:
        arch = image.arch
        memory = [np.zeros((1, arch.memory_words, arch.lanes16 + 1), np.uint16)] * len(arch.tiles)
        region = _Mixing(image, mapped.functions, mapped.executed + 10, memory)
        while not region.done:
            region.step({})
        return region.cycles, region.made

    return Subject(
        bitstream.decode(mapped.content, mapped.arch).image,
        words,
        lambda image: check_loop(mapped, image),
    )


class _Mixing(RegionModel):
    """A region whose operations are ``functions``; what they mix from their operands is ``made``.

    Operations without words of their iteration mix how often they happened.
    """

    def __init__(
        self,
        image: Image,
        functions: Mapping[tuple[Tile, int], Function],
        rounds: int,
        memory: Sequence[NDArray],
    ) -> None:
        # The codes are no operations of the array, of which the region knows nothing then.
        self.functions = functions
        self.codes = {
            (tile, slot): image.read(Space.CONTEXT, tile, slot)
            for tile in image.arch.tiles
            for slot in range(image.arch.contexts)
        }
        super().__init__([image], 0, rounds, 1, memory)
        self.made: dict[tuple, bytes] = {}
        self.count: Counter[tuple[Tile, int]] = Counter()

    def _operations(
        self, plan: Slot, a: Words, b: Words, c: Words, slot: int, iteration: int
    ) -> None:
        self.pushed = []
        for t, tile in enumerate(self.tiles):
            context = self.codes[tile, slot]
            if not context["op"]:
                continue
            if (tile, context["op"]) not in self.functions:
                raise ValueError(f"no operation {context['op']}")
            function, ports = self.functions[tile, context["op"]], {"a": a, "b": b, "c": c}
            if (
                context["guarded"] and not self._guard(self.units[t], Guard.OP, slot, iteration)
            ) or not all(w.valid(ports[p][t]).all() for p in function.needs):
                continue
            mixed = hashlib.sha256(function.op.encode())
            for port in function.ports:
                mixed.update(ports[port][t].tobytes())
            if not function.needs:
                self.count[tile, slot] += 1
                mixed.update(repr((tile, slot, self.count[tile, slot])).encode())
            self.made[tile, slot, self.cycle] = mixed.digest()
            data = np.frombuffer(mixed.digest(), "<u2")[None, : self.arch.lanes16]
            self._deliver(Source.ALU, t, w.build(data, 0, np.ones(1, bool)))


#: By the name of what makes them.
SUBJECTS: Mapping[str, Callable[[], Subject]] = {
    "pipeline": _pipeline,
    "product": _product,
    "reblock": _reblock,
    "kernel": _kernel,
    "dataflow": _dataflow,
}


def missed(subject: Subject, count: int, seed: int) -> tuple[int, list[str]]:
    """How many mutants are taken, and what was changed in those of them that differ."""
    own = subject.behaviour(subject.image)
    subject.check(subject.image)
    taken, found = 0, []
    for what, image in mutants(subject.image, count, seed):
        try:
            subject.check(image)
        except WrongProgram:
            continue
        taken += 1
        if read_timing(image) != read_timing(subject.image) or subject.behaviour(image) != own:
            found.append(what)
    return taken, found


def main() -> None:
    count, seed = (int(x) for x in (*sys.argv[1:], *("200", "0")[len(sys.argv) - 1 :]))
    print("| made by | mutants | refused | taken | taken that differ |")
    print("|---|---|---|---|---|")
    wrong = []
    for name, make in SUBJECTS.items():
        taken, found = missed(make(), count, seed)
        print(f"| {name} | {count} | {count - taken} | {taken} | {len(found)} |", flush=True)
        wrong += [f"{name}: {what}" for what in found]
    print(*wrong, sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
