"""``spu check``: everything in a model that is refused, at once; and sizes of its dimensions."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from compiler.command.model import Batch, Dims, Fixed, parse_dims, parse_numbers
from compiler.errors import CompileError, Refusal, Refused
from pal_units.formats import Format
from spu.arch.params import Architecture
from spu.command.common import EXIT_BAD_INPUT, fail, working
from spu.command.extras import require
from spu.command.options import Arch, DataFormat, WeightFormat, array, data_format, weight_format


def check(
    model: Annotated[Path, typer.Argument(help="ONNX file.")],
    arch: Arch = "basic",
    fmt: DataFormat = None,
    weights: WeightFormat = None,
    batch: Batch = None,
    dim: Dims = None,
    fix: Fixed = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            help="Inputs that show how large values become, as of spu compile --calibrate."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the refusals as JSON.")] = False,
) -> None:
    """Say what spu compile would refuse in a model: every node, operator and rule.

    Exit code 2 if there is anything, 0 if not.

    Example: spu check verif/digits/digits_cnn.onnx --batch 8
    """
    require("onnx")
    with working("checking") as note:
        tiles, sizes, numbers = array(arch), parse_dims(dim), parse_numbers("--fix", fix)
        formats = data_format(tiles, fmt), weight_format(tiles, weights)
        found = refusals(model, tiles, batch, sizes, calibrate, note, *formats, numbers)
    if as_json:
        print(json.dumps({"refusals": [asdict(r) for r in found]}, indent=1))
    elif found:
        print(*found, sep="\n")
    else:
        print(f"{model}: nothing is refused")
    if found:
        fail(f"{model}: {len(found)} refusal{'s' if len(found) > 1 else ''}", EXIT_BAD_INPUT)


def refusals(
    path: Path,
    arch: Architecture,
    batch: int | None,
    dims: Mapping[str, int],
    calibrate: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
    fmt: Format | None = None,
    weights: Format | None = None,
    fix: Mapping[str, float] | None = None,
) -> list[Refusal]:
    """What is refused of a model for an array.

    ``fmt`` of data, None for the array's default; ``weights``: of constant weights, None for that;
    ``fix``: numbers of inputs, see ``fixed``.

    Raises ``CompileError`` for a file that is no model, and for ``dims`` and ``fix`` that it does
    not have; ``BadInput`` for inputs that are not its own.
    """
    from compiler.front.fixed import fixed
    from compiler.front.lower import lower_all
    from compiler.front.onnx_graph import WrongDimension, prepare, read
    from compiler.map.steps import compile_program
    from spu.command.arrays import read_sets

    model = read(path)
    if not model.HasField("graph"):
        raise CompileError(f"{path}: not a valid ONNX model: it has no graph")
    found: list[Refusal] = []
    try:
        program, refused = lower_all(prepare(fixed(model, fix or {}), path.stem, batch, dims))
        found += refused
        compile_program(
            program,
            arch,
            arch.default_format if fmt is None else fmt,
            progress=progress,
            weights=weights,
            # What is refused stands as inputs of the program, which the file does not have.
            calibrate=None if calibrate is None or refused else read_sets(calibrate, program),
        )
    except WrongDimension:
        raise
    except Refused as error:
        found += error.refusals
    except CompileError as error:
        found.append(Refusal.read(str(error)))
    return found
