"""Fuzzed models: no fault among many, and that the judge sees each kind of fault."""

import time
from collections import Counter

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler.front import registry
from compiler.front.operators import elementwise
from spu.arch.package.expression import variable
from spu.engine.meaning import Meaning
from verif import fuzz_models
from verif.fuzz_models import FAULTS, attempt, fuzz, understood
from verif.stimulus.model_mutants import Mutant, mutant
from verif.tests.onnx_models import create


def _tally(count):
    found = dict(fuzz(count))
    assert not {i: o for i, o in found.items() if o.kind in FAULTS}
    return Counter(o.kind for o in found.values())


def test_fifty_models_are_right_or_refused():
    tally = _tally(50)
    assert tally["right"] >= 20
    assert tally["refused"] >= 10


@pytest.mark.regress
def test_two_thousand_models_are_right_or_refused():
    tally = _tally(2000)
    assert tally["right"] >= 800
    assert tally["ran, no reference"] <= 200


def test_models_depend_on_their_numbers_alone():
    one, two = mutant(13, 4), mutant(13, 4)
    assert one.model.SerializeToString() == two.model.SerializeToString()
    assert one.changes == two.changes
    assert mutant(14, 4).model != one.model


@pytest.fixture
def sum_of_two():
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "z"], ["y"])],
        "sum",
        [value(n, TensorProto.FLOAT, [3]) for n in "xz"],
        [value("y", TensorProto.FLOAT, [3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    x, z = np.float32([[1, 2, 3], [0.5, -1, 4]])
    return Mutant(3, "sum", model, {"x": x, "z": z}, ())


def test_inputs_that_are_too_large_are_calibrated_as_the_run_advises(
    sum_of_two, monkeypatch, tmp_path
):
    """A model is compiled for 4,096 at first, and then with its inputs."""
    called, spu = [], fuzz_models._spu
    monkeypatch.setattr(fuzz_models, "_spu", lambda *a: called.append(a) or spu(*a))
    sum_of_two.inputs.update(x=np.float32([4800, 1, 2]))
    assert attempt(sum_of_two, tmp_path).kind == "right"
    assert [a[0] for a in called] == ["check", "compile", "run", "compile", "run"]


def test_a_wrong_operation_is_seen(sum_of_two, monkeypatch, tmp_path):
    assert attempt(sum_of_two, tmp_path).kind == "right"
    monkeypatch.setitem(elementwise.BINARY, "Add", variable(0) - variable(1))
    outcome = attempt(sum_of_two, tmp_path)
    assert outcome.kind == "WRONG"
    assert "means 0.5 and not 1.5" in outcome.detail


X = np.float32([3.5, 37.25, -2.5])


def _understood(nodes, **constants):
    return understood(create(nodes, {"x": [3]}, constants), {"x": X})


def test_a_large_result_that_is_wrong_is_seen(monkeypatch):
    nodes = [("Exp", ["x"], ["e"], {}), ("Mul", ["e", "c"], ["y"], {})]
    assert _understood(nodes, c=np.float32(2)).kind == "right"
    monkeypatch.setitem(elementwise.BINARY, "Mul", variable(0))
    outcome = _understood(nodes, c=np.float32(2))
    assert outcome.kind == "WRONG"
    assert "e+16 within" in outcome.detail


@pytest.mark.parametrize(("op", "factor"), [("Floor", 1.001), ("Sin", 1.002)])
def test_formulas_hide_no_wrong_operation(op, factor, monkeypatch):
    """Floor has no error, and that of Sin is less."""
    nodes = [(op, ["x"], ["f"], {}), ("Mul", ["f", "c"], ["y"], {})]
    assert _understood(nodes, c=np.float32(1000)).kind == "right"
    monkeypatch.setitem(elementwise.BINARY, "Mul", variable(0) * variable(1) * factor)
    assert _understood(nodes, c=np.float32(1000)).kind == "WRONG"


def test_what_rounding_alone_decides_is_no_fault():
    """0.1 x 3 / 3 less 0.1 x is of the rounding of float64, and so is what is divided by it."""
    nodes = [
        ("Mul", ["x", "a"], ["t"], {}),
        ("Mul", ["t", "b"], ["m"], {}),
        ("Div", ["m", "b"], ["d"], {}),
        ("Sub", ["d", "t"], ["s"], {}),
        ("Div", ["x", "s"], ["y"], {}),
    ]
    assert _understood(nodes, a=np.float32(0.1), b=np.float32(3)).kind == "right"


def test_a_moved_mask_that_is_not_told_is_seen(sum_of_two, monkeypatch, tmp_path):
    """What masks change is part of a bound only where a run tells it."""
    sum_of_two.model.graph.node[0].op_type = "Max"
    sum_of_two.inputs.update(x=np.float32([-3e5, 1, 2]), z=np.float32([-2e5, 1, 2]))
    assert attempt(sum_of_two, tmp_path).kind == "saturated, reported"
    monkeypatch.setattr(Meaning, "step", lambda *_: Counter())
    outcome = attempt(sum_of_two, tmp_path)
    assert outcome.kind == "WRONG"


def test_a_small_constant_that_is_not_told_is_seen(sum_of_two, monkeypatch, tmp_path):
    graph = sum_of_two.model.graph
    graph.initializer.append(numpy_helper.from_array(np.float32([1e-9, 1, 2]), "c"))
    graph.node[0].CopyFrom(helper.make_node("Max", ["x", "c"], ["m"]))
    graph.node.append(helper.make_node("Sqrt", ["m"], ["y"]))
    sum_of_two.inputs.update(x=np.float32([0, 0, 1]))
    assert attempt(sum_of_two, tmp_path).kind == "saturated, reported"
    monkeypatch.setattr(Meaning, "step", lambda *_: Counter())
    assert attempt(sum_of_two, tmp_path).kind == "WRONG"


def test_an_exception_is_seen(sum_of_two, monkeypatch, tmp_path):
    def broken(low, node):
        raise RuntimeError("what nobody thought of")

    monkeypatch.setitem(registry.OPERATORS, "Add", broken)
    outcome = attempt(sum_of_two, tmp_path)
    assert outcome.kind == "TRACEBACK"
    assert "what nobody thought of" in outcome.detail


def test_an_exception_of_the_judge_is_seen(sum_of_two, monkeypatch):
    def broken(model, inputs):
        raise KeyError("no reference")

    monkeypatch.setattr(fuzz_models, "mutant", lambda number, seed: sum_of_two)
    monkeypatch.setattr(fuzz_models, "reference", broken)
    assert [o.kind for _, o in fuzz(2)] == ["NOT JUDGED"] * 2
    assert FAULTS.count("NOT JUDGED") == 1


@pytest.mark.parametrize("name", ["file", "../up", "a b"])
def test_inputs_have_any_names(sum_of_two, name, tmp_path):
    sum_of_two.model.graph.node[0].input[0] = sum_of_two.model.graph.input[0].name = name
    sum_of_two.inputs[name] = sum_of_two.inputs.pop("x")
    assert attempt(sum_of_two, tmp_path).kind == "right"


def _busy(made, directory):
    while True:
        pass


@pytest.mark.parametrize("hang", [_busy, lambda made, directory: time.sleep(60)])
def test_a_hang_is_seen(hang, monkeypatch):
    """One that uses a processor, and one that waits."""
    monkeypatch.setattr(fuzz_models, "LIMIT", 0.5)
    monkeypatch.setattr(fuzz_models, "PATIENCE", 4)
    monkeypatch.setattr(fuzz_models, "attempt", hang)
    assert [o.kind for _, o in fuzz(2)] == ["HANG", "HANG"]
