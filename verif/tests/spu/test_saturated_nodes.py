"""What `spu run` says of saturated elements: how many, of which node, and when it keeps quiet."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, shape_inference
from typer.testing import CliRunner

from compiler.front.lower import lower
from compiler.map.steps import compile_program
from spu.arch import bitstream
from spu.arch.config import Space, TileRegister
from spu.arch.package.store import load, save
from spu.arch.params import CONFIGS
from spu.command.main import app
from spu.engine.array import GoldenEngine
from spu.engine.errors import RunError
from spu.engine.host import run
from spu.engine.rtl_engine import RtlEngine
from spu.engine.run import run as run_package
from verif.digits.data import split

BASIC, KNOWN = CONFIGS["basic"], {}


def _program(nodes, inputs, outputs=("y",), **constants):
    """Of (operator, inputs, output); nodes are named like their outputs."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(op, list(given), [out], out.upper()) for op, given, out in nodes],
        "model",
        [value(n, TensorProto.FLOAT, np.shape(v)) for n, v in inputs.items()],
        [value(n, TensorProto.FLOAT, None) for n in outputs],
        [onnx.numpy_helper.from_array(np.asarray(v, np.float32), n) for n, v in constants.items()],
    )
    return shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    )


def _nodes(model, inputs, engine=None):
    """Saturated elements by node, and those that the tiles counted."""
    engine = engine or GoldenEngine(BASIC)
    run(
        compile_program(
            lower(model, "model"), engine.arch, known=KNOWN if engine.arch == BASIC else None
        ),
        engine,
        inputs,
    )
    return dict(engine.nodes), engine.saturated


