"""Proof that the recurrences of a graph cannot be placed at an II, whatever the rest of it does.

Operations of a recurrence have little time for hops: those of a cycle that is as long as the II
stay in one tile.  The exact search decides quickly about the operations of a strongly connected
component alone, and what these cannot, the whole graph cannot.
"""

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from ortools.sat.python import cp_model

from compiler.map.loop.schedule import Request, solver_for
from spu.arch import timing

#: Deterministic seconds that a proof may take, and operations of a component beyond which none is
#: tried; chosen, not tuned.
PROOF, MOST = 0.8, 200


def unplaceable(request: Request, ii: int) -> tuple[int, ...]:
    """Operations of recurrences that provably cannot be placed at an II; none if it is not known.

    Any of three words may be the one that waits in a register, which takes no time here.
    """
    graph = nx.DiGraph((e.src, e.dst) for e in request.graph.dependences)
    parts = [
        sorted(part) for part in nx.strongly_connected_components(graph) if 1 < len(part) <= MOST
    ]
    seen = set[tuple]()
    for part in sorted(parts, key=lambda part: (len(part), part)):
        component = _Component(request, ii, part)
        if component.shape not in seen and component.refuted():
            return tuple(part)
        seen.add(component.shape)
    return ()


class _Component:
    """A strongly connected component: operations of recurrences that depend on each other."""

    def __init__(self, request: Request, ii: int, part: list[int]) -> None:
        self.request, self.ii, self.part = request, ii, part
        self.at = {n: i for i, n in enumerate(part)}
        self.edges = [
            e
            for e in request.graph.dependences
            if e.src in self.at and e.dst in self.at and e.src != e.dst
        ]

    @property
    def shape(self) -> tuple:
        """Equal for parts that differ in numbers only."""
        takes, nodes = self.request.grid.takes, self.request.graph.nodes
        return (
            tuple((self.request.latency[n], takes(nodes[n].op)) for n in self.part),
            tuple((self.at[e.src], self.at[e.dst], e.distance, e.kind) for e in self.edges),
        )

    def refuted(self) -> bool:
        """Whether there is no placement, as the exact search proves in its time."""
        apart = self._apart(order=True)
        together = self._together(apart)
        if max(map(len, together)) > self.ii:
            return True
        solver = solver_for(self.request, PROOF)
        refuted = solver.solve(self._model(apart, together)) == cp_model.INFEASIBLE
        self.request.budget.spend_exact(solver.response_proto.deterministic_time)
        return refuted

    def _apart(self, order: bool) -> NDArray[np.int64]:
        """Cycles from each operation to each other, at least (R. W. Floyd, S. Warshall).

        ``order``: with edges that carry no word.
        """
        apart = np.full((len(self.part),) * 2, -(1 << 30), np.int64)
        np.fill_diagonal(apart, 0)
        for e in self.edges:
            if order or e.kind != "order":
                pair = self.at[e.src], self.at[e.dst]
                apart[pair] = max(apart[pair], self.request.latency[e.src] - self.ii * e.distance)
        for k in range(len(self.part)):
            np.maximum(apart, apart[:, k, None] + apart[k], out=apart)
        return apart

    def _together(self, apart: NDArray[np.int64]) -> list[list[int]]:
        """Operations that must share a tile: a word has no time for a hop between them."""
        near = nx.empty_graph(len(self.part))
        if not self.request.early:
            words = self._apart(order=False)
            # There and back takes two hops more than in one tile, if words go both ways.
            close = (-(words + apart.T) < timing.HOP) | (-(words + words.T) < 2 * timing.HOP)
            near.add_edges_from(np.argwhere(close).tolist())
        return [sorted(group) for group in nx.connected_components(near)]

    def _model(self, apart: NDArray[np.int64], together: list[list[int]]) -> cp_model.CpModel:
        """Cycles and tiles of the operations; those that are ``together`` share a tile."""
        model, ii, grid = cp_model.CpModel(), self.ii, self.request.grid
        tile_of = {i: group for group, members in enumerate(together) for i in members}
        row, col, tile = [], [], []
        for members in together:
            takes = frozenset.intersection(
                *(grid.takes(self.request.graph.nodes[self.part[i]].op) for i in members)
            )
            row.append(model.new_int_var(0, grid.rows - 1, "row"))
            col.append(model.new_int_var(0, grid.cols - 1, "col"))
            tile.append(
                model.new_int_var_from_domain(
                    cp_model.Domain.from_values(sorted(r * grid.cols + c for r, c in takes)), "tile"
                )
            )
            model.add(tile[-1] == grid.cols * row[-1] + col[-1])
        if all(grid.takes(self.request.graph.nodes[n].op) == grid.all_tiles for n in self.part):
            # All reflections of the grid are alike.
            model.add(row[tile_of[0]] <= (grid.rows - 1) // 2)
            model.add(col[tile_of[0]] <= (grid.cols - 1) // 2)
        # Cycles count from some whole number of intervals before the first operation.
        base = ii * -(-int(max(0, -apart[0].min())) // ii)
        time, keys = [], []
        for i in range(len(self.part)):
            # All shifts in time are alike: the first operation begins an interval.
            first, last = base + int(apart[0, i]), base - int(apart[i, 0])
            time.append(model.new_int_var(first, last, "time"))
            slot = model.new_int_var(0, ii - 1, "slot")
            stage = model.new_int_var(first // ii, last // ii, "stage")
            model.add(time[i] == ii * stage + slot)
            key = model.new_int_var(0, ii * grid.rows * grid.cols - 1, "key")
            model.add(key == ii * tile[tile_of[i]] + slot)
            keys.append(key)
        model.add_all_different(keys)
        for e in self.edges:
            src, dst = self.at[e.src], self.at[e.dst]
            between = time[dst] + ii * e.distance - time[src]
            model.add(between >= self.request.latency[e.src])
            a, b = tile_of[src], tile_of[dst]
            if e.kind != "order" and a != b:
                along = []
                for axis, size in ((row, grid.rows), (col, grid.cols)):
                    hops = model.new_int_var(0, size - 1, "hops")
                    model.add(hops >= axis[a] - axis[b])
                    model.add(hops >= axis[b] - axis[a])
                    along.append(hops)
                model.add(between >= self.request.ready(e.src) + timing.HOP * sum(along))
        return model
