"""Packages: what they hold of constants, that it is enough, and that damage is refused."""

import numpy as np
import pytest
from onnx import TensorProto
from typer.testing import CliRunner

from compiler.front.lower import lower
from compiler.map.steps import compile_program
from pal_units import model
from pal_units.formats import PAL8T
from spu.arch.errors import PackageError
from spu.arch.package.arrays import MAGIC, ArrayFile, Arrays
from spu.arch.package.store import load, save
from spu.arch.package.weights import (
    encoded_table,
    encoded_weights,
    packed,
    taken_elements,
    unpacked,
)
from spu.arch.params import CONFIGS
from spu.command.main import app
from spu.engine.array import GoldenEngine
from spu.engine.run import run
from verif.tests.onnx_models import create

TINY = CONFIGS["tiny"]
RNG = np.random.default_rng(3)
ARRAYS = {
    "same": np.tile(RNG.normal(size=(1, 5)), (7, 1)),
    "column": np.repeat(RNG.normal(size=(4, 1, 2)), 3, axis=1),
    "double": RNG.normal(size=(3, 4)),
    "single": RNG.normal(size=9).astype(np.float32).astype(np.float64),
    "zeros": np.array([0.0, -0.0, 0.0]),
    "odd": np.array([np.nan, np.inf, -np.inf, 1e300, 5e-324]),
    "long": np.array([1, -(2**40), 3]),
    "short": np.arange(-3, 200).reshape(-1, 7),
    "truth": np.array([[True], [False]]),
    "none": np.zeros((0, 3)),
    "one": np.array(2.5),
    "bytes": RNG.integers(0, 256, 100, np.uint8),
}


def _file(path, arrays):
    file = ArrayFile(arrays)
    with open(path, "wb") as sink:
        file.write(sink)
    return Arrays(path, file.entries)


def test_arrays_come_back_bit_for_bit(tmp_path):
    found = _file(tmp_path / "arrays", ARRAYS)
    for name, values in ARRAYS.items():
        again = found[name]
        assert (again.dtype, again.shape) == (values.dtype, values.shape)
        assert again.tobytes() == values.tobytes(), name


