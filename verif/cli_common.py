"""What all commands share: one-line errors and exit codes, progress, the version."""

import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from compiler.errors import CompileError
from rtl.simulator import MissingTool, SimulationError
from spu.arch import bitstream
from spu.arch.package.manifest import PackageError
from spu.arch.params import CONFIGS
from spu.engine.errors import InputError, RunError

ArchName = StrEnum("ArchName", {n: n for n in CONFIGS})  # type: ignore[misc]
console = Console(stderr=True, soft_wrap=True)

EXIT_FAILED, EXIT_BAD_INPUT = 1, 2
#: An error of this project's own; sysexits.h calls it EX_SOFTWARE.
EXIT_INTERNAL = 70
#: As shells count commands that a signal ended: 128 + SIGINT, 128 + SIGPIPE.
EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 130, 141
#: Seconds between lines of progress where they do not replace each other.
PAUSE = 10
#: The variable of the environment that asks for tracebacks.
DEBUG = "SPU_DEBUG"

#: What a wrong command line raises, of whichever click typer brings.
_UsageError: Any = typer.BadParameter.__bases__[0]


class BadInput(ValueError):
    """A file that is not what it must be."""


class Commands(typer.core.TyperGroup):
    """The commands, of which no error leaves more than a line, and each an exit code."""

    def main(self, args: Any = None, prog_name: str | None = None, complete_var: Any = None,
             standalone_mode: bool = True, windows_expand_args: bool = True, **extra: Any) -> Any:
        """Run a command line and exit."""
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # names of files may be in no encoding at all
                stream.reconfigure(errors="backslashreplace")
        code = self._code(list(sys.argv[1:] if args is None else args), extra)
        sys.exit(code)

    def _code(self, args: list[str], extra: dict[str, Any]) -> int:
        try:
            _check_empty(args)
            with self.make_context("spu", args, **extra) as context:
                self.invoke(context)
            if sys.stdout:  # closed, if not
                sys.stdout.flush()
        except typer.Exit as done:
            return int(done.exit_code)
        except _UsageError as error:
            path = error.ctx.command_path if error.ctx else "spu"
            return say(f"{error.format_message().rstrip('.')}; see {path} --help", EXIT_BAD_INPUT)
        except KeyboardInterrupt:
            return say("interrupted", EXIT_INTERRUPTED)
        except BrokenPipeError:
            # The reader has gone; nothing is left to be written when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return EXIT_BROKEN_PIPE
        except Exception as error:
            return _known(error) or _unknown(error)
        return 0


def _check_empty(args: list[str]) -> None:
    """Raise a usage error for an empty argument: as a path it would be the directory one is in."""
    for place, arg in enumerate(args):
        if not arg or re.fullmatch(r"--[a-z-]+=", arg):
            before = args[place - 1] if place else ""
            name = arg[:-1] or (before if before.startswith("-") else "an argument")
            raise _UsageError(f"{name} is empty")


def _known(error: Exception) -> int:
    """Print an error that users cause; its exit code, 0 if it is another one."""
    if isinstance(error, BrokenPipeError):
        return 0
    if isinstance(error, (CompileError, PackageError, bitstream.BitstreamError, InputError,
                          BadInput, MissingTool)):
        return say(str(error), EXIT_BAD_INPUT)
    if isinstance(error, OSError):
        return say(f"{error.filename}: {error.strerror}" if error.filename else str(error),
                   EXIT_BAD_INPUT)
    if isinstance(error, MemoryError):
        return say(f"not enough memory: {error}".rstrip(": "), EXIT_BAD_INPUT)
    if isinstance(error, (SimulationError, RunError)):
        return say(str(error), EXIT_FAILED)
    return 0


def _unknown(error: Exception) -> int:
    """Print an error of our own: where it was raised, and how to see more."""
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return say(f"internal error, please report it: {type(error).__name__}: {error} "
               f"({Path(frame.filename).name}:{frame.lineno}); {DEBUG}=1 shows the traceback",
               EXIT_INTERNAL)


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
            raise BadInput(f"{path}: is read, and would be overwritten; the output needs another "
                           "name")


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Errors of a file's content, which do not know its name, as ``BadInput`` with the name."""
    try:
        yield
    except (CompileError, bitstream.BitstreamError, InputError) as error:
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


def report_saturated(nodes: Mapping[str, int], strict: bool) -> None:
    """Name what has saturated elements, by their numbers; a failed check if ``strict``."""
    if not nodes:
        return
    names = ", ".join(f"{name} ({count})" for name, count in
                      sorted(nodes.items(), key=lambda entry: -entry[1]))
    console.print(Text(f"spu: saturated elements: {names}", style="yellow"))
    if strict:
        raise typer.Exit(EXIT_FAILED)


def version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        print(f"spu {metadata.version('pal-spu')}")
        raise typer.Exit
