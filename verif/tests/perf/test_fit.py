"""Fits of constants: what they find again, how pairs are parted, files that are no products."""

import gzip
import json
import tomllib
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from perf import stacks
from perf.gemm import seconds, watts
from perf.stacks import stack
from spu.arch.errors import UserError
from verif.pages import perf as page
from verif.studies.perf import __main__, energy, fit, gpu, measured

H100 = ("h100", "trtllm_1.3.0rc20", "bfloat16")
B200 = ("b200", "vllm_0.22.0", "nvfp4")
SIDES = (512, 768, 1536, 3072, 5120, 8192, 12288)
ABSENT = not measured.path()


@pytest.fixture(scope="module")
def products():
    """Products as a B200 with known constants would run them, to a hundredth."""
    m, n, k = (x.reshape(-1).astype(float) for x in np.meshgrid((1, 64, 700, 8192), SIDES, SIDES))
    known = stack(*(B200[i] for i in (0, 2, 1)))
    time = seconds(known, m, n, k) * np.random.default_rng(3).uniform(0.99, 1.01, len(m))
    return measured.Products(m, n, k, time * 1e6, watts(known, m, n, k, time))


def test_a_fit_finds_times_and_power_again(products, monkeypatch):
    monkeypatch.setattr(fit, "EVALUATIONS", 400)
    found, other = fit.halves(B200, products)
    assert (other.us == products[products.fold(2) == 1].us).all()
    assert fit.mape(found, other) < 2
    assert fit.joules_error(found, fit.large(other)) < 2
    assert found.constants.launch_us == pytest.approx(
        stack("b200", "nvfp4").constants.launch_us, rel=0.1
    )


def test_no_pair_is_in_two_folds(products):
    fold = products.fold(2)
    halves = [set(zip(products.n[fold == i], products.k[fold == i], strict=True)) for i in (0, 1)]
    assert not halves[0] & halves[1]
    assert sorted(map(len, halves)) == [24, 25]
    # In whatever order the products come.
    order = np.random.default_rng(1).permutation(len(products))
    assert (products[order].fold(2) == fold[order]).all()


def test_every_stack_is_one_of_the_fit_with_its_constants():
    assert [(s.device.name, s.framework, s.dtype) for s in stacks.stacks()] == list(fit.SHAPES)
    for each, shape in zip(stacks.stacks(), fit.SHAPES.values(), strict=True):
        given = {k for k, v in vars(each.constants).items() if v is not None}
        assert given == set(shape.constants)
        assert (each.tiles, each.splits) == (shape.tiles, shape.splits)
        assert each.quantises == shape.quantises


def test_what_is_written_is_read_as_it_was():
    text = fit.toml(list(stacks.stacks()), [{"points": 3, "mape": 1.5}] * len(fit.SHAPES))
    read = tuple(stacks._stack(fields) for fields in tomllib.loads(text)["stack"])
    assert read == stacks.stacks()
    assert 'origin = "h200 bfloat16, the same die; not measured", measured = false' in text


def test_power_that_was_not_measured_is_borrowed_and_says_so():
    whole = list(stacks.stacks())
    bare = [
        s if s.energy.measured else replace(s, energy=replace(s.energy, pj_per_flop=0))
        for s in whole
    ]
    found = fit._borrowed(bare)
    assert [s.energy for s in found[1:]] == [s.energy for s in whole[1:]]
    assert found[0].energy.origin == whole[0].energy.origin
    assert not found[0].energy.measured
    a100 = stack("a100", "bfloat16")
    rate = a100.peak * a100.constants.sustained
    assert found[0].energy.idle_watts + rate * found[0].energy.pj_per_flop * 1e-12 == pytest.approx(
        a100.device.watts, rel=1e-4
    )


def _file(tmp_path, lines):
    path = tmp_path / "products.csv.gz"
    with gzip.open(path, "wt") as sink:
        sink.write("device,framework,dtype,m,n,k,us,W,W_limit\n" + lines)
    return path


