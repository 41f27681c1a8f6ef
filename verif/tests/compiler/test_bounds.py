"""Bounds of the initiation interval, against enumeration."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest

from compiler.ir.dataflow import from_json
from compiler.map.loop.bounds import bounds
from compiler.map.loop.cycles import Arc, critical_cycle, longest_paths
from compiler.map.loop.schedule import Grid
from verif.stimulus import dataflows


def _enumerated(arcs: Sequence[Arc]) -> Fraction | None:
    """The largest ratio of all simple cycles; of arcs between the same nodes the least distance."""
    length = {src: cycles for src, _, cycles, _ in arcs}
    least: dict[tuple[int, int], int] = {}
    for src, dst, _, distance in arcs:
        least[src, dst] = min(distance, least.get((src, dst), distance))
    return max(
        (
            Fraction(
                sum(length[n] for n in cycle),
                sum(least[step] for step in pairwise([*cycle, cycle[0]])),
            )
            for cycle in nx.simple_cycles(nx.DiGraph(list(least)))
        ),
        default=None,
    )


def _random_arcs(rng: np.random.Generator) -> list[Arc]:
    """Up to nine nodes, several arcs between two of them, no cycle without distance."""
    nodes = int(rng.integers(1, 10))
    length = rng.choice([1, 1, 1, 3, int(rng.integers(1, 10))], nodes).tolist()
    arcs = []
    for src, dst in rng.integers(0, nodes, (int(rng.integers(0, 2 * nodes + 3)), 2)).tolist():
        distance = int(rng.choice([0, 0, 1, 1, 2, int(rng.integers(0, 256))]))
        if src >= dst:
            distance = max(distance, 1)
        arcs.append((src, dst, length[src], distance))
    return arcs


@pytest.mark.parametrize("graphs", [1_500, pytest.param(10_000, marks=pytest.mark.regress)])
def test_the_critical_cycle_has_the_largest_ratio_of_all_cycles(graphs):
    rng, cyclic = np.random.default_rng(graphs), 0
    for _ in range(graphs):
        arcs = _random_arcs(rng)
        found, best = critical_cycle(arcs), _enumerated(arcs)
        assert (found.ratio if found else None) == best, arcs
        if found:
            cyclic += 1
            steps = list(pairwise([*found.nodes, found.nodes[0]]))
            assert len(set(found.nodes)) == len(found.nodes)
            assert (
                sum(min(arc[3] for arc in arcs if arc[:2] == step) for step in steps)
                <= found.distance
            )
            assert found.length == sum(
                next(arc[2] for arc in arcs if arc[:2] == step) for step in steps
            )
    assert cyclic > graphs // 2


def test_a_cycle_that_is_late_by_little_is_found_among_many():
    """Cycles of one ratio but one, which is larger by less than a thousandth."""
    body = dataflows.Body("rings")
    for ring in range(40):
        nodes = [body.op("add") for _ in range(25)]
        for a, b in pairwise([*nodes, nodes[0]]):
            body.edge((a, int(b == nodes[0]) * (50 - (ring == 17))), b, 0)
    graph = from_json(body.json())
    found = bounds(graph, Grid(16, 16, {}), dict.fromkeys(graph.operations, 99))
    assert found.rec_mii == -(-25 * 99 // 49) == 51
    assert sorted(found.cycle) == list(range(17 * 25, 18 * 25))


def test_operations_of_a_part_of_the_tiles_are_counted_with_those_of_parts_of_it():
    graph = from_json({"nodes": [{"id": i, "op": "ab"[i % 2]} for i in range(12)], "edges": []})
    tiles = Grid(4, 4, {}).tiles
    grid = Grid(4, 4, {"a": frozenset(tiles[:4]), "b": frozenset(tiles[:3])})
    found = bounds(graph, grid, dict.fromkeys(graph.operations, 1))
    assert found.res_mii == 3
    assert "12 operations (a, b) on the 4 tiles" in found.resource


def test_longest_paths_exist_unless_a_cycle_raises_them():
    value = {0: 0}
    assert longest_paths(value, [(1, 2, 4), (0, 1, 3), (2, 1, -4)])
    assert value == {0: 0, 1: 3, 2: 7}
    assert not longest_paths({0: 0}, [(0, 1, 3), (1, 0, -2)])
