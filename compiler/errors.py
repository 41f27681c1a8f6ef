"""The exceptions that a user of the compiler sees."""

from collections.abc import Sequence
from dataclasses import dataclass


class CompileError(ValueError):
    """The model or its mapping is at fault; the message names the thing and the rule."""


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


class Refused(CompileError):
    """All ``refusals`` of a model; the message is the first of them, with a ``hint``."""

    def __init__(self, refusals: Sequence[Refusal], hint: str = "") -> None:
        more = f"; and {len(refusals) - 1} more: spu check" if len(refusals) > 1 else ""
        super().__init__(f"{refusals[0]}{hint}{more}")
        self.refusals = tuple(refusals)
