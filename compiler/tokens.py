"""Symbolic values of the checks: what was computed, not what it is."""

from dataclasses import dataclass, field


@dataclass
class Tokens:
    """Hash-consed terms: equal terms have equal numbers."""

    numbers: dict[tuple, int] = field(default_factory=dict)

    def number(self, *term: object) -> int:
        return self.numbers.setdefault(term, len(self.numbers))
