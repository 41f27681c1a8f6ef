"""Runs that a compiled model asks of an array, in order, and the files that are loaded for them."""

from dataclasses import dataclass, field

import numpy as np

from pal_units.formats import Format
from perf.events.loading import File, read_file
from perf.events.observed import observe
from perf.events.program import EVERY, Predicate, Program, Transfer, read_program
from spu.arch import bitstream
from spu.arch.bitstream import Image
from spu.arch.blocks import empty_block
from spu.arch.package.compiled import MOST_ROUNDS, Package, Piece, Work, depth_parts, partial_sums
from spu.arch.package.pipeline import Pipeline
from spu.arch.package.product import Gemm, with_weights
from spu.arch.package.program import Map, Product
from spu.arch.params import BLOCK, LOOPS, Architecture, Port

#: The iteration that ends all loops but the outermost.
_LAST = Predicate(last=tuple(range(LOOPS - 1)))
#: A program, by what it is of; of products with the number of its weights.
Key = tuple


@dataclass(frozen=True)
class Job:
    """A run: ``rounds`` of the outermost loop of the program ``key``.

    ``step``: of the model, by number; ``macs`` that the model asks for.
    """

    step: int
    key: Key
    rounds: int
    macs: int = 0


@dataclass
class Jobs:
    """All runs of a compiled model; ``labels`` of its steps by number.

    ``programs`` and ``images`` are by key.
    """

    arch: Architecture
    jobs: list[Job] = field(default_factory=list)
    labels: dict[int, str] = field(default_factory=dict)
    programs: dict[Key, Program] = field(default_factory=dict)
    images: dict[Key, Image] = field(default_factory=dict)
    _files: dict[tuple[Key, Key | None], File] = field(default_factory=dict)

    def file(self, key: Key, shadow: Key | None = None) -> File:
        """What is loaded to have a program where another is, as the driver does it.

        These are changes alone where that is shorter.
        """
        found = self._files.get((key, shadow))
        if found is None:
            image = self.images[key]
            content = bitstream.encode(image)
            if shadow is not None:
                changes = bitstream.encode(image, None, self.images[shadow], 1)
                content = min(content, changes, key=len)
            found = self._files[key, shadow] = read_file(content, self.arch)
        return found


def jobs_of(package: Package | Pipeline, vectors: int = 1) -> Jobs:
    """All runs of a model, a pipeline's with so many vectors.

    Files for products are those of weights without equal rows: of a model whose weights have such,
    as zeros, they can be shorter, since rows that are alike are sent once.
    """
    if isinstance(package, Pipeline):
        return _of_pipeline(package, vectors)
    return _Steps(package).made


def _of_pipeline(package: Pipeline, vectors: int) -> Jobs:
    made = Jobs(package.arch, labels={0: str(package.report["name"])})
    key = ("pipeline",)
    made.images[key] = package.image
    made.programs[key] = _observed(package.image)
    macs = sum(layer.weight.size for layer in package.layers)
    made.jobs.append(Job(0, key, vectors, macs * vectors))
    return made


def _observed(image: Image) -> Program:
    """A program all of whose iterations are alike: a run of one shows when its words leave."""
    program = read_program(image, 0)
    words: dict[int, int] = {}
    for transfer in program.reads:
        words[transfer.stream] = words.get(transfer.stream, 0) + 1
    ports = image.arch.inputs(0)
    inputs = {ports[stream].col: [(0, 0)] * count for stream, count in words.items()}
    (emitted,) = observe(image, inputs, 1).emitted
    emits = [Transfer(stream, time) for stream, times in emitted.items() for time in times]
    return read_program(image, 0, emits)


