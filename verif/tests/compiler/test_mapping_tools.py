"""Around mappings: explanations, pictures, advice, tasks in Python, the schema."""

import json
from xml.etree import ElementTree

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from compiler.errors import CompileError
from compiler.explain import mapping as explain
from compiler.explain.pictures import grid, schedule
from compiler.front.schema import schema
from compiler.front.tasks import Int, Pal, carried, task
from compiler.ir.dataflow import EDGE_MEMBERS, GRAPH_MEMBERS, NODE_MEMBERS, from_json, to_json
from compiler.map.loop import advice
from compiler.map.loop.advice import changes, smallest_change
from compiler.map.loop.mapper import grid_architecture, ii_with_registers, map_dataflow
from spu.arch.package import store
from spu.arch.params import CONFIGS
from spu.command.main import app
from verif import kernels
from verif.digits.data import MODEL
from verif.pages import reference
from verif.stimulus import dataflows
from verif.studies import models

RUN = CliRunner()


def test_explain_names_the_critical_cycle_and_draws(mapped):
    result = RUN.invoke(app, ["explain", str(mapped)])
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "critical cycle node 0 (phi) -> node 2 (add) -> node 0 (phi), II at least 2" in text
    assert "8x8 tiles: nothing" in text
    assert "one more register: nothing, the II is the bound" in text
    operations = [
        place["id"] for place in json.loads((mapped / "mapping.json").read_text())["places"]
    ]
    for name in ("grid.svg", "schedule.svg"):
        root = ElementTree.fromstring((mapped / name).read_text())
        labels = " ".join(e.text or "" for e in root.iter())
        assert all(f" {n}" in labels for n in operations)


def test_explain_counts_what_the_routes_use(mapped):
    explained = explain.load(mapped)
    assert (
        sum(explained.hops().values())
        == sum(len(net["hops"]) for net in explained.report["routes"])
        > 0
    )
    assert max(explained.registers().values(), default=0) <= 8
    assert all(count <= explained.ii for count in explained.hops().values())
    assert "<svg" in grid(explained)
    assert "<svg" in schedule(explained)


