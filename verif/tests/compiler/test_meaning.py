"""What is not what a model means is told at its outputs: small constants, results, operands."""

import numpy as np
import pytest

from spu.model.accuracy import decibels
from verif.tests.compiler.test_masks import _run
from verif.tests.compiler.test_ranges import _model


@pytest.mark.parametrize("epsilon", [1e-5, np.full((3, 1), 1e-5), 1e-12])
def test_small_constants_are_told_where_they_matter(epsilon):
    """Beside squares, whose least magnitude is 2^-16 if no inputs say how large they are."""
    model = _model(
        [
            ("Mul", ["x", "x"], "q", {}),
            ("Add", ["q", "e"], "s", {}),
            ("Sqrt", ["s"], "r", {}),
            ("Div", ["x", "r"], "y", {}),
        ],
        {"x": np.zeros((3, 2))},
        e=epsilon,
    )
    large, none, small = [1.0, -7.0], [0.0, 0.0], [1e-3, -5e-4]
    for rows, count in (([large, none, large], 0), ([large, none, small], 2)):
        x = np.array(rows)
        want = x / np.sqrt(x**2 + epsilon)
        got, told, bounds = _run(model, {"x": x})
        assert sum(told.values()) == count
        assert told or decibels(want, got) > 55
        # Beside zeros and small values the square root has no bound.
        assert np.array_equal(np.isfinite(bounds.error), np.isin(rows, large))
        assert (np.abs(got - want) <= bounds.error).all()
        got, told, _ = _run(model, {"x": x}, {"x": x})
        assert (decibels(want, got) > 55) == (not told)
        assert not told or (epsilon == np.array(1e-12) and count)


@pytest.mark.parametrize(
    "nodes", [[("Concat", ["x", "c"], "a", {"axis": 0})], [("Min", ["x", "c"], "a", {})]]
)
def test_small_constants_of_other_nodes_are_told(nodes):
    x = np.array([0.25, 0, 1, 4])
    model = _model([*nodes, ("Sqrt", ["a"], "y", {})], {"x": x}, c=np.array([1e-9]))
    want = np.sqrt(np.minimum(x, 1e-9) if nodes[0][0] == "Min" else [*x, 1e-9])
    got, told, bounds = _run(model, {"x": x})
    assert sum(told.values()) == np.isclose(want, 1e-9**0.5).sum()
    assert (np.abs(got - want) <= bounds.error).all()
    if nodes[0][0] == "Concat":
        assert np.isfinite(bounds.error).all()


@pytest.mark.parametrize(("factor", "told"), [(1.0, {}), (64.0, {"Mul node 'y'": 1})])
def test_differences_that_a_product_passes_on_are_told_after_it(factor, told):
    """It takes 1 + c, which is near enough; what is left without the 1, and is scaled, is not."""
    x = np.array([[1.0], [3.0]])
    model = _model(
        [
            ("Add", ["x", "c"], "a", {}),
            ("MatMul", ["a", "w"], "p", {}),
            ("Sub", ["p", "w"], "d", {}),
            ("Mul", ["d", "f"], "y", {}),
        ],
        {"x": x},
        c=1e-9,
        w=np.array([[4096.0]]),
        f=factor,
    )
    assert _run(model, {"x": x})[1] == told


def test_a_mask_is_named_though_a_small_constant_came_before():
    """Whose difference is carried along, too."""
    model = _model(
        [
            ("Add", ["x", "c"], "n", {}),
            ("Concat", ["n", "m"], "z", {"axis": 0}),
            ("Softmax", ["z"], "y", {}),
        ],
        {"x": np.zeros(2)},
        c=1e-9,
        m=np.array([-1e9, -1e9]),
    )
    assert set(_run(model, {"x": np.array([-60000.0, -61000])})[1]) == {"Softmax node 'y'"}


