"""``spu check``: everything in a model that is refused, at once; and sizes of its dimensions."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from compiler.errors import CompileError, Refusal, Refused
from compiler.tensors.compile import compile_program
from compiler.tensors.lower import lower_all
from compiler.tensors.onnx_graph import WrongDimension, prepare, read
from spu.arch.params import CONFIGS, Architecture
from verif.array_files import read_inputs
from verif.cli_common import EXIT_BAD_INPUT, ArchName, BadInput, fail, working

Dims = Annotated[list[str] | None, typer.Option(
    "--dim", metavar="NAME=N", help="Size of an open dimension, by its name; as often as needed.")]
Batch = Annotated[int | None, typer.Option(
    min=1, help="Size of the first dimension of inputs where it is open. Others are 1, or --dim.")]


def check(
    model: Annotated[Path, typer.Argument(help="ONNX file.")],
    arch: Annotated[ArchName, typer.Option("--arch", help="Architecture to use.")] =
        ArchName["basic"],
    batch: Batch = None,
    dim: Dims = None,
    calibrate: Annotated[Path | None, typer.Option(
        help="Inputs that show how large values become, as of spu compile --calibrate.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the refusals as JSON.")] = False,
) -> None:
    """Say what spu compile --steps would refuse in a model: every node, operator and rule.

    Exit code 2 if there is anything, 0 if not.

    Example: spu check verif/digits/digits_cnn.onnx --batch 8
    """
    with working("checking") as note:
        found = refusals(model, CONFIGS[arch], batch, parse_dims(dim), calibrate, note)
    if as_json:
        print(json.dumps({"refusals": [asdict(r) for r in found]}, indent=1))
    elif found:
        print(*found, sep="\n")
    else:
        print(f"{model}: nothing is refused")
    if found:
        fail(f"{model}: {len(found)} refusal{'s' if len(found) > 1 else ''}", EXIT_BAD_INPUT)


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


def refusals(path: Path, arch: Architecture, batch: int | None, dims: Mapping[str, int],
             calibrate: Path | None = None, progress: Callable[[str], None] = lambda _: None
             ) -> list[Refusal]:
    """What is refused of a model for an array.

    Raises ``CompileError`` for a file that is no model, and for ``dims`` that it does not have;
    ``BadInput`` for inputs that are not its own.
    """
    model = read(path)
    if not model.HasField("graph"):
        raise CompileError(f"{path}: not a valid ONNX model: it has no graph")
    found: list[Refusal] = []
    try:
        program, refused = lower_all(prepare(model, path.stem, batch, dims))
        found += refused
        compile_program(program, arch, progress=progress, calibrate=None if calibrate is None
                        else read_inputs(calibrate, program))
    except WrongDimension:
        raise
    except Refused as error:
        found += error.refusals
    except CompileError as error:
        found.append(Refusal.read(str(error)))
    return found
