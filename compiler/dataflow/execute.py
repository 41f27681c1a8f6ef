"""Execution of a program image on tagged tokens, and direct evaluation of its graph.

Independent of the passes that made the image: of them only the meaning of operation codes, and
where each operation is, are used.  A token stands for the function that was applied to the tokens
it was applied to, so that equal tokens mean equal computations; those of operations that take no
word of their iteration (inputs, first values of a recurrence) are tagged with place and iteration.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from compiler.dataflow.contexts import Assembled, Function
from compiler.dataflow.graph import Dataflow
from compiler.errors import CompileError
from compiler.tokens import Tokens
from spu.arch import timing
from spu.arch.bitstream import Image
from spu.arch.config import Guard, SequencerRegister, Space, TileRegister
from spu.arch.context import LINKS, Source
from spu.arch.operations import CONSTANT
from spu.arch.params import CONSTANTS, EXISTS, NEIGHBOURS, REGISTERS, neighbour
from spu.arch.program import Tile

#: Number of a token; None is no word.
Token = int | None


class ExecutionDiffers(CompileError):
    """The program does not compute its graph; a fault of the compiler."""


#: Words of a tile: registers, constants, then those that pass within a cycle: those that come by
#: links and the result of the last operation; last, none.
_PASSING = REGISTERS + CONSTANTS
_LINK = {Source[link.upper()]: _PASSING + i for i, link in enumerate(LINKS)}
_RESULT = _PASSING + len(LINKS)
_NOTHING = _RESULT + 1


@dataclass(frozen=True)
class _Slot:
    """A context of a tile, whose words are ``held``, with cells in place of sources.

    ``guarded``: the function is for iterations from ``stage`` on.  ``ways``: cells whose words go
    to cells of this or another tile.
    """

    tile: Tile
    held: list[Token]
    function: Function | None
    operands: tuple[int, ...]
    needs: tuple[int, ...]
    guarded: bool
    stage: int
    ways: tuple[tuple[int, list[Token], int], ...]


def check_execution(graph: Dataflow, assembled: Assembled, image: Image,
                    places: Mapping[int, tuple[Tile, int]], iterations: int, unit_latency: bool
                    ) -> None:
    """Raise ``ExecutionDiffers`` unless a decoded image computes the graph in all iterations.

    ``places``: tile and cycle, in iteration 0, of each operation.  ``unit_latency``: links and
    registers take an operation's word in its own cycle.
    """
    tokens = Tokens()
    ii = image.read(Space.SEQUENCER, (0, 0), SequencerRegister.II)["slots_less_1"] + 1
    expected = evaluate(graph, tokens, iterations,
                        {n: (tile, time % ii) for n, (tile, time) in places.items()})
    made = run(assembled, image, tokens, iterations, unit_latency)
    for n, (tile, time) in places.items():
        got = made.pop((tile, time % ii), {})
        want = {time + i * ii: token for i, token in enumerate(expected[n])}
        if got != want:
            cycle = min(c for c in {*got, *want} if got.get(c) != want.get(c))
            raise ExecutionDiffers(f"{graph.nodes[n]} in tile {tile}, cycle {cycle}: "
                                   "not the word of the graph")
    if made:
        raise ExecutionDiffers(f"operations without need: {sorted(made)}")


def evaluate(graph: Dataflow, tokens: Tokens, iterations: int,
             slots: Mapping[int, tuple[Tile, int]]) -> dict[int, list[int]]:
    """Tokens of each operation, straight from the graph.

    What comes from before iteration 0 is no word.  ``slots``: tile and slot, for tags.
    """
    made: dict[int, list[int]] = {n: [] for n in graph.operations}
    sources = frozenset(graph.sources)
    for i in range(iterations):
        for n in graph.order:
            words: list[Token] = []
            for edge in graph.operands[n]:
                if graph.nodes[edge.src].op == CONSTANT:
                    words.append(tokens.number(CONSTANT, edge.src))
                else:
                    words.append(made[edge.src][i - edge.distance] if i >= edge.distance else None)
            tag = (*slots[n], i) if n in sources else ()
            made[n].append(tokens.number(graph.nodes[n].op, tag, *words))
    return made


def run(assembled: Assembled, image: Image, tokens: Tokens, iterations: int,
        unit_latency: bool) -> dict[tuple[Tile, int], dict[int, int]]:
    """Tokens that operations make: for each tile and slot, by cycle.

    An operation makes a word in the iterations of its guard, if it has one, else if the words
    that it needs are there.  Operations take one cycle (``timing.ALU``).
    """
    arch = image.arch
    ii = image.read(Space.SEQUENCER, (0, 0), SequencerRegister.II)["slots_less_1"] + 1
    span = image.read(Space.SEQUENCER, (0, 0), SequencerRegister.SPAN)
    cycles = (iterations - 1 + span["stage"]) * ii + span["slot"] + 1
    cells = {tile: _cells(image, tile, tokens) for tile in arch.tiles}
    slots = [[_slot(image, assembled, tile, slot, cells) for tile in arch.tiles
              if slot in image.rows.get((Space.CONTEXT, *tile), {})] for slot in range(ii)]
    made: dict[tuple[Tile, int], dict[int, int]] = {}
    driven: list[tuple[list[Token], int, Token]] = []
    for cycle in range(cycles):
        iteration, slot = divmod(cycle, ii)
        driving: list[tuple[list[Token], int, Token]] = []
        for now in slots[slot]:
            held = now.held
            if now.function is not None:
                before = made.setdefault((now.tile, slot), {})
                token = None
                if 0 <= iteration - now.stage < iterations if now.guarded else all(
                        held[cell] is not None for cell in now.needs):
                    token = before[cycle] = tokens.number(
                        now.function.op, () if now.needs else (now.tile, slot, len(before)),
                        *(held[cell] for cell in now.operands))
                if unit_latency:
                    held[_RESULT] = token
                else:
                    driving.append((held, _RESULT, token))
            driving += [(other, cell, held[source]) for source, other, cell in now.ways]
            if unit_latency:
                held[_RESULT] = None
        for other, cell, _ in driven:
            if cell >= _PASSING:
                other[cell] = None
        for other, cell, word in driving:
            other[cell] = word
        driven = driving
    return {place: words for place, words in made.items() if words}


def _cells(image: Image, tile: Tile, tokens: Tokens) -> list[Token]:
    """Words of a tile before the first cycle: none but its constants."""
    constants = [tokens.number(CONSTANT, image.read(Space.CONSTANT, tile, i)["data"])
                 for i in range(CONSTANTS)]
    return [*[None] * REGISTERS, *constants, *[None] * (_NOTHING - _PASSING + 1)]


def _slot(image: Image, assembled: Assembled, tile: Tile, slot: int,
          cells: Mapping[Tile, list[Token]]) -> _Slot:
    """What a tile does in a slot."""
    context = image.read(Space.CONTEXT, tile, slot)
    guard = image.read(Space.REGISTER, tile, TileRegister.GUARD + Guard.OP.value)

    def cell(name: str) -> int:
        source = Source(context[name])
        if source is Source.REGISTER_A:
            return int(context["register_a"])
        if source is Source.REGISTER_B:
            return int(context["index"] % REGISTERS)
        if source is Source.CONSTANT:
            return REGISTERS + int(context["index"])
        if source is Source.ALU:
            return _RESULT
        return _LINK.get(source, _NOTHING)

    ways = []
    for link in LINKS:
        other = neighbour(*tile, link)
        if other in cells and context[link] != Source.NONE.value:
            ways.append((cell(link), cells[other], _LINK[Source[NEIGHBOURS[link][2].upper()]]))
    if context["register"] != Source.NONE.value:
        ways.append((cell("register"), cells[tile], int(context["register_write"])))
    function = assembled.functions[tile, context["op"]] if context["op"] else None
    port = {name: context["index"] % REGISTERS if name == "c" else cell(name)
            for name in (function.ports if function else ())}
    return _Slot(tile, cells[tile], function, tuple(port.values()),
                 tuple(port[name] for name in (function.needs if function else ())),
                 bool(context["guarded"]),
                 # A guard of another predicate lets no iteration through.
                 guard["stage"] if guard["predicate"] == EXISTS else 1 << 30, tuple(ways))


assert timing.ALU == timing.HOP == timing.WRITE == 1
