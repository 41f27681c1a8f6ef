"""What all commands share: exit codes, errors of a line, progress."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console
from rich.text import Text

from spu.arch import bitstream
from spu.arch.errors import UserError
from spu.arch.package import manifest

console = Console(stderr=True, soft_wrap=True)

EXIT_FAILED, EXIT_BAD_INPUT = 1, 2
#: An error of this project's own; sysexits.h calls it EX_SOFTWARE.
EXIT_INTERNAL = 70
#: As shells count commands that a signal ended: 128 + SIGINT, 128 + SIGPIPE.
EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 130, 141
#: Seconds between lines of progress where they do not replace each other.
PAUSE = 10


class BadInput(UserError):
    """A file that is not what it must be."""


def say(message: str, code: int) -> int:
    """Print an error as one line; returns the exit code."""
    console.print(Text(f"spu: error: {' '.join(message.split())}", style="red"))
    return code


def fail(message: str, code: int) -> NoReturn:
    """Print an error as one line and end the command."""
    raise typer.Exit(say(message, code))


def check_kept(outputs: Iterable[Path], inputs: Iterable[Path | None]) -> None:
    """Raise ``BadInput`` if an output would replace a file that is read."""
    given = {os.path.realpath(path) for path in inputs if path and path.is_file()}
    for path in outputs:
        if os.path.realpath(path) in given:
            raise BadInput(
                f"{path}: is read, and would be overwritten; the output needs another name"
            )


def check_alone(out: Path, name: str, command: str) -> None:
    """Raise ``BadInput`` if a directory holds a ``name`` as another command writes it."""
    if (out / name).exists():
        raise BadInput(
            f"{out}: has a {name}, as {command} writes it; the output needs another directory"
        )


def check_own(out: Path) -> None:
    """Raise ``BadInput`` if a file of someone else has a name that compiled models use."""
    if path := manifest.foreign(out):
        raise BadInput(
            f"{path}: is not of spu compile, which writes files of that name; the "
            "output needs another directory"
        )


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Errors of a file's content, which do not know its name, as ``BadInput`` with the name."""
    try:
        yield
    except (UserError, bitstream.BitstreamError) as error:
        raise BadInput(f"{path}: {error}") from None


@contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Show on stderr what a command does; what is yielded adds a note to it.

    On a terminal the line is replaced; elsewhere there is one every ``PAUSE`` seconds, so that a
    request that is refused sooner leaves one line alone, that of its error.
    """
    if console.is_terminal:
        with console.status(what) as status:
            yield lambda note: status.update(f"{what}: {note}")
        return
    now, done, start = [what], threading.Event(), time.monotonic()

    def tell() -> None:
        while not done.wait(PAUSE):
            console.print(Text(f"... {now[0]} ({time.monotonic() - start:.0f} s)"))

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield lambda note: now.__setitem__(0, f"{what}: {note}")
    finally:
        done.set()
        thread.join()


def remark(line: str) -> None:
    """A line for the user beside the result."""
    console.print(Text(f"spu: note: {line}"))


def report_saturated(nodes: Mapping[str, int], strict: bool) -> None:
    """Name what has saturated elements, by their numbers; a failed check if ``strict``."""
    if not nodes:
        return
    names = ", ".join(
        f"{name} ({count})" for name, count in sorted(nodes.items(), key=lambda entry: -entry[1])
    )
    advice = "spu compile --calibrate with inputs like these gives them room"
    console.print(Text(f"spu: saturated elements: {names}; {advice}", style="yellow"))
    if strict:
        raise typer.Exit(EXIT_FAILED)
