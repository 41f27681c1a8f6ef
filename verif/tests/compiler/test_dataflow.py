"""Dataflow graphs: reading, bounds, mapping, and that wrong programs are noticed."""

import dataclasses
import json

import pytest
from typer.testing import CliRunner

from compiler.check.loop import check_loop
from compiler.errors import CompileError, WrongProgram
from compiler.ir.dataflow import from_json, load
from compiler.map.loop.anneal import anneal
from compiler.map.loop.bounds import bounds
from compiler.map.loop.mapper import grid_architecture, map_dataflow
from compiler.map.loop.schedule import Grid, Placed, Request
from compiler.passes.legalise import legalise
from spu.arch import bitstream
from spu.arch.config import Space
from spu.arch.context import LINKS
from spu.arch.params import STAGES
from spu.command.main import app
from verif.stimulus import dataflows

FIR = dataflows.fir(4)
MEMORY_OPS = ("load", "store")
#: Quick to map.
GRAPHS = (FIR, dataflows.product(2), dataflows.butterflies(4), dataflows.random_body(8, 12))


def _mapped(graph, **options):
    return map_dataflow(from_json(graph), grid_architecture(4, 4, "all"), **options)


def _grid(memory):
    """4x4 tiles, so many of which have a memory."""
    tiles = Grid(4, 4, {}).tiles
    return Grid(4, 4, dict.fromkeys(MEMORY_OPS, frozenset(tiles[:memory])))


def _chain(*ops, distance=None):
    body = dataflows.Body("chain")
    nodes = [body.op(op, *([i - 1] if i else [])) for i, op in enumerate(ops)]
    if distance is not None:
        body.edge((nodes[-1], distance), nodes[0], 1)
    return body.json()


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph["name"])
def test_small_bodies_reach_the_bound_and_execute(graph, unit):
    mapped = _mapped(graph, unit_latency=unit)
    report = mapped.report()
    assert report["ii"] >= report["mii"] == max(report["res_mii"], report["rec_mii"])
    assert report["mii"] <= report["bound"] <= report["ii"]
    assert report["optimal"] == (report["ii"] == report["bound"])
    # A recurrence that is as long as the II stays in a tile, unless the first hop is free.
    assert report["optimal"] or not unit
    slots = {(tile, mapped.placed.time[n] % report["ii"]) for n, tile in mapped.placed.tile.items()}
    assert len(slots) == report["operations"]


def test_many_words_wait_in_one_tile():
    """All words of a filter, in the registers of the only tile there is."""
    body = dataflows.Body("wait")
    words = [body.op("in") for _ in range(6)]
    last = words[0]
    for word in words[1:]:
        last = body.op("sub", word, last)
    for word in words:
        last = body.op("xor", last, word)
    mapped = map_dataflow(from_json(body.json()), grid_architecture(1, 1, "all"))
    assert mapped.report()["ii"] == 17
    assert len(set(mapped.routes.register.values())) > 3


def test_same_graph_and_seed_give_the_same_bytes():
    assert _mapped(FIR).content == _mapped(FIR).content


def test_memory_operations_keep_to_their_columns():
    graph = from_json(FIR)
    mapped = map_dataflow(graph, grid_architecture(4, 4, "both"), True)
    columns = {
        mapped.placed.tile[n][1] for n in graph.operations if graph.nodes[n].op in MEMORY_OPS
    }
    assert columns <= {0, 3}


@pytest.mark.parametrize(
    ("ops", "distance", "rec"),
    [
        (("add", "mul", "sub"), 1, 3),
        (("add", "mul", "sub"), 2, 2),
        (("add", "mul", "sub"), 3, 1),
        (("add",) * 7, 2, 4),
        (("add",), 1, 1),
        (("add", "mul"), None, 1),
    ],
)
def test_recurrence_bound_is_the_longest_cycle_by_its_distance(ops, distance, rec):
    graph = from_json(_chain(*ops, distance=distance))
    found = bounds(graph, _grid(16), dict.fromkeys(graph.operations, 1))
    assert (found.res_mii, found.rec_mii) == (1, rec)
    if rec > 1:
        assert set(found.cycle) == set(graph.operations)
        assert "cycle" in found.binding(graph)


