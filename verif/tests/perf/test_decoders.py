"""Decoders: counts as published, operations as by hand on a small one."""

import pytest

from perf.llm.decoder import Decoder, DecoderError, decoder, decoders

SMALL = {
    "name": "small",
    "source": "none",
    "layers": 2,
    "width": 8,
    "heads": 4,
    "kv_heads": 2,
    "head_width": 2,
    "hidden": 16,
    "vocabulary": 10,
    "published": 0.0,
}


@pytest.mark.parametrize("name", decoders())
def test_parameters_are_the_published_ones(name):
    d = decoder(name)
    assert d.source
    assert d.parameters == pytest.approx(d.published, rel=0.005)
    assert d.active_parameters == pytest.approx(d.active or d.published, rel=0.016)


def test_counts_of_a_small_decoder_are_those_by_hand():
    d = Decoder(**SMALL)
    # Of a layer: queries and outputs 8 x 8, keys and values 8 x 4, three matrices of 8 x 16.
    matrices = 2 * (2 * 64 + 2 * 32 + 3 * 128)
    assert d.parameters == matrices + 2 * 80
    assert d.token_flop == 2 * (matrices + 80)
    assert d.cache_numbers == 2 * 2 * 2 * 2
    assert d.attention_flop(5) == 2 * 4 * (2 * 2 * 2) * 5
    # Three tokens attend to 1, 2 and 3; one token's logits.
    assert d.prefill_flop(3) == 3 * 2 * matrices + d.attention_flop(1 + 2 + 3) + 2 * 80


def test_prefill_of_a_token_after_another_is_a_decoding_step_without_its_logits():
    d = decoder("llama-2-70b")
    more = d.prefill_flop(101) - d.prefill_flop(100)
    assert more == d.token_flop - 2 * d.vocabulary * d.width + d.attention_flop(101)


def test_experts_that_a_batch_touches_are_those_of_every_choice():
    d = Decoder(**SMALL | {"experts": 4, "active_experts": 1})
    # Two tokens: three times in four they choose different ones.
    assert d.experts_touched(2) == pytest.approx(1 * 1 / 4 + 2 * 3 / 4)
    assert d.routed_parameters(1e9) == pytest.approx(2 * 4 * 3 * 8 * 16)
    assert d.parameters - d.active_parameters == 2 * 3 * 3 * 8 * 16


def test_latent_attention_caches_what_deepseek_says():
    # arXiv:2405.04434, table 1: 9/2 head widths a layer for V2's; 512 + 64 numbers here.
    d = decoder("deepseek-v3")
    assert d.cache_numbers == 61 * (512 + 64)
    assert d.cache_numbers < decoder("llama-2-70b").cache_numbers / 4


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"layers": 0}, "layers must not be 0"),
        ({"kv_heads": 3}, "4 heads do not share 3"),
        ({"experts": 2}, "0 active experts of 2"),
        ({"experts": 2, "active_experts": 3}, "3 active experts of 2"),
        ({"dense_layers": 3}, "3 dense of 2 layers"),
        ({"latent": -1}, "latent must not be -1"),
    ],
)
def test_a_shape_that_is_none_is_refused(change, rule):
    with pytest.raises(DecoderError, match=rule):
        Decoder(**SMALL | change)


def test_an_unknown_decoder_is_refused_with_one_alike():
    with pytest.raises(DecoderError, match="no decoder 'llama-2-70'; did you mean llama-2-70b"):
        decoder("llama-2-70")
