"""cocotb testbench of arithmetic units: vectors in, vectors out, one a cycle.

The job file ``UNIT_JOB`` holds, for each input port, one value a cycle, the latency in
cycles and, for each output port, the expected values.  Every output value is compared;
the first differences are shown with the inputs that gave them.
"""

import os

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

#: Differences that a failure shows.
SHOWN = 5


@cocotb.test()
async def stream_vectors(dut) -> None:
    """Drive all vectors back to back and compare every result."""
    with np.load(os.environ["UNIT_JOB"], allow_pickle=True) as job:
        latency = int(job["latency"])
        inputs = {k[3:]: job[k].tolist() for k in job.files if k.startswith("in_")}
        expected = {k[4:]: job[k].tolist() for k in job.files if k.startswith("out_")}
        checked = job["checked"].tolist()
    clocked = hasattr(dut, "clk")
    if clocked:
        Clock(dut.clk, 10, "ns").start()
        dut.rst.value = 1
        for name in inputs:
            getattr(dut, name).value = 0
        for _ in range(3):
            await FallingEdge(dut.clk)
        dut.rst.value = 0
    ports = {name: getattr(dut, name) for name in (*inputs, *expected)}
    count, wrong = len(checked), []
    for cycle in range(count + latency):
        if cycle < count:
            for name, values in inputs.items():
                ports[name].value = values[cycle]
        # Inputs change at the falling edge; results of this edge's state are read there.
        await (FallingEdge(dut.clk) if clocked else cocotb.triggers.Timer(1, "ns"))
        done = cycle - latency + (1 if clocked else 0)
        if 0 <= done < count and checked[done]:
            for name, values in expected.items():
                got = ports[name].value
                if not got.is_resolvable or int(got) != values[done]:
                    wrong.append(f"vector {done} {name}: expected {values[done]:#x}, got "
                                 f"{int(got) if got.is_resolvable else got!s:}, inputs " +
                                 ", ".join(f"{k}={v[done]:#x}" for k, v in inputs.items()))
                    if len(wrong) >= SHOWN:
                        raise AssertionError("; ".join(wrong))
    assert not wrong, "; ".join(wrong)
