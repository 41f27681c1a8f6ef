"""Machines as data: one TOML file each, every number with the source that published it.

A file has a ``label`` and a ``kind``; the ``[sources]`` that its numbers name, each with title and
year; and tables of numbers ``{ value, source }`` in SI units:

* ``[processors]``: ``count``, of what has registers and multipliers of its own (streaming
  multiprocessors of a GPU, cores).
* ``[peak]``: FLOP/s, two a multiply-accumulate, by the format of the operands, without sparsity.
* ``[memory]``: ``bytes`` and ``bandwidth`` (bytes/s) of the memory, ``cache_bytes`` of the last
  level that all processors share.
* ``[links]``: bytes/s in one direction by the kind of link, all ports of the kind together.
* ``[power]``: ``watts``, the limit.

An array of this project names its ``architecture`` instead (``spu.arch.params.CONFIGS``).
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from spu.arch.errors import UserError
from spu.arch.params import CONFIGS, Architecture

FOLDER = Path(__file__).parent / "machines"
#: Kinds of machines.
KINDS = ("cpu", "gpu", "spu", "tpu")
#: Formats of operands that ``[peak]`` may name.
FORMATS = ("float64", "float32", "tf32", "bfloat16", "float16", "fp8", "int8", "nvfp4")
#: Names that each table takes, None for any.
TABLES: dict[str, tuple[str, ...] | None] = {
    "processors": ("count",),
    "peak": FORMATS,
    "memory": ("bytes", "bandwidth", "cache_bytes"),
    "links": None,
    "power": ("watts",),
}


class MachineError(UserError):
    """A machine that there is not, or a file that does not describe one."""


@dataclass(frozen=True)
class Quantity:
    """A published number: its value in SI units, the title of its source and the year."""

    value: float
    source: str
    year: int


@dataclass(frozen=True)
class Machine:
    """A machine of ``perf/machines``; numbers by table and name, such as
    ``numbers["memory"]["bandwidth"]``.  ``architecture`` of an SPU array, None of others."""

    name: str
    label: str
    kind: str
    numbers: Mapping[str, Mapping[str, Quantity]]
    architecture: Architecture | None = None

    def number(self, table: str, name: str) -> float:
        """A number in SI units; ``MachineError`` if the file has none of that name."""
        found = self.numbers.get(table, {})
        if name not in found:
            has = f"it has {', '.join(found)}" if found else "it has none of that table"
            raise MachineError(f"{self.name}: has no {table}.{name}; {has}")
        return found[name].value

    @property
    def processors(self) -> int:
        """Processors; raises ``MachineError`` if the file does not say."""
        return int(self.number("processors", "count"))

    def peak(self, fmt: str) -> float:
        """FLOP/s on operands of a format; raises ``MachineError`` if there are no such units."""
        return self.number("peak", fmt)

    @property
    def bandwidth(self) -> float:
        """Bytes/s of the memory; raises ``MachineError`` if the file does not say."""
        return self.number("memory", "bandwidth")

    @property
    def watts(self) -> float:
        """Limit of power; raises ``MachineError`` if the file does not say."""
        return self.number("power", "watts")


def names() -> list[str]:
    """Names of the machines that come with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


@cache
def machine(name: str) -> Machine:
    """A machine of the project by its name in any case; ``MachineError`` if there is none."""
    known = names()
    if name.lower() not in known:
        near = get_close_matches(name.lower(), known, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise MachineError(f"no machine {name!r}; {hint}")
    return read(FOLDER / f"{name.lower()}.toml")


def read(path: Path) -> Machine:
    """A machine of a file.

    Raises ``MachineError``, which names the file, for what is no TOML, an unknown field, a number
    without a source or that is not positive, a source without title or year; ``OSError``.
    """
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        return _machine(path.stem, fields)
    except (ValueError, RecursionError) as error:
        raise MachineError(f"{path}: {error}") from None


def _machine(name: str, fields: dict[str, Any]) -> Machine:
    """Raises ``ValueError`` for fields that are no machine's."""
    _known("field", fields, ("label", "kind", "architecture", "sources", *TABLES))
    label, kind = fields.get("label"), fields.get("kind")
    if not isinstance(label, str) or not label:
        raise ValueError("label must be a text")
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    sources = _sources(_table("sources", fields))
    numbers = {
        table: {
            each: _quantity(f"{table}.{each}", value, sources)
            for each, value in _table(table, fields, allowed).items()
        }
        for table, allowed in TABLES.items()
    }
    if (count := numbers["processors"].get("count")) and count.value != int(count.value):
        raise ValueError(f"processors.count must be a whole number, not {count.value}")
    return Machine(name, label, kind, numbers, _architecture(kind, fields))


def _architecture(kind: str, fields: dict[str, Any]) -> Architecture | None:
    given = fields.get("architecture")
    if (kind == "spu") != (given is not None):
        raise ValueError("a machine of kind spu, and no other, has an architecture")
    if given is not None and given not in CONFIGS:
        raise ValueError(f"architecture must be one of {', '.join(CONFIGS)}, not {given!r}")
    return None if given is None else CONFIGS[given]


def _known(what: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"unknown {what} {unknown[0]!r}; known: {', '.join(known)}")


def _table(
    name: str, fields: dict[str, Any], allowed: tuple[str, ...] | None = None
) -> dict[str, Any]:
    found = fields.get(name, {})
    if not isinstance(found, dict):
        raise ValueError(f"{name} must be a table")
    if allowed is not None:
        _known(f"field of {name}", found, allowed)
    return found


def _sources(given: dict[str, Any]) -> dict[str, tuple[str, int]]:
    """Title and year by the short name that numbers refer to."""
    found = {}
    for name, source in given.items():
        if not isinstance(source, dict):
            raise ValueError(f"sources.{name} must have a title and a year")
        _known(f"field of sources.{name}", source, ("title", "year"))
        title, year = source.get("title"), source.get("year")
        if not isinstance(title, str) or not title:
            raise ValueError(f"sources.{name} has no title")
        if not isinstance(year, int) or not 1950 <= year <= 2100:
            raise ValueError(f"sources.{name} has no year")
        found[name] = title, year
    return found


def _quantity(name: str, given: Any, sources: Mapping[str, tuple[str, int]]) -> Quantity:
    if not isinstance(given, dict):
        raise ValueError(f"{name} must have a value and a source")
    _known(f"field of {name}", given, ("value", "source"))
    value = given.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e30:
        raise ValueError(f"{name} must have a positive value, not {value!r}")
    if "source" not in given:
        raise ValueError(f"{name} has no source")
    if not isinstance(given["source"], str) or given["source"] not in sources:
        raise ValueError(f"{name} has the source {given['source']!r}, which [sources] lacks")
    return Quantity(float(value), *sources[given["source"]])
