"""Golden model of the loader's cycles: which word of a program file it takes when."""

from enum import Enum, auto

from spu.arch.bitstream import HEADER_WORDS, OP_CLEAR, OP_WRITE, SECTION_WORDS
from spu.arch.config import Space, words_per_row
from spu.arch.params import Architecture
from spu.model.loader import GoldenLoader


class _State(Enum):
    """What the loader waits for."""

    HEADER = auto()
    SECTION = auto()
    SECTION_CRC = auto()
    CHECK = auto()
    COMMIT = auto()
    ERROR = auto()


class LoaderModel:
    """Takes a word a cycle, writes a section while the next one comes, waits for its regions.

    ``golden`` holds what the words mean.  ``commit``: regions whose banks shall swap, from this
    cycle on.  An error stops the loader at the end of its section, in RTL at its word.
    """

    def __init__(self, arch: Architecture) -> None:
        self.arch, self.golden = arch, GoldenLoader(arch)
        self.commit: set[int] = set()
        self._state = _State.HEADER
        self._taken: list[int] = []  # of the header, or of the section
        self._left = HEADER_WORDS  # words to the next state
        self._sections = self._applying = 0

    @property
    def ready(self) -> bool:
        """Whether a word is taken in this cycle."""
        if self._state is _State.SECTION_CRC:
            return self._applying == 0
        return self._state not in (_State.CHECK, _State.COMMIT)

    @property
    def idle(self) -> bool:
        """Whether the next word is the first one of a file."""
        return self._state is _State.HEADER and self._left == HEADER_WORDS

    @property
    def loading(self) -> bool:
        """Within a file, before its end."""
        return not self.idle and self._state not in (_State.ERROR, _State.COMMIT)

    @property
    def error(self) -> int:
        """Index into ``LOAD_ERRORS``."""
        return self.golden.error

    def tick(self, word: int | None, swapping: set[int]) -> None:
        """Go on by a cycle in which a word is offered and regions swap their banks."""
        takes = word is not None and self.ready
        applied = self._applying == 0
        self._applying = max(0, self._applying - 1)
        if self._state is _State.CHECK and applied:
            waiting = self.golden.waiting
            self.commit = {r for r in range(self.arch.region_count) if waiting[r]}
            self._state = _State.COMMIT
        elif self._state is _State.COMMIT:
            self.commit -= swapping
            if not self.commit:
                self._state, self._left, self._taken = _State.HEADER, HEADER_WORDS, []
        elif takes and word is not None and self._state is not _State.ERROR:
            self._take(word)

    def _take(self, word: int) -> None:
        self._taken.append(word)
        self._left -= 1
        if self._left:
            return
        if self._state is _State.SECTION:
            self._size()
            return
        section, begun = self._taken, self._state is _State.HEADER
        self.golden.offer(section)
        self.golden.proceed()
        self._state, self._left, self._taken = _State.SECTION, SECTION_WORDS, []
        if self.golden.error:
            self._state, self._applying = _State.ERROR, 0
        elif begun:
            assert self.golden.header is not None
            self._sections = self.golden.header.sections
        else:
            self._apply(section)

    def _size(self) -> None:
        """Of a section whose first words are there, or whose payload is complete."""
        self._state, self._left = _State.SECTION_CRC, 1
        if len(self._taken) == SECTION_WORDS and (payload := self._payload(self._taken)):
            self._state, self._left = _State.SECTION, payload

    def _payload(self, section: list[int]) -> int:
        """Words of payload that a section says it has; 0 if its space is none."""
        op, space, count = section[0] & 0xFF, section[0] >> 8 & 0xFF, section[2] >> 16
        known = next((s for s in Space if s.value == space), None)
        if op != OP_WRITE or known is None:
            return 0
        return count * words_per_row(known, self.arch)

    def _apply(self, section: list[int]) -> None:
        """Begin to write a section, or to check the file after its last one."""
        self._sections -= 1
        op, count = section[0] & 0xFF, section[2] >> 16
        if not self._sections:
            self._state = _State.CHECK
        elif count:
            writes = count if op == OP_CLEAR else len(section) - SECTION_WORDS - 1
            self._applying = 1 + writes  # from the next cycle on
