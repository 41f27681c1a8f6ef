"""Predict time and energy on chips of this project and of others."""

from typing import Any

import typer

from perf.command.gemm import gemm
from perf.command.package import package


class _Group(typer.core.TyperGroup):
    """Commands by name; whatever else comes first is a model's directory or an option for it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help", "-h"):
            args = ["package", *args]
        return super().parse_args(ctx, args)


#: ``spu perf``, a group of commands: each is a function in a module of its own, added below.
app = typer.Typer(
    name="perf",
    cls=_Group,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def perf(context: typer.Context) -> None:
    """Predict time and energy on chips of this project and of others.

    A directory that spu compile wrote in the place of a command is given to package.

    Example: spu perf build/digits --chip ddr4
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


app.command("package")(package)
app.command("gemm")(gemm)
