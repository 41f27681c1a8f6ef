"""Circuits with assertions on parts of a small array, and what such assertions share."""

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring

from spu.arch.params import Architecture

#: Array whose parts are proven; what its size changes is widths and counts.
SMALL = Architecture(
    "proven", ("Mm",), lanes=2, columns=1, contexts=2, memory_words=2, weight_rows=2, stream_words=4
)


class Property(wiring.Component):
    """A circuit with assertions; its ports are free."""

    def __init__(self, body: Callable[[Module, "Property"], None], ports: dict[str, Any]) -> None:
        self.body = body
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self.body(m, self)
        return m


def unchanged(m: Module, condition: Any, value: Any, statement: Any) -> None:
    """State that ``value`` is the same one cycle after ``condition``."""
    was, before = Signal(), Signal.like(value)
    m.d.sync += [was.eq(condition), before.eq(value)]
    with m.If(was):
        m.d.comb += statement(value == before)
