"""Splits, links and steps: refusals, and small cases by hand."""

import numpy as np
import pytest

from perf.cluster import links
from perf.cluster.links import Fabric, FabricError, Level
from perf.cluster.split import Split, SplitError, over, splits
from perf.cluster.steady import Chip, Replica, fastest, steady
from perf.llm.decoder import decoder

LINKS = Fabric((Level("server", 8, 100.0, 1.0), Level("hall", 64, 10.0, 3.0)))
LLAMA, MOE = decoder("llama-2-70b"), decoder("deepseek-v3")


@pytest.mark.parametrize(
    ("name", "chips", "ways", "rule"),
    [
        ("llama-2-70b", 12, {"tp": 3}, "64 heads cannot be split over tp 3 chips"),
        ("llama-2-70b", 9, {"tp": 2}, "9 chips are not a multiple of tp 2 x pp 1 x ep 1 = 2"),
        ("llama-2-70b", 0, {}, "0 chips are not a multiple of"),
        ("llama-2-70b", 81, {"pp": 81}, "80 layers cannot be split over pp 81 stages"),
        ("llama-2-70b", 8, {"ep": 8}, "has no experts to split over ep 8"),
        ("mixtral-8x7b", 3, {"ep": 3}, "8 experts cannot be split over ep 3 groups"),
        ("llama-2-7b", 8, {"tp": -1}, "tp must be 1 or more, not -1"),
        ("gpt-3-175b", 64, {"tp": 64}, "96 heads cannot be split over tp 64"),
        ("epoch-100b", 128, {"tp": 128}, "64 heads cannot be split over tp 128"),
    ],
)
def test_a_shape_that_cannot_be_split_is_one_line(name, chips, ways, rule):
    with pytest.raises(SplitError, match=rule) as caught:
        over(decoder(name), chips, **ways)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith(name)


def test_splits_are_all_that_there_are():
    found = list(splits(LLAMA, 8, 4))
    assert {(s.tp, s.pp) for s in found} == {
        (1, 1), (1, 2), (1, 4), (1, 8), (2, 1), (2, 2), (2, 4), (4, 1), (4, 2)
    }  # fmt: skip
    assert all(s.chips == 8 and s.ep == 1 for s in found)
    assert {s.ep for s in splits(MOE, 8, 8)} == {1, 2, 4, 8}


def test_weights_of_all_chips_are_those_of_the_decoder():
    for d, split in ((LLAMA, Split(tp=4, pp=2)), (MOE, Split(tp=1, ep=8)), (MOE, Split(tp=2))):
        each = Replica(d, _chip(), split).weight_bytes
        routed = d.expert_layers * d.experts * d.expert_parameters
        copies = split.ep * (d.parameters - routed) + routed
        assert each * split.replica == pytest.approx(copies)


def test_the_cache_of_all_chips_is_one_or_more_where_heads_are_fewer_than_chips():
    whole = 100 * LLAMA.cache_numbers
    assert Replica(LLAMA, _chip(), Split(tp=8, pp=2)).cache_bytes(100) * 16 == whole
    assert Replica(LLAMA, _chip(), Split(tp=16)).cache_bytes(100) * 16 == 2 * whole
    assert Replica(MOE, _chip(), Split(tp=4)).cache_bytes(100) == 100 * MOE.cache_numbers


def test_collectives_cost_what_their_messages_do():
    assert links.ring_all_reduce(4, 80.0, 10.0, 1.0) == 2 * 3 * (1 + 2)
    assert links.tree_all_reduce(8, 80.0, 10.0, 1.0) == 2 * 3 * (1 + 8)
    assert links.tree_all_reduce(5, 80.0, 10.0, 1.0) == 2 * 3 * (1 + 8)
    assert links.ring_all_gather(4, 80.0, 10.0, 1.0) == 3 * (1 + 2)
    # Few bytes: the tree of 8 is faster; many: the ring.
    assert links.all_reduce(LINKS, 8, 0.8) == pytest.approx(6 * (1 + 0.008))
    assert links.all_reduce(LINKS, 8, 8000.0) == pytest.approx(14 * (1 + 10))
    assert links.all_reduce(LINKS, 1, 8000.0) == 0
    assert links.send(LINKS, 8, 100.0) == 3 + 10


