"""Bundles of signals between the parts of an array."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from spu.arch.params import EXISTS, PREDICATES, STAGES, Architecture
from spu.rtl.layouts import GUARD


def slot_bits(arch: Architecture) -> int:
    """Width of a slot number."""
    return (arch.contexts - 1).bit_length()


class ConfigBus(wiring.Signature):
    """One access to a 32-bit configuration word.

    ``space`` is a ``config.Space``, ``row`` a row of it, ``word`` the 32-bit word within the
    row.  ``write`` puts ``data`` into the shadow bank, with ``whole`` into all words of the row at
    once.  ``read``, while the region is idle, gives the word of the bank in use, or of the shadow
    bank with ``shadow``, two cycles later; it stays with its address for the cycle after the first.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "write": Out(1),
                "whole": Out(1),
                "read": Out(1),
                "shadow": Out(1),
                "space": Out(8),
                "row": Out(12),
                "word": Out(8),
                "data": Out(32),
            }
        )


#: Predicates of the iteration in each stage; 0, which always holds, is not among them.
STAGE_FLAGS = data.ArrayLayout(PREDICATES - EXISTS, STAGES)


class RegionControl(wiring.Signature):
    """What the sequencer tells every tile of its region.

    ``step``: this cycle executes (0 holds all state); ``clear``: reset all state before
    a run; ``slot``: slot of this cycle; ``fetch``, ``next_slot`` and ``next_bank``: read the
    context for the next cycle; ``flags[s]``: predicates of the iteration in stage ``s``;
    ``bank``, ``data_bank``: bank of configuration and half of data memories in use.
    """

    def __init__(self, arch: Architecture) -> None:
        slot = slot_bits(arch)
        super().__init__(
            {
                "step": Out(1),
                "clear": Out(1),
                "slot": Out(slot),
                "fetch": Out(1),
                "next_slot": Out(slot),
                "next_bank": Out(1),
                "flags": Out(STAGE_FLAGS),
                "bank": Out(1),
                "data_bank": Out(1),
            }
        )


def guard_holds(m: Module, guard: data.View, slot: Value, flags: data.View, name: str) -> Signal:
    """Whether the predicate of a ``config.GUARD`` holds in this slot."""
    assert guard.shape() == GUARD
    stage = Signal(range(STAGES + 1), name=f"{name}_stage")
    holds = Signal(name=f"{name}_holds")
    present = Signal(PREDICATES - EXISTS, name=f"{name}_flags")
    m.d.comb += [
        stage.eq(guard.stage + (slot < guard.slot)),
        # Beyond the last stage there are no iterations.
        present.eq(Mux(stage[-1], 0, flags[stage[:-1]])),
        holds.eq(
            (guard.predicate == 0)
            | present.bit_select((guard.predicate - EXISTS)[: len(guard.predicate)], 1)
        ),
    ]
    return holds
