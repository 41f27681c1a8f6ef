"""Arrays of one's own: in files, in compiled models, and what their tiles have not."""

import hashlib
import json
import tomllib
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from compiler.check.machine import Machine
from compiler.check.terms import Terms
from compiler.errors import WrongProgram
from spu.arch.config import Space
from spu.arch.context import Op, Source
from spu.arch.errors import PackageError, UserError
from spu.arch.package import (
    compiled,
    expression,
    manifest,
    pipeline,
    product,
    program,
    ranges,
    reblocking,
)
from spu.arch.package.store import load, save
from spu.arch.params import CONFIGS, KINDS, Architecture, from_parameters
from spu.arch.program import missing_unit
from spu.command.main import app
from spu.command.options import array
from spu.engine.array import GoldenEngine
from spu.engine.run import run
from verif.digits.data import MODEL, split
from verif.simulate import float_logits
from verif.stimulus import chains, dataflows

RUN = CliRunner()
MIXED = Path(__file__).parents[3] / "examples" / "mixed.toml"
PARAMETERS = tomllib.loads(MIXED.read_text())


def _spu(*words, code=0):
    result = RUN.invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    if code:
        assert len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr if code else result.stdout


@pytest.mark.parametrize("options", [(), ("--strategy", "steps", "--batch", 5)])
def test_a_model_on_an_array_from_a_file(options, tmp_path):
    np.save(tmp_path / "x.npy", split()[2][:5].reshape(5, 8, 8) if options else split()[2][:5])
    _spu("compile", MODEL, *options, "--arch", MIXED, "-o", tmp_path / "out")
    _spu("run", tmp_path / "out", "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npy")
    want, got = float_logits(split()[2][:5]), np.load(tmp_path / "y.npy")
    assert 10 * np.log10((want**2).sum() / ((got - want) ** 2).sum()) > 30
    assert "mixed" in _spu("explain", tmp_path / "out")
    assert load(tmp_path / "out").arch == from_parameters(PARAMETERS)


def test_the_same_array_as_json(tmp_path):
    (tmp_path / "mixed.json").write_text(json.dumps(PARAMETERS))
    assert array(str(MIXED)) == array(str(tmp_path / "mixed.json")) == from_parameters(PARAMETERS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lanes": 9}, "lanes must be 2, 4, 8 or 16"),
        ({"lanes": "8"}, "lanes must be a whole number"),
        ({"lanes": True}, "lanes must be a whole number"),
        ({"lane": 8}, "unknown parameter 'lane'"),
        ({"pattern": "MM"}, "pattern must be a list of texts"),
        ({"pattern": []}, "pattern must be"),
        ({"pattern": ["MX"]}, "unknown tile kinds"),
        ({"name": "tiny"}, "the name of another array"),
        ({"name": ""}, "name must be up to 64"),
        ({"name": "../x"}, "name must be up to 64"),
        ({"contexts": None}, "contexts must be"),
        ({"regions": ["00000", "11111"]}, "regions must be 3 strings"),
    ],
)
def test_parameters_that_are_none_are_refused(change, said, tmp_path):
    path = tmp_path / "array.json"
    path.write_text(json.dumps(PARAMETERS | change))
    assert said in _spu("rtl", "--arch", path, "-o", tmp_path / "v", code=2)
    assert not (tmp_path / "v").exists()


def test_files_of_other_systems_are_read(tmp_path):
    path = tmp_path / "MIXED.JSON"
    path.write_text(json.dumps(PARAMETERS), encoding="utf-8-sig")
    assert array(str(path)) == from_parameters(PARAMETERS)


def test_an_engine_of_another_array_is_refused(compiled):
    package = compiled("tiny").package
    for other in (CONFIGS["basic"], replace(CONFIGS["tiny"], stream_words=32)):
        with pytest.raises(UserError, match=f"{package.arch.hash:#010x}.*{other.hash:#010x}"):
            run(package, GoldenEngine(other), {"image": split()[2][:1]})


def test_a_program_file_for_another_array_asks_for_it(compiled, tmp_path):
    (tmp_path / "p.spub").write_bytes(compiled("tiny").content)
    assert "wrong architecture" in (said := _spu("disasm", tmp_path / "p.spub", code=2))
    assert "--arch takes the array that it is for" in said


def test_files_that_hold_no_array_are_refused(tmp_path):
    mixed = MIXED.read_text() + "\n"
    for name, text, said in (
        ("a.toml", "lanes = ", "Invalid value"),
        ("a.json", "[]", "by name"),
        ("b.json", "{}", "no parameter 'name'"),
        ("a.txt", "", "no such array"),
        ("c.json", "[" * 10**5, "recursion"),
        ("d.json", '{"name": "a", "name": "b"}', "'name' is there twice"),
        ("e.toml", f"{mixed}formats = ['PAL9T']", "no format 'PAL9T'; there are PAL4U, PAL4T, "),
        ("f.toml", f"{mixed}formats = ['PAL8T', 'PAL8T']", "formats: PAL8T is there twice"),
        ("g.toml", f"{mixed}formats = ['PAL8A']", "PAL8A has logs of 6 fraction bits"),
        ("h.toml", f"{mixed}formats = []", "formats must be 1 to 8 names of formats, not 0"),
        ("j.toml", f"{mixed}formats = ['PAL4T', 'PAL4U']", "formats of 4 bits alone"),
        ("k.toml", f"{mixed}formats = ['PAL6T']", "formats of 6 bits alone"),
        ("i.toml", f"{mixed}decoded_weights = 1", "decoded_weights must be true or false, not 1"),
    ):
        (tmp_path / name).write_text(text)
        assert said in _spu("rtl", "--arch", tmp_path / name, "-o", tmp_path / "v", code=2)
    assert "No such file" in _spu(
        "rtl", "--arch", tmp_path / "no.toml", "-o", tmp_path / "v", code=2
    )


