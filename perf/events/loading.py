"""Loading of program files: words through the port, sections into the shadow bank.

As ``spu.rtl.loader`` does it: a section is kept until its CRC was right, then written, a word or a
cleared row a cycle, while the next one comes in; the end of that one waits until it was.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from perf.events.streams import FASTEST, Pace
from spu.arch.bitstream import HEADER_WORDS, OP_CLEAR, OP_COMMIT, OP_WRITE, SECTION_WORDS
from spu.arch.config import Space, words_per_row
from spu.arch.params import Architecture

#: Cycles from the last word of a section until the next one may end, less those that write it.
_APPLYING = 2
#: Cycles from the last word of a file to the cycle in which banks may swap.
_CHECK = 2


@dataclass(frozen=True)
class File:
    """Of each section of a program file its words, and the cycles that writing it takes."""

    sections: tuple[tuple[int, int], ...]

    @cached_property
    def words(self) -> int:
        """Of the whole file."""
        return HEADER_WORDS + sum(words for words, _ in self.sections)


def read_file(content: bytes, arch: Architecture) -> File:
    """Sections of a good program file."""
    words, at, sections = np.frombuffer(content, "<u4").tolist(), HEADER_WORDS, []
    while at < len(words):
        op, rows = words[at] & 0xFF, words[at + 2] >> 16
        width = words_per_row(Space(words[at] >> 8 & 0xFF), arch) if op == OP_WRITE else 0
        taken = SECTION_WORDS + width * rows + 1
        sections.append((taken, {OP_WRITE: width * rows, OP_CLEAR: rows, OP_COMMIT: 0}[op]))
        at += taken
    return File(tuple(sections))


class _Port:
    """Words that are taken at a pace, see ``streams``; the last one in cycle ``time``."""

    def __init__(self, pace: Pace) -> None:
        self.cost, self.gain = pace.cycles.numerator, pace.cycles.denominator
        self.credit, self.time = self.cost - 1, pace.latency - 1

    def take(self, words: int, earliest: int = 0) -> None:
        """Take words in a row as they come; a single one not before ``earliest``."""
        ready = self.time - -(words * self.cost - self.credit) // self.gain
        now = max(ready, earliest)
        credit = self.credit + (now - self.time) * self.gain - (words - 1) * self.cost
        self.credit = min(self.cost + self.gain - 1, credit) - self.cost
        self.time = now


def load_cycles(file: File, pace: Pace = FASTEST) -> int:
    """The cycle in which banks may swap, counted from the one in which a file is asked for.

    With a word a cycle N words take N + 1 cycles before, if no section waits for another.
    """
    port, written = _Port(pace), 0
    port.take(HEADER_WORDS)
    for words, cycles in file.sections:
        port.take(words - 1)
        port.take(1, written)
        if cycles:
            written = port.time + _APPLYING + cycles
    return port.time + _CHECK
