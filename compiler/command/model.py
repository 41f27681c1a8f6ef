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


SeveralDims = Annotated[
    list[str] | None,
    typer.Option(
        "--dim",
        metavar="NAME=N[,N...]",
        help="Size of an open dimension, by its name, or several: a program for each; as often as "
        "needed.",
    ),
]
SeveralBatches = Annotated[
    str | None,
    typer.Option(
        "--batch",
        metavar="N[,N...]",
        help="Size of the first dimension of inputs where it is open, or several: a program for "
        "each. Others are 1, or --dim.",
    ),
]
Pads = Annotated[
    list[str] | None,
    typer.Option(
        "--pad",
        metavar="INPUT=NUMBER",
        help="What stands in places of an input that a sample shorter than --dim leaves empty; "
        "for each input that has such.",
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
    for name, found in _named_sizes(given, "NAME=N with N of at least 1", 1):
        if sizes.setdefault(name, found[0]) != found[0]:
            raise BadInput(f"--dim {name} is given as {sizes[name]} and as {found[0]}")
    return sizes


def parse_several(given: Sequence[str] | None) -> dict[str, tuple[int, ...]]:
    """Sizes by name, of NAME=N[,N...] each; ``BadInput`` as ``parse_dims``."""
    sizes: dict[str, tuple[int, ...]] = {}
    for name, found in _named_sizes(given, "NAME=N[,N...] with N of at least 1", None):
        if sizes.setdefault(name, found) != found:
            told = (", ".join(map(str, each)) for each in (sizes[name], found))
            raise BadInput(f"--dim {name} is given as {' and as '.join(told)}")
    return sizes


def _named_sizes(
    given: Sequence[str] | None, rule: str, most: int | None
) -> Iterator[tuple[str, tuple[int, ...]]]:
    for text in given or ():
        name, separator, sizes = text.rpartition("=")
        found = _sizes(sizes)
        if not (separator and name and found) or (most is not None and len(found) > most):
            raise BadInput(f"--dim {text}: must be {rule}")
        yield name, found


def parse_batches(given: str | None) -> tuple[int, ...]:
    """Sizes, of N[,N...]; ``BadInput`` for others."""
    if given is None:
        return ()
    found = _sizes(given)
    if not found:
        raise BadInput(f"--batch {given}: must be N[,N...] with N of at least 1")
    return found


def _sizes(text: str) -> tuple[int, ...]:
    """Numbers with commas between, each at least 1 and once; () of another text."""
    parts = text.split(",")
    if not all(p.isascii() and p.isdecimal() and len(p) < 100 and int(p) for p in parts):
        return ()
    return tuple(sorted({int(p) for p in parts}))


def parse_numbers(option: str, given: Sequence[str] | None) -> dict[str, float]:
    """Numbers by input, of INPUT=NUMBER each; ``BadInput`` for others, and for two of one input."""
    numbers: dict[str, float] = {}
    for text in given or ():
        name, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not (name and math.isfinite(value)):
            raise BadInput(f"{option} {text}: must be INPUT=NUMBER")
        if numbers.setdefault(name, value) != value:
            raise BadInput(f"{option} {name} is given as {numbers[name]:g} and as {value:g}")
    return numbers
