"""Architecture parameters: one frozen object describes an array completely."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property

from pal_units.formats import DOT_PARAMS, PAL8T, PAL8U, PAL16

#: Bits of a word: data, block bias, predicate.
DATA_BITS, BIAS_BITS = 64, 8
#: PAL8 codes, or PAL16 lanes, in the data of a word.
CODES_PER_WORD = DATA_BITS // PAL8T.n
LANES16_PER_WORD = DATA_BITS // PAL16.n
#: Formats that a profile bit selects, and the bits kept for both in the matrix unit.
PROFILES = (PAL8T, PAL8U)
MATRIX_DOT = DOT_PARAMS[PAL8T.name]
#: Elements that share a block bias.
BLOCK = PAL8T.block
WORDS_PER_BLOCK = BLOCK // CODES_PER_WORD
#: Sizes that the context word fixes for every array.
REGISTERS, CONSTANTS, MATRIX_MODES = 8, 16, 4
#: Nested counters of an address generator.
ADDRESS_LOOPS = 4
#: Iterations that may be in flight in a region at once.
STAGES = 16


@dataclass(frozen=True)
class TileKind:
    """What a tile has beside crossbar, registers, ALU, VectorUnit and MatrixUnit.

    ``memory``: data scratchpad with its two address generators, and the reblock unit.
    """

    memory: bool


#: Tile kinds by the letter that patterns use.
KINDS = {"m": TileKind(memory=False), "M": TileKind(memory=True)}


@dataclass(frozen=True)
class Architecture:
    """An SPU array.

    Parameters
    ----------
    name: stable name.
    pattern: one string a row of tiles, one letter of ``KINDS`` a tile.
    lanes: PAL8 codes of a word that a matrix unit takes in a cycle: 2, 4 or 8.
    columns: dot products side by side in a matrix unit; 1, 2, or a multiple of 4.
    contexts: context words of a tile, so the largest II.
    memory_words: words of a data scratchpad, a power of two.
    weight_rows: rows of a weight memory, ``lanes x columns`` codes each, a power of two.
    stream_words: depth of the FIFO of each input and output stream.

    Raises
    ------
    ValueError: a parameter out of range.
    """

    name: str
    pattern: tuple[str, ...]
    lanes: int
    columns: int
    contexts: int
    memory_words: int
    weight_rows: int
    stream_words: int = 16

    def __post_init__(self) -> None:
        if not self.pattern or len({len(row) for row in self.pattern}) != 1:
            raise ValueError(f"pattern must be rows of equal length, not {self.pattern}")
        if not (1 <= self.rows <= 16 and 1 <= self.cols <= 16):
            raise ValueError(f"grid must be 1x1 to 16x16 tiles, not {self.rows}x{self.cols}")
        if unknown := set("".join(self.pattern)) - set(KINDS):
            raise ValueError(f"pattern has unknown tile kinds {sorted(unknown)}; "
                             f"known: {sorted(KINDS)}")
        if self.lanes not in (2, 4, 8):
            raise ValueError(f"lanes must be 2, 4 or 8, not {self.lanes}")
        if self.columns not in (1, 2) and (self.columns % 4 or not 4 <= self.columns <= 16):
            raise ValueError(f"columns must be 1, 2, 4, 8, 12 or 16, not {self.columns}")
        for name in ("contexts", "memory_words", "weight_rows", "stream_words"):
            value = getattr(self, name)
            if not 2 <= value <= 4096 or value & (value - 1):
                raise ValueError(f"{name} must be a power of two from 2 to 4096, not {value}")

    @property
    def rows(self) -> int:
        return len(self.pattern)

    @property
    def cols(self) -> int:
        return len(self.pattern[0])

    @cached_property
    def tiles(self) -> tuple[tuple[int, int], ...]:
        """All (row, column), row by row."""
        return tuple((r, c) for r in range(self.rows) for c in range(self.cols))

    @cached_property
    def memory_tiles(self) -> tuple[tuple[int, int], ...]:
        """Tiles that have a data memory and a reblock unit."""
        return tuple(t for t in self.tiles if self.kind(*t).memory)

    def kind(self, row: int, col: int) -> TileKind:
        """Kind of a tile."""
        return KINDS[self.pattern[row][col]]

    @property
    def slices_per_word(self) -> int:
        """Matrix unit cycles for one word of codes."""
        return CODES_PER_WORD // self.lanes

    @property
    def drain_lanes(self) -> int:
        """PAL16 results in one drained word."""
        return min(self.columns, LANES16_PER_WORD)

    @property
    def words_per_drain(self) -> int:
        """Words that hold the results of all columns."""
        return -(-self.columns // LANES16_PER_WORD)

    @property
    def pushes_per_block(self) -> int:
        """Drained words that make a block."""
        return BLOCK // self.drain_lanes

    @property
    def weight_words(self) -> int:
        """32-bit words of a weight row: codes, then one block bias a column."""
        return -(-(self.lanes + 1) * self.columns * 8 // 32)

    @property
    def peak_macs_per_cycle(self) -> int:
        """Multiply-accumulates of all matrix units in a cycle."""
        return len(self.tiles) * self.lanes * self.columns

    def canonical_json(self) -> str:
        """All parameters, the fixed sizes included, as JSON with sorted keys."""
        fixed = {"data_bits": DATA_BITS, "registers": REGISTERS, "constants": CONSTANTS,
                 "matrix_modes": MATRIX_MODES, "address_loops": ADDRESS_LOOPS,
                 "stages": STAGES, "block": BLOCK, "dot": asdict(MATRIX_DOT),
                 "profiles": [f.name for f in PROFILES]}
        return json.dumps({**asdict(self), "fixed": fixed}, sort_keys=True)

    @property
    def hash(self) -> int:
        """First 32 bits of the SHA-256 of ``canonical_json``: the architecture register."""
        return int(hashlib.sha256(self.canonical_json().encode()).hexdigest()[:8], 16)


#: Configurations with stable names.
CONFIGS = {a.name: a for a in (
    # A quarter of the tiles of `basic`, each with an eighth of the multipliers: the same
    # model needs an II over 20 times as long, hence deep contexts and weight memories.
    Architecture("tiny", ("MM",) * 2, lanes=4, columns=2, contexts=256, memory_words=64,
                 weight_rows=256),
    Architecture("basic", ("MmmM",) * 4, lanes=8, columns=8, contexts=16, memory_words=64,
                 weight_rows=16),
)}


def architecture(name: str) -> Architecture:
    """The configuration of that name; ``ValueError`` names the known ones."""
    if name not in CONFIGS:
        raise ValueError(f"unknown architecture {name!r}; known: {', '.join(CONFIGS)}")
    return CONFIGS[name]
