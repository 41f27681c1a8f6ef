"""cocotb tests of ``WriteChannel``: words into patterns of memory, against the model."""

import random
from typing import Any

import cocotb
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiResp

from spu.arch.memory import INDEX_BITS, Fault
from spu.model.memory import elements, write_words
from spu.rtl.memory import layouts
from verif.benches.axi_memory import AxiMemory
from verif.benches.memory_streams import (
    Source,
    begin,
    fault_of,
    given_engine,
    until_fault,
    until_idle,
)
from verif.stimulus.patterns import random_pattern

MEMORY_BYTES, LIMIT = 16384, 12288
ENGINE = given_engine()
#: Pattern, indices, words.
Job = tuple[dict[str, Any], list[int], list[int]]


def _job(rng: random.Random, faulty: float = 0.0) -> Job:
    """A pattern that writes no byte twice, with all its words."""
    while True:
        pattern, indices = random_pattern(ENGINE, rng, LIMIT, faulty=faulty)
        places = elements(ENGINE, pattern, LIMIT, indices)
        used = [e.address for e in places if e.address is not None]
        if len(set(used)) == len(used) and (faulty or len(used) > 1):
            break
    count = -(-(len(places) << pattern["size"]) // ENGINE.word_bytes)
    return pattern, indices, [rng.getrandbits(ENGINE.word_bits) for _ in range(count)]


class _Bench:
    """The channel with its memory and streams."""

    def __init__(self, dut: Any, rng: random.Random, share: float) -> None:
        self.dut, self.rng = dut, rng
        self.memory = AxiMemory(dut, bytearray(rng.randbytes(MEMORY_BYTES)), rng, share)
        self.memory.begin_writes()
        self.jobs = Source(dut, "i", layouts.job(ENGINE), rng, share)
        self.indices = Source(dut, "index", INDEX_BITS, rng, share)
        self.words = Source(dut, "words", ENGINE.word_bits, rng, share)

    async def give(self, source: Source, values: list[Any]) -> None:
        for value in values:
            await source.put(value)

    def start(self, jobs: list[Job], first_tag: int = 0) -> list[Any]:
        patterns = [{"pattern": j[0], "tag": t} for t, j in enumerate(jobs, first_tag)]
        return [
            cocotb.start_soon(self.give(source, values))
            for source, values in (
                (self.jobs, patterns),
                (self.indices, [i for job in jobs for i in job[1]]),
                (self.words, [w for job in jobs for w in job[2]]),
            )
        ]


async def _begin(dut: Any, share: float) -> _Bench:
    return _Bench(dut, await begin(dut, flush=0, limit=LIMIT), share)


async def _check(bench: _Bench, jobs: list[Job]) -> None:
    """One after the other, since two may write a byte."""
    for pattern, indices, words in jobs:
        wanted = bytearray(bench.memory.content)
        write_words(ENGINE, wanted, pattern, LIMIT, words, indices)
        for task in bench.start([(pattern, indices, words)]):
            await task
        await until_idle(bench.dut)
        assert bench.memory.content == wanted, pattern


@cocotb.test(timeout_time=8, timeout_unit="ms")
@cocotb.parametrize(share=[0.0, 0.3])
async def patterns_are_written_as_by_the_model(dut: Any, share: float) -> None:
    bench = await _begin(dut, share)
    await _check(bench, [_job(bench.rng) for _ in range(30)])
    assert fault_of(dut) is None


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def patterns_without_a_pause_between_write_all(dut: Any) -> None:
    """A row each, of which the last beat is shared with the next row; each burst is long."""
    bench = await _begin(dut, 0.0)
    size, step = ENGINE.word_bytes.bit_length() - 1, ENGINE.word_bytes
    count = 4 * ENGINE.burst_beats * ENGINE.beat_bytes // step + 1
    jobs: list[Job] = [
        (
            {
                "base": n * count * step,
                "size": size,
                "loops": [{"count_less_1": count - 1, "stride": step}],
            },
            [],
            [bench.rng.getrandbits(ENGINE.word_bits) for _ in range(count)],
        )
        for n in range(6)
    ]
    wanted = bytearray(bench.memory.content)
    for pattern, _, words in jobs:
        write_words(ENGINE, wanted, pattern, LIMIT, words)
    for task in bench.start(jobs):
        await task
    await until_idle(dut)
    assert bench.memory.content == wanted
    # Four bursts and their ends, and some that go early since the beats have no more room.
    assert len(bench.memory.bursts) <= 6 * 8


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def a_fault_stops_the_channel_and_names_its_pattern(dut: Any) -> None:
    """Of pattern, index or memory; nothing beyond the pattern is written, and after a flush the
    next one is written as ever.
    """
    bench = await _begin(dut, 0.2)
    rng, causes = bench.rng, set()
    for turn in range(40):
        pattern, indices, words = _job(rng, faulty=float(turn % 3 != 0))
        places = elements(ENGINE, pattern, LIMIT, indices)
        size = 1 << pattern["size"]
        used = [e.address for e in places if e.address is not None and e.fault is Fault.NONE]
        expected = {places[-1].fault}
        if used and turn % 3 == 0:
            response = (AxiResp.SLVERR, AxiResp.DECERR)[turn // 3 % 2]
            bench.memory.faults[rng.choice(used)] = response
            expected |= {Fault.SLVERR if response == AxiResp.SLVERR else Fault.DECERR}
        expected -= {Fault.NONE}
        if not expected:
            continue
        before = bytes(bench.memory.content)
        tasks = bench.start([(pattern, indices, [*words, *words])], first_tag=turn)
        cause, tag = await until_fault(dut)
        assert cause in expected
        assert tag == turn
        causes.add(cause)
        await ClockCycles(dut.clk, 30)
        assert fault_of(dut) == (cause, tag)
        for task in tasks:
            task.cancel()
        for source in (bench.jobs, bench.indices, bench.words):
            source.valid.value = 0
        dut.flush.value = 1
        await ClockCycles(dut.clk, 2)
        await until_idle(dut)
        dut.flush.value = 0
        touched = {at + n for at in used for n in range(size)}
        after = bench.memory.content
        assert all(after[n] == before[n] for n in range(MEMORY_BYTES) if n not in touched)
        bench.memory.faults.clear()
        await _check(bench, [_job(rng)])
    assert causes == {Fault.SLVERR, Fault.DECERR, Fault.UNALIGNED, Fault.OUT_OF_RANGE}
