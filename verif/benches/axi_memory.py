"""A memory behind AXI4 for testbenches, over the channels of ``cocotbext.axi``.

It answers bursts of different IDs in any order, their beats mixed, with random pauses, and says
which rule of AXI a manager breaks.
"""

import random
from collections.abc import Iterable, Iterator
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiBurstType, AxiResp
from cocotbext.axi.axi_channels import (
    AxiARBus,
    AxiARSink,
    AxiAWBus,
    AxiAWSink,
    AxiBBus,
    AxiBSource,
    AxiBTransaction,
    AxiRBus,
    AxiRSource,
    AxiRTransaction,
    AxiWBus,
    AxiWSink,
)

from spu.arch.memory import MOST_BEATS, PAGE_BYTES


def pauses(rng: random.Random, share: float) -> Iterator[bool]:
    """Whether a channel pauses, cycle by cycle, in about ``share`` of them; in long and short
    stretches.
    """
    while True:
        pausing = rng.random() < share
        yield from [pausing] * rng.choice((1, 1, 2, 3, 9))


async def watch_offers(dut: Any, valid: str, ready: str, payload: Iterable[str]) -> None:
    """Fail where an offer is withdrawn or changed before it is taken."""
    offered: list[str] | None = None
    names = (valid, *payload)
    while True:
        await RisingEdge(dut.clk)
        now = [str(getattr(dut, name).value) for name in names]
        assert now[0] in "01", f"{valid} is {now[0]}"
        assert offered in (None, now), f"{valid}: {dict(zip(names, now, strict=True))} after offer"
        offered = now if now[0] == "1" and str(getattr(dut, ready).value) == "0" else None


class AxiMemory:
    """Memory ``content`` behind the port of ``dut`` whose signals begin with ``prefix``.

    Bursts that touch an address of ``faults`` are answered with its response (of a read, the beat
    alone); nothing of them is written.  ``share`` of pauses on each channel.  ``bursts`` are those
    that were asked for: channel, address, beats.  ``wrong_last``: addresses of beats that say they
    are the last of their burst where they are not, or not where they are.  ``held``: answers wait
    while it is set.
    """

    def __init__(
        self, dut: Any, content: bytearray, rng: random.Random, share: float, prefix: str = "bus_"
    ) -> None:
        self.prefix = prefix
        self.dut, self.content, self.rng, self.share = dut, content, rng, share
        self.faults: dict[int, AxiResp] = {}
        self.wrong_last: set[int] = set()
        self.bursts: list[tuple[str, int, int]] = []
        self.held = False

    def begin_reads(self) -> None:
        """Take what comes on AR."""
        dut = self.dut
        self.ar = AxiARSink(AxiARBus.from_prefix(dut, self.prefix), dut.clk, dut.rst)
        self.r = AxiRSource(AxiRBus.from_prefix(dut, self.prefix), dut.clk, dut.rst)
        self.r.queue_occupancy_limit = 2
        self._pause(self.ar, self.r)
        self._watch("ar", "addr", "len", "size", "burst", "id")
        self.reads: dict[int, list[list[AxiRTransaction]]] = {}
        cocotb.start_soon(self._take_reads())
        cocotb.start_soon(self._answer_reads())

    def begin_writes(self) -> None:
        """Take what comes on AW and W."""
        dut = self.dut
        self.aw = AxiAWSink(AxiAWBus.from_prefix(dut, self.prefix), dut.clk, dut.rst)
        self.w = AxiWSink(AxiWBus.from_prefix(dut, self.prefix), dut.clk, dut.rst)
        self.b = AxiBSource(AxiBBus.from_prefix(dut, self.prefix), dut.clk, dut.rst)
        self.b.queue_occupancy_limit = 2
        self._pause(self.aw, self.w, self.b)
        self._watch("aw", "addr", "len", "size", "burst", "id")
        self._watch("w", "data", "strb", "last")
        self.writes: dict[int, list[AxiBTransaction]] = {}
        cocotb.start_soon(self._take_writes())
        cocotb.start_soon(self._answer_writes())

    def _pause(self, *channels: Any) -> None:
        for channel in channels if self.share else ():
            rng = random.Random(self.rng.random())
            channel.set_pause_generator(pauses(rng, self.share))

    def _watch(self, channel: str, *payload: str) -> None:
        prefix = f"{self.prefix}_{channel}"
        names = [f"{prefix}{name}" for name in payload]
        cocotb.start_soon(watch_offers(self.dut, f"{prefix}valid", f"{prefix}ready", names))

    def _burst(self, channel: str, request: Any) -> tuple[int, list[int], int]:
        """ID and addresses of a burst's beats, and the bytes of a beat; its rules are checked."""
        at, beats, size, kind, number = (
            int(getattr(request, channel + name)) for name in ("addr", "len", "size", "burst", "id")
        )
        beats, step = beats + 1, 1 << size
        data = f"{self.prefix}_{'rdata' if channel == 'ar' else 'wdata'}"
        width = len(getattr(self.dut, data)) // 8
        assert step == width, f"beats of {step} bytes on a bus of {width}"
        assert kind == AxiBurstType.INCR
        assert at % step == 0, f"a burst at {at:#x}"
        assert at // PAGE_BYTES == (at + beats * step - 1) // PAGE_BYTES, f"{at:#x}, {beats} beats"
        assert beats <= MOST_BEATS
        assert at + beats * step <= len(self.content)
        self.bursts.append((channel, at, beats))
        return number, [at + n * step for n in range(beats)], step

    def _response(self, at: int, step: int) -> AxiResp:
        return next((r for a, r in self.faults.items() if at <= a < at + step), AxiResp.OKAY)

    async def _take_reads(self) -> None:
        while True:
            number, places, step = self._burst("ar", await self.ar.recv())
            beats = []
            for at in places:
                data = int.from_bytes(self.content[at : at + step], "little")
                beats.append(
                    AxiRTransaction(
                        rid=number,
                        rdata=data,
                        rresp=self._response(at, step),
                        rlast=(at == places[-1]) != (at in self.wrong_last),
                    )
                )
            self.reads.setdefault(number, []).append(beats)

    async def _answer_reads(self) -> None:
        while True:
            waiting = [queue for queue in self.reads.values() if queue]
            if not waiting or self.held:
                await RisingEdge(self.dut.clk)
                continue
            queue = self.rng.choice(waiting)
            # As fast as it can be, unless it pauses; else some beats of one ID, then of another.
            for _ in range(self.rng.randint(1, len(queue[0]))):
                await self.r.send(queue[0].pop(0))
            if not queue[0]:
                queue.pop(0)

    async def _take_writes(self) -> None:
        while True:
            number, places, step = self._burst("aw", await self.aw.recv())
            response, changes = AxiResp.OKAY, []
            for at in places:
                beat = await self.w.recv()
                assert int(beat.wlast) == (at == places[-1]), f"wlast at {at:#x}"
                response = max(response, self._response(at, step))
                data = int(beat.wdata).to_bytes(step, "little")
                strobes = int(beat.wstrb)
                changes += [(at + n, data[n]) for n in range(step) if strobes >> n & 1]
            for at, byte in changes if response == AxiResp.OKAY else ():
                self.content[at] = byte
            answer = AxiBTransaction(bid=number, bresp=response)
            self.writes.setdefault(number, []).append(answer)

    async def _answer_writes(self) -> None:
        while True:
            waiting = [queue for queue in self.writes.values() if queue]
            if not waiting or self.held:
                await RisingEdge(self.dut.clk)
                continue
            await self.b.send(self.rng.choice(waiting).pop(0))
