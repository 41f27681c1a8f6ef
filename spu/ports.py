"""Bundles of signals between the parts of an array."""

from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from spu.arch.params import STAGES, Architecture


def slot_bits(arch: Architecture) -> int:
    """Width of a slot number."""
    return (arch.contexts - 1).bit_length()


class ConfigWrite(wiring.Signature):
    """One 32-bit configuration write, into the shadow bank.

    ``space`` is a ``config.Space``, ``row`` a row of it, ``word`` the 32-bit word within the row.
    """

    def __init__(self) -> None:
        super().__init__({"valid": Out(1), "space": Out(8), "row": Out(12),
                          "word": Out(6), "data": Out(32)})


class RegionControl(wiring.Signature):
    """What the sequencer tells every tile of its region.

    ``step``: this cycle executes (0 holds all state); ``clear``: reset all state before
    a run; ``slot``: slot of this cycle; ``fetch`` and ``next_slot``: read the context
    for the next cycle; ``stage_valid[s]``: the iteration that is in stage ``s`` exists;
    ``bank``: configuration bank in use.
    """

    def __init__(self, arch: Architecture) -> None:
        slot = slot_bits(arch)
        super().__init__({"step": Out(1), "clear": Out(1), "slot": Out(slot),
                          "fetch": Out(1), "next_slot": Out(slot),
                          "stage_valid": Out(STAGES), "bank": Out(1)})
