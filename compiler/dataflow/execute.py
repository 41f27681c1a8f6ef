"""Execution of a program image on tagged tokens, and direct evaluation of its graph.

Independent of the passes that made the image: of them only the meaning of operation codes, and
where each operation is, are used.  A token stands for the function that was applied to the tokens
it was applied to, so that equal tokens mean equal computations; those of operations that take no
word of their iteration (inputs, first values of a recurrence) are tagged with place and iteration.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from compiler.dataflow.contexts import Assembled
from compiler.dataflow.graph import CONSTANT, Dataflow
from compiler.errors import CompileError
from compiler.place import Tile
from compiler.tokens import Tokens
from spu.arch import timing
from spu.arch.bitstream import Image
from spu.arch.config import Guard, SequencerRegister, Space, TileRegister
from spu.arch.context import LINKS, Source
from spu.arch.params import EXISTS, NEIGHBOURS, REGISTERS, neighbour

#: Number of a token; None is no word.
Token = int | None


class ExecutionDiffers(CompileError):
    """The program does not compute its graph; a fault of the compiler."""


@dataclass
class _Tile:
    """State of a tile: words that leave, registers, result of the last operation."""

    contexts: list[dict[str, int]]
    constants: dict[int, int]
    guard: Mapping[str, int]
    out: dict[str, Token] = field(default_factory=lambda: dict.fromkeys(LINKS))
    registers: list[Token] = field(default_factory=lambda: [None] * REGISTERS)
    result: Token = None


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
    tiles = {tile: _Tile(
        [image.read(Space.CONTEXT, tile, s) for s in range(ii)],
        {i: image.read(Space.CONSTANT, tile, i)["data"]
         for i in image.rows.get((Space.CONSTANT, *tile), {})},
        image.read(Space.REGISTER, tile, TileRegister.GUARD + Guard.OP.value))
        for tile in arch.tiles}
    made: dict[tuple[Tile, int], dict[int, int]] = {}
    for cycle in range(cycles):
        iteration, slot = divmod(cycle, ii)
        links = {tile: {Source[side.upper()]: tiles[other].out[NEIGHBOURS[side][2]]
                        for side in LINKS if (other := neighbour(*tile, side)) in tiles}
                 for tile in tiles}
        for tile, state in tiles.items():
            exists = (state.guard["predicate"] == EXISTS
                      and 0 <= iteration - state.guard["stage"] < iterations)
            before = made.setdefault((tile, slot), {})
            token = _step(state, slot, links[tile], assembled, tokens, exists,
                          (tile, slot, len(before)), unit_latency)
            if token is not None:
                before[cycle] = token
    return {place: words for place, words in made.items() if words}


def _step(state: _Tile, slot: int, links: Mapping[Source, Token], assembled: Assembled,
          tokens: Tokens, exists: bool, tag: tuple[Tile, int, int], unit_latency: bool) -> Token:
    """Execute a context; the token that its operation makes."""
    context = state.contexts[slot]
    second = state.registers[context["index"] % REGISTERS]

    def word(name: str) -> Token:
        source = Source(context[name])
        if source is Source.REGISTER_A:
            return state.registers[context["register_a"]]
        if source is Source.REGISTER_B:
            return second
        if source is Source.CONSTANT:
            return tokens.number(CONSTANT, state.constants[context["index"]])
        return state.result if source is Source.ALU else links.get(source)

    token = None
    if context["op"]:
        function = assembled.functions[context["op"]]
        words = {port: second if port == "c" else word(port) for port in function.ports}
        there = all(words[port] is not None for port in function.needs)
        if exists if context["guarded"] else there:
            token = tokens.number(function.op, () if function.needs else tag, *words.values())
    if unit_latency:
        state.result = token
    state.out, kept = {link: word(link) for link in LINKS}, word("register")
    if context["register"] != Source.NONE.value:
        state.registers[context["register_write"]] = kept
    state.result = None if unit_latency else token
    return token


assert timing.ALU == timing.HOP == timing.WRITE == 1
