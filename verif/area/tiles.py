"""Area of an SPU by its parts, so that what is not arithmetic is seen."""

from rtl.breakdown import Part, breakdown
from rtl.liberty import Library
from spu.arch.params import Architecture
from spu.tile import Tile
from spu.top import Spu, tile_module

#: Parts of a tile by what they are; the rest is overhead too.  Reblocking is an operation of
#: the vector unit that memory tiles have.
ARITHMETIC = {"datapath.matrix": "matrix unit", "datapath.vector": "vector unit: sums, ReLU",
              "datapath.reblock": "vector unit: reblock"}
MEMORY = {"datapath.scratchpad": "memory"}
OVERHEAD = {
    "datapath.alu": "ALU",
    "datapath": "crossbar, registers, links", "context": "contexts", "weight": "weight rows",
    "constant": "constants", "register": "configuration registers", "": "rest",
}
#: Parts of the top beside tiles; the rest are stream FIFOs and wiring.
TOP = {"host": "host registers", "loader": "loader", "sequencer": "sequencer",
       "": "streams and the rest"}


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
        labels = ARITHMETIC | MEMORY | OVERHEAD
        if not kind.memory:
            labels = {k: v for k, v in labels.items()
                      if k not in ("datapath.scratchpad", "datapath.reblock")}
        parts = breakdown(Tile(arch, kind), library, [p for p in labels if p])
    return [_row(arch, module, part, labels[part.name]) for part in parts]


def _row(arch: Architecture, module: str, part: Part, label: str) -> dict:
    return {"arch": arch.name, "module": module, "part": label,
            "overhead": part.name in OVERHEAD and module != "spu",
            "ge": part.gate_equivalents, "memory_bits": part.memory_bits}


def overhead_share(rows: list[dict], counts: dict[str, int]) -> float:
    """Share of the tiles' logic that is neither matrix unit, vector unit nor memory."""
    tiles = [row for row in rows if row["module"] in counts]
    total = sum(row["ge"] * counts[row["module"]] for row in tiles)
    return sum(row["ge"] * counts[row["module"]] for row in tiles if row["overhead"]) / total