class _Steps:
    """The runs of a model in steps, as ``spu.engine.host`` asks for them."""

    def __init__(self, package: Package) -> None:
        self.package, self.arch = package, package.arch
        self.made = Jobs(package.arch)
        self.of_kernel = {work: i for i, work in enumerate(package.kernels)}
        self.of_plan: dict[int, int] = {}
        self.weights = 0
        self.columns = {
            port.col: stream
            for stream, port in enumerate(self.arch.outputs(0))
            if port == Port(self.arch.rows - 1, port.col, "south")
        }
        program = package.program
        for i, step in enumerate(program.steps):
            if isinstance(step, (Map, Product)):
                self.made.labels[i] = program.label(step)
                size = program.tensors[step.out].size
                if isinstance(step, Map):
                    self._kernel(i, package.work(i), size)
                else:
                    self._product(i, step, size)

    def _run(self, step: int, key: Key, rounds: int, macs: int = 0) -> None:
        """Runs of at most as many rounds as the host's register holds."""
        for first in range(0, rounds, MOST_ROUNDS):
            part = min(MOST_ROUNDS, rounds - first)
            self.made.jobs.append(Job(step, key, part, macs * part // rounds))

    def _kernel(self, step: int, work: Work, size: int) -> None:
        kernel, key = self.package.kernels[work], ("kernel", self.of_kernel[work])
        if key not in self.made.images:
            image = bitstream.decode(kernel.content, self.arch).image
            self._add(key, image, [self._out(*kernel.out)])
        self._run(step, key, self.package.words(size))

    def _out(self, column: int, time: int, predicate: Predicate = EVERY) -> Transfer:
        return Transfer(self.columns[column], time, predicate)

    def _add(self, key: Key, image: Image, emits: list[Transfer]) -> None:
        self.made.images[key] = image
        self.made.programs[key] = read_program(image, 0, emits)

    def _product(self, i: int, step: Product, size: int) -> None:
        package, fmt = self.package, self.package.formats[i]
        for blocks in package.reblocked(step):
            if blocks:
                self._reblock(i, fmt, blocks)
        for piece in package.pieces[i] * package.program.shape(step.a)[0]:
            self._piece(i, piece)
        for work in partial_sums(depth_parts(package.pieces[i]), package.ranges.tensors[step.out]):
            self._kernel(i, work, size)

    def _reblock(self, step: int, fmt: Format, blocks: int) -> None:
        maker, key = self.package.reblocks[fmt], ("reblock", fmt.name)
        if key not in self.made.images:
            # The words of a block leave one after another, the last of them in the last cycle.
            count = self.arch.words_per_block(fmt)
            program = read_program(maker.image, 0)
            stage, slot = program.end
            last = stage * program.ii + slot
            self._add(
                key,
                maker.image,
                [self._out(c, last - k) for c in maker.columns for k in range(count)],
            )
        self._run(step, key, -(-blocks // len(maker.columns)))

    def _piece(self, step: int, piece: Piece) -> None:
        """A part of a product, with weights of its own."""
        plan, shape = piece.plan, (len(piece.outputs), len(piece.depth))
        number = self.of_plan.setdefault(id(plan), len(self.of_plan))
        self.weights += 1
        # Of three programs with the same shape the third one meets the first one at the latest.
        key = ("product", number, *shape, self.weights % 3)
        if key not in self.made.images:
            emits = [
                self._out(column, time, _LAST)
                for column, words in plan.results.items()
                for time, *_ in words
            ]
            image = sample(plan, *shape, self.weights % 3)
            self._add(key, image, sorted(set(emits), key=lambda t: (t.stream, t.time)))
        macs = len(piece.rows) * shape[0] * shape[1]
        self._run(step, key, plan.rounds, macs)


def sample(plan: Gemm, outputs: int, depth: int, seed: int) -> Image:
    """The program of a plan with random weights for so many outputs, and zeros beyond.

    No two rows of weights are alike but those of zeros.
    """
    rng = np.random.default_rng(seed)
    rows, columns = plan.weight_shape
    codes = np.zeros((rows, columns), np.uint8)
    beta = np.full((rows, columns // BLOCK), empty_block(plan.weights))
    beta[:outputs, : -(-depth // BLOCK)] = 0
    codes[:outputs, :depth] = rng.integers(1, 1 << plan.weights.n - 1, (outputs, depth))
    image = with_weights(plan, codes, beta, 1 + seed).image
    assert image is not None
    return image
