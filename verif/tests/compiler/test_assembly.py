"""Programs as text and back, as they were, and the same in every process."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from compiler.errors import CompileError
from compiler.text.assembly import assemble_text, assembly
from spu.arch import bitstream
from spu.arch.params import CONFIGS
from spu.command.main import app
from verif import snapshots
from verif.stimulus import dataflows

RUN = CliRunner()


@pytest.mark.parametrize("name", [*snapshots.TEXTS, *snapshots.FILES])
def test_programs_are_as_they_were(name, compiled):
    """``make bless`` after a change that is meant to change them."""
    now = (
        snapshots.text(name)
        if name in snapshots.TEXTS
        else snapshots.digest(_content(name, compiled))
    )
    assert now == snapshots.kept(name)


def _content(name, compiled):
    """The file of a program; that of the digits is compiled already."""
    return compiled("basic").content if name == "digits_basic" else snapshots.FILES[name]()


@pytest.mark.parametrize("name", [*snapshots.TEXTS, "digits_basic", "product_basic"])
def test_assembly_is_assembled_to_the_same_file(name, compiled):
    arch = CONFIGS["tiny" if name.endswith("tiny") else "basic"]
    content = (
        bitstream.encode(snapshots.TEXTS[name]())
        if name in snapshots.TEXTS
        else _content(name, compiled)
    )
    text = "\n".join(assembly(bitstream.decode(content, arch).image))
    assert bitstream.encode(assemble_text(text, arch)) == content
    changed = text.replace("slots_less_1=", "slots_less_1=1", 1)
    assert bitstream.encode(assemble_text(changed, arch)) != content


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("context 9,9 row 0: op=ADD", "line 3: there is no row 0 of context 9,9"),
        ("context 0,0 row 16: op=ADD", "no row 16"),
        ("contexts 0,0 row 0: op=ADD", "no space"),
        ("context 0,0 row 0: op=WRONG", "invalid literal"),
        ("context 0,0 row 0: what=1", "unknown"),
        ("context 0,0 row 0: op", "not field=value"),
        ("context 0,0: op=ADD", "not a row"),
        ("context 0,0 row 0: a=NORTH a.b=1", r"unknown fields \['a.b'\]"),
        ("context 0,0 row 0: a=NORTH a=SOUTH", "a is there already"),
        ("weight 0,0 row 0: bits.0=1", "must be bits"),
        ("sequencer 0,0 row 0: slots_less_1.0=1", "unknown"),
        ("context 0,0 row 0: op=99", "outside"),
        ("weight 0,0 row 0: codes=1", "must be bits"),
        ("sequencer 0,0 row 0: slots_less_1=1\nsequencer 0,0 row 0:", "there already"),
    ],
)
def test_wrong_assembly_is_refused_with_its_line(line, message):
    basic = CONFIGS["basic"]
    head = f"# a comment\narchitecture basic {basic.hash:#010x}\n"
    with pytest.raises(CompileError, match=message):
        assemble_text(head + line, basic)
    with pytest.raises(CompileError, match="line 1: must be 'architecture"):
        assemble_text(line, basic)


def test_commands_disassemble_and_assemble(mapped, tmp_path):
    kernel = tmp_path / "saxpy.json"
    kernel.write_text(json.dumps(dataflows.saxpy()))
    result = RUN.invoke(app, ["map", str(kernel), "--arch", "tiny", "-o", str(tmp_path / "k")])
    assert "all words as the graph has them" in " ".join(result.output.split())
    program = tmp_path / "k" / "program.spub"
    text = RUN.invoke(app, ["disasm", str(program), "--arch", "tiny", "--assembly"])
    source = tmp_path / "program.txt"
    source.write_text(text.output)
    again = tmp_path / "again.spub"
    made = RUN.invoke(app, ["asm", str(source), "--arch", "tiny", "-o", str(again)])
    assert made.exit_code == 0, made.output
    assert again.read_bytes() == program.read_bytes()
    source.write_bytes(b"\xff\xfe")
    assert RUN.invoke(app, ["asm", str(source), "-o", str(tmp_path / "no.spub")]).exit_code == 2
    assert not (tmp_path / "no.spub").exists()


SCRIPT = """
import hashlib, sys
from pathlib import Path
from tempfile import mkdtemp
from compiler.ir.dataflow import from_json
from compiler.map.loop.mapper import grid_architecture, map_dataflow
from spu.arch.package.store import save
from spu.arch.params import CONFIGS
from verif.stimulus import dataflows
from verif.studies import models
digest = hashlib.sha256()
arch = grid_architecture(4, 4, "all")
digest.update(map_dataflow(from_json(dataflows.butterflies(8)), arch).content)
out = Path(mkdtemp())
save(models.compiled(models.digits("cnn", 2), CONFIGS["basic"]), out)
for path in sorted(out.rglob("*")):
    if path.is_file() and path.suffix != ".npz":
        digest.update(path.read_bytes())
print(digest.hexdigest())
"""


def test_hash_seeds_and_numbers_of_threads_do_not_change_programs():
    found = set()
    for seed, threads in (("1", "1"), ("2", "2")):
        found.add(
            subprocess.run(
                [sys.executable, "-c", SCRIPT],
                check=True,
                capture_output=True,
                text=True,
                env=os.environ
                | {
                    "PYTHONHASHSEED": seed,
                    "NUMBA_NUM_THREADS": threads,
                    "OMP_NUM_THREADS": threads,
                },
            ).stdout
        )
    assert len(found) == 1
