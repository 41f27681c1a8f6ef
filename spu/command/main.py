"""The ``spu`` command: exit code 0 ok, 1 failed check, 2 usage or bad input."""

from importlib import metadata
from typing import Annotated

import typer

from spu.command.group import Commands

app = typer.Typer(
    cls=Commands,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        print(f"spu {metadata.version('pal-spu')}")
        raise typer.Exit


@app.callback()
def spu(
    context: typer.Context,
    _: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Compile, run and inspect programs for the SPU array.

    Exit codes: 0 ok, 1 a check failed, 2 usage or bad input, 70 an error of this program.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


def main() -> None:
    """Entry point of the console script."""
    app()
