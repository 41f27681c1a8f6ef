"""Place engines and homes on tiles by simulated annealing, least wire.

Wire is the sum of Manhattan distances of all words in an iteration.  An item moves to another
tile, and what is there takes its place (S. Kirkpatrick, C. D. Gelatt and M. P. Vecchi,
"Optimization by simulated annealing", Science 220, 1983).
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from compiler.map.pipeline.partition import Home, Partition
from spu.arch.params import BLOCK, Architecture
from spu.arch.program import Tile

#: What is placed: a home, or an engine as (layer, engine).
Item = Home | tuple[int, int]
#: Moves for each item, and first and last temperature, in hops of a word: tuned on the digits on
#: ``basic``.
MOVES, HOT, COLD = 100, 30.0, 0.5
#: Cost of a VectorUnit's operation too many; chosen, not tuned.
OVERLOAD = 50


@dataclass(frozen=True)
class Placement:
    """Tile of each engine, by (layer, engine), and of each home."""

    engines: dict[tuple[int, int], Tile]
    homes: dict[Home, Tile]


def placements(
    partition: Partition, arch: Architecture, seed: int, count: int
) -> Iterator[Placement]:
    """Up to ``count`` different placements.

    A partition that cannot be placed yields nothing.  The same arguments give the same placements.
    """
    problem, known = _Problem(partition, arch), set()
    for attempt in range(count):
        found = problem.anneal(random.Random(f"{seed} {attempt}"))
        if found is None:
            continue
        key = tuple(sorted(found.engines.items())), tuple(found.homes.values())
        if key not in known:
            known.add(key)
            yield found


class _Problem:
    """Items, tiles that take them, the wire between them, and the load of VectorUnits."""

    def __init__(self, partition: Partition, arch: Architecture) -> None:
        self.partition, self.arch = partition, arch
        plans = partition.layers
        self.items: list[Item] = [
            (n, e) for n, plan in enumerate(plans) for e in range(plan.engines)
        ]
        self.engines = len(self.items)
        self.items += [home for plan in plans for home in plan.homes]
        number = {item: i for i, item in enumerate(self.items)}
        #: By item, (other item, words) of the words between them; rows to an edge, and their words.
        self.between: list[list[tuple[int, int]]] = [[] for _ in self.items]
        self.edges: list[list[tuple[int, int]]] = [[] for _ in self.items]
        #: Operations of the VectorUnit: sums of biases, pushes of blocks.
        self.load = [
            self._adds(*item) if not isinstance(item, Home) else self._pushes(item)
            for item in self.items
        ]
        for n, plan in enumerate(plans):
            for e in range(plan.engines):
                for home in plan.homes:
                    self._join(number[home], number[n, e], home.words)
                for home in plans[n + 1].homes if n + 1 < len(plans) else ():
                    self._join(
                        number[n, e],
                        number[home],
                        sum(
                            arch.words_per_drain
                            for p in range(plan.passes)
                            if (g := plan.group(e, p)) is not None and feeds(g, home, arch)
                        ),
                    )
                if n + 1 == len(plans):
                    self.edges[number[n, e]].append((arch.rows - 1, self.load[number[n, e]]))
        for home in plans[0].homes:
            self.edges[number[home]].append((0, home.words))

    def _join(self, a: int, b: int, words: int) -> None:
        if words:
            self.between[a].append((b, words))
            self.between[b].append((a, words))

    def _adds(self, layer: int, engine: int) -> int:
        plan = self.partition.layers[layer]
        passes = sum(plan.group(engine, p) is not None for p in range(plan.passes))
        return passes * self.arch.words_per_drain

    def _pushes(self, home: Home) -> int:
        return len(home.blocks) * self.arch.pushes_per_block if home.layer else 0

    def anneal(self, rng: random.Random) -> Placement | None:
        """A placement that overloads no VectorUnit, if one was found."""
        shared, ii = self.partition.shared, self.partition.ii
        kinds = [list(self.arch.matrix_tiles), list(self.arch.memory_tiles)]
        where: list[Tile] = []
        for kind, count in ((0, self.engines), (1, len(self.items) - self.engines)):
            if count > len(kinds[kind]) and not (shared and kind == 0):
                return None
            if not shared or kind == 1:
                rng.shuffle(kinds[kind])
            where += (
                kinds[kind][:count]
                if not shared or kind == 1
                else [
                    kinds[kind][item[1]]
                    for item in self.items[:count]
                    if not isinstance(item, Home)
                ]
            )
        first = self.engines if shared else 0
        there = [
            {tile: i for i, tile in enumerate(where) if (i >= self.engines) == bool(kind)}
            for kind in (0, 1)
        ]
        load = dict.fromkeys(self.arch.tiles, 0)
        for item, tile in enumerate(where):
            load[tile] += self.load[item]
        moves = MOVES * len(self.items)
        cooling, heat = (COLD / HOT) ** (1 / moves), HOT
        for _ in range(moves):
            heat *= cooling
            item = rng.randrange(first, len(self.items))
            kind = int(item >= self.engines)
            old, new = where[item], kinds[kind][rng.randrange(len(kinds[kind]))]
            if new == old:
                continue
            other = there[kind].get(new)
            moved = self.load[item] - (0 if other is None else self.load[other])
            before = max(load[old] - ii, 0) + max(load[new] - ii, 0)
            after = max(load[old] - moved - ii, 0) + max(load[new] + moved - ii, 0)
            worse = OVERLOAD * (after - before) - self._wire(item, where)
            if other is not None:
                worse -= self._wire(other, where)
                where[other] = old
            where[item] = new
            worse += self._wire(item, where)
            if other is not None:
                worse += self._wire(other, where)
            if worse > 0 and rng.random() >= math.exp(-worse / heat):
                where[item] = old
                if other is not None:
                    where[other] = new
                continue
            load[old] -= moved
            load[new] += moved
            there[kind].pop(old)
            there[kind][new] = item
            if other is not None:
                there[kind][old] = other
        if any(operations > ii for operations in load.values()):
            return None
        placed = dict(zip(self.items, where, strict=True))
        return Placement(
            {item: tile for item, tile in placed.items() if not isinstance(item, Home)},
            {item: tile for item, tile in placed.items() if isinstance(item, Home)},
        )

    def _wire(self, item: int, where: list[Tile]) -> int:
        """Hops of all words of an item."""
        row, col = where[item]
        total = 0
        for other, words in self.between[item]:
            r, c = where[other]
            total += words * (abs(row - r) + abs(col - c))
        for r, words in self.edges[item]:
            total += words * abs(row - r)
        return total


def feeds(group: int, home: Home, arch: Architecture) -> bool:
    """Whether results of a group go to a home of the next layer's input."""
    first = home.blocks[0] * BLOCK
    return first <= group * arch.columns < first + len(home.blocks) * BLOCK