def test_resource_bound_counts_memory_apart_and_constants_not():
    body = dataflows.Body("loads")
    for _ in range(9):
        body.op("load", body.op("const"))
    graph = from_json(body.json())
    latency = dict.fromkeys(graph.operations, 1)
    assert bounds(graph, _grid(16), latency).res_mii == 1
    found = bounds(graph, _grid(4), latency)
    assert found.res_mii == 3
    assert "9 operations (load) on the 4 tiles" in found.binding(graph)


def test_a_word_that_waits_long_is_carried_on():
    """Ten iterations old when it is used: longer than a register can keep it."""
    body = dataflows.Body("old")
    x = body.op("in")
    body.op("out", body.op("add", x, (x, 10)))
    assert _mapped(body.json()).report()["ii"] == 1


def test_three_words_and_a_constant_at_different_ports():
    body = dataflows.Body("ports")
    a, b, c = (body.op("in") for _ in range(3))
    chosen = body.op("select", a, b, c)
    body.op("out", body.op("add", chosen, body.op("const")))
    functions = _mapped(body.json()).functions.values()
    assert {f.op: sorted(f.ports) for f in functions} == {
        "in": [],
        "select": ["a", "b", "c"],
        "add": ["a", "b"],
        "out": ["a"],
    }


def _changes(image):
    """Each context with one field that it uses taken away: links, operands, writes, operation."""
    for (space, *tile), rows in sorted(image.rows.items(), key=str):
        for slot in rows if space is Space.CONTEXT else ():
            fields = image.read(space, tuple(tile), slot)
            for name in (*LINKS, "a", "b", "op", "register"):
                if fields[name]:
                    yield tuple(tile), slot, fields | {name: 0}


def test_every_field_of_a_program_matters():
    """Each field that a context uses, taken away: the execution differs."""
    mapped = _mapped(FIR, unit_latency=True)
    image = bitstream.decode(mapped.content, mapped.arch).image
    check_loop(mapped)
    tried = 0
    for tile, slot, fields in _changes(image):
        changed = image.copy()
        changed.write(Space.CONTEXT, tile, slot, fields)
        with pytest.raises(WrongProgram):
            check_loop(mapped, changed)
        tried += 1
    assert tried > 40


