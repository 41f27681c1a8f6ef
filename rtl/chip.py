"""Emit Verilog of a chip: apart from ``rtl.emit``, so that what measures arrays knows no engine."""

from amaranth.lib import wiring

from rtl.emit import verilog
from spu.arch.chip import Chip
from spu.rtl.chip import ChipTop
from spu.rtl.tile import Tile
from spu.rtl.top import tile_module


def chip_modules(chip: Chip) -> dict[str, wiring.Component]:
    """The modules of a chip: one a tile kind, and the top ``chip``."""
    kinds = {tile_module(chip.arch, r, c): chip.arch.kind(r, c) for r, c in chip.arch.tiles}
    return {**{name: Tile(chip.arch, kind) for name, kind in kinds.items()}, "chip": ChipTop(chip)}


def chip_verilog(chip: Chip) -> str:
    """Verilog of a whole chip, top module ``chip``."""
    return verilog(chip_modules(chip))