def test_measurements_are_read_by_system(tmp_path):
    found = measured.read(_file(tmp_path, "H100,x,fp8,1,2,3,4.5,,\nH100,x,fp8,5,6,7,8,600,700\n"))
    assert list(found) == [("h100", "x", "fp8")]
    (read,) = found.values()
    assert (list(read.m), list(read.us)) == ([1, 5], [4.5, 8])
    assert np.isnan(read.watts[0])
    assert read.watts[1] == 600


@pytest.mark.parametrize("line", ["H100,x,fp8,1,2,3,slow,,\n", "H100,x,fp8,1,2\n"])
def test_a_row_that_is_no_product_is_named(line, tmp_path):
    with pytest.raises(ValueError, match=r"products.csv.gz, line 3: no product"):
        measured.read(_file(tmp_path, f"H100,x,fp8,1,2,3,4,,\n{line}"))


def test_a_file_of_measurements_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv(measured.VARIABLE, str(tmp_path / "none.csv"))
    for ask in (gpu.rows, energy.rows):
        with pytest.raises(UserError, match=r"none\.csv is not there"):
            ask()


def test_errors_are_those_recorded_where_there_are_no_measurements(monkeypatch):
    monkeypatch.delenv(measured.VARIABLE, raising=False)
    found = gpu.rows()
    assert len(found) == len(fit.SHAPES)
    assert all(row["held_out"] and row["recorded"] for row in found)
    assert energy.rows() == []


def test_recorded_errors_are_within_what_is_promised():
    most = {("h100", "bfloat16"): 7.5, ("a100", "bfloat16"): 7.5, ("h200", "fp8_block"): 12}
    most |= {("b200", "nvfp4"): 12, ("gb200", "fp8"): 12, ("gb200", "nvfp4"): 12}
    found = {(row["device"], row["dtype"]): row["mape"] for row in gpu.recorded()}
    assert {system: error for system, error in most.items() if found[system] > error} == {}


@pytest.mark.skipif(ABSENT, reason=f"no measurements; {measured.VARIABLE} names their file")
def test_recorded_errors_are_those_of_the_measurements():
    now = {(r["device"], r["dtype"]): r for r in gpu.rows() if r["held_out"]}
    for row in gpu.recorded():
        again = now[row["device"], row["dtype"]]
        assert again["mape"] == pytest.approx(row["mape"], abs=0.01)
        assert (again["points"], again["pairs"]) == (row["points"], row["pairs"])


@pytest.mark.skipif(ABSENT, reason=f"no measurements; {measured.VARIABLE} names their file")
def test_energies_of_large_products_are_within_a_fifth():
    """But for one system, whose watts docs/perf.md says are of too short a time."""
    for row in energy.rows():
        assert row["median_error"] < 20 or "gb200 nvfp4" in row["name"], row


def test_the_frame_takes_the_sections_there_are(tmp_path, monkeypatch):
    monkeypatch.delenv(measured.VARIABLE, raising=False)
    out = tmp_path / "new" / "perf.json"
    done = CliRunner().invoke(_app(), ["--only", "gpu", "--only", "energy", "--out", str(out)])
    assert done.exit_code == 0, done.output
    written = json.loads(out.read_text())
    assert list(written) == ["gpu", "energy"]
    assert written["gpu"] == gpu.rows()
    assert CliRunner().invoke(_app(), ["--only", "cpu"]).exit_code == 2


def _app():
    import typer

    made = typer.Typer()
    made.command()(__main__.main)
    return made


def test_tables_of_the_page_are_those_of_the_data():
    text = page.PATH.read_text()
    assert text == page.filled(text), "run python -m verif.pages.perf"
    assert "| h100 | trtllm_1.3.0rc20 | bfloat16 |" in text
    with pytest.raises(ValueError, match="has no part 'errors'"):
        page.filled(text.replace("<!-- end of errors -->", ""))
