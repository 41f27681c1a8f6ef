"""Emit Verilog: Amaranth to RTLIL, yosys to Verilog, each tile kind once."""

import random
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib import wiring

from rtl import yosys
from spu.arch.params import Architecture
from spu.rtl.tile import Tile
from spu.rtl.top import Spu, tile_module


def verilog(modules: Mapping[str, wiring.Component]) -> str:
    """Verilog of components, each under its module name, in one text.

    yosys writes it rather than ``amaranth.back.verilog``: that one leaves combinational
    outputs X for ever in Icarus when their inputs never change.
    """
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        script = []
        for name, component in modules.items():
            (directory / f"{name}.il").write_text(
                rtlil.convert(component, name=name, emit_src=False)
            )
            script.append(f"read_rtlil {name}.il")
        script += ["proc", "memory_collect", "write_verilog -noattr out.v"]
        yosys.run("\n".join(script), directory)
        return (directory / "out.v").read_text()


def spu_modules(arch: Architecture) -> dict[str, wiring.Component]:
    """The modules of an array: one a tile kind, and the top ``spu``."""
    kinds = {tile_module(arch, r, c): arch.kind(r, c) for r, c in arch.tiles}
    return {**{name: Tile(arch, kind) for name, kind in kinds.items()}, "spu": Spu(arch)}


def spu_verilog(arch: Architecture) -> str:
    """Verilog of a whole array, top module ``spu``."""
    return verilog(spu_modules(arch))


def tile_modules(arch: Architecture) -> list[str]:
    """Names of the modules that are instantiated once a tile."""
    return sorted({tile_module(arch, r, c) for r, c in arch.tiles})


def with_random_memories(text: str, seed: int) -> str:
    """The same Verilog, but what is in memories at power-up is random, as in silicon.

    Only in those that are written: others are tables.  Registers begin as before.  Raises
    ``ValueError`` if none is written and begins with zeros.
    """
    rng, count = random.Random(seed), 0
    first_word = re.compile(r"^( +(\w+)\[\d+\] = (\d+)'[dh])0+;$", re.MULTILINE)

    def randomised(module: str) -> str:
        nonlocal count
        written = set(re.findall(r"^ +(\w+)\[.*\] <= ", module, re.MULTILINE))

        def word(found: re.Match) -> str:
            nonlocal count
            if found[2] not in written:
                return found[0]
            count += 1
            return f"{found[1][:-1]}h{rng.getrandbits(int(found[3])):x};"

        return first_word.sub(word, module)

    out = "endmodule".join(map(randomised, text.split("endmodule")))
    if not count:
        raise ValueError("the Verilog has no memory that is written and begins with zeros")
    return out
