"""Lean against lean: PAL's units and each peer's cut by one rule, one search.

A **family** is a unit with settings that can be cut, each a list from all of it to the
least: bits of a product or of a window, columns of a multiplier, guard bits, bits of the
antilog, octaves of operands.  The uncut unit is the first of each list.  ``cheapest`` are
the settings that keep the SQNR of dot products (length 1024, Gaussian data) at or above a
floor and of which nothing more can be cut alone without falling below it; all of them are
synthesised, the smallest counts.  Two floors for each pair of families:

* equal loss: PAL keeps the SQNR of its unit called ``lean``, the peer may lose against its
  uncut unit what that one loses against PAL's default, and no more;
* equal SQNR: both must reach the lower one of the two units that equal loss gave.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from pal_units.dot_params import DotParams
from pal_units.formats import PAL4U, PAL6T, PAL8U, Format
from verif.area import units
from verif.area.accuracy import dot_sqnr_db
from verif.area.units import Unit
from verif.baselines.elements import (
    FP4_E2M1,
    FP6_E2M3,
    FP8_E2M5,
    FP8_E3M4,
    FP8_E4M3,
    INT8,
    MXINT8,
    FloatFormat,
)

Setting = tuple[int, ...]
#: Guard bits of a block scale, from the default down.
_GUARDS = (8, 4, 3, 2, 1, 0)


@dataclass(frozen=True)
class Family:
    """A unit and how it can be cut.

    Parameters
    ----------
    name: of the uncut unit's format and scale.
    axes: values of each setting, from all of it to the least.
    make: the unit of a setting; decoded: the same with its decoders at an array's edge.
    """

    name: str
    axes: tuple[tuple[int, ...], ...]
    make: Callable[[Setting], Unit]
    decoded: Callable[[Setting], Unit] | None = None

    @property
    def uncut(self) -> Setting:
        """The setting that keeps everything."""
        return tuple(axis[0] for axis in self.axes)


@dataclass(frozen=True)
class Pair:
    """A bar of PAL against a peer: names of families, most of the ratio of areas, and the PAL
    units whose difference both may lose."""

    pal: str
    peer: str
    limit: float
    default: str
    lean: str


def _pal(
    fmt: Format,
    fraction: int,
    antilogs: tuple[int, ...],
    products: tuple[int, ...],
    octaves: tuple[int, ...] = (0,),
) -> Family:
    def params(setting: Setting) -> DotParams:
        product_bits, antilog, guard, limit = setting
        return DotParams(
            fraction,
            antilog,
            product_bits,
            guard,
            bias_step=fmt.bias_step,
            operand_octaves=limit or None,
        )

    def make(setting: Setting, decoded: bool = False) -> Unit:
        limit = f" {setting[3]} octaves" * bool(setting[3])
        label = f"L{setting[1]} k{setting[0]} g{setting[2]}{limit}{', decoded' * decoded}"
        return units.pal(fmt, params(setting), label, decoded=decoded)

    tapered = (lambda setting: make(setting, True)) if fmt.profile == "T" else None
    name = make((products[0], antilogs[0], 8, 0)).format
    return Family(name, (products, antilogs, _GUARDS, octaves), make, tapered)


def _integer(scale: bool) -> Family:
    return Family(
        "MXINT8" if scale else "INT8",
        (tuple(range(7)), _GUARDS if scale else (0,)),
        lambda s: units.integer(
            8, MXINT8 if scale else INT8, scale=scale, dropped=s[0], guard=s[1]
        ),
    )


def _floating(fmt: FloatFormat, scale: bool) -> Family:
    """Windows below the exact product; of both roundings the better is tried at each."""

    def make(setting: Setting) -> Unit:
        rounding = "jam" if setting[2] else "truncate"
        return units.floating(fmt, setting[0], rounding, scale, guard=setting[1])

    widest = min(fmt.product_bits, 15)
    return Family(
        f"{'MX-' if scale else ''}{fmt.name}",
        (tuple(range(widest, 3, -1)), _GUARDS if scale else (0,), (0, 1)),
        make,
    )


#: Families by name.
FAMILIES = {
    family.name: family
    for family in (
        _pal(PAL8U, 4, (5, 4), (12, 11, 10, 9, 8, 7)),
        _pal(units.PAL8T_OCTAVES, 5, (6, 5), (13, 12, 11, 10), (0, 8)),
        _pal(PAL6T, 3, (5, 4, 3), (11, 10, 9, 8), (0, 8)),
        _pal(PAL4U, 3, (3, 2), (9, 8, 7, 6, 5)),
        *(_integer(scale) for scale in (False, True)),
        *(
            _floating(fmt, scale)
            for fmt in (FP8_E3M4, FP8_E4M3, FP6_E2M3, FP4_E2M1)
            for scale in (False, True)
        ),
        _floating(FP8_E2M5, True),
    )
}
PAIRS = (
    *(
        Pair("PAL8U", peer, limit, "PAL8U default", "PAL8U lean")
        for peer, limit in (
            ("INT8", 0.55),
            ("MXINT8", 0.55),
            ("E3M4", 0.65),
            ("MX-E3M4", 0.65),
            ("E4M3", 0.70),
            ("MX-E4M3", 0.70),
        )
    ),
    *(
        Pair("PAL8T-oct", peer, 0.60, "PAL8T default", "PAL8T-oct lean")
        for peer in ("INT8", "MXINT8", "MX-E2M5")
    ),
    *(Pair("PAL6T", peer, 0.75, "PAL6T default", "PAL6T lean") for peer in ("E2M3", "MX-E2M3")),
    *(Pair("PAL4U", peer, 0.85, "PAL4U default", "PAL4U lean") for peer in ("E2M1", "MX-E2M1")),
)


@cache
def sqnr(family: str, setting: Setting) -> float:
    """SQNR of Gaussian dot products of a setting, dB."""
    return dot_sqnr_db(FAMILIES[family].make(setting))


def floors(pair: Pair) -> dict[str, float]:
    """Least SQNR of both families at equal loss, in dB, and the ``loss`` itself.

    PAL's is what its lean unit has; the peer's lies as far below its uncut unit as that one
    below PAL's default.
    """
    rated = {u.name: u for u in units.units()}
    reached = dot_sqnr_db(rated[pair.lean])
    loss = dot_sqnr_db(rated[pair.default]) - reached
    peer = FAMILIES[pair.peer]
    return {pair.pal: reached, pair.peer: sqnr(peer.name, peer.uncut) - loss, "loss": loss}


def cheapest(family: Family, floor_db: float) -> Iterator[Setting]:
    """Settings at or above the floor of which nothing more can be cut alone."""

    def reaches(index: tuple[int, ...]) -> bool:
        return (
            sqnr(family.name, tuple(a[i] for a, i in zip(family.axes, index, strict=True)))
            >= floor_db
        )

    def cuts(index: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        for axis, i in enumerate(index):
            if i + 1 < len(family.axes[axis]):
                yield (*index[:axis], i + 1, *index[axis + 1 :])

    # From the uncut unit by single cuts: what a cut reaches, more cuts may.
    seen, stack = set(), [(0,) * len(family.axes)]
    while stack:
        index = stack.pop()
        if index in seen or not reaches(index):
            continue
        seen.add(index)
        further = [cut for cut in cuts(index) if reaches(cut)]
        stack += further
        if not further:
            yield tuple(a[i] for a, i in zip(family.axes, index, strict=True))
