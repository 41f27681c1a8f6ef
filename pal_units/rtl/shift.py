"""Alignment shifter."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value


def aligned(m: Module, name: str, value: Value, amount: Value, width: int) -> Value:
    """``value`` at the top of ``width`` bits, shifted right by ``amount``.

    Bits below are lost, also those of a ``value`` wider than ``width``.  The largest step
    comes first: a short value has few bits there, and most of the stage is constant.
    """
    padding = width - len(value)
    bits = Cat(Const(0, padding), value) if padding >= 0 else value[-padding:]
    for i in reversed(range(len(amount))):
        stage = Signal(width, name=f"{name}_{i}")
        m.d.comb += stage.eq(Mux(amount[i], bits >> (1 << i), bits))
        bits = stage
    return bits