@pytest.mark.parametrize("calibrated", [False, True])
def test_rows_of_nothing_but_masks_by_an_input_are_told(calibrated):
    """A softmax that takes -1e9 from all is the same in real numbers, not in those of a format."""
    rng = np.random.default_rng(8)
    s, keep = 3 * rng.normal(size=(3, 5)), (rng.random((3, 5)) < 0.6).astype(float)
    for nodes, masks in (
        ([("Sub", ["one", "m"], "d", {}), ("Mul", ["d", "f"], "a", {})], keep),
        ([("Identity", ["m"], "a", {})], (1 - keep) * -1e9),
    ):
        model = _model(
            [*nodes, ("Add", ["s", "a"], "z", {}), ("Softmax", ["z"], "y", {})],
            {"s": s, "m": masks},
            one=1.0,
            f=-1e9,
        )
        for row, told in ((masks[1], 0), (np.full(5, masks.min()), 5)):
            inputs = {"s": s, "m": np.array([masks[0], row, masks[2]])}
            found = _run(model, inputs, {"s": s, "m": masks} if calibrated else None)[1]
            assert sum(found.values()) == told


@pytest.mark.parametrize(
    ("nodes", "x", "told"),
    [
        ([("LayerNormalization", ["x", "g"], "y", {"epsilon": 1e-5})], 3e-3, True),
        ([("LayerNormalization", ["x", "g"], "y", {"epsilon": 1e-5})], 0.3, False),
        ([("Add", ["x", "c"], "s", {}), ("Log", ["s"], "y", {})], 2e-8, True),
        ([("Exp", ["x"], "y", {})], -30.0, True),
        ([("Softmax", ["x"], "y", {})], -30.0, False),
    ],
)
def test_results_that_become_zero_are_told_where_they_matter(nodes, x, told):
    values = x * (1 + np.random.default_rng(5).random((2, 8)) * np.array([[1], [3]]))
    values = np.abs(values) if "Add" in nodes[0] else values
    model = _model(nodes, {"x": values}, g=np.ones(8), c=1e-7)
    used = {t for node in model.graph.node for t in node.input}
    for given in [t for t in model.graph.initializer if t.name not in used]:
        model.graph.initializer.remove(given)
    assert bool(_run(model, {"x": values})[1]) == told


@pytest.mark.parametrize(
    ("scale", "told"), [(1.0, False), (5e-2, False), (2e-3, True), (1e-4, True), (1e-6, True)]
)
def test_products_of_small_operands_are_told(scale, told):
    """Blocks reach 16 octaves below the top, which is 2^12 if no inputs say how large they are."""
    rng = np.random.default_rng(0)
    inputs, w = {"x": scale * rng.normal(size=(4, 64))}, rng.normal(size=(64, 5))
    want = inputs["x"] @ w
    model = _model(
        [("MatMul", ["x", "w"], "p", {}), ("Mul", ["p", "f"], "y", {})], inputs, w=w, f=1 / scale
    )
    got, found, _ = _run(model, inputs)
    assert bool(found) == told
    assert (decibels(want / scale, got) > 30) == (not told)
    got, found, _ = _run(model, inputs, inputs)
    assert not found
    assert decibels(want / scale, got) > 30


@pytest.mark.parametrize(
    ("octaves", "computed", "told"),
    [
        (5, False, 0),
        (8.5, False, 20),
        (10.5, False, 20),
        (15, False, 20),
        (10.5, True, 20),
        (15, True, 20),
    ],
)
def test_blocks_beyond_the_reach_of_a_byte_are_told(octaves, computed, told):
    """It ends 46/8 octaves below the top; of blocks 10 below it all codes are zero."""
    rng = np.random.default_rng(0)
    x, w = (2.0 ** (12 - octaves) * rng.uniform(0.5, 1, size) for size in ((4, 64), (64, 5)))
    inputs, constants = {"x": x}, {"w": w}
    if computed:
        inputs, constants = inputs | constants, {}
    nodes = [("MatMul", ["x", "w"], "p", {}), ("Mul", ["p", "f"], "y", {})]
    model = _model(nodes, inputs, **constants, f=2.0 ** (2 * octaves - 24))
    got, found, _ = _run(model, inputs, fmt="PAL4A")
    assert sum(found.values()) == told
    assert (octaves < 10) == bool(got.any())


def test_small_rows_of_a_product_that_no_output_shows_are_not_told():
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(2, 64)) * np.array([[1], [1e-5]]), rng.normal(size=(64, 3))
    nodes = [("MatMul", ["x", "w"], "p", {}), ("ReduceMean", ["p"], "y", {})]
    assert not _run(_model(nodes, {"x": x}, w=w), {"x": x})[1]
    nodes[1] = ("Softmax", ["p"], "y", {})
    assert not _run(_model(nodes, {"x": x}, w=w), {"x": x})[1]


