"""``spu unit``."""

import warnings
from functools import partial
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from spu.arch.files import check_directory, replace_files
from spu.command.common import BadInput, working
from spu.command.extras import require


def unit(
    name: Annotated[str, typer.Argument(help="Unit, as --list names it.", show_default=False)] = "",
    fmt: Annotated[
        str, typer.Option("--format", help="Number format; needed where there is a choice.")
    ] = "",
    stages: Annotated[
        int | None, typer.Option(help="Rows of pipeline registers: the latency in cycles.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--output", help="Directory to write.")] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List the units and the formats they take.")
    ] = False,
) -> None:
    """Write a unit as Verilog with a testbench, vectors and a page.

    Needs no Python afterwards: the testbench runs in Verilator and Icarus Verilog.

    Example: spu unit Multiplier --format PAL8T --stages 2 -o build/multiplier
    """
    require("sim")
    from amaranth.hdl import UnusedElaboratable

    from spu.command.tables import show, table
    from verif.units.catalogue import UNITS
    from verif.units.files import chosen, files

    if listed or not name:
        if name or fmt or out or stages is not None:
            raise BadInput("which unit? --list names them, and takes no other options")
        rows = [
            (
                u.name,
                "0" + f" to {u.most_stages}" if u.most_stages is not None else "its own",
                " ".join(f.name for f in u.formats),
            )
            for u in UNITS
        ]
        show(table("units", ("unit", "stages", "formats"), rows))
        return
    if out is None:
        raise BadInput(f"{name}: where to? -o takes a directory")
    warnings.simplefilter("ignore", UnusedElaboratable)  # one that is refused
    with working(f"{name}: vectors and Verilog"):
        found, of, component = chosen(name, fmt, stages)
        module = f"{found.name}_{of.name}"
        check_directory(out)
        texts = files(found, of, component, module)
        check_directory(out, texts)
        replace_files({out / file: partial(_write, text) for file, text in texts.items()})
    print(f"{out}: {', '.join(texts)}")


def _write(text: str, sink: BinaryIO) -> None:
    sink.write(text.encode())
