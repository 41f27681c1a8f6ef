"""ONNX operators that resample, spread, pool and normalise: against numpy, in every variant."""

import numpy as np
import pytest

from verif.tests.onnx_models import X, create, faults, of_node, results

RNG = np.random.default_rng(7)
LINE = np.arange(1.0, 6.0)


def _rule(op, opset, shapes, constants=None, **attributes):
    """The rule by which a node is refused: one line that says which node."""
    (refusal,) = faults(of_node(op, opset, shapes, constants, **attributes))
    assert (refusal.node, refusal.operator) == ("n", op)
    assert "\n" not in str(refusal)
    return refusal.rule


# Resampling.


def _resized(values, scales=None, sizes=None, opset=19, **attributes):
    constants = {"roi": np.float32([]), "scales": np.float32(scales if scales is not None else [])}
    names = ["x", "roi", "scales"]
    if sizes is not None:
        constants |= {"sizes": np.array(sizes)}
        names.append("sizes")
        names[2] = ""
        del constants["scales"]
    model = create(
        [("Resize", names, ["y"], attributes)], {"x": list(values.shape)}, constants, opset
    )
    return results(model, x=values)


def test_scales_of_float32_are_the_ratios_that_they_stand_for():
    """1 / 3 in float32 is more than a third: the third element would be missed."""
    modes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    assert (_resized(np.arange(9.0), [1 / 3], **modes) == [0, 3, 6]).all()
    assert (_resized(np.arange(10.0), [0.7], **modes) == [0, 1, 2, 4, 5, 7]).all()


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        ("half_pixel", [0, 0.25, 0.75, 1.25, 1.75, 2]),
        ("align_corners", [0, 0.4, 0.8, 1.2, 1.6, 2]),
        ("asymmetric", [0, 0.5, 1, 1.5, 2, 2]),
        ("pytorch_half_pixel", [0, 0.25, 0.75, 1.25, 1.75, 2]),
        ("half_pixel_symmetric", [0, 0.25, 0.75, 1.25, 1.75, 2]),
    ],
)
def test_coordinates_of_every_mode(mode, wanted):
    got = _resized(np.arange(3.0), [2], mode="linear", coordinate_transformation_mode=mode)
    assert np.allclose(got, wanted)


