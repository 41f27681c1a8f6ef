"""Options that several commands have, and arrays in files."""

import json
import re
import tomllib
from dataclasses import MISSING, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from pal_units.formats import Format
from spu.arch.params import CONFIGS, OPERAND_FORMATS, Architecture, from_parameters
from spu.command.common import BadInput

#: Formats of operands, of which an array takes some.
FormatName = StrEnum(  # type: ignore[misc]
    "FormatName", {name: name for name in OPERAND_FORMATS}
)
SimName = StrEnum("SimName", ["verilator", "icarus"])
#: ``--format`` and ``--weights``, None where they are not given.
DataFormat = Annotated[
    FormatName | None,
    typer.Option("--format", help="Number format.", show_default="PAL8T, else the array's first"),
]
WeightFormat = Annotated[
    FormatName | None,
    typer.Option(
        "--weights", help="Number format of constant weights.", show_default="that of --format"
    ),
]
Arch = Annotated[
    str,
    typer.Option(
        "--arch",
        metavar="NAME|FILE",
        autocompletion=lambda: list(CONFIGS),
        help=f"Array: {', '.join(CONFIGS)}, or a .toml or .json file of parameters.",
    ),
]


def array(given: str) -> Architecture:
    """The array of ``--arch``; ``BadInput`` names the parameter that is wrong."""
    if given in CONFIGS:
        return CONFIGS[given]
    path = Path(given)
    kind = path.suffix.lower()
    if kind not in (".toml", ".json"):
        raise BadInput(
            f"--arch {given}: no such array; there are {', '.join(CONFIGS)}, or give a "
            ".toml or .json file of parameters"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
        parameters = (
            tomllib.loads(text) if kind == ".toml" else json.loads(text, object_pairs_hook=_members)
        )
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: {error}") from None
    _check_parameters(path, parameters)
    try:
        arch = from_parameters(parameters)
    except ValueError as error:
        raise BadInput(f"{path}: {error}") from None
    if arch.name in CONFIGS and arch != CONFIGS[arch.name]:
        raise BadInput(f"{path}: {arch.name!r} is the name of another array, one of spu's own")
    # The reblock unit packs codes of one width as tightly as they are, the golden model does not.
    if len(sizes := {f.n for f in arch.data_formats}) == 1 and (bits := sizes.pop()) < 8:
        raise BadInput(
            f"{path}: formats of {bits} bits alone, whose blocks the RTL packs in another way than "
            "the golden model; add a format of another width"
        )
    return arch


def data_format(arch: Architecture, name: str | None) -> Format:
    """The format of ``--format``, the array's default if none is given; ``BadInput`` says which
    ones the array takes."""
    try:
        return arch.default_format if name is None else arch.data_format(name)
    except ValueError as error:
        raise BadInput(str(error)) from None


def weight_format(arch: Architecture, name: str | None) -> Format | None:
    """The format of ``--weights``, None if none is given."""
    try:
        return None if name is None else arch.weight_format(name)
    except ValueError as error:
        raise BadInput(str(error)) from None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Members of an object of JSON; ``ValueError`` for a name that is there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, _ in pairs if [n for n, _ in pairs].count(name) > 1)
        raise ValueError(f"{twice!r} is there twice")
    return found


def _check_parameters(path: Path, parameters: Any) -> None:
    """Raise ``BadInput`` for names and types that are not those of ``Architecture``."""
    if not isinstance(parameters, dict):
        raise BadInput(f"{path}: must be parameters by name")
    known = {f.name: f for f in fields(Architecture)}
    if unknown := sorted(set(parameters) - set(known)):
        raise BadInput(f"{path}: unknown parameter {unknown[0]!r}; known: {', '.join(known)}")
    for name, field in known.items():
        if name not in parameters:
            if field.default is MISSING:
                raise BadInput(f"{path}: has no parameter {name!r}")
            continue
        value, kind = parameters[name], field.type
        if kind is int:
            fits, wanted = type(value) is int, "a whole number"
        elif kind is str:
            fits, wanted = isinstance(value, str), "text"
        elif kind is bool:
            fits, wanted = isinstance(value, bool), "true or false"
        else:
            fits = isinstance(value, list) and all(isinstance(x, str) for x in value)
            wanted = "a list of texts"
        if not fits:
            raise BadInput(f"{path}: {name} must be {wanted}, not {value!r}")
    if not re.fullmatch(r"\w[\w .+-]{0,63}", parameters["name"], re.ASCII):
        raise BadInput(
            f"{path}: name must be up to 64 letters, digits, blanks, . + - or _, the "
            f"first no sign but _, not {parameters['name']!r}"
        )