def test_a_larger_grid_is_said_to_buy_what_its_bound_allows(tmp_path):
    path = tmp_path / "many.json"
    path.write_text(json.dumps(dataflows.random_body(0, 20)))
    result = RUN.invoke(app, ["map", str(path), "--grid", "2x2", "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    lines = explain.buys(explain.load(tmp_path / "out"))
    assert lines[2].startswith("4x4 tiles: an II of 2 at best")


def test_members_of_a_graph_that_mean_nothing_are_told(tmp_path):
    graph = dataflows.random_body(0, 4)
    path = tmp_path / "g.json"
    path.write_text(json.dumps(graph))
    result = RUN.invoke(app, ["map", str(path), "--grid", "2x2"])
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    for edge in graph["edges"]:
        edge["distence"] = 1
    graph["nodes"][0]["latency"] = graph["author"] = 3
    path.write_text(json.dumps(graph))
    result = RUN.invoke(app, ["map", str(path), "--grid", "2x2"])
    assert result.exit_code == 0, result.output
    count = len(graph["edges"])
    assert result.stderr == (
        f"spu: note: {path}: members that mean nothing to spu map: author (1), latency of nodes "
        f"(1), distence of edges ({count})\n"
    )


def test_the_schema_has_the_members_that_are_read():
    found = schema()["properties"]
    assert tuple(found) == GRAPH_MEMBERS
    assert {*found["nodes"]["items"]["properties"]} == {*NODE_MEMBERS}
    assert {*found["edges"]["items"]["properties"]} == {*EDGE_MEMBERS}


def test_explain_refuses_what_is_no_mapping(tmp_path):
    for text in ("{", "{}", '{"graph": {"nodes": [], "edges": []}}'):
        (tmp_path / "mapping.json").write_text(text)
        result = RUN.invoke(app, ["explain", str(tmp_path)])
        assert result.exit_code == 2
        assert "not what spu map wrote" in result.output or "no operations" in result.output


def test_explain_says_what_bounds_models(tmp_path):
    images = models.digits("cnn", 2)
    store.save(models.compiled(images, CONFIGS["basic"]), tmp_path / "cnn")
    result = RUN.invoke(app, ["explain", str(tmp_path / "cnn")])
    text = " ".join(result.output.split())
    assert result.exit_code == 0, result.output
    assert "takes most" in text
    assert "II 1, the lower" in text
    made = RUN.invoke(app, ["compile", str(MODEL), "--arch", "tiny", "-o", str(tmp_path / "mlp")])
    assert made.exit_code == 0, made.output
    result = RUN.invoke(app, ["explain", str(tmp_path / "mlp")])
    assert "the bound is 202, by matrix units" in " ".join(result.output.split())
    (tmp_path / "mlp" / "report.json").write_text("[]")
    result = RUN.invoke(app, ["explain", str(tmp_path / "mlp")])
    assert result.exit_code == 2
    assert "not what spu compile wrote" in " ".join(result.output.split())


@pytest.mark.parametrize("command", ["explain", "disasm"])
def test_a_damaged_program_of_a_mapping_is_refused(command, mapped):
    path = mapped / "program.spub"
    content = path.read_bytes()
    for change, rule in (
        (content[:-8], "truncated in section"),
        (content[:9], "truncated: 9 bytes"),
        (content[:8] + bytes(4) + content[12:], "is for an architecture 0x0"),
        (content[:200] + bytes([content[200] ^ 1]) + content[201:], "CRC"),
    ):
        path.write_bytes(change)
        result = RUN.invoke(app, [command, str(mapped)])
        assert result.exit_code == 2
        assert result.stderr.startswith(f"spu: error: {path}: ")
        assert rule in result.stderr
        assert result.stdout == ""
    path.unlink()
    result = RUN.invoke(app, [command, str(mapped)])
    assert result.exit_code == 2
    assert "program.spub" in result.stderr
    assert not list(mapped.glob("*.svg"))


@pytest.mark.parametrize("memory", ["west", "both", "all"])
def test_a_mapping_is_disassembled_for_the_array_that_it_is_for(memory, tmp_path):
    path, out = tmp_path / "fir.json", tmp_path / "out"
    path.write_text(json.dumps(dataflows.fir(4)))
    line = ["map", str(path), "--grid", "3x3", "--memory-columns", memory, "-o", str(out)]
    assert RUN.invoke(app, line).exit_code == 0
    result = RUN.invoke(app, ["disasm", str(out)])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"architecture grid-3x3-{memory} ")
    result = RUN.invoke(app, ["run", str(out), "--input", "x.npy", "-o", str(tmp_path / "y.npy")])
    assert (result.exit_code, "holds what spu map wrote" in result.stderr) == (2, True)
    (out / "mapping.json").unlink()
    for command, rule in (
        ("disasm", "has no report.json or mapping.json"),
        ("explain", "has neither mapping.json nor report.json"),
    ):
        result = RUN.invoke(app, [command, str(out)])
        assert (result.exit_code, rule in result.stderr) == (2, True), result.stderr


def test_programs_of_known_arrays_need_no_report(tmp_path):
    path, out = tmp_path / "saxpy.json", tmp_path / "out"
    path.write_text(json.dumps(dataflows.saxpy()))
    assert RUN.invoke(app, ["map", str(path), "--arch", "tiny", "-o", str(out)]).exit_code == 0
    for _ in range(2):
        result = RUN.invoke(app, ["disasm", str(out)])
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("architecture tiny ")
        (out / "mapping.json").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ("--grid 0x4", "--grid 0x4: a grid has at least 1 row and 1 column"),
        ("--grid 4x0", "--grid 4x0: a grid has at least 1 row and 1 column"),
        ("--grid 17x4", "--grid 17x4: grid must be 1x1 to 16x16"),
        ("--grid four", "--grid four: a grid is rows x columns like 4x4"),
        (
            "--arch basic",
            "{}: node 6 (ashr): unknown operation; --arch takes the array's own (mul, ",
        ),
        ("--arch basic", "--grid a graph of any others"),
    ],
)
def test_options_of_map_that_do_not_fit_are_named(options, rule, tmp_path):
    path = tmp_path / "g.json"
    path.write_text(
        json.dumps({"nodes": [{"id": 0, "op": "const"}, {"id": 6, "op": "ashr"}], "edges": []})
    )
    result = RUN.invoke(app, ["map", str(path), *options.split()])
    assert result.exit_code == 2
    assert rule.format(path) in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_graph_that_is_no_kernel_is_named(tmp_path):
    path = tmp_path / "g.json"
    path.write_text(json.dumps({"nodes": [{"id": 0, "op": "in"}], "edges": []}))
    result = RUN.invoke(app, ["map", str(path), "--arch", "tiny"])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"spu: error: {path}: graph has no operation out")


