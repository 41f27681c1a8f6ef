"""Execution of a decoded program on tokens, cycle by cycle.

Nothing here comes from the passes that make programs: a program is what its rows say, and the
rules are those of the array.  A word is a token (see ``terms``), so that an execution tells what
every emitted word is made of, for any data.

Programs end after a number of rounds that the host gives, and so many cannot be executed here.
What a slot does depends on the round by nothing but predicates and address generators; with
predicates that do not look at the outermost loop, and generators whose addresses repeat,
rounds between the first and the last ones in flight are alike.  ``Machine.rounds`` are enough for
that: they are those in flight, and all in which addresses differ.  Products, whose addresses of
weights count rounds, compare these for all rounds.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from math import gcd, lcm

from compiler.check.terms import Terms, Token
from compiler.check.units import CONSTANT, REGISTER, Guarded, Units, cell_of, guarded
from compiler.errors import WrongProgram
from compiler.ir.operations import Function
from spu.arch import timing
from spu.arch.bitstream import Image
from spu.arch.config import Compare, Guard, Space, TileRegister
from spu.arch.context import CONTEXT, LINKS, Op, Source
from spu.arch.operations import OPERATIONS
from spu.arch.params import (
    ALWAYS,
    CONSTANTS,
    EXISTS,
    LOOPS,
    NEIGHBOURS,
    REGISTERS,
    STAGES,
    Port,
    neighbour,
)
from spu.arch.program import Tile, missing_unit, read_input_guard, read_predicates, read_timing
from spu.model.region import Loops, has_end

#: Rounds that are executed beyond those in flight, and iterations after which addresses repeat, at
#: most: a ring of buffers has little more than there are stages.
EXTRA_ROUNDS, MOST_RING = 3, 4 * STAGES

_SIDE = {link: Source[NEIGHBOURS[link][2].upper()].value for link in LINKS}
#: Codes of the fields of a context that stand for something.
_CODES = {
    name: {member.value for member in layout.members}
    for name, _, layout in CONTEXT
    if layout.members
}
#: By operation: where its word appears, and when.
_RESULT = {o.op: (o.source.value, o.latency) for o in OPERATIONS.values()}
#: Cycles that any word is on its way within a tile, at most.
_LONGEST = max(
    timing.SUM,
    timing.DRAIN,
    timing.MEMORY,
    timing.REBLOCK,
    timing.VECTOR,
    timing.ALU,
    timing.HOP,
    timing.WRITE,
)


@dataclass(frozen=True)
class _Tile:
    """A tile's words, and its units."""

    place: Tile
    cells: list[Token]
    units: Units


@dataclass(frozen=True)
class _Operation:
    """Of a slot: ``op`` of the array, or a ``function``; ``guard`` if it is guarded."""

    op: Op | None
    function: Function | None
    mode: tuple[int, int]
    operands: tuple[int, ...]
    needs: tuple[int, ...]
    guard: Guarded | None
    cell: int
    latency: int


@dataclass(frozen=True)
class _Slot:
    """A context of a tile.  ``ways``: from a cell to a cell of this or another tile, or a port."""

    tile: _Tile
    context: Mapping[str, int]
    operation: _Operation | None
    units: bool
    ways: tuple[tuple[int, list[Token], int], ...]


