"""``spu explain``."""

from functools import partial
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from compiler.explain.mapping import load, show
from compiler.explain.model import show_model
from compiler.explain.pictures import grid as picture_grid
from compiler.explain.pictures import schedule as picture_schedule
from spu.arch.files import check_directory, replace_files
from spu.arch.package.manifest import MAPPING, PROGRAM, REPORT
from spu.command.common import BadInput
from spu.command.programs import read_any
from spu.command.tables import output

PICTURES = {"grid.svg": picture_grid, "schedule.svg": picture_schedule}


def _write(text: str, sink: BinaryIO) -> None:
    sink.write(text.encode())


def explain(
    directory: Annotated[Path, typer.Argument(help="Directory that spu map or spu compile "
                                                   "wrote.")],
    pictures: Annotated[bool, typer.Option(
        help="Write grid.svg and schedule.svg into the directory.")] = True,
) -> None:
    """Say what bounds a mapped graph or a model, where everything is, and what more would buy.

    Example: spu explain build/fir4
    """
    if not (directory / MAPPING).exists() and (directory / REPORT).exists():
        show_model(directory, output())
        return
    if not directory.exists():
        raise BadInput(f"{directory}: No such file or directory")
    if not (directory / MAPPING).exists():
        raise BadInput(f"{directory}: has neither {MAPPING} nor {REPORT}; give a directory that "
                       "spu map -o or spu compile wrote")
    explained = load(directory)
    read_any(directory / PROGRAM, explained.grids)
    if pictures:
        check_directory(directory, PICTURES)
    show(explained, output())
    if pictures:
        replace_files({directory / name: partial(_write, draw(explained))
                       for name, draw in PICTURES.items()})
        print(f"wrote {directory / 'grid.svg'} and {directory / 'schedule.svg'}")
