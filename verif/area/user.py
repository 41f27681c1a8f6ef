"""A unit of a user's own: what it must say of itself."""

import re
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from amaranth.hdl import Shape as ValueShape
from amaranth.lib import wiring

from rtl.synthesis import Verilog
from verif.area.datapaths import Array
from verif.area.families import FAMILIES

#: Most multiply-accumulates a cycle, and bits of an element.
MOST = {"macs": 10**9, "bits": 1024}


class BadUnit(ValueError):
    """A file has no unit that can be measured; the message is one line that names it."""


@dataclass(frozen=True)
class UserUnit:
    """A unit with one clock.

    Parameters
    ----------
    name: none of a family's; macs: multiply-accumulates a cycle, to 10^9; bits: of an element,
    to 1024.
    component: of Amaranth, or ``verilog``: the source with its module ``top``.
    ports: their bits, by name, without clock and ``rst``; a component declares its own.
    dots: from rows of numbers (M, K) and (N, K) their dot products (M, N) as the unit computes
    them, for their SQNR; None if it is not to be known.

    Raises ``BadUnit`` for anything else, and for a family's name.
    """

    name: str
    macs: int
    bits: float
    component: wiring.Component | None = None
    verilog: str = ""
    top: str = ""
    ports: dict[str, int] | None = None
    dots: Callable[[Array, Array], Array] | None = None

    def __post_init__(self) -> None:
        check_name("unit", self.name)
        for name, most in MOST.items():
            value = getattr(self, name)
            kinds = (int,) if name == "macs" else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds) or not 1 <= value <= most:
                kind = "a whole number" if name == "macs" else "a number"
                self._refuse(name, f"{kind} from 1 to {most}")
        part = self.component
        if part is not None and not (
            isinstance(part, wiring.Component) and callable(getattr(part, "elaborate", None))
        ):
            made = f", as {part.__name__}() is" if isinstance(part, type) else ""
            self._refuse("component", f"a component of Amaranth with elaborate{made}")
        for name in ("verilog", "top"):
            if not isinstance(getattr(self, name), str):
                self._refuse(name, "text")
        if (part is None) == (not self.verilog):
            raise BadUnit(f"unit {self.name} must have either component or verilog")
        if self.verilog and not (self.top and self.ports):
            raise BadUnit(f"unit {self.name} must name top and ports of its Verilog")
        if self.top and not re.fullmatch(r"[A-Za-z_][\w$]*", self.top, re.ASCII):
            self._refuse("top", "the name of a module")
        if self.ports is not None and not (
            isinstance(self.ports, dict)
            and all(
                isinstance(name, str) and type(bits) is int and bits > 0
                for name, bits in self.ports.items()
            )
        ):
            self._refuse("ports", "names with their bits")
        if self.dots is not None and not callable(self.dots):
            self._refuse("dots", "a function")

    def _refuse(self, name: str, rule: str) -> NoReturn:
        raise BadUnit(f"{name} of {self.name} must be {rule}, not {shown(getattr(self, name))}")

    @property
    def source(self) -> wiring.Component | Verilog:
        """What is synthesised."""
        return self.component or Verilog(self.verilog, self.top)

    @property
    def declared(self) -> dict[str, int]:
        """Ports and their bits."""
        if self.ports is not None or self.component is None:
            return self.ports or {}
        members = self.component.signature.members.items()
        return {name: ValueShape.cast(member.shape).width for name, member in members}


def shown(value: Any) -> str:
    """A value in a message of one line."""
    return reprlib.repr(value)


def check_name(kind: str, name: Any) -> None:
    """Raise ``BadUnit`` unless a unit, datapath or family of a user's can have a name."""
    if not isinstance(name, str) or not name:
        raise BadUnit(f"the name of a {kind} must be text, not {shown(name)}")
    if name in FAMILIES:
        raise BadUnit(f"{kind} {name} has the name of a family")
