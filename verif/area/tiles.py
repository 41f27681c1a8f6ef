"""Area of an SPU by its parts, so that what is not arithmetic is seen."""

from collections.abc import Iterable

from rtl.breakdown import Part, breakdown
from rtl.gates import DFF_TRANSISTORS, NAND2
from rtl.liberty import Library
from spu.arch.params import Architecture
from spu.rtl.tile import Tile
from spu.rtl.top import Spu, tile_module

#: Parts of a tile by what they are; the rest is overhead too.  Reblocking is an operation of
#: the vector unit that memory tiles have.
ARITHMETIC = {
    "datapath.matrix": "matrix unit",
    "datapath.vector": "vector unit",
    "datapath.reblock": "vector unit: reblock",
}
MEMORY = {"memory": "data memory"}
CROSSBAR = {"datapath": "crossbar, registers, links, guards"}
CONTROL = {
    "context": "contexts",
    "constant": "constants",
    "register": "configuration registers",
    "weight": "weight rows",
    "datapath.weight_generator": "weight addresses",
    "datapath.read_generator": "read addresses",
    "datapath.write_generator": "write addresses",
}
OVERHEAD = {"datapath.alu": "ALU", **CROSSBAR, **CONTROL, "": "rest"}
#: Parts of the top beside tiles; the rest are streams and wiring.
TOP = {
    "host": "host registers",
    "loader": "loader",
    "window": "readback window",
    "trace": "trace",
    "sequencer": "sequencer",
    "": "streams and the rest",
}
#: Gate equivalents of a flip-flop in the neutral library.
FLIP_FLOP_GE = DFF_TRANSISTORS / NAND2
#: Parts of a kind that a tile may lack.
_OPTIONAL = {
    "memory": ("memory", "datapath.reblock", "datapath.read_generator", "datapath.write_generator"),
    "matrix": ("datapath.matrix", "weight", "datapath.weight_generator"),
    "vector": ("datapath.vector",),
}


def tile_kinds(arch: Architecture) -> dict[str, int]:
    """Tiles of each kind, by module name."""
    counts: dict[str, int] = {}
    for r, c in arch.tiles:
        counts[tile_module(arch, r, c)] = counts.get(tile_module(arch, r, c), 0) + 1
    return counts


def part_rows(arch: Architecture, module: str, library: Library) -> list[dict]:
    """A row a part of one tile kind, or of the top, ``spu``, without tiles."""
    if module == "spu":
        labels = TOP
        parts = breakdown(Spu(arch), library, [p for p in TOP if p], tuple(tile_kinds(arch)))
    else:
        kind = next(arch.kind(r, c) for r, c in arch.tiles if tile_module(arch, r, c) == module)
        lacking = {
            part for unit, parts in _OPTIONAL.items() if not getattr(kind, unit) for part in parts
        }
        labels = {k: v for k, v in (ARITHMETIC | MEMORY | OVERHEAD).items() if k not in lacking}
        parts = breakdown(Tile(arch, kind), library, [p for p in labels if p])
    return [_row(arch, module, part, labels[part.name]) for part in parts]


def _row(arch: Architecture, module: str, part: Part, label: str) -> dict:
    return {
        "arch": arch.name,
        "module": module,
        "part": label,
        "overhead": part.name in OVERHEAD and module != "spu",
        "ge": part.gate_equivalents,
        "memory_bits": part.memory_bits,
    }


def shares(rows: list[dict], counts: dict[str, int]) -> dict[str, float]:
    """Shares of the tiles' logic, memories not counted.

    ``overhead``: neither matrix unit, vector unit nor memory.  ``control``: contexts,
    constants, configuration registers, what serves weight rows, address generators, and the
    sequencers, which are in the top.  ``crossbar``: with registers, links and guards.
    ``control_with_contexts``: each bit of context memory counted as the flip-flop that it is
    not.
    """
    tiles = [(row, counts[row["module"]]) for row in rows if row["module"] in counts]
    sequencers = sum(row["ge"] for row in rows if row["part"] == TOP["sequencer"])
    total = sum(row["ge"] * n for row, n in tiles)

    def part(labels: Iterable[str]) -> float:
        return float(sum(row["ge"] * n for row, n in tiles if row["part"] in set(labels)))

    control = part(CONTROL.values()) + sequencers
    contexts = (
        sum(row["memory_bits"] * n for row, n in tiles if row["part"] == CONTROL["context"])
        * FLIP_FLOP_GE
    )
    return {
        "overhead": sum(row["ge"] * n for row, n in tiles if row["overhead"]) / total,
        "control": control / (total + sequencers),
        "control_with_contexts": (control + contexts) / (total + sequencers + contexts),
        "crossbar": part(CROSSBAR.values()) / total,
    }
