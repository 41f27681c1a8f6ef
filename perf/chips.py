"""Chips around an array: clock, streams, memory and the port of programs, one TOML file each.

Every field may be left out::

    label = "as fast as the array takes words"
    array = "basic"               # the only one that it is of; any without
    clock_mhz = 1000              # of time; cycles do not need it
    input_cycles = 1              # a word of an input stream, at least 1
    output_cycles = 1             # a word of an output stream
    load_cycles = 1               # a 32-bit word of a program file
    latency_cycles = 0            # from asking for words to the first one
    stream_words = 16             # depth of the streams' FIFOs; the array's without
    memory_bytes_per_second = 0   # shared by all streams that a program has; unlimited without

The memory is dealt evenly to the streams that a program has, whether they need it or not.  Numbers
of cycles are rounded up to sixteenths.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from fractions import Fraction
from math import isfinite
from pathlib import Path
from typing import Any

from perf.events.streams import Pace
from spu.arch.errors import UserError
from spu.arch.params import Architecture

FOLDER = Path(__file__).parent / "chips"
_TEXTS = ("label", "array")
#: Fields that are whole numbers.
WHOLE = ("latency_cycles", "stream_words")
#: Least values.
#: No number of a chip is so large, nor its inverse so small.
MOST = 1e15
_LEAST = {
    "input_cycles": 1,
    "output_cycles": 1,
    "load_cycles": 1,
    "latency_cycles": 0,
    "stream_words": 2,
}


@dataclass(frozen=True)
class Chip:
    """What is around an array, see the module; ``None`` where a field says nothing.

    Raises ``UserError`` for a value out of range.
    """

    label: str = "as fast as the array takes words"
    array: str | None = None
    clock_mhz: float | None = None
    input_cycles: float = 1
    output_cycles: float = 1
    load_cycles: float = 1
    latency_cycles: int = 0
    stream_words: int | None = None
    memory_bytes_per_second: float | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is None and each.default is None:
                continue
            if each.name in _TEXTS:
                if not isinstance(value, str) or not value:
                    raise UserError(f"{each.name} must be a text, not {value!r}")
                continue
            kinds = int if each.name in WHOLE else (int, float)
            if isinstance(value, int) and abs(value) >= MOST:
                raise UserError(f"{each.name} must be below {MOST:g}")
            if isinstance(value, bool) or not isinstance(value, kinds) or not isfinite(value):
                what = "a whole number" if each.name in WHOLE else "a number"
                raise UserError(f"{each.name} must be {what}, not {value!r}")
            if not (value == 0 or 1 / MOST <= abs(value) < MOST):
                raise UserError(
                    f"{each.name} must be within {1 / MOST:g} and {MOST:g}, not {value}"
                )
            least = _LEAST.get(each.name)
            if least is None and value <= 0:
                raise UserError(f"{each.name} must be positive, not {value}")
            if least is not None and value < least:
                raise UserError(f"{each.name} must be at least {least}, not {value}")
        if self.memory_bytes_per_second and not self.clock_mhz:
            raise UserError("memory_bytes_per_second needs a clock_mhz")

    def changed(self, values: Mapping[str, Any]) -> "Chip":
        """With other values of fields; ``UserError`` for a name that is none."""
        known = [each.name for each in fields(self)]
        for name in values:
            if name not in known:
                near = get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
                raise UserError(f"unknown field {name!r} of a chip; {hint}")
        return replace(self, **values)

    def check(self, arch: Architecture) -> None:
        """Raise ``UserError`` if it is a chip of another array."""
        if self.array not in (None, arch.name):
            raise UserError(f"the chip is of the array {self.array!r}, the model for {arch.name!r}")

    def pace(self, cycles: float, streams: int, arch: Architecture) -> Pace:
        """Of one of so many streams, a word every ``cycles`` but for the memory."""
        least = Fraction(cycles)
        if self.memory_bytes_per_second is not None:
            assert self.clock_mhz is not None
            per_cycle = Fraction(self.memory_bytes_per_second) / Fraction(self.clock_mhz * 1e6)
            least = max(least, streams * Fraction(arch.data_bits, 8) / per_cycle)
        return Pace.of(least, self.latency_cycles)

    @property
    def loading(self) -> Pace:
        """Of the words of a program file."""
        return Pace.of(self.load_cycles, self.latency_cycles)


def names() -> list[str]:
    """Chips that come with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def chip(given: str) -> Chip:
    """A chip by its name, or of a file.

    Raises ``UserError`` for a name that there is not, and for a file that is no chip's: no TOML, an
    unknown field, a value out of range; ``OSError``.
    """
    if given in names():
        path = FOLDER / f"{given}.toml"
    else:
        path = Path(given)
        if not path.is_file() and path.suffix != ".toml":
            near = get_close_matches(given, names(), 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names())}"
            raise UserError(f"no chip {given!r}; {hint}, or give a file *.toml")
    try:
        return Chip().changed(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except (ValueError, RecursionError, UserError) as error:
        raise UserError(f"{path}: {error}") from None
