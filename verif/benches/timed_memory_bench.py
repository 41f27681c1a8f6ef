"""cocotb tests of ``TimedMemory``: cycle by cycle against the model, and behind a master."""

import json
import os
import random
from typing import Any

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge
from cocotbext.axi import AxiBus, AxiMaster, AxiResp

from spu.arch.external import ExternalMemory
from spu.model.chip.memory import Burst, MemoryModel, WriteBeat
from verif.benches.memory_streams import PATIENCE, begin, given_engine

ENGINE = given_engine()
MEMORY = ExternalMemory(**json.loads(os.environ["SPU_EXTERNAL"]))
BEAT = ENGINE.beat_bytes
SIZE = (BEAT - 1).bit_length()


async def _begin(dut: Any) -> random.Random:
    names = [f"{way}{name}" for way in ("ar", "aw") for name in ("id", "addr", "len")]
    names += ["arvalid", "awvalid", "wvalid", "wdata", "wstrb", "wlast", "rready", "bready"]
    rng = await begin(
        dut, load=0, load_beat=0, peek_beat=0, **{f"bus__{name}": 0 for name in names}
    )
    for way in ("ar", "aw"):
        getattr(dut, f"bus__{way}size").value = SIZE
        getattr(dut, f"bus__{way}burst").value = 1
    return rng


async def _load(dut: Any, content: bytes) -> None:
    dut.load.value = 1
    for n in range(MEMORY.size_bytes // BEAT):
        dut.load_beat.value = n
        dut.load_data.value = int.from_bytes(content[n * BEAT : (n + 1) * BEAT], "little")
        await RisingEdge(dut.clk)
    dut.load.value = 0


async def _content(dut: Any) -> bytes:
    found = b""
    for n in range(MEMORY.size_bytes // BEAT):
        dut.peek_beat.value = n
        await RisingEdge(dut.clk)
        found += int(dut.peek_data.value).to_bytes(BEAT, "little")
    return found


class _Way:
    """Bursts that are offered on AR or AW until they are taken."""

    def __init__(self, dut: Any, way: str, rng: random.Random) -> None:
        self.dut, self.way, self.rng = dut, way, rng
        self.offer: Burst | None = None

    def drive(self, share: float) -> None:
        if self.offer is None and self.rng.random() < share:
            beats = self.rng.choice((1, 1, 2, 4, 16))
            place = self.rng.randrange(MEMORY.size_bytes // BEAT + 2) * BEAT
            place += self.rng.choice((0,) * 9 + (1,)) * self.rng.randrange(BEAT)
            self.offer = Burst(self.rng.randrange(4), place, beats)
        bus = f"bus__{self.way}"
        getattr(self.dut, f"{bus}valid").value = self.offer is not None
        if self.offer is not None:
            getattr(self.dut, f"{bus}id").value = self.offer.id
            getattr(self.dut, f"{bus}addr").value = self.offer.address
            getattr(self.dut, f"{bus}len").value = self.offer.beats - 1


@cocotb.test(timeout_time=4, timeout_unit="ms")
@cocotb.parametrize(share=[0.02, 0.2, 1.0])
async def it_is_its_model_in_every_cycle(dut: Any, share: float) -> None:
    """Bursts beyond the memory and from within a beat on, with pauses on all channels."""
    rng = await _begin(dut)
    content = rng.randbytes(MEMORY.size_bytes)
    await _load(dut, content)
    model = MemoryModel(ENGINE, MEMORY, bytearray(content))
    model.skip(MEMORY.size_bytes // BEAT)
    ar, aw = _Way(dut, "ar", rng), _Way(dut, "aw", rng)
    beat: WriteBeat | None = None
    responses = set()
    for cycle in range(1500):
        pressing = share if cycle < 1200 else 0.0
        ar.drive(pressing)
        aw.drive(pressing)
        if beat is None and rng.random() < max(share, 0.3):
            beat = WriteBeat(
                rng.getrandbits(8 * BEAT), rng.choice((-1, rng.getrandbits(BEAT))) % (1 << BEAT)
            )
        dut.bus__wvalid.value = beat is not None
        if beat is not None:
            dut.bus__wdata.value, dut.bus__wstrb.value = beat
        r_ready, b_ready = rng.random() < 0.8, rng.random() < 0.7
        dut.bus__rready.value, dut.bus__bready.value = r_ready, b_ready
        await ReadOnly()
        _, takes_beat = model.moves(beat is not None, r_ready)
        shown = {
            name: int(getattr(dut, f"bus__{name}").value)
            for name in ("arready", "awready", "wready", "rvalid", "bvalid")
        }
        assert shown == {
            "arready": model.takes_reads,
            "awready": model.takes_writes,
            "wready": takes_beat,
            "rvalid": model.r is not None,
            "bvalid": model.b is not None,
        }, cycle
        if model.r is not None:
            found = [getattr(dut, f"bus__r{name}") for name in ("id", "data", "resp", "last")]
            assert tuple(int(value.value) for value in found) == model.r, cycle
            responses.add(model.r.response)
        if model.b is not None:
            assert (int(dut.bus__bid.value), int(dut.bus__bresp.value)) == model.b, cycle
            responses.add(model.b[1])
        took = model.takes_reads, model.takes_writes
        model.tick(ar.offer, aw.offer, beat, r_ready, b_ready)
        ar.offer = None if took[0] else ar.offer
        aw.offer = None if took[1] else aw.offer
        beat = None if takes_beat else beat
        await RisingEdge(dut.clk)
    assert share < 0.1 or responses == {0, 3}
    assert await _content(dut) == bytes(model.content)


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def a_master_reads_what_it_wrote(dut: Any) -> None:
    """The master of cocotbext-axi, with whole and partial beats."""
    rng = await _begin(dut)
    wanted = bytearray(rng.randbytes(MEMORY.size_bytes))
    await _load(dut, bytes(wanted))
    master = AxiMaster(AxiBus.from_prefix(dut, "bus_"), dut.clk, dut.rst)
    for _ in range(12):
        first = rng.randrange(MEMORY.size_bytes)
        data = rng.randbytes(rng.randint(1, min(300, MEMORY.size_bytes - first)))
        wanted[first : first + len(data)] = data
        await master.write(first, data)
        first = rng.randrange(MEMORY.size_bytes)
        count = rng.randint(1, min(300, MEMORY.size_bytes - first))
        assert bytes((await master.read(first, count)).data) == wanted[first : first + count]
    assert await _content(dut) == bytes(wanted)
    narrow = await master.read(0, BEAT, size=0), await master.write(0, bytes(BEAT), size=0)
    assert [answer.resp for answer in narrow] == [AxiResp.SLVERR] * 2
    assert await _content(dut) == bytes(wanted)


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def latency_and_bandwidth_are_as_stated(dut: Any) -> None:
    """Of bursts one after the other, from the first address on."""
    await _begin(dut)
    await _load(dut, bytes(MEMORY.size_bytes))
    dut.bus__rready.value = 1
    dut.bus__arvalid.value = 1
    dut.bus__arlen.value = 15
    arrived: list[int] = []
    for cycle in range(PATIENCE):
        await ReadOnly()
        if int(dut.bus__rvalid.value):
            arrived.append(cycle)
        await RisingEdge(dut.clk)
        if len(arrived) == 8 * 16:
            break
    assert arrived[0] == MEMORY.latency_cycles
    spent = arrived[-1] - arrived[0]
    least = -(-(len(arrived) - 1) * BEAT // min(BEAT, MEMORY.bytes_per_cycle))
    assert least <= spent + 1 <= least + 2
