"""Kernels of PAL and integer operations: graph, golden model and RTL have the same words."""

import pytest

from compiler.errors import CompileError
from compiler.ir.dataflow import from_json
from compiler.map.loop.mapper import map_kernel
from spu.arch.params import CONFIGS, Architecture
from verif import kernels
from verif.stimulus import dataflows


def _mapped(graph, arch="tiny", seed=0):
    return map_kernel(from_json(graph), CONFIGS[arch], seed)


@pytest.mark.parametrize("arch", ["tiny", "basic"])
@pytest.mark.parametrize("graph", dataflows.KERNELS, ids=lambda graph: graph["name"])
def test_golden_model_has_the_words_of_the_graph(graph, arch):
    kernels.check(_mapped(graph, arch), 100)


@pytest.mark.parametrize("graph", dataflows.KERNELS, ids=lambda graph: graph["name"])
def test_rtl_has_the_words_of_the_graph_in_the_predicted_cycles(graph, tmp_path):
    mapped = _mapped(graph)
    assert kernels.check_rtl(mapped, 40, tmp_path, seed=1) == mapped.cycles(40)


def test_another_operation_is_noticed():
    mapped = _mapped(dataflows.saxpy())
    node = next(n for n in mapped.graph.operations if mapped.graph.nodes[n].op == "fma")
    object.__setattr__(mapped.graph.nodes[node], "op", "select")
    with pytest.raises(CompileError, match="word 0 of column"):
        kernels.check(mapped, 5)


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        (("in", "conv"), r"node 1 \(conv\): unknown operation"),
        (("in", "mul", "out"), r"node 1 \(mul\) takes 2 words, not 1"),
        (("const", "out"), r"node 0 \(const\): a constant of a kernel has a member pal or int"),
        (("in", "neg"), "has no operation out"),
        (("in", "out", "neg", "out"), r"node 1 \(out\) emits its word"),
    ],
)
def test_a_graph_that_is_no_kernel_is_refused(ops, message):
    body = dataflows.Body("wrong")
    for i, op in enumerate(ops):
        body.op(op, *([i - 1] if i else []))
    with pytest.raises(CompileError, match=message):
        _mapped(body.json())


def test_an_array_without_the_unit_is_refused():
    arch = Architecture("alu", ("aa", "aa"), 4, 2, 16, 64, 16)
    assert map_kernel(from_json(dataflows.hash_words()), arch).placed.ii >= 4
    with pytest.raises(CompileError, match="no tile takes fma, lt, select"):
        map_kernel(from_json(dataflows.saxpy()), arch)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ({"pal": 2.0}, "pal must be a number from -1 to 1"),
        ({"pal": "x"}, "pal must be a number"),
        ({"int": 1 << 32}, "int must fit 32 bits"),
        ({"int": 0.5}, "int must be int"),
    ],
)
def test_a_constant_out_of_range_is_refused(member, message):
    with pytest.raises(CompileError, match=message):
        from_json({"nodes": [{"id": 0, "op": "const"} | member], "edges": []})
