"""``palspu``: every name is there, and functions give what the parts give that they call."""

import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import palspu
from pal_units.formats import PAL4A, PAL6U, PAL8T, PAL8U
from spu.arch.package.pipeline import Pipeline
from spu.arch.params import CONFIGS
from verif.digits.data import MODEL, split

ROOT = Path(__file__).parents[3]
OWN = "is a Format of your own; arrays take PAL4U"
CNN = MODEL.with_name("digits_cnn.onnx")


def test_every_name_is_there_and_kept():
    assert {name for name in palspu.__all__ if getattr(palspu, name) is None} == set()
    assert set(palspu.__all__) <= set(vars(palspu)) | set(dir(palspu))
    assert palspu.PAL8T is palspu.FORMATS["PAL8T"]
    with pytest.raises(AttributeError, match="no attribute 'PAL5'"):
        _ = palspu.PAL5


def test_every_format_is_there_and_packages_have_names_of_any_kind(tmp_path):
    assert set(palspu.FORMATS) <= set(palspu.__all__)
    package = palspu.compile(MODEL, "tiny")
    palspu.save_package(package, str(tmp_path / "p"))
    assert palspu.load_package(str(tmp_path / "p")).content == package.content


def test_one_version():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    said = subprocess.run(
        [sys.executable, "-m", "spu", "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.M)[1]
    assert (palspu.__version__, said, cited) == (wanted, f"spu {wanted}\n", wanted)


def test_architecture_by_name_and_file():
    assert palspu.architecture("tiny") is CONFIGS["tiny"]
    assert palspu.architecture(CONFIGS["basic"]) is CONFIGS["basic"]
    assert palspu.architecture(ROOT / "examples" / "mixed.toml").name == "mixed"
    with pytest.raises(palspu.UserError, match="no such array"):
        palspu.architecture("huge")


def test_a_chain_becomes_a_pipeline_that_runs(compiled, tmp_path):
    package = palspu.compile(MODEL, "tiny")
    assert isinstance(package, Pipeline)
    assert package.content == compiled("tiny").content
    x = split()[2][:4]
    engine = palspu.GoldenEngine(package.arch)
    logits = palspu.run(package, x, engine)["logits"]
    assert engine.cycles > 0
    palspu.save_package(package, tmp_path)
    assert (palspu.run(tmp_path, {"image": x})["logits"] == logits).all()
    assert palspu.load_package(tmp_path).content == package.content


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (CNN, {"batch": 2}),
        (MODEL, {"strategy": "steps"}),
        (CNN, {"calibrate": {"image": np.ones((1, 1, 8, 8))}}),
    ],
)
def test_other_models_and_requests_take_steps(model, options):
    package = palspu.compile(model, "tiny", **options)
    assert isinstance(package, palspu.Package)
    [name] = package.program.inputs
    shape = package.program.shape(package.program.inputs[name])
    assert palspu.run(package, np.ones(shape))


def test_a_loop_is_mapped_to_a_grid_or_an_array():
    chain = {
        "nodes": [{"id": n, "op": "x"} for n in range(3)],
        "edges": [{"src": n, "dst": n + 1} for n in range(2)],
    }
    assert palspu.map(chain, "2x2").report()["ii"] == 1
    kernel = {
        "nodes": [{"id": 0, "op": "in"}, {"id": 1, "op": "relu"}, {"id": 2, "op": "out"}],
        "edges": chain["edges"],
    }
    assert palspu.map(kernel, arch="tiny").report()["kernel"]


def _with(fmt, **changes):
    """A model with weights of a format that has other parameters."""
    return palspu.compile(MODEL, "basic", weights=replace(fmt, **changes))


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda: palspu.compile(CNN, "tiny", "pipeline"), "Conv"),
        (lambda: palspu.compile(MODEL, "tiny", "fast"), "strategy must be"),
        (lambda: palspu.compile(MODEL, "tiny", input_max=-1), "positive and finite"),
        (lambda: palspu.compile(MODEL, "tiny", fmt="PAL16"), "array tiny takes no PAL16; it takes"),
        (lambda: palspu.compile(MODEL, "tiny", fmt="PAL9T"), "no format 'PAL9T'; there are"),
        (lambda: palspu.compile(MODEL, "tiny", weights="PAL8A"), "PAL8A has logs of 6 fraction"),
        (lambda: _with(PAL4A, codebooks=replace(PAL4A.codebooks, picks=())), OWN),
        (lambda: _with(PAL4A, name="PAL4-two"), OWN),
        (lambda: _with(PAL8U, bias_step=1), OWN),
        (lambda: _with(PAL6U, name="PAL7U", n=7), OWN),
        (lambda: palspu.compile(MODEL, fmt=replace(PAL8T, name="mine")), "takes no mine; it takes"),
        (lambda: palspu.compile(MODEL, fmt=replace(PAL8T, bias_step=8)), OWN),
        (lambda: palspu.compile("nothing.onnx"), "cannot be read"),
        (lambda: palspu.run("nothing", [0.0]), "nothing"),
        (lambda: palspu.map({}), "nodes"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_errors_of_users_are_lines(call, what):
    with pytest.raises((palspu.UserError, OSError), match=what) as found:
        call()
    assert "\n" not in str(found.value)


def test_an_engine_that_is_none_is_refused(compiled):
    with pytest.raises(palspu.UserError, match="engine must be golden, rtl or an Engine"):
        palspu.run(compiled("tiny").package, split()[2][:1], "fpga")
