"""ONNX models: open dimensions, and what spu check says of a model."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from compiler.front.lower import lower
from spu.command.main import app
from verif.digits.data import MODEL
from verif.tests.onnx_models import create


def _spu(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def open_model(tmp_path):
    """x (batch, sequence, 4) with a third input dimension that is -1."""
    model = create(
        [("Exp", ["x"], ["a"], {}), ("Exp", ["z"], ["y"], {})],
        {"x": ["batch", "sequence", 4], "z": ["batch", -1]},
        outputs=("a", "y"),
    )
    onnx.save(model, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.mark.parametrize(
    ("batch", "dims", "x", "z"),
    [
        (None, {}, (1, 1, 4), (1, 1)),
        (3, {}, (3, 1, 4), (3, 1)),
        (None, {"batch": 2, "sequence": 5}, (2, 5, 4), (2, 1)),
        (2, {"batch": 2, "sequence": 5}, (2, 5, 4), (2, 1)),
    ],
)
def test_open_dimensions_have_the_sizes_that_are_given(batch, dims, x, z, open_model):
    program = lower(onnx.load(open_model), "m", batch, dims)
    assert program.shape(program.inputs["x"]) == x
    assert program.shape(program.inputs["z"]) == z


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (
            ["--dim", "length=4"],
            "no input has an open dimension 'length'; open are batch, sequence",
        ),
        (["--dim", "sequence=4", "--dim", "sequence=5"], "is given as 4 and as 5"),
        (["--dim", "sequence"], "must be NAME=N"),
        (["--dim", "sequence=0"], "must be NAME=N"),
        (["--dim", "=3"], "must be NAME=N"),
        (["--dim", "sequence=-3"], "must be NAME=N"),
        (["--dim", "batch=2", "--batch", "3"], "it cannot be 2 in a batch of 3"),
        (["--dim", f"sequence={10**22}"], f"cannot have a dimension of {10**22}"),
        (["--batch", str(2**63 - 1)], f"cannot have a dimension of {2**63 - 1}"),
    ],
)
@pytest.mark.parametrize("command", ["check", "compile"])
def test_dimensions_that_do_not_fit_are_refused(command, arguments, rule, open_model, tmp_path):
    more = ["--strategy", "steps", "-o", tmp_path / "out"] if command == "compile" else []
    result = _spu(command, open_model, *arguments, *more)
    assert result.exit_code == 2
    assert rule in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_check_lists_every_refusal(tmp_path):
    model = create(
        [
            ("Det", ["x"], ["h"], {}),
            ("Acosh", ["x"], ["e"], {}),
            ("Softmax", ["e"], ["s"], {}),
            ("BatchNormalization", ["s", "v", "v", "v", "v"], ["y"], {"training_mode": 1}),
        ],
        {"x": [2, 3, 3]},
        {"v": np.ones(3, np.float32)},
        opset=15,
    )
    onnx.save(model, tmp_path / "m.onnx")
    result = _spu("check", tmp_path / "m.onnx", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["refusals"] == [
        {"node": "h", "operator": "Det", "rule": "operator is not supported"},
        {"node": "e", "operator": "Acosh", "rule": "operator is not supported"},
        {
            "node": "y",
            "operator": "BatchNormalization",
            "rule": "attribute training_mode=1 of version 15 is not supported, 0 is",
        },
    ]
    text = _spu("check", tmp_path / "m.onnx")
    assert text.exit_code == 2
    assert text.stdout.splitlines()[:2] == [
        "Det node 'h': operator is not supported",
        "Acosh node 'e': operator is not supported",
    ]
    assert text.stderr.strip() == f"spu: error: {tmp_path / 'm.onnx'}: 3 refusals"
    compiled = _spu("compile", tmp_path / "m.onnx", "--strategy", "steps", "-o", tmp_path / "out")
    assert compiled.exit_code == 2
    assert compiled.output.startswith("spu: error: Det node 'h': operator is not supported; ")
    assert compiled.output.strip().endswith("; and 2 more: spu check")


@pytest.mark.parametrize("name", ["n", "it's", 'a: b"', "ü\\"])
def test_check_names_the_node_of_a_constant_that_is_not_held(name, tmp_path):
    model = create(
        [("Relu", ["x"], ["h"], {}), ("Add", ["h", "c"], ["y"], {})],
        {"x": [2]},
        {"c": np.array([1e30, 1], np.float32)},
    )
    model.graph.node[1].name = name
    onnx.save(model, tmp_path / "m.onnx")
    (refusal,) = json.loads(_spu("check", tmp_path / "m.onnx", "--json").stdout)["refusals"]
    assert (refusal["node"], refusal["operator"]) == (name, "Add")
    assert refusal["rule"].startswith("the constant 1e+30 is beyond")


def test_check_lists_the_refusals_of_all_magnitudes(tmp_path):
    weights = np.full((4, 4), 3e38, np.float32)
    model = create(
        [
            ("Acosh", ["x"], ["e"], {}),
            ("Add", ["x", "c"], ["a"], {}),
            ("Mul", ["a", "d"], ["m"], {}),
            ("MatMul", ["m", "w"], ["p"], {}),
            ("Sum", ["p", "e"], ["y"], {}),
        ],
        {"x": [2, 4]},
        {"c": np.float32(1e20), "d": np.float32(np.inf), "w": weights * np.inf},
    )
    onnx.save(model, tmp_path / "m.onnx")
    found = json.loads(_spu("check", tmp_path / "m.onnx", "--json").stdout)["refusals"]
    assert [(r["node"], r["operator"]) for r in found] == [
        ("e", "Acosh"),
        ("a", "Add"),
        ("m", "Mul"),
        ("p", "MatMul"),
    ]


def test_check_lists_every_product_that_does_not_fit(tmp_path):
    weights = np.full((4, 4), 3e38, np.float32)
    model = create(
        [
            ("MatMul", ["x", "w"], ["a"], {}),
            ("MatMul", ["x", "w"], ["b"], {}),
            ("Sigmoid", ["a"], ["s"], {}),
            ("Mul", ["s", "b"], ["y"], {}),
        ],
        {"x": [2, 4]},
        {"w": weights},
    )
    onnx.save(model, tmp_path / "m.onnx")
    found = json.loads(_spu("check", tmp_path / "m.onnx", "--json").stdout)["refusals"]
    assert [(r["node"], r["operator"]) for r in found] == [("a", "MatMul"), ("b", "MatMul")]


def test_check_of_a_model_that_is_taken(open_model):
    result = _spu("check", open_model, "--json", "--dim", "sequence=2")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"refusals": []}
    assert "nothing is refused" in _spu("check", open_model).stdout


def test_check_takes_the_formats_that_compile_takes(tmp_path):
    """By default PAL8T, else the array's first."""
    arch = tmp_path / "mine.toml"
    arch.write_text(
        (Path(__file__).parents[3] / "examples" / "mixed.toml")
        .read_text()
        .replace('"mixed"', '"mine"')
        + 'formats = ["PAL4A", "PAL6T"]\n'
    )
    for options, rule in (
        ((), ""),
        (("--format", "PAL6T", "--weights", "PAL8T"), ""),
        (("--format", "PAL8T"), "array mine takes no PAL8T; it takes PAL4A, PAL6T"),
        (("--weights", "PAL8A"), "PAL8A has logs of 6 fraction bits"),
    ):
        for line in (("check", MODEL), ("compile", MODEL, "-o", tmp_path / "out")):
            result = _spu(*line, "--arch", arch, *options)
            assert result.exit_code == (2 if rule else 0), result.output
            assert rule in " ".join(result.stderr.split())
        if not rule:
            told = json.loads((tmp_path / "out" / "report.json").read_text())["format"]
            assert told == (options[1] if options else "PAL4A")
    assert _spu("check", MODEL, "--format", "PAL8U").exit_code == 2