def test_a_scatter_passes_a_switch_once_for_a_group():
    # Within a server: 2 copies, of which 7 in 8 leave the chip (drawn one by one, not distinct).
    reached = 8 * (1 - (7 / 8) ** 2)
    assert links.scatter(LINKS, 8, 100.0, 2) == pytest.approx(1 + reached * 7 / 8)
    one = links.scatter(LINKS, 64, 100.0, 1)
    assert one == pytest.approx((1 + 7 / 8) + (3 + 7 / 8 * 10))
    # So many copies that every server gets one: no more than 8 of them cross.
    many = links.scatter(LINKS, 64, 100.0, 10_000)
    assert many == pytest.approx((1 + 64 * 7 / 8) + (3 + 8 * 7 / 8 * 10))
    assert links.scatter(LINKS, 1, 100.0, 4) == 0


@pytest.mark.parametrize(
    ("levels", "rule"),
    [
        ([("a", 1, 1.0, 0.0)], "a: joins 1 chips"),
        ([("a", 4, 1.0, 0.0), ("b", 6, 1.0, 0.0)], "b: joins 6 chips, .* multiple of 4"),
        ([("a", 4, 0.0, 0.0)], "bandwidth must be positive"),
        ([("a", 4, 1.0, -1.0)], "latency not negative"),
    ],
)
def test_links_that_are_none_are_refused(levels, rule):
    with pytest.raises(FabricError, match=rule):
        Fabric(tuple(Level(*each) for each in levels))


def test_a_group_that_no_level_joins_is_refused():
    for call in (links.all_reduce, lambda f, n, size: links.scatter(f, n, size, 1)):
        with pytest.raises(FabricError, match="128 chips: the links join 64 at most"):
            call(LINKS, 128, 1.0)


def _chip(exposed=1.0, flop_rate=1e12, bandwidth=1e12):
    fast = Fabric((Level("server", 64, 1e30, 0.0),))
    return Chip(flop_rate, bandwidth, 1e15, exposed, fast)


def test_a_step_is_the_sum_or_the_longest_of_its_parts():
    slow, d, batch = _chip(), LLAMA, 4
    products = max(
        batch * d.token_flop / 1e12, (d.shared_parameters + d.routed_parameters(batch)) / 1e12
    )
    attention = max(batch * d.attention_flop(100), batch * 100 * d.cache_numbers) / 1e12
    between = batch * d.moved_numbers * 2 / 1e12
    one = Replica(d, slow, Split())
    assert one.step(batch, 100) == pytest.approx(products + attention + between)
    hidden = Replica(d, _chip(exposed=0.0), Split())
    assert hidden.step(batch, 100) == pytest.approx(products)


def test_two_chips_that_send_for_nothing_take_half_of_one():
    one = Replica(LLAMA, _chip(), Split()).step(64, 500)
    assert Replica(LLAMA, _chip(), Split(tp=2)).step(64, 500) == pytest.approx(one / 2)
    # Stages load their weights for each part of the batch, but compute no more.
    computes = _chip(bandwidth=1e30)
    whole = Replica(LLAMA, computes, Split()).step(64, 500)
    assert Replica(LLAMA, computes, Split(pp=2)).step(64, 500) == pytest.approx(whole / 2)


def test_a_steady_batch_keeps_the_bounds_and_is_the_largest():
    replica = Replica(LLAMA, _chip(flop_rate=1e15, bandwidth=3e12), Split(tp=4))
    bound = 0.05
    found = steady(replica, 500.0, 200.0, bound)
    assert 0 < found.step <= bound
    assert found.rate == found.batch / found.step
    more = replica.step(
        2 * found.batch, 600.0, 2 * found.batch * 2.5, LLAMA.prefill_flop(500) * found.batch / 100
    )
    assert more > bound
    assert steady(replica, 500.0, 200.0, 1e-6).rate == 0


def test_samples_give_what_each_gives_alone():
    rates = np.array([1e14, 1e15])
    together = steady(Replica(LLAMA, _chip(flop_rate=rates), Split(tp=4)), 500.0, 200.0, 0.2)
    for rate, got in zip(rates, together.rate, strict=True):
        alone = steady(Replica(LLAMA, _chip(flop_rate=rate), Split(tp=4)), 500.0, 200.0, 0.2)
        assert alone.rate == got


def test_chips_that_cannot_hold_a_decoder_are_named():
    small = Chip(1e15, 1e12, 1e9, 1.0, _chip().fabric)
    with pytest.raises(SplitError, match="no split over 8 chips holds the weights"):
        fastest(LLAMA, small, 8, 8, 100, 100)
