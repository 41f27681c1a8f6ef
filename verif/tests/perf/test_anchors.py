"""Anchors: published figures, computed again within their bars."""

import pytest

from perf import constants
from perf.anchors import anchors
from perf.sizing.chips import CHIPS
from verif.studies.perf.__main__ import collect

FOUND = {a.name: a for a in anchors(constants.values(constants.read()))}


@pytest.mark.parametrize(
    ("name", "published", "bar"),
    [
        ("Epoch AI, query of 500 tokens on GPT-4o", 0.301, 0.01),
        ("DeepSeek's day, output token", 1.43, 0.01),
        ("NVL72, Llama-2-70B, token", 0.183, 0.01),
        ("MLPerf, Llama-2-70B on 8 H100", 24.7e3, 0.10),
        ("DeepSeek's day, output tokens of a node", 168e9 / 226.75 / 86400, 0.30),
        ("Llama-2-70B, training", 1.72e6, 0.10),
    ],
)
def test_an_anchor_is_within_its_bar(name, published, bar):
    found = FOUND[name]
    assert (found.published, found.bar) == (published, bar)
    assert found.computed == pytest.approx(published, rel=bar)
    assert found.how


def test_anchors_depend_on_every_constant_that_they_name():
    """What is computed is computed: half of an input moves the figure as much as it must."""
    centre = constants.values(constants.read())

    def moved(anchor, name):
        found = {a.name: a for a in anchors(centre | {name: centre[name] / 2})}[anchor]
        return found.computed / FOUND[anchor].computed

    query = "Epoch AI, query of 500 tokens on GPT-4o"
    assert moved(query, "epoch_tokens") == pytest.approx(0.5)
    assert moved(query, "epoch_utilisation") == pytest.approx(2)
    assert moved("DeepSeek's day, output token", "deepseek_output_tokens") == pytest.approx(2)
    assert moved("NVL72, Llama-2-70B, token", "nvl72_watts") == pytest.approx(0.5)
    assert 0.5 < moved("MLPerf, Llama-2-70B on 8 H100", "gpu_efficiency_fp8") < 0.7
    assert moved("Llama-2-70B, training", "train_utilisation_bf16") == pytest.approx(2)


def test_make_perf_has_the_anchors_as_they_are():
    (rows,) = collect(["anchors"]).values()
    assert [row["name"] for row in rows] == list(FOUND)
    for row in rows:
        found = FOUND[row["name"]]
        assert (row["published"], row["computed"]) == (found.published, found.computed)


@pytest.mark.regress
def test_make_perf_has_the_sizes():
    (found,) = collect(["sizing"]).values()
    assert set(found["services"]) == set(CHIPS)
    assert found["queries"] == 1e10