def test_one_more_register_is_tried_by_search():
    graph, arch = from_json(dataflows.fir(4)), grid_architecture(4, 4, "all")
    ii = map_dataflow(graph, arch).placed.ii
    assert ii_with_registers(graph, arch, False, 9, ii + 1) == ii
    assert ii_with_registers(graph, arch, False, 9, 2) is None


def test_the_smallest_change_is_found_by_mapping(monkeypatch):
    body = dataflows.Body("loads")
    for _ in range(70):
        body.op("load")
    graph = from_json(body.json())
    assert "1x2 tiles with memory in both columns, II at least 35" in smallest_change(
        graph, 1, 1, "west", True
    )
    monkeypatch.setattr(advice, "MOST_TRIED", 100)
    assert "maps it: 1x2 tiles with memory in both columns, II 35" in smallest_change(
        graph, 1, 1, "west", True
    )
    assert next(iter(changes(4, 4, "west"))).memory == "both"


def test_command_says_what_would_map(tmp_path):
    path = tmp_path / "wide.json"
    path.write_text(json.dumps({"nodes": [{"id": i, "op": "x"} for i in range(65)], "edges": []}))
    result = RUN.invoke(app, ["map", str(path), "--grid", "1x1"])
    assert result.exit_code == 2
    assert "the smallest array whose contexts are enough: 1x2 tiles" in " ".join(
        result.output.split()
    )


def test_graphs_are_written_as_they_are_read():
    for content in (dataflows.fir(4), dataflows.functions()):
        graph = from_json(content)
        assert from_json(to_json(graph)) == graph


# Tasks.


@task
def smoothed(x: Pal) -> Pal:
    state = carried(Pal, 0.0)
    state.becomes(state.word * 0.75 + x * 0.25)
    return state.next


@task
def mixed(x: Pal, y: Pal, n: Int) -> tuple:
    soft = smoothed(x)
    low = (n & 7) < 3
    return (
        soft.maximum(y) - abs(x) / 0.5,
        soft.where(soft < y, 0.0).when(low),
        (1.0 - x.ago(2)).function("relu"),
        (n ^ 5) + (n << 1) - (n >> 2) | 1,
    )


@pytest.mark.parametrize("arch", ["tiny", "basic"])
def test_tasks_run_as_their_graphs(arch):
    kernels.check(mixed.map(CONFIGS[arch]), 50)


def test_a_task_has_loops_and_contains_others():
    graph = mixed.graph(bias=16)
    assert graph.name == "mixed"
    assert graph.bias == 16
    assert sum(node.op == "in" for node in graph.nodes.values()) == 3
    assert sum(node.op == "out" for node in graph.nodes.values()) == 4
    assert any(e.distance == 1 for e in graph.edges)
    assert any(e.distance == 2 for e in graph.edges)


def _open_loop(x: Pal) -> Pal:
    return carried(Pal, 0.0).word + x


def _twice(x: Pal) -> Pal:
    state = carried(Pal, 0.0)
    state.becomes(x)
    state.becomes(x)
    return x


def _branch(x: Pal) -> Pal:
    return x if x < 0.5 else -x


def _bare(x) -> Pal:
    return x


def _number(x: Pal) -> float:
    return 1.0


def _kinds(x: Pal, n: Int) -> Pal:
    return x + n


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (_open_loop, "becomes nothing"),
        (_twice, "becomes something once"),
        (_branch, "no truth value"),
        (_bare, "parameter x must be annotated"),
        (_number, "returns float, not words"),
        (_kinds, "an operand of Pal must be that or a number"),
        (lambda: carried(Int, 1).becomes(carried(Pal, 0.5).word), "becomes that, not Pal"),
    ],
)
def test_tasks_that_make_no_sense_are_refused(function, message):
    with pytest.raises(CompileError, match=message):
        task(function).graph()


def test_words_exist_only_in_tasks():
    with pytest.raises(CompileError, match="only in a task"):
        carried(Pal, 0.0)


# The schema.

VALIDATOR = jsonschema.Draft202012Validator(schema())
NUMBERS = st.one_of(st.integers(-2, 3), st.sampled_from([255, 256, 1 << 32]), st.booleans())
NODES = st.dictionaries(
    st.sampled_from(["id", "op", "op_norm", "int"]),
    st.one_of(NUMBERS, st.sampled_from(["add", "load", "const", ""])),
    max_size=3,
)
EDGES = st.dictionaries(
    st.sampled_from(["src", "dst", "operand", "distance", "kind"]),
    st.one_of(NUMBERS, st.sampled_from(["data", "pred", "order", "x"])),
    max_size=5,
)


