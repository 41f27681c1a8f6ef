"""``spu explain``."""

from functools import partial
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from spu.arch.files import check_directory, replace_files
from spu.arch.package.manifest import MAPPING, PROGRAM, REPORT
from spu.command.common import BadInput
from spu.command.extras import require
from spu.command.programs import read_any
from spu.command.tables import output


def _write(text: str, sink: BinaryIO) -> None:
    sink.write(text.encode())


def explain(
    directory: Annotated[Path, typer.Argument(help="Directory that spu map or spu compile wrote.")],
    pictures: Annotated[
        bool, typer.Option(help="Write grid.svg and schedule.svg into the directory.")
    ] = True,
) -> None:
    """Say what bounds a mapped graph or a model, where everything is, and what more would buy.

    Example: spu explain build/fir4
    """
    if not (directory / MAPPING).exists() and (directory / REPORT).exists():
        from compiler.explain.model import show_model

        show_model(directory, output())
        return
    if not directory.exists():
        raise BadInput(f"{directory}: No such file or directory")
    if not (directory / MAPPING).exists():
        raise BadInput(
            f"{directory}: has neither {MAPPING} nor {REPORT}; give a directory that "
            "spu map -o or spu compile wrote"
        )
    require("map")
    from compiler.explain import pictures as draw
    from compiler.explain.mapping import load, show

    explained = load(directory)
    read_any(directory / PROGRAM, explained.grids)
    drawn = {"grid.svg": draw.grid, "schedule.svg": draw.schedule} if pictures else {}
    if drawn:
        check_directory(directory, drawn)
    show(explained, output())
    if drawn:
        replace_files(
            {
                directory / name: partial(_write, picture(explained))
                for name, picture in drawn.items()
            }
        )
        print(f"wrote {directory / 'grid.svg'} and {directory / 'schedule.svg'}")
