"""Place engines and homes on tiles: CP-SAT, least wire."""

from collections.abc import Iterator
from dataclasses import dataclass

from ortools.sat.python import cp_model

from compiler.partition import Home, Partition
from spu.arch.params import BLOCK, Architecture
from spu.arch.program import Tile

#: What is placed: a home, or an engine as (layer, engine).
Item = Home | tuple[int, int]
#: Deterministic time that one solve may take; the best placement so far is used then.
SOLVE_LIMIT = 0.2


@dataclass(frozen=True)
class Placement:
    """Tile of each engine, by (layer, engine), and of each home."""

    engines: dict[tuple[int, int], Tile]
    homes: dict[Home, Tile]


def placements(partition: Partition, arch: Architecture, seed: int, count: int
               ) -> Iterator[Placement]:
    """Up to ``count`` placements, best first; each differs from those before it.

    Wire is the sum of Manhattan distances of all words in an iteration.  Raises nothing:
    a partition that cannot be placed yields nothing.
    """
    model = _Model(partition, arch)
    for attempt in range(count):
        placement = model.solve(seed + attempt)
        if placement is None:
            return
        yield placement
        model.exclude(placement)


class _Model:
    """The CP-SAT model: one Boolean for each item and tile."""

    def __init__(self, partition: Partition, arch: Architecture) -> None:
        self.partition, self.arch = partition, arch
        self.cp = cp_model.CpModel()
        plans = partition.layers
        engines = [(n, e) for n, p in enumerate(plans) for e in range(p.engines)]
        homes = [h for p in plans for h in p.homes]
        self.at: dict[Item, dict[Tile, cp_model.IntVar]] = {}
        items: list[Item] = [*engines, *homes]
        for item in items:
            tiles = arch.memory_tiles if isinstance(item, Home) else arch.matrix_tiles
            self.at[item] = {t: self.cp.new_bool_var(f"{item}@{t}") for t in tiles}
            self.cp.add_exactly_one(self.at[item].values())
        if partition.shared:
            # Layers run on the same tiles one after the other: engine e is tile e.
            for n, e in engines:
                self.cp.add(self.at[n, e][arch.matrix_tiles[e]] == 1)
        for tile in arch.tiles:
            if not partition.shared:
                self.cp.add_at_most_one(self.at[item][tile] for item in engines
                                        if tile in self.at[item])
            self.cp.add_at_most_one(self.at[h][tile] for h in homes if tile in self.at[h])
            # The VectorUnit adds the biases of results and takes the pushes of blocks.
            load: list[cp_model.LinearExprT] = [
                self._adds(n, e) * self.at[n, e][tile] for n, e in engines
                if tile in self.at[n, e]]
            load += [self._pushes(h) * self.at[h][tile] for h in homes if tile in self.at[h]]
            self.cp.add(sum(load) <= partition.ii)
        self.cp.minimize(self._wire(engines, homes))

    def _adds(self, layer: int, engine: int) -> int:
        plan = self.partition.layers[layer]
        passes = sum(plan.group(engine, p) is not None for p in range(plan.passes))
        return passes * self.arch.words_per_drain

    def _pushes(self, home: Home) -> int:
        return len(home.blocks) * self.arch.pushes_per_block if home.layer else 0

    def _wire(self, engines: list, homes: list[Home]) -> cp_model.LinearExprT:
        arch, plans = self.arch, self.partition.layers
        row = {i: sum(t[0] * v for t, v in self.at[i].items()) for i in self.at}
        col = {i: sum(t[1] * v for t, v in self.at[i].items()) for i in self.at}
        total: list[cp_model.LinearExprT] = []

        def distance(a: Item, b: Item, words: int) -> None:
            for axis, size in ((row, arch.rows), (col, arch.cols)):
                d = self.cp.new_int_var(0, size, "")
                self.cp.add_abs_equality(d, axis[a] - axis[b])
                total.append(words * d)

        for n, e in engines:
            plan = plans[n]
            for home in plan.homes:
                distance(home, (n, e), home.words)
            if n + 1 == len(plans):
                total.append(self._adds(n, e) * (arch.rows - 1 - row[n, e]))
                continue
            for home in plans[n + 1].homes:
                words = sum(self.arch.words_per_drain for p in range(plan.passes)
                            if (g := plan.group(e, p)) is not None
                            and feeds(g, home, arch))
                if words:
                    distance((n, e), home, words)
        for home in plans[0].homes:
            total.append(home.words * row[home])
        return sum(total)

    def solve(self, seed: int) -> Placement | None:
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = seed
        solver.parameters.max_deterministic_time = SOLVE_LIMIT
        if solver.solve(self.cp) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return None
        placement = Placement({}, {})
        for item, tiles in self.at.items():
            tile = next(t for t, v in tiles.items() if solver.boolean_value(v))
            if isinstance(item, Home):
                placement.homes[item] = tile
            else:
                placement.engines[item] = tile
        return placement

    def exclude(self, placement: Placement) -> None:
        """Forbid the homes' tiles of a placement, which decide most routes."""
        self.cp.add_bool_or([self.at[h][t].negated() for h, t in placement.homes.items()])


def feeds(group: int, home: Home, arch: Architecture) -> bool:
    """Whether results of a group go to a home of the next layer's input."""
    first = home.blocks[0] * BLOCK
    return first <= group * arch.columns < first + len(home.blocks) * BLOCK