def test_an_array_that_kept_its_name_and_changed_is_refused(compiled, tmp_path, monkeypatch):
    save(compiled("tiny").package, tmp_path / "p")
    changed = replace(CONFIGS["tiny"], memory_words=32)
    monkeypatch.setattr(manifest, "CONFIGS", {"tiny": changed})
    with pytest.raises(
        PackageError,
        match=f"'tiny' of hash {CONFIGS['tiny'].hash:#010x}, that of "
        f"this spu has {changed.hash:#010x}",
    ):
        load(tmp_path / "p")


def test_a_report_with_other_parameters_than_its_hash_is_refused(compiled, tmp_path):
    save(compiled("tiny").package, tmp_path / "p")
    path = tmp_path / "p" / "report.json"
    report = json.loads(path.read_text())
    del report["digest"]
    report["array"]["memory_words"] = 32
    path.write_text(json.dumps(report | {"digest": manifest._report_digest(report)}))
    with pytest.raises(PackageError, match="of hash 0x"):
        load(tmp_path / "p")


@pytest.mark.parametrize(
    ("kind", "context", "unit"),
    [
        ("a", {"op": Op.ADD.value}, "vector unit"),
        ("a", {"south": Source.SUM.value}, "vector unit"),
        ("v", {"mac": 1}, "matrix unit"),
        ("V", {"drain": 1}, "matrix unit"),
        ("m", {"read": 1}, "data memory"),
        ("m", {"memory": Source.NORTH.value}, "data memory"),
        ("v", {"op": Op.PUSH.value}, "reblock unit"),
        ("m", {"pop": 1}, "reblock unit"),
        ("a", {"op": Op.INT_ADD.value, "east": Source.ALU.value}, None),
        ("M", {"mac": 1, "read": 1, "pop": 1, "op": Op.ADD.value}, None),
    ],
)
def test_units_that_a_tile_has_not(kind, context, unit):
    assert missing_unit(KINDS[kind], context) == unit


def test_a_program_for_units_that_are_not_there_is_refused():
    arch = from_parameters(PARAMETERS)
    program = chains.pipeline(MODEL, arch)
    tile = next(t for t in arch.tiles if not arch.kind(*t).matrix)
    image = program.image.copy()
    image.write(Space.CONTEXT, tile, 3, image.read(Space.CONTEXT, tile, 3) | {"mac": 1})
    with pytest.raises(WrongProgram, match="has no matrix unit, which slot 3 uses"):
        Machine(image, Terms())


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({"pattern": ["VvaV"]}, (), "has no tile with a matrix unit"),
        ({"pattern": ["VvaV"]}, ("--strategy", "steps"), "has no tile with a matrix unit"),
        ({"weight_rows": 2}, (), "2 weight rows of 8 codes a column, too few for a block"),
        (
            {"weight_rows": 2},
            ("--strategy", "steps"),
            "2 weight rows of 8 codes a column, too few for a block",
        ),
        ({"contexts": 4}, ("--strategy", "steps"), "has 4 contexts, a block takes 8"),
        ({"pattern": ["MMMM"], "regions": ["0011"]}, (), "has 2 regions, a model takes one"),
        ({"pattern": ["MMMM"], "regions": ["0011"]}, ("--strategy", "steps"), "has 2 regions"),
    ],
)
def test_arrays_that_take_no_model_are_refused(change, options, said, tmp_path):
    path = tmp_path / "array.json"
    path.write_text(json.dumps(PARAMETERS | change))
    assert said in _spu("compile", MODEL, *options, "--arch", path, "-o", tmp_path / "o", code=2)
    assert not (tmp_path / "o").exists()


def test_a_kernel_mapped_to_an_array_from_a_file_is_explained(tmp_path):
    (tmp_path / "saxpy.json").write_text(json.dumps(dataflows.saxpy()))
    _spu("map", tmp_path / "saxpy.json", "--arch", MIXED, "-o", tmp_path / "out")
    _spu("explain", tmp_path / "out")
    assert _spu("disasm", tmp_path / "out").startswith("architecture mixed ")


def test_another_layout_of_packages_has_another_version():
    """What the manifest stores are these; a change of them needs a new ``VERSION``, and this digest
    anew."""
    kinds = (
        compiled.Kernel,
        compiled.Package,
        compiled.Piece,
        expression.Expression,
        pipeline.Layer,
        pipeline.Pipeline,
        product.Gemm,
        product.Share,
        program.HostStep,
        program.Layout,
        program.Map,
        program.Product,
        program.Program,
        program.Tensor,
        ranges.Ranges,
        reblocking.Reblocking,
        Architecture,
    )
    text = json.dumps({kind.__name__: [f.name for f in fields(kind)] for kind in kinds})
    assert (manifest.VERSION, hashlib.sha256(text.encode()).hexdigest()[:16]) == (
        7,
        "115a95d5d6e9e889",
    )
