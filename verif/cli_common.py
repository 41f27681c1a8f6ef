"""What all commands share: the console, one-line errors, files written completely."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import typer
from rich.console import Console

from compiler.errors import CompileError
from rtl.simulator import SimulationError
from spu.arch import bitstream
from verif import host

console = Console(stderr=True, soft_wrap=True)

EXIT_FAILED, EXIT_BAD_INPUT = 1, 2


class BadInput(ValueError):
    """A file that is not what it must be."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn the errors that users cause into one line and an exit code."""
    try:
        yield
    except (CompileError, bitstream.BitstreamError, host.InputError, BadInput) as error:
        fail(str(error), EXIT_BAD_INPUT)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}", EXIT_BAD_INPUT)
    except SimulationError as error:
        fail(str(error), EXIT_FAILED)


def fail(message: str, code: int) -> None:
    console.print(f"spu: error: {' '.join(message.split())}", style="red", highlight=False,
                  markup=False)
    raise typer.Exit(code)


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file completely or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        with open(temporary, "wb") as sink:
            write(sink)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
