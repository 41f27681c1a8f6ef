"""cocotb testbench of arithmetic units: runs the vectors that ``verif.stimulus.vectors`` wrote.

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


def _differences(dut, i: int, case: dict) -> str:
    """The first differences of a case, decoded."""
    errors = int(getattr(dut, f"errors_{i}").value)
    index, raw = int(getattr(dut, f"index_{i}").value), str(getattr(dut, f"got_{i}").value)
    with open(case["stimulus"]) as inputs, open(case["expected"]) as outputs:
        stimulus, expected = inputs.read().split(), outputs.read().split()
    bits = sum(case["outputs"].values())
    shown = []
    for k in range(min(errors, case["kept"])):
        at = index >> 32 * k & 0xFFFF_FFFF
        got = raw[len(raw) - bits * (k + 1) : len(raw) - bits * k]
        found = _split(int(got, 2), case["outputs"]) if set(got) <= {"0", "1"} else got
        shown.append(
            f"vector {at}: inputs {_split(int(stimulus[at], 16), case['inputs'])}, "
            f"expected {_split(int(expected[at], 16), case['outputs'])}, got {found}"
        )
    return f"{case['name']}: {errors} of {case['checked']} vectors differ; " + "; ".join(shown)


@cocotb.test()
async def vectors_give_the_expected_outputs(dut) -> None:
    """Run all vectors of all units; differences fail it."""
    with open(os.environ["UNIT_JOB"]) as file:
        job = json.load(file)
    dut.clk.value = 0
    Clock(dut.clk, PERIOD, "ns").start()
    longest = max(case["count"] for case in job)
    await with_timeout(RisingEdge(dut.done), PERIOD * (longest + 100), "ns")
    for i, case in enumerate(job):
        assert int(getattr(dut, f"compared_{i}").value) == case["checked"], (
            f"{case['name']}: not every vector was compared"
        )
    wrong = [
        _differences(dut, i, case)
        for i, case in enumerate(job)
        if int(getattr(dut, f"errors_{i}").value)
    ]
    assert not wrong, " | ".join(wrong)
