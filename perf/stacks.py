"""Devices with software stacks whose products were measured: ``stacks.toml``, which
``python -m verif.studies.perf.fit`` writes."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from perf.gemm import Constants, Energy, Stack
from perf.machines import machine
from spu.arch.errors import UserError

PATH = Path(__file__).parent / "stacks.toml"


class StackError(UserError):
    """A device, format or framework whose products were not measured."""


@cache
def stacks() -> tuple[Stack, ...]:
    """All stacks, in the order of the file."""
    return tuple(_stack(fields) for fields in tomllib.loads(PATH.read_text())["stack"])


def stack(chip: str, dtype: str, framework: str | None = None) -> Stack:
    """A stack by the names of device, format and framework, in any case.

    Without a framework it is the first of the file with that device and format; ``fp8`` is also
    ``fp8_block`` where a device has no other.  Raises ``MachineError`` for a device that there is
    not, ``StackError`` if its products in that format or framework were not measured.
    """
    name = machine(chip).name
    found = [each for each in stacks() if each.device.name == name]
    if not found:
        known = dict.fromkeys(each.device.name for each in stacks())
        raise StackError(f"no products were measured on {name}; there are {', '.join(known)}")
    for wanted in (dtype.lower(), f"{dtype.lower()}_block"):
        if of_type := [each for each in found if each.dtype == wanted]:
            break
    else:
        known = dict.fromkeys(each.dtype for each in found)
        raise StackError(
            f"no products of {dtype!r} were measured on {name}; there are {', '.join(known)}"
        )
    if framework is None:
        return of_type[0]
    for each in of_type:
        if each.framework.lower() == framework.lower():
            return each
    known = dict.fromkeys(each.framework for each in of_type)
    raise StackError(
        f"no products of {of_type[0].dtype} were measured on {name} with {framework!r}; there are "
        f"{', '.join(known)}"
    )


def _stack(fields: dict[str, Any]) -> Stack:
    return Stack(
        machine(fields["device"]),
        fields["framework"],
        fields["dtype"],
        Constants(**fields["time"]),
        Energy(**fields["energy"]),
        tuple(fields["tiles"]),
        tuple(fields["splits"]),
        fields["quantises"],
        tuple((low, high) for low, high in (fields["ranges"][side] for side in "mnk")),
    )