def test_arrays_take_no_more_bytes_than_they_need(tmp_path):
    def size(*arrays):
        _file(tmp_path / "a", {str(i): x for i, x in enumerate(arrays)})
        return (tmp_path / "a").stat().st_size - len(MAGIC)

    noise = RNG.integers(0, 256, (64, 64), np.uint8)
    assert size(noise) == noise.size
    assert size(noise, noise.copy()) == noise.size
    assert size(np.broadcast_to(noise, (50, 64, 64))) == noise.size
    assert size(noise.astype(np.int64)) == 2 * noise.size
    real = RNG.normal(size=noise.shape).astype(np.float32)
    assert size(real.astype(np.float64)) == 4 * real.size
    assert size(np.arange(1 << 12) // 64) < 1 << 10


def test_every_array_that_was_changed_is_refused_when_it_is_used(tmp_path):
    path = tmp_path / "arrays"
    _file(path, ARRAYS)
    content = path.read_bytes()
    for name, entry in ArrayFile(ARRAYS).entries.items():
        if not entry["size"]:
            continue
        damaged = bytearray(content)
        damaged[entry["offset"] + entry["size"] // 2] ^= 16
        path.write_bytes(damaged)
        arrays = Arrays(path, ArrayFile(ARRAYS).entries)
        with pytest.raises(PackageError, match="arrays was changed or damaged"):
            arrays[name]
        with pytest.raises(PackageError):
            arrays.check(bytes(damaged))
    path.write_bytes(content[:-1])
    with pytest.raises(PackageError):
        Arrays(path, ArrayFile(ARRAYS).entries)


@pytest.mark.parametrize("name", ["PAL8T", "PAL8U", "PAL6T", "PAL6A", "PAL4T", "PAL4A"])
def test_weights_are_as_their_codes_but_where_limits_of_range_took_more(name):
    fmt = CONFIGS["basic"].weight_format(name)
    values = np.random.default_rng(1).normal(size=(2, 70, 5))
    values[0, :32, 2] *= 1e-12
    weights = encoded_weights(values, fmt)
    content = packed(weights.codes, fmt)
    assert content.size * 8 == weights.codes.size * fmt.n
    assert (unpacked(content, fmt) == weights.codes).all()
    again = weights.values()
    assert (again[0, :32, 2] == values[0, :32, 2]).all()
    assert (again[1] != values[1]).all()
    assert np.abs(again - values).max() < 0.5
    assert len(weights.low) == 1


def test_small_elements_of_tables_are_as_the_model_has_them():
    values = np.array([[1.0, 0.0, 1e-12], [-1e-11, 0.5, 2e-12], [0.25, -0.75, 0.125]])
    table = encoded_table(values, 0)
    for rows in ([0, 1], [2], [1, 1, 0]):
        codes, taken = taken_elements([table], lambda arrays, rows=rows: arrays[0][rows])
        assert (codes == table.codes[rows]).all()
        assert np.allclose(taken, values[rows], rtol=1e-3, atol=0)
        assert (taken[np.abs(taken) < 1e-5] == values[rows][np.abs(values[rows]) < 1e-5]).all()
    assert table.small.tolist() == [2, 3, 5]
    assert model.decode16(table.codes, 0)[1, 2] > 2e-11
    assert encoded_table(values * 1.5, 0) is None
    assert encoded_table(np.array([np.nan]), 0) is None


@pytest.fixture(scope="module")
def words():
    """Two rows of a table, by ids, times weights that blocks hold badly in part, twice."""
    rng = np.random.default_rng(8)
    weight = rng.normal(size=(64, 64)).astype(np.float32)
    weight[:, 5] *= 1e-9
    graph = create(
        [
            ("Gather", ["t", "ids"], ["e"], {}),
            ("MatMul", ["e", "w"], ["p"], {}),
            ("Relu", ["p"], ["r"], {}),
            ("MatMul", ["r", "w2"], ["y"], {}),
        ],
        {"ids": (TensorProto.INT64, [2])},
        {"t": rng.normal(size=(40, 64)).astype(np.float32), "w": weight, "w2": weight.copy()},
    )
    made = compile_program(lower(graph, "words"), TINY, PAL8T)
    return made, {"ids": np.array([3, 39])}


def test_a_package_of_codes_alone_runs_as_the_model_in_memory(words, tmp_path):
    made, given = words
    save(made, tmp_path / "codes", keep_float=False)
    save(made, tmp_path / "float", keep_float=True)
    found = []
    for package in (made, load(tmp_path / "codes"), load(tmp_path / "float")):
        engine = GoldenEngine(TINY)
        outputs = run(package, engine, given)
        found.append((outputs["y"].tolist(), engine.nodes, engine.cycles, package.cycles()))
    assert found[0] == found[1] == found[2]


def test_a_package_is_as_large_as_its_codes_and_holds_shared_ones_once(words, tmp_path):
    made, _ = words
    save(made, tmp_path / "codes", keep_float=False)
    save(made, tmp_path / "float", keep_float=True)
    size, more = ((tmp_path / n / "arrays.bin").stat().st_size for n in ("codes", "float"))
    pal = 64 * 64 * 8.25 / 8 + 2 * 40 * 64
    assert size < 1.2 * pal
    assert more >= size + 4 * (64 * 64 + 40 * 64)


def test_comparing_with_the_model_asks_for_its_numbers(words, tmp_path):
    made, given = words
    save(made, tmp_path / "p", keep_float=False)
    np.savez(tmp_path / "x.npz", **given)
    line = ["compare", str(tmp_path / "p"), "--input", str(tmp_path / "x.npz")]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 2
    assert "p: has codes alone of its weights" in result.stderr.replace("\n", " ")
    assert "spu compile --keep-float" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert CliRunner().invoke(app, [*line, "--against", "pal"]).exit_code == 0
    save(made, tmp_path / "p")
    assert CliRunner().invoke(app, line).exit_code == 0
