"""Architecture parameters: one frozen object describes an array completely."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from pal_units.dot_params import DOT_PARAMS, DotParams
from pal_units.formats import ADAPTIVE, FORMATS, PAL8T, PAL16, Format, format_of

#: Bits of a block bias, which every word carries beside its data and its predicate.
BIAS_BITS = 8
#: Elements that share a block bias, in every format: arrays know no other block.
BLOCK = PAL8T.block
#: Bits kept of products and sums, for all formats of an array.  ``default`` are those of PAL8T.
#: ``lean`` are the fewest product bits with which dot products of PAL8T on Gaussian data lose less
#: than 0.3 dB (39.75 of 39.94 dB at a depth of 512; one bit less has 39.20), with the accumulator's
#: unit of ``default``: columns 2^-10 below their tensor's top keep what they had.  127 blocks of
#: any values fit, 4,064 elements.
DOTS = {
    "default": replace(DOT_PARAMS[PAL8T.name], edge_biases=True),
    "lean": DotParams(5, 6, product_bits=12, guard_bits=7, accumulator_bits=32, edge_biases=True),
}
#: Formats of data and weights by name, of which an array takes some.
OPERAND_FORMATS = {f.name: f for f in (*FORMATS.values(), *ADAPTIVE.values()) if f.n <= 8}
#: Most formats of an array, by the number of bits that mode registers have for them.
MOST_FORMATS = 8
#: Sizes that the context word fixes for every array.
REGISTERS, CONSTANTS, MODES = 8, 16, 4
#: Nested counters of an address generator, and of a sequencer.
ADDRESS_LOOPS, LOOPS = 4, 4
#: Iterations that may be in flight in a region at once.
STAGES = 16
#: Predicates of an iteration: 0 holds always, 1 if it exists, the others are programmable.
PREDICATES, ALWAYS, EXISTS, PROGRAMMABLE = 8, 0, 1, 2
#: Streams that end in a region, and that begin there, at most.
MAX_PORTS = 16


def code_pitch(fmt: Format) -> int:
    """Bits from one code to the next in a word: 8, or 4 for codes of 4 bits.

    A word has as many codes of 6 bits as of 8: ten would divide neither a block nor a slice.
    """
    return 8 if fmt.n > 4 else 4


@dataclass(frozen=True)
class TileKind:
    """What a tile has beside crossbar, registers and ALU.

    ``name``: of its module; ``memory``: data scratchpad with its two address generators, and
    the reblock unit; ``matrix``: MatrixUnit and weight memory; ``vector``: VectorUnit.
    """

    name: str
    memory: bool
    matrix: bool = True
    vector: bool = True


#: Tile kinds by the letter that patterns use.
KINDS = {
    "m": TileKind("plain", memory=False),
    "M": TileKind("memory", memory=True),
    "v": TileKind("vector", memory=False, matrix=False),
    "V": TileKind("vector_memory", memory=True, matrix=False),
    "a": TileKind("alu", memory=False, matrix=False, vector=False),
}


#: Slices of a word that the context word can name, and digits of regions.
SLICES, REGION_DIGITS = 8, "0123456789abcdef"
#: Row and column step towards each neighbour, and the neighbour's link that faces back.
NEIGHBOURS = {
    "north": (-1, 0, "south"),
    "east": (0, 1, "west"),
    "south": (1, 0, "north"),
    "west": (0, -1, "east"),
}


def neighbour(row: int, col: int, link: str) -> tuple[int, int]:
    """Tile that a link leads to, in the grid or not."""
    return row + NEIGHBOURS[link][0], col + NEIGHBOURS[link][1]


@dataclass(frozen=True)
class Port:
    """A stream where it meets a tile: the side of the tile that it enters or leaves by."""

    row: int
    col: int
    link: str


@dataclass(frozen=True)
class Architecture:
    """An SPU array.

    Parameters
    ----------
    name: stable name.
    pattern: one string a row of tiles, one letter of ``KINDS`` a tile.
    lanes: PAL8 codes of a word that a matrix unit takes in a cycle: 2, 4, 8 or 16.
    columns: dot products side by side in a matrix unit: 1, 2, 4, or a multiple of the PAL16
        lanes of a word, at most 16.
    contexts: context words of a tile, so the largest II; a power of two from 2 to 4096.
    memory_words: words of a data scratchpad, a power of two from 2 to 4096.
    weight_rows: rows of a weight memory, ``lanes x columns`` codes each, a power of two from 2 to
        2048.
    stream_words: depth of the FIFO of each stream, a power of two from 2 to 4096.
    data_bits: data of a word: 64, or 128 so that 16 lanes get a word a cycle.
    regions: one string a row of tiles, the digit (0-9, a-f) of its region for each tile;
        regions are rectangles, numbered from 0.  Empty: one region.
    formats: names of the formats of data, by the number that mode registers hold.
    bits: which of ``DOTS`` its dot products keep.
    decoded_weights: weight rows hold decoded operands, made from weights of any format that
        ``operand_format`` takes; otherwise codes of ``formats``, decoded in each multiplier.

    Raises
    ------
    ValueError: a parameter out of range, formats that are none, unknown, twice the same, of more
        than 8 bits, or of a finer logarithm than the dot products'.
    """

    name: str
    pattern: tuple[str, ...]
    lanes: int
    columns: int
    contexts: int
    memory_words: int
    weight_rows: int
    stream_words: int = 16
    data_bits: int = 64
    regions: tuple[str, ...] = ()
    formats: tuple[str, ...] = ("PAL8T", "PAL6T", "PAL4T", "PAL4A")
    bits: str = "default"
    decoded_weights: bool = True

    def __post_init__(self) -> None:
        if not self.pattern or len({len(row) for row in self.pattern}) != 1:
            raise ValueError(f"pattern must be rows of equal length, not {self.pattern}")
        if not (1 <= self.rows <= 16 and 1 <= self.cols <= 16):
            raise ValueError(f"grid must be 1x1 to 16x16 tiles, not {self.rows}x{self.cols}")
        if unknown := set("".join(self.pattern)) - set(KINDS):
            raise ValueError(
                f"pattern has unknown tile kinds {sorted(unknown)}; known: {sorted(KINDS)}"
            )
        if self.data_bits not in (64, 128):
            raise ValueError(f"data_bits must be 64 or 128, not {self.data_bits}")
        if (
            self.lanes not in (2, 4, 8, 16)
            or 8 * self.lanes > self.data_bits
            or self.data_bits // 4 // self.lanes > SLICES
        ):
            raise ValueError(
                f"lanes must be 2, 4, 8 or 16 and fit a word of {self.data_bits} "
                f"bits at most {SLICES // 2} times, not {self.lanes}"
            )
        if self.columns not in (1, 2, 4) and (
            self.columns % self.lanes16 or self.columns > 16 or self.columns < 1
        ):
            raise ValueError(
                f"columns must be 1, 2, 4 or a multiple of {self.lanes16} to 16, not {self.columns}"
            )
        for name, most in (
            ("contexts", 4096),
            ("memory_words", 4096),
            ("weight_rows", 2048),
            ("stream_words", 4096),
        ):
            value = getattr(self, name)
            if not 2 <= value <= most or value & (value - 1):
                raise ValueError(f"{name} must be a power of two from 2 to {most}, not {value}")
        self._check_regions()
        self._check_formats()

    def _check_formats(self) -> None:
        if self.bits not in DOTS:
            raise ValueError(f"bits must be one of {', '.join(DOTS)}, not {self.bits!r}")
        if not 1 <= len(self.formats) <= MOST_FORMATS:
            raise ValueError(
                f"formats must be 1 to {MOST_FORMATS} names of formats, not {len(self.formats)}"
            )
        for i, name in enumerate(self.formats):
            if name in self.formats[:i]:
                raise ValueError(f"formats: {name} is there twice")
            self.operand_format(name)
        if not isinstance(self.decoded_weights, bool):
            raise ValueError(f"decoded_weights must be true or false, not {self.decoded_weights!r}")

    def operand_format(self, given: Format | str) -> Format:
        """A format of data or weights in the array's blocks.

        Raises ``ValueError`` for one that is not of ``OPERAND_FORMATS``, of which packages keep the
        name, and for one that dot products do not take.
        """
        fmt = format_of(given)
        if fmt.n > 8:
            raise ValueError(f"operands have up to 8 bits, {fmt.name} has {fmt.n}")
        known = OPERAND_FORMATS.get(fmt.name)
        if known is None or fmt.with_block(known.block) != known:
            raise ValueError(
                f"{fmt.name} is a Format of your own; arrays take {', '.join(OPERAND_FORMATS)} as "
                "they are"
            )
        if fmt.fraction_bits > self.dot.fraction_bits:
            raise ValueError(
                f"{fmt.name} has logs of {fmt.fraction_bits} fraction bits, dot products of "
                f"{self.name} take {self.dot.fraction_bits}"
            )
        return fmt.with_block(BLOCK)

    def _check_regions(self) -> None:
        if self.regions and [len(row) for row in self.regions] != [self.cols] * self.rows:
            raise ValueError(
                f"regions must be {self.rows} strings of {self.cols} digits, not {self.regions}"
            )
        if unknown := set("".join(self.regions)) - set(REGION_DIGITS):
            raise ValueError(f"regions have unknown digits {sorted(unknown)}")
        numbers = {self.region(*t) for t in self.tiles}
        if numbers != set(range(len(numbers))):
            raise ValueError(f"regions must be numbered from 0 without gaps, not {sorted(numbers)}")
        for number in sorted(numbers):
            members = self.region_tiles(number)
            rows, cols = ({t[axis] for t in members} for axis in (0, 1))
            if len(members) != (max(rows) - min(rows) + 1) * (max(cols) - min(cols) + 1):
                raise ValueError(f"region {number} is not a rectangle of tiles")
            for ports in (self.inputs(number), self.outputs(number)):
                if len(ports) > MAX_PORTS:
                    raise ValueError(
                        f"region {number} has {len(ports)} streams on one side, "
                        f"more than {MAX_PORTS}"
                    )

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

    @cached_property
    def matrix_tiles(self) -> tuple[tuple[int, int], ...]:
        """Tiles that have a MatrixUnit."""
        return tuple(t for t in self.tiles if self.kind(*t).matrix)

    def kind(self, row: int, col: int) -> TileKind:
        """Kind of a tile."""
        return KINDS[self.pattern[row][col]]

    def region(self, row: int, col: int) -> int:
        """Number of the region of a tile."""
        return REGION_DIGITS.index(self.regions[row][col]) if self.regions else 0

    @cached_property
    def region_count(self) -> int:
        """Regions of the array."""
        return 1 + max(self.region(*t) for t in self.tiles)

    def region_tiles(self, region: int) -> tuple[tuple[int, int], ...]:
        """Tiles of a region, row by row."""
        return tuple(t for t in self.tiles if self.region(*t) == region)

    def inputs(self, region: int) -> tuple["Port", ...]:
        """Streams that end in a region: at the north edge, or from another region."""
        return tuple(
            Port(r, c, link)
            for r, c in self.region_tiles(region)
            for link in NEIGHBOURS
            if self._crosses(r, c, link) or (link == "north" and r == 0)
        )

    def outputs(self, region: int) -> tuple["Port", ...]:
        """Streams that begin in a region: at the south edge, or to another region."""
        return tuple(
            Port(r, c, link)
            for r, c in self.region_tiles(region)
            for link in NEIGHBOURS
            if self._crosses(r, c, link) or (link == "south" and r == self.rows - 1)
        )

    def _crosses(self, row: int, col: int, link: str) -> bool:
        """Whether a link joins two regions."""
        other = neighbour(row, col, link)
        return other in self.tiles and self.region(*other) != self.region(row, col)

    @property
    def dot(self) -> DotParams:
        """Bits kept of products and sums."""
        return DOTS[self.bits]

    @cached_property
    def data_formats(self) -> tuple[Format, ...]:
        """The formats of data, in the array's blocks, by the number that mode registers hold."""
        return tuple(self.operand_format(name) for name in self.formats)

    @property
    def default_format(self) -> Format:
        """Of data where nothing else is said: PAL8T, else the first that the array takes."""
        return self.data_format(PAL8T.name if PAL8T.name in self.formats else self.formats[0])

    def data_format(self, given: Format | str) -> Format:
        """A format of data in the array's blocks.

        Raises ``ValueError`` for one that the array does not take.
        """
        fmt = format_of(given)
        if fmt.name not in self.formats:
            raise ValueError(
                f"array {self.name} takes no {fmt.name}; it takes {', '.join(self.formats)}"
            )
        return self.operand_format(fmt)

    def weight_format(self, given: Format | str) -> Format:
        """A format of weights in the array's blocks.

        Raises ``ValueError`` for one that weight rows cannot hold.
        """
        return self.operand_format(given) if self.decoded_weights else self.data_format(given)

    def format_number(self, fmt: Format) -> int:
        """Number of a format of data, see ``data_format``."""
        return self.data_formats.index(self.data_format(fmt))

    @property
    def lanes16(self) -> int:
        """PAL16 lanes of a word."""
        return self.data_bits // PAL16.n

    @property
    def lanes32(self) -> int:
        """int32 lanes of a word."""
        return self.data_bits // 32

    def codes_per_word(self, fmt: Format = PAL8T) -> int:
        """Codes of a format in a word."""
        return self.data_bits // code_pitch(fmt)

    def words_per_block(self, fmt: Format = PAL8T) -> int:
        """Words of a block of a format."""
        return BLOCK // self.codes_per_word(fmt)

    def slices_per_word(self, fmt: Format = PAL8T) -> int:
        """Matrix unit cycles for one word of codes."""
        return self.codes_per_word(fmt) // self.lanes

    @property
    def drain_lanes(self) -> int:
        """PAL16 results in one drained word."""
        return min(self.columns, self.lanes16)

    @property
    def results_per_cycle(self) -> int:
        """PAL16 results of a tile in a cycle: two words of the VectorUnit, a drained one."""
        return 2 * self.lanes16 + self.drain_lanes

    @property
    def words_per_drain(self) -> int:
        """Words that hold the results of all columns."""
        return -(-self.columns // self.lanes16)

    @property
    def pushes_per_block(self) -> int:
        """Drained words that make a block."""
        return BLOCK // self.drain_lanes

    @property
    def peak_macs_per_cycle(self) -> int:
        """Multiply-accumulates of all matrix units in a cycle."""
        return len(self.matrix_tiles) * self.lanes * self.columns

    def canonical_json(self) -> str:
        """All parameters, the fixed sizes included, as JSON with sorted keys."""
        fixed = {
            "bias_bits": BIAS_BITS,
            "registers": REGISTERS,
            "constants": CONSTANTS,
            "modes": MODES,
            "address_loops": ADDRESS_LOOPS,
            "loops": LOOPS,
            "stages": STAGES,
            "predicates": PREDICATES,
            "block": BLOCK,
            "dot": asdict(self.dot),
            "codebooks": [repr(f.codebooks) for f in self.data_formats],
            "kinds": {k: asdict(v) for k, v in KINDS.items()},
        }
        return json.dumps({**asdict(self), "fixed": fixed}, sort_keys=True)

    @property
    def hash(self) -> int:
        """First 32 bits of the SHA-256 of ``canonical_json``: the architecture register."""
        return int(hashlib.sha256(self.canonical_json().encode()).hexdigest()[:8], 16)


#: Configurations with stable names.
CONFIGS = {
    a.name: a
    for a in (
        # A quarter of the tiles of `basic`, each with an eighth of the multipliers: the same
        # model needs an II over 20 times as long, hence deep contexts and weight memories.
        Architecture(
            "tiny", ("MM",) * 2, lanes=4, columns=2, contexts=256, memory_words=64, weight_rows=256
        ),
        Architecture(
            "basic", ("MmmM",) * 4, lanes=8, columns=8, contexts=16, memory_words=64, weight_rows=64
        ),
        # `basic` of one format of data, for what the others cost.
        Architecture(
            "basic-8t",
            ("MmmM",) * 4,
            lanes=8,
            columns=8,
            contexts=16,
            memory_words=64,
            weight_rows=64,
            formats=("PAL8T",),
        ),
        Architecture(
            "large",
            ("MmmmmmmM",) * 8,
            lanes=16,
            columns=16,
            contexts=16,
            memory_words=128,
            weight_rows=64,
            data_bits=128,
        ),
    )
}


def from_parameters(parameters: Mapping[str, Any]) -> Architecture:
    """The architecture of ``dataclasses.asdict``, or of its JSON."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in parameters.items()
    }
    return Architecture(**values)
