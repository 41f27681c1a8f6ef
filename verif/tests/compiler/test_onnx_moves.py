"""ONNX operators that move, pick, scan and branch: against numpy, in every variant."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from compiler.front.lower import lower
from verif.tests.onnx_models import FLOAT, create, faults, of_node, results

RNG = np.random.default_rng(7)
LINE = np.arange(1.0, 6.0)


def _rule(op, opset, shapes, constants=None, **attributes):
    """The rule by which a node is refused: one line that says which node."""
    (refusal,) = faults(of_node(op, opset, shapes, constants, **attributes))
    assert (refusal.node, refusal.operator) == ("n", op)
    assert "\n" not in str(refusal)
    return refusal.rule


# Pad.


def test_pads_of_no_axes_leave_the_tensor():
    none = np.zeros(0, np.int64)
    nodes = [("Pad", ["x", "p", "", "a"], ["y"], {})]
    program = lower(create(nodes, {"x": [2, 3]}, {"p": none, "a": none}, opset=18), "pad")
    assert program.outputs["y"] == program.inputs["x"]


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap", "constant"])
@pytest.mark.parametrize("pads", [(1, 2), (0, 7), (9, 0), (-1, 2), (2, -3), (-2, -2)])
def test_pad_cuts_before_it_fills(mode, pads):
    kept = LINE[max(-pads[0], 0) : 5 - max(-pads[1], 0)]
    more = {"constant_values": 3} if mode == "constant" else {}
    wanted = np.pad(kept, [max(p, 0) for p in pads], mode=mode, **more)
    constants = {"p": np.array(pads)} | ({"v": np.float32(3)} if mode == "constant" else {})
    model = of_node("Pad", 19, {"x": [5]}, constants, mode=mode)
    assert (results(model, x=LINE) == wanted).all()


@pytest.mark.parametrize(
    ("opset", "attributes"), [(1, {"paddings": [0, 1, 2, 0]}), (2, {"pads": [0, 1, 2, 0]})]
)
def test_pad_of_old_versions_has_attributes(opset, attributes):
    x = RNG.normal(size=(2, 3))
    model = of_node("Pad", opset, {"x": [2, 3]}, value=2.0, **attributes)
    assert (results(model, x=x) == np.pad(x, [(0, 2), (1, 0)], constant_values=2)).all()


def test_pad_fills_with_a_value_that_is_computed():
    nodes = [("ReduceSum", ["x"], ["v"], {"keepdims": 0}), ("Pad", ["x", "p", "v", "a"], ["y"], {})]
    model = create(nodes, {"x": [1, 3]}, {"p": np.array([0, 2]), "a": np.array([-1])})
    assert (results(model, x=np.array([[1.0, 2, 3]])) == [[1, 2, 3, 6, 6]]).all()


@pytest.mark.parametrize(
    ("opset", "constants", "attributes", "rule"),
    [
        (19, {"p": np.array([0, 1, 0])}, {}, "incorrect number of values"),
        (18, {"p": np.array([0, 1])}, {"mode": "wrap"}, "mode 'wrap' of version 18 is unknown"),
        (19, {"p": np.array([0, 1])}, {"mode": "mirror"}, "mode 'mirror'"),
        (19, {"p": np.array([-3, -3])}, {}, "take away more than"),
        (19, {"p": np.array([0, 1 << 40])}, {}, "more than"),
        (19, {"p": np.array([-5, 2])}, {"mode": "edge"}, "of an axis without elements"),
    ],
)
def test_pads_that_do_not_fit_are_refused(opset, constants, attributes, rule):
    assert rule in _rule("Pad", opset, {"x": [5]}, constants, **attributes)


# What is moved.


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_becomes_space_and_back(mode):
    x = RNG.normal(size=(2, 8, 3, 5))
    nodes = [
        ("DepthToSpace", ["x"], ["s"], {"blocksize": 2, "mode": mode}),
        ("SpaceToDepth", ["s"], ["y"], {"blocksize": 2, "mode": mode}),
    ]
    assert (results(create(nodes, {"x": [2, 8, 3, 5]}, opset=28), x=x) == x).all()
    deep = of_node("DepthToSpace", 13, {"x": [2, 8, 3, 5]}, blocksize=2, mode=mode)
    parts = x.reshape(2, 2, 2, 2, 3, 5)
    order = (0, 3, 4, 1, 5, 2) if mode == "DCR" else (0, 1, 4, 2, 5, 3)
    assert (results(deep, x=x) == parts.transpose(order).reshape(2, 2, 6, 10)).all()


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("k", [None, 0, 2, -2, 99, -(1 << 60)])
def test_triangles(upper, k):
    x = RNG.normal(size=(2, 3, 4))
    constants = {} if k is None else {"k": np.array(k)}
    wanted = (np.triu if upper else np.tril)(x, int(np.clip(k or 0, -9, 9)))
    assert (
        results(of_node("Trilu", 14, {"x": [2, 3, 4]}, constants, upper=upper), x=x) == wanted
    ).all()


@pytest.mark.parametrize(("time", "batch"), [(0, 1), (1, 0)])
def test_sequences_are_turned_as_far_as_they_are_long(time, batch):
    x = RNG.normal(size=(4, 4, 2))
    lengths = np.array([0, 1, 3, 4])
    wanted = x.copy() if time == 0 else x.swapaxes(0, 1).copy()
    for b, n in enumerate(lengths):
        wanted[:n, b] = wanted[:n, b][::-1].copy()
    model = of_node(
        "ReverseSequence", 10, {"x": [4, 4, 2]}, {"n": lengths}, time_axis=time, batch_axis=batch
    )
    assert (results(model, x=x) == (wanted if time == 0 else wanted.swapaxes(0, 1))).all()


def test_tiles_of_every_version():
    x = RNG.normal(size=(2, 3))
    assert (
        results(of_node("Tile", 13, {"x": [2, 3]}, {"r": np.array([2, 3])}), x=x)
        == np.tile(x, (2, 3))
    ).all()
    nodes = [("Tile", ["x", "t", "a"], ["y"], {})]
    old = create(nodes, {"x": [2, 3]}, {"t": np.float32(2), "a": np.float32(1)}, opset=1)
    assert (results(old, x=x) == np.tile(x, (1, 2))).all()


@pytest.mark.parametrize(
    ("op", "opset", "constants", "attributes", "rule"),
    [
        ("Tile", 13, {"r": np.array([1, -1, 1])}, {}, "must not contain negative values"),
        ("Tile", 13, {"r": np.array([1 << 30, 1, 1])}, {}, "more than"),
        ("ReverseSequence", 10, {"n": np.array([1, 5, 1])}, {}, "do not fit 3 sequences of 2"),
        ("ReverseSequence", 10, {"n": np.array([1, 1])}, {"time_axis": 2}, "must be 0 and 1"),
        ("CumSum", 14, {"a": np.array(3)}, {}, "axis 3 of a tensor of 3 dimensions"),
        ("GatherElements", 13, {"i": np.array([[[5]]])}, {"axis": 1}, "index 5 of an axis of 3"),
        ("GatherElements", 13, {"i": np.zeros((3, 1, 1), int)}, {"axis": 1}, "do not fit"),
        ("GatherND", 13, {"i": np.array([[0, 9]])}, {}, "index 9 of an axis of 3"),
        ("GatherND", 13, {"i": np.array([[0]])}, {"batch_dims": 2}, "batch_dims 2"),
    ],
)
def test_places_that_are_not_there_are_refused(op, opset, constants, attributes, rule):
    assert rule in _rule(op, opset, {"x": [2, 3, 4]}, constants, **attributes)


# Scatter and gather.


@pytest.mark.parametrize("batch", [0, 1])
def test_slices_are_gathered(batch):
    x = RNG.normal(size=(2, 3, 4))
    indices = np.array([[[1], [-1], [0], [0]]] * 2) if batch else np.array([[1, 2], [-1, -3]])
    wanted = (
        np.stack([x[b, indices[b, :, 0]] for b in range(2)])
        if batch
        else x[indices[:, 0], indices[:, 1]]
    )
    model = of_node("GatherND", 13, {"x": [2, 3, 4]}, {"i": indices}, batch_dims=batch)
    assert (results(model, x=x) == wanted).all()


@pytest.mark.parametrize("reduction", ["add", "mul", "max", "min"])
def test_many_updates_of_one_place_are_all_counted(reduction):
    x, updates = RNG.normal(size=4), RNG.uniform(0.5, 1.5, 40)
    indices = RNG.integers(-4, 3, 40)
    function = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[reduction]
    wanted = x.copy()
    function.at(wanted, indices, updates)
    nodes = [("ScatterElements", ["x", "i", "u"], ["y"], {"reduction": reduction})]
    model = create(nodes, {"x": [4], "u": [40]}, {"i": indices})
    assert np.allclose(results(model, x=x, u=updates), wanted)
    nodes = [("ScatterND", ["x", "i", "u"], ["y"], {"reduction": reduction})]
    model = create(nodes, {"x": [4], "u": [40]}, {"i": indices[:, None]})
    assert np.allclose(results(model, x=x, u=updates), wanted)


def test_two_updates_of_one_place_are_refused_where_nothing_says_which_stays():
    nodes = [("ScatterElements", ["x", "i", "u"], ["y"], {})]
    model = create(nodes, {"x": [4], "u": [2]}, {"i": np.array([1, -3])})
    assert "two indices of one place" in faults(model)[0].rule
    late = create(
        [("ScatterElements", ["x", "i", "u"], ["y"], {"reduction": "max"})],
        {"x": [4], "u": [2]},
        {"i": np.array([1, 2])},
        opset=16,
    )
    assert "reduction 'max' of version 16 is unknown" in faults(late)[0].rule


# Scans and Einsum.


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("length", [0, 1, 7, 16])
def test_sums_up_to_each_element(exclusive, reverse, length):
    x = RNG.normal(size=(2, length, 3))
    line = x[:, ::-1] if reverse else x
    wanted = np.cumsum(line, 1) - (line if exclusive else 0)
    model = of_node(
        "CumSum",
        14,
        {"x": [2, length, 3]},
        {"a": np.array(-2)},
        exclusive=exclusive,
        reverse=reverse,
    )
    assert np.allclose(results(model, x=x), wanted[:, ::-1] if reverse else wanted)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij->ji", [(2, 3)]),
        ("ii", [(3, 3)]),
        ("iij->j", [(3, 3, 2)]),
        ("...ii->...i", [(2, 3, 3)]),
        ("i,i->", [(5,), (5,)]),
        ("i,j->ij", [(2,), (3,)]),
        ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
        ("bhqd,bhkd->bhqk", [(2, 2, 3, 4), (2, 2, 5, 4)]),
        ("bqhd,bkhd->bhqk", [(2, 3, 2, 4), (2, 5, 2, 4)]),
        ("ij,jk", [(2, 3), (3, 4)]),
        ("ijk,j->ik", [(2, 3, 4), (3,)]),
        ("ij,kl->ik", [(2, 3), (4, 5)]),
        ("ij,ij->", [(2, 3), (2, 3)]),
        ("...ij,...jk->...ik", [(5, 1, 2, 3), (5, 4, 3, 2)]),
        ("...i,...i", [(2, 3), (2, 3)]),
        ("ii,ij->j", [(3, 3), (3, 2)]),
        ("ij,jk,kl->li", [(2, 3), (3, 4), (4, 5)]),
        ("aB,Bc", [(2, 3), (3, 4)]),
        (" i j , j -> i ", [(2, 3), (3,)]),
        ("ij,j->ij", [(2, 3), (1,)]),
    ],
)
def test_equations_are_those_of_numpy(equation, shapes):
    names = [f"x{k}" for k in range(len(shapes))]
    values = {n: RNG.normal(size=s) for n, s in zip(names, shapes, strict=True)}
    model = create(
        [("Einsum", names, ["y"], {"equation": equation})],
        {n: list(s) for n, s in zip(names, shapes, strict=True)},
    )
    wanted = np.einsum(equation, *values.values())
    assert results(model, **values).shape == wanted.shape
    assert np.allclose(results(model, **values), wanted)


@pytest.mark.parametrize("equation", ["ij,jk->ik", "ijk", "ij->ii", "ij->k", "i1->i", "i"])
def test_equations_that_do_not_fit_are_refused(equation):
    refusals = faults(of_node("Einsum", 12, {"x": [2, 3]}, equation=equation))
    assert refusals[0].node == "n"


# Branches.


def _branch(name, nodes, constants=()):
    value = helper.make_value_info(name, helper.make_tensor_type_proto(FLOAT, None))
    return helper.make_graph(nodes, name, [], [value], list(constants))


@pytest.mark.parametrize("condition", [True, False])
def test_a_constant_condition_chooses_a_branch(condition):
    """Names within branches are their own; those around them are known, in branches of branches
    too."""
    two = helper.make_tensor("c", TensorProto.FLOAT, [], [2.0])
    inner = helper.make_node(
        "If",
        ["yes"],
        ["r"],
        then_branch=_branch("a", [helper.make_node("Mul", ["t", "c"], ["a"])], [two]),
        else_branch=_branch("b", [helper.make_node("Neg", ["t"], ["b"])]),
    )
    then = _branch("r", [helper.make_node("Add", ["x", "w"], ["t"]), inner])
    other = _branch("t", [helper.make_node("Sub", ["x", "w"], ["t"])])
    nodes = [
        ("If", ["cond"], ["u"], {"then_branch": then, "else_branch": other}),
        ("Exp", ["x"], ["t"], {}),
        ("Add", ["u", "t"], ["y"], {}),
    ]
    constants = {"cond": np.array(condition), "yes": np.array(True), "w": np.float32([1, 2])}
    x = RNG.normal(size=2)
    w = np.array([1.0, 2.0])
    wanted = (x + w) * 2 if condition else x - w
    model = create(nodes, {"x": [2]}, constants)
    assert np.allclose(results(model, x=x), wanted + np.exp(x))


@pytest.mark.parametrize("shape", [[], [1], [1, 1]])
@pytest.mark.parametrize("of_array", [True, False])
def test_a_condition_that_is_computed_chooses_between_results(shape, of_array):
    """Of the host, or of a comparison of real numbers; both branches are computed."""
    two = helper.make_tensor("c", TensorProto.FLOAT, [], [2.0])
    then = _branch("r", [helper.make_node("Mul", ["x", "c"], ["r"])], [two])
    other = _branch("r", [helper.make_node("Neg", ["x"], ["r"])])
    choice = ("If", ["yes"], ["y"], {"then_branch": then, "else_branch": other})
    first = ("Greater", ["k", "zero"], ["yes"], {}) if of_array else ("Not", ["k"], ["yes"], {})
    kind = TensorProto.FLOAT if of_array else TensorProto.BOOL
    model = create([first, choice], {"x": [2, 3], "k": (kind, shape)}, {"zero": np.float32(0)})
    if not of_array:
        del model.graph.initializer[:]
    x = RNG.normal(size=(2, 3))
    for number in (1.0, -1.0):
        k = np.full(shape, number if of_array else number < 0)
        assert np.allclose(results(model, x=x, k=k), 2 * x if number > 0 else -x)


def test_a_condition_that_is_computed_does_not_choose_between_shapes():
    then = _branch("r", [helper.make_node("Neg", ["x"], ["r"])])
    other = _branch("r", [helper.make_node("Flatten", ["x"], ["r"], axis=0)])
    nodes = [("If", ["c"], ["y"], {"then_branch": then, "else_branch": other})]
    model = create(nodes, {"x": [2], "c": (TensorProto.BOOL, [])})
    (refusal,) = faults(model)
    assert refusal.rule == (
        "its branches make (2,) and (1, 2): only a constant condition chooses between shapes"
    )


def test_a_condition_is_one_truth_value():
    branch = _branch("r", [helper.make_node("Neg", ["x"], ["r"])])
    nodes = [("If", ["c"], ["y"], {"then_branch": branch, "else_branch": branch})]
    model = create(nodes, {"x": [2], "c": (TensorProto.BOOL, [2])})
    assert [r.rule for r in faults(model)] == ["its condition has 2 elements, not one"]


def test_what_a_branch_refuses_is_named_by_the_condition():
    branch = _branch("r", [helper.make_node("Det", ["x"], ["r"], name="inner")])
    model = create(
        [("If", ["c"], ["y"], {"then_branch": branch, "else_branch": branch})],
        {"x": [2, 2]},
        {"c": np.array(True)},
    )
    model.graph.node[0].name = "choice"
    (refusal,) = faults(model)
    assert str(refusal) == ("If node 'choice': its Det node 'inner': operator is not supported")


def test_eyes_are_like_a_shape():
    nodes = [("EyeLike", ["x"], ["e"], {"k": 1}), ("MatMul", ["e", "x"], ["y"], {})]
    x = RNG.normal(size=(3, 3))
    assert np.allclose(results(create(nodes, {"x": [3, 3]}), x=x), np.eye(3, k=1) @ x)
