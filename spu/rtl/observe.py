"""Try a component of the array: some cycles of it in Amaranth's simulator."""

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

from amaranth.lib import data, enum, wiring
from amaranth.sim import Simulator

from spu.arch.params import Architecture

#: The smallest array that has every unit.
ONE = Architecture("one", ("M",), lanes=2, columns=1, contexts=2, memory_words=2, weight_rows=2)
#: Seconds of a cycle, whose clock edge is in its middle.
PERIOD = 1e-6


def observe(
    component: wiring.Component, steps: Iterable[Mapping[str, Any]], *outputs: str
) -> list[Any]:
    """What outputs show in each of some cycles after a reset.

    For trying things out; arrays run on faster simulators.

    Parameters
    ----------
    component: it alone, with one clock.
    steps: for each cycle the inputs that change in it; at first all are 0.
    outputs: names of ports or internal signals; members of bundles as ``"config.write"``.

    Returns a value a cycle, with several outputs a tuple of values: integers, structs as dicts,
    arrays as lists, members of enums by name.  Raises ``AttributeError`` for a name that the
    component does not have.
    """
    rows: list[Any] = []

    def find(name: str) -> Any:
        return reduce(getattr, name.split("."), component)

    async def testbench(ctx: Any) -> None:
        for step in steps:
            for name, value in step.items():
                ctx.set(find(name), value)
            row = tuple(_plain(ctx.get(find(name))) for name in outputs)
            rows.append(row if len(outputs) > 1 else row[0])
            await ctx.delay(PERIOD)

    simulator = Simulator(component)
    simulator.add_clock(PERIOD, if_exists=True)
    simulator.add_testbench(testbench)
    simulator.run()
    return rows


def _plain(value: Any) -> Any:
    """A value of the simulator without its layout."""
    if isinstance(value, data.Const):
        layout = value.shape()
        if isinstance(layout, data.StructLayout):
            return {name: _plain(value[name]) for name, _ in layout}
        return [_plain(entry) for entry in value]
    return value.name if isinstance(value, enum.Enum) else value
