"""cocotb tests of ``WriteChannel``: in every cycle what its model is."""

from typing import Any

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from spu.arch.memory import Fault
from spu.model.chip.write_channel import WriteChannelModel
from verif.benches.channel_cycles import (
    ENGINE,
    LIMIT,
    ChannelBench,
    check_burst,
    fault_shown,
    shown,
)
from verif.benches.memory_streams import begin, fault_of


@cocotb.test(timeout_time=8, timeout_unit="ms")
@cocotb.parametrize(faulty=[0.0, 0.4])
async def a_write_channel_is_its_model(dut: Any, faulty: float) -> None:
    rng = await begin(dut, flush=0, limit=LIMIT, i__valid=0, index__valid=0, words__valid=0)
    dut.bus__awready.value = dut.bus__wready.value = dut.bus__bvalid.value = 0
    model = WriteChannelModel(ENGINE, LIMIT)
    word: int | None = None
    bursts = faults = 0
    for _ in range(12):
        bench = ChannelBench(dut, rng, faulty)
        memory, last, flush = bench.memory, 0, False
        for cycle in range(6000):
            bench.offer()
            if word is None and not bench.wait():
                word = rng.getrandbits(ENGINE.word_bits)
                dut.words__payload.value = word
            dut.words__valid.value = word is not None
            aw_ready, b = memory.takes_writes, memory.b
            _, w_ready = memory.moves(model.w is not None, True)
            dut.bus__awready.value, dut.bus__wready.value = aw_ready, w_ready
            dut.bus__bvalid.value = b is not None
            if b is not None:
                dut.bus__bid.value, dut.bus__bresp.value = b
            # A flush begins at any time after a fault, and stays until all is idle.
            flush = (flush and model.busy) or (model.fault is not Fault.NONE and rng.random() < 0.1)
            dut.flush.value = flush
            await ReadOnly()
            check_burst(dut, "aw", model.aw)
            assert shown(dut, "i__ready", "index__ready", "bus__wvalid", "words__ready") == {
                "i__ready": model.ready and not flush,
                "index__ready": model.takes_index() and not flush,
                "bus__wvalid": model.w is not None,
                "words__ready": word is not None and model.takes_word(aw_ready, flush),
            }, cycle
            if model.w is not None:
                found = shown(dut, "bus__wdata", "bus__wstrb", "bus__wlast")
                kept = sum(
                    255 << 8 * n for n in range(ENGINE.beat_bytes) if model.w.strobes >> n & 1
                )
                assert found["bus__wdata"] & kept == model.w.data & kept, cycle
                assert (found["bus__wstrb"], found["bus__wlast"]) == (
                    model.w.strobes,
                    model.manager.w_last,
                ), cycle
            assert fault_of(dut) == fault_shown(model), cycle
            assert flush or int(dut.busy.value) == model.busy, cycle
            given = bench.job, bench.index, word
            aw, w, failed = model.aw, model.w, model.fault is not Fault.NONE
            bursts += aw is not None and aw_ready
            if word is not None and model.takes_word(aw_ready, flush):
                word = None
            if not flush:
                bench.taken(model)
            model.tick(*given, aw_ready, w_ready, b, flush)
            memory.tick(None, aw, w)
            await RisingEdge(dut.clk)
            faults += flush
            if failed:  # the rest is not asked for
                bench.jobs.clear()
                bench.indices.clear()
                bench.job = bench.index = None
            idle = not model.busy and bench.job is None and not bench.jobs
            last = 0 if not idle or flush or fault_shown(model) else last + 1
            if last > 5:
                break
        else:
            raise AssertionError("it never ends")
    dut._log.info("%d bursts, %d flushes", bursts, faults)
    assert bursts > 60
    assert (faults > 0) == (faulty > 0)
