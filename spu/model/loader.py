"""Golden model of the loader: banks of the regions, and the program file under way."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from spu.arch import bitstream, regmap
from spu.arch.bitstream import BitstreamError, Header, Image, Section, Truncated
from spu.arch.config import TILE_SPACES, Space, stored_word
from spu.arch.packing import unpack
from spu.arch.params import Architecture
from spu.model import words as w


@dataclass
class Bank:
    """A bank of a region: contents, the file that left them, and whether a whole one did."""

    image: Image
    signature: int = 0
    filled: bool = False


class GoldenLoader:
    """Takes words of program files, whole sections at once, as far as it can.

    ``banks[region]``: the bank in use and the shadow bank; ``halves[tile]``: the half of a data
    memory that is not in use, shaped as in ``GoldenArray``.  ``waiting``: regions whose banks
    shall swap; until all have swapped no word is taken.  ``memory``: their data memories swap,
    too.  ``error`` is an index into ``LOAD_ERRORS``; ``section``: sections completely taken.

    Sections before a fault are in the shadow bank as a whole, where the RTL stops within the last:
    nothing tells what a bank that no whole file filled holds.
    """

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        count = arch.region_count
        self.banks = [[Bank(Image(arch)), Bank(Image(arch))] for _ in range(count)]
        self.waiting, self.loaded, self.memory = ([False] * count for _ in range(3))
        self.halves = {
            t: np.zeros((1, arch.memory_words, arch.lanes16 + 1), np.uint16)
            for t in arch.memory_tiles
        }
        self.error = self.section = 0
        #: Words from the header of the file under way on, or those that wait for a swap.
        self.words: list[int] = []
        #: Of the file under way: the words that were taken, its header, whether it writes memories.
        self.taken, self.writes_memory = 0, False
        self.header: Header | None = None

    @property
    def loading(self) -> bool:
        """Within a file."""
        return bool(self.words) and not any(self.waiting)

    @property
    def busy(self) -> bool:
        """Whether the next word would not be that of a header, or would have to wait."""
        return bool(self.words) or any(self.waiting) or self.error != 0

    def offer(self, words: Iterable[int]) -> None:
        """Words to take, or to swallow after an error."""
        if not self.error:
            self.words += words

    def proceed(self) -> bool:
        """Take what can be taken; whether a file came to its end."""
        committed = False
        try:
            while self.words and not any(self.waiting):
                committed |= self._take()
        except Truncated:
            pass
        except BitstreamError as error:
            self.error = regmap.LOAD_ERRORS.index(error.reason)
            self._forget()
        return committed

    def clear(self) -> None:
        """Forget an error or a half-read file, but no swap that is waited for."""
        if not any(self.waiting):
            self.error = self.section = 0
            self._forget()

    def swap(self, region: int, memory: Mapping[tuple[int, int], w.Words]) -> None:
        """Swap the banks of a region, and data memories in use with their other halves."""
        self.banks[region].reverse()
        self.waiting[region], self.loaded[region] = False, True
        if self.memory[region]:
            self.memory[region] = False
            for tile in set(self.arch.region_tiles(region)) & memory.keys():
                words = memory[tile].copy()
                memory[tile][:] = self.halves[tile]
                self.halves[tile] = words

    def reset(self, region: int) -> None:
        """The region has no program, and waits for no swap."""
        active, _ = self.banks[region]
        active.signature, active.filled = 0, False
        self.loaded[region] = self.waiting[region] = False

    def _forget(self) -> None:
        self.words, self.header = [], None

    def _take(self) -> bool:
        """Take a header or a section; whether that was COMMIT."""
        if self.header is None:
            self.header = bitstream.read_header(
                self.words,
                self.arch,
                {r: shadow.signature for r, (_, shadow) in enumerate(self.banks)},
            )
            self.taken, self.section, self.writes_memory = bitstream.HEADER_WORDS, 0, False
            for region in self.header.regions:
                shadow = self.banks[region][1]
                shadow.signature, shadow.filled = 0, False
            return False
        section = bitstream.read_section(
            self.words, self.taken, self.section, self.header, self.arch
        )
        self.taken, self.section = self.taken + section.words, self.section + 1
        if section.space is not None:
            self._apply(section, self.header)
            return False
        bitstream.check_total(self.words, self.taken, self.header)
        for region in self.header.regions:
            shadow = self.banks[region][1]
            shadow.signature, shadow.filled = self.header.signature, True
            self.waiting[region] = True
            self.memory[region] |= self.writes_memory
        self.words, self.header = self.words[self.taken :], None
        return True

    def _apply(self, section: Section, header: Header) -> None:
        if section.space is Space.MEMORY and section.rows:
            self.writes_memory = True
            for region in header.regions:
                self.memory[region] = False
        for place in section.places:
            for row, bits in enumerate(section.rows, section.first):
                self.write(place, row, bits)

    def write(self, place: bitstream.Place, row: int, bits: int) -> None:
        """Write a row of a shadow bank, or of a half of a data memory, if there is one."""
        space, r, c = place
        if space is not Space.MEMORY:
            shadow = self.banks[self.arch.region(r, c) if space in TILE_SPACES else r][1]
            shadow.image.rows.setdefault(place, {})[row] = bits
        elif (r, c) in self.halves:
            entry: Any = unpack(stored_word(self.arch), bits)
            self.halves[r, c][0, row] = w.from_integers([tuple(entry.values())], self.arch)[0, :-1]
