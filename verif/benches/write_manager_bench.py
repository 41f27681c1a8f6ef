"""cocotb tests of ``WriteManager`` before a memory that answers as AXI allows."""

import random
from typing import Any

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiResp

from spu.arch.memory import Fault
from spu.rtl.memory import layouts
from verif.benches.axi_memory import AxiMemory
from verif.benches.memory_streams import Source, begin, given_engine, until_idle

MEMORY_BYTES = 16384
ENGINE = given_engine()
#: First beat, tag, and the data and strobes of each beat.
Request = tuple[int, int, list[tuple[int, int]]]


def _requests(rng: random.Random, count: int) -> list[Request]:
    """Of beats that no two requests share, in any order; many across a page."""
    limit, first, found = MEMORY_BYTES // ENGINE.beat_bytes, 0, []
    for tag in range(count):
        first += rng.choice((0, 1, rng.randint(0, limit // 3 // count)))
        length = rng.choice((1, 2, rng.randint(1, limit // 3 // count)))
        assert first + length <= limit
        data = [
            (rng.getrandbits(ENGINE.data_bits), rng.getrandbits(ENGINE.beat_bytes))
            for _ in range(length)
        ]
        found.append((first, tag, data))
        first += length
    rng.shuffle(found)
    return found


def _write(content: bytearray, request: Request, strobed: int | None = None) -> None:
    """What the first ``strobed`` beats of a request leave in memory, without faults."""
    for beat, (data, strobes) in enumerate(request[2][:strobed], request[0]):
        for n in range(ENGINE.beat_bytes):
            if strobes >> n & 1:
                content[beat * ENGINE.beat_bytes + n] = data >> 8 * n & 255


async def _ready(dut: Any, share: float) -> tuple[random.Random, AxiMemory, Source, Source]:
    rng = await begin(dut, flush=0)
    memory = AxiMemory(dut, bytearray(rng.randbytes(MEMORY_BYTES)), rng, share)
    memory.begin_writes()
    source = Source(dut, "i", layouts.beat_request(ENGINE), rng, share)
    return rng, memory, source, Source(dut, "beats", layouts.write_beat(ENGINE), rng, share)


async def _ask(source: Source, requests: list[Request]) -> None:
    for first, tag, data in requests:
        await source.put({"beat": first, "beats_less_1": len(data) - 1, "tag": tag})


async def _feed(beats: Source, requests: list[Request]) -> None:
    for _, _, data in requests:
        for word, strobes in data:
            await beats.put({"data": word, "strobes": strobes})


async def _faults(dut: Any, found: list[tuple[int, int]]) -> None:
    """Faults with their tags."""
    while True:
        await RisingEdge(dut.clk)
        shown = layouts.TAGGED_FAULT.from_bits(int(dut.fault.value))
        if shown.fault:
            found.append((shown.fault, shown.tag))


async def _nothing_is_written(dut: Any) -> None:
    """From the edge on at which a flush is seen no beat has strobes, but one that waited there."""
    waits = int(dut.bus__wvalid.value) and not int(dut.bus__wready.value)
    while True:
        await RisingEdge(dut.clk)
        if waits:
            waits = not int(dut.bus__wready.value)
        elif int(dut.bus__wvalid.value):
            assert int(dut.bus__wstrb.value) == 0


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(share=[0.0, 0.4])
async def all_bytes_with_a_strobe_are_written_and_no_others(dut: Any, share: float) -> None:
    """The burst of a fault leaves no byte, and its fault comes with its request's tag."""
    rng, memory, source, beats = await _ready(dut, share)
    requests, wanted = _requests(rng, 24), bytearray(memory.content)
    found: list[tuple[int, int]] = []
    kinds = {AxiResp.SLVERR: Fault.SLVERR, AxiResp.DECERR: Fault.DECERR}
    expected = []
    size = ENGINE.burst_beats
    for n, (first, tag, data) in enumerate(requests):
        kept = list(data)
        if n % 4 == 0:
            at = rng.randrange(len(data))
            response = (AxiResp.SLVERR, AxiResp.DECERR)[n // 4 % 2]
            memory.faults[(first + at) * ENGINE.beat_bytes] = response
            expected.append((kinds[response].value, tag))
            kept = [
                (word, strobes * ((first + k) // size != (first + at) // size))
                for k, (word, strobes) in enumerate(data)
            ]
        _write(wanted, (first, tag, kept))
    cocotb.start_soon(_faults(dut, found))
    feeding = cocotb.start_soon(_feed(beats, requests))
    await _ask(source, requests)
    await feeding
    await until_idle(dut)
    assert memory.content == wanted
    assert sorted(found) == sorted(expected)
    assert len({fault for fault, _ in found}) == 2


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def as_many_bursts_wait_for_responses_as_there_are_slots(dut: Any) -> None:
    rng, memory, source, beats = await _ready(dut, 0.0)
    memory.held = True
    requests, wanted = _requests(rng, 16), bytearray(memory.content)
    for request in requests:
        _write(wanted, request)
    feeding = cocotb.start_soon(_feed(beats, requests))
    asking = cocotb.start_soon(_ask(source, requests))
    await ClockCycles(dut.clk, 20 * ENGINE.outstanding * ENGINE.burst_beats)
    assert len(memory.bursts) == ENGINE.outstanding
    assert int(dut.busy.value)
    memory.held = False
    await asking
    await feeding
    await until_idle(dut)
    assert memory.content == wanted


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def a_flush_ends_every_burst_and_writes_nothing_more(dut: Any) -> None:
    """At any time, also without data; what is asked for after it is written."""
    rng, memory, source, beats = await _ready(dut, 0.2)
    for delay in range(0, 60, 3):
        requests = _requests(rng, 12)
        asking = cocotb.start_soon(_ask(source, requests))
        feeding = cocotb.start_soon(_feed(beats, requests))
        await ClockCycles(dut.clk, delay + 1)
        asking.cancel()
        feeding.cancel()
        source.valid.value = beats.valid.value = 0
        dut.flush.value = 1
        await RisingEdge(dut.clk)
        quiet = cocotb.start_soon(_nothing_is_written(dut))
        await ClockCycles(dut.clk, 2)
        await until_idle(dut)
        quiet.cancel()
        dut.flush.value = 0
        requests, wanted = _requests(rng, 3), bytearray(memory.content)
        for request in requests:
            _write(wanted, request)
        feeding = cocotb.start_soon(_feed(beats, requests))
        await _ask(source, requests)
        await feeding
        await until_idle(dut)
        assert memory.content == wanted
