"""cocotb tests of ``ReadChannel``: in every cycle what its model is."""

from typing import Any

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from spu.arch.memory import Fault
from spu.model.chip.read_channel import ReadChannelModel
from spu.rtl.memory import layouts
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
async def a_read_channel_is_its_model(dut: Any, faulty: float) -> None:
    rng = await begin(dut, flush=0, limit=LIMIT, i__valid=0, index__valid=0, o__ready=0)
    dut.bus__rvalid.value = dut.bus__arready.value = 0
    model = ReadChannelModel(ENGINE, LIMIT)
    words = faults = 0
    for _ in range(12):
        bench = ChannelBench(dut, rng, faulty)
        memory, last, flush = bench.memory, 0, False
        for cycle in range(4000):
            bench.offer()
            o_ready = not bench.wait()
            r, ar_ready = memory.r, memory.takes_reads
            dut.o__ready.value, dut.bus__arready.value = o_ready, ar_ready
            dut.bus__rvalid.value = r is not None
            if r is not None:
                dut.bus__rid.value, dut.bus__rdata.value = r.id, r.data
                dut.bus__rresp.value, dut.bus__rlast.value = r.response, r.last
            # A flush begins at any time after a fault, and stays until all is idle.
            flush = (flush and model.busy) or (model.fault is not Fault.NONE and rng.random() < 0.1)
            dut.flush.value = flush
            await ReadOnly()
            check_burst(dut, "ar", model.ar)
            assert shown(dut, "i__ready", "index__ready", "o__valid") == {
                "i__ready": model.ready and not flush,
                "index__ready": model.takes_index() and not flush,
                "o__valid": model.o is not None,
            }, cycle
            if model.o is not None:
                found = layouts.word(ENGINE).from_bits(int(dut.o__payload.value))
                assert (found.data, found.last) == model.o, cycle
                words += o_ready
            assert fault_of(dut) == fault_shown(model), cycle
            assert flush or int(dut.busy.value) == model.busy, cycle
            given = bench.job, bench.index
            ar, failed = model.ar, model.fault is not Fault.NONE
            if not flush:
                bench.taken(model)
            model.tick(*given, ar_ready, r, o_ready, flush)
            memory.tick(ar, None, None)
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
    dut._log.info("%d words, %d flushes", words, faults)
    assert words > 300
    assert (faults > 0) == (faulty > 0)
