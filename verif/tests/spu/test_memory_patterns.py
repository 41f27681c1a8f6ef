"""Patterns of the memory engine: the generator against arithmetic on indices."""

import itertools
import random

import pytest

from spu.arch.memory import Fault, Kind, MemoryEngine, descriptor_layout, pattern_layout
from spu.model.memory import elements
from spu.rtl.memory.pattern import PatternGenerator
from verif.stimulus.patterns import random_pattern
from verif.tests.small_units import simulate

ENGINE = MemoryEngine(data_bits=64, address_bits=16, loops=5)
LIMIT = 16384


def _shown(element):
    """What the generator must show of an element of the model."""
    return (
        element.address if element.fault is Fault.NONE else None,
        element.fault.value,
        element.last,
    )


def _run(jobs, rng):
    """The elements of patterns one after the other, with stalls on all three streams, and the
    number of indices that each took.  What a pattern leaves of its indices is dropped.
    """
    unit = PatternGenerator(ENGINE)
    stalls = rng.choice((0.0, 0.5))
    seen, taken = [], []

    async def bench(ctx):
        ctx.set(unit.limit, LIMIT)
        for pattern, indices in jobs:
            found, left, last, begun = [], list(indices), False, False
            ctx.set(unit.pattern.payload, pattern)
            while not last:
                ready, offer = rng.random() >= stalls, bool(left) and rng.random() >= stalls
                ctx.set(unit.pattern.valid, not begun)
                ctx.set(unit.o.ready, ready)
                ctx.set(unit.index.payload, left[0] if left else 0)
                ctx.set(unit.index.valid, offer)
                *_, valid, payload, takes, begins = await ctx.tick().sample(
                    unit.o.valid, unit.o.payload, unit.index.ready, unit.pattern.ready
                )
                begun = begun or begins
                if offer and takes:
                    left.pop(0)
                if valid and ready:
                    fault, last = payload.fault, bool(payload.last)
                    place = None if payload.zero or fault else payload.address
                    found.append((place, fault, last))
            seen.append(found)
            taken.append(len(indices) - len(left))

    simulate(unit, bench)
    return seen, taken


def _job(rng, faulty=0.0, **changes):
    pattern, indices = random_pattern(ENGINE, rng, LIMIT, faulty=faulty)
    return pattern | changes, indices


@pytest.mark.parametrize("seed", range(4))
def test_random_patterns_have_the_elements_of_the_model(seed, record_property):
    rng = random.Random(seed)
    jobs = [_job(rng) for _ in range(30)]
    wanted = [[*map(_shown, elements(ENGINE, p, LIMIT, i))] for p, i in jobs]
    seen, taken = _run(jobs, rng)
    assert seen == wanted
    assert taken == [len(indices) for _, indices in jobs]
    record_property("cases", (seed, sum(map(len, wanted))))


def test_faults_end_a_pattern_and_name_their_cause():
    """Also that of an index, whose successor must not be taken for the pattern that follows."""
    rng, jobs = random.Random(1), []
    for _ in range(60):
        jobs += [_job(rng, faulty=1.0), _job(rng)]
    wanted = [[*map(_shown, elements(ENGINE, p, LIMIT, i))] for p, i in jobs]
    assert _run(jobs, rng)[0] == wanted
    causes = {elements_[-1][1] for elements_ in wanted}
    assert causes == {f.value for f in (Fault.NONE, Fault.UNALIGNED, Fault.OUT_OF_RANGE)}


def test_every_small_nest_of_loops():
    """Loops 0, 2 and 4 of one to three iterations, the others without effect."""
    jobs = []
    for counts in itertools.product((1, 2, 3), repeat=3):
        loops = [{}] * 5
        for k, count in zip((0, 2, 4), counts, strict=True):
            loops[k] = {"count_less_1": count - 1, "stride": 8 * (-1) ** k * 3**k, "steps": [1, -1]}
        axes = [{"start": -1, "extent": 2}, {"start": 3, "extent": 3}]
        jobs.append(({"base": 100, "size": 2, "loops": loops, "axes": axes}, []))
    wanted = [[*map(_shown, elements(ENGINE, p, LIMIT))] for p, _ in jobs]
    assert sum(map(len, wanted)) == 6**3
    assert _run(jobs, random.Random(0))[0] == wanted


