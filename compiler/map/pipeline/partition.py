"""Divide layers into matrix engines and activation homes for one initiation interval.

Vocabulary: an *engine* is a tile's matrix unit working for one layer, on one *group* of
``columns`` results in each *pass*; the *home* of blocks of a tensor is a memory tile that
collects them and plays them to the engines once a pass.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from compiler.errors import CompileError
from compiler.map.pipeline.quantise import QuantisedLayer, QuantisedNetwork
from spu.arch.params import BLOCK, CONSTANTS, MODES, Architecture


class Style(Enum):
    """How a partition uses tiles, in the order in which they are tried."""

    FEW = 0  #: as few engines and homes as the II allows, each with as many passes
    MANY = 1  #: as many engines as there are tiles, one home a block
    SHARED = 2  #: all layers on all tiles, one after the other


@dataclass(frozen=True)
class Home:
    """Words ``first_word .. first_word + words - 1`` of the input of ``layer``."""

    layer: int
    first_word: int
    words: int
    blocks: tuple[int, ...]


@dataclass(frozen=True)
class LayerPlan:
    """How a layer is computed: group ``p * engines + e`` on engine ``e`` in pass ``p``."""

    words: int  # words of an input vector
    groups: int  # groups of results
    engines: int
    passes: int
    pass_cycles: int
    homes: tuple[Home, ...]

    @property
    def cycles(self) -> int:
        """Slots of a matrix unit that all passes take."""
        return self.passes * self.pass_cycles

    def group(self, engine: int, pass_number: int) -> int | None:
        """Group that an engine computes in a pass; None if there is none left."""
        group = pass_number * self.engines + engine
        return group if group < self.groups else None


@dataclass(frozen=True)
class Partition:
    """Plans of all layers for one II; ``shared``: the layers share the same tiles."""

    ii: int
    shared: bool
    layers: tuple[LayerPlan, ...]


def bounds(network: QuantisedNetwork, arch: Architecture) -> dict[str, int]:
    """Lower bounds of the II by resource, in slots."""
    hidden = network.layers[:-1]
    slices = [_slices(network, layer, arch) for layer in network.layers]
    work = sum(s * _groups(layer, arch) for s, layer in zip(slices, network.layers, strict=True))
    return {
        "matrix units": -(-work // len(arch.matrix_tiles)),
        "longest input": max(slices),
        "reblock units": arch.pushes_per_block if hidden else 1,
    }


def partitions(network: QuantisedNetwork, arch: Architecture) -> Iterator[Partition]:
    """Partitions from the smallest II upward; ``CompileError`` if a bound exceeds the contexts."""
    limits = bounds(network, arch)
    resource = max(limits, key=lambda name: limits[name])
    if limits[resource] > arch.contexts:
        raise CompileError(
            f"{network.name} does not fit {arch.name}: {resource} need an II of "
            f"at least {limits[resource]}, a tile has {arch.contexts} contexts"
        )
    for ii in range(limits[resource], arch.contexts + 1):
        for style in Style:
            plan = _plan(network, arch, ii, style)
            if plan is not None:
                yield plan


def no_partition(network: QuantisedNetwork, arch: Architecture) -> str:
    """What is said if no partition could be mapped."""
    limits = bounds(network, arch)
    blocks = 1 + sum(-(-layer.codes.shape[1] // BLOCK) for layer in network.layers[1:])
    return (
        f"{network.name} does not fit {arch.name}: no schedule up to II {arch.contexts}, the "
        f"contexts of a tile; its bounds are "
        f"{', '.join(f'{name} {least}' for name, least in limits.items())}, and the inputs of "
        f"its layers take up to {blocks} memory tiles, of which there are "
        f"{len(arch.memory_tiles)}"
    )


def _words(network: QuantisedNetwork, layer: QuantisedLayer, arch: Architecture) -> int:
    """Words of a layer's input."""
    return layer.codes.shape[1] // arch.codes_per_word(network.fmt)


def _slices(network: QuantisedNetwork, layer: QuantisedLayer, arch: Architecture) -> int:
    """Slices of a layer's input."""
    return _words(network, layer, arch) * arch.slices_per_word(network.fmt)


def _groups(layer: QuantisedLayer, arch: Architecture) -> int:
    return layer.codes.shape[0] // arch.columns


def _engines(network: QuantisedNetwork, arch: Architecture, ii: int, style: Style) -> list[int]:
    """Engines of each layer; ``ii`` slots suffice for the passes of each."""
    groups = [_groups(layer, arch) for layer in network.layers]
    if style is Style.SHARED:
        return [min(g, len(arch.matrix_tiles)) for g in groups]
    pass_slots = [
        max(_slices(network, layer, arch), arch.words_per_drain) for layer in network.layers
    ]
    engines = [-(-g // (ii // slots)) for g, slots in zip(groups, pass_slots, strict=True)]
    while style is Style.MANY and sum(engines) < len(arch.matrix_tiles):
        passes, number = max(
            (-(-g // e), -n) for n, (g, e) in enumerate(zip(groups, engines, strict=True))
        )
        if passes == 1:
            break
        engines[-number] += 1
    return engines


def _plan(network: QuantisedNetwork, arch: Architecture, ii: int, style: Style) -> Partition | None:
    """The partition for an II, or None if tiles, memories or rows do not suffice."""
    plans, tiles, shared = [], len(arch.matrix_tiles), style is Style.SHARED
    if arch.words_per_drain > ii:
        return None
    for number, (layer, engines) in enumerate(
        zip(network.layers, _engines(network, arch, ii, style), strict=True)
    ):
        words, groups = _words(network, layer, arch), _groups(layer, arch)
        longest = _slices(network, layer, arch)
        a_home = 1 if style is Style.MANY else max(1, ii // arch.pushes_per_block)
        homes = _homes(number, words, arch.words_per_block(network.fmt), a_home)
        # Between passes on shared tiles, leave the links a slot for each drained word.
        gap = arch.words_per_drain if shared else 0
        # Homes at different distances leave gaps between their words.
        gap += 2 * (arch.rows + arch.cols) if len(homes) > 1 and groups > engines else 0
        plans.append(LayerPlan(words, groups, engines, -(-groups // engines), longest + gap, homes))
    # Layers on shared tiles begin at different times on tiles at different distances.
    skew = arch.rows + arch.cols if shared else 0
    cycles = [p.cycles + skew for p in plans]
    rows = [p.passes * p.words * arch.slices_per_word(network.fmt) for p in plans]
    drains = [p.passes * arch.words_per_drain for p in plans]
    constants = sum(drains) if shared else max(drains)
    home_count = sum(len(p.homes) for p in plans)
    fits = (
        (sum(cycles) if shared else max(cycles)) <= ii
        and (sum(rows) if shared else max(rows)) <= arch.weight_rows
        and home_count <= len(arch.memory_tiles)
        and constants <= CONSTANTS
        and (sum(p.engines for p in plans) <= tiles if not shared else len(plans) <= MODES)
    )
    return Partition(ii, shared, tuple(plans)) if fits else None


def _homes(layer: int, words: int, block_words: int, a_home: int) -> tuple[Home, ...]:
    """Blocks of a tensor, ``a_home`` to a home; an input stream has one home for all."""
    blocks = -(-words // block_words)
    a_home = blocks if layer == 0 else a_home
    return tuple(
        Home(
            layer,
            first * block_words,
            min(words - first * block_words, a_home * block_words),
            tuple(range(first, min(first + a_home, blocks))),
        )
        for first in range(0, blocks, a_home)
    )