class Machine:
    """Executes the program of region 0 of an image.

    ``functions``: what operation codes of tiles stand for, if they are not those of the array;
    ``unit_latency``: links and registers then take an operation's word in its own cycle.

    ``weights_by_round``: addresses of weights count rounds; who says so compares them all.

    Raises ``WrongProgram`` for contexts that use units which a tile has not, a program that has
    no end, predicates that depend on the number of rounds, and addresses that do not repeat soon.
    """

    def __init__(
        self,
        image: Image,
        terms: Terms,
        functions: Mapping[tuple[Tile, int], Function] | None = None,
        unit_latency: bool = False,
        weights_by_round: bool = False,
    ) -> None:
        self.image, self.arch, self.terms = image, image.arch, terms
        self.functions, self.unit_latency = functions, unit_latency
        self._row = cache(image.read)
        if not has_end(image, 0):
            raise WrongProgram("the program has no end: its last word is in no slot")
        self.timing = read_timing(image)
        for number, row in read_predicates(image).items():
            marked = (row["first"] | row["last"]) >> LOOPS - 1 & 1
            compared = row["compare"] != Compare.NONE.value and row["loop"] == LOOPS - 1
            if marked or compared:
                raise WrongProgram(f"predicate {number} depends on the number of rounds")
        self.outputs = self.arch.outputs(0)
        self.tiles = {tile: self._tile(tile) for tile in self.arch.tiles}
        #: Words at the array's edge, by port of the region's outputs.
        self.leaving: list[Token] = [None] * len(self.outputs)
        self.slots = [
            [
                self._slot(tile, slot)
                for tile in self.arch.tiles
                if image.rows.get((Space.CONTEXT, *tile), {}).get(slot)
            ]
            for slot in range(self.timing.ii)
        ]
        self.ring = self._ring(weights_by_round)
        #: Tokens that ``functions`` made, by tile and slot, and cycle.
        self.made: dict[tuple[Tile, int], dict[int, int]] = {}

    @property
    def rounds(self) -> int:
        """Rounds after which all that follow are alike: all that can be in flight, those in which
        addresses repeat, and more."""
        in_flight = -(-self.timing.span // self.timing.ii) + self.ring
        return -(-in_flight // self.timing.iterations(1)) + EXTRA_ROUNDS

    def _ring(self, weights_by_round: bool) -> int:
        """Iterations after which the addresses of all generators of any tile repeat.

        What a tile does with the words that come to it depends on its own generators alone.
        """
        if self.functions is not None:
            return 1
        arch, rings = self.arch, dict.fromkeys(self.tiles, 1)
        uses = {
            TileRegister.READ: ("read", arch.memory_words),
            TileRegister.WRITE: ("memory", arch.memory_words),
        }
        if not weights_by_round:
            uses[TileRegister.WEIGHT] = "mac", arch.weight_rows
        accesses: dict[tuple[Tile, int], int] = {}
        for now in (now for slot in self.slots for now in slot):
            for first, (field, _) in uses.items():
                key = now.tile.place, first
                accesses[key] = accesses.get(key, 0) + bool(now.context[field])
        for (tile, first), count in accesses.items():
            if count:
                generator = self.tiles[tile].units.generators[first]
                if generator.guard["predicate"] not in (ALWAYS, EXISTS):
                    raise WrongProgram(f"tile {tile}: no program skips accesses of iterations")
                period = generator.period(uses[first][1])
                rings[tile] = lcm(rings[tile], period // gcd(period, count))
        tile, most = max(rings.items(), key=lambda ring: ring[1])
        if most > MOST_RING:
            raise WrongProgram(f"addresses of tile {tile} repeat after {most} iterations only")
        return most

    def run(self, rounds: int, entering: Mapping[int, Iterable[int]]) -> dict[int, list[int]]:
        """Tokens that each column emits over the south edge in so many rounds.

        ``entering``: tokens of each column's stream; ``WrongProgram`` if not just these are read.
        """
        loops = Loops(self.image, 0, rounds)

        @cache
        def holds(guard: Guarded, slot: int, iteration: int) -> bool:
            names = ("slot", "stage", "predicate")
            return loops.holds(dict(zip(names, guard, strict=True)), slot, iteration)

        self._holds = holds
        self.due: list[list[tuple[list[Token], int, Token]]] = [[] for _ in range(_LONGEST + 1)]
        due = self.due
        streams = [self._row(Space.STREAM, (0, 0), s) for s in range(self.timing.ii)]
        inputs = self.arch.inputs(0)
        reads = [
            [(i, port) for i, port in enumerate(inputs) if s["read"] >> i & 1] for s in streams
        ]
        emits = [
            [(i, port) for i, port in enumerate(self.outputs) if s["emit"] >> i & 1]
            for s in streams
        ]
        guards = [guarded(read_input_guard(self.image, i)) for i in range(len(inputs))]
        words = {column: iter(tokens) for column, tokens in entering.items()}
        emitted: dict[int, list[int]] = {}
        passing: list[tuple[list[Token], int]] = []
        for cycle in range(self.timing.cycles(rounds)):
            iteration, slot = divmod(cycle, self.timing.ii)
            for cells, cell in passing:
                cells[cell] = None
            arriving = due[cycle % len(due)]
            due[cycle % len(due)] = []
            passing = []
            for cells, cell, token in arriving:
                cells[cell] = token
                if cell < REGISTER or cells is self.leaving:
                    passing.append((cells, cell))
            for i, port in reads[slot]:
                if self._holds(guards[i], slot, iteration):
                    passing.append(self._enter(port, words))
            for i, port in emits[slot]:
                if (leaving := self.leaving[i]) is not None:
                    emitted.setdefault(port.col, []).append(leaving)
            for now in self.slots[slot]:
                self._step(now, cycle, iteration, slot)
        left = [column for column, tokens in words.items() if next(tokens, None) is not None]
        if left:
            raise WrongProgram(f"input streams {left} have words that are not read")
        return emitted

    def _enter(self, port: Port, words: Mapping[int, Iterator[int]]) -> tuple[list[Token], int]:
        """A word of a stream comes in."""
        token = next(words.get(port.col, iter(())), None)
        if token is None or port.link != "north":
            raise WrongProgram(f"input stream {port.col} is read without need")
        cells = self.tiles[port.row, port.col].cells
        cells[Source.NORTH.value] = token
        return cells, Source.NORTH.value

    def _tile(self, tile: Tile) -> _Tile:
        """A tile before the first cycle: it has no words but its constants."""
        constants = []
        for i in range(CONSTANTS):
            word = self.image.read(Space.CONSTANT, tile, i)
            constants.append(self.terms.number("constant", word["data"], word["bias"]))
        return _Tile(tile, [*[None] * CONSTANT, *constants], Units(self.image, tile, self.terms))

    def _slot(self, tile: Tile, slot: int) -> _Slot:
        """What a tile does in a slot."""
        context = self.image.read(Space.CONTEXT, tile, slot)
        for name, _, layout in CONTEXT:
            if layout.members and context[name] not in _CODES[name]:
                raise WrongProgram(
                    f"tile {tile}, slot {slot}: {name} {context[name]} stands for nothing"
                )
        if self.functions is None and (unit := missing_unit(self.arch.kind(*tile), context)):
            raise WrongProgram(f"tile {tile} has no {unit}, which slot {slot} uses")
        state = self.tiles[tile]
        ways: list[tuple[int, list[Token], int]] = []
        for link in LINKS:
            if context[link] == Source.NONE.value:
                continue
            other, cell = neighbour(*tile, link), cell_of(context, link)
            if other in self.tiles:
                ways.append((cell, self.tiles[other].cells, _SIDE[link]))
            elif (port := Port(*tile, link)) in self.outputs:
                ways.append((cell, self.leaving, self.outputs.index(port)))
        if context["register"] != Source.NONE.value:
            ways.append(
                (cell_of(context, "register"), state.cells, REGISTER + context["register_write"])
            )
        units = any(context[name] for name in ("mac", "drain", "read", "pop", "memory")) or (
            self.functions is None and context["op"] == Op.PUSH.value
        )
        return _Slot(state, context, self._operation(tile, slot, context), units, tuple(ways))

    def _operation(self, tile: Tile, slot: int, context: Mapping[str, int]) -> _Operation | None:
        """The operation of a slot, but pushes, which go into a unit."""
        if not context["op"] or (self.functions is None and context["op"] == Op.PUSH.value):
            return None
        guard = self.tiles[tile].units.guards[Guard.OP] if context["guarded"] else None
        port = {
            "a": cell_of(context, "a"),
            "b": cell_of(context, "b"),
            "c": REGISTER + context["index"] % REGISTERS,
        }
        if self.functions is not None:
            function = self.functions.get((tile, context["op"]))
            if function is None:
                raise WrongProgram(f"tile {tile}, slot {slot}: no operation {context['op']}")
            return _Operation(
                None,
                function,
                (0, 0),
                tuple(port[p] for p in function.ports),
                tuple(port[p] for p in function.needs),
                guard,
                Source.ALU.value,
                timing.ALU,
            )
        op = Op(context["op"])
        if op not in _RESULT:
            raise WrongProgram(f"tile {tile}, slot {slot}: no program uses {op.name}")
        mode = self._row(Space.REGISTER, tile, TileRegister.VECTOR_MODE + context["mode"])
        return _Operation(
            op, None, (mode["offset"], mode["bias"]), tuple(port.values()), (), guard, *_RESULT[op]
        )

    def _step(self, now: _Slot, cycle: int, iteration: int, slot: int) -> None:
        """A tile in a cycle: operation, units, and last what moves, which sees words of before."""
        cells, due, operation = now.tile.cells, self.due, now.operation
        if now.units:
            for source, at, word in now.tile.units.step(
                now.context, cells, cycle, lambda guard: self._holds(guard, slot, iteration)
            ):
                if word is not None:
                    due[at % len(due)].append((cells, source.value, word))
        if operation is not None and (
            operation.guard is None or self._holds(operation.guard, slot, iteration)
        ):
            words = [cells[cell] for cell in operation.operands]
            token: Token = None
            if operation.function is None:
                assert operation.op is not None
                token = self.terms.apply(operation.op, operation.mode, words)
            elif all(cells[cell] is not None for cell in operation.needs):
                before = self.made.setdefault((now.tile.place, slot), {})
                tag = () if operation.needs else (now.tile.place, slot, len(before))
                token = before[cycle] = self.terms.number(operation.function.op, tag, *words)
            if self.unit_latency:
                cells[operation.cell] = token
            elif token is not None:
                due[(cycle + operation.latency) % len(due)].append((cells, operation.cell, token))
        following = due[(cycle + timing.HOP) % len(due)]
        following += [(other, cell, cells[source]) for source, other, cell in now.ways]
        if self.unit_latency:
            cells[Source.ALU.value] = None
