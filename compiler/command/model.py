"""What the commands that take models share: sizes of dimensions, names of files in errors."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from compiler.errors import CompileError
from spu.command.common import BadInput

Dims = Annotated[
    list[str] | None,
    typer.Option(
        "--dim",
        metavar="NAME=N",
        help="Size of an open dimension, by its name, or by input and place, as x[2]; as often as "
        "needed.",
    ),
]
Fixed = Annotated[
    list[str] | None,
    typer.Option(
        "--fix",
        metavar="INPUT=NUMBER",
        help="A number for an input, which is a constant then; as often as needed.",
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Size of the first dimension of inputs where it is open. Others are 1, or --dim.",
    ),
]


@contextmanager
def naming(model: Path) -> Iterator[None]:
    """Errors of a model as a whole, which call it by its name alone, name its file."""
    try:
        yield
    except CompileError as error:
        if not str(error).startswith(f"{model.stem}: "):
            raise
        raise CompileError(str(error).replace(model.stem, str(model), 1)) from None


def parse_dims(given: Sequence[str] | None) -> dict[str, int]:
    """Sizes by name, of NAME=N each; ``BadInput`` for others, and for names of two sizes."""
    sizes: dict[str, int] = {}
    for text in given or ():
        name, separator, size = text.rpartition("=")
        if not (separator and name and size.isdecimal() and int(size)):
            raise BadInput(f"--dim {text}: must be NAME=N with N of at least 1")
        if sizes.setdefault(name, int(size)) != int(size):
            raise BadInput(f"--dim {name} is given as {sizes[name]} and as {size}")
    return sizes


def parse_fixed(given: Sequence[str] | None) -> dict[str, float]:
    """Numbers by input, of INPUT=NUMBER each; ``BadInput`` for others, and for two of one input."""
    numbers: dict[str, float] = {}
    for text in given or ():
        name, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not (name and math.isfinite(value)):
            raise BadInput(f"--fix {text}: must be INPUT=NUMBER")
        if numbers.setdefault(name, value) != value:
            raise BadInput(f"--fix {name} is given as {numbers[name]:g} and as {value:g}")
    return numbers
