"""Read-only tables as memories with an asynchronous read port."""

from collections.abc import Sequence

from amaranth.hdl import Module, ShapeLike, Value, signed, unsigned
from amaranth.lib.memory import Memory


def rom(m: Module, name: str, index: Value, contents: Sequence[int]) -> Value:
    """Add table ``name`` to ``m``; returns ``contents[index]`` (combinational).

    The table is a memory without write port, which simulators read directly, synthesis
    maps like any other memory, and no area report can miss.  The width is the least
    that holds all entries; it is signed if any entry is negative.
    """
    entries = [int(v) for v in contents]
    bits = max(max(v.bit_length(), (-v - 1).bit_length() if v < 0 else 0) for v in entries)
    shape: ShapeLike = signed(bits + 1) if min(entries) < 0 else unsigned(max(bits, 1))
    m.submodules[name] = memory = Memory(shape=shape, depth=len(entries), init=entries)
    port = memory.read_port(domain="comb")
    m.d.comb += port.addr.eq(index)
    return port.data
