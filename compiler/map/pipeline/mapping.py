"""A mapping: what happens where and when, before it becomes context words."""

from dataclasses import dataclass, field, replace

from compiler.map.pipeline.partition import Home, Partition
from compiler.map.pipeline.place import Placement
from compiler.map.pipeline.quantise import QuantisedNetwork
from spu.arch.context import Close, Op, Source
from spu.arch.params import NEIGHBOURS
from spu.arch.program import Tile, Timing

#: Direction of a link: row step, column step, and the side on which the word arrives.
STEPS = {link: (dr, dc, Source[side.upper()]) for link, (dr, dc, side) in NEIGHBOURS.items()}


@dataclass(frozen=True)
class Action:
    """Context fields of one tile at one time of iteration 0."""

    tile: Tile
    time: int
    fields: dict[str, Source | Op | Close | int]


@dataclass(frozen=True)
class Mac:
    """One slice into an engine: weight row ``[slice of input word]`` of a group."""

    tile: Tile
    time: int
    layer: int
    group: int
    word: int  # word of the layer's input, in home order
    part: int  # slice of the word


@dataclass(frozen=True)
class HomeSchedule:
    """Times of a home's data memory, in the order of accesses of one iteration."""

    tile: Tile
    writes: tuple[int, ...]
    reads: tuple[int, ...]
    passes: int


@dataclass
class Mapping:
    """A complete schedule of one iteration, repeated every ``ii`` cycles.

    ``order[layer][k]`` is the element of the layer's input at position ``k`` of the words
    that homes play: results of a block are stored in the order in which they arrive.
    ``constants[tile]`` lists the (layer, group, drained word) whose biases a tile holds.
    ``reads[column, time]`` is the input word that a north stream gives then.
    ``fields`` are those of contexts, by tile and slot.
    ``emitted[column]`` lists (time, group, drained word) of the words of a south stream.
    """

    network: QuantisedNetwork
    partition: Partition
    placement: Placement
    actions: list[Action] = field(default_factory=list)
    macs: list[Mac] = field(default_factory=list)
    homes: dict[Home, HomeSchedule] = field(default_factory=dict)
    order: dict[int, list[int]] = field(default_factory=dict)
    constants: dict[Tile, list[tuple[int, int, int]]] = field(default_factory=dict)
    reads: dict[tuple[int, int], int] = field(default_factory=dict)
    emitted: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)
    fields: dict[tuple[Tile, int], dict[str, int]] = field(default_factory=dict)
    wire: int = 0

    @property
    def ii(self) -> int:
        """Initiation interval in cycles."""
        return self.partition.ii

    @property
    def span(self) -> int:
        """Cycles of an iteration from slot 0 to its last emitted word."""
        return 1 + max(time for words in self.emitted.values() for time, _, _ in words)

    @property
    def timing(self) -> Timing:
        """II and span."""
        return Timing(self.ii, self.span)

    def cycles(self, iterations: int) -> int:
        """Executed cycles of a run without holds."""
        return self.timing.cycles(iterations)

    def constant(self, tile: Tile, key: tuple[int, int, int]) -> int:
        """Number of the constant of a tile that holds these biases, assigned on first use."""
        known = self.constants.setdefault(tile, [])
        if key not in known:
            known.append(key)
        return known.index(key)

    def copy(self) -> "Mapping":
        """A mapping whose containers can change independently."""
        return replace(
            self,
            actions=list(self.actions),
            macs=list(self.macs),
            homes=dict(self.homes),
            order={k: list(v) for k, v in self.order.items()},
            constants={k: list(v) for k, v in self.constants.items()},
            reads=dict(self.reads),
            emitted={k: list(v) for k, v in self.emitted.items()},
        )
