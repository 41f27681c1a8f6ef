"""The AXI managers of the memory engine, in RTL before a memory of random behaviour."""

import json
from dataclasses import asdict

import pytest

from rtl import emit, simulator
from spu.arch.memory import MemoryEngine
from spu.engine.rtl_run import BUILD
from spu.rtl.memory.read_manager import ReadManager
from spu.rtl.memory.write_manager import WriteManager

#: One ID for all, IDs that slots share, an ID a slot.
ENGINES = {
    ids: MemoryEngine(
        data_bits=data_bits, address_bits=14, word_bits=32, burst_beats=4, outstanding=4, ids=ids
    )
    for ids, data_bits in ((1, 64), (2, 32), (4, 128))
}


def _run(component, engine, bench, count, work, seed=1):
    text = emit.verilog({"dut": component(engine)})
    build = simulator.build(text, "dut", BUILD / "sim-cache")
    environment = {"SPU_MEMORY": json.dumps(asdict(engine))}
    build.run(f"verif.benches.{bench}", work, count, environment, seed=seed)


@pytest.mark.parametrize("ids", ENGINES)
def test_reads(ids, tmp_path):
    _run(ReadManager, ENGINES[ids], "read_manager_bench", 6, tmp_path)


@pytest.mark.parametrize("ids", ENGINES)
def test_writes(ids, tmp_path):
    _run(WriteManager, ENGINES[ids], "write_manager_bench", 4, tmp_path)
