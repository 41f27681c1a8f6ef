"""AXI4-Lite register map: byte addresses of 32-bit registers."""

from spu.arch.bitstream import VERSION
from spu.arch.params import Architecture, Port

#: Value of the ID register.
ID = int.from_bytes(b"SPU1", "little")

#: Bits of CONTROL (write only): forget a load error and wait for a header; copy all counters
#: to where they are read; let halted regions execute one cycle; restart the trace.
CONTROL_CLEAR, CONTROL_SNAPSHOT, CONTROL_STEP, CONTROL_TRACE = (1 << i for i in range(4))
#: Bits of STATUS (read only): within a program file, or in the cycles after a reset that zero the
#: data memories; regions that wait for the swap of banks.
STATUS_LOADING, STATUS_COMMITTING = 1 << 0, 1 << 1
#: STATUS: last refusal since CONTROL_CLEAR in bits 4-7, sticky load error in bits 8-15, section
#: number in bits 16-31.
STATUS_REFUSAL_SHIFT, STATUS_ERROR_SHIFT, STATUS_SECTION_SHIFT = 4, 8, 16
#: Why START, COMMIT, ABORT, RESET or FLUSH was refused for all its regions, by number, the
#: first that holds for any: no such region; nothing loaded; another START waits; the program's II
#: is more than its contexts, or its span's slot is not below the II, so that no run would end;
#: the loader is within a file or a swap; no file filled the shadow bank; a region runs.
REFUSALS = (
    "none",
    "no region",
    "no program",
    "start pending",
    "no end",
    "busy",
    "no bank",
    "running",
)
#: Bits of REGION_r (read only): a run is on; one has ended since; a program was activated; another
#: run was asked for.  Since the last run began: it was aborted; the watchdog did that; an element
#: lay above the top of PAL16.  A run was asked for of a program without end, which did not begin.
(
    REGION_RUNNING,
    REGION_DONE,
    REGION_LOADED,
    REGION_STARTING,
    REGION_ABORTED,
    REGION_TIMED_OUT,
    REGION_SATURATED,
    REGION_NO_END,
) = (1 << i for i in range(8))
#: WINDOW_SELECT: space in bits 0-7, shadow bank in bit 8, row and column of the tile (or
#: region and 0) in bits 16-23 and 24-31.  WINDOW_ROW: row in bits 0-15, word in bits 16-23.
WINDOW_SHADOW, WINDOW_ROW_SHIFT, WINDOW_COL_SHIFT, WINDOW_WORD_SHIFT = 1 << 8, 16, 24, 16
#: TRACE_SELECT: row and column of the tile in bits 0-7 and 8-15, link in bits 16-17.
TRACE_COL_SHIFT, TRACE_LINK_SHIFT = 8, 16
#: Words that the trace keeps.
TRACE_WORDS = 64

#: Load errors by number, in the order in which the loader can meet them.
LOAD_ERRORS = (
    "none",
    "bad magic",
    "bad format version",
    "wrong architecture",
    "wrong grid or regions",
    "wrong base",
    "header CRC",
    "operation",
    "address",
    "section too long",
    "section CRC",
    "total CRC",
)

#: Registers of the whole array.  START, COMMIT, HALT, ABORT, RESET and FLUSH have a bit a region.
#: ABORT ends a run, and forgets one that was asked for; FLUSH empties the FIFOs that an idle region
#: reads and emits to, but for a word on offer at the edge of the grid; RESET does both, and the
#: region has no program until the next COMMIT.  WATCHDOG: cycles that a region may
#: be held by streams in a row before it is aborted, 0 for ever.  WINDOW_DATA reads a configuration
#: word of an idle region, or writes one of its shadow bank, and moves on to the next word.
#: CONFIG_WORDS counts all words that the loader took.
_FIXED = (
    "ID",
    "VERSION",
    "ARCH_HASH",
    "GRID",
    "CONTROL",
    "START",
    "COMMIT",
    "HALT",
    "STATUS",
    "CONFIG_WORDS",
    "WINDOW_SELECT",
    "WINDOW_ROW",
    "WINDOW_DATA",
    "TRACE_SELECT",
    "TRACE_COUNT",
    "TRACE_INDEX",
    "ABORT",
    "RESET",
    "FLUSH",
    "WATCHDOG",
)
#: Bits of the number of rounds of a run.
ITERATION_BITS = 16
#: Registers of each region: rounds of the outermost loop, state, signatures of the banks.
REGION_REGISTERS = ("ITERATIONS", "REGION", "ACTIVE_FILE", "SHADOW_FILE")
#: Counters of each region in cycles: CYCLES = ACTIVE + HELD_HOST + HELD_INPUT + HELD_OUTPUT.
REGION_COUNTERS = ("CYCLES", "ACTIVE", "HELD_HOST", "HELD_INPUT", "HELD_OUTPUT")
#: Counters of each tile: executed cycles in which a unit worked, or words only passed; elements
#: of valid words, as units gave them in executed cycles, whose result lay above the top of PAL16.
TILE_COUNTERS = ("UNITS", "FORWARDS", "SATURATED")
#: Counters of each stream: words moved, cycles in which it held its region.
STREAM_COUNTERS = ("INPUT_WORDS", "INPUT_HOLDS", "OUTPUT_WORDS", "OUTPUT_HOLDS")


def port_name(arch: Architecture, port: Port, leaving: bool) -> str:
    """Name of a stream in registers: its column at an edge, or tile and side."""
    edge = (
        port.link == "south" and port.row == arch.rows - 1
        if leaving
        else port.link == "north" and port.row == 0
    )
    return str(port.col) if edge else f"{port.row}_{port.col}_{port.link}".upper()


def counter_names(arch: Architecture) -> list[str]:
    """All counters, which CONTROL_SNAPSHOT copies at once."""
    names = [f"{name}_{r}" for name in REGION_COUNTERS for r in range(arch.region_count)]
    names += [f"{name}_{r}_{c}" for name in TILE_COUNTERS for r, c in arch.tiles]
    for name in STREAM_COUNTERS:
        leaving = name.startswith("OUTPUT")
        names += [
            f"{name}_{port_name(arch, port, leaving)}"
            for r in range(arch.region_count)
            for port in (arch.outputs(r) if leaving else arch.inputs(r))
        ]
    return names


def most_counted(arch: Architecture, counter: str) -> int:
    """What a counter can count in a cycle."""
    return arch.results_per_cycle if counter.startswith("SATURATED") else 1


def register_map(arch: Architecture) -> dict[str, int]:
    """Byte address of each register."""
    trace = [f"TRACE_{i}" for i in range(-(-(arch.data_bits + 9) // 32))]
    names = [
        *_FIXED,
        *trace,
        *(f"{name}_{r}" for name in REGION_REGISTERS for r in range(arch.region_count)),
        *counter_names(arch),
    ]
    return {name: 4 * i for i, name in enumerate(names)}


def constant_registers(arch: Architecture) -> dict[str, int]:
    """Contents of the registers that never change."""
    return {
        "ID": ID,
        "VERSION": VERSION,
        "ARCH_HASH": arch.hash,
        "GRID": arch.rows | arch.cols << 8 | arch.region_count << 16,
    }
