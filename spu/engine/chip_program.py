"""Programs of a chip in memory: files, inputs, places for outputs, and the ring that runs them."""

from typing import Any

from spu.arch.chip import Chip
from spu.arch.descriptors import FILE_WORD_BYTES, descriptor, rows
from spu.arch.engine_map import MOST_RING_SIZE
from spu.arch.errors import UserError
from spu.arch.memory import Kind
from spu.model.words import Stream


class ChipProgram:
    """Memory before a doorbell, which grows with what is put into it.

    ``memory``: its bytes.  ``base``, ``size``, ``doorbell``: where the ring lies, log2 of its
    places, and the number to write, once ``finish`` was called.
    """

    def __init__(self, chip: Chip) -> None:
        self.chip, self.engine = chip, chip.memory
        self.memory = bytearray()
        self.base = self.size = 0
        self._descriptors: list[bytes] = []

    @property
    def doorbell(self) -> int:
        """Descriptors of the ring."""
        return len(self._descriptors)

    def place(self, data: bytes, align: int = 1) -> int:
        """Put data into memory, from a beat on at least; its address."""
        align = max(align, self.engine.beat_bytes)
        at = -(-len(self.memory) // align) * align
        self.memory += bytes(at - len(self.memory)) + data
        return at

    def ask(self, kind: Kind, target: int = 0, **fields: Any) -> None:
        """A descriptor more; raises ``ValueError`` for what does not fit one."""
        self._descriptors.append(descriptor(kind, self.engine, target, **fields))

    def load(self, content: bytes) -> None:
        """Load a program file."""
        size = FILE_WORD_BYTES
        whole = content + bytes(-len(content) % size)
        self.ask(Kind.LOAD, pattern=rows(self.engine, self.place(whole), len(whole) // size, size))

    def _word_bytes(self, words: Stream) -> int:
        """Of memory for each word: those of its data alone, where no block has a bias."""
        dense = self.chip.arch.data_bits // 8
        return self.engine.word_bytes if any(bias for _, bias in words) else dense

    def bytes_of(self, words: Stream) -> bytes:
        """Words of a stream as they lie in memory."""
        size, bits = self._word_bytes(words), self.chip.arch.data_bits
        return b"".join((data | bias << bits).to_bytes(size, "little") for data, bias in words)

    def read(self, column: int, words: Stream) -> None:
        """Words from memory to an input stream."""
        if words:
            at = self.place(self.bytes_of(words))
            pattern = rows(self.engine, at, len(words), self._word_bytes(words))
            self.ask(Kind.READ, column, pattern=pattern)

    def write(self, column: int, words: Stream) -> int:
        """Words of an output stream to memory, as many as these and as wide; their address."""
        if not words:
            return 0
        size = self._word_bytes(words)
        at = self.place(bytes(len(words) * size))
        self.ask(Kind.WRITE, column, pattern=rows(self.engine, at, len(words), size))
        return at

    def fence(self) -> None:
        """Wait for all."""
        every = (1 << self.chip.arch.cols) - 1
        self.ask(
            Kind.FENCE,
            read_channels=every,
            write_channels=every,
            loader=1,
            regions=(1 << self.chip.arch.region_count) - 1,
        )

    def finish(self, value: int = 0) -> None:
        """Notify the host with ``value``, after all; put the ring into memory.

        Raises ``UserError`` for more descriptors than a ring has places.
        """
        self.fence()
        self.ask(Kind.NOTIFY, value=value)
        self.size = (self.doorbell - 1).bit_length()
        if self.size > MOST_RING_SIZE:
            raise UserError(f"{self.doorbell} descriptors, a ring has {1 << MOST_RING_SIZE} places")
        places = b"".join(self._descriptors).ljust(self.engine.descriptor_bytes << self.size, b"\0")
        self.base = self.place(places, self.engine.descriptor_bytes)