def test_coordinates_of_one_element():
    one = {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"}
    assert np.allclose(_resized(np.arange(1.0, 5.0), sizes=[1], **one), [1])
    half = one | {"coordinate_transformation_mode": "half_pixel"}
    assert np.allclose(_resized(np.arange(1.0, 5.0), sizes=[1], **half), [2.5])
    first = {"mode": "nearest", "coordinate_transformation_mode": "tf_half_pixel_for_nn"}
    assert (
        _resized(np.arange(4.0), [0.5], opset=11, **first, nearest_mode="floor") == [1, 3]
    ).all()


@pytest.mark.parametrize("opset", [1, 7, 9])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_upsample_of_every_version(opset, mode):
    x = RNG.normal(size=(1, 1, 2, 2))
    name = {1: {"linear": "bilinear"}.get(mode, mode)}.get(opset, mode)
    scales = {
        1: {"height_scale": 2.0, "width_scale": 1.5},
        7: {"scales": [1.0, 1.0, 2.0, 1.5]},
    }.get(opset, {})
    constants = {"s": np.float32([1, 1, 2, 1.5])} if opset == 9 else {}
    got = results(
        of_node("Upsample", opset, {"x": [1, 1, 2, 2]}, constants, mode=name, **scales), x=x
    )
    rows = x[:, :, [0, 0, 1, 1]] if mode == "nearest" else x[:, :, [0, 0, 1, 1]].copy()
    if mode == "linear":
        rows[:, :, 1] = (x[:, :, 0] + x[:, :, 1]) / 2
    middle = rows[..., 0] if mode == "nearest" else rows[..., 0] / 3 + rows[..., 1] * 2 / 3
    assert np.allclose(got, np.stack([rows[..., 0], middle, rows[..., 1]], -1)[..., :3])


@pytest.mark.parametrize(
    ("constants", "attributes", "rule"),
    [
        ({"s": np.float32([1, 2])}, {}, "must be same as rank"),
        ({"s": np.float32([-1])}, {}, "a scale of -1 is not positive"),
        ({"s": np.float32([2])}, {"mode": "area"}, "mode 'area'"),
        ({"s": np.float32([2])}, {"nearest_mode": "up"}, "nearest_mode 'up'"),
        ({"s": np.float32([2])}, {"coordinate_transformation_mode": "c"}, "'c' is unknown"),
        ({"s": np.float32([2])}, {"antialias": 1}, "antialias is not for mode nearest"),
        ({"s": np.float32([1e9])}, {}, "more than"),
        ({"s": np.float32([2]), "n": np.array([10])}, {}, "not both of them"),
        (
            {"s": np.float32([2])},
            {"coordinate_transformation_mode": "tf_crop_and_resize"},
            "takes a roi of 2 numbers",
        ),
    ],
)
def test_resizes_that_do_not_fit_are_refused(constants, attributes, rule):
    names = ["x", "", *constants]
    model = create([("Resize", names, ["y"], attributes)], {"x": [5]}, constants, 19)
    model.graph.node[0].name = "n"
    assert rule in faults(model)[0].rule


def test_version_10_does_not_say_what_is_the_nearest_of_two():
    model = of_node("Resize", 10, {"x": [5]}, {"s": np.float32([0.6])})
    assert "version 10 does not say" in faults(model)[0].rule
    even = of_node("Resize", 10, {"x": [4]}, {"s": np.float32([0.5])})
    assert (results(even, x=LINE[:4]) == [1, 3]).all()


def test_transposed_convolutions_are_their_definition():
    """A transposed convolution is the gradient of a convolution: checked by its definition."""
    x, w = RNG.normal(size=(2, 4, 3, 2)), RNG.normal(size=(4, 3, 3, 2))
    wanted = np.zeros((2, 6, 3 * 2 + 4, 2 * 3 + 1))
    for g in range(2):
        for i in range(3):
            for j in range(2):
                for k in range(3):
                    for m in range(2):
                        wanted[:, 3 * g : 3 * g + 3, 2 * i + 2 * k, 3 * j + m] += (
                            x[:, 2 * g : 2 * g + 2, i, j] @ w[2 * g : 2 * g + 2, :, k, m]
                        )
    model = create(
        [
            (
                "ConvTranspose",
                ["x", "w", "b"],
                ["y"],
                {
                    "group": 2,
                    "strides": [2, 3],
                    "dilations": [2, 1],
                    "pads": [1, 0, 0, 1],
                    "output_padding": [1, 2],
                },
            )
        ],
        {"x": [2, 4, 3, 2]},
        {"w": w.astype(np.float32), "b": np.arange(6, dtype=np.float32)},
    )
    got = results(model, x=x)
    assert np.allclose(
        got, wanted[:, :, 1:, : got.shape[3]] + np.arange(6).reshape(6, 1, 1), atol=1e-5
    )


@pytest.mark.parametrize(
    ("attributes", "rule"),
    [
        ({"group": 3}, "do not fit 4 channels"),
        ({"strides": [0]}, "must be positive"),
        ({"strides": [1, 1]}, "must fit 1 axes"),
        ({"pads": [9, 9]}, "elements along spatial axis 0"),
        ({"auto_pad": "BEST"}, "'BEST' is unknown"),
        ({"kernel_shape": [4]}, "is not that of the weights"),
    ],
)
def test_transposed_convolutions_that_do_not_fit_are_refused(attributes, rule):
    weights = {"w": np.ones((4, 3, 3), np.float32)}
    rules = [
        str(r)
        for r in faults(of_node("ConvTranspose", 22, {"x": [1, 4, 5]}, weights, **attributes))
    ]
    assert rule in rules[0] or "not a valid ONNX model" in rules[0]


def test_version_1_says_two_things_of_odd_cuts():
    weights = {"w": np.ones((1, 1, 3), np.float32)}
    model = of_node("ConvTranspose", 1, {"x": [1, 1, 5]}, weights, strides=[2], output_shape=[10])
    assert "version 1 says two things" in faults(model)[0].rule


def test_norms_of_windows_and_planes():
    x = X - 1.2
    for p in (1, 2, 3):
        got = results(of_node("GlobalLpPool", 2, {"x": [2, 3, 2, 2]}, p=p), x=x)
        wanted = (np.abs(x) ** p).sum((2, 3), keepdims=True) ** (1 / p)
        assert np.allclose(got, wanted)
    assert (
        results(of_node("GlobalMaxPool", 1, {"x": [2, 3, 2, 2]}), x=x)
        == x.max((2, 3), keepdims=True)
    ).all()
    assert "p must be positive" in _rule("GlobalLpPool", 2, {"x": [2, 3, 2, 2]}, p=0)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("p", [1, 2])
def test_vectors_of_norm_one(p, constant):
    """In constants, too: not all evaluators take magnitudes where p is 1."""
    x = np.array([[3.0, -4.0], [0.0, 0.0]])
    norm = np.array([[7.0 if p == 1 else 5.0], [1.0]])
    if constant:
        nodes = [("LpNormalization", ["c"], ["l"], {"p": p}), ("Add", ["l", "x"], ["y"], {})]
        model = create(nodes, {"x": [2, 2]}, {"c": x.astype(np.float32)})
        assert np.allclose(results(model, x=np.zeros((2, 2))), x / norm)
    else:
        assert np.allclose(
            results(of_node("LpNormalization", 1, {"x": [2, 2]}, p=p), x=x), x / norm
        )


@pytest.mark.parametrize(
    ("op", "shape", "attributes", "rule"),
    [
        ("LpNormalization", [2, 2], {"p": 3}, "p must be 1 or 2, not 3"),
        ("LRN", [1, 2, 3, 3], {"size": 0}, "size 0 must be at least 1"),
        ("LRN", [1, 2, 3, 3], {"size": 3, "bias": 0.0}, "bias 0 positive"),
        ("LRN", [1, 2, 3, 3], {"size": 3, "alpha": -1.0}, "alpha -1 not negative"),
    ],
)
def test_normalisations_that_need_not_exist_are_refused(op, shape, attributes, rule):
    assert rule in _rule(op, 13, {"x": shape}, **attributes)


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_near_channels(size):
    x = RNG.normal(size=(1, 5, 2))
    squares = np.zeros_like(x)
    for c in range(5):
        first, last = max(0, c - (size - 1) // 2), min(4, c + -(-(size - 1) // 2))
        squares[:, c] = (x[:, first : last + 1] ** 2).sum(1)
    model = of_node("LRN", 13, {"x": [1, 5, 2]}, size=size, alpha=0.5, beta=0.6, bias=2.0)
    assert np.allclose(results(model, x=x), x / (2 + 0.5 / size * squares) ** 0.6)
