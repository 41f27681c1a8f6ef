"""AXI4-Lite register map: byte addresses of 32-bit registers."""

from spu.arch.bitstream import VERSION
from spu.arch.params import Architecture

#: Value of the ID register.
ID = int.from_bytes(b"SPU1", "little")

#: Bits of CONTROL (write only): start a run; forget a load error and wait for a header.
CONTROL_START, CONTROL_CLEAR = 1 << 0, 1 << 1
#: Bits of STATUS (read only).
STATUS_RUNNING, STATUS_DONE, STATUS_LOADED, STATUS_LOADING = (1 << i for i in range(4))
#: STATUS: sticky load error in bits 8-15, section number in bits 16-31.
STATUS_ERROR_SHIFT, STATUS_SECTION_SHIFT = 8, 16

#: Load errors by number, in the order in which the loader can meet them.
LOAD_ERRORS = ("none", "bad magic", "bad format version", "wrong architecture", "wrong grid",
               "header CRC", "operation", "address", "section CRC", "total CRC")

#: Counters of a run: CYCLES = ACTIVE + HELD_INPUT + HELD_OUTPUT.  CONFIG_WORDS counts all
#: words that the loader ever took.
_FIXED = ("ID", "VERSION", "ARCH_HASH", "GRID", "CONTROL", "STATUS", "ITERATIONS",
          "CYCLES", "ACTIVE", "HELD_INPUT", "HELD_OUTPUT", "CONFIG_WORDS")
#: Counters of each stream: words moved, cycles in which it held the region.
STREAM_COUNTERS = ("INPUT_WORDS", "INPUT_HOLDS", "OUTPUT_WORDS", "OUTPUT_HOLDS")


def register_map(arch: Architecture) -> dict[str, int]:
    """Byte address of each register; stream counters are ``NAME_0``, ``NAME_1``, ..."""
    names = [*_FIXED, *(f"{name}_{c}" for name in STREAM_COUNTERS for c in range(arch.cols))]
    return {name: 4 * i for i, name in enumerate(names)}


def constant_registers(arch: Architecture) -> dict[str, int]:
    """Contents of the registers that never change."""
    return {"ID": ID, "VERSION": VERSION, "ARCH_HASH": arch.hash,
            "GRID": arch.rows | arch.cols << 8}
