"""cocotb tests of ``ReadManager`` before a memory that answers as AXI allows."""

import random
from typing import Any

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiResp

from spu.arch.memory import Fault
from spu.rtl.memory import layouts
from verif.benches.axi_memory import AxiMemory
from verif.benches.memory_streams import Sink, Source, begin, given_engine, until_idle

MEMORY_BYTES = 16384
ENGINE = given_engine()
Request = tuple[int, int, int]


def _requests(rng: random.Random, count: int) -> list[Request]:
    """First beat, beats and tag; short and long ones, many across a page."""
    beats = MEMORY_BYTES // ENGINE.beat_bytes
    page = 4096 // ENGINE.beat_bytes
    found = []
    for tag in range(count):
        length = rng.choice((1, 1, 2, rng.randint(1, 3 * ENGINE.burst_beats)))
        first = rng.choice((rng.randrange(beats), page * rng.randint(1, 3) - rng.randint(0, 3)))
        found.append((min(first, beats - length), length, tag))
    return found


def _expected(memory: AxiMemory, requests: list[Request]) -> list[tuple[int, int, int, int]]:
    """Data, fault, last and tag of each beat."""
    step = ENGINE.beat_bytes
    fault = {AxiResp.SLVERR: Fault.SLVERR, AxiResp.DECERR: Fault.DECERR}
    found = []
    for first, length, tag in requests:
        for beat in range(first, first + length):
            at = beat * step
            cause = next((r for a, r in memory.faults.items() if at <= a < at + step), None)
            if at in memory.wrong_last:
                cause = AxiResp.SLVERR
            found.append(
                (
                    int.from_bytes(memory.content[at : at + step], "little"),
                    fault.get(cause, Fault.NONE).value,
                    int(beat == first + length - 1),
                    tag,
                )
            )
    return found


async def _ready(dut: Any, share: float) -> tuple[random.Random, AxiMemory, Source, Sink]:
    rng = await begin(dut, flush=0)
    memory = AxiMemory(dut, bytearray(rng.randbytes(MEMORY_BYTES)), rng, share)
    memory.begin_reads()
    source = Source(dut, "i", layouts.beat_request(ENGINE), rng, share)
    return rng, memory, source, Sink(dut, "o", layouts.read_beat(ENGINE), rng, share)


async def _ask(source: Source, requests: list[Request]) -> None:
    for first, length, tag in requests:
        await source.put({"beat": first, "beats_less_1": length - 1, "tag": tag})


async def _take(sink: Sink, count: int) -> list[tuple[int, int, int, int]]:
    found = []
    for _ in range(count):
        beat = await sink.get()
        found.append((beat.data, beat.fault, beat.last, beat.tag))
    return found


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(share=[0.0, 0.4])
async def beats_come_in_the_order_of_the_requests(dut: Any, share: float) -> None:
    """Whatever the order of the answers; with SLVERR and DECERR at some addresses."""
    rng, memory, source, sink = await _ready(dut, share)
    requests = _requests(rng, 40)
    for n, (first, *_) in enumerate(rng.sample(requests, 12)):
        at = first * ENGINE.beat_bytes + rng.randrange(ENGINE.beat_bytes)
        memory.faults[at] = (AxiResp.SLVERR, AxiResp.DECERR)[n % 2]
    expected = _expected(memory, requests)
    cocotb.start_soon(_ask(source, requests))
    assert await _take(sink, len(expected)) == expected
    assert {fault for _, fault, _, _ in expected} == {0, 1, 2}
    await until_idle(dut)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def a_wrong_last_is_a_fault_of_its_beat(dut: Any) -> None:
    """Missing or too early; the beats behind it, and all bursts after it, come as they should."""
    rng, memory, source, sink = await _ready(dut, 0.2)
    requests = _requests(rng, 40)
    for first, length, _ in rng.sample(requests, 12):
        memory.wrong_last.add((first + rng.choice((0, length - 1))) * ENGINE.beat_bytes)
    expected = _expected(memory, requests)
    cocotb.start_soon(_ask(source, requests))
    assert await _take(sink, len(expected)) == expected
    await until_idle(dut)
    memory.wrong_last.clear()
    expected = _expected(memory, requests)
    cocotb.start_soon(_ask(source, requests))
    assert await _take(sink, len(expected)) == expected
    await until_idle(dut)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_beat_comes_in_each_cycle(dut: Any) -> None:
    """Once the first one is there; bursts are aligned."""
    _, memory, source, sink = await _ready(dut, 0.0)
    count = 4 * ENGINE.burst_beats * ENGINE.outstanding
    cocotb.start_soon(_ask(source, [(1, count, 5)]))
    await sink.get()
    dut.o__ready.value = 1
    gaps = 0
    for _ in range(count - 1):
        await RisingEdge(dut.clk)
        while not int(dut.o__valid.value):
            gaps += 1
            await RisingEdge(dut.clk)
    # The memory of this bench takes some cycles between bursts.
    assert gaps <= 2 * (len(memory.bursts) + 2), gaps
    size = ENGINE.burst_beats * ENGINE.beat_bytes
    assert [at % size for _, at, _ in memory.bursts[1:]] == [0] * (len(memory.bursts) - 1)
    assert len(memory.bursts) == count // ENGINE.burst_beats + 1


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def the_bus_is_not_held_by_a_stream_that_stands_still(dut: Any) -> None:
    """All bursts that were asked for end, and no more are asked for than there are slots."""
    _, memory, source, sink = await _ready(dut, 0.0)
    requests = [(7 * n, ENGINE.burst_beats, n) for n in range(3 * ENGINE.outstanding)]
    asking = cocotb.start_soon(_ask(source, requests))
    await ClockCycles(dut.clk, 20 * ENGINE.outstanding * ENGINE.burst_beats)
    assert int(dut.bus__rready.value) == 1
    assert len(memory.bursts) == ENGINE.outstanding
    assert not any(memory.reads.values())
    expected = _expected(memory, requests)
    assert await _take(sink, len(expected)) == expected
    assert asking.done()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def a_flush_drops_what_is_under_way(dut: Any) -> None:
    """At any time; what is asked for after it comes alone."""
    rng, memory, source, sink = await _ready(dut, 0.2)
    sink.watching.cancel()  # an offer may be withdrawn by a flush
    for delay in range(0, 60, 3):
        asking = cocotb.start_soon(_ask(source, _requests(rng, 30)))
        taking = cocotb.start_soon(_take(sink, 1000))
        await ClockCycles(dut.clk, delay + 1)
        asking.cancel()
        taking.cancel()
        source.valid.value = sink.ready.value = 0
        dut.flush.value = 1
        await ClockCycles(dut.clk, 2)
        await until_idle(dut)
        dut.flush.value = 0
        assert not any(memory.reads.values())
        requests = _requests(rng, 3)
        expected = _expected(memory, requests)
        cocotb.start_soon(_ask(source, requests))
        assert await _take(sink, len(expected)) == expected
