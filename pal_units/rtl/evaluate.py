"""Try a unit: one operation in Amaranth's simulator."""

from typing import Any

from amaranth.lib import wiring
from amaranth.sim import Simulator


def evaluate(unit: wiring.Component, **inputs: Any) -> dict[str, Any]:
    """Outputs of a unit, ``latency`` cycles after the given inputs (others stay 0).

    For trying things out; the tests of this package run on faster simulators.  Raises
    ``AttributeError`` for an input that the unit does not have.
    """
    outputs: dict[str, Any] = {}

    async def testbench(ctx: Any) -> None:
        for name, value in inputs.items():
            ctx.set(getattr(unit, name), value)
        for _ in range(unit.latency):
            await ctx.tick()
        if not unit.latency:
            await ctx.delay(1e-9)
        for name, member in unit.signature.members.items():
            if member.flow is wiring.Out:
                outputs[name] = ctx.get(getattr(unit, name))

    simulator = Simulator(unit)
    if unit.latency:
        simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return outputs