def test_check_goes_by_calibration_inputs(tmp_path):
    """As compile does: what is tried without leads to a row that is masked as a whole."""
    model = create(
        [
            ("Sub", ["m", "a"], ["d"], {}),
            ("Relu", ["d"], ["k"], {}),
            ("Log", ["k"], ["l"], {}),
            ("Add", ["l", "i"], ["z"], {}),
            ("Softmax", ["z"], ["y"], {}),
        ],
        {"m": [3]},
        {"a": np.float32(1e5), "i": np.array([0, -np.inf, 0], np.float32)},
    )
    onnx.save(model, tmp_path / "m.onnx")
    result = _spu("check", tmp_path / "m.onnx")
    assert result.exit_code == 2
    assert "Softmax node 'y': infinity less infinity" in result.stdout
    for shape, code in ((3, 0), (4, 2)):
        np.save(tmp_path / "m.npy", np.full(shape, 2e5))
        result = _spu("check", tmp_path / "m.onnx", "--calibrate", tmp_path / "m.npy")
        assert result.exit_code == code, result.output


def test_check_of_files_that_are_no_models(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"no")
    (tmp_path / "e.onnx").touch()
    for name, rule in (
        ("m.onnx", "not a valid ONNX model"),
        ("n.onnx", "No such file"),
        ("e.onnx", "not a valid ONNX model: it has no graph"),
    ):
        result = _spu("check", tmp_path / name)
        assert result.exit_code == 2
        assert rule in result.output
        assert len(result.stderr.strip().splitlines()) == 1
