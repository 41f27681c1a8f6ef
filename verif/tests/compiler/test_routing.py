"""Routing: nothing is used twice, and operations move where there is no route."""

import os
from collections import Counter

import pytest

from compiler.errors import CompileError
from compiler.ir.dataflow import from_json
from compiler.map.loop import kernel
from compiler.map.loop.anneal import anneal
from compiler.map.loop.mapper import grid_architecture, map_dataflow
from compiler.map.loop.pathfinder import Congested, Routed, negotiate
from compiler.map.loop.route import Wait
from compiler.map.loop.schedule import Failure, Grid, Placed, Request, choose_registered, schedule
from compiler.passes.legalise import legalise
from pal_units.compiled import code_directory
from verif.stimulus import dataflows


def _request(content: dict, rows: int, cols: int, ii: int) -> Request:
    graph = legalise(from_json(content))
    return choose_registered(
        Request(graph, Grid(rows, cols, {}), dict.fromkeys(graph.operations, 1), early=1), ii
    )


def _scheduled(request: Request, ii: int) -> Placed:
    placed = schedule(request, ii)
    assert isinstance(placed, Placed)
    return placed


def _check(request: Request, found: Routed) -> None:
    """Every word arrives, from a register where it must, and no resource has too many users."""
    placed, used = found.placed, Counter[tuple]()
    nets = {net.source: net for net in found.routes.trees}
    held: dict[tuple, set[int]] = {}
    for net in nets.values():
        parts = set()
        for place, step in net.into.items():
            if step is None:
                continue
            assert step.start in net.into
            assert step.end == place
            (tile, time), end = step.start, step.end[1]
            if isinstance(step, Wait):
                assert time < end <= time + placed.ii
                register = found.routes.register[step.start]
                parts |= {("write", tile, time), ("read", tile, end, register)}
                parts |= {("hold", tile, t, register) for t in range(time + 1, end + 1)}
            else:
                parts.add((step.link, tile, time))
        for kind, tile, time, *register in parts:
            used[kind, tile, time % placed.ii, *register] += 1
            if kind == "read":
                held.setdefault((tile, time % placed.ii), set()).add(register[0])
    # A register read in a slot by several words would be one that holds several.
    assert set(used.values()) <= {1}
    constants = {e.dst for e in request.graph.edges if e.src not in request.graph.operations}
    for n in request.graph.operations:
        at = placed.tile[n], placed.time[n] % placed.ii
        assert len(held.get(at, ())) + (n in constants) <= 2
    for edge in request.graph.words:
        place = placed.tile[edge.dst], placed.time[edge.dst] + placed.ii * edge.distance
        step = nets[edge.src].into[place]
        assert isinstance(step, Wait) or edge not in found.registered
    assert all(
        sum(e in found.registered for e in words) == 1 for words in request.graph.wide.values()
    )


@pytest.mark.parametrize(
    ("content", "rows", "cols", "ii"),
    [
        (dataflows.random_body(2, 36), 4, 4, 3),
        (dataflows.random_body(5, 60), 4, 4, 4),
        (dataflows.stencil(4), 5, 5, 3),
        (dataflows.butterflies(8), 6, 6, 2),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else str(value),
)
def test_routes_of_a_schedule_that_had_none(content, rows, cols, ii):
    """Schedules of the exact search are full of words that meet."""
    request = _request(content, rows, cols, ii)
    placed = _scheduled(request, ii)
    found = negotiate(request, placed)
    assert isinstance(found, Routed)
    assert found.placed != placed
    _check(request, found)


def test_words_that_no_place_of_an_operation_helps_stay_congested():
    body = dataflows.Body("far")
    x = body.op("in")
    y = body.op("step", (x, 2))
    body.edge((y, 2), x, 0)
    body.edge((y, 3), y, 1)
    request = _request(body.json(), 1, 2, 1)
    found = negotiate(request, _scheduled(request, 1))
    assert isinstance(found, Congested)
    assert found.reason.startswith("no free way through ")


def test_a_hopeless_schedule_is_given_up_at_once():
    """More words wait for each other than the registers of two tiles hold."""
    body = dataflows.Body("waiting")
    x = body.op("in")
    words = [body.op("step", x) for _ in range(40)]
    for a, b in zip(words, words[::-1], strict=True):
        body.op("add", a, (b, 3))
    request = _request(body.json(), 1, 2, 41)
    found = negotiate(request, _scheduled(request, 41))
    assert isinstance(found, Congested)
    assert found.hopeless


def test_of_three_words_another_waits_in_the_register():
    """A word that returns to its operation after two intervals of one cycle cannot wait in a
    register, which is written again after one; it takes a turn to a neighbour."""
    body = dataflows.Body("turn")
    words = [body.op("in") for _ in range(2)]
    again = body.op("step", *words)
    body.edge((again, 2), again, 2)
    mapped = map_dataflow(from_json(body.json()), grid_architecture(3, 3, "all"), unit_latency=True)
    assert mapped.placed.ii == 1


def _constants(count: int, others: int = 0) -> dict:
    """A chain of operations with constants, and of others without."""
    body = dataflows.Body(f"constants{count}")
    x = body.op("in")
    for _ in range(count):
        x = body.op("add", x, body.op("const"))
    for _ in range(others):
        x = body.op("step", x)
    return body.json()


def test_constants_go_to_tiles_that_hold_them():
    """The first half of a chain on one tile would be the shortest way."""
    mapped = map_dataflow(from_json(_constants(24, 23)), grid_architecture(1, 2, "all"))
    graph, tiles = mapped.graph, mapped.placed.tile
    fed = [tiles[e.dst] for e in graph.edges if e.src not in graph.operations]
    assert len(fed) == 24
    assert max(Counter(fed).values()) <= 16
    with pytest.raises(CompileError, match="36 constants, 2 tiles hold 16 each"):
        map_dataflow(from_json(_constants(36)), grid_architecture(1, 2, "all"))


@pytest.mark.parametrize(
    "content",
    [dataflows.product(12), dataflows.stencil(8), dataflows.random_body(102, 180)],
    ids=lambda c: c["name"],
)
def test_large_graphs_that_routing_makes_difficult(content):
    mapped = map_dataflow(
        from_json(content), grid_architecture(8, 8, "all"), unit_latency=True, seconds=600
    )
    assert mapped.placed.ii == mapped.bounds.mii


def test_annealing_is_reheated_for_dependences_that_are_short():
    """Operations on almost all tiles in almost all cycles."""
    request = _request(dataflows.random_body(106, 240), 7, 7, 5)
    assert isinstance(anneal(request, 5, 0.25, 0), Failure)
    assert isinstance(anneal(request, 5, 0.25), Placed)


def test_kernels_of_another_version_are_compiled_again(tmp_path):
    """What is compiled holds all that it calls, of other files too; numba goes by their times."""
    file = tmp_path / "placement.py"
    file.write_text("HOP = 1\n")
    first = code_directory((file,))
    code_directory.cache_clear()
    assert first == code_directory((file,))
    file.write_text("HOP = 2\n")
    code_directory.cache_clear()
    second = code_directory((file,))
    assert second != first
    os.utime(file, (0, 0))
    code_directory.cache_clear()
    assert code_directory((file,)) not in (first, second)
    file.write_text("HOP = 2\n")
    code_directory.cache_clear()
    second = code_directory((file,))
    assert [str(path) for path in (tmp_path / "__pycache__").iterdir()] == [second]
    assert {"placement.py", "params.py"} <= {path.name for path in kernel._SOURCES}
    assert "limits.py" not in {path.name for path in kernel._SOURCES}
