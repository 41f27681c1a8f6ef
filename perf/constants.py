"""Numbers that sizing rests on, each with its range and source: ``constants.toml``.

A value that is drawn at random (``draw``) has a triangular density of its logarithm, with its mode
at the value and its ends at those of the range: all that a value with two ends says.
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spu.arch.errors import UserError

PATH = Path(__file__).parent / "constants.toml"
#: Where a value comes from; the file says what each means.
KINDS = ("published", "recalled", "measured", "assumed")
#: A value, or one for each sample.
Number = Any


class ConstantError(UserError):
    """A constant that there is not, or that lacks something."""


@dataclass(frozen=True)
class Constant:
    """A positive number in ``unit`` ("1" for a ratio) with the ends of its range, and whence."""

    name: str
    value: float
    low: float
    high: float
    unit: str
    source: str
    year: int
    kind: str


def read(path: Path = PATH) -> dict[str, Constant]:
    """Constants of a file by name.

    Raises ``ConstantError``, which names file and constant, for what is no TOML, a field that is
    missing or unknown, a range without its value, a source that is empty; ``OSError``.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        return {name: _constant(name, entry) for name, entry in given.items()}
    except (ValueError, RecursionError) as error:
        raise ConstantError(f"{path}: {error}") from None


def merge(path: Path) -> dict[str, Constant]:
    """The project's constants with those of a file in place of theirs.

    Raises ``ConstantError`` as ``read`` does, and for a name or a unit that is not the project's.
    """
    own, given = read(), read(path)
    for name, constant in given.items():
        if name not in own:
            raise ConstantError(f"{path}: no constant {name!r} is used; docs/sizing.md lists them")
        if constant.unit != own[name].unit:
            raise ConstantError(f"{path}: {name} is in {own[name].unit}, not in {constant.unit}")
    return own | given


def values(constants: Mapping[str, Constant]) -> dict[str, Number]:
    """The values alone."""
    return {name: constant.value for name, constant in constants.items()}


def draw(constants: Mapping[str, Constant], samples: int, seed: int) -> dict[str, Number]:
    """Arrays of ``samples`` random values by name, the same for a seed."""
    made = np.random.default_rng(seed)
    return {name: _draw(constant, made.random(samples)) for name, constant in constants.items()}


def _draw(constant: Constant, uniform: NDArray[np.float64]) -> Number:
    """Quantiles of the triangular density of the logarithm."""
    low, mode, high = (math.log(x) for x in (constant.low, constant.value, constant.high))
    if low == high:
        return constant.value
    split = (mode - low) / (high - low)
    rising = low + np.sqrt(uniform * (high - low) * (mode - low))
    falling = high - np.sqrt((1 - uniform) * (high - low) * (high - mode))
    return np.exp(np.where(uniform < split, rising, falling))


def _constant(name: str, given: Any) -> Constant:
    """Raises ``ValueError``."""
    if not isinstance(given, dict):
        raise ValueError(f"{name} must be a table of value, low, high, unit, source, year and kind")
    names = [field.name for field in fields(Constant)][1:]
    if unknown := sorted(set(given) - set(names)):
        raise ValueError(f"{name}: unknown field {unknown[0]!r}; known: {', '.join(names)}")
    if missing := [field for field in names if field not in given]:
        raise ValueError(f"{name} has no {missing[0]}")
    for field in ("value", "low", "high"):
        number = given[field]
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < 1e30:
            raise ValueError(f"{name}: {field} must be a positive number, not {number!r}")
    if not given["low"] <= given["value"] <= given["high"]:
        raise ValueError(
            f"{name}: value {given['value']} is not between low {given['low']} and high "
            f"{given['high']}"
        )
    for field in ("unit", "source"):
        if not isinstance(given[field], str) or not given[field].strip():
            raise ValueError(f"{name} has no {field}")
    if type(given["year"]) is not int or not 1950 <= given["year"] <= 2100:
        raise ValueError(f"{name} has no year")
    if given["kind"] not in KINDS:
        raise ValueError(f"{name}: kind must be one of {', '.join(KINDS)}, not {given['kind']!r}")
    return Constant(name, **given)
