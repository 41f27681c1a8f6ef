"""Symbolic values of the checks: what was computed, not what it is.

A token is the number of a term: a function and the tokens that it was applied to.  Equal terms
have equal numbers, so that equal tokens mean equal words, whatever the streams hold.  None is no
word.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from spu.arch.context import LOG_OPS, READS_B, READS_C, SUM_OPS, Op

Token = int | None

#: Operations that a vector mode changes.
_MODAL = frozenset({*SUM_OPS, *LOG_OPS, Op.EXP2, Op.LOG2})


@dataclass
class Terms:
    """Hash-consed terms.

    ``uncertain``: tokens of words that are there or not as data say (WHEN, UNLESS).
    """

    numbers: dict[tuple, int] = field(default_factory=dict)
    terms: list[tuple] = field(default_factory=list)
    uncertain: set[int] = field(default_factory=set)

    def number(self, *term: object) -> int:
        """The token of a term."""
        found = self.numbers.get(term)
        if found is None:
            found = self.numbers[term] = len(self.terms)
            self.terms.append(term)
        return found

    def apply(self, op: Op, mode: tuple[int, int], words: Sequence[Token]) -> Token:
        """The result of an operation of the array.

        ``mode``: offset and bias; ``words``: at least as many as the operation reads.
        """
        a = words[0]
        if op is Op.PASS:
            return a
        if op is Op.MERGE:
            if a is None or a not in self.uncertain:
                return words[1] if a is None else a
            token = self.number(op, a, words[1])
            if words[1] is None or words[1] in self.uncertain:
                self.uncertain.add(token)
            return token
        count = 1 + (op in READS_B) + (op in READS_C)
        taken = tuple(words[:count])
        if None in taken:
            return None
        token = self.number(op, mode if op in _MODAL else None, *taken)
        if op in (Op.WHEN, Op.UNLESS) or (self.uncertain and not self.uncertain.isdisjoint(taken)):
            self.uncertain.add(token)
        return token
