"""Mapping: what is proven, what ends a search, and graphs that are strange."""

import itertools
import json
import time
from dataclasses import replace
from itertools import pairwise

import pytest
from typer.testing import CliRunner

from compiler.errors import CompileError
from compiler.ir.dataflow import from_json, to_json
from compiler.ir.memory import uses_memory
from compiler.map.loop import budget, cycles, mapper
from compiler.map.loop.budget import Budget, OutOfTimeError
from compiler.map.loop.lower_bound import lower_bound
from compiler.map.loop.mapper import grid_architecture, map_dataflow, map_kernel, minimum_ii
from compiler.map.loop.schedule import Grid, Request
from compiler.passes.legalise import legalise
from spu.arch.operations import OPERATIONS
from spu.arch.params import CONFIGS, STAGES
from spu.command.main import app
from verif.stimulus import dataflows
from verif.stimulus.loops import COUNT, LEAST, LOOPS, MOST, loop


def _mapped(content, size=4, unit=True, seconds=30, memory="all"):
    return map_dataflow(
        from_json(content), grid_architecture(size, size, memory), unit, seconds=seconds
    )


def _chain(length, name="chain"):
    body = dataflows.Body(name)
    for i in range(length):
        body.op("add", *([i - 1] if i else []))
    return body


@pytest.mark.parametrize("size", [6, 12])
def test_a_chain_is_bound_by_the_stages_of_an_iteration_on_any_grid(size):
    report = _mapped(_chain(150).json(), size).report()
    assert report["ii"] == report["bound"] == -(-150 // STAGES) == 10
    assert report["optimal"]
    assert "node 149 (add) comes in cycle 149" in report["binding"]
    assert report["mii"] == -(-150 // size**2)


def test_a_chain_that_no_array_takes_says_so_at_once():
    start = time.process_time()
    with pytest.raises(CompileError, match=r"node 1099 .* lasts 16 intervals at most"):
        _mapped(_chain(1100).json(), 16)
    assert time.process_time() - start < 5


def test_words_kept_for_many_iterations_are_bound_by_links_and_registers():
    body = dataflows.Body("late")
    x = body.op("in")
    body.op("out", body.op("sub", x, (x, 90)))
    least = minimum_ii(from_json(body.json()), grid_architecture(3, 3, "all"))
    # 24 links, 9 tiles of 8 registers: 96 words; at an II of 7, 9 * 7 + 24.
    assert (least.bounds.mii, least.ii) == (1, 8)
    assert "at least 91 at a time, links and registers hold 87" in least.what
    body.edge((x, 120), body.op("out"), 0)
    with pytest.raises(CompileError, match="registers hold 96: needs an II of 65"):
        _mapped(body.json(), 3)


def test_recurrences_that_have_no_time_for_hops_are_proven_to_need_more():
    """Two rings through one operation: both would fill its tile at an II of their length."""
    body = dataflows.Body("rings")
    x = body.op("add")
    for ring in range(2):
        nodes = [x, *(body.op("add") for _ in range(4))]
        for a, b in pairwise([*nodes, x]):
            body.edge((a, int(b == x)), b, ring if b == x else 0)
    report = _mapped(body.json(), unit=False).report()
    assert report["mii"] == 5
    assert report["ii"] == report["bound"] == 7
    assert report["optimal"]
    assert "9 operations of cycles" in report["binding"]
    assert _mapped(body.json(), unit=True).report()["ii"] == 5


def test_what_is_optimal_is_said_of_the_graph_as_given():
    """Sixteen operations fill the tiles; what their constants add needs a second slot."""
    body = dataflows.Body("selects")
    for _ in range(2):
        words = [body.op("in") for _ in range(2)]
        for _ in range(6):
            body.op("select", *words, body.op("const"))
    report = _mapped(body.json()).report()
    assert report["given_operations"] == report["mii"] * 16 == 16
    assert len(report["added"]) == report["operations"] - 16 == 12
    assert all(name.endswith("(pass)") for name in report["added"])
    assert (report["legalised_mii"], report["ii"], report["optimal"]) == (2, 2, False)
    assert "legalisation adds node" in report["failures"][0]


def test_an_operation_of_many_words_keeps_its_recurrences_short():
    body = dataflows.Body("wide")
    total = body.op("sum")
    for i, word in enumerate([body.op("step", (total, 1)), *(body.op("in") for _ in range(8))]):
        body.edge(word, total, i)
    graph = from_json(body.json())
    assert legalise(graph).operands[total][-1].src == 1
    assert _mapped(body.json()).report()["ii"] == 2


@pytest.mark.parametrize("ops", [("store",), ("add",), ("select",)])
def test_operations_of_constants_alone_are_mapped(ops):
    body = dataflows.Body("constants")
    first = body.op("const")
    for op in ops:
        body.op(op, *[first, *(body.op("const") for _ in range(2))][: len(op) // 2])
    for unit in (False, True):
        assert _mapped(body.json(), unit=unit).report()["ii"] == 1


def test_more_operations_than_codes_are_told_apart_by_their_tiles():
    body = dataflows.Body("names")
    for i in range(90):
        body.op(f"op{i}", *([i - 1] if i else []))
    mapped = _mapped(body.json())
    assert len({f.op for f in mapped.functions.values()}) == 90
    assert max(code for _, code in mapped.functions) < 64


def test_memory_operations_are_known_by_table_or_declaration():
    for name in (
        "load",
        "STORE",
        "OLOAD",
        "loadb",
        "memref.load",
        "affine.store",
        "load_i32",
        "llvm.load",
        "LD",
        "st",
    ):
        assert uses_memory(name), name
    for name in ("add", "load_address", "unload", "restore", "stall", "const"):
        assert not uses_memory(name), name
    body = dataflows.Body("tables")
    for op in ("OSTORE", "lut", "lut"):
        body.op(op, body.op("in"))
    content = body.json() | {"operations": {"lut": {"memory": True}}}
    graph = from_json(content)
    assert graph.memory == {"OSTORE", "lut"}
    assert to_json(from_json(to_json(graph))) == to_json(graph)
    mapped = map_dataflow(graph, grid_architecture(3, 3, "west"), True)
    assert {tile[1] for n, tile in mapped.placed.tile.items() if graph.nodes[n].op != "in"} == {0}
    with pytest.raises(CompileError, match="memory must be true or false"):
        from_json(content | {"operations": {"lut": {}}})


def test_a_search_ends_when_its_seconds_do(tmp_path):
    path = tmp_path / "large.json"
    path.write_text(json.dumps(dataflows.random_body(9, 2000)))
    start = time.monotonic()
    result = CliRunner().invoke(app, ["map", str(path), "--grid", "12x12", "--seconds", "3"])
    assert result.exit_code == 2, result.output
    text = " ".join(result.output.split())
    assert "no II below 27 is possible: node" in text
    assert "stopped after 3 seconds" in text
    assert time.monotonic() - start < 30


def test_a_sum_that_waits_in_a_register_takes_the_time_to_write_it():
    body = dataflows.Body("sum")
    word = body.op("in")
    total = body.op("fma", word, word)
    body.edge((total, 1), total, 2)
    body.op("out", total)
    report = map_kernel(from_json(body.json()), CONFIGS["basic"], seconds=20).report()
    assert report["mii"] == OPERATIONS["fma"].latency == 3
    assert report["ii"] == report["bound"] == 4
    assert "third words take into a register" in report["binding"]


def _adverse(nodes, back):
    """Arcs of distance 1 against the order of the operations, and arcs back."""
    ops = [{"id": i, "op": "add"} for i in range(nodes)]
    arcs = [{"src": i + 1, "dst": i, "distance": 1} for i in range(nodes - 1)]
    return {
        "name": "adverse",
        "nodes": ops,
        "edges": arcs
        + [{"src": i, "dst": i + back, "distance": back} for i in range(0, nodes - back, 3)],
    }


class _Asked(Budget):
    """Ends when it was asked so many times."""

    most: int = 0

    def check(self):
        self.most -= 1
        if self.most < 0:
            raise OutOfTimeError


def test_bounds_of_adverse_graphs_end_when_the_seconds_do():
    with pytest.raises(CompileError) as found:
        _mapped(_adverse(700, 180), seconds=1e-6)
    assert "no II below 44 is possible: 700 operations on 16 tiles" in str(found.value)
    assert "stopped after 1e-06 seconds" in str(found.value)
    with pytest.raises(CompileError, match=r"words that wait: .* needs an II of 65"):
        _mapped(_adverse(700, 180), seconds=60)


def test_bounds_ask_for_the_time_as_they_work(monkeypatch):
    monkeypatch.setattr(cycles, "PIECE", 1)
    graph = from_json(_adverse(300, 90))
    request = Request(graph, Grid(3, 3, {}), dict.fromkeys(graph.operations, 1), 1)
    asked = []
    for most in (0, 5, 40, 1 << 20):
        budget = _Asked()
        budget.most = most
        least = lower_bound(replace(request, budget=budget), 64, search=False)
        assert least.stopped == (budget.most < 0)
        assert least.ii >= least.bounds.mii == 34
        asked.append(most - budget.most)
    # That of the critical cycle is asked no more once it is over, that of the limits once.
    assert all(most < times <= most + 2 for most, times in zip((0, 5, 40), asked, strict=False))
    assert 42 < asked[3] < 1 << 20
    assert (least.ii, least.stopped) == (65, False)


def test_the_cycle_that_is_known_when_time_is_over_is_the_bound(monkeypatch):
    """A small one; and one whose long arc is carried round an arc a round, against their order."""
    monkeypatch.setattr(cycles, "PIECE", 1)
    arcs = [(0, 1, 3, 0), (1, 0, 3, 2), (10, 49, 500, 1)]
    arcs += [(i + 1, i, 1, 1) for i in range(10, 49)]

    def ask():
        raise OutOfTimeError

    assert cycles.critical_cycle(arcs, ask).nodes == (0, 1)
    best = cycles.critical_cycle(arcs)
    assert (best.length, best.distance, len(best.nodes)) == (539, 40, 40)


def test_names_that_cannot_be_printed_are_printed(tmp_path):
    path = tmp_path / "half.json"
    path.write_text('{"name": "\\ud800", "nodes": [{"id": 0, "op": "\\udfff"}], "edges": []}')
    result = CliRunner().invoke(app, ["map", str(path)])
    assert result.exit_code == 0, result.output
    assert "?: 1 operations on 4x4" in result.output


def test_the_published_loops_are_of_all_sizes_and_kinds():
    graphs = [from_json(content) for content in LOOPS]
    sizes = [len(graph.operations) for graph in graphs]
    assert len({graph.name for graph in graphs}) == len(graphs) == COUNT == 200
    assert LEAST <= min(sizes) < 5
    assert MOST - 5 < max(sizes) < MOST + 10
    assert {e.distance for graph in graphs for e in graph.edges} == set(range(9))
    assert sum(bool(graph.memory) for graph in graphs) > 150
    assert (
        sum(any(graph.nodes[n].op == "select" for n in graph.operations) for graph in graphs) > 80
    )
    takers = [
        max(sum(e.src == n for e in graph.words) for n in graph.operations) for graph in graphs
    ]
    assert max(takers) > 8
    assert LOOPS[7] == loop(7)


def _kernel(length):
    """The greatest of sums of one word and itself, as many as that."""
    body = dataflows.Body("sums")
    last = body.op("in")
    for _ in range(length):
        last = body.op("max", body.op("add", last, last), last)
    body.op("out", last)
    return from_json(body.json())


def test_kernels_of_models_do_not_depend_on_the_clock(monkeypatch):
    """A machine so loaded that each look at the clock finds a thousand seconds gone."""
    graph, ticks = _kernel(8), itertools.count(budget.clock.monotonic(), 1000.0)
    wanted = map_kernel(graph, CONFIGS["basic"])
    monkeypatch.setattr(budget.clock, "monotonic", lambda: next(ticks))
    assert map_kernel(graph, CONFIGS["basic"]).content == wanted.content
    with pytest.raises(CompileError, match="stopped after 60 seconds"):
        map_kernel(graph, CONFIGS["basic"], seconds=60)


def test_work_stops_the_search_of_a_kernel(monkeypatch):
    graph, given = _kernel(8), Budget(seconds=0.004, clocked=False)
    monkeypatch.setattr(mapper, "Budget", lambda *_, **__: given)
    with pytest.raises(CompileError, match=r"stopped after 0.004 seconds, as counted in moves"):
        map_kernel(graph, CONFIGS["basic"])
    assert 0.004 <= given.work < 0.1
    assert given.limits(2.0) == (0.0, float("inf"))
    assert Budget(8.0, clocked=False).limits(5.0) == (2.0, float("inf"))
