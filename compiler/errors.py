"""The exceptions that a user of the compiler sees."""

import re
from ast import literal_eval
from collections.abc import Sequence
from dataclasses import dataclass

from spu.arch.errors import UserError

#: Operator and node, as Python writes its name.
_LABEL = re.compile(r"""(\w+) node ('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"): """)


class CompileError(UserError):
    """The model or its mapping is at fault; the message names the thing and the rule."""


class WrongProgram(CompileError):
    """A program does not compute what it should; a fault of the compiler."""


@dataclass(frozen=True)
class Refusal:
    """What is not taken: a node of the user's model (its name, or else its first output), its
    operator, and the rule. Of a model as a whole the first two are empty."""

    node: str
    operator: str
    rule: str

    def __str__(self) -> str:
        where = f"{self.operator} node {self.node!r}: " if self.operator else ""
        return where + self.rule

    @classmethod
    def read(cls, text: str) -> "Refusal":
        """Inverse of ``str``."""
        found = _LABEL.match(text)
        return (
            cls(literal_eval(found[2]), found[1], text[found.end() :])
            if found
            else cls("", "", text)
        )

    @classmethod
    def at(cls, label: str, error: Exception) -> "Refusal":
        """Of an error that names its node, or else is that of ``label``."""
        found = cls.read(str(error))
        return found if found.operator else cls.read(f"{label}: {error}")


class Refused(CompileError):
    """All ``refusals`` of a model; the message is the first of them, with a ``hint``, and where the
    ``others`` are told."""

    def __init__(
        self, refusals: Sequence[Refusal], hint: str = "", others: str = "spu check"
    ) -> None:
        more = f"; and {len(refusals) - 1} more: {others}" if len(refusals) > 1 else ""
        super().__init__(f"{refusals[0]}{hint}{more}")
        self.refusals = tuple(refusals)
