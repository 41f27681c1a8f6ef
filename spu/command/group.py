"""The commands of ``spu`` come together, and their errors become lines and exit codes."""

import ast
import os
import re
import sys
import traceback
from difflib import get_close_matches
from functools import cache
from importlib import metadata, util
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import typer

from spu.arch import bitstream
from spu.arch.errors import CheckFailed, UserError
from spu.command.common import (
    EXIT_BAD_INPUT,
    EXIT_BROKEN_PIPE,
    EXIT_FAILED,
    EXIT_INTERNAL,
    EXIT_INTERRUPTED,
    say,
)

#: The variable of the environment that asks for tracebacks.
DEBUG = "SPU_DEBUG"
#: Of the commands in the help, those of a model first.
ORDER = (
    "compile",
    "check",
    "run",
    "compare",
    "explain",
    "map",
    "disasm",
    "asm",
    "rtl",
    "unit",
    "perf",
    "sim",
)
#: What a wrong command line raises, of whichever click typer brings.
_UsageError: Any = typer.BadParameter.__bases__[0]


@cache
def _entries() -> dict[str, EntryPoint]:
    """Commands by name, of the packages that are installed."""
    return {
        entry.name: entry
        for entry in metadata.entry_points(group="spu.commands")
        if util.find_spec(entry.module.split(".")[0])
    }


def _summary(entry: EntryPoint) -> str:
    """First line of a command's docstring, read from its source; of a group's module."""
    found = util.find_spec(entry.module)
    tree = ast.parse(Path(str(found.origin)).read_text()) if found else ast.parse("")
    said: Any = tree
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == entry.attr:
            said = node
    return (ast.get_docstring(said) or "").partition("\n")[0]


class Commands(typer.core.TyperGroup):
    """The commands, of which no error leaves more than a line, and each an exit code.

    A command is an entry point ``spu.commands`` of an installed package: a function of typer, or a
    ``Typer`` of several.  Only the one that runs is imported; help shows the first lines of the
    others' docstrings.
    """

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except _UsageError as error:
            near = get_close_matches(args[0], self.list_commands(ctx))
            if near and "mean" not in error.message:
                error.message = f"{error.message.rstrip('.')}; did you mean {near[0]!r}?"
            raise

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(
            _entries(), key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name)
        )

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        entry = _entries().get(cmd_name)
        if entry is None:
            return None
        made = entry.load()
        if not isinstance(made, typer.Typer):
            made = typer.Typer(
                add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
            )
            made.command(cmd_name)(entry.load())
        return typer.main.get_command(made)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, _summary(_entries()[name])) for name in self.list_commands(ctx)]
            )

    def main(
        self,
        args: Any = None,
        prog_name: str | None = None,
        complete_var: Any = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line and exit."""
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # names of files may be in no encoding at all
                stream.reconfigure(errors="backslashreplace")
        code = self._code(list(sys.argv[1:] if args is None else args), complete_var, extra)
        sys.exit(code)

    def _code(self, args: list[str], complete_var: Any, extra: dict[str, Any]) -> int:
        try:
            self._main_shell_completion(extra, "spu", complete_var)
            _check_empty(args)
            with self.make_context("spu", args, **extra) as context:
                self.invoke(context)
            if sys.stdout:  # closed, if not
                sys.stdout.flush()
        except typer.Exit as done:
            return int(done.exit_code)
        except _UsageError as error:
            path = error.ctx.command_path if error.ctx else "spu"
            message = error.format_message().rstrip(".").replace("Value error, ", "", 1)
            return say(f"{message}; see {path} --help", EXIT_BAD_INPUT)
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
    if isinstance(error, (UserError, bitstream.BitstreamError)):
        return say(str(error), EXIT_BAD_INPUT)
    if isinstance(error, OSError):
        return say(
            f"{error.filename}: {error.strerror}" if error.filename else str(error), EXIT_BAD_INPUT
        )
    if isinstance(error, MemoryError):
        return say(f"not enough memory: {error}".rstrip(": "), EXIT_BAD_INPUT)
    if isinstance(error, CheckFailed):
        return say(str(error), EXIT_FAILED)
    return 0


def _unknown(error: Exception) -> int:
    """Print an error of our own: where it was raised, and how to see more."""
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return say(
        f"internal error, please report it: {type(error).__name__}: {error} "
        f"({Path(frame.filename).name}:{frame.lineno}); {DEBUG}=1 shows the traceback",
        EXIT_INTERNAL,
    )