def test_the_schema_is_published():
    assert reference.SCHEMA.read_text() == reference.schema_text()
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize(
    "graph", [*dataflows.SMALL, *dataflows.KERNELS], ids=lambda graph: graph["name"]
)
def test_graphs_conform_to_the_schema(graph):
    VALIDATOR.validate(graph)
    VALIDATOR.validate(to_json(from_json(graph)))


@given(st.lists(NODES, max_size=3), st.lists(EDGES, max_size=2))
@settings(max_examples=300, deadline=None)
def test_what_is_taken_conforms_to_the_schema(nodes, edges):
    content = {
        "nodes": [{"id": i, "op": "x"} | node for i, node in enumerate(nodes)],
        "edges": [{"src": 0, "dst": 1} | edge for edge in edges],
    }
    reason = ""
    try:
        from_json(content)
    except CompileError as error:
        reason = str(error)
    # Beyond the schema: what one member says of another.
    beyond = ("there already", "no node", "cycle without", "takes no operands", "no operations")
    if not any(part in reason for part in beyond):
        assert VALIDATOR.is_valid(content) == (not reason)


@pytest.mark.parametrize(
    ("operations", "taken"),
    [
        (7, True),
        (None, True),
        ("x", True),
        (["x", "y"], True),
        ({"x": 3, "y": "fast"}, True),
        ({"x": {"latency": 2}, "y": {"latency": 1, "cost": {}}}, True),
        ({}, True),
        ({"x": {"memory": False}, "y": {"memory": True, "latency": 2}}, True),
        ({"x": {"memory": 1}}, False),
        ({"x": {"memory": "yes"}}, False),
        ({"x": {}}, False),
        ({"x": True}, False),
        ({"x": {"memory": True}, "y": {"latency": 2}}, False),
        ({"x": {"memory": True}, "y": None}, False),
    ],
)
def test_operations_declare_all_or_mean_nothing(operations, taken):
    """A member of another meaning is no declaration; one that may be meant so is never ignored."""
    content = {
        "nodes": [{"id": 0, "op": "x"}, {"id": 1, "op": "y"}],
        "edges": [],
        "operations": operations,
    }
    assert VALIDATOR.is_valid(content) == taken
    if not taken:
        with pytest.raises(CompileError, match="memory must be true or false"):
            from_json(content)
    else:
        declared = isinstance(operations, dict) and "memory" in str(operations)
        assert from_json(content).memory == ({"y"} if declared else set())


@pytest.mark.parametrize(
    ("value", "bias"), [(3.0, 0), (float("nan"), 0), (-1.01, 0), (17, 32), (float("inf"), 0)]
)
def test_constants_of_tasks_that_words_do_not_hold_are_refused(value, bias):
    def scaled(x: Pal) -> Pal:
        return x * value

    with pytest.raises(CompileError, match=r"scaled: nodes\[1\]: pal must be a number from"):
        task(scaled).graph(bias)


def test_integers_of_tasks_fit_32_bits():
    def more(x: Int) -> Int:
        return x + (1 << 32)

    with pytest.raises(CompileError, match=r"more: nodes\[1\]: int must fit 32 bits"):
        task(more).graph()


@pytest.mark.parametrize("options", [["--grid", "2x2"], ["--memory-columns", "west"]])
def test_options_of_grids_are_refused_beside_an_array(options):
    result = CliRunner().invoke(app, ["map", "none.json", "--arch", "tiny", *options])
    assert result.exit_code == 2
    assert f"{options[0]}: of a grid, --arch names an array" in result.stderr


def test_results_of_tasks_are_of_the_kind_that_is_annotated():
    def one(x: Pal) -> Int:
        return x

    def two(x: Pal, n: Int) -> tuple[Int, Pal]:
        return x, n

    for function, rule in ((one, "one: returns Pal, annotated is Int"), (two, "two: returns Pal")):
        with pytest.raises(CompileError, match=rule):
            task(function).graph()


def test_a_search_without_time_gives_no_advice_but_more_time(tmp_path):
    (tmp_path / "g.json").write_text(json.dumps(dataflows.saxpy()))
    result = CliRunner().invoke(app, ["map", str(tmp_path / "g.json"), "--seconds", "0"])
    assert result.exit_code == 2
    assert "--seconds gives it more time" in result.stderr
    assert "smallest array" not in result.stderr