@pytest.mark.parametrize("size", [4e-6, 1e-4, 1.0, 3e4])
def test_constants_may_be_the_first_operand_of_a_product(size):
    rng = np.random.default_rng(3)
    c, x = size * rng.normal(size=(5, 64)), rng.normal(size=(64, 3))
    got, told, _ = _run(
        _model(
            [("MatMul", ["c", "x"], "p", {}), ("Mul", ["p", "f"], "y", {})],
            {"x": x},
            c=c,
            f=1 / size,
        ),
        {"x": x},
        {"x": x},
    )
    assert decibels(c @ x / size, got) > 35
    assert not told


@pytest.mark.parametrize(
    ("depth", "scale", "told"),
    [
        (64, 1e-3, False),
        (64, 2e-5, True),
        (64, 1e-6, True),
        (512, 1e-3, False),
        (512, 1e-4, True),
        (2048, 3e-3, False),
        (2048, 3e-4, True),
    ],
)
def test_small_columns_of_a_product_are_told(depth, scale, told):
    """Those beside, which are as they should be, are not; what the accumulator cuts off adds up."""
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(4, depth)), rng.normal(size=(depth, 3)) * np.array([1, scale, 1])
    factor = np.array([1, 1 / scale, 1])
    model = _model(
        [("MatMul", ["x", "w"], "p", {}), ("Mul", ["p", "f"], "y", {})], {"x": x}, w=w, f=factor
    )
    got, found, _ = _run(model, {"x": x}, {"x": x})
    assert sum(found.values()) == (4 if told else 0)
    want = x @ w * factor
    assert (decibels(want[:, 1], got[:, 1]) > 30) == (not told)
    assert decibels(want[:, ::2], got[:, ::2]) > 35


def test_rows_whose_large_blocks_meet_only_small_weights_are_told():
    """Their sums are far below those of other rows, and they are not."""
    rng = np.random.default_rng(1)
    x = np.ones((2, 64))
    x[1, :32] = 2e-5 * rng.normal(size=32)
    w = rng.normal(size=(64, 3)) * np.repeat([1, 1e-6], 32)[:, None]
    factor = np.array([[1], [5e4]])
    model = _model(
        [("MatMul", ["x", "w"], "p", {}), ("Mul", ["p", "f"], "y", {})], {"x": x}, w=w, f=factor
    )
    got, found, _ = _run(model, {"x": x}, {"x": x})
    assert sum(found.values()) == 3
    assert decibels((x @ w * factor)[1], got[1]) < 25


def test_matrices_of_a_batch_of_weights_have_their_own_scale():
    rng = np.random.default_rng(2)
    x, w = rng.normal(size=(2, 4, 64)), rng.normal(size=(2, 64, 3))
    w[1] *= 1e-5
    factor = np.array([1, 1e5]).reshape(2, 1, 1)
    model = _model(
        [("MatMul", ["x", "w"], "p", {}), ("Mul", ["p", "f"], "y", {})], {"x": x}, w=w, f=factor
    )
    got, found, bounds = _run(model, {"x": x}, {"x": x})
    want = x @ w * factor
    assert not found
    assert decibels(want, got) > 35
    # Both are normal numbers: the bounds are as close to what is seen.
    ratio = bounds.error.max(axis=(1, 2)) / np.abs(got - want).max(axis=(1, 2))
    assert ratio.max() < 40


def test_outputs_all_of_whose_elements_become_zero_are_told():
    """Single ones beside larger elements are not, as docs/models.md says."""
    x = np.array([-20.0, -21.9, -20.5])
    model = _model([("Exp", ["x"], "e", {}), ("Mul", ["e", "f"], "y", {})], {"x": x}, f=1e8)
    got, found, _ = _run(model, {"x": x})
    assert not got.any()
    assert sum(found.values()) == 3
    got, found, _ = _run(model, {"x": x}, {"x": x})
    assert decibels(1e8 * np.exp(x), got) > 40
    assert not found
    assert not _run(model, {"x": np.array([-20.0, -21.9, 0.0])})[1]


