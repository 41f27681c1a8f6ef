"""Packages that were made before: found for the same request, made anew for any other."""

import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from compiler import build, cache
from spu.arch.params import CONFIGS
from spu.command.main import app
from verif.tests.onnx_models import create

TINY = CONFIGS["tiny"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("SPU_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def compiled(monkeypatch):
    """How often something was compiled."""
    count, real = [], build.compile_model
    monkeypatch.setattr(
        build, "compile_model", lambda *given, **more: count.append(1) or real(*given, **more)
    )
    return count


def _write(path, scale=1.0):
    weight = (scale * np.random.default_rng(2).normal(size=(8, 4))).astype(np.float32)
    nodes = [("MatMul", ["x", "w"], ["p"], {}), ("Tanh", ["p"], ["y"], {})]
    onnx.save(create(nodes, {"x": [2, 8]}, {"w": weight}), path)


def _compile(tmp_path, *options, out="out"):
    line = ("compile", tmp_path / "m.onnx", "--arch", "tiny", "-o", tmp_path / out, *options)
    result = CliRunner().invoke(app, [str(word) for word in line])
    assert result.exit_code == 0, result.output
    notes = [line for line in result.stderr.splitlines() if line.startswith("spu: note")]
    return result.stdout.replace(str(tmp_path / out), "OUT"), notes


def _contents(path):
    return {p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_a_second_compile_writes_and_says_the_same(tmp_path, place, compiled):
    nodes = [("Add", ["x", "c"], ["s"], {}), ("Tanh", ["s"], ["y"], {})]
    onnx.save(create(nodes, {"x": [2, 8]}, {"c": np.float32(1e-12)}), tmp_path / "m.onnx")
    first = _compile(tmp_path, out="one")
    assert first == _compile(tmp_path, out="two")
    assert first[1], "there is no note"
    assert len(compiled) == 1
    assert _contents(tmp_path / "one") == _contents(tmp_path / "two")
    _compile(tmp_path, "--no-cache")
    assert len(compiled) == 2


def test_another_request_is_compiled(tmp_path, place, compiled, monkeypatch):
    model = tmp_path / "m.onnx"
    _write(model)
    np.save(tmp_path / "x.npy", np.ones((2, 8)))
    seen = [_compile(tmp_path)]
    for options in (
        ("--seed", "1"),
        ("--keep-float",),
        ("--format", "PAL4T"),
        ("--calibrate", tmp_path / "x.npy"),
    ):
        seen.append(_compile(tmp_path, *options))
    np.save(tmp_path / "x.npy", np.full((2, 8), 30.0))
    seen.append(_compile(tmp_path, "--calibrate", tmp_path / "x.npy"))
    _write(model, 9.0)
    seen.append(_compile(tmp_path))
    assert len(compiled) == len(seen) == 7
    monkeypatch.setattr(cache, "_sources", lambda: iter([("compiler/cache.py", b"changed")]))
    _compile(tmp_path)
    assert len(compiled) == 8


def test_keys_tell_arrays_and_external_data_apart(tmp_path):
    _write(tmp_path / "m.onnx")
    onnx.save(
        onnx.load(tmp_path / "m.onnx"),
        tmp_path / "e.onnx",
        save_as_external_data=True,
        size_threshold=0,
        location="weights",
    )

    def key(name="e.onnx", arch=TINY):
        return cache.key_of(tmp_path / name, arch, [], {})

    before = key()
    assert before == key()
    assert len({before, key("m.onnx"), key(arch=CONFIGS["basic"])}) == 3
    data = bytearray((tmp_path / "weights").read_bytes())
    data[5] ^= 1
    (tmp_path / "weights").write_bytes(data)
    assert key() != before
    (tmp_path / "weights").unlink()
    assert key() is None


def test_a_damaged_entry_is_compiled_anew(tmp_path, place, compiled):
    _write(tmp_path / "m.onnx")
    first = _compile(tmp_path)
    (entry,) = place.iterdir()
    for count, name in enumerate(("arrays.bin", "report.json", "told.json"), 2):
        content = bytearray((entry / name).read_bytes())
        content[len(content) // 2] ^= 1
        content[0] ^= 1
        (entry / name).write_bytes(content)
        assert _compile(tmp_path) == first
        assert len(compiled) == count
        assert _compile(tmp_path) == first
        assert len(compiled) == count
    assert [path.name for path in place.iterdir()] == [entry.name]


def test_where_nothing_can_be_kept_compiling_goes_on(tmp_path, compiled, monkeypatch):
    _write(tmp_path / "m.onnx")
    (tmp_path / "file").write_text("no directory")
    monkeypatch.setenv("SPU_CACHE", str(tmp_path / "file"))
    _compile(tmp_path)
    monkeypatch.setenv("SPU_CACHE", "")
    _compile(tmp_path)
    assert len(compiled) == 2
    assert (tmp_path / "file").read_text() == "no directory"


def test_the_place_is_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("SPU_CACHE", "")
    assert cache.directory() is None
    monkeypatch.delenv("SPU_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.directory() == tmp_path / "pal-spu"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.directory() == tmp_path / "home" / ".cache" / "pal-spu"

    def homeless():
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", homeless)
    assert cache.directory() is None


def test_what_was_not_used_for_longest_goes_and_nothing_else(tmp_path, place, monkeypatch):
    _write(tmp_path / "m.onnx")
    keys = []
    for seed in range(3):
        _compile(tmp_path, "--seed", seed)
        (new,) = {path.name for path in place.iterdir()} - {*keys}
        keys.append(new)
        os.utime(place / new, (seed, seed))
    (place / keys[1] / "notes.txt").write_text("mine")
    (place / "mine").mkdir()
    _compile(tmp_path, "--seed", 0)  # used, so that it stays
    size = sum(p.stat().st_size for p in (place / keys[0]).rglob("*") if p.is_file())
    monkeypatch.setattr(cache, "MOST_BYTES", 2 * size + size // 2)
    _compile(tmp_path, "--seed", 3)
    assert {path.name for path in place.iterdir()} >= {keys[0], "mine", keys[1]}
    assert keys[2] not in {path.name for path in place.iterdir()}
    assert [path.name for path in (place / keys[1]).iterdir()] == ["notes.txt"]


def test_what_a_process_left_unfinished_goes_once_it_is_old(tmp_path, place):
    _write(tmp_path / "m.onnx")
    _compile(tmp_path)
    (entry,) = place.iterdir()
    old, fresh, other = (f"{c * 64}.{c * 32}.new" for c in "ab-")
    for name in (old, fresh, other):
        shutil.copytree(entry, place / name)
        for directory in (place / name, place / name / "programs"):
            (directory / ".spu-0.new").write_bytes(b"half of a file")
    for name in (old, other):
        os.utime(place / name, (1, 1))
    _compile(tmp_path, "--seed", 1)
    left = {path.name for path in place.iterdir()}
    assert left > {entry.name, fresh, other}
    assert old not in left


def test_an_entry_that_is_interrupted_leaves_nothing(tmp_path, place, monkeypatch):
    _write(tmp_path / "m.onnx")
    _compile(tmp_path, "--no-cache")

    def interrupted(path, name):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache.keep("0" * 64, tmp_path / "out", cache.Told((), "", ""))
    assert [*place.iterdir()] == []


def test_compiles_side_by_side_leave_one_entry(tmp_path, place):
    _write(tmp_path / "m.onnx")
    _compile(tmp_path)
    told = cache.Told((), "", "twice")
    for _ in range(3):
        cache.keep("0" * 64, tmp_path / "out", told)
    assert sorted(path.name for path in place.iterdir())[0] == "0" * 64
    assert len([*place.iterdir()]) == 2
    assert cache.copied("0" * 64, tmp_path / "again") == told
