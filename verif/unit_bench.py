"""cocotb testbench of arithmetic units: runs the vectors that ``verif.vectors`` wrote.

Stimulus, expected values and comparison sit in a Verilog module around the unit, so that
a million vectors take seconds; this testbench clocks it and reports what differs.
"""

import json
import os

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, with_timeout

#: Clock period in ns.
PERIOD = 10


def _split(word: int, ports: dict[str, int]) -> dict[str, str]:
    """Hexadecimal values of ports joined in a word, the first in the least bits."""
    values = {}
    for name, bits in ports.items():
        values[name] = f"{word & ((1 << bits) - 1):#x}"
        word >>= bits
    return values


@cocotb.test()
async def vectors_give_the_expected_outputs(dut) -> None:
    """Run all vectors; the first differences fail it, decoded."""
    with open(os.environ["UNIT_JOB"]) as file:
        job = json.load(file)
    dut.clk.value = 0
    Clock(dut.clk, PERIOD, "ns").start()
    await with_timeout(RisingEdge(dut.done), PERIOD * (job["count"] + 100), "ns")
    assert int(dut.compared.value) == job["checked"], "not every vector was compared"
    errors = int(dut.errors.value)
    if not errors:
        return
    shown = []
    with open(job["stimulus"]) as inputs, open(job["expected"]) as outputs:
        stimulus, expected = inputs.read().split(), outputs.read().split()
    kept = min(errors, job["kept"])
    got_bits = sum(job["outputs"].values())
    for i in range(kept):
        index = int(dut.error_index.value) >> 32 * i & 0xFFFF_FFFF
        raw = str(dut.error_got.value)
        got = raw[len(raw) - got_bits * (i + 1):len(raw) - got_bits * i]
        found = _split(int(got, 2), job["outputs"]) if set(got) <= {"0", "1"} else got
        shown.append(f"vector {index}: inputs {_split(int(stimulus[index], 16), job['inputs'])}, "
                     f"expected {_split(int(expected[index], 16), job['outputs'])}, got {found}")
    raise AssertionError(f"{errors} of {job['checked']} vectors differ; " + "; ".join(shown))
