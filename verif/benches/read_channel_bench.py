"""cocotb tests of ``ReadChannel``: patterns of memory as words, against the model."""

import random
from typing import Any

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiResp

from spu.arch.memory import INDEX_BITS, Fault
from spu.model.memory import elements, read_words
from spu.rtl.memory import layouts
from verif.benches.axi_memory import AxiMemory
from verif.benches.memory_streams import (
    PATIENCE,
    Sink,
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
Job = tuple[dict[str, Any], list[int]]


class _Bench:
    """The channel with its memory and streams."""

    def __init__(self, dut: Any, rng: random.Random, share: float) -> None:
        self.dut, self.rng = dut, rng
        self.memory = AxiMemory(dut, bytearray(rng.randbytes(MEMORY_BYTES)), rng, share)
        self.memory.begin_reads()
        self.jobs = Source(dut, "i", layouts.job(ENGINE), rng, share)
        self.indices = Source(dut, "index", INDEX_BITS, rng, share)
        self.words = Sink(dut, "o", layouts.word(ENGINE), rng, share)

    async def ask(self, jobs: list[Job], first_tag: int = 0) -> None:
        for tag, (pattern, _) in enumerate(jobs, first_tag):
            await self.jobs.put({"pattern": pattern, "tag": tag})

    async def feed(self, jobs: list[Job]) -> None:
        for _, indices in jobs:
            for index in indices:
                await self.indices.put(index)

    def start(self, jobs: list[Job], first_tag: int = 0) -> list[Any]:
        return [cocotb.start_soon(self.ask(jobs, first_tag)), cocotb.start_soon(self.feed(jobs))]

    async def check(self, jobs: list[Job]) -> None:
        """The words of patterns, all there is."""
        for pattern, indices in jobs:
            wanted = read_words(ENGINE, self.memory.content, pattern, LIMIT, indices)
            for n, word in enumerate(wanted):
                found = await self.words.get()
                assert (found.data, found.last) == (word, n == len(wanted) - 1), (n, pattern)
        await until_idle(self.dut)
        assert not int(self.dut.o__valid.value)


async def _begin(dut: Any, share: float) -> _Bench:
    return _Bench(dut, await begin(dut, flush=0, limit=LIMIT), share)


@cocotb.test(timeout_time=4, timeout_unit="ms")
@cocotb.parametrize(share=[0.0, 0.3])
async def patterns_come_as_the_words_of_the_model(dut: Any, share: float) -> None:
    bench = await _begin(dut, share)
    jobs = [random_pattern(ENGINE, bench.rng, LIMIT, faulty=0.0) for _ in range(40)]
    bench.start(jobs)
    await bench.check(jobs)
    assert fault_of(dut) is None


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_pattern_reads_its_first_beat_anew(dut: Any) -> None:
    """Also where the pattern before ended in it: memory may have changed."""
    bench = await _begin(dut, 0.2)
    job: Job = ({"base": ENGINE.beat_bytes, "size": 0, "loops": [{"count_less_1": 0}]}, [])
    for _ in range(6):
        bench.start([job])
        await bench.check([job])
        bench.memory.content[:] = bench.rng.randbytes(MEMORY_BYTES)


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def a_contiguous_pattern_takes_a_cycle_a_word(dut: Any) -> None:
    """Of long bursts: each beat is read once."""
    bench = await _begin(dut, 0.0)
    count = 24 * ENGINE.burst_beats * ENGINE.beat_bytes // ENGINE.word_bytes
    size = ENGINE.word_bytes.bit_length() - 1
    pattern = {
        "base": ENGINE.beat_bytes,
        "size": size,
        "loops": [{"count_less_1": count - 1, "stride": ENGINE.word_bytes}],
    }
    bench.start([(pattern, [])])
    await bench.words.get()
    dut.o__ready.value = 1
    cycles = 0
    while not int(dut.o__payload.value) >> ENGINE.word_bits or not int(dut.o__valid.value):
        await RisingEdge(dut.clk)
        cycles += 1
        assert cycles < PATIENCE
    bursts = bench.memory.bursts
    assert sum(beats for *_, beats in bursts) == count * ENGINE.word_bytes // ENGINE.beat_bytes
    assert len(bursts) <= 24 + 4
    # The memory of this bench takes a cycle or two between bursts, which words hide where a beat
    # has several.
    assert cycles <= count + 2 * (len(bursts) if ENGINE.beat_bytes == ENGINE.word_bytes else 8)


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def a_fault_stops_the_channel_and_names_its_pattern(dut: Any) -> None:
    """Of pattern, index or memory; no word of the pattern from it on, and after a flush the next
    patterns are read as ever.
    """
    bench = await _begin(dut, 0.2)
    bench.words.watching.cancel()  # a fault may withdraw an offer
    rng, causes = bench.rng, set()
    for turn in range(40):
        before = [random_pattern(ENGINE, rng, LIMIT, faulty=0.0)[:2] for _ in range(turn % 2)]
        before = [(p | {"index_level": 0}, []) for p, _ in before]
        before = [job for job in before if elements(ENGINE, job[0], LIMIT)[-1].fault is Fault.NONE]
        pattern, indices = random_pattern(ENGINE, rng, LIMIT, faulty=float(turn % 3 != 0))
        places = elements(ENGINE, pattern, LIMIT, indices)
        used = [e.address for e in places if e.address is not None and e.fault is Fault.NONE]
        bench.memory.faults.clear()
        expected = {places[-1].fault}
        if used and turn % 3 == 0:
            response = (AxiResp.SLVERR, AxiResp.DECERR)[turn // 3 % 2]
            bench.memory.faults[rng.choice(used)] = response
            expected |= {Fault.SLVERR if response == AxiResp.SLVERR else Fault.DECERR}
            before = []  # which might read there
        expected -= {Fault.NONE}
        if not expected:
            continue
        tasks = bench.start([*before, (pattern, indices)], first_tag=turn)
        tasks.append(cocotb.start_soon(_take_all(bench)))
        cause, tag = await until_fault(dut)
        assert (cause, tag - turn) in {(fault, len(before)) for fault in expected}
        causes.add(cause)
        await ClockCycles(dut.clk, 30)
        assert fault_of(dut) == (cause, tag)
        for task in tasks:
            task.cancel()
        for stream in (bench.jobs, bench.indices):
            stream.valid.value = 0
        bench.words.ready.value = 0
        assert not int(dut.o__valid.value)
        dut.flush.value = 1
        await ClockCycles(dut.clk, 2)
        await until_idle(dut)
        dut.flush.value = 0
        bench.memory.faults.clear()
        after = [random_pattern(ENGINE, rng, LIMIT, faulty=0.0)]
        bench.start(after)
        await bench.check(after)
    assert causes == {Fault.SLVERR, Fault.DECERR, Fault.UNALIGNED, Fault.OUT_OF_RANGE}


async def _take_all(bench: _Bench) -> None:
    while True:
        await bench.words.get()
