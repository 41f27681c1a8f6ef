"""Loops: kernels of the array's operations, and graphs of operations without meaning.

The words of the graph are computed iteration by iteration, straight from it, and the program is
executed for as many iterations; what both give must be the same terms.
"""

from collections.abc import Mapping, Sequence

from compiler.check.machine import Machine
from compiler.check.terms import Terms, Token
from compiler.errors import WrongProgram
from compiler.ir.dataflow import Dataflow
from compiler.ir.operations import constant_data, mode_of
from compiler.map.loop.mapped import Mapped
from spu.arch import bitstream
from spu.arch.bitstream import Image
from spu.arch.operations import CONSTANT, IN, OPERATIONS, OUT
from spu.arch.params import Architecture
from spu.arch.program import Tile, Timing


def check_loop(mapped: Mapped, image: Image | None = None) -> None:
    """Raise ``WrongProgram`` unless the program of a mapping computes its graph.

    Of the mapping, the claimed places of operations are used: of the array's own operations only
    those of ``in`` and ``out``, whose words are compared in order; of others all.  ``image``: in
    place of what ``mapped.content`` configures.
    """
    image = bitstream.decode(mapped.content, mapped.arch).image if image is None else image
    terms, kernel = Terms(), not mapped.functions
    machine = Machine(image, terms, None if kernel else mapped.functions, mapped.unit_latency)
    if machine.timing != Timing(mapped.placed.ii, mapped.span):
        raise WrongProgram(f"{mapped.graph.name}: the program has {machine.timing}")
    if kernel:
        _check_streams(mapped, machine)
    else:
        _check_places(mapped, machine)


def _check_streams(mapped: Mapped, machine: Machine) -> None:
    """Words of the output streams, of the array's own operations."""
    graph, placed, terms = mapped.graph, mapped.placed, machine.terms
    iterations = max(mapped.executed, machine.rounds)
    given = {
        n: [terms.number(IN, n, i) for i in range(iterations)]
        for n in graph.operations
        if graph.nodes[n].op == IN
    }
    made = _kernel_words(graph, mapped.arch, terms, given, iterations)

    def streams(words: Mapping[int, Sequence[Token]]) -> dict[int, list[int]]:
        """Words of operations in the order in which their columns have them."""
        timed: dict[int, list[tuple[int, int]]] = {}
        for n, tokens in words.items():
            column = timed.setdefault(placed.tile[n][1], [])
            column += [
                (placed.time[n] + i * placed.ii, token)
                for i, token in enumerate(tokens)
                if token is not None
            ]
        return {column: [token for _, token in sorted(words)] for column, words in timed.items()}

    got = machine.run(iterations, streams(given))
    want = streams({n: made[n] for n in graph.operations if graph.nodes[n].op == OUT})
    for column in sorted({*got, *want}):
        if got.get(column, []) != want.get(column, []):
            raise WrongProgram(
                f"{graph.name}: the words of output stream {column} are not those of the graph"
            )


def _kernel_words(
    graph: Dataflow,
    arch: Architecture,
    terms: Terms,
    given: Mapping[int, list[int]],
    iterations: int,
) -> dict[int, list[Token]]:
    """Tokens of the array's operations, straight from the graph."""
    made: dict[int, list[Token]] = {n: [] for n in graph.operations}
    constants = {
        n: terms.number("constant", constant_data(node, arch, graph.bias_of(n)), 0)
        for n, node in graph.nodes.items()
        if node.op == CONSTANT
    }
    modes = {n: mode_of(graph, n) or {"offset": 0, "bias": 0} for n in graph.operations}
    for i in range(iterations):
        for n in graph.order:
            if n in given:
                made[n].append(given[n][i])
                continue
            words = [
                constants[e.src]
                if e.src in constants
                else made[e.src][i - e.distance]
                if i >= e.distance
                else None
                for e in graph.operands[n]
            ]
            mode = modes[n]["offset"], modes[n]["bias"]
            made[n].append(terms.apply(OPERATIONS[graph.nodes[n].op].op, mode, words))
    return made


def _check_places(mapped: Mapped, machine: Machine) -> None:
    """Words of every operation, where and when it is, of operations without meaning."""
    graph, placed, ii = mapped.graph, mapped.placed, mapped.placed.ii
    slots = {n: (placed.tile[n], placed.time[n] % ii) for n in graph.operations}
    expected = _graph_words(graph, machine.terms, mapped.executed, slots)
    machine.run(mapped.executed, {})
    made = dict(machine.made)
    for n, place in slots.items():
        got = made.pop(place, {})
        want = {placed.time[n] + i * ii: token for i, token in enumerate(expected[n])}
        if got != want:
            cycle = min(c for c in {*got, *want} if got.get(c) != want.get(c))
            raise WrongProgram(
                f"{graph.nodes[n]} in tile {place[0]}, cycle {cycle}: not the word of the graph"
            )
    if any(made.values()):
        raise WrongProgram(f"operations without need: {sorted(p for p, w in made.items() if w)}")


def _graph_words(
    graph: Dataflow, terms: Terms, iterations: int, slots: Mapping[int, tuple[Tile, int]]
) -> dict[int, list[int]]:
    """Tokens of operations without meaning, straight from the graph.

    Those that take no word of their iteration (inputs, first values of a recurrence) are tagged
    with place and iteration.
    """
    made: dict[int, list[int]] = {n: [] for n in graph.operations}
    sources = frozenset(graph.sources)
    for i in range(iterations):
        for n in graph.order:
            words: list[Token] = []
            for edge in graph.operands[n]:
                if graph.nodes[edge.src].op == CONSTANT:
                    words.append(terms.number("constant", edge.src, 0))
                else:
                    words.append(made[edge.src][i - edge.distance] if i >= edge.distance else None)
            tag = (*slots[n], i) if n in sources else ()
            made[n].append(terms.number(graph.nodes[n].op, tag, *words))
    return made
