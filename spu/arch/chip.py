"""A chip: an array, and the memory engine that feeds and empties its streams."""

from dataclasses import dataclass, replace

from spu.arch.memory import MemoryEngine
from spu.arch.params import BIAS_BITS, CONFIGS, Architecture


@dataclass(frozen=True)
class Chip:
    """An array with a read channel for each input and a write channel for each output stream.

    A channel's word holds a stream's word: the data, above them the bias of a block, zeros above.

    Raises ``ValueError`` for an engine whose channels are not those of the array's columns, and for
    words that do not hold a stream's.
    """

    arch: Architecture
    memory: MemoryEngine

    def __post_init__(self) -> None:
        for name in ("read_channels", "write_channels"):
            if (found := getattr(self.memory, name)) != self.arch.cols:
                raise ValueError(
                    f"{name} must be {self.arch.cols}, the array's columns, not {found}"
                )
        if self.memory.word_bits < self.arch.data_bits + BIAS_BITS:
            raise ValueError(
                f"word_bits must be at least {self.arch.data_bits + BIAS_BITS}, data and bias of a "
                f"stream's word, not {self.memory.word_bits}"
            )


def chip_of(arch: Architecture, memory: MemoryEngine | None = None) -> Chip:
    """The chip of an array: words and channels as its streams ask for, the rest of ``memory``.

    Raises ``ValueError`` where words are wider than the beats of ``memory``.
    """
    word_bits = 1 << (arch.data_bits + BIAS_BITS - 1).bit_length()
    memory = replace(
        memory or MemoryEngine(data_bits=max(256, word_bits)),
        word_bits=word_bits,
        read_channels=arch.cols,
        write_channels=arch.cols,
    )
    return Chip(arch, memory)


#: The chips of the named arrays.
CHIPS = {name: chip_of(arch) for name, arch in CONFIGS.items()}