def test_parts_of_the_depth_that_are_small_are_told():
    """A row that meets only the small weights of the later parts."""
    rng = np.random.default_rng(0)
    x, w = np.zeros((2, 4096)), rng.normal(size=(4096, 3))
    x[0, :512], x[1, 512:] = rng.normal(size=512), rng.normal(size=3584)
    w[512:] *= 2e-4
    factor = np.array([[1], [5e3]])
    model = _model(
        [("MatMul", ["x", "w"], "p", {}), ("Mul", ["p", "f"], "y", {})], {"x": x}, w=w, f=factor
    )
    got, found, bounds = _run(model, {"x": x}, {"x": x})
    assert decibels((x @ w * factor)[1], got[1]) < 25
    assert sum(found.values()) == 3
    assert (np.abs(x @ w * factor - got) <= bounds.error).all()


@pytest.mark.parametrize(
    "x", [np.full((4, 512), 0.3), np.abs(np.random.default_rng(0).normal(size=(4, 2048)))]
)
def test_rounding_that_adds_up_is_not_told(x):
    w = np.full((x.shape[1], 2), 0.7)
    assert not _run(_model([("MatMul", ["x", "w"], "y", {})], {"x": x}, w=w), {"x": x}, {"x": x})[1]


@pytest.mark.parametrize("x", [np.linspace(-15, -8, 200), np.array([-8.0] * 500 + [-14.9, -14.7])])
def test_small_elements_of_small_outputs_are_not_told(x):
    got, found, _ = _run(_model([("Exp", ["x"], "y", {})], {"x": x}), {"x": x})
    assert decibels(np.exp(x), got) > 45
    assert not found


def test_sums_that_cancel_mean_zero():
    x = np.array([0.3, 0.7, 1.1, 2.3, 0.9])
    nodes = [
        ("Sigmoid", ["x"], "s", {}),
        ("Neg", ["x"], "n", {}),
        ("Sigmoid", ["n"], "t", {}),
        ("Add", ["s", "t"], "u", {}),
        ("Sub", ["u", "c"], "y", {}),
    ]
    model = _model(nodes, {"x": x}, c=1.0)
    assert not _run(model, {"x": x})[1]


def test_inputs_that_are_outputs_are_told():
    x = np.full(5, 1e-7)
    model = _model([("Identity", ["x"], "y", {})], {"x": x})
    assert _run(model, {"x": x})[1] == {"input 'x'": 5}
    assert not _run(model, {"x": x}, {"x": x})[1]


@pytest.mark.parametrize(("sink", "told"), [(0, False), (4, False), (9, True), (11, True)])
def test_small_elements_of_a_block_whose_large_one_meets_zero_are_told(sink, told):
    """A softmax that goes to a key whose value is zero: the other products are the least ones."""
    rng = np.random.default_rng(4)
    s, v = rng.normal(size=(4, 64)) / 2, rng.normal(size=(64, 8))
    s[:, 0] += sink
    v[0] = 0
    inputs = {"x": s, "v": v}
    model = _model([("Softmax", ["x"], "p", {}), ("MatMul", ["p", "v"], "y", {})], inputs)
    got, found, bounds = _run(model, inputs, inputs)
    want = np.exp(s) / np.exp(s).sum(axis=1, keepdims=True) @ v
    assert bool(found) == told
    assert (decibels(want, got) > 25) == (not told)
    assert (np.abs(want - got) <= bounds.error).all()


def test_constants_far_apart_as_first_operand_are_told():
    rng = np.random.default_rng(0)
    c, x = np.zeros((2, 64)), rng.normal(size=(64, 3))
    c[0, :32], c[1, 32:] = rng.normal(size=32), 1e-10 * rng.normal(size=32)
    x[:32] = 0
    model = _model([("MatMul", ["c", "x"], "y", {})], {"x": x}, c=c)
    assert sum(_run(model, {"x": x}, {"x": x})[1].values()) == 3


def test_columns_that_lose_less_than_a_format_would_are_not_told():
    """Of positive numbers: what is cut off adds up, and so does the result."""
    rng = np.random.default_rng(5)
    x, w = np.abs(rng.normal(size=(4, 2048))), rng.normal(size=(2048, 3))
    w[:, 1] = 1 / 2048
    got, found, _ = _run(
        _model([("MatMul", ["x", "w"], "y", {})], {"x": x}, w=w), {"x": x}, {"x": x}
    )
    assert decibels((x @ w)[:, 1], got[:, 1]) > 50
    assert not found
