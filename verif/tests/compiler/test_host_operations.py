"""Operations of the host: shapes and types of their results, which nothing is computed for."""

import numpy as np
import pytest

from spu.arch.package import host_operations

TRIED = [
    ("add", [(2, 1), (3,)], ["int8"] * 2, {}),
    ("mod", [(2,), (2,)], ["int64"] * 2, {"of_dividend": True}),
    ("cast", [(2, 3)], ["int8"], {"to": "uint16"}),
    ("real", [(0, 3)], ["bool"], {}),
    ("not", [()], ["bool"], {}),
    ("reduce", [(2, 3, 4)], ["int16"], {"by": "mul", "axes": [2, 0], "keep": True}),
    ("reduce", [(2, 3, 4)], ["int16"], {"by": "max", "axes": [1], "keep": False}),
    ("cumsum", [(2, 3)], ["int32"], {"axis": 1, "exclusive": True, "reverse": True}),
    ("one_hot", [(2, 3)], ["int64"], {"depth": 5, "axis": 0}),
    ("one_hot", [(2, 3)], ["int64"], {"depth": 5, "axis": 2}),
    ("where", [(2, 1), (3,), ()], ["bool", "int8", "int8"], {}),
    ("gather", [(4, 3), (2, 2)], ["int8", "int64"], {"axis": 1, "negative": True}),
    ("gather_elements", [(4, 3), (2, 3)], ["int8", "int64"], {"axis": 0}),
    ("gather_nd", [(2, 4, 3), (2, 5, 1)], ["int8", "int64"], {"batch": 1}),
    (
        "rank",
        [(2, 4)],
        [""],
        {"axis": 1, "count": 3, "largest": True, "last": False, "nan_first": True},
    ),
    ("truth", [(2, 4)], [""], {}),
    ("quantise", [(2, 4), (), ()], ["", "", "int8"], {"to": "int8"}),
]


@pytest.mark.parametrize(("name", "shapes", "types", "settings"), TRIED)
def test_shapes_and_types_of_the_host_are_those_of_results(name, shapes, types, settings):
    sources = [np.ones(s, kind or float) for s, kind in zip(shapes, types, strict=True)]
    made = host_operations.apply(name, sources, settings)
    shape, kind = host_operations.result(name, shapes, types, settings)
    data = host_operations.OPERATIONS[name]
    assert (shape, kind or "float64") == (made.shape, made.dtype.name)
    assert set(settings) == set(data.settings)


def test_every_operation_of_the_host_with_a_shape_of_its_own_is_tried():
    own = {name for name, o in host_operations.OPERATIONS.items() if o.settings or o.data}
    assert own <= {name for name, *_ in TRIED}


@pytest.mark.parametrize(
    ("name", "shapes", "types", "settings", "message"),
    [
        ("one_hot", [(2,)], ["int64"], {"depth": 5.0, "axis": 0}, "one_hot has depth 5.0"),
        ("cast", [(2,)], ["int64"], {"to": ">i4"}, "cast has to '>i4'"),
        ("cast", [(2,)], ["int64"], {"to": "float64"}, "cast has to 'float64'"),
        ("cast", [(2,)], ["int64"], {}, r"cast has the settings \[\]"),
        (
            "rank",
            [(2,)],
            [""],
            {"axis": 0, "count": 3, "largest": True, "last": False, "nan_first": True},
            "3 of an",
        ),
        ("add", [(2,)] * 3, ["int8"] * 3, {}, "add takes 2 tensors, not 3"),
        ("add", [(2,)] * 2, ["int8", ""], {}, "add takes integers, not real numbers"),
        ("sub", [(2,)] * 2, ["bool"] * 2, {}, "numpy boolean subtract"),
        ("where", [(2,)] * 3, ["int8"] * 3, {}, "where chooses by truth values, not int8"),
        ("gather", [(2,), ()], ["int8"] * 2, {"axis": 1, "negative": True}, "axis 1 of a tensor"),
        ("gather_elements", [(2,), (2, 2)], ["int8"] * 2, {"axis": 0}, "do not fit"),
        ("gather_nd", [(2,), (2,)], ["int8"] * 2, {"batch": 0}, "indices of 2 axes into 1"),
        ("reduce", [(2,)], ["int8"], {"by": "xor", "axes": [0], "keep": True}, "has by 'xor'"),
        ("reduce", [(2,)], ["int8"], {"by": "add", "axes": [0, 0], "keep": True}, "all different"),
    ],
)
def test_what_the_host_does_not_take_is_said(name, shapes, types, settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        host_operations.result(name, shapes, types, settings)


def test_results_of_the_host_are_not_made_to_know_their_shape():
    """Of 10^15 elements here."""
    shape, kind = host_operations.result("add", [(10**8, 1), (10**7,)], ["int64", "int64"], {})
    assert (shape, kind) == ((10**8, 10**7), "int64")
