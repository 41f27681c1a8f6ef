"""``spu disasm`` and ``spu asm``."""

from pathlib import Path
from typing import Annotated

import typer

from spu.arch import bitstream
from spu.arch.bitstream import Image
from spu.arch.files import check_file, replace_file
from spu.command.common import BadInput, about, check_kept
from spu.command.extras import require
from spu.command.options import Arch, array


def disasm(
    program: Annotated[
        Path,
        typer.Argument(
            help="Directory that spu compile or spu map wrote, or a program file for --arch."
        ),
    ],
    arch: Arch = "basic",
    as_assembly: Annotated[
        bool, typer.Option("--assembly", help="Every row, as spu asm takes it.")
    ] = False,
) -> None:
    """Print a program as text: streams, contexts, registers, constants, weights.

    Example: spu disasm build/digits
    """
    from compiler.text.assembly import assembly
    from compiler.text.disassemble import disassemble
    from spu.command.programs import read_program

    tiles = array(arch)
    image = _image(program) if program.is_dir() else read_program(program, tiles)[1]
    for line in (assembly if as_assembly else disassemble)(image):
        print(line)


def _image(directory: Path) -> Image:
    """What the program in a directory configures, whichever command wrote it."""
    from spu.arch.package.compiled import Package
    from spu.arch.package.manifest import MAPPING, PROGRAM, PROGRAMS, REPORT
    from spu.arch.package.store import load
    from spu.command.programs import read_any

    if (directory / REPORT).exists():
        package = load(directory)
        if isinstance(package, Package):
            raise BadInput(
                f"{directory}: holds a program for each step; give one of "
                f"{directory / PROGRAMS / '*.spub'}, with its --arch"
            )
        return package.image
    if not (directory / PROGRAM).exists():
        raise BadInput(
            f"{directory}: has no {PROGRAM}; give a directory that spu compile or spu "
            "map -o wrote, or a program file with --arch"
        )
    if (directory / MAPPING).exists():
        require("map")
        from compiler.explain.mapping import load as load_mapping

        return read_any(directory / PROGRAM, load_mapping(directory).grids)
    try:
        return read_any(directory / PROGRAM)
    except BadInput as error:
        raise BadInput(
            f"{error}; {directory} has no {REPORT} or {MAPPING} that names another"
        ) from None


def asm(
    source: Annotated[Path, typer.Argument(help="Assembly, as spu disasm --assembly prints it.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="Program file.")],
    arch: Arch = "basic",
) -> None:
    """Assemble a program file.

    Example: spu asm program.txt --arch basic -o program.spub
    """
    from compiler.text.assembly import assemble_text

    check_file(out)
    check_kept((out,), (source,))
    try:
        text = source.read_text()
    except UnicodeDecodeError:
        raise BadInput(f"{source}: not text") from None
    tiles = array(arch)
    with about(source):
        content = bitstream.encode(assemble_text(text, tiles))
    replace_file(out, lambda sink: sink.write(content))
    print(f"{out}: {len(content)} bytes")