def test_an_element_a_cycle_without_stalls():
    unit = PatternGenerator(ENGINE)
    loops = [{"count_less_1": 3, "stride": 8}] * 2

    async def bench(ctx):
        ctx.set(unit.limit, LIMIT)
        ctx.set(unit.pattern.payload, {"size": 3, "loops": loops})
        ctx.set(unit.pattern.valid, 1)
        ctx.set(unit.o.ready, 1)
        await ctx.tick()
        for n in range(16):
            assert ctx.get(unit.o.valid)
            assert ctx.get(unit.o.payload.last) == (n == 15)
            await ctx.tick()
        assert not ctx.get(unit.o.valid)

    simulate(unit, bench)


def test_a_flush_forgets_pattern_and_index():
    unit = PatternGenerator(ENGINE)
    gather = {"index_level": 1, "index_count": 99, "index_pitch": 8, "size": 3}

    async def bench(ctx):
        ctx.set(unit.limit, LIMIT)
        for given in (gather, {"base": 64, "size": 3}):
            ctx.set(unit.pattern.payload, given)
            ctx.set(unit.pattern.valid, 1)
            ctx.set(unit.index.payload, 5)
            ctx.set(unit.index.valid, given is gather)
            await ctx.tick().until(unit.pattern.ready)
            ctx.set(unit.pattern.valid, 0)
            await ctx.tick().repeat(6)
            assert ctx.get(unit.o.valid)
            assert ctx.get(unit.o.payload.address) == (40 if given is gather else 64)
            ctx.set(unit.flush, given is gather)
            await ctx.tick()
            ctx.set(unit.flush, 0)
            assert ctx.get(unit.o.valid) == (given is not gather)

    simulate(unit, bench)


@pytest.mark.parametrize(
    ("parameters", "rule"),
    [
        ({"data_bits": 48}, "data_bits must be a power of two from 32 to 1024, not 48"),
        ({"word_bits": 512}, "word_bits must be a power of two from 16 to 256, not 512"),
        ({"burst_beats": 256}, "burst_beats must be a power of two from 2 to 128, not 256"),
        ({"data_bits": 32, "word_bits": 32, "burst_beats": 512}, "from 2 to 256, not 512"),
        ({"outstanding": 1}, "outstanding must be a power of two from 2 to 32, not 1"),
        ({"ids": 16}, "ids must be a power of two from 1 to 8, not 16"),
        ({"address_bits": 12}, "address_bits must be 13 to 64, not 12"),
        ({"loops": 4}, "loops must be 5 to 8, not 4"),
        ({"read_channels": 0}, "read_channels must be 1 to 64, not 0"),
    ],
)
def test_parameters_out_of_range_are_refused_with_the_rule(parameters, rule):
    with pytest.raises(ValueError, match=rule):
        MemoryEngine(**parameters)


def test_descriptors_hold_the_longest_kind():
    for engine in (ENGINE, MemoryEngine(), MemoryEngine(data_bits=1024, loops=8)):
        size = engine.descriptor_bytes
        assert size & (size - 1) == 0
        assert size % engine.beat_bytes == 0
        assert all(descriptor_layout(kind, engine).width <= 8 * size for kind in Kind)
    assert pattern_layout(ENGINE).width > 256


def test_the_model_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="loops: 0: stride"):
        elements(ENGINE, {"loops": [{"stride": 1 << 31}]}, LIMIT)
    with pytest.raises(ValueError, match="a gather of 1 indices, there are 0"):
        elements(ENGINE, {"index_level": 1, "index_count": 1}, LIMIT)
