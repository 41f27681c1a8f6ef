"""Matrix unit, data memory and reblock unit of a tile, on tokens."""

from collections.abc import Callable, Mapping
from functools import cache

from compiler.check.terms import Terms, Token
from compiler.errors import WrongProgram
from spu.arch import timing
from spu.arch.bitstream import Image
from spu.arch.config import Guard, Space, TileRegister
from spu.arch.context import Close, Op, Source
from spu.arch.params import REGISTERS
from spu.arch.program import Tile, read_generator

#: Fields of a GUARD: slot, stage, predicate.
Guarded = tuple[int, int, int]
#: Words of a tile: one for each source, of which registers and constants have more, which follow.
REGISTER = 1 + max(s.value for s in Source)
CONSTANT = REGISTER + REGISTERS


def guarded(fields: Mapping[str, int]) -> Guarded:
    """A GUARD as a tuple."""
    return fields["slot"], fields["stage"], fields["predicate"]


def cell_of(context: Mapping[str, int], sink: str) -> int:
    """Where a sink of a context takes its word from."""
    source = Source(context[sink])
    if source is Source.REGISTER_A:
        return REGISTER + context["register_a"]
    if source is Source.REGISTER_B:
        return REGISTER + context["index"] % REGISTERS
    if source is Source.CONSTANT:
        return CONSTANT + context["index"]
    return source.value


def formats_of(mode: Mapping[str, int]) -> tuple[int, ...]:
    """Numbers of the formats that a matrix mode names: of data, and of codes of weights."""
    return tuple(number for name, number in mode.items() if name != "offset")


class Units:
    """Units of a tile that keep words from cycle to cycle.

    ``accesses``: of each address generator, by its first register, so far.  Raises
    ``WrongProgram`` for registers that hold a number of no format.
    """

    def __init__(self, image: Image, place: Tile, terms: Terms) -> None:
        self.arch, self.place, self.terms = image.arch, place, terms
        self._register = cache(lambda row: image.read(Space.REGISTER, place, row))
        for row in range(TileRegister.WEIGHT):
            for name, number in self._register(row).items():
                if name.endswith("format") and number >= len(self.arch.formats):
                    raise WrongProgram(
                        f"tile {place}, register {row}: {name} {number} stands for nothing"
                    )
        self.guards = {
            guard: guarded(self._register(TileRegister.GUARD + guard.value)) for guard in Guard
        }
        self.generators = {
            first: read_generator(image, place, first)
            for first in (TileRegister.WEIGHT, TileRegister.READ, TileRegister.WRITE)
        }
        self.accesses: dict[int, int] = {}
        self.memory: dict[int, int] = {}
        #: Macs of the block, and blocks of the dot product, so far; whether all words were there.
        self.block: list[tuple] = []
        self.blocks: list[tuple] = []
        self.valid = True
        #: Results by the cycle in which they are complete, and those that are left.
        self.finished: dict[int, list[Token]] = {}
        self.results: list[Token] = []
        #: Words of the block that is pushed, and words of codes that are left.
        self.pushed: list[int] = []
        self.codes: list[int] = []

    def step(
        self,
        context: Mapping[str, int],
        cells: list[Token],
        cycle: int,
        holds: Callable[[Guarded], bool],
    ) -> list[tuple[Source, int, Token]]:
        """A cycle: what leaves the units, and when; then what enters.

        Raises ``WrongProgram`` for what no program does.
        """
        out: list[tuple[Source, int, Token]] = []
        for at in [at for at in self.finished if at <= cycle]:
            self.results = self.finished.pop(at)
        if context["drain"] and self.results:
            out.append((Source.MATRIX, cycle + timing.DRAIN, self.results.pop(0)))
        if context["mac"] and holds(guarded(self.generators[TileRegister.WEIGHT].guard)):
            self._mac(context, self._certain(context, cells, "matrix"), cycle, holds)
        if context["read"] and holds(guarded(self.generators[TileRegister.READ].guard)):
            address = self._next(TileRegister.READ) % self.arch.memory_words
            word = self.memory.get(address)
            out.append(
                (
                    Source.MEMORY,
                    cycle + timing.MEMORY,
                    self.terms.number("unwritten", self.place, address) if word is None else word,
                )
            )
        if (stored := self._certain(context, cells, "memory")) is not None:
            self.memory[self._next(TileRegister.WRITE) % self.arch.memory_words] = stored
        if context["pop"] and self.codes:
            out.append((Source.REBLOCK, cycle + timing.REBLOCK, self.codes.pop(0)))
        if context["op"] == Op.PUSH.value:
            if context["guarded"]:
                raise WrongProgram(f"tile {self.place}: no program guards pushes")
            if (pushed := self._certain(context, cells, "a")) is not None:
                self._push(pushed)
        return out

    def _certain(self, context: Mapping[str, int], cells: list[Token], sink: str) -> Token:
        """A word of a unit that must be there or not whatever the data are."""
        token = cells[cell_of(context, sink)]
        if token in self.terms.uncertain:
            raise WrongProgram(f"tile {self.place}: whether its {sink} has a word depends on data")
        return token

    def _next(self, register: int) -> int:
        """The next address of a generator, which follows one that is used."""
        access = self.accesses.get(register, 0)
        self.accesses[register] = access + 1
        return int(self.generators[register].address(access))

    def _push(self, token: int) -> None:
        """A word of a block: a complete block replaces the one before."""
        self.pushed.append(token)
        if len(self.pushed) == self.arch.pushes_per_block:
            number = self._register(TileRegister.REBLOCK)["format"]
            block = self.terms.number("block", number, *self.pushed)
            words = self.arch.words_per_block(self.arch.data_formats[number])
            self.codes = [self.terms.number("codes", block, i) for i in range(words)]
            self.pushed = []

    def _mac(
        self, context: Mapping[str, int], token: Token, cycle: int, holds: Callable[[Guarded], bool]
    ) -> None:
        """A slice of a word into the matrix unit: part of a block, of a dot product.

        A part is (word, slice, address of the weight row, formats); the last one of a block is
        the one whose word has its bias.
        """
        address = self._next(TileRegister.WEIGHT) % self.arch.weight_rows
        mode = self._register(TileRegister.MODE + context["mode"])
        self.valid &= token is not None
        part = (-1 if token is None else token, context["slice"], address, *formats_of(mode))
        self.block.append(part)
        close = Close(context["close"])
        last = close is Close.DOT
        closes = last or close is Close.BLOCK
        if close is Close.GUARDS:
            closes, last = (holds(self.guards[guard]) for guard in (Guard.BLOCK, Guard.LAST))
            last &= closes
        if closes:
            self.blocks.append((tuple(sorted(self.block)), part))
            self.block = []
        if last:
            dot = self.terms.number("dot", mode["offset"], tuple(sorted(self.blocks)))
            self.finished[cycle + timing.ACCUMULATE] = [
                self.terms.number("drained", self.place, dot, i) if self.valid else None
                for i in range(self.arch.words_per_drain)
            ]
            self.blocks, self.valid = [], True