def test_the_command_counts_names_and_fails_if_strict(tmp_path):
    x = np.array([1.0, 9.0, -30.0, 8.0, 500.0])
    onnx.save(_program([("Exp", ["x"], "y")], {"x": x}), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", x)

    def spu(*args):
        return CliRunner().invoke(app, [str(a) for a in args])

    assert (
        spu("compile", tmp_path / "m.onnx", "--strategy", "steps", "-o", tmp_path / "o").exit_code
        == 0
    )
    for strict, code in (([], 0), (["--strict"], 1)):
        result = spu(
            "run",
            tmp_path / "o",
            "--input",
            tmp_path / "x.npy",
            "-o",
            tmp_path / "y.npy",
            "--json",
            tmp_path / "s.json",
            *strict,
        )
        assert result.exit_code == code
        assert "saturated elements: Exp node 'Y' (2)" in result.output
        assert json.loads((tmp_path / "s.json").read_text())["saturated"] == {"Y": 2}
        assert np.load(tmp_path / "y.npy")[4] == 4096
    np.save(tmp_path / "x.npy", x / 100)
    result = spu(
        "run",
        tmp_path / "o",
        "--input",
        tmp_path / "x.npy",
        "-o",
        tmp_path / "y.npy",
        "--json",
        tmp_path / "s.json",
        "--strict",
    )
    assert result.exit_code == 0
    assert json.loads((tmp_path / "s.json").read_text())["saturated"] == {}


def test_operations_of_a_kernel_are_told_apart():
    """Three nodes in one kernel; elements are counted as real numbers say."""
    x = np.linspace(0.5, 12, 43)
    model = _program(
        [
            ("Exp", ["x"], "e"),
            ("Mul", ["x", "c"], "m"),
            ("Mul", ["m", "m"], "q"),
            ("Sub", ["e", "q"], "y"),
        ],
        {"x": x},
        c=30.0,
    )
    nodes, counted = _nodes(model, {"x": x})
    exp, square = np.exp(x) > 4096, (30 * x) ** 2 > 4096
    assert nodes["Exp node 'E'"] == exp.sum()
    assert nodes["Mul node 'Q'"] == square.sum()
    assert set(nodes) <= {"Exp node 'E'", "Mul node 'Q'", "Sub node 'Y'"}
    assert counted >= sum(nodes.values())


@pytest.mark.parametrize(
    "nodes",
    [
        [("Exp", ["x"], "e"), ("Min", ["e", "c"], "y")],
        [("Abs", ["x"], "a"), ("Log", ["a"], "l"), ("Max", ["l", "d"], "y")],
        [("Exp", ["x"], "e"), ("Neg", ["e"], "n"), ("Relu", ["n"], "y")],
        [("Sigmoid", ["x"], "y")],
        [("Tanh", ["x"], "y")],
    ],
)
def test_what_is_not_chosen_is_not_told(nodes):
    x = np.array([0.0, 3.0, 40.0, -40.0, 12.0])
    model = _program(nodes, {"x": x}, c=6.0, d=-5.0)
    assert _nodes(model, {"x": x})[0] == {}


def test_words_that_are_filled_up_count_nothing():
    """Neither lanes of the last word nor rounds of the golden model's last run."""
    for count in (5, 64 * 32 * BASIC.lanes16 + 7):
        x = np.linspace(0.1, 3, count)
        model = _program(
            [("Log", ["x"], "l"), ("Div", ["z", "l"], "d"), ("Add", ["d", "x"], "y")],
            {"x": x, "z": x},
        )
        assert _nodes(model, {"x": x + 1, "z": x})[1] == 0


def test_products_and_sums_of_their_parts():
    x = np.full((2, 40), 900.0)
    model = _program([("MatMul", ["x", "w"], "y")], {"x": x}, w=np.ones((40, 3)))
    assert _nodes(model, {"x": x}) == ({"MatMul node 'Y'": 6}, 6)
    x = np.full((1, 1100), 5.0)
    model = _program([("MatMul", ["x", "w"], "y")], {"x": x}, w=np.ones((1100, 4)))
    assert _nodes(model, {"x": x})[0] == {"MatMul node 'Y'": 4}


def test_masks_saturate_nothing():
    rng = np.random.default_rng(0)
    inputs = {"s": rng.normal(size=(3, 6)) * 9, "k": np.array([1.0, 0, 1, 1, 0, 1])}
    model = _program(
        [
            ("Sub", ["one", "k"], "d"),
            ("Mul", ["d", "m"], "a"),
            ("Add", ["s", "a"], "z"),
            ("Softmax", ["z"], "y"),
        ],
        inputs,
        one=1.0,
        m=-1e9,
    )
    assert _nodes(model, inputs) == ({}, 0)


def test_counts_that_no_element_explains_are_an_error():
    class Wrong(GoldenEngine):
        def run(self, *args):
            self.tiles[0, 0] += 1
            return super().run(*args)

    x = np.ones(3)
    with pytest.raises(RunError, match="Exp node 'Y': tiles counted 1 saturated"):
        _nodes(_program([("Exp", ["x"], "y")], {"x": x}), {"x": x}, Wrong(BASIC))


def test_the_same_in_rtl(tmp_path):
    """Of exp(9), exp(500), exp(10), and of 1000 times 9, 8, 500, 10, all above 4096."""
    x = np.array([1.0, 9.0, -30.0, 8.0, 500.0, 10.0])
    model = _program(
        [("Exp", ["x"], "e"), ("Min", ["e", "c"], "m"), ("Mul", ["m", "x"], "y")],
        {"x": x},
        c=1000.0,
    )
    tiny = CONFIGS["tiny"]
    assert (
        _nodes(model, {"x": x}, RtlEngine(tiny, work=tmp_path))
        == _nodes(model, {"x": x}, GoldenEngine(tiny))
        == ({"Mul node 'Y'": 4}, 7)
    )


def test_layers_of_a_pipelined_program(compiled, tmp_path):
    """The second layer of the digits model with its results 8 octaves too large."""
    report = compiled("tiny").report
    image = bitstream.decode(compiled("tiny").content, compiled("tiny").arch).image
    layer = report["layers"][1]
    bias = layer["tensor_bias"]
    for tile in layer["engines"]:
        for mode in range(4):
            fields = image.read(Space.REGISTER, tuple(tile), TileRegister.MODE + mode)
            if fields["offset"] == bias["out"] - bias["in"] - bias["weight"]:
                image.write(
                    Space.REGISTER,
                    tuple(tile),
                    TileRegister.MODE + mode,
                    fields | {"offset": fields["offset"] - 64},
                )
    save(replace(compiled("tiny").package, content=bitstream.encode(image)), tmp_path / "p")
    np.save(tmp_path / "x.npy", split()[2][:2])
    result = CliRunner().invoke(
        app,
        [
            "run",
            str(tmp_path / "p"),
            "--input",
            str(tmp_path / "x.npy"),
            "-o",
            str(tmp_path / "y.npy"),
            "--json",
            str(tmp_path / "s.json"),
            "--strict",
        ],
    )
    assert result.exit_code == 1, result.output
    saturated = json.loads((tmp_path / "s.json").read_text())["saturated"]
    assert saturated
    assert all(layer["name"] in name for name in saturated)
    package, engine = load(tmp_path / "p"), GoldenEngine(CONFIGS["tiny"])
    for _ in range(2):
        run_package(package, engine, {"image": split()[2][:2]})
    assert engine.nodes == {name: 2 * count for name, count in saturated.items()}
    assert engine.saturated == engine.nodes.total()


def test_inputs_that_become_zero_are_told(tmp_path):
    onnx.save(_program([("Neg", ["x"], "y")], {"x": np.ones(4)}), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", np.array([1e-9, 1.0, 0, -2e-8]))

    def spu(*args):
        return CliRunner().invoke(app, [str(a) for a in args])

    assert (
        spu("compile", tmp_path / "m.onnx", "--strategy", "steps", "-o", tmp_path / "o").exit_code
        == 0
    )
    run_it = ("run", tmp_path / "o", "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npy")
    assert "x: 2 of 3 elements are below 9.55e-07 and become zero" in spu(*run_it).output
    spu(
        "compile",
        tmp_path / "m.onnx",
        "--strategy",
        "steps",
        "--calibrate",
        tmp_path / "x.npy",
        "-o",
        tmp_path / "o",
    )
    np.save(tmp_path / "x.npy", np.array([1e-9, 1.0, 0, -2.0]))
    assert "become zero" not in spu(*run_it).output
