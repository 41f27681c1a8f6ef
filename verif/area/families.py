"""Formats and how their units can be cut: PAL and its peers by one rule, one search.

A **family** is a format with settings, each a list from all of it to the least: bits of a product
or of a window, columns of a multiplier, bits of the antilog, guard bits, octaves of operands, bits
and columns of what multiplies by a scale.  Its ``default`` is the first of each list.  ``cheapest``
are the settings whose dot products (length 1024, Gaussian data) keep an SQNR at or above a floor
and of which nothing more can be cut alone without falling below it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from pal_units.dot_params import DotParams
from pal_units.formats import PAL4A, PAL4U, PAL6A, PAL6T, PAL8A, PAL8T, PAL8U, Format
from verif.area.accuracy import dot_sqnr_db
from verif.area.datapaths import Datapath
from verif.area.pal import pal
from verif.area.peers import floating, integer
from verif.baselines.elements import (
    FP4_E2M1,
    FP6_E2M3,
    FP8_E2M5,
    FP8_E3M4,
    FP8_E4M3,
    INT6,
    INT8,
    MXINT8,
    Element,
    FloatFormat,
)

Setting = tuple[int, ...]
#: Guard bits of a block scale, from the default down.
_GUARDS = (8, 4, 3, 2, 1, 0)
#: Bits of the significands of scales in 1/8 octave, and columns of their multiplier left out, at
#: most as many as a significand has bits.
_SIGNIFICANDS, _COLUMNS = (8, 7, 6, 5, 4), tuple(range(9))


@dataclass(frozen=True)
class Family:
    """A format and how its unit can be cut.

    Parameters
    ----------
    name: of the format, its scale, and its multiplier.
    axes: values of each setting, from all of it to the least.
    make: the datapath of a setting.
    """

    name: str
    axes: tuple[tuple[int, ...], ...]
    make: Callable[[Setting], Datapath]

    @property
    def default(self) -> Setting:
        """The setting that keeps everything."""
        return tuple(axis[0] for axis in self.axes)

    @property
    def is_pal(self) -> bool:
        """Whether numbers are PAL's."""
        return self.name.startswith("PAL")

    def sqnr(self, setting: Setting) -> float:
        """SQNR of Gaussian dot products of a setting in a matrix, dB."""
        return _sqnr_db(self, setting)

    def cheapest(self, floor_db: float) -> Iterator[Setting]:
        """Settings at or above the floor of which nothing more can be cut alone."""
        known: dict[tuple[int, ...], bool] = {}

        def setting(index: tuple[int, ...]) -> Setting:
            return tuple(a[i] for a, i in zip(self.axes, index, strict=True))

        def reaches(index: tuple[int, ...]) -> bool:
            if index not in known:
                known[index] = self.sqnr(setting(index)) >= floor_db
            return known[index]

        def cuts(index: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
            for axis, i in enumerate(index):
                if i + 1 < len(self.axes[axis]):
                    yield (*index[:axis], i + 1, *index[axis + 1 :])

        # From the uncut unit by single cuts: what a cut reaches, more cuts may.
        seen, stack = set(), [(0,) * len(self.axes)]
        while stack:
            index = stack.pop()
            if index in seen or not reaches(index):
                continue
            seen.add(index)
            further = [cut for cut in cuts(index) if reaches(cut)]
            stack += further
            if not further:
                yield setting(index)


@cache
def _sqnr_db(family: Family, setting: Setting) -> float:
    return dot_sqnr_db(family.make(setting))


def _pal(
    fmt: Format,
    antilogs: tuple[int, ...],
    products: tuple[int, ...],
    octaves: tuple[int, ...] = (0,),
    guards: tuple[int, ...] = _GUARDS,
) -> Family:
    def make(setting: Setting) -> Datapath:
        product_bits, antilog, guard, limit = setting
        params = DotParams(
            max(fmt.fraction_bits, 3 if fmt.bias_step == 1 else 0),
            antilog,
            product_bits,
            guard,
            64,
            fmt.bias_step,
            limit or None,
            edge_biases=True,
        )
        return pal(fmt, params)

    return Family(fmt.name, (products, antilogs, guards, octaves), make)


def _integer(
    bits: int, element: Element, scale: str, columns: tuple[int, ...], winograd: bool = False
) -> Family:
    guards = (0,) if scale == "none" else _GUARDS
    fine = scale == "eighths"

    def make(setting: Setting) -> Datapath:
        dropped, guard, significand, columns = setting
        fewer = min(columns, significand)
        return integer(bits, element, scale, dropped, guard, significand, fewer, winograd)

    axes = (columns, guards, _SIGNIFICANDS if fine else (8,), _COLUMNS if fine else (0,))
    return Family(make(tuple(a[0] for a in axes)).family, axes, make)


def _floating(fmt: FloatFormat, scale: str, block: int = 32) -> Family:
    """Windows below the exact product; of both roundings the better is tried at each."""
    guards = (0,) if scale == "none" else _GUARDS
    fine = scale == "eighths"

    def make(setting: Setting) -> Datapath:
        window, guard, jam, significand, columns = setting
        rounding = "jam" if jam else "truncate"
        fewer = min(columns, significand)
        return floating(fmt, scale, window, rounding, guard, significand, fewer, block)

    axes = (
        tuple(range(min(fmt.product_bits, 15), 3, -1)),
        guards,
        (0, 1),
        _SIGNIFICANDS if fine else (8,),
        _COLUMNS if scale in ("eighths", "e4m3") else (0,),
    )
    return Family(make(tuple(a[0] for a in axes)).family, axes, make)


#: Families by name: PAL, then its peers, of 8 bits first.
FAMILIES = {
    family.name: family
    for family in (
        _pal(PAL8U, (5, 4), (12, 11, 10, 9, 8, 7)),
        _pal(PAL8T, (6, 5), (13, 12, 11, 10), (0, 8)),
        _pal(PAL8A, (9, 8, 7, 6), (16, 15, 14, 13, 12, 11), (0, 8)),
        _pal(PAL6T, (5, 4, 3), (11, 10, 9, 8), (0, 8)),
        _pal(PAL6A, (6, 5, 4), (13, 12, 11, 10, 9), (0, 8)),
        _pal(PAL4U, (3, 2), (9, 8, 7, 6, 5)),
        _pal(PAL4A, (4, 3), (11, 10, 9, 8, 7, 6)),
        *(
            _integer(8, element, scale, tuple(range(7)), winograd)
            for scale, element in (("none", INT8), ("octaves", MXINT8), ("eighths", INT8))
            for winograd in (False, True)
        ),
        *(_floating(fmt, "octaves") for fmt in (FP8_E4M3, FP8_E3M4, FP8_E2M5)),
        *(_floating(fmt, "eighths") for fmt in (FP8_E4M3, FP8_E2M5)),
        _floating(FP6_E2M3, "octaves"),
        _floating(FP6_E2M3, "eighths"),
        _integer(6, INT6, "eighths", tuple(range(6))),
        _floating(FP4_E2M1, "octaves"),
        _floating(FP4_E2M1, "eighths", block=16),
        _floating(FP4_E2M1, "e4m3"),
    )
}
