"""The external memory of simulations: its RTL, its model, its parameters."""

import json
from dataclasses import asdict

import pytest

from rtl import emit, simulator
from spu.arch.external import ExternalMemory
from spu.arch.memory import MemoryEngine
from spu.engine.rtl_run import BUILD
from spu.model.chip.memory import MemoryModel
from spu.rtl.memory.timed import TimedMemory

#: A beat a cycle; less; one on R and one on W; and as late as can be told from the least.
MEMORIES = {
    "a beat a cycle": ExternalMemory(2048, latency_cycles=9, bytes_per_cycle=16, bursts=4),
    "less": ExternalMemory(1040, latency_cycles=2, bytes_per_cycle=7, bursts=2),
    "both ways": ExternalMemory(4096, latency_cycles=3, bytes_per_cycle=32, bursts=8),
    "more than one": ExternalMemory(512, latency_cycles=30, bytes_per_cycle=24, bursts=16),
}
ENGINE = MemoryEngine(data_bits=128, address_bits=14)


@pytest.mark.parametrize("name", MEMORIES)
def test_in_every_cycle(name, tmp_path):
    text = emit.verilog({"dut": TimedMemory(ENGINE, MEMORIES[name], id_bits=2)})
    build = simulator.build(text, "dut", BUILD / "sim-cache")
    environment = {
        "SPU_MEMORY": json.dumps(asdict(ENGINE)),
        "SPU_EXTERNAL": json.dumps(asdict(MEMORIES[name])),
    }
    build.run("verif.benches.timed_memory_bench", tmp_path, 5, environment, seed=1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size_bytes": 0}, "size_bytes must be 1 to 4294967296, not 0"),
        ({"size_bytes": 64, "latency_cycles": 1}, "latency_cycles must be 2 to 1024, not 1"),
        ({"size_bytes": 64, "bytes_per_cycle": 0}, "bytes_per_cycle must be 1 to 256, not 0"),
        ({"size_bytes": 64, "bursts": 3}, "bursts must be a power of two, not 3"),
    ],
)
def test_parameters_out_of_range_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        ExternalMemory(**given)


def test_what_does_not_fit_the_bus_is_refused():
    for given, message in (
        ({"size_bytes": 24}, "size_bytes must be a multiple of 16 up to 2.14, not 24"),
        ({"size_bytes": 1 << 15}, "size_bytes must be a multiple of 16 up to 2.14"),
        ({"size_bytes": 64, "bytes_per_cycle": 33}, "bytes_per_cycle must be at most 32"),
    ):
        with pytest.raises(ValueError, match=message):
            TimedMemory(ENGINE, ExternalMemory(**given), 1)
        with pytest.raises(ValueError, match=message):
            MemoryModel(ENGINE, ExternalMemory(**given), bytearray(given["size_bytes"]))
    with pytest.raises(ValueError, match="id_bits must be at least 1, not 0"):
        TimedMemory(ENGINE, ExternalMemory(64), 0)
    with pytest.raises(ValueError, match="32 bytes for a memory of 64"):
        MemoryModel(ENGINE, ExternalMemory(64), bytearray(32))
