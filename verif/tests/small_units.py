"""Units of a small array alone, in Amaranth's simulator."""

from amaranth.sim import Simulator

from spu.arch.params import Architecture

ARCH = Architecture("small", ("M",), lanes=2, columns=1, contexts=8, memory_words=8, weight_rows=8)
#: Cycles that an access may take.
PATIENCE = 1000


def simulate(unit, testbench, *others):
    """Run a test bench of a unit to its end, and others beside it."""
    simulator = Simulator(unit)
    simulator.add_clock(1e-6)
    for bench in (testbench, *others):
        simulator.add_testbench(bench, background=bench is not testbench)
    simulator.run()


async def until(ctx, signal):
    """Wait until a signal is not zero, which must be soon."""
    for _ in range(PATIENCE):
        if ctx.get(signal):
            return
        await ctx.tick()
    raise AssertionError(f"{signal.name} stays 0")