def test_swapped_operands_are_noticed():
    body = dataflows.Body("difference")
    body.op("out", body.op("sub", body.op("in"), body.op("const")))
    mapped = _mapped(body.json())
    swapped = {code: type(f)(f.op, f.ports[::-1], f.needs) for code, f in mapped.functions.items()}
    with pytest.raises(WrongProgram, match="sub"):
        check_loop(dataclasses.replace(mapped, functions=swapped))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1", "not JSON"),
        ("[]", "JSON object"),
        ('{"nodes": []}', "edges must be a list"),
        ('{"nodes": [], "edges": []}', "no operations"),
        ('{"nodes": [{"id": 1, "op": ""}], "edges": []}', "op must be a name"),
        ('{"nodes": [{"id": "x", "op": "add"}], "edges": []}', "id must be int"),
        ('{"nodes": [{"id": -1, "op": "a"}], "edges": []}', "id must be 0 to"),
        ('{"nodes": [{"id": 1, "op": "a"}, {"id": 1, "op": "b"}], "edges": []}', "there already"),
        ('{"nodes": [{"id": 1, "op": "a"}], "edges": [{"src": 1, "dst": 2}]}', "no node 2"),
        (
            '{"nodes": [{"id": 1, "op": "a"}], "edges": [{"src": 1, "dst": 1}]}',
            "cycle without distance: node 1 (a) -> node 1 (a)",
        ),
        (
            '{"nodes": [{"id": 1, "op": "a"}], "edges": [{"src": 1, "dst": 1, "distance": -1}]}',
            "distance must be 0 to 255",
        ),
        (
            '{"nodes": [{"id": 1, "op": "a"}], "edges": [{"src": 1, "dst": 1, "kind": "x"}]}',
            "kind must be one of",
        ),
        (
            '{"nodes": [{"id": 1, "op": "a"}, {"id": 2, "op": "const"}], '
            '"edges": [{"src": 1, "dst": 2}]}',
            "takes no operands",
        ),
    ],
)
def test_a_file_that_is_no_graph_is_refused_with_the_reason(content, message, tmp_path):
    path = tmp_path / "graph.json"
    path.write_text(content)
    with pytest.raises(CompileError) as caught:
        load(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_graphs_of_narrow_operations_stay_as_they_are():
    graph = from_json(dataflows.stencil(2))
    legal = legalise(graph)
    assert legal.nodes == graph.nodes
    for n in graph.operations:
        assert [(e.src, e.distance, e.kind) for e in legal.operands[n]] == [
            (e.src, e.distance, e.kind) for e in graph.operands[n]
        ]


def test_an_operation_of_many_words_becomes_a_chain_that_takes_each_once():
    body = dataflows.Body("wide")
    words = [body.op("in") for _ in range(7)]
    total = body.op("sum", *words)
    body.edge((total, 1), total, 7)
    legal = legalise(from_json(body.json()))
    parts = {legal.nodes[n].op: n for n in legal.operations if n > total}
    assert list(parts) == ["sum.0", "sum.1", "sum.2"]
    assert [e.src for e in legal.operands[parts["sum.0"]]] == words[:3]
    assert [e.src for e in legal.operands[parts["sum.1"]]] == [parts["sum.0"], *words[3:5]]
    assert [e.src for e in legal.operands[total]] == [parts["sum.2"], total]
    assert [e.distance for e in legal.operands[total]] == [0, 1]
    assert _mapped(body.json(), unit_latency=True).report()["ii"] == 1


def test_constants_that_a_context_has_no_field_for_are_made_by_operations():
    body = dataflows.Body("constants")
    x, one, two = body.op("in"), body.op("const"), body.op("const")
    chosen = body.op("select", x, x, two)
    body.op("out", body.op("sub", chosen, one))
    body.op("out", body.op("sub", one, two))
    mapped = _mapped(body.json())
    (made,) = (n for n in mapped.graph.operations if mapped.graph.nodes[n].op == "pass")
    assert [e.src for e in mapped.graph.operands[made]] == [two]
    subtractions = [
        [e.src for e in mapped.graph.operands[n]]
        for n in mapped.graph.operations
        if mapped.graph.nodes[n].op == "sub"
    ]
    assert subtractions == [[chosen, one], [one, made]]


def test_a_word_taken_twice_by_an_operation_that_numbers_no_operands():
    graph = {
        "nodes": [{"id": 0, "op": "in"}, {"id": 1, "op": "mul"}],
        "edges": [{"src": 0, "dst": 1}, {"src": 0, "dst": 1}],
    }
    assert sorted(f.ports for f in _mapped(graph).functions.values()) == [(), ("a", "b")]


@pytest.mark.parametrize("memory", ["west", "both", "all"])
def test_a_larger_grid_never_has_a_larger_interval(memory):
    for graph in (dataflows.stencil(2), dataflows.fir(12)):
        archs = [grid_architecture(size, size, memory) for size in (3, 4, 6)]
        found = [map_dataflow(from_json(graph), arch, True).report() for arch in archs]
        assert all(report["optimal"] for report in found), found
        assert [r["ii"] for r in found] == sorted((r["ii"] for r in found), reverse=True)


def test_many_operations_reach_the_bound_on_a_large_grid():
    graph = from_json(dataflows.random_body(7, 120))
    report = map_dataflow(graph, grid_architecture(6, 6, "all"), True).report()
    assert report["ii"] == report["mii"]
    assert report["utilisation"] > 0.8


def test_annealing_keeps_the_rules_and_depends_on_its_seed_alone():
    graph = from_json(dataflows.random_body(3, 60))
    arch = grid_architecture(5, 5, "west")
    grid = Grid(5, 5, dict.fromkeys(MEMORY_OPS, frozenset(arch.memory_tiles)))
    for early in (0, 1):
        request = Request(graph, grid, dict.fromkeys(graph.operations, 1), early, seed=4)
        placed = anneal(request, 4)
        assert isinstance(placed, Placed)
        assert placed == anneal(request, 4)
        assert len({(placed.tile[n], placed.time[n] % 4) for n in graph.operations}) == 60
        for n in graph.operations:
            assert graph.nodes[n].op not in MEMORY_OPS or placed.tile[n] in arch.memory_tiles
        for e in graph.words:
            (a, b), (c, d) = placed.tile[e.src], placed.tile[e.dst]
            between = placed.time[e.dst] + 4 * e.distance - placed.time[e.src]
            assert between >= max(1, 1 - early + abs(a - c) + abs(b - d))


def test_command_maps_and_leaves_a_program(tmp_path):
    path = tmp_path / "fir.json"
    path.write_text(json.dumps(FIR))
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["map", str(path), "--unit-latency", "--json", "-o", str(out)])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert {
        "ii",
        "mii",
        "res_mii",
        "rec_mii",
        "latency",
        "utilisation",
        "optimal",
        "seconds",
    } <= set(report)
    details = json.loads((out / "mapping.json").read_text())
    assert len(details["places"]) == report["operations"]
    assert len((out / "program.spub").read_bytes()) == report["bytes"]
    text = CliRunner().invoke(app, ["map", str(path)])
    assert "fir4: 13 operations on 4x4, II 2 (MII 2" in text.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grid", "4"], "rows x columns like 4x4"),
        (["--grid", "17x4"], "1x1 to 16x16"),
        (["--memory-columns", "none"], "none"),
    ],
)
def test_command_refuses_bad_options_in_one_line(arguments, message, tmp_path):
    path = tmp_path / "fir.json"
    path.write_text(json.dumps(FIR))
    result = CliRunner().invoke(app, ["map", str(path), *arguments])
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_graph_too_large_for_the_contexts_says_what_binds():
    body = dataflows.Body("many")
    for _ in range(65):
        body.op("in")
    with pytest.raises(CompileError, match="65 operations on 1 tiles: needs an II of 65"):
        map_dataflow(from_json(body.json()), grid_architecture(1, 1, "all"))


def test_a_graph_of_5000_operations_is_refused_at_once_if_it_is_too_large():
    with pytest.raises(CompileError, match="5000 operations on 16 tiles: needs an II of 313"):
        map_dataflow(from_json(dataflows.random_body(0, 5000)), grid_architecture(4, 4, "all"))


def test_a_chain_as_long_as_the_stages_in_flight_is_mapped_at_one():
    """Words of graphs that nothing leaves need no cycles to leave in."""
    mapped = map_dataflow(
        from_json(_chain(*["step"] * STAGES)), grid_architecture(5, 4, "all"), unit_latency=True
    )
    assert mapped.placed.ii == 1
    assert mapped.span == STAGES


def test_a_word_that_waits_for_many_iterations_finds_a_way():
    """Its copies of other iterations take registers and links as well."""
    body = dataflows.Body("late")
    x = body.op("in")
    y = x
    for _ in range(24):
        y = body.op("step", y)
    body.op("add", y, x)
    mapped = map_dataflow(from_json(body.json()), grid_architecture(4, 4, "all"), unit_latency=True)
    assert mapped.placed.ii == mapped.bounds.mii == 2
